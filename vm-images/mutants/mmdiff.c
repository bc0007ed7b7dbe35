// SPDX-License-Identifier: GPL-2.0-only
/*
 * The switch of the planted bugs. @PARAMETER@=NAME on the command line turns one on; how often its code was reached, and how
 * often it did something else than the code without it, is in debugfs, and the first time is said on the console.
 */
#include <linux/atomic.h>
#include <linux/cache.h>
#include <linux/debugfs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mmdiff.h>
#include <linux/panic.h>
#include <linux/printk.h>
#include <linux/string.h>

static const char * const names[] = {
	MMDIFF_NAMES
};

int mmdiff_bug __ro_after_init;
static atomic_t reached = ATOMIC_INIT(0);
static atomic_t triggered = ATOMIC_INIT(0);

/* Once, whatever comes after; KERN_EMERG so that "quiet" does not hide it. */
static void count(atomic_t *counter, const char *said)
{
	if (atomic_inc_return(counter) == 1)
		printk(KERN_EMERG "%s\n", said);
}

void mmdiff_count_reached(void)
{
	count(&reached, "@REACHED@");
}

void mmdiff_count_triggered(void)
{
	count(&triggered, "@TRIGGERED@");
}

static int __init mmdiff_setup(char *name)
{
	int i;

	for (i = 0; i < MMDIFF_COUNT; i++) {
		if (name && !strcmp(name, names[i])) {
			mmdiff_bug = i;
			return 0;
		}
	}
	/* A run with no bug in it would be taken for one that noticed nothing. */
	panic("@PARAMETER@: no planted bug is called that");
}
early_param("@PARAMETER@", mmdiff_setup);

static int __init mmdiff_show(void)
{
	debugfs_create_atomic_t("mmdiff_reached", 0444, NULL, &reached);
	debugfs_create_atomic_t("mmdiff_triggered", 0444, NULL, &triggered);
	return 0;
}
late_initcall(mmdiff_show);
