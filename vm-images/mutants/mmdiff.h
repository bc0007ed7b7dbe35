/* SPDX-License-Identifier: GPL-2.0-only */
/* The switch of the planted bugs: which one is on, from the kernel's command line. */
#ifndef _LINUX_MMDIFF_H
#define _LINUX_MMDIFF_H

#include <linux/compiler.h>
#include <linux/types.h>

enum mmdiff_bug {
	MMDIFF_NONE,
/*CONSTANTS*/
	MMDIFF_COUNT,
};

#define MMDIFF_NAMES \
	"none", \
/*NAMES*/

extern int mmdiff_bug;
void mmdiff_reached(void);

/* True at the site of the bug that is on; counts that the site was reached. */
static inline bool mmdiff_planted(int bug)
{
	if (likely(mmdiff_bug != bug))
		return false;
	mmdiff_reached();
	return true;
}

#endif
