__attribute__((noreturn)) static void leave(int status)
{
	fflush(stdout);
	if (status)
		shared->failed = status;
	_exit(status);
}

__attribute__((noreturn)) static void leave_at_once(int status)
{
	shared->failed = status;
	_exit(status);
}

