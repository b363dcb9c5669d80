/*
 * record_name.c: see record_name.h.
 */
#include "record_name.h"

#include <string.h>
#include <xxhash.h>

/* A hash's low bits, never 0 or RECORD_NAME_SHORT. */
static uint32_t shortened(uint64_t hash)
{
	return (uint32_t)hash | 2;
}

uint32_t record_name_rest(const void *key, size_t len)
{
	const char *p = key, *end = p + len, *dot = len > 0 ? memchr(p, '.', len) : NULL;

	if (dot == NULL)
		return 0;
	dot++;
	if (memchr(dot, '.', (size_t)(end - dot)) == NULL)
		return RECORD_NAME_SHORT;
	return shortened(XXH3_64bits(dot, (size_t)(end - dot)));
}

struct record_name record_name_of(uint64_t key, uint32_t rest, uint64_t around)
{
	uint64_t both[2] = { around, key };

	if (rest == 0)
		return (struct record_name){ .whole = shortened(XXH3_64bits(both, sizeof both)) };
	return (struct record_name){ .whole = shortened(key), .rest = rest == RECORD_NAME_SHORT ? 0 : rest };
}
