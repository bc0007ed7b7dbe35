#include <sched.h>
#include <sys/wait.h>
#include <time.h>

/* Every process runs all of what follows; turn() says whose turn a step is. */
static struct together {
	volatile int step, failed;
	volatile pid_t pids[4];
} *shared;
static int me;

static int turn(int step, int who)
{
	time_t start = time(NULL);

	while (shared->step < step) {
		if (shared->failed || time(NULL) > start + LIMIT + 10)
			_exit(shared->failed ? shared->failed : 1);
		sched_yield();
	}
	return me == who;
}

static void next(void)
{
	fflush(stdout);
	shared->step++;
}

static void start_turns(void)
{
	shared = mmap(NULL, page, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared->pids[0] = getpid();
}

static void split(int child)
{
	fflush(stdout);
	if (fork() == 0) {
		me = child;
		shared->pids[me] = getpid();
		next();
	}
}

/* Children end here; who began waits for them and says how it went. */
static int all_done(void)
{
	int status, failed = 0;

	if (me)
		_exit(0);
	while (wait(&status) > 0)
		failed |= status;
	return !failed && !shared->failed;
}

/* Waits for a child of one's own that has ended: its memory is gone then. */
__attribute__((unused)) static int gone(int child)
{
	int status;

	return waitpid(shared->pids[child], &status, 0) > 0 && !status;
}

