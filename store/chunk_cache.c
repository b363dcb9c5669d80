/*
 * chunk_cache.c: decoded chunks, shared by everybody who reads.
 *
 * An entry is being loaded (its buffer is NULL, whoever wants it waits) or loaded, and then in the list by
 * last use; the cache holds one reference on the buffer, each reader another.  A chunk never changes under
 * its id, so an entry is right as long as it is there.  Loading holds no lock: the row is read from the file
 * of chunks.db (row_pages_internal.h), or, where that says nothing, by SQLite; its payload is checked, and
 * decoded with the plain bytes of its base.  A chain of bases is read from the top to the first one that is
 * in the cache or is no difference, then decoded back up.
 *
 * What a sequential reader has passed leaves soon (chunk_spent()): decoding into memory that was just given
 * back, not into new pages up to the cache's limit, took 13 % off the CPU of a cold load of 100 MB.
 *
 * A row may get another form at any time (chunk_row_replace), so each is read once and whole: its payload fits its base,
 * whose plain bytes are the same in every form.  A base that is gone when its row is asked for is either lost, or
 * nobody's base any more: then the chunk above it, read again, says so, and the walk begins anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"

enum { CACHE_BUCKETS = 4096, CHAIN_MAX = 64 };

struct cache_entry {
	struct cache_entry *next;          /* same bucket */
	struct cache_entry *newer, *older;
	uint64_t id;
	struct chunk_buf *buf;
	bool dropped;                      /* while loading: it is not to stay */
	bool spent;                        /* nobody asked for it since chunk_spent() */
};

/* --- the table ------------------------------------------------------------------------------------ */

static struct cache_entry **place(struct chunk_cache *c, uint64_t id)
{
	struct cache_entry **p = &c->buckets[(id * UINT64_C(0x9E3779B97F4A7C15)) >> 32 & (c->nbuckets - 1)];

	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

static void list_remove(struct chunk_cache *c, struct cache_entry *e)
{
	*(e->newer ? &e->newer->older : &c->first) = e->older;
	*(e->older ? &e->older->newer : &c->last) = e->newer;
}

static void list_first(struct chunk_cache *c, struct cache_entry *e)
{
	e->newer = NULL;
	e->older = c->first;
	*(c->first ? &c->first->newer : &c->last) = e;
	c->first = e;
}

/* Takes a loaded entry out; the buffer's reference is the caller's to drop. */
static struct chunk_buf *evict(struct chunk_cache *c, struct cache_entry *e)
{
	struct chunk_buf *b = e->buf;

	*place(c, e->id) = e->next;
	list_remove(c, e);
	c->bytes -= b->len;
	c->n--;
	free(e);
	return b;
}

static void trim(struct chunk_cache *c)
{
	while (c->bytes > c->limit && c->last)
		chunk_put(evict(c, c->last));
}

/* --- buffers and contexts ------------------------------------------------------------------------- */

static struct chunk_buf *buf_new(uint64_t id, uint8_t *data, uint32_t len)
{
	struct chunk_buf *b = malloc(sizeof *b);

	if (!b)
		return NULL;
	atomic_init(&b->refs, 1);
	b->len = len;
	b->id = id;
	b->data = data;
	return b;
}

void chunk_put(struct chunk_buf *b)
{
	if (b && atomic_fetch_sub(&b->refs, 1) == 1) {
		free(b->data);
		free(b);
	}
}

static int ctx_take(struct store *s, struct codec_ctx **out)
{
	struct chunk_cache *c = &s->chunks->cache;

	pthread_mutex_lock(&c->lock);
	struct codec_ctx *x = c->nspare ? c->spare[--c->nspare] : NULL;

	pthread_mutex_unlock(&c->lock);
	if (!x)
		return codec_ctx_new(s->opt.effort, out);
	*out = x;
	return 0;
}

static void ctx_give(struct store *s, struct codec_ctx *x)
{
	struct chunk_cache *c = &s->chunks->cache;

	pthread_mutex_lock(&c->lock);
	if (c->nspare < sizeof c->spare / sizeof c->spare[0]) {
		c->spare[c->nspare++] = x;
		x = NULL;
	}
	pthread_mutex_unlock(&c->lock);
	codec_ctx_free(x);
}

/* --- loading -------------------------------------------------------------------------------------- */

/* A row's plain bytes. Takes the payload out of *r when it is them. */
static int decode(struct store *s, struct chunk_row *r, const struct chunk_buf *base, struct chunk_buf **out)
{
	struct codec_ctx *x = NULL;
	uint8_t *raw;
	int rc = 0;

	if (r->codec == CODEC_RAW && r->payload_len == r->raw_len) {
		raw = r->payload;
		r->payload = NULL;
	} else {
		raw = malloc(r->raw_len);
		if (!raw)
			return ckpt_fail(ENOMEM, "chunk %llu: no memory", (unsigned long long)r->id);
		rc = ctx_take(s, &x);
		if (rc)
			goto free_raw;
		rc = codec_decode(x, r->codec, r->payload, r->payload_len, base ? base->data : NULL, base ? base->len : 0, raw,
				r->raw_len);
		ctx_give(s, x);
		if (rc) {
			rc = ckpt_context(rc == -ENOMEM ? rc : -EIO, "chunk %llu (%s)", (unsigned long long)r->id,
					codec_name(r->codec));
			goto free_raw;
		}
	}
	struct chunk_buf *b = buf_new(r->id, raw, r->raw_len);

	if (!b) {
		rc = ckpt_fail(ENOMEM, "chunk %llu: no memory", (unsigned long long)r->id);
		goto free_raw;
	}
	atomic_fetch_add(&s->chunks->counts.decoded_bytes, r->raw_len);
	*out = b;
	return 0;
free_raw:
	free(raw);
	return rc;
}

/* A loaded entry's buffer, with a reference; NULL. */
static struct chunk_buf *peek(struct store *s, uint64_t id)
{
	struct chunk_cache *c = &s->chunks->cache;

