static int is_huge(char *at)
{
	return -1; /* none are expected here */
}

