__attribute__((noreturn)) static void leave(int status)
{
	exit(status);
}

__attribute__((noreturn)) static void leave_at_once(int status)
{
	_exit(status);
}

