/*
 * pool_thin.c: pools of which most has died (pool_internal.h).
 *
 * The members of a pool are looked for in the manifests of the versions from lo to hi.  When they are less than half of what
 * the pool was made of, their bytes become inline content again, and the pool is none any more; its chunk goes when nobody
 * names it.  A member that is open, or changes while we look, stays where it is, and so does the pool, until another time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"
#include "file_internal.h"
#include "pool_internal.h"

enum { SCAN_ROWS = 256 };

struct row {
	uint64_t chunk, raw, lo, hi;
};

/* A member found: where its bytes are, and what they become. */
struct living {
	struct pool_member m;
	uint8_t *content;
	size_t content_len;
};

struct thin {
	struct store *s;
	struct row row;
	uint64_t live;             /* bytes that some version in the range names */
	bool odd;                  /* a member is not as pooling made it: the pool stays */
	struct living *v;
	size_t n, cap;
};

static int next_pool(struct store *s, uint64_t after, struct row *out)
{
	int rc;

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT chunk, raw, lo, hi FROM pool WHERE chunk > ?1 ORDER BY chunk LIMIT 1");

	if (!st) {
		rc = meta_fail(s);
	} else {
		sqlite3_bind_int64(st, 1, (int64_t)after);
		rc = meta_step(s, st);
		if (rc == 1)
			*out = (struct row){
				.chunk = (uint64_t)sqlite3_column_int64(st, 0),
				.raw = (uint64_t)sqlite3_column_int64(st, 1),
				.lo = (uint64_t)sqlite3_column_int64(st, 2),
				.hi = (uint64_t)sqlite3_column_int64(st, 3),
			};
	}
	meta_unlock(s);
	return rc;
}

static int add(struct thin *t, const struct pool_member *m)
{
	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct living *v = realloc(t->v, cap * sizeof *v);

		if (!v)
			return ckpt_fail(ENOMEM, "no memory to thin a pool of small files");
		t->v = v;
		t->cap = cap;
	}
	t->v[t->n++] = (struct living){ .m = *m };
	return 0;
}

/* One manifest row, joined with its version. Meta lock held. */
static int look(struct thin *t, sqlite3_stmt *st)
{
	struct manifest_row row = { 0 };
	struct pool_member m = {
		.version = (uint64_t)sqlite3_column_int64(st, 0),
		.ino = (uint64_t)sqlite3_column_int64(st, 3),
	};
	uint64_t off = (uint64_t)sqlite3_column_int64(st, 1), size = (uint64_t)sqlite3_column_int64(st, 4);
	bool plain = sqlite3_column_int(st, 5) != 0;
	const void *p = sqlite3_column_blob(st, 2);
	int rc = manifest_decode(p, (size_t)sqlite3_column_bytes(st, 2), off, &row);

	if (rc)
		return rc;
	for (size_t i = 0; i < row.n; i++) {
		const struct piece *q = &row.pieces[i];

		if (q->id != t->row.chunk)
			continue;
		t->live += q->len;
		m.at = q->off;
		m.len = (uint32_t)q->len;
		if (!plain || off || row.n != 1 || q->len != size || size > FILE_INLINE_MAX)
			t->odd = true;
		else if (rc == 0)
			rc = add(t, &m);
	}
	manifest_row_release(&row);
	return rc;
}

/* Finds the members. Locks are held for a few rows at a time. */
static int scan(struct thin *t)
{
	struct store *s = t->s;
	uint64_t version = t->row.lo;
	int64_t off = -1;
	int rc, seen;

	do {
		seen = 0;
		meta_lock(s);
		sqlite3_stmt *st = meta_stmt(s, "SELECT m.version, m.off, m.pieces, v.ino, v.size, v.content IS NULL"
				" FROM manifest m JOIN version v ON v.id = m.version"
				" WHERE (m.version, m.off) > (?1, ?2) AND m.version <= ?3 ORDER BY m.version, m.off LIMIT 256");

		if (!st) {
			rc = meta_fail(s);
		} else {
			sqlite3_bind_int64(st, 1, (int64_t)version);
			sqlite3_bind_int64(st, 2, off);
			sqlite3_bind_int64(st, 3, (int64_t)t->row.hi);
			while ((rc = meta_step(s, st)) == 1) {
				seen++;
				version = (uint64_t)sqlite3_column_int64(st, 0);
				off = sqlite3_column_int64(st, 1);
				rc = look(t, st);
				if (rc)
					break;
			}
		}
		meta_unlock(s);
	} while (rc == 0 && seen == SCAN_ROWS);
	return rc;
}

