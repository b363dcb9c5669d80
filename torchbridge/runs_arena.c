/*
 * runs_arena.c: the memory of a scan: given out in order, given back at once.
 */
#include "runs_internal.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum { RUNS_BLOCK = 64 << 10 };

struct runs_block {
	struct runs_block *next;
	size_t used, room;
	alignas(max_align_t) uint8_t bytes[];
};

void runs_arena_release(struct runs_arena *a)
{
	while (a->block != NULL) {
		struct runs_block *b = a->block;

		a->block = b->next;
		free(b);
	}
	a->taken = 0;
}

static void *take(struct runs_arena *a, size_t len, size_t align)
{
	struct runs_block *b = a->block;
	size_t at = b != NULL ? (b->used + align - 1) & ~(align - 1) : 0;
	size_t room;

	if (b == NULL || at > b->room || len > b->room - at) {
		room = len > RUNS_BLOCK / 4 ? len : RUNS_BLOCK;
		if (room > SIZE_MAX - sizeof *b)
			return ckpt_fail(ENOMEM, "out of memory for %zu bytes", len), NULL;
		b = calloc(1, sizeof *b + room);
		if (b == NULL)
			return ckpt_fail(ENOMEM, "out of memory for %zu bytes", room), NULL;
		b->room = room;
		a->taken += sizeof *b + room;
		/* A block for one large item goes behind the one that still has room. */
		if (a->block != NULL && room != RUNS_BLOCK) {
			b->next = a->block->next;
			a->block->next = b;
		} else {
			b->next = a->block;
			a->block = b;
		}
		at = 0;
	}
	b->used = at + len;
	return b->bytes + at;
}

void *runs_alloc(struct runs_arena *a, size_t n, size_t size)
{
	size_t len;

	if (__builtin_mul_overflow(n, size, &len))
		return ckpt_fail(ENOMEM, "out of memory for %zu items of %zu bytes", n, size), NULL;
	return take(a, len > 0 ? len : 1, alignof(max_align_t));
}

char *runs_text(struct runs_arena *a, const char *p, size_t len)
{
	char *s;

	if (len == SIZE_MAX)
		return ckpt_fail(ENOMEM, "out of memory for a text"), NULL;
	s = take(a, len + 1, 1);
	if (s != NULL && len > 0)
		memcpy(s, p, len);
	if (s != NULL)
		s[len] = 0;
	return s;
}

char *runs_join(struct runs_arena *a, const char *dir, const char *name)
{
	size_t d = strlen(dir), n = strlen(name);
	char *s;

	if (d == 0 || n == 0)
		return d == 0 ? runs_text(a, name, n) : runs_text(a, dir, d);
	s = take(a, d + n + 2, 1);
	if (s == NULL)
		return NULL;
	memcpy(s, dir, d);
	s[d] = '/';
	memcpy(s + d + 1, name, n + 1);
	return s;
}

int runs_grow(void *array, size_t have, size_t *cap, size_t size)
{
	size_t want = *cap > 0 ? *cap : 16, bytes;
	void *p, *was;

	if (have < *cap)
		return 0;
	while (want <= have) {
		if (want > SIZE_MAX / 2)
			return ckpt_fail(ENOMEM, "out of memory for %zu items", have);
		want *= 2;
	}
	if (__builtin_mul_overflow(want, size, &bytes))
		return ckpt_fail(ENOMEM, "out of memory for %zu items", want);
	memcpy(&was, array, sizeof was); /* the caller's pointer has a type of its own */
	p = realloc(was, bytes);
	if (p == NULL)
		return ckpt_fail(ENOMEM, "out of memory for %zu bytes", bytes);
	memcpy(array, &p, sizeof p);
	*cap = want;
	return 0;
}

int runs_compare_path(const char *a, const char *b)
{
	while (*a != 0 && *a == *b)
		a++, b++;
	if (*a == *b)
		return 0;
	if (*a == 0 || *b == 0)
		return *a == 0 ? -1 : 1;
	if (*a == '/' || *b == '/')
		return *a == '/' ? -1 : 1;
	return (uint8_t)*a < (uint8_t)*b ? -1 : 1;
}
