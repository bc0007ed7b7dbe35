#include <sys/ioctl.h>

/*
 * Each process has a userfaultfd of its own. Nobody waits at it: with
 * UFFD_FEATURE_SIGBUS what would be told there is a signal. The structures of
 * these calls are 64-bit fields: start, length, mode, ...
 */
#define UFFDIO_API 0xc018aa3f
#define UFFDIO_REGISTER 0xc020aa00 /* mode 1: missing pages, 2: protection */
#define UFFDIO_UNREGISTER 0x8010aa01
#define UFFDIO_COPY 0xc028aa03 /* start, source, length, mode 2: protected */
#define UFFDIO_ZEROPAGE 0xc020aa04
#define UFFDIO_MOVE 0xc028aa05 /* to, from, length, mode 2: holes pass */
#define UFFDIO_WRITEPROTECT 0xc018aa06 /* mode 1: on, 0: off */
#define UFFDIO_POISON 0xc020aa08

/* What the kernel knows: bit 0 write protection, 12 of shared memory, 16 move. */
static uint64_t uffd_features;

static int uffd(void)
{
	uint64_t api[3] = { 0xaa, 1 << 7 /* UFFD_FEATURE_SIGBUS */, 0 };
	static pid_t owner;
	static int fd = -1;

	if (owner == getpid())
		return fd;
	if (fd >= 0)
		close(fd); /* a copy of that of the parent */
	owner = getpid();
	fd = syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */ | O_CLOEXEC);
	if (fd >= 0 && ioctl(fd, UFFDIO_API, api)) {
		close(fd);
		fd = -1;
	}
	uffd_features = api[1];
	return fd;
}

__attribute__((unused)) static int has_uffd(uint64_t features)
{
	return uffd() >= 0 && (uffd_features & features) == features;
}

__attribute__((unused)) static int uffd_mark(unsigned long call, char *at,
					     size_t len, uint64_t mode)
{
	uint64_t arg[4] = { (uintptr_t)at, len, mode, 0 };

	return ioctl(uffd(), call, arg);
}

/* Bytes that are filled in, or -1. */
static long uffd_filled(int result, int64_t done)
{
	if (done > 0 && (!result || errno == EAGAIN))
		return done;
	return result;
}

__attribute__((unused)) static long uffd_fill(unsigned long call, char *at,
					      size_t len)
{
	uint64_t arg[4] = { (uintptr_t)at, len, 0, 0 };
	int result = ioctl(uffd(), call, arg);

	return uffd_filled(result, arg[3]);
}

/* Copies pages that hold what stores with this tag leave there. */
__attribute__((unused)) static long uffd_copy(char *at, size_t len, int tag,
					      uint64_t mode)
{
	static char bytes[7 * 65536] __attribute__((aligned(65536)));
	size_t size = len <= 6 * page ? len : page;
	uint64_t arg[5] = { (uintptr_t)at, (uintptr_t)bytes, len, mode, 0 };
	int result;

	for (size_t i = 0; i < size; i += page) {
		uint64_t number = ((at - p) / (long)page + i / page) & 0xffff;

		memset(bytes + i, 0, page);
		*(uint64_t *)(bytes + i) = ((uint64_t)tag << 16 | number) + 1;
	}
	result = ioctl(uffd(), UFFDIO_COPY, arg);
	return uffd_filled(result, arg[4]);
}


__attribute__((unused)) static long uffd_move(char *from, size_t len, char *to,
					      uint64_t mode)
{
	uint64_t arg[5] = { (uintptr_t)to, (uintptr_t)from, len, mode, 0 };
	int result = ioctl(uffd(), UFFDIO_MOVE, arg);

	return uffd_filled(result, arg[4]);
}
