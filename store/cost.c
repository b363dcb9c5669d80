/*
 * cost.c: what a file costs (store_cost.h).
 *
 *   1. the file's manifest gives its chunks, and of a pool the places that are its own
 *   2. their rows give payloads, codecs, and the chains of bases below
 *   3. all manifests of the store are walked: who else names one of these chunks?
 *   4. a chunk that another one leans on, of which that is so, is needed as well; chains are short, so a few rounds tell
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "chunk_parts.h"
#include "manifest_internal.h"
#include "store_cost.h"

enum { WALK_ROWS = 256, CHAIN_MAX = 64, CONTENT_HEAD = 13 };

/* A chunk of the file; of a pool, one place in it. */
struct part {
	uint64_t id;
	uint32_t off, len;         /* of a pool */
	uint32_t raw, payload;     /* of the chunk */
	uint64_t base;
	int codec;
	bool pool;
	bool others;               /* somebody else needs it */
};

struct cost {
	struct store *s;
	struct store_attr attr;
	struct part *v;            /* sorted by id, then place */
	size_t n, cap;
	bool piece_of_pool;        /* what chunk_is_pool() last said, of last_id */
	uint64_t last_id;
	int rc;
};

/* --- the file ---------------------------------------------------------------------------------------- */

static int is_pool(struct cost *c, uint64_t id, bool *out)
{
	int rc = 0;

	if (id != c->last_id && meta_format(c->s) >= 2) {
		meta_lock(c->s);
		sqlite3_stmt *st = meta_stmt(c->s, "SELECT 1 FROM pool WHERE chunk = ?1");

		if (!st) {
			rc = meta_fail(c->s);
		} else {
			sqlite3_bind_int64(st, 1, (int64_t)id);
			rc = meta_step(c->s, st);
		}
		meta_unlock(c->s);
		if (rc < 0)
			return rc;
		c->piece_of_pool = rc == 1;
		c->last_id = id;
	}
	*out = c->piece_of_pool;
	return 0;
}

static int collect(void *arg, uint64_t off, const struct piece *p)
{
	struct cost *c = arg;
	bool pool = false;

	(void)off;
	if (!p->id)
		return 0;
	c->rc = is_pool(c, p->id, &pool);
	if (c->rc)
		return 1;
	if (c->n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 64;
		struct part *v = reallocarray(c->v, cap, sizeof *v);

		if (!v) {
			c->rc = ckpt_fail(ENOMEM, "no memory to count what a file costs");
			return 1;
		}
		c->v = v;
		c->cap = cap;
	}
	c->v[c->n++] = (struct part){
		.id = p->id, .pool = pool, .off = pool ? p->off : 0, .len = pool ? (uint32_t)p->len : 0,
	};
	return 0;
}

static int by_id(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return (x->off > y->off) - (x->off < y->off);
}

/* Steps 1 and 2. */
static int open_cost(struct cost *c, uint64_t ino)
{
	size_t n = 0;
	int rc = store_getattr(c->s, ino, &c->attr);

	if (rc)
		return rc;
	if (!S_ISREG(c->attr.mode))
		return ckpt_fail(EINVAL, "inode %llu is no regular file", (unsigned long long)ino);
	if (!c->attr.version)
		return 0;
	rc = manifest_walk(c->s, c->attr.version, collect, c);
	if (rc < 0 || c->rc)
		return rc < 0 ? rc : c->rc;
	if (c->n)
		qsort(c->v, c->n, sizeof *c->v, by_id);
	for (size_t i = 0; i < c->n; i++) {
		struct chunk_head h;

		if (n && by_id(&c->v[n - 1], &c->v[i]) == 0)
			continue;
		rc = chunk_head_read(c->s, c->v[i].id, &h);
		if (rc < 0)
			return rc;
		c->v[n] = c->v[i];
		if (rc == 1) { /* one that is missing costs nothing: verify tells about it */
			c->v[n].raw = h.raw_len;
			c->v[n].payload = h.payload_len;
			c->v[n].base = h.base;
			c->v[n].codec = h.codec;
		}
		n++;
	}
	c->n = n;
	return 0;
}