	pthread_mutex_lock(&c->lock);
	struct cache_entry *e = *place(c, id);
	struct chunk_buf *b = e ? e->buf : NULL;

	if (b)
		atomic_fetch_add(&b->refs, 1);
	pthread_mutex_unlock(&c->lock);
	return b;
}

/* The columns that reading takes, from the file itself: 1, its payload has its check; 0: SQLite is to be asked; -ENOMEM. */
static int row_read_pages(struct store *s, uint64_t id, struct chunk_row *r)
{
	struct row_pages *pages = &s->chunks->db.pages;
	struct row_place at;

	if (!row_pages_find(pages, id, &at))
		return 0;
	uint8_t *payload = malloc(at.payload_len ? at.payload_len : 1);

	if (!payload)
		return ckpt_fail(ENOMEM, "chunk %llu: no memory", (unsigned long long)id);
	if (!row_pages_read(pages, &at, payload)) {
		free(payload);
		return 0;
	}
	*r = (struct chunk_row){ .id = id, .base = at.base, .raw_len = at.raw_len, .codec = at.codec, .check = at.check,
		.payload = payload, .payload_len = at.payload_len };
	return 1;
}

/*
 * A row that somebody names: that it is missing, or lost with its batch, is damage to who reads.  Its payload has its check.
 */
static int row_read(struct store *s, uint64_t id, struct chunk_row *r)
{
	int rc = row_read_pages(s, id, r);

	if (rc)
		return rc < 0 ? rc : 0;
	rc = chunk_row_read(s, id, r);
	if (rc)
		return rc == -ENOMEM ? rc : -EIO;
	if (codec_check(r->payload, r->payload_len) == r->check)
		return 0;
	chunk_row_release(r);
	return ckpt_fail(EIO, "chunk %llu: payload damaged", (unsigned long long)id);
}

/* Rows from `id` down to one whose base is at hand (*below, NULL: it has none); *n of them. -EAGAIN: one has changed. */
static int read_chain(struct store *s, uint64_t id, struct chunk_row *rows, int *n, struct chunk_buf **below)
{
	int rc = row_read(s, id, &rows[0]);

	for (*n = rc == 0; rc == 0; ++*n) {
		const struct chunk_row *last = &rows[*n - 1];
		struct chunk_head again;

		if (last->base == 0 || (*below = peek(s, last->base)))
			return 0;
		if (*n == CHAIN_MAX)
			return ckpt_fail(EIO, "chunk %llu: more than %d bases below one another", (unsigned long long)id,
					CHAIN_MAX);
		rc = row_read(s, last->base, &rows[*n]);
		if (rc) {
			if (chunk_head_read(s, last->id, &again) == 1 && again.base != last->base)
				return -EAGAIN;
			return ckpt_context(rc, "chunk %llu: a base of it", (unsigned long long)id);
		}
	}
	return rc;
}

static int load_once(struct store *s, uint64_t id, struct chunk_buf **out)
{
	struct chunk_row rows[CHAIN_MAX];
	struct chunk_buf *below = NULL;
	int n = 0, rc = read_chain(s, id, rows, &n, &below);

	for (int i = n; rc == 0 && i-- > 0;) {
		struct chunk_buf *b = NULL;

		rc = decode(s, &rows[i], below, &b);
		if (rc && i)
			rc = ckpt_context(rc, "chunk %llu", (unsigned long long)id);
		if (rc == 0) {
			chunk_put(below);
			below = b;
		}
	}
	while (n > 0)
		chunk_row_release(&rows[--n]);
	if (rc)
		chunk_put(below);
	else
		*out = below;
	return rc;
}

static int load(struct store *s, uint64_t id, struct chunk_buf **out)
{
	int rc = -EAGAIN;

	for (int i = 0; rc == -EAGAIN && i < CHAIN_MAX; i++)
		rc = load_once(s, id, out);
	return rc == -EAGAIN ? ckpt_fail(EIO, "chunk %llu: its base changes all the time", (unsigned long long)id) : rc;
}

/* --- the way out ---------------------------------------------------------------------------------- */

int chunk_get(struct store *s, uint64_t id, struct chunk_buf **out)
{
	struct chunk_cache *c = &s->chunks->cache;
	struct cache_entry *e, **p;
	struct chunk_buf *b = NULL;

	pthread_mutex_lock(&c->lock);
	while ((e = *(p = place(c, id))) && !e->buf)
		ckpt_cond_wait(&c->loaded, &c->lock);
	if (e) {
		if (e != c->first) {
			list_remove(c, e);
			list_first(c, e);
		}
		e->spent = false;
		b = e->buf;
		atomic_fetch_add(&b->refs, 1);
		pthread_mutex_unlock(&c->lock);
		atomic_fetch_add(&s->chunks->counts.hits, 1);
		*out = b;
		return 0;
	}
	e = calloc(1, sizeof *e);
	if (!e) {
		pthread_mutex_unlock(&c->lock);
		return ckpt_fail(ENOMEM, "chunk %llu: no memory", (unsigned long long)id);
	}
	e->id = id;
	*p = e;
	c->n++;
	pthread_mutex_unlock(&c->lock);
	atomic_fetch_add(&s->chunks->counts.misses, 1);

	ckpt_will_wait();
	int rc = load(s, id, &b);

	pthread_mutex_lock(&c->lock);
	if (rc || e->dropped) {
		*place(c, id) = e->next;
		c->n--;
		free(e);
	} else {
		e->buf = b;
		atomic_fetch_add(&b->refs, 1);
		c->bytes += b->len;
		list_first(c, e);
		trim(c);
	}
	pthread_cond_broadcast(&c->loaded);
	pthread_mutex_unlock(&c->lock);
	if (rc == 0)
		*out = b;
	return rc;
}

int chunk_get_aside(struct store *s, uint64_t id, struct chunk_buf **out)
{
	struct chunk_buf *b = peek(s, id);

	if (!b)
		return load(s, id, out);
	*out = b;
	return 0;
}

void chunk_spent(struct store *s, uint64_t id)
{
	struct chunk_cache *c = &s->chunks->cache;

	pthread_mutex_lock(&c->lock);
	struct cache_entry *e = *place(c, id);

	if (e && e->buf && !e->spent) {
		uint64_t oldest = c->spent[c->spent_at];

		e->spent = true;
		c->spent[c->spent_at] = id;
		c->spent_at = (c->spent_at + 1) % CHUNK_SPENT_MAX;
		e = oldest && oldest != id ? *place(c, oldest) : NULL;
		if (e && e->buf && e->spent)
			chunk_put(evict(c, e));
	}
	pthread_mutex_unlock(&c->lock);
}

bool chunk_cached(struct store *s, uint64_t id)
{
	struct chunk_cache *c = &s->chunks->cache;

	pthread_mutex_lock(&c->lock);
	bool there = *place(c, id) != NULL;

	pthread_mutex_unlock(&c->lock);
	return there;
}

void chunk_cache_drop(struct store *s, uint64_t id)
{
	struct chunk_cache *c = &s->chunks->cache;

	pthread_mutex_lock(&c->lock);
	struct cache_entry *e = *place(c, id);

	if (e && e->buf)
		chunk_put(evict(c, e));
	else if (e)
		e->dropped = true;
	pthread_mutex_unlock(&c->lock);
}

int chunk_cache_open(struct store *s)
{
	struct chunk_cache *c = &s->chunks->cache;

	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->loaded, NULL);
	c->limit = s->opt.cache_bytes ? s->opt.cache_bytes : (size_t)64 << 20;
	c->nbuckets = CACHE_BUCKETS;
	c->buckets = calloc(c->nbuckets, sizeof(struct cache_entry *));
	return c->buckets ? 0 : ckpt_fail(ENOMEM, "no memory for the cache of chunks");
}

void chunk_cache_close(struct store *s)
{
	struct chunk_cache *c = &s->chunks->cache;

	while (c->last)
		chunk_put(evict(c, c->last));
	free(c->buckets);
	while (c->nspare)
		codec_ctx_free(c->spare[--c->nspare]);
	pthread_cond_destroy(&c->loaded);
	pthread_mutex_destroy(&c->lock);
}
