/*
 * chunk_pin.c: which chunks are in use though no manifest names them yet, and the marks of a collection.
 *
 * A collection looks at every manifest once.  What is named only after its place was looked at was pinned by whoever
 * named it (chunk_internal.h), and a pin leaves a mark when it goes while a collection runs.  So a chunk that is neither
 * marked nor pinned at the moment of its deletion is named by nobody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"

/* --- idmap ---------------------------------------------------------------------------------------- */

static size_t slot_of(const struct idmap *m, uint64_t key)
{
	return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 20) & (m->cap - 1);
}

uint64_t *idmap_find(const struct idmap *m, uint64_t key)
{
	if (m->n == 0)
		return NULL;
	for (size_t i = slot_of(m, key); m->keys[i]; i = (i + 1) & (m->cap - 1))
		if (m->keys[i] == key)
			return &m->vals[i];
	return NULL;
}

static int idmap_grow(struct idmap *m)
{
	struct idmap g = { .cap = m->cap ? m->cap * 2 : 64, .n = m->n };

	g.keys = calloc(g.cap, sizeof *g.keys);
	g.vals = calloc(g.cap, sizeof *g.vals);
	if (!g.keys || !g.vals) {
		idmap_release(&g);
		return -1;
	}
	for (size_t i = 0; i < m->cap; i++) {
		if (!m->keys[i])
			continue;
		size_t at = slot_of(&g, m->keys[i]);

		while (g.keys[at])
			at = (at + 1) & (g.cap - 1);
		g.keys[at] = m->keys[i];
		g.vals[at] = m->vals[i];
	}
	free(m->keys);
	free(m->vals);
	*m = g;
	return 0;
}

uint64_t *idmap_get(struct idmap *m, uint64_t key)
{
	uint64_t *v = idmap_find(m, key);

	if (v)
		return v;
	if (m->n >= m->cap / 2 && idmap_grow(m) < 0)
		return NULL;
	size_t i = slot_of(m, key);

	while (m->keys[i])
		i = (i + 1) & (m->cap - 1);
	m->keys[i] = key;
	m->vals[i] = 0;
	m->n++;
	return &m->vals[i];
}

void idmap_remove(struct idmap *m, uint64_t key)
{
	uint64_t *v = idmap_find(m, key);

	if (!v)
		return;
	size_t hole = (size_t)(v - m->vals), mask = m->cap - 1;

	/* Entries behind the hole move up when their own place lies at or before it. */
	for (size_t i = (hole + 1) & mask; m->keys[i]; i = (i + 1) & mask) {
		if (((i - slot_of(m, m->keys[i])) & mask) >= ((i - hole) & mask)) {
			m->keys[hole] = m->keys[i];
			m->vals[hole] = m->vals[i];
			hole = i;
		}
	}
	m->keys[hole] = 0;
	m->n--;
	if (m->n == 0 && m->cap > 4096)
		idmap_release(m); /* a big session is over */
}

void idmap_release(struct idmap *m)
{
	free(m->keys);
	free(m->vals);
	*m = (struct idmap){ 0 };
}

/* --- pins ----------------------------------------------------------------------------------------- */

int chunk_pins_open(struct store *s)
{
	pthread_mutex_init(&s->chunks->pins.lock, NULL);
	return 0;
}

void chunk_pins_close(struct store *s)
{
	idmap_release(&s->chunks->pins.counts);
	pthread_mutex_destroy(&s->chunks->pins.lock);
}

int chunk_pin(struct store *s, uint64_t id)
{
	struct chunk_pins *p = &s->chunks->pins;

	if (id == 0)
		return 0;
	pthread_mutex_lock(&p->lock);
	uint64_t *n = idmap_get(&p->counts, id);

	if (n)
		++*n;
	pthread_mutex_unlock(&p->lock);
	return n ? 0 : ckpt_fail(ENOMEM, "no memory to pin chunk %llu", (unsigned long long)id);
}

static void mark_one(struct chunk_pins *p, uint64_t id)
{
	if (p->marks && id <= p->mark_max)
		p->marks[id / 64] |= UINT64_C(1) << (id % 64);
}

void chunk_unpin(struct store *s, uint64_t id)
{
	struct chunk_pins *p = &s->chunks->pins;

	if (id == 0)
		return;
	pthread_mutex_lock(&p->lock);
	uint64_t *n = idmap_find(&p->counts, id);

	if (n && --*n == 0) {
		mark_one(p, id);
		idmap_remove(&p->counts, id);
	}
	pthread_mutex_unlock(&p->lock);
}

/* --- marks ---------------------------------------------------------------------------------------- */

void marks_begin(struct store *s, uint64_t *marks, uint64_t max)
{
	struct chunk_pins *p = &s->chunks->pins;

	pthread_mutex_lock(&p->lock);
	p->marks = marks;
	p->mark_max = max;
	pthread_mutex_unlock(&p->lock);
}

void marks_end(struct store *s)
{
	marks_begin(s, NULL, 0);
}

void mark(struct store *s, const uint64_t *ids, size_t n)
{
	struct chunk_pins *p = &s->chunks->pins;

	pthread_mutex_lock(&p->lock);
	for (size_t i = 0; i < n; i++)
		mark_one(p, ids[i]);
	pthread_mutex_unlock(&p->lock);
}

bool chunk_unwanted(struct store *s, uint64_t id)
{
	struct chunk_pins *p = &s->chunks->pins;

	pthread_mutex_lock(&p->lock);
	bool wanted = !p->marks || id > p->mark_max || (p->marks[id / 64] >> (id % 64) & 1) || idmap_find(&p->counts, id);

	pthread_mutex_unlock(&p->lock);
	return !wanted;
}
