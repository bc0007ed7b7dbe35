static int has_guard_flag(void)
{
	char *m = mmap(NULL, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int has;

	madvise(m, page, MADV_GUARD_INSTALL);
	has = vm_flags(m, "gu");
	munmap(m, page);
	return has;
}

