/*
 * Calls that have the kernel read or write the memory of `vectors`. What they
 * move from or to it: of each page the first eight bytes, as loads and stores
 * have them, and zeros behind. Of what was read, got[] has the tags' words.
 */
enum way {
	PIPE_WRITE, PIPE_READ, MEMFD_WRITE, MEMFD_READ, VM_READ, VM_WRITE,
	MEM_READ, MEM_WRITE, VMSPLICE
};

/* Goes through the first `moved` bytes: each page of which one of the first eight is there. */
static void each_page(char *bytes, long moved, int tag)
{
	long before = 0;

	done = 0;
	for (struct iovec *v = vectors; before < moved; before += v++->iov_len) {
		char *at = v->iov_base, *end = at + v->iov_len;
		uintptr_t start = (uintptr_t)at / page * page;

		if (end > at + (moved - before))
			end = at + (moved - before);
		for (; (char *)start < end; start += page) {
			uint64_t word = 0, number = ((char *)start - p) / (long)page & 0xffff;
			char *from = (char *)start < at ? at : (char *)start;
			char *to = (char *)start + 8 < end ? (char *)start + 8 : end;

			if (from >= to)
				continue;
			if (tag) {
				word = ((uint64_t)tag << 16 | number) + 1;
				memcpy(bytes + before + (from - at),
				       (char *)&word + (from - (char *)start), to - from);
			} else {
				memcpy((char *)&word + (from - (char *)start),
				       bytes + before + (from - at), to - from);
				got[done++] = word;
			}
		}
	}
}

/* Bytes that the kernel moved, or -1; tag 0 where it reads. */
static long transfer(enum way way, pid_t pid, int count, int tag)
{
	static char bytes[64 * 65536];
	static int ends[2] = { -1, -1 }, memfd;
	char path[64], *at = vectors[0].iov_base;
	struct iovec own;
	long len = 0, result = -1;
	int fd, error;

	if (ends[0] < 0) {
		(void)!pipe2(ends, O_NONBLOCK);
		memfd = memfd_create("transfer", 0);
	}
	for (int i = 0; i < count; i++)
		len += vectors[i].iov_len;
	memset(bytes, 0, len);
	if (tag)
		each_page(bytes, len, tag);
	own = (struct iovec){ bytes, len };
	errno = 0;
	switch (way) {
	case PIPE_WRITE:
		result = write(ends[1], at, len);
		break;
	case VMSPLICE:
		result = vmsplice(ends[1], vectors, 1, 0);
		break;
	case PIPE_READ:
		(void)!write(ends[1], bytes, len);
		result = read(ends[0], at, len);
		break;
	case MEMFD_WRITE:
		result = pwrite(memfd, at, len, 0);
		break;
	case MEMFD_READ:
		(void)!pwrite(memfd, bytes, len, 0);
		result = pread(memfd, at, len, 0);
		break;
	case VM_READ:
		result = process_vm_readv(pid, &own, 1, vectors, count, 0);
		break;
	case VM_WRITE:
		result = process_vm_writev(pid, &own, 1, vectors, count, 0);
		break;
	default:
		snprintf(path, sizeof(path), "/proc/%d/mem", pid);
		fd = open(path, O_RDWR);
		result = way == MEM_READ ? pread(fd, bytes, len, (uintptr_t)at) :
					   pwrite(fd, bytes, len, (uintptr_t)at);
		error = errno;
		close(fd);
		errno = error;
	}
	error = errno;
	if ((way == PIPE_WRITE || way == VMSPLICE) && result > 0)
		(void)!read(ends[0], bytes, result);
	if (way == MEMFD_WRITE && result > 0)
		(void)!pread(memfd, bytes, result, 0);
	while (len && read(ends[0], path, sizeof(path)) > 0)
		;
	(void)!ftruncate(memfd, 0);
	if (!tag)
		each_page(bytes, result, 0);
	errno = error;
	return result;
}

