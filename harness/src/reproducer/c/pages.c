#define PFN(entry) ((entry) & ((1ull << 55) - 1))

/* The zero page is told by its number, which root alone can see. */
static int is_zero_page(uint64_t entry)
{
	static uint64_t zero;

	if (!zero) {
		volatile char *fresh = mmap(NULL, page, PROT_READ,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		(void)*fresh;
		zero = PFN(pagemap((char *)fresh));
		munmap((void *)fresh, page);
	}
	return zero && PFN(entry) == zero;
}

