/*
 * container_legacy.c: has torch's legacy format all of its storages?
 *
 *   p0 magic number | p1 1001 | p2 sys_info | p3 the object | p4 [storage keys]     five pickles, one after the other
 *   then for each key of p4: i64 number of elements, their bytes                    no padding, no end mark
 *
 * A file that ends inside a pickle is torn.  Otherwise it must be as long as its storages say: the sum over
 * the distinct storages that p3 names (pickle_walk.c finds them) of 8 + elements * width is what must follow
 * p4, and p4 must list the same keys.  Where the walk meets what it does not understand the answer is NONE.
 *
 * torch.save() may be called several times on one open file: another head behind the last storage starts
 * over.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "ckpt_error.h"
#include "container_pickle.h"

enum {
	PICKLES = 5,
	OBJECT = 3,             /* p3 */
	KEYS = 4,               /* p4 */
	STORAGES_MAX = 1 << 20, /* 16 MiB of them; more is beyond us */
};
/* Bytes of pickles that are looked at; what lies in long strings is skipped and does not count. */
#define READ_MAX (UINT64_C(32) << 20)

struct storage {
	uint64_t key; /* hash */
	uint64_t bytes;
};

struct save {
	struct storage *storage; /* owned */
	size_t storages, room;
	uint64_t keys, keys_sum; /* of p4: how many, and their hashes added up */
};

static int by_key(const void *a, const void *b)
{
	const struct storage *x = a, *y = b;

	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

/* Sorts the storages and keeps each once. One key with two sizes is PICKLE_BEYOND. */
static int settle(struct save *v)
{
	size_t n = 0;

	if (v->storages == 0)
		return PICKLE_ON;
	qsort(v->storage, v->storages, sizeof v->storage[0], by_key);
	for (size_t i = 0; i < v->storages; i++) {
		if (n > 0 && v->storage[n - 1].key == v->storage[i].key) {
			if (v->storage[n - 1].bytes != v->storage[i].bytes)
				return PICKLE_BEYOND;
			continue;
		}
		v->storage[n++] = v->storage[i];
	}
	v->storages = n;
	return PICKLE_ON;
}

static int add_storage(void *arg, const struct pickle_storage *s)
{
	struct save *v = arg;

	if (v->storages == v->room) {
		struct storage *more;
		int rc = settle(v);

		if (rc != PICKLE_ON)
			return rc;
		/* When at least half of them were the same again, the room does for as many more. */
		if (v->storages >= v->room / 2) {
			size_t room = v->room > 0 ? v->room * 2 : 64;

			if (room > STORAGES_MAX)
				return PICKLE_BEYOND;
			more = realloc(v->storage, room * sizeof *more);
			if (more == NULL)
				return ckpt_fail(ENOMEM, "out of memory for %zu storages", room);
			v->storage = more;
			v->room = room;
		}
	}
	v->storage[v->storages++] = (struct storage){ s->key, s->bytes };
	return PICKLE_ON;
}

static int add_key(void *arg, const uint64_t *key)
{
	struct save *v = arg;

	if (key == NULL)
		return PICKLE_BEYOND;
	v->keys++;
	v->keys_sum += *key;
	return PICKLE_ON;
}

/*
 * The five pickles from *pos on; then *pos is where the storages begin and *bytes how long they are.  Answers
 * as container_pickle() does.
 */
static int one_save(struct container_src *s, struct save *v, uint64_t *pos, uint64_t *bytes)
{
	uint64_t sum = 0;
	int rc;

	for (unsigned i = 0; i < PICKLES; i++) {
		struct pickle_events events = {
			.storage = i == OBJECT ? add_storage : NULL,
			.string = i == KEYS ? add_key : NULL,
			.arg = v,
			.id_len = 6,
		};

		rc = container_pickle(s, pos, READ_MAX, &events);
		if (rc != PICKLE_ON)
			return rc;
	}
	rc = settle(v);
	if (rc != PICKLE_ON)
		return rc;
	*bytes = 0;
	for (size_t i = 0; i < v->storages; i++) {
		sum += v->storage[i].key;
		if (__builtin_add_overflow(*bytes, v->storage[i].bytes, bytes) ||
		    __builtin_add_overflow(*bytes, 8, bytes))
			return PICKLE_BEYOND;
	}
	return sum == v->keys_sum && v->storages == v->keys ? PICKLE_ON : PICKLE_BEYOND;
}

/* PROTO n, a FRAME from protocol 4 on, and LONG1 with torch's magic number 0x1950a86a20f9469cfc6c. */
enum container_match container_legacy_match(const uint8_t *p, size_t n)
{
	static const char frame[] = "\x95\x0d\0\0\0\0\0\0\0";
	static const char number[] = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

	if (n < 1 || p[0] != 0x80 || (n > 1 && (p[1] < 1 || p[1] > 5)))
		return CONTAINER_NO;
	if (n <= 2)
		return CONTAINER_PREFIX;
	if (p[1] >= 4) {
		enum container_match m = container_match(p + 2, n - 2, frame, sizeof frame - 1);

		return m != CONTAINER_YES ? m :
			container_match(p + 2 + sizeof frame - 1, n - 2 - (sizeof frame - 1), number, sizeof number - 1);
	}
	return container_match(p + 2, n - 2, number, sizeof number - 1);
}

int container_legacy(struct container_src *s)
{
	uint64_t pos = 0;

	for (;;) {
		uint8_t head[CONTAINER_LEGACY_HEAD];
		struct save v = { 0 };
		enum container_match m;
		uint64_t bytes = 0;
		size_t n;
		int rc = one_save(s, &v, &pos, &bytes);

		free(v.storage);
		if (rc < 0)
			return rc;
		if (rc == PICKLE_BEYOND)
			return CODEC_CONTAINER_NONE;
		if (rc == PICKLE_ENDS || bytes > s->size - pos)
			return CODEC_CONTAINER_TORN;
		pos += bytes;
		if (pos == s->size)
			return CODEC_CONTAINER_WHOLE;
		n = s->size - pos < sizeof head ? (size_t)(s->size - pos) : sizeof head;
		rc = container_read(s, pos, head, n);
		if (rc <= 0)
			return rc < 0 ? rc : CODEC_CONTAINER_TORN;
		m = container_legacy_match(head, n);
		if (m != CONTAINER_YES)
			return m == CONTAINER_PREFIX ? CODEC_CONTAINER_TORN : CODEC_CONTAINER_NONE;
	}
}
