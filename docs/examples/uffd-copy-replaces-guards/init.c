/*
 * PID 1 of a virtual machine: runs every program in /repro, says how each ended, and switches off. A program that hangs in a call says so
 * itself; one that cannot even do that is given up. One that ends well has not done so when the kernel reports a fault of its own meanwhile.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
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

/* Seconds after which a program is given up: three times what it gives a call. */
#define GIVEN_UP 90

/* Waits for a child, for so many seconds without one that ends. */
static int has_ended(pid_t child, int *status, int seconds)
{
	struct timespec limit = { .tv_sec = seconds };
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGCHLD);
	while (waitpid(child, status, WNOHANG) != child)
		if (sigtimedwait(&ends, NULL, &limit) < 0 && errno == EAGAIN)
			return waitpid(child, status, WNOHANG) == child;
	return 1;
}

/* Prints what the kernel tells of where a process is. */
static void tell(pid_t pid, const char *name)
{
	char path[64], text[4096];
	FILE *file;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	file = fopen(path, "r");
	if (!file)
		return;
	n = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[n] = 0;
	printf("%s: %s\n", name, text);
}

/* Whether the kernel has reported a fault of its own since this was asked last. */
static int has_reported(int log)
{
	static const char *const heads[] = { "BUG: ", "WARNING: ", "Oops: ",
					     "general protection fault" };
	char record[8192];
	int found = 0;
	ssize_t n;

	/* A record at a time; EPIPE: some were overwritten. */
	while ((n = read(log, record, sizeof(record) - 1)) > 0 ||
	       (n < 0 && errno == EPIPE)) {
		record[n > 0 ? n : 0] = 0;
		for (size_t i = 0; i < sizeof(heads) / sizeof(*heads); i++)
			if (strstr(record, heads[i]))
				found = 1;
	}
	return found;
}

int main(void)
{
	sigset_t ends;
	struct dirent **names;
	int fd, log, count;

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
	/* A machine of less than 512 MiB has it off. */
	set("/sys/kernel/mm/transparent_hugepage/use_zero_page", "1");
	set("/sys/kernel/mm/transparent_hugepage/khugepaged/defrag", "0");
	set("/sys/kernel/mm/ksm/run", "0");
	set("/sys/module/damon_stat/parameters/enabled", "N");
	set("/proc/sys/kernel/numa_balancing", "0");
	set("/proc/sys/kernel/randomize_va_space", "0");
	set("/proc/sys/debug/exception-trace", "0");
	mknod("/dev/kmsg", S_IFCHR | 0600, makedev(1, 11));
	log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	sigemptyset(&ends);
	sigaddset(&ends, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	count = scandir("/repro", &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char path[512];
		int status = 0;
		pid_t child;

		if (names[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/repro/%s", names[i]->d_name);
		printf("\nreproducer: %s begins\n", names[i]->d_name);
		fflush(stdout);
		has_reported(log);
		child = fork();
		if (child == 0) {
			sigprocmask(SIG_UNBLOCK, &ends, NULL);
			prctl(PR_SET_PDEATHSIG, 9);
			execl(path, path, (char *)NULL);
			_exit(126);
		}
		if (!has_ended(child, &status, GIVEN_UP)) {
			printf("\n%s does not end\n", names[i]->d_name);
			tell(child, "syscall");
			tell(child, "stack");
			kill(child, SIGKILL);
			if (!has_ended(child, &status, 5))
				printf("and cannot be killed\n");
			status = 1 << 8;
		}
		if (has_reported(log) && !status) {
			printf("\nthe kernel reports a fault\n");
			status = 1 << 8;
		}
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
