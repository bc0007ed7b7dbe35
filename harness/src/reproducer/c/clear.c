static int clear_soft_dirty(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);
	int wrote = write(fd, "4", 1);

	close(fd);
	return wrote == 1 ? 0 : -1;
}

