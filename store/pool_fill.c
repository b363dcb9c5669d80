/*
 * pool_fill.c: a pool is made (pool_internal.h).
 *
 *   1. the contents of the members are read and joined; one that can't be read is left where it is
 *   2. the chunk goes the way of all chunks, with an encoder of ours that takes its time; two are under way at once
 *   3. the chunks of a turn are committed, once
 *   4. for each, one transaction: members that nobody has open and that are what they were get a manifest in place of
 *      their inline content
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"
#include "file_internal.h"
#include "pool_internal.h"

/* A pool that is stored and not yet named. */
struct filled {
	struct pool_member *m;     /* in the plan */
	size_t n;
	struct chunk_job *j;       /* under way */
	uint64_t id, batch;
};

/* The plain bytes of a member behind those in raw; 0, or an error that means: leave it out. */
static int read_member(struct store *s, struct pool_member *m, uint8_t *raw, uint32_t at)
{
	uint8_t *blob = NULL, *plain = NULL;
	uint32_t len = 0;
	size_t n = 0;
	int rc;

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "SELECT content FROM version WHERE id = ?1 AND tail = 0 AND content IS NOT NULL");

	if (!st) {
		rc = meta_fail(s);
	} else {
		sqlite3_bind_int64(st, 1, (int64_t)m->version);
		rc = meta_step(s, st);
		if (rc == 0)
			rc = -ENOENT;
		if (rc == 1) {
			n = (size_t)sqlite3_column_bytes(st, 0);
			blob = malloc(n ? n : 1);
			rc = blob ? 0 : ckpt_fail(ENOMEM, "no memory to pool small files");
			if (blob && n)
				memcpy(blob, sqlite3_column_blob(st, 0), n);
		}
	}
	meta_unlock(s);
	if (rc == 0 && n < sizeof m->head)
		rc = -EIO;
	if (rc == 0)
		rc = file_content_decode(s->files, m->version, blob, n, &plain, &len);
	if (rc == 0 && len != m->len)
		rc = -ESTALE;
	if (rc == 0) {
		memcpy(m->head, blob, sizeof m->head);
		memcpy(raw + at, plain, len);
		m->at = at;
	}
	free(plain);
	free(blob);
	return rc;
}

/* Step 1, and 2 begins, for the plan's next members. out->n 0: none of them was left. */
static int start_one(struct store *s, struct codec_ctx *ctx, struct filled *out)
{
	struct pool *p = s->pool;
	uint8_t *raw = malloc(POOL_MAX);
	struct chunk_job *j = NULL;
	uint32_t at = 0;
	int rc = 0;

	*out = (struct filled){ .m = p->plan + p->next };
	if (!raw)
		return ckpt_fail(ENOMEM, "no memory to pool small files");
	for (; p->next < p->n && at < p->share; p->next++) {
		struct pool_member *m = &p->plan[p->next];

		if (m->len > POOL_MAX - at)
			break;
		rc = read_member(s, m, raw, at);
		if (rc == -ENOMEM)
			goto out;
		if (rc == 0) {
			at += m->len;
			out->m[out->n++] = *m;
		}
	}
	rc = 0;
	if (!out->n)
		goto out;
	j = chunk_job_new(raw, at);
	if (!j) {
		rc = ckpt_fail(ENOMEM, "no memory to pool small files");
		goto out;
	}
	raw = NULL;
	j->ctx = ctx;
	rc = chunk_submit(s, j);
	if (rc == 0) {
		out->j = j;
		j = NULL;
	}
out:
	chunk_job_unref(j);
	free(raw);
	if (rc)
		out->n = 0;
	return rc;
}

/* Step 2 ends. */
static int finish_one(struct store *s, struct filled *c)
{
	int rc;

	if (!c->j)
		return 0;
	rc = chunk_wait(s, c->j);
	if (rc == 0) {
		c->id = c->j->id;
		c->batch = c->j->batch;
	}
	chunk_job_unref(c->j);
	c->j = NULL;
	return rc;
}

static int by_ino(const void *a, const void *b)
{
	const struct pool_member *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* Marks those that are open. Members sorted by inode; files lock held. */
static void mark_busy(struct store *s, struct pool_member *m, size_t n)
{
	for (const struct store_file *f = s->files->all; f; f = f->next) {
		struct pool_member key = { .ino = f->ino }, *hit = NULL;

		if (f->ino) {
			hit = bsearch(&key, m, n, sizeof *m, by_ino);
			if (hit)
				hit->busy = true;
			continue;
		}
		for (size_t i = 0; i < n; i++) /* a version by itself: there are few of these */
			if (m[i].version == f->version)
				m[i].busy = true;
	}
}

/* Is the member's inline content what was read? 1 and its `data`, 0, -errno. In a transaction. */
static int same(struct store *s, const struct pool_member *m, int64_t *data)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT substr(content, 1, 13), size, data FROM version WHERE id = ?1 AND tail = 0 AND"
			" content IS NOT NULL");
	int rc;

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)m->version);
	rc = meta_step(s, st);
	if (rc == 1) {
		rc = sqlite3_column_bytes(st, 0) == (int)sizeof m->head &&
				memcmp(sqlite3_column_blob(st, 0), m->head, sizeof m->head) == 0 &&
				(uint64_t)sqlite3_column_int64(st, 1) == m->len;
		*data = sqlite3_column_int64(st, 2);
	}
	sqlite3_reset(st);
	return rc;
}

