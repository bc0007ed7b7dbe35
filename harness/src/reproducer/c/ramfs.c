#include <sys/mount.h>
#include <sys/stat.h>

static int ramfs_file(void)
{
	int fd;

	mkdir("/tmp/repro-ramfs", 0700);
	if (mount("ramfs", "/tmp/repro-ramfs", "ramfs", 0, NULL))
		return -1;
	fd = open("/tmp/repro-ramfs/file", O_RDWR | O_CREAT, 0600);
	umount2("/tmp/repro-ramfs", MNT_DETACH);
	return fd;
}