/* The first part with this id; NULL: the file has none. */
static struct part *find(const struct cost *c, uint64_t id)
{
	size_t lo = 0, hi = c->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->v[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < c->n && c->v[lo].id == id ? &c->v[lo] : NULL;
}

static uint64_t plain(const struct part *p)
{
	return p->pool ? p->len : p->raw;
}

static uint64_t stored(const struct part *p)
{
	return p->pool && p->raw ? (uint64_t)p->payload * p->len / p->raw : p->payload;
}

/* --- the others --------------------------------------------------------------------------------------- */

/* Called for each piece of another version that is also the file's: `bytes` of it. Meta lock held. */
typedef int (*shared_piece)(void *arg, uint64_t version, struct part *p, uint64_t bytes);

static int look_at_row(struct cost *c, sqlite3_stmt *st, shared_piece fn, void *arg)
{
	uint64_t version = (uint64_t)sqlite3_column_int64(st, 0);
	struct manifest_row row = { 0 };
	const void *bytes = sqlite3_column_blob(st, 2);
	int rc = manifest_decode(bytes, (size_t)sqlite3_column_bytes(st, 2), (uint64_t)sqlite3_column_int64(st, 1), &row);

	for (size_t i = 0; rc == 0 && i < row.n; i++) {
		const struct piece *q = &row.pieces[i];
		struct part *p = q->id ? find(c, q->id) : NULL, *end = c->v + c->n;

		if (p && !p->pool)
			rc = fn(arg, version, p, q->len);
		for (; rc == 0 && p && p < end && p->pool && p->id == q->id; p++) {
			uint64_t from = p->off > q->off ? p->off : q->off;
			uint64_t to = p->off + p->len < q->off + q->len ? p->off + p->len : q->off + q->len;

			if (from < to)
				rc = fn(arg, version, p, to - from);
		}
	}
	manifest_row_release(&row);
	return rc;
}

/* Walks the manifests of all versions but the file's own. */
static int walk_others(struct cost *c, shared_piece fn, void *arg)
{
	struct store *s = c->s;
	int64_t version = 0, off = -1;
	int rc = 0, rows;

	do {
		rows = 0;
		meta_lock(s);
		sqlite3_stmt *st = meta_stmt(s, "SELECT version, off, pieces FROM manifest WHERE (version, off) > (?1, ?2)"
				" ORDER BY version, off LIMIT 256");

		if (!st) {
			rc = meta_fail(s);
		} else {
			sqlite3_bind_int64(st, 1, version);
			sqlite3_bind_int64(st, 2, off);
			while ((rc = meta_step(s, st)) == 1) {
				rows++;
				version = sqlite3_column_int64(st, 0);
				off = sqlite3_column_int64(st, 1);
				rc = (uint64_t)version == c->attr.version ? 0 : look_at_row(c, st, fn, arg);
				if (rc)
					break;
			}
		}
		meta_unlock(s);
	} while (rc == 0 && rows == WALK_ROWS);
	return rc;
}

static int mark_shared(void *arg, uint64_t version, struct part *p, uint64_t bytes)
{
	(void)arg, (void)version, (void)bytes;
	p->others = true;
	return 0;
}

/* Somebody else needs it: a chunk that leans on it is not the file's, or is needed itself. 1, 0, -errno. */
static int leaned_on(struct cost *c, uint64_t id)
{
	uint64_t by = 0;
	int rc;

	for (;;) {
		ckpt_mutex_lock(&c->s->chunks->db.lock);
		rc = chunk_row_leaned_on(c->s, id, by, &by);
		pthread_mutex_unlock(&c->s->chunks->db.lock);
		if (rc <= 0)
			return rc;
		const struct part *p = find(c, by);

		if (!p || p->others)
			return 1;
	}
}

/* Steps 3 and 4. */
static int mark_needed(struct cost *c)
{
	bool more = true;
	int rc = walk_others(c, mark_shared, NULL);

	for (int round = 0; rc == 0 && more && round < CHAIN_MAX; round++) {
		more = false;
		for (size_t i = 0; rc == 0 && i < c->n; i++) {
			if (c->v[i].others)
				continue;
			rc = leaned_on(c, c->v[i].id);
			if (rc == 1) {
				c->v[i].others = more = true;
				rc = 0;
			}
		}
	}
	return rc;
}

/* --- what it comes to ----------------------------------------------------------------------------------- */

static void count_codec(struct store_cost *out, int codec, unsigned chunks, uint64_t raw, uint64_t bytes)
{
	unsigned i;

	for (i = 0; i < out->ncodecs && out->codecs[i].codec != codec; i++)
		;
	if (i == STORE_COST_CODECS)
		i--; /* more kinds than a program can know: the last line takes them */
	if (i == out->ncodecs)
		out->codecs[out->ncodecs++] = (struct store_cost_codec){ .codec = codec };
	out->codecs[i].chunks += chunks;
	out->codecs[i].raw += raw;
	out->codecs[i].stored += bytes;
}

static int by_stored(const void *a, const void *b)
{
	const struct store_cost_codec *x = a, *y = b;

	if (x->stored != y->stored)
		return x->stored > y->stored ? -1 : 1;
	return x->codec - y->codec;
}

static int count_inline(struct cost *c, struct store_cost *out)
{
	const uint8_t *head;
	uint64_t bytes;
	int rc;

	meta_lock(c->s);
	sqlite3_stmt *st = meta_stmt(c->s, "SELECT length(content), substr(content, 1, 5) FROM version WHERE id = ?1 AND"
			" content IS NOT NULL");

	if (!st) {
		rc = meta_fail(c->s);
		goto unlock;
	}
	sqlite3_bind_int64(st, 1, (int64_t)c->attr.version);
	rc = meta_step(c->s, st);
	bytes = rc == 1 ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
	if (bytes > CONTENT_HEAD && sqlite3_column_bytes(st, 1) == 5) {
		head = sqlite3_column_blob(st, 1);
		out->inlined = head[1] | (uint64_t)head[2] << 8 | (uint64_t)head[3] << 16 | (uint64_t)head[4] << 24;
		out->inlined_stored = bytes - CONTENT_HEAD;
		out->stored += out->inlined_stored;
		out->own += out->inlined_stored;
		count_codec(out, head[0], 0, out->inlined, out->inlined_stored);
	}
unlock:
	meta_unlock(c->s);
	return rc < 0 ? rc : 0;
}

/* Bases below a chunk. */
static int depth_of(struct cost *c, const struct part *p, unsigned *out)
{
	uint64_t at = p->base;
	unsigned n = 0;

	while (at && n < CHAIN_MAX) {
		struct chunk_head h;
		int rc = chunk_head_read(c->s, at, &h);

		if (rc < 0)
			return rc;
		n++;
		at = rc == 1 ? h.base : 0;
	}
	*out = n;
	return 0;
}

static int add_up(struct cost *c, struct store_cost *out)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < c->n; i++) {
		const struct part *p = &c->v[i];
		bool first = i == 0 || c->v[i - 1].id != p->id;
		unsigned depth = 0;

		if (p->base && first)
			rc = depth_of(c, p, &depth);
		if (depth > out->deepest)
			out->deepest = depth;
		out->chunks += first;
		out->stored += stored(p);
		if (!p->others)
			out->own += stored(p);
		if (p->pool) {
			out->pooled += p->len;
			out->pooled_stored += stored(p);
		}
		count_codec(out, p->codec, first, plain(p), stored(p));
	}
	return rc;
}

