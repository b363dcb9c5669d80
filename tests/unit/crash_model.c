/*
 * crash_model.c: contents, trees, steps and promises.
 */
#include "crash_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_hash.h"
#include "store/chunk_parts.h"
#include "store/store_file.h"
#include "store/store_tree.h"

enum {
	PIECE = 48 << 10,        /* what contents are put together from; the same ones come again */
	PIECES = 40,
};

/* --- memory, without faults ----------------------------------------------------------------------- */

static void *need(void *p)
{
	if (!p) {
		fprintf(stderr, "crash_model: no memory\n");
		abort();
	}
	return p;
}

void *crash_alloc(void *p, size_t n)
{
	fault_hold();
	p = need(realloc(p, n ? n : 1));
	fault_release();
	return p;
}

struct content *content_new(size_t size)
{
	struct content *c = crash_alloc(NULL, sizeof *c);

	*c = (struct content){ .refs = 1, .size = size, .data = crash_alloc(NULL, size) };
	memset(c->data, 0, size);
	return c;
}

struct content *content_ref(struct content *c)
{
	if (c)
		atomic_fetch_add(&c->refs, 1);
	return c;
}

void content_drop(struct content *c)
{
	if (c && atomic_fetch_sub(&c->refs, 1) == 1) {
		free(c->data);
		free(c);
	}
}

struct content *content_seal(struct content *c)
{
	c->hash = (uint64_t)codec_check(c->data, c->size);
	return c;
}

struct content *content_copy(const struct content *c, size_t size)
{
	struct content *n = content_new(size);

	memcpy(n->data, c->data, size < c->size ? size : c->size);
	return n;
}

uint64_t world_random(struct world *w)
{
	w->rng ^= w->rng << 13;
	w->rng ^= w->rng >> 7;
	w->rng ^= w->rng << 17;
	return w->rng;
}

size_t world_below(struct world *w, size_t n)
{
	return (size_t)((world_random(w) >> 11) % n);
}

void content_fill(uint8_t *p, size_t n, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

	for (size_t i = 0; i < n; i++) {
		if (i % 8 == 0) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
		}
		p[i] = (uint8_t)(x >> (8 * (i % 8)));
	}
}

/* A checkpoint of a training, as safetensors: each step is stored as a difference to another one, now or later. */
static struct content *content_train(size_t step)
{
	enum { HEAD = 120, FLOATS = 6000, STEP = 1 << 10 };
	struct content *c = content_new(8 + HEAD + FLOATS * sizeof(uint32_t));
	uint8_t *p = c->data;

	memset(p, 0, 8);
	p[0] = HEAD;
	memset(p + 8, ' ', HEAD);
	snprintf((char *)p + 8, HEAD, "{\"w\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[0,%d]}}", FLOATS, FLOATS * 4);
	p[8 + strlen((char *)p + 8)] = ' ';
	p += 8 + HEAD;
	content_fill(p, FLOATS * sizeof(uint32_t), 99);
	for (size_t i = 0; i < FLOATS; i++) {
		uint32_t u;

		memcpy(&u, p + i * 4, 4);
		u = (u & 0x807fffff) | (120 + (u >> 23 & 3)) << 23; /* about 1/64 */
		u ^= (uint32_t)(step * (i * 2654435761u)) % STEP;
		memcpy(p + i * 4, &u, 4);
	}
	return content_seal(c);
}

/* Pieces that come again now and then; one in eight is new. Or a checkpoint, whatever the size. */
struct content *content_random(struct world *w, size_t size)
{
	if (world_below(w, 5) == 0)
		return content_train(world_below(w, 20));

	struct content *c = content_new(size);

	for (size_t at = 0; at < size; at += PIECE)
		content_fill(c->data + at, size - at < PIECE ? size - at : PIECE, world_below(w, 8) ? 1 + world_below(w, PIECES) : world_random(w));
	return content_seal(c);
}

/* --- steps ---------------------------------------------------------------------------------------- */

void tree_state_release(struct tree_state *t)
{
	for (size_t i = 0; i < t->n; i++)
		content_drop(t->v[i].content);
	free(t->v);
	*t = (struct tree_state){ 0 };
}

struct tree_state tree_state_copy(const struct tree_state *t)
{
	struct tree_state c = { crash_alloc(NULL, t->n * sizeof *t->v), t->n };

	for (size_t i = 0; i < t->n; i++) {
		c.v[i] = t->v[i];
		content_ref(c.v[i].content);
	}
	return c;
}

struct tree_state *world_now(struct world *w)
{
	return &w->steps[w->nsteps - 1];
}

