/*
 * mem-write: transfer/vma-forbids: EIO -> all
 * Seen on 6.17.13+deb13-cloud-amd64 x86_64.
 *
 * As mmdiff has it:
 *
 *   thp madvise
 *
 *   mmap 0+0..0+1 none private fixed
 *   mem-write 0+0..0+1 tag 1 => EIO
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

#define after_fault() do { } while (0)

/* Loads and stores, up to the first fault. Page n holds (tag << 16 | n) + 1. */
static sigjmp_buf jump;
static volatile int done, fault_signal, fault_code;
static char *volatile fault_at;
static uint64_t got[64];

static void on_fault(int sig, siginfo_t *info, void *context)
{
	fault_signal = sig;
	fault_code = info->si_code;
	fault_at = info->si_addr;
	siglongjmp(jump, 1);
}

static void access_pages(char *at, int pages, int tag)
{
	struct sigaction action = { .sa_sigaction = on_fault,
				    .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	fault_signal = 0;
	done = 0;
	if (sigsetjmp(jump, 1)) {
		after_fault();
		return;
	}
	for (; done < pages; done++) {
		volatile uint64_t *word = (void *)(at + done * page);
		uint64_t number = (((char *)word - p) / page) & 0xffff;

		if (tag)
			*word = ((uint64_t)tag << 16 | number) + 1;
		else
			got[done] = *word;
	}
}

/* Pages that were loaded from, or stored to. */
__attribute__((unused)) static int load(char *at, int pages)
{
	access_pages(at, pages, 0);
	return done;
}

__attribute__((unused)) static int store(char *at, int pages, int tag)
{
	access_pages(at, pages, tag);
	return done;
}

__attribute__((unused)) static int faulted(int sig, int code, char *at)
{
	if (fault_signal != sig || (code && fault_code != code) ||
	    (at && fault_at != at)) {
		printf("signal %d, code %d, at %p after %d pages\n",
		       fault_signal, fault_code, fault_at, done);
		return 0;
	}
	return 1;
}

/* Whether the loads have met pages written with these tags; 0: never written. */
__attribute__((unused)) static int loaded(int count, const int *tags)
{
	int ok = done == count;

	for (int i = 0; ok && i < count; i++)
		ok = tags[i] == (got[i] ? (int)((got[i] - 1) >> 16) : 0);
	if (!ok) {
		printf("loaded");
		for (int i = 0; i < done; i++)
			printf(" %d", got[i] ? (int)((got[i] - 1) >> 16) : 0);
		printf("\n");
	}
	return ok;
}

#include <sys/uio.h>

static struct iovec vectors[6];

/*
 * Calls that have the kernel read or write the memory of `vectors`. What they
 * move from or to it: of each page the first eight bytes, as loads and stores
 * have them, and zeros behind. Of what was read, got[] has the tags' words.
 */
enum way {
	PIPE_WRITE, PIPE_READ, MEMFD_WRITE, MEMFD_READ, VM_READ, VM_WRITE,
	MEM_READ, MEM_WRITE, VMSPLICE
};

/* Goes through the first `moved` bytes: each page of which one of the first eight is there. */
static void each_page(char *bytes, long moved, int tag)
{
	long before = 0;

	done = 0;
	for (struct iovec *v = vectors; before < moved; before += v++->iov_len) {
		char *at = v->iov_base, *end = at + v->iov_len;
		uintptr_t start = (uintptr_t)at / page * page;

		if (end > at + (moved - before))
			end = at + (moved - before);
		for (; (char *)start < end; start += page) {
			uint64_t word = 0, number = ((char *)start - p) / (long)page & 0xffff;
			char *from = (char *)start < at ? at : (char *)start;
			char *to = (char *)start + 8 < end ? (char *)start + 8 : end;

			if (from >= to)
				continue;
			if (tag) {
				word = ((uint64_t)tag << 16 | number) + 1;
				memcpy(bytes + before + (from - at),
				       (char *)&word + (from - (char *)start), to - from);
			} else {
				memcpy((char *)&word + (from - (char *)start),
				       bytes + before + (from - at), to - from);
				got[done++] = word;
			}
		}
	}
}

/* Bytes that the kernel moved, or -1; tag 0 where it reads. */
static long transfer(enum way way, pid_t pid, int count, int tag)
{
	static char bytes[64 * 65536];
	static int ends[2] = { -1, -1 }, memfd;
	char path[64], *at = vectors[0].iov_base;
	struct iovec own;
	long len = 0, result = -1;
	int fd, error;

	if (ends[0] < 0) {
		(void)!pipe2(ends, O_NONBLOCK);
		memfd = memfd_create("transfer", 0);
	}
	for (int i = 0; i < count; i++)
		len += vectors[i].iov_len;
	memset(bytes, 0, len);
	if (tag)
		each_page(bytes, len, tag);
	own = (struct iovec){ bytes, len };
	errno = 0;
	switch (way) {
	case PIPE_WRITE:
		result = write(ends[1], at, len);
		break;
	case VMSPLICE:
		result = vmsplice(ends[1], vectors, 1, 0);
		break;
	case PIPE_READ:
		(void)!write(ends[1], bytes, len);
		result = read(ends[0], at, len);
		break;
	case MEMFD_WRITE:
		result = pwrite(memfd, at, len, 0);
		break;
	case MEMFD_READ:
		(void)!pwrite(memfd, bytes, len, 0);
		result = pread(memfd, at, len, 0);
		break;
	case VM_READ:
		result = process_vm_readv(pid, &own, 1, vectors, count, 0);
		break;
	case VM_WRITE:
		result = process_vm_writev(pid, &own, 1, vectors, count, 0);
		break;
	default:
		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		fd = open(path, O_RDWR);
		result = way == MEM_READ ? pread(fd, bytes, len, (uintptr_t)at) :
					   pwrite(fd, bytes, len, (uintptr_t)at);
		error = errno;
		close(fd);
		errno = error;
	}
	error = errno;
	if ((way == PIPE_WRITE || way == VMSPLICE) && result > 0)
		(void)!read(ends[0], bytes, result);
	if (way == MEMFD_WRITE && result > 0)
		(void)!pread(memfd, bytes, result, 0);
	while (len && read(ends[0], path, sizeof(path)) > 0)
		;
	(void)!ftruncate(memfd, 0);
	if (!tag)
		each_page(bytes, result, 0);
	errno = error;
	return result;
}

int main(void)
{
	char *where;
	struct iovec *iov = vectors;

	page = sysconf(_SC_PAGESIZE);
	pmd = page * (page / 8);
	NEED(set_mode("enabled", "madvise"), "transparent_hugepage=madvise");

	DO(where = mmap(p, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			MAP_FIXED, -1, 0));
	if (where != MAP_FAILED && where != p)
		munmap(where, page);
	iov[0] = (struct iovec){ p, page };
	CHECK(transfer(MEM_WRITE, getpid(), 1, 1) == -1 && errno == EIO);
	return 0;
}
