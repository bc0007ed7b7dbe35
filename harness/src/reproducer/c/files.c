/* A file of 24 pages of which so many are written; and it again, for reading. */
static void fill(int fd, int written, int tag)
{
	(void)!ftruncate(fd, 24 * page);
	for (uint64_t n = 0; n < written; n++) {
		uint64_t value = ((uint64_t)tag << 16 | n) + 1;

		(void)!pwrite(fd, &value, 8, n * page);
	}
}

__attribute__((unused)) static int for_reading(int fd)
{
	char path[64];

	sprintf(path, "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY);
}

