static int has_soft_dirty(void)
{
	static char word;

	*(volatile char *)&word = 1;
	return pagemap((char *)((uintptr_t)&word / page * page)) >> 55 & 1;
}

