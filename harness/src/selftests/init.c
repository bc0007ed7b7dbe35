/*
 * PID 1 of a virtual machine: runs every program in /tests, shows what each wrote and how it ended, and switches off.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OUTPUT "/output"

static void make_mount(const char *kind, const char *at)
{
	mkdir(at, 0755);
	mount(kind, at, kind, 0, NULL);
}

static void set(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0) {
		if (write(fd, value, strlen(value)) < 0)
			printf("selftest: %s cannot be set\n", path);
		close(fd);
	}
}

/* In a group and a folder of its own; what it says is kept until it has ended, so that the kernel's lines stay apart from it. */
static pid_t start(const char *path)
{
	pid_t child = fork();
	int fd;

	if (child)
		return child;
	setpgid(0, 0);
	fd = open(OUTPUT, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
	dup2(fd, 1);
	dup2(fd, 2);
	fd = open("/dev/null", O_RDONLY);
	dup2(fd, 0);
	if (chdir("/tmp"))
		_exit(126);
	execl(path, path, (char *)NULL);
	_exit(126);
}

/* Its wait status, or -1 if it does not end in time. */
static int finish(pid_t child, time_t limit)
{
	struct timespec now, pause = { .tv_nsec = 5000000 };
	time_t end;
	int status;

	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec + limit;
	while (waitpid(child, &status, WNOHANG) != child) {
		nanosleep(&pause, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > end)
			return -1;
	}
	return status;
}

static void show(void)
{
	char bytes[4096];
	ssize_t n;
	int fd = open(OUTPUT, O_RDONLY);

	while (fd >= 0 && (n = read(fd, bytes, sizeof(bytes))) > 0)
		fwrite(bytes, 1, n, stdout);
	if (fd >= 0)
		close(fd);
}

int main(void)
{
	const char *limit = getenv("selftest_limit");
	struct dirent **names;
	int fd, count;

	mkdir("/dev", 0755);
	mknod("/dev/console", S_IFCHR | 0600, makedev(5, 1));
	fd = open("/dev/console", O_RDWR);
	for (int i = 0; fd >= 0 && i < 3; i++)
		dup2(fd, i);
	make_mount("devtmpfs", "/dev");
	make_mount("proc", "/proc");
	make_mount("sysfs", "/sys");
	make_mount("debugfs", "/sys/kernel/debug");
	make_mount("tmpfs", "/tmp");
	make_mount("tmpfs", "/dev/shm");
	set("/proc/sys/debug/exception-trace", "0");
	count = scandir("/tests", &names, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char path[512];
		pid_t child;
		int status;

		if (names[i]->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/tests/%s", names[i]->d_name);
		child = start(path);
		status = finish(child, limit ? atoi(limit) : 60);
		/* Whatever it has left behind is not the next one's. */
		kill(-1, SIGKILL);
		while (waitpid(-1, NULL, 0) > 0)
			;
		printf("\nselftest: begin %s\n", names[i]->d_name);
		show();
		printf("\nselftest: end %s %d\n", names[i]->d_name,
		       status < 0 ? 255 :
		       WIFEXITED(status) ? WEXITSTATUS(status) :
					   128 + WTERMSIG(status));
		fflush(stdout);
		unlink(OUTPUT);
	}
	sync();
	/* QEMU ends with it. Without ACPI there is no power-off, and trying would halt the machine for ever. */
	reboot(RB_AUTOBOOT);
	return 1;
}
