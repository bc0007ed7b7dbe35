/* Whether smaps shows these VmFlags for the VMA that holds an address; !gu: not gu. */
static int vm_flags(char *at, const char *wanted)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	char line[512], words[64], flags[512] = "";
	struct vma v = vma_of(at);
	int here = 0, ok = 1;
	void *start, *end;

	while (smaps && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%p-%p ", &start, &end) == 2)
			here = (char *)start == v.start;
		if (here && !strncmp(line, "VmFlags:", 8))
			strcpy(flags, line + 8);
	}
	if (smaps)
		fclose(smaps);
	strcpy(words, wanted);
	for (char *w = strtok(words, " "); w; w = strtok(NULL, " ")) {
		char flag[5] = { ' ', w[*w == '!'], w[1 + (*w == '!')], 0 };

		if (!strstr(flags, flag) == (*w != '!'))
			ok = 0;
	}
	if (!ok)
		printf("VmFlags are%s", flags);
	return ok;
}