/*
 * The row is deleted and made anew, not updated: SQLite joins pages that have become empty only where a row is deleted, and rows
 * of versions never grow again.
 */
static int move_in(struct store *s, const struct pool_member *m, int64_t data, uint64_t chunk)
{
	struct piece piece = { .len = m->len, .id = chunk, .off = m->at };
	sqlite3_stmt *st = meta_stmt(s, "DELETE FROM version WHERE id = ?1");
	int rc;

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)m->version);
	rc = meta_exec(s, st);
	if (rc)
		return rc;
	st = meta_stmt(s, "INSERT INTO version(id, ino, size, data) VALUES(?1, ?2, ?3, ?4)");
	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)m->version);
	sqlite3_bind_int64(st, 2, (int64_t)m->ino);
	sqlite3_bind_int64(st, 3, m->len);
	sqlite3_bind_int64(st, 4, data);
	rc = meta_exec(s, st);
	return rc ? rc : manifest_replace(s, m->version, 0, m->len, &piece, 1);
}

static int note_pool(struct store *s, uint64_t chunk, uint64_t raw, uint64_t lo, uint64_t hi)
{
	/* The same bytes may have been pooled before: then the range grows. */
	sqlite3_stmt *st = meta_stmt(s, "INSERT INTO pool(chunk, raw, lo, hi) VALUES(?1, ?2, ?3, ?4) ON CONFLICT(chunk) DO "
			"UPDATE SET lo = min(lo, ?3), hi = max(hi, ?4)");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)chunk);
	sqlite3_bind_int64(st, 2, (int64_t)raw);
	sqlite3_bind_int64(st, 3, (int64_t)lo);
	sqlite3_bind_int64(st, 4, (int64_t)hi);
	return meta_exec(s, st);
}

/* Step 4. The files lock keeps files from being opened: who opens one later reads what it is by then. */
static int name_one(struct store *s, struct filled *c)
{
	uint64_t raw = 0, lo = UINT64_MAX, hi = 0;
	int64_t data = 0;
	int rc;

	qsort(c->m, c->n, sizeof *c->m, by_ino);
	ckpt_mutex_lock(&s->files->lock);
	mark_busy(s, c->m, c->n);
	rc = meta_begin(s);
	if (rc)
		goto unlock;
	for (size_t i = 0; rc == 0 && i < c->n; i++) {
		struct pool_member *m = &c->m[i];

		if (m->busy)
			continue;
		rc = same(s, m, &data);
		if (rc <= 0)
			continue;
		rc = move_in(s, m, data, c->id);
		raw += m->len;
		lo = m->version < lo ? m->version : lo;
		hi = m->version > hi ? m->version : hi;
	}
	if (rc == 0 && raw)
		rc = note_pool(s, c->id, raw, lo, hi);
	rc = meta_end(s, rc);
unlock:
	pthread_mutex_unlock(&s->files->lock);
	return rc;
}

void pool_rest_encoders(struct pool *p)
{
	for (int i = 0; i < 2; i++) {
		codec_ctx_free(p->ctx[i]);
		p->ctx[i] = NULL;
	}
}

/* Steps 1 and 2 of up to `chunks` pools. All that is in done[0, *n) is over when it returns; some may have failed (id 0). */
static int store_all(struct store *s, struct filled *done, size_t chunks, size_t *n)
{
	struct pool *p = s->pool;
	int rc = 0, end;

	*n = 0;
	for (int i = 0; rc == 0 && i < 2; i++)
		rc = p->ctx[i] ? 0 : codec_ctx_new(CODEC_MAX, &p->ctx[i]);
	while (rc == 0 && p->next < p->n && *n < chunks) {
		if (*n >= 2)
			rc = finish_one(s, &done[*n - 2]);
		if (rc == 0)
			rc = start_one(s, p->ctx[*n % 2], &done[*n]);
		if (rc == 0 && done[*n].n)
			++*n;
	}
	for (size_t i = 0; i < *n; i++) {
		end = finish_one(s, &done[i]);
		rc = rc ? rc : end;
	}
	return rc;
}

int pool_fill(struct store *s, unsigned chunks)
{
	struct filled done[POOL_TURN];
	uint64_t lo = UINT64_MAX, hi = 0;
	size_t n;
	int rc = store_all(s, done, chunks < sizeof done / sizeof *done ? chunks : sizeof done / sizeof *done, &n);

	for (size_t i = 0; i < n; i++) {
		lo = done[i].batch && done[i].batch < lo ? done[i].batch : lo;
		hi = done[i].batch > hi ? done[i].batch : hi;
	}
	if (rc == 0 && hi)
		rc = chunks_commit_range(s, lo, hi);
	for (size_t i = 0; i < n; i++) {
		if (rc == 0)
			rc = name_one(s, &done[i]);
		if (done[i].id)
			chunk_unpin(s, done[i].id);
	}
	return rc;
}
