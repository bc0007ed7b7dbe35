__attribute__((noreturn)) static void leave(int status)
{
	exit(status);
}

