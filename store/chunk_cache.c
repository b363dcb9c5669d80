/*
 * chunk_cache.c: decoded chunks, shared by everybody who reads.
 *
 * An entry is being loaded (its buffer is NULL, whoever wants it waits) or loaded, and then in the list by last use; the
 * cache holds one reference on the buffer, each reader another.  A chunk never changes under its id, so an entry is
 * right as long as it is there.  Loading holds no lock: the row is copied out of chunks.db, its payload checked, and
 * decoded with the plain bytes of its base.  A chain of bases is walked down by the rows' heads to the first one that
 * is in the cache or is no difference, then decoded back up.
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

	if (codec_check(r->payload, r->payload_len) != r->check)
		return ckpt_fail(EIO, "chunk %llu: payload damaged", (unsigned long long)r->id);
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

/* A row that somebody names: that it is missing, or lost with its batch, is damage to who reads. */
static int row_read(struct store *s, uint64_t id, struct chunk_row *r)
{
	int rc = chunk_row_read(s, id, r);

	return rc == 0 || rc == -ENOMEM ? rc : -EIO;
}

/* The plain bytes of `id`, which is a difference to `base`. */
static int load_chain(struct store *s, uint64_t id, uint64_t base, struct chunk_buf **out)
{
	uint64_t chain[CHAIN_MAX];
	int n = 0, rc = 0;
	struct chunk_buf *below = NULL;

	chain[n++] = id;
	for (uint64_t at = base; at && !(below = peek(s, at));) {
		struct chunk_row r;

		if (n == CHAIN_MAX)
			return ckpt_fail(EIO, "chunk %llu: more than %d bases below one another", (unsigned long long)id, CHAIN_MAX);
		chain[n++] = at;
		rc = row_read(s, at, &r);
		if (rc)
			return ckpt_context(rc, "chunk %llu: a base of it", (unsigned long long)id);
		at = r.base;
		chunk_row_release(&r);
	}
	while (rc == 0 && n > 0) {
		struct chunk_row r;
		struct chunk_buf *b = NULL;

		rc = row_read(s, chain[--n], &r);
		if (rc)
			break;
		rc = decode(s, &r, below, &b);
		chunk_row_release(&r);
		if (rc == 0) {
			chunk_put(below);
			below = b;
		}
	}
	if (rc) {
		chunk_put(below);
		return ckpt_context(rc, "chunk %llu", (unsigned long long)id);
	}
	*out = below;
	return 0;
}

static int load(struct store *s, uint64_t id, struct chunk_buf **out)
{
	struct chunk_row r;
	int rc = row_read(s, id, &r);

	if (rc)
		return rc;
	rc = r.base ? load_chain(s, id, r.base, out) : decode(s, &r, NULL, out);
	chunk_row_release(&r);
	return rc;
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
