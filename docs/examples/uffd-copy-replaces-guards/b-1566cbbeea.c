/*
 * uffd-copy: uffd/fill/occupied: EEXIST -> all
 * Seen on 6.17.13+deb13-cloud-amd64 x86_64.
 *
 * As mmdiff has it:
 *
 *   needs guards uffd uffd-wp
 *   thp madvise
 *
 *   mmap 0+0..0+1 none private fixed
 *   uffd-register-both 0+0..0+1
 *   guard-install 0+0..0+1
 *   uffd-copy 0+0..0+1 tag 1 => EEXIST
 *
 * Exit status: 0 the kernel behaves, 1 it does not, 4 it lacks what this needs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* Seconds after which a call counts as one that does not return. */
#define LIMIT 30

/* Bytes per page, and bytes that one PMD entry maps. */
static size_t page, pmd;

/* Where everything happens: three PMDs, and one of margin on both sides. */
static char *const p = (char *)0x1000000000;

__attribute__((noreturn)) static void leave(int status)
{
	exit(status);
}

__attribute__((noreturn)) static void leave_at_once(int status)
{
	_exit(status);
}

/* What is being done, for when it does not return. */
static const char *volatile doing;
static volatile int doing_line;

static void does_not_return(int sig)
{
	char text[512];
	int len = snprintf(text, sizeof(text), "line %d: does not return: %s\n",
			   doing_line, doing);

	(void)!write(STDOUT_FILENO, text, len);
	leave_at_once(1);
}

static void watch(const char *what, int line)
{
	doing = what;
	doing_line = line;
	signal(SIGALRM, does_not_return);
	alarm(LIMIT);
}

/* Nothing is asked of what it comes to, but that it returns. */
#define DO(what)                                                               \
	do {                                                                   \
		watch(#what, __LINE__);                                        \
		if ((what)) {                                                  \
		}                                                              \
		alarm(0);                                                      \
	} while (0)
/* 1: the kernel does not behave. */
#define CHECK(what)                                                            \
	do {                                                                   \
		watch(#what, __LINE__);                                        \
		if (!(what)) {                                                 \
			printf("line %d: not so: %s\n", __LINE__, #what);      \
			printf("errno: %s\n", strerror(errno));                \
			leave(1);                                              \
		}                                                              \
		alarm(0);                                                      \
	} while (0)
/* 4: the kernel, or whoever runs this, lacks what it takes. */
#define NEED(what, name)                                                       \
	do {                                                                   \
		if (!(what)) {                                                 \
			printf("skipped: no %s\n", name);                      \
			leave(4);                                              \
		}                                                              \
	} while (0)

/* Whether guards can be installed; in shared memory: of that. */
__attribute__((unused)) static int has_guards(int how)
{
	char *m = mmap(NULL, page, PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS,
		       -1, 0);
	int has = !madvise(m, page, MADV_GUARD_INSTALL);

	munmap(m, page);
	return has;
}

__attribute__((unused)) static int set_mode(const char *file, const char *mode)
{
	char path[128], text[128] = "", want[32];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/mm/transparent_hugepage/%s",
		 file);
	snprintf(want, sizeof(want), "[%s]", mode);
	fd = open(path, O_RDWR);
	if (fd < 0)
		fd = open(path, O_RDONLY);
	if (fd < 0)
		return 1; /* no huge pages at all: as good as any mode */
	(void)!write(fd, mode, strlen(mode));
	(void)!pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	return strstr(text, want) != NULL;
}

/* mremap of two mappings at once. */
__attribute__((unused)) static int has_mremap_many(void)
{
	char *m = mmap(NULL, 4 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	int has;

	mprotect(m, page, PROT_READ | PROT_WRITE);
	has = mremap(m, 2 * page, 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED,
		     m + 2 * page) == m + 2 * page;
	munmap(m, 4 * page);
	return has;
}

__attribute__((unused)) static int has_hugetlb(void)
{
	void *m = mmap(NULL, page, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE,
		       -1, 0);

	/* A whole huge page. */
	return m != MAP_FAILED && !munmap(m, pmd);
}

/* Whether there is swap space: a line of /proc/swaps behind its title. */
__attribute__((unused)) static int has_swap(void)
{
	char line[256];
	FILE *f = fopen("/proc/swaps", "r");
	int lines = 0;

	while (f && fgets(line, sizeof(line), f))
		lines++;
	if (f)
		fclose(f);
	return lines > 1;
}

__attribute__((unused)) static int has_droppable(void)
{
	void *m = mmap(NULL, page, PROT_READ, MAP_DROPPABLE | MAP_ANONYMOUS, -1,
		       0);

	return m != MAP_FAILED && !munmap(m, page);
}

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
int main(void)
{
	char *where;

	page = sysconf(_SC_PAGESIZE);
	pmd = page * (page / 8);
	NEED(has_guards(MAP_PRIVATE), "guard regions");
	NEED(has_uffd(0), "userfaultfd");
	NEED(has_uffd(1 | 1 << 12), "write protection by userfaultfd");
	NEED(set_mode("enabled", "madvise"), "transparent_hugepage=madvise");

	DO(where = mmap(p, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			MAP_FIXED, -1, 0));
	if (where != MAP_FAILED && where != p)
		munmap(where, page);
	DO(uffd_mark(UFFDIO_REGISTER, p, page, 3));
	DO(madvise(p, page, MADV_GUARD_INSTALL));
	CHECK(uffd_copy(p, page, 1, 0) == -1 && errno == EEXIST);
	return 0;
}
