#include "kselftest_harness.h"

#define CHECK(what) ASSERT_TRUE(what) { TH_LOG("errno: %s", strerror(errno)); }
#define NEED(what, name)                                                       \
	do {                                                                   \
		if (!(what))                                                   \
			SKIP(return, "no %s", name);                           \
	} while (0)

