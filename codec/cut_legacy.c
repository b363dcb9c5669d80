/*
 * cut_legacy.c: torch.save() before the zip, and with _use_new_zipfile_serialization=False.
 *
 *   p0 magic number | p1 1001 | p2 sys_info | p3 the object | p4 [storage keys]      five pickles in a row
 *   then for each key of p4: i64 number of elements, their bytes                     no padding, no end mark
 *
 * p3 says how wide the elements of each storage are, p4 in which order they come.  The first one that is not
 * in both, or whose number of elements is another, ends the understanding.
 */
#include "cut_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt_error.h"

enum {
	PICKLES = 5,
	OBJECT = 3,          /* p3 */
	KEYS = 4,            /* p4 */
	KEYS_MAX = 1 << 18,
};

struct legacy {
	unsigned pickle;     /* which one is being read */
	struct pickle_walk walk;
	struct pickle_events events;
	struct cut_table table;
	uint64_t *key;       /* owned: hashes, in the order of the storages */
	size_t keys, room, next;
	uint8_t count[8];
	size_t count_len;
};

static void release(void *format)
{
	struct legacy *l = format;

	pickle_walk_release(&l->walk);
	cut_table_release(&l->table);
	free(l->key);
	free(l);
}

static int add_key(void *arg, const uint64_t *key)
{
	struct legacy *l = arg;

	if (key == NULL || l->keys == KEYS_MAX)
		return PICKLE_BEYOND;
	if (l->keys == l->room) {
		size_t room = l->room > 0 ? l->room * 2 : 64;
		uint64_t *more = realloc(l->key, room * sizeof *more);

		if (more == NULL)
			return ckpt_fail(ENOMEM, "out of memory for %zu keys of storages", room);
		l->key = more;
		l->room = room;
	}
	l->key[l->keys++] = *key;
	return PICKLE_ON;
}

static cut_take take_count;

static void after_storage(struct codec_cutter *c)
{
	struct legacy *l = c->format;

	if (l->next == l->keys) {
		cut_sniff(c);
		return;
	}
	l->count_len = 0;
	cut_expect(c, sizeof l->count, take_count);
}

static void take_count(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct legacy *l = c->format;
	struct cut_record r = { .after = after_storage };
	const struct cut_storage *s;

	memcpy(l->count + l->count_len, p, n);
	l->count_len += n;
	if (c->want > 0)
		return;
	s = cut_table_find(&l->table, l->key[l->next++]);
	if (s == NULL || __builtin_mul_overflow(container_le64(l->count), s->unit, &r.len) ||
			r.len != s->bytes) {
		cut_plain(c);
		return;
	}
	r.piece = cut_piece(s->item);
	r.hint = s->hint;
	r.print = s->print;
	memcpy(r.kind, s->kind, sizeof r.kind);
	if (r.len > 0)
		cut_begin(c, &r);
	else
		after_storage(c);
}

/* Gets ready for the next pickle. */
static void begin_pickle(struct legacy *l)
{
	pickle_walk_release(&l->walk);
	memset(&l->events, 0, sizeof l->events);
	if (l->pickle == OBJECT)
		l->events = cut_table_events(&l->table, 6);
	l->events.lenient = true;
	l->events.arg = l->pickle == OBJECT ? (void *)&l->table : l;
	l->events.string = l->pickle == KEYS ? add_key : NULL;
	pickle_walk_init(&l->walk, &l->events);
}

/* Of a pickle, never beyond its STOP: pickle_walk_span() said how many bytes may come. */
static void take_pickle(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct legacy *l = c->format;
	size_t used;
	int rc = pickle_walk_feed(&l->walk, p, n, &used);

	if (rc == PICKLE_ON) {
		if (l->pickle == OBJECT)
			cut_table_settle(&l->table);
		if (++l->pickle == PICKLES) {
			pickle_walk_release(&l->walk);
			after_storage(c);
			return;
		}
		begin_pickle(l);
	} else if (rc != PICKLE_ENDS) {
		cut_plain(c);
		return;
	}
	cut_expect(c, pickle_walk_span(&l->walk), take_pickle);
}

void cut_legacy(struct codec_cutter *c)
{
	struct legacy *l = cut_format(c, sizeof *l, release);

	if (l == NULL) {
		cut_plain(c);
		return;
	}
	l->pickle = 1;
	begin_pickle(l);
	cut_expect(c, pickle_walk_span(&l->walk), take_pickle);
}
