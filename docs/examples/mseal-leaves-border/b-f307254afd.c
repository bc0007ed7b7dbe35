/*
 * mseal: merge/changed: merged -> split
 * Seen on 6.17.13+deb13-cloud-amd64 x86_64.
 *
 * As mmdiff has it:
 *
 *   needs mseal
 *   thp madvise
 *
 *   mmap 0+0..0+3 none private fixed
 *   mseal 0+1..0+2
 *   mseal 0+0..0+3
 *       => 0+2 <---p .|
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

/* The line of /proc/self/maps that holds an address. */
struct vma {
	char *start, *end;
	char perms[5];
};

static struct vma vma_of(char *at)
{
	static char text[1 << 16];
	struct vma none = { 0 };
	int fd = open("/proc/self/maps", O_RDONLY), n, len = 0;

	while ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += n;
	close(fd);
	text[len] = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		struct vma v = { 0 };

		if (sscanf(line, "%p-%p %4s", (void **)&v.start,
			   (void **)&v.end, v.perms) == 3 &&
		    v.start <= at && at < v.end)
			return v;
	}
	return none;
}

static uint64_t pagemap(char *at)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (pread(fd, &entry, 8, (uintptr_t)at / page * 8) != 8)
		entry = 0;
	close(fd);
	return entry;
}

#define PFN(entry) ((entry) & ((1ull << 55) - 1))

/* The zero page is told by its number, which root alone can see. */
static int is_zero_page(uint64_t entry)
{
	static uint64_t zero;

	if (!zero) {
		volatile char *fresh = mmap(NULL, page, PROT_READ,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		(void)*fresh;
		zero = PFN(pagemap((char *)fresh));
		munmap((void *)fresh, page);
	}
	return zero && PFN(entry) == zero;
}

static int is_huge(char *at)
{
	return -1; /* none are expected here */
}

/* Whether a page is what a letter says; see pages_are(). */
static int page_is(char *at, char letter)
{
	uint64_t e = pagemap(at);
	int present = e >> 63 & 1, swap = e >> 62 & 1, file = e >> 61 & 1;
	int guard = e >> 58 & 1, once = e >> 56 & 1, huge;

	if (letter == '?')
		return 1;
	if (letter == '_' || !vma_of(at).start)
		return letter == '_' && !vma_of(at).start;
	switch (letter) {
	case '.':
		return !present && !swap && !guard;
	case 'G': /* a swap entry before 6.15 */
		return guard || swap;
	case '~':
		return swap && !guard;
	}
	huge = is_huge(at);
	if (!present || (huge >= 0 && huge != (letter < 'a')))
		return 0;
	switch (letter | 0x20) {
	case 'z':
		return !file && !once && (is_zero_page(e) || !PFN(e) || huge > 0);
	case 'a':
		return !file && once;
	case 's':
		return !file && !once && !is_zero_page(e);
	case 'f':
		return file && once;
	default:
		return file && !once;
	}
}

/*
 * Whether the pages from an address on look like a strip, a letter for each:
 *   _ not mapped, . mapped and empty, G guard, z zero page, ~ swap entry,
 *   a anonymous and mapped once, s anonymous and mapped more than once,
 *   f and m the same of a file, capital letters: in a huge page, ? any.
 * | is the border of a VMA, < and > say that it goes on there; rw-p as in maps.
 */
static int pages_are(char *at, const char *strip)
{
	char *first = at;
	int joined = 0;

	for (const char *s = strip; *s;) {
		int border = vma_of(at - page).start != vma_of(at).start;
		char letter = *s++;
		long count = 1;

		if (letter == ' ')
			continue;
		if (letter == '|' || letter == '<' || letter == '>') {
			if (border != (letter == '|') ||
			    (letter != '|' && !vma_of(at).start))
				goto wrong;
			joined = 0;
			if (letter != '>' && strlen(s) >= 4 &&
			    strspn(s, "rwxps-") >= 4 && strchr("r-", s[0]) &&
			    strchr("w-", s[1]) && strchr("x-", s[2]) &&
			    strchr("ps", s[3])) {
				if (memcmp(vma_of(at).perms, s, 4))
					goto wrong;
				s += 4;
			}
			continue;
		}
		if (!strncmp(s, "*pmd", 4)) {
			s += 4;
			count = pmd / page;
			if (*s == '-')
				count += strtol(s, (char **)&s, 10);
		} else if (*s == '*') {
			count = strtol(s + 1, (char **)&s, 10);
		}
		for (; count > 0; count--, at += page) {
			border = vma_of(at - page).start != vma_of(at).start;
			if (joined && letter != '?' && border)
				goto wrong;
			if (!page_is(at, letter))
				goto wrong;
			joined = letter != '?';
		}
	}
	return 1;
wrong:
	printf("expected %s, which page %ld of it is not:\n", strip,
	       (long)((at - first) / page));
	printf("  %p-%p %s, pagemap %#llx\n", vma_of(at).start, vma_of(at).end,
	       vma_of(at).perms, (unsigned long long)pagemap(at));
	return 0;
}

int main(void)
{
	char *where;

	page = sysconf(_SC_PAGESIZE);
	pmd = page * (page / 8);
	NEED(!syscall(462, p, 0, 0) || errno != ENOSYS, "mseal");
	NEED(set_mode("enabled", "madvise"), "transparent_hugepage=madvise");

	DO(where = mmap(p, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			MAP_FIXED, -1, 0));
	if (where != MAP_FAILED && where != p)
		munmap(where, 3 * page);
	DO(syscall(462 /* mseal */, p + page, page, 0));
	DO(syscall(462 /* mseal */, p, 3 * page, 0));
	CHECK(pages_are(p + 2 * page, "<---p .|"));
	return 0;
}
