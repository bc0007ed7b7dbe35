#define after_fault() rights()

/* Keys without restrictions, against stores, and against all access. */
static const int restricted[3] = { 0, PKEY_DISABLE_WRITE, PKEY_DISABLE_ACCESS };
static int keys[3];

/* A signal leaves none but key 0 open. */
static void rights(void)
{
	for (int i = 0; i < 3; i++)
		if (keys[i] > 0)
			pkey_set(keys[i], restricted[i]);
}

__attribute__((unused)) static int has_keys(void)
{
	for (int i = 0; i < 3; i++)
		if (!keys[i])
			keys[i] = pkey_alloc(0, restricted[i]);
	return keys[2] > 0;
}

static int key(int which)
{
	has_keys();
	return keys[which];
}

