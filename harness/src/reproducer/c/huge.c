/* PAGEMAP_SCAN of one page: PAGE_IS_HUGE; -1 where the kernel has no such call. */
static int is_huge(char *at)
{
	uint64_t region[3] = { 0 };
	uint64_t arg[12] = { 96,     0, (uintptr_t)at, (uintptr_t)at + page,
			     0,      (uintptr_t)region, 1, 0, 0, 0, 1 << 6,
			     1 << 6 };
	int fd = open("/proc/self/pagemap", O_RDONLY);
	int found = syscall(SYS_ioctl, fd, 0xc0606610, arg);

	close(fd);
	return found;
}

