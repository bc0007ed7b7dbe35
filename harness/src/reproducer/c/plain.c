/* 1: the kernel does not behave. */
#define CHECK(what)                                                            \
	do {                                                                   \
		if (!(what)) {                                                 \
			printf("line %d: not so: %s\n", __LINE__, #what);      \
			printf("errno: %s\n", strerror(errno));                \
			leave(1);                                              \
		}                                                              \
	} while (0)
/* 4: the kernel, or whoever runs this, lacks what it takes. */
#define NEED(what, name)                                                       \
	do {                                                                   \
		if (!(what)) {                                                 \
			printf("skipped: no %s\n", name);                      \
			leave(4);                                              \
		}                                                              \
	} while (0)

