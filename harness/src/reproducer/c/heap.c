#include <sys/prctl.h>

/* Lets the heap begin here: needs CAP_SYS_RESOURCE. */
static int heap_at(char *at)
{
	prctl(PR_SET_MM, PR_SET_MM_BRK, at, 0, 0);
	return !prctl(PR_SET_MM, PR_SET_MM_START_BRK, at, 0, 0) &&
	       !prctl(PR_SET_MM, PR_SET_MM_BRK, at, 0, 0) && sbrk(0) != NULL &&
	       !brk(at);
}

