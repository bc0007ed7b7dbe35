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

