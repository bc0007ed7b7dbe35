// SPDX-License-Identifier: GPL-2.0-only
/*
 * madvise(MADV_GUARD_INSTALL) returns 0, and the next store of the same thread to the guard goes through.
 *
 * Another thread empties the range with MADV_DONTNEED meanwhile: its zap has cleared the page-table entry, and has not told this
 * processor to forget its translation yet. Guard install finds the entry empty, puts the marker there and returns.
 *
 *	gcc -O2 -pthread -static install-skips-flush.c -o install-skips-flush && ./install-skips-flush
 *
 * Needs two processors. Ends with 1 when a store got through, 0 when none of 20000 did (-DTRIES=...), 4 when the kernel has no
 * guard regions.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define SIZE (2UL << 20)
#ifndef TRIES
#define TRIES 20000
#endif

static _Atomic int turn, ended;
static char *volatile range;
static sigjmp_buf fault;

static void on_fault(int signo)
{
	siglongjmp(fault, signo);
}

static void *empties(void *unused __attribute__((unused)))
{
	for (int i = 1; i <= TRIES; i++) {
		while (atomic_load(&turn) < i)
			;
		madvise(range, SIZE, MADV_DONTNEED);
		atomic_store(&ended, i);
	}
	return NULL;
}

static long now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000000L + at.tv_nsec;
}

static char *map(void)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(4);
	}
	madvise(p, SIZE, MADV_NOHUGEPAGE);
	madvise(p, SIZE, MADV_POPULATE_WRITE);
	return p;
}

int main(void)
{
	struct sigaction action = { .sa_handler = on_fault };
	volatile int through = 0;
	pthread_t other;
	long takes;

	setvbuf(stdout, NULL, _IONBF, 0);
	sigaction(SIGSEGV, &action, NULL);
	range = map();
	if (madvise(range, 4096, MADV_GUARD_INSTALL)) {
		perror("MADV_GUARD_INSTALL");
		return 4;
	}
	takes = now();
	madvise(range, SIZE, MADV_DONTNEED);
	takes = now() - takes;
	munmap(range, SIZE);
	pthread_create(&other, NULL, empties, NULL);
	for (int i = 1; i <= TRIES; i++) {
		range = map();
		*(volatile char *)range = 1;	/* this processor has the translation now */
		atomic_store(&turn, i);
		/* Some time or other while the other thread is in its call. */
		for (long until = now() + takes * (i % 100) / 100; now() < until; )
			;
		if (madvise(range, 4096, MADV_GUARD_INSTALL)) {
			perror("MADV_GUARD_INSTALL");
			return 4;
		}
		if (sigsetjmp(fault, 1) == 0) {
			*(volatile char *)range = 2;	/* must not come back */
			through++;
		}
		while (atomic_load(&ended) < i)
			;
		munmap(range, SIZE);
	}
	pthread_join(other, NULL);
	printf("%d of %d stores went past the guard that their own thread had installed\n", through, TRIES);
	return through != 0;
}
