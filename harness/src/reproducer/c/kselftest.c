#include "kselftest_harness.h"

#define CHECK(what) ASSERT_TRUE(what) { TH_LOG("errno: %s", strerror(errno)); }
/* Nothing is asked of what it comes to; the harness ends what does not return. */
#define DO(what)                                                               \
	do {                                                                   \
		if ((what)) {                                                  \
		}                                                              \
	} while (0)
#define NEED(what, name)                                                       \
	do {                                                                   \
		if (!(what))                                                   \
			SKIP(return, "no %s", name);                           \
	} while (0)

