#include <sys/uio.h>

static struct iovec vectors[6];

