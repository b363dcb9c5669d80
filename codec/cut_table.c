/*
 * cut_table.c: the storages that a pickle names, by their names.
 *
 * A storage is told each time a tensor refers to it; the first time counts.  Those with the same path (the
 * items of a list) are numbered in their order.
 */
#include "cut_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ckpt_error.h"

enum {
	STORAGES_MAX = 1 << 18, /* some 20 MiB of them; those behind are found by other means, or not */
	PROBES = 256,           /* slots looked at; only keys that are made to collide need as many */
};

/* The slot of the storage `key`, or the free one where it belongs, or NULL. */
static uint32_t *slot_of(const struct cut_table *t, uint64_t key)
{
	size_t i = (size_t)key;

	for (unsigned probe = 0; t->slots > 0 && probe < PROBES; probe++, i++) {
		uint32_t *slot = &t->slot[i & (t->slots - 1)];

		if (*slot == 0 || t->v[*slot - 1].key == key)
			return slot;
	}
	return NULL;
}

/* Room for twice as many. */
static int grow(struct cut_table *t)
{
	size_t room = t->room > 0 ? t->room * 2 : 64, slots = room * 2;
	struct cut_storage *v;
	uint32_t *slot = calloc(slots, sizeof *slot);

	if (slot == NULL)
		return ckpt_fail(ENOMEM, "out of memory for %zu storages", room);
	v = realloc(t->v, room * sizeof *v);
	if (v == NULL) {
		free(slot);
		return ckpt_fail(ENOMEM, "out of memory for %zu storages", room);
	}
	free(t->slot);
	t->v = v;
	t->room = room;
	t->slot = slot;
	t->slots = slots;
	for (size_t i = 0; i < t->n; i++) {
		slot = slot_of(t, v[i].key);
		if (slot != NULL)
			*slot = (uint32_t)i + 1;
	}
	return PICKLE_ON;
}

static int add_storage(void *arg, const struct pickle_storage *s)
{
	struct cut_table *t = arg;
	uint32_t *slot;

	t->now = SIZE_MAX;
	slot = slot_of(t, s->key);
	if (slot != NULL && *slot != 0)
		return PICKLE_ON;
	if (t->n == t->room) {
		int rc = t->n < STORAGES_MAX ? grow(t) : PICKLE_BEYOND;

		if (rc != PICKLE_ON)
			return rc;
		slot = slot_of(t, s->key);
	}
	if (slot == NULL)
		return PICKLE_ON;
	t->v[t->n] = (struct cut_storage){
		.key = s->key, .path = s->path, .bytes = s->bytes, .name = s->name, .hint = s->type.hint,
		.unit = s->type.item, .item = s->type.item,
	};
	t->now = t->n++;
	*slot = (uint32_t)t->n;
	return PICKLE_ON;
}

static void set_shape(void *arg, unsigned dims, uint64_t last, uint64_t before)
{
	struct cut_table *t = arg;

	if (t->now < t->n) {
		t->v[t->now].dims = dims;
		t->v[t->now].last = last;
		t->v[t->now].before = before;
	}
}

static void set_type(void *arg, const struct pickle_type *type)
{
	struct cut_table *t = arg;

	if (t->now < t->n) {
		t->v[t->now].hint = type->hint;
		t->v[t->now].item = type->item;
	}
}

struct pickle_events cut_table_events(struct cut_table *t, unsigned id_len)
{
	t->now = SIZE_MAX;
	return (struct pickle_events){
		.storage = add_storage,
		.shape = set_shape,
		.type = set_type,
		.arg = t,
		.id_len = id_len,
		.paths = true,
		.lenient = true,
	};
}

struct named {
	uint64_t path;
	size_t i;
};

static int by_path(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	if (x->path != y->path)
		return x->path < y->path ? -1 : 1;
	return x->i < y->i ? -1 : x->i > y->i;
}

void cut_table_settle(struct cut_table *t)
{
	struct named *order = t->n > 0 ? malloc(t->n * sizeof *order) : NULL;
	uint64_t seq = 0;

	if (order == NULL) {
		cut_table_release(t);
		return;
	}
	for (size_t i = 0; i < t->n; i++)
		order[i] = (struct named){ t->v[i].path, i };
	qsort(order, t->n, sizeof *order, by_path);
	for (size_t i = 0; i < t->n; i++) {
		struct cut_storage *s = &t->v[order[i].i];

		seq = i > 0 && order[i - 1].path == s->path ? seq + 1 : 0;
		cut_shape(&s->hint, s->item, s->dims, s->last, s->before);
		s->print = cut_print(s->path, seq, &s->hint, s->bytes);
		s->kind[0] = cut_kind(s->name.whole, seq, &s->hint, s->bytes);
		s->kind[1] = cut_kind(s->name.rest, seq, &s->hint, s->bytes);
	}
	free(order);
}

const struct cut_storage *cut_table_find(const struct cut_table *t, uint64_t key)
{
	const uint32_t *slot = slot_of(t, key);

	return slot != NULL && *slot != 0 ? &t->v[*slot - 1] : NULL;
}

void cut_table_release(struct cut_table *t)
{
	free(t->v);
	free(t->slot);
	memset(t, 0, sizeof *t);
}
