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

