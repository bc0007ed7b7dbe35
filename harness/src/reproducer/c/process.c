static long process_madvise_of(pid_t pid, int count, int advice, int flags)
{
	int fd = syscall(434 /* pidfd_open */, pid, 0), error;
	long done = syscall(440 /* process_madvise */, fd, vectors, count,
			    advice, flags);

	error = errno;
	close(fd);
	errno = error;
	return done;
}

