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
void mmdiff_count_reached(void);
void mmdiff_count_triggered(void);

/* True at the site of the bug that is on; counts that the site was reached. */
static inline bool mmdiff_reached(int bug)
{
	if (likely(mmdiff_bug != bug))
		return false;
	mmdiff_count_reached();
	return true;
}

/*
 * The same where the bug does something else than the code without it only under a condition, which is not looked at unless
 * it is on: true if it does, which is counted as well.
 */
#define mmdiff_planted_if(bug, ...) \
	(mmdiff_reached(bug) && mmdiff_triggered(__VA_ARGS__))

static inline bool mmdiff_triggered(bool differs)
{
	if (differs)
		mmdiff_count_triggered();
	return differs;
}

#endif
