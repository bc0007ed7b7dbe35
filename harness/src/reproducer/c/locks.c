#include <sys/resource.h>

/* An ordinary user, who may lock two PMDs in memory. */
static void be_ordinary(void)
{
	struct rlimit limit = { 2 * pmd, 2 * pmd };
	uint32_t header[2] = { 0x20080522, 0 }, caps[6];

	setrlimit(RLIMIT_MEMLOCK, &limit);
	syscall(SYS_capget, header, caps);
	caps[0] &= ~(1u << 14); /* CAP_IPC_LOCK */
	syscall(SYS_capset, header, caps);
}

