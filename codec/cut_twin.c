/*
 * cut_twin.c: which tensors of a file are copies of one another in other clothes, by name, type and shape.
 *
 * The first tensor of a kind is remembered, and is the twin of all that follow: so several averages are told as
 * differences to one and the same network, not to each other.
 */
#include "cut_internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
	PLACES_FIRST = 256,
	PLACES_MAX = 1 << 17, /* 2 MiB of them; tensors behind those have no twins */
	PROBES = 32,          /* looked at; only names that are made to collide need as many */
};

uint64_t cut_kind(uint32_t name, uint64_t seq, const struct codec_hint *hint, uint64_t bytes)
{
	uint64_t all[5] = { name, seq, hint->row,
		(uint64_t)hint->width << 16 | hint->kind << 8 | hint->exponent_bits,
		bytes };
	uint64_t h;

	if (name == 0)
		return 0;
	h = XXH3_64bits(all, sizeof all);
	return h == 0 ? 1 : h;
}

/* The place of that kind, or the free one where it belongs, or NULL. */
static struct cut_place *place_of(const struct cut_twins *t, uint64_t kind)
{
	for (unsigned probe = 0; t->room > 0 && probe < PROBES; probe++) {
		struct cut_place *p = &t->v[(kind + probe) & (t->room - 1)];

		if (p->kind == 0 || p->kind == kind)
			return p;
	}
	return NULL;
}

/* Room for twice as many, if there may be. */
static void grow(struct cut_twins *t)
{
	struct cut_twins more = { .room = t->room > 0 ? t->room * 2 : PLACES_FIRST };

	if (more.room > PLACES_MAX)
		return;
	more.v = calloc(more.room, sizeof more.v[0]);
	if (more.v == NULL)
		return;
	for (size_t i = 0; i < t->room; i++) {
		struct cut_place *p = t->v[i].kind != 0 ? place_of(&more, t->v[i].kind) : NULL;

		if (p != NULL) {
			*p = t->v[i];
			more.n++;
		}
	}
	free(t->v);
	*t = more;
}

uint64_t cut_twin(struct cut_twins *t, const uint64_t kind[2], uint64_t at)
{
	uint64_t twin = 0;

	for (unsigned k = 0; k < 2; k++) {
		struct cut_place *p;

		if (kind[k] == 0)
			continue;
		if (t->n >= t->room / 2)
			grow(t);
		p = place_of(t, kind[k]);
		if (p == NULL)
			continue;
		if (p->kind != 0) {
			if (twin == 0)
				twin = p->at;
		} else if (t->n < t->room / 2) {
			*p = (struct cut_place){ kind[k], at };
			t->n++;
		}
	}
	return twin;
}

void cut_twins_release(struct cut_twins *t)
{
	free(t->v);
	memset(t, 0, sizeof *t);
}