int store_cost(struct store *s, uint64_t ino, struct store_cost *out)
{
	struct cost c = { .s = s };
	struct store_cost r = { 0 };
	int rc = open_cost(&c, ino);

	if (rc == 0) {
		r.version = c.attr.version;
		r.raw = c.attr.size;
		r.data = c.attr.data;
	}
	if (rc == 0 && r.version) {
		rc = c.n ? mark_needed(&c) : 0;
		if (rc == 0)
			rc = add_up(&c, &r);
		if (rc == 0)
			rc = count_inline(&c, &r);
		qsort(r.codecs, r.ncodecs, sizeof *r.codecs, by_stored);
	}
	free(c.v);
	if (rc == 0)
		*out = r;
	return rc;
}

/* --- with whom it shares ------------------------------------------------------------------------------------ */

struct sharer {
	uint64_t version, bytes;
	char *path;                /* malloc()ed */
	size_t len;
	int past;
};

struct sharers {
	struct sharer *v;          /* the largest so far, largest first; room for `most` */
	size_t n, most;
	struct sharer now;         /* of the version being walked */
};

/* The version that was walked is complete. */
static void settle(struct sharers *l)
{
	size_t at = l->n;

	if (!l->now.bytes)
		return;
	while (at > 0 && l->v[at - 1].bytes < l->now.bytes)
		at--;
	if (at < l->most) {
		size_t tail = (l->n < l->most ? l->n : l->most - 1) - at;

		memmove(&l->v[at + 1], &l->v[at], tail * sizeof *l->v);
		l->v[at] = l->now;
		if (l->n < l->most)
			l->n++;
	}
	l->now = (struct sharer){ 0 };
}