/* A step begins: a copy of the tree so far, to be changed. */
struct tree_state *world_begin(struct world *w)
{
	if (w->nsteps == w->cap_steps) {
		w->cap_steps = w->cap_steps ? 2 * w->cap_steps : 64;
		w->steps = crash_alloc(w->steps, w->cap_steps * sizeof *w->steps);
		w->begun = crash_alloc(w->begun, w->cap_steps * sizeof *w->begun);
	}
	w->steps[w->nsteps] = w->nsteps ? tree_state_copy(world_now(w)) : (struct tree_state){ 0 };
	w->begun[w->nsteps] = disk_events(w->disk);
	w->nsteps++;
	return world_now(w);
}

void world_promise(struct world *w, bool durable)
{
	if (w->npromises == w->cap_promises) {
		w->cap_promises = w->cap_promises ? 2 * w->cap_promises : 64;
		w->promises = crash_alloc(w->promises, w->cap_promises * sizeof *w->promises);
	}
	w->promises[w->npromises++] = (struct promise){ disk_events(w->disk), w->nsteps - 1 - w->unsure, durable };
}

struct item *item_find(struct tree_state *t, const char *path)
{
	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->v[i].path, path) == 0)
			return &t->v[i];
	return NULL;
}

struct item *item_add(struct tree_state *t, const char *path, uint32_t type, uint64_t ino, struct content *c)
{
	size_t i = 0;

	t->v = crash_alloc(t->v, (t->n + 1) * sizeof *t->v);
	while (i < t->n && strcmp(t->v[i].path, path) < 0)
		i++;
	memmove(&t->v[i + 1], &t->v[i], (t->n - i) * sizeof *t->v);
	t->n++;
	t->v[i] = (struct item){ .type = type, .ino = ino, .content = content_ref(c) };
	snprintf(t->v[i].path, sizeof t->v[i].path, "%s", path);
	return &t->v[i];
}

void item_remove(struct tree_state *t, const char *path)
{
	struct item *it = item_find(t, path);

	if (!it)
		return;
	content_drop(it->content);
	t->n--;
	memmove(it, it + 1, (size_t)(t->v + t->n - it) * sizeof *it);
}

void item_set_content(struct tree_state *t, uint64_t ino, struct content *c)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].ino == ino) {
			content_drop(t->v[i].content);
			t->v[i].content = content_ref(c);
		}
}

/* --- a world's life --------------------------------------------------------------------------------- */

void world_init(struct world *w, const char *dir, struct disk *d, uint64_t seed)
{
	*w = (struct world){ .dir = dir, .disk = d, .rng = seed * 0x9e3779b97f4a7c15u | 1, .next_ino = 2 };
	w->opt = (struct store_options){ .create = true, .vfs = FAULT_VFS, .workers = 1, .history_seconds = -1,
		.cache_bytes = 1 << 20, .dirty_bytes = 4 << 20 };
	world_begin(w);
}

void world_fork(struct world *w, const struct world *from, struct disk *d, uint64_t seed)
{
	world_init(w, from->dir, d, seed);
	w->opt = from->opt;
	w->little = from->little;
	w->next_ino = from->next_ino;
	w->slow_ino = from->slow_ino;
	tree_state_release(&w->steps[0]);
	w->steps[0] = tree_state_copy(&from->steps[from->nsteps - 1]);
	world_promise(w, true);
}

static void drop_slow(struct world *w)
{
	if (w->slow) {
		store_file_abort(w->slow, false);
		store_file_close(w->slow);
	}
	w->slow = NULL;
	w->slow_session = false;
	content_drop(w->slow_now);
	w->slow_now = NULL;
}

void world_release(struct world *w)
{
	for (size_t i = 0; i < w->nsteps; i++)
		tree_state_release(&w->steps[i]);
	free(w->steps);
	free(w->begun);
	free(w->promises);
	content_drop(w->slow_now);
}

int world_open(struct world *w)
{
	if (disk_mirror(w->disk, w->dir))
		return -EIO;
	int rc = store_open(w->dir, &w->opt, &w->s);

	/* Every other time chunks take the way through chunks.plain. */
	if (rc == 0)
		atomic_store(&w->s->chunks->pipe.forced, world_below(w, 2) ? PRESSURE_FLOOD : PRESSURE_BY_QUEUE);
	return rc;
}

int world_close(struct world *w)
{
	struct store *s = w->s;

	if (!s)
		return 0;
	drop_slow(w);
	w->held = 0;
	w->s = NULL;
	int rc = store_close(s);

	if (rc == 0)
		world_promise(w, true);
	return rc;
}

void world_crash(struct world *w)
{
	drop_slow(w);
	w->held = 0;
	store_crash(w->s);
	w->s = NULL;
}

void world_range(const struct world *w, size_t events, bool power, size_t *lo, size_t *hi)
{
	*lo = *hi = 0;
	for (size_t i = 0; i < w->npromises; i++)
		if (w->promises[i].events <= events && (w->promises[i].durable || !power))
			*lo = w->promises[i].step;
	for (size_t i = 0; i < w->nsteps; i++)
		if (w->begun[i] <= events)
			*hi = i;
}