static int encode_all(struct thin *t)
{
	struct chunk_buf *b;
	int rc = t->n ? chunk_get(t->s, t->row.chunk, &b) : 0;

	if (rc || !t->n)
		return rc;
	for (size_t i = 0; rc == 0 && i < t->n; i++) {
		struct living *l = &t->v[i];

		if (l->m.at > b->len || l->m.len > b->len - l->m.at)
			rc = ckpt_fail(EIO, "chunk %llu is shorter than a manifest says", (unsigned long long)t->row.chunk);
		else
			rc = file_content_encode(t->s->files, b->data + l->m.at, l->m.len, false, &l->content, &l->content_len);
	}
	chunk_put(b);
	return rc;
}

/*
 * Is the member what was found? 1, 0, -errno. In a transaction.  An append leaves its piece as it is and adds to it, in the
 * same version: then the piece alone is not the whole content any more.
 */
static int same(struct thin *t, const struct pool_member *m)
{
	struct manifest_row row = { 0 };
	sqlite3_stmt *st = meta_stmt(t->s, "SELECT 1 FROM version WHERE id = ?1 AND size = ?2 AND content IS NULL");
	int rc;

	if (!st)
		return meta_fail(t->s);
	sqlite3_bind_int64(st, 1, (int64_t)m->version);
	sqlite3_bind_int64(st, 2, m->len);
	rc = meta_step(t->s, st);
	if (rc <= 0)
		return rc;
	sqlite3_reset(st);
	rc = manifest_find(t->s, m->version, 0, &row);
	if (rc)
		return rc;
	rc = row.n == 1 && row.off == 0 && row.pieces[0].id == t->row.chunk && row.pieces[0].off == m->at &&
			row.pieces[0].len == m->len;
	manifest_row_release(&row);
	return rc;
}

static int move_out(struct store *s, const struct living *l)
{
	int rc = manifest_replace(s, l->m.version, 0, l->m.len, NULL, 0);
	sqlite3_stmt *st;

	if (rc)
		return rc;
	st = meta_stmt(s, "UPDATE version SET content = ?2, tail = 0 WHERE id = ?1 AND content IS NULL");
	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)l->m.version);
	sqlite3_bind_blob64(st, 2, l->content, l->content_len, SQLITE_STATIC);
	rc = meta_exec(s, st);
	sqlite3_clear_bindings(st);
	return rc;
}

static int end_pool(struct store *s, uint64_t chunk)
{
	sqlite3_stmt *st = meta_stmt(s, "DELETE FROM pool WHERE chunk = ?1");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)chunk);
	return meta_exec(s, st);
}

/* Open files have the manifest row in memory: their members stay. Files lock held. */
static void mark_busy(struct thin *t)
{
	for (const struct store_file *f = t->s->files->all; f; f = f->next) {
		for (size_t i = 0; i < t->n; i++)
			if (f->ino ? t->v[i].m.ino == f->ino : t->v[i].m.version == f->version)
				t->v[i].m.busy = true;
	}
}

static int dissolve(struct thin *t)
{
	struct store *s = t->s;
	bool all = true;
	int rc;

	ckpt_mutex_lock(&s->files->lock);
	mark_busy(t);
	rc = meta_begin(s);
	if (rc)
		goto unlock;
	for (size_t i = 0; rc == 0 && i < t->n; i++) {
		rc = t->v[i].m.busy ? 0 : same(t, &t->v[i].m);
		if (rc == 1)
			rc = move_out(s, &t->v[i]);
		else
			all = false;
	}
	if (rc == 0 && all)
		rc = end_pool(s, t->row.chunk);
	rc = meta_end(s, rc);
unlock:
	pthread_mutex_unlock(&s->files->lock);
	return rc;
}

static int thin_one(struct store *s, const struct row *row)
{
	struct thin t = { .s = s, .row = *row };
	int rc = scan(&t);

	if (rc == 0 && !t.odd && t.live < row->raw / 2) {
		rc = store_space_check(s, t.live);
		if (rc == 0)
			rc = encode_all(&t);
		if (rc == 0)
			rc = dissolve(&t);
	}
	for (size_t i = 0; i < t.n; i++)
		free(t.v[i].content);
	free(t.v);
	return rc;
}

int pool_thin(struct store *s)
{
	struct pool *p = s->pool;
	struct row row = { 0 };
	int rc = 0, first = 0;

	if (s->readonly || !p)
		return 0;
	pthread_mutex_lock(&p->lock);
	atomic_store(&p->died, false);
	while ((rc = next_pool(s, row.chunk, &row)) == 1) {
		rc = thin_one(s, &row);
		/* A pool that can't be read must not keep the others. */
		if (rc && first == 0)
			first = rc;
		if (rc == -ENOMEM || rc == -ENOSPC || atomic_load(&s->failed))
			break;
	}
	pthread_mutex_unlock(&p->lock);
	return rc < 0 ? rc : first;
}
