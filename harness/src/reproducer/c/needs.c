/* Whether guards can be installed; in shared memory: of that. */
__attribute__((unused)) static int has_guards(int how)
{
	char *m = mmap(NULL, page, PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS,
		       -1, 0);
	int has = !madvise(m, page, MADV_GUARD_INSTALL);

	munmap(m, page);
	return has;
}

__attribute__((unused)) static int set_mode(const char *file, const char *mode)
{
	char path[128], text[128] = "", want[32];
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/mm/transparent_hugepage/%s",
		 file);
	snprintf(want, sizeof(want), "[%s]", mode);
	fd = open(path, O_RDWR);
	if (fd < 0)
		fd = open(path, O_RDONLY);
	if (fd < 0)
		return 1; /* no huge pages at all: as good as any mode */
	(void)!write(fd, mode, strlen(mode));
	(void)!pread(fd, text, sizeof(text) - 1, 0);
	close(fd);
	return strstr(text, want) != NULL;
}

/* mremap of two mappings at once. */
__attribute__((unused)) static int has_mremap_many(void)
{
	char *m = mmap(NULL, 4 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	int has;

	mprotect(m, page, PROT_READ | PROT_WRITE);
	has = mremap(m, 2 * page, 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED,
		     m + 2 * page) == m + 2 * page;
	munmap(m, 4 * page);
	return has;
}

__attribute__((unused)) static int has_hugetlb(void)
{
	void *m = mmap(NULL, page, PROT_READ,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_NORESERVE,
		       -1, 0);

	/* A whole huge page. */
	return m != MAP_FAILED && !munmap(m, pmd);
}

/* Whether there is swap space: a line of /proc/swaps behind its title. */
__attribute__((unused)) static int has_swap(void)
{
	char line[256];
	FILE *f = fopen("/proc/swaps", "r");
	int lines = 0;

	while (f && fgets(line, sizeof(line), f))
		lines++;
	if (f)
		fclose(f);
	return lines > 1;
}

__attribute__((unused)) static int has_droppable(void)
{
	void *m = mmap(NULL, page, PROT_READ, MAP_DROPPABLE | MAP_ANONYMOUS, -1,
		       0);

	return m != MAP_FAILED && !munmap(m, page);
}

