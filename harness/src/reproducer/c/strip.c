/* Whether a page is what a letter says; see pages_are(). */
static int page_is(char *at, char letter)
{
	uint64_t e = pagemap(at);
	int present = e >> 63 & 1, swap = e >> 62 & 1, file = e >> 61 & 1;
	int guard = e >> 58 & 1, once = e >> 56 & 1, huge;

	if (letter == '?')
		return 1;
	if (letter == '_' || !vma_of(at).start)
		return letter == '_' && !vma_of(at).start;
	switch (letter) {
	case '.':
		return !present && !swap && !guard;
	case 'G': /* a swap entry before 6.15 */
		return guard || swap;
	case '~':
		return swap && !guard;
	}
	huge = is_huge(at);
	if (!present || (huge >= 0 && huge != (letter < 'a')))
		return 0;
	switch (letter | 0x20) {
	case 'z':
		return !file && !once && (is_zero_page(e) || !PFN(e) || huge > 0);
	case 'a':
		return !file && once;
	case 's':
		return !file && !once && !is_zero_page(e);
	case 'f':
		return file && once;
	default:
		return file && !once;
	}
}

/*
 * Whether the pages from an address on look like a strip, a letter for each:
 *   _ not mapped, . mapped and empty, G guard, z zero page, ~ swap entry,
 *   a anonymous and mapped once, s anonymous and mapped more than once,
 *   f and m the same of a file, capital letters: in a huge page, ? any.
 * | is the border of a VMA, < and > say that it goes on there; rw-p as in maps.
 */
static int pages_are(char *at, const char *strip)
{
	char *first = at;
	int joined = 0;

	for (const char *s = strip; *s;) {
		int border = vma_of(at - page).start != vma_of(at).start;
		char letter = *s++;
		long count = 1;

		if (letter == ' ')
			continue;
		if (letter == '|' || letter == '<' || letter == '>') {
			if (border != (letter == '|') ||
			    (letter != '|' && !vma_of(at).start))
				goto wrong;
			joined = 0;
			if (letter != '>' && strlen(s) >= 4 &&
			    strspn(s, "rwxps-") >= 4 && strchr("r-", s[0]) &&
			    strchr("w-", s[1]) && strchr("x-", s[2]) &&
			    strchr("ps", s[3])) {
				if (memcmp(vma_of(at).perms, s, 4))
					goto wrong;
				s += 4;
			}
			continue;
		}
		if (!strncmp(s, "*pmd", 4)) {
			s += 4;
			count = pmd / page;
			if (*s == '-')
				count += strtol(s, (char **)&s, 10);
		} else if (*s == '*') {
			count = strtol(s + 1, (char **)&s, 10);
		}
		for (; count > 0; count--, at += page) {
			border = vma_of(at - page).start != vma_of(at).start;
			if (joined && letter != '?' && border)
				goto wrong;
			if (!page_is(at, letter))
				goto wrong;
			joined = letter != '?';
		}
	}
	return 1;
wrong:
	printf("expected %s, which page %ld of it is not:\n", strip,
	       (long)((at - first) / page));
	printf("  %p-%p %s, pagemap %#llx\n", vma_of(at).start, vma_of(at).end,
	       vma_of(at).perms, (unsigned long long)pagemap(at));
	return 0;
}