static int add_shared(void *arg, uint64_t version, struct part *p, uint64_t bytes)
{
	struct sharers *l = arg;

	(void)p;
	if (version != l->now.version)
		settle(l);
	l->now.version = version;
	l->now.bytes += bytes;
	return 0;
}

/* The path of a version: that of its file, or the one it had. Without one it is nobody's, and stays without. */
static int name_sharer(struct store *s, struct sharer *h)
{
	char path[4096];
	uint64_t ino = 0;
	ssize_t len = 0;
	int rc;

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT i.ino, NULL FROM version v JOIN inode i ON i.ino = v.ino AND i.version = v.id"
			" WHERE v.id = ?1 UNION ALL SELECT 0, path FROM history WHERE version = ?1 LIMIT 1");

	if (!st) {
		rc = meta_fail(s);
	} else {
		sqlite3_bind_int64(st, 1, (int64_t)h->version);
		rc = meta_step(s, st);
		if (rc == 1) {
			ino = (uint64_t)sqlite3_column_int64(st, 0);
			len = sqlite3_column_bytes(st, 1);
			h->past = ino == 0;
			if (h->past && (h->path = malloc((size_t)len + 1)))
				memcpy(h->path, sqlite3_column_blob(st, 1), (size_t)len);
			else if (h->past)
				rc = ckpt_fail(ENOMEM, "no memory to name who shares a file's chunks");
		}
	}
	meta_unlock(s);
	if (rc <= 0)
		return rc;
	if (ino) {
		len = store_pathof(s, ino, path, sizeof path);
		if (len < 0)
			return len == -ENOENT || len == -ERANGE ? 0 : (int)len;
		h->path = malloc((size_t)len + 1);
		if (!h->path)
			return ckpt_fail(ENOMEM, "no memory to name who shares a file's chunks");
		memcpy(h->path, path, (size_t)len);
	}
	h->path[len] = '\0';
	h->len = (size_t)len;
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	const struct sharer *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	if (!x->path || !y->path)
		return !x->path - !y->path;
	return strcmp(x->path, y->path);
}

int store_cost_shared(struct store *s, uint64_t ino, unsigned most,
		int (*emit)(void *arg, const char *path, size_t len, uint64_t bytes, int past), void *arg)
{
	struct cost c = { .s = s };
	struct sharers l = { .most = most };
	int rc = open_cost(&c, ino);

	if (rc || !c.n || !most)
		goto out;
	l.v = calloc(most, sizeof *l.v);
	rc = l.v ? walk_others(&c, add_shared, &l) : ckpt_fail(ENOMEM, "no memory to find who shares a file's chunks");
	if (rc == 0)
		settle(&l);
	for (size_t i = 0; rc == 0 && i < l.n; i++)
		rc = name_sharer(s, &l.v[i]);
	if (rc == 0 && l.n)
		qsort(l.v, l.n, sizeof *l.v, by_bytes);
	for (size_t i = 0; rc == 0 && i < l.n; i++)
		if (l.v[i].path && emit(arg, l.v[i].path, l.v[i].len, l.v[i].bytes, l.v[i].past))
			break;
	for (size_t i = 0; i < l.n; i++)
		free(l.v[i].path);
out:
	free(l.v);
	free(c.v);
	return rc;
}
