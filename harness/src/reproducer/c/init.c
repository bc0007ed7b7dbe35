/*
 * PID 1 of a virtual machine: runs every program in /repro, says how each ended, and switches off.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static void set(const char *path, const char *value)
{
	FILE *file = fopen(path, "w");

	if (file) {
		fputs(value, file);
		fclose(file);
	}
}

int main(void)
{
	struct dirent **names;
	int fd, count;

	mkdir("/dev", 0755);
	mknod("/dev/console", S_IFCHR | 0600, makedev(5, 1));
	fd = open("/dev/console", O_RDWR);
	for (int i = 0; fd >= 0 && i < 3; i++)
		dup2(fd, i);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mkdir("/tmp", 01777);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	/* Nothing else shall touch pages. */
	set("/sys/kernel/mm/transparent_hugepage/defrag", "always");
	set("/sys/kernel/mm/transparent_hugepage/khugepaged/defrag", "0");
	set("/sys/kernel/mm/ksm/run", "0");
	set("/sys/module/damon_stat/parameters/enabled", "N");
	set("/proc/sys/kernel/numa_balancing", "0");
	set("/proc/sys/kernel/randomize_va_space", "0");
	set("/proc/sys/debug/exception-trace", "0");
	count = scandir("/repro", &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char path[512];
		int status = 0;
		pid_t child;

		if (names[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/repro/%s", names[i]->d_name);
		child = fork();
		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, 9);
			execl(path, path, (char *)NULL);
			_exit(126);
		}
		waitpid(child, &status, 0);
		printf("\nreproducer: %s %d\n", names[i]->d_name,
		       WIFEXITED(status) ? WEXITSTATUS(status) :
					   128 + WTERMSIG(status));
		fflush(stdout);
	}
	printf("\nreproducer: end\n");
	fflush(stdout);
	sync();
	/* QEMU ends with it. Without ACPI there is no power-off, and trying would halt the machine for ever. */
	reboot(RB_AUTOBOOT);
	return 1;
}
