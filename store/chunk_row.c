/*
 * chunk_row.c: the rows of chunks.db.
 *
 * A chunk is its plain bytes; the row says how they are kept, and that may change under its id: chunk_row_replace() puts
 * codec, base, check and payload in the place of the old ones in one statement of the open batch, so at any moment, and
 * after any crash, a row is one form or the other.  Two rules hold in every state of the table:
 *
 *   1. A base is there as long as somebody leans on it.  Whoever adds a base pins it and finds its row under the lock;
 *      the collector looks for pins and dependents under the same lock before it deletes.
 *   2. Bases below one another never close a ring and are never more than CHUNK_DEPTH_FAR.  That is reckoned here,
 *      under the lock, from both ends: how many the new base has below it, and how many lean above this chunk.
 *
 * That the bytes of some wait in chunks.plain is known here alone: to others they are CODEC_RAW.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"

enum { ABOVE_MAX = 64 }; /* dependents that are looked through before a chunk counts as having too many */


/* Runs a statement about one id. Lock held. */
static int run_for(struct chunk_db *d, enum chunk_stmt which, uint64_t id)
{
	int rc = 0;
	sqlite3_stmt *st = chunk_stmt(d, which, &rc);

	if (!st)
		return rc;
	sqlite3_bind_int64(st, 1, (int64_t)id);
	return chunk_run(d, which);
}

int chunk_row_insert(struct store *s, struct chunk_row *r, bool pin, struct twin *twin)
{
	struct chunk_db *d = &s->chunks->db;
	bool fresh = r->id == 0;

	ckpt_mutex_lock(&d->lock);
	int rc = chunk_batch_begin(s);

	if (rc)
		goto out;
	uint64_t id = fresh ? d->next_id : r->id;

	if (fresh && r->base) {
		struct chunk_head h;

		/* Its batch may have been lost while this one was encoded: what leans on it must not come later. */
		rc = chunk_head_locked(s, r->base, &h);
		if (rc == 0)
			rc = ckpt_fail(ESTALE, "base %llu is gone", (unsigned long long)r->base);
		if (rc < 0)
			goto out;
	}
	if (pin) {
		rc = chunk_pin(s, id);
		if (rc)
			goto out;
	}
	uint8_t place[CHUNK_PLAIN_PLACE];

	if (r->plain) {
		rc = chunk_plain_put(s, r->payload, (uint32_t)r->payload_len, place);
		if (rc) {
			if (pin)
				chunk_unpin(s, id);
			goto out;
		}
	}
	enum chunk_stmt which = fresh ? ST_INSERT : ST_INSERT_AT;
	sqlite3_stmt *st = chunk_stmt(d, which, &rc);

	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)id);
		chunk_name_bind(st, 2, &r->name);
		sqlite3_bind_int64(st, 3, r->raw_len);
		sqlite3_bind_int(st, 4, r->plain ? CHUNK_PLAIN : r->codec);
		sqlite3_bind_int64(st, 5, (int64_t)r->base);
		sqlite3_bind_int64(st, 6, r->check);
		sqlite3_bind_int64(st, 7, r->hint);
		sqlite3_bind_int64(st, 8, r->pred);
		if (r->plain)
			sqlite3_bind_blob64(st, 9, place, sizeof place, SQLITE_STATIC);
		else
			sqlite3_bind_blob64(st, 9, r->payload, r->payload_len, SQLITE_STATIC);
		rc = chunk_run(d, which);
		sqlite3_clear_bindings(st);
	}
	bool inserted = rc == 0 && sqlite3_changes(d->db);

	if (inserted && r->name.len == CODEC_PRINT_LEN) {
		rc = run_for(d, ST_LATE_ADD, id);
		if (rc && !sqlite3_get_autocommit(d->db))
			run_for(d, ST_DELETE, id);
	}
	if (rc) {
		if (pin)
			chunk_unpin(s, id);
		chunk_batch_failed(s, rc);
		goto out;
	}
	r->id = id;
	r->batch = atomic_load(&d->batch);
	if (inserted) {
		d->chunks++;
		d->raw += r->raw_len;
		d->stored += (int64_t)r->payload_len;
		atomic_fetch_add(&d->pending, r->raw_len);
		atomic_fetch_add(&d->pending_chunks, 1);
		atomic_fetch_add(&d->pending_stored, r->payload_len);
	}
	if (fresh) {
		d->next_id = id + 1;
		d->last_id = id;
		if (d->first_id == 0)
			d->first_id = id;
	}
	if (twin)
		twin_inserted(s, twin, id, r->batch);
out:
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/* Columns 0 to 3 of a row, and `late`, where SHA-256 is that was taken later. */
static int head_columns(sqlite3_stmt *st, int late, uint64_t id, uint32_t *raw_len, int *codec, uint64_t *base, struct chunk_name *n)
{
	int64_t raw = sqlite3_column_int64(st, 0);
	int64_t on = sqlite3_column_int64(st, 2);

	if (raw < 1 || raw > CODEC_CHUNK_MAX || on < 0 || (uint64_t)on == id || !chunk_name_get(st, 3, n) ||
			!chunk_name_late(st, late, n))
		return ckpt_fail(EIO, "chunk %llu: its row is malformed", (unsigned long long)id);
	*raw_len = (uint32_t)raw;
	*codec = sqlite3_column_int(st, 1);
	*base = (uint64_t)on;
	return 0;
}

int chunk_head_locked(struct store *s, uint64_t id, struct chunk_head *out)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0;
	sqlite3_stmt *st = chunk_stmt(d, d->old ? ST_HEAD_OLD : ST_HEAD, &rc);

	if (!st)
		return rc;
	sqlite3_bind_int64(st, 1, (int64_t)id);
	int e = sqlite3_step(st);

	if (e == SQLITE_ROW) {
		rc = head_columns(st, 8, id, &out->raw_len, &out->codec, &out->base, &out->name);
		out->check = sqlite3_column_int64(st, 4);
		out->payload_len = (uint32_t)sqlite3_column_int64(st, 5);
		out->hint = sqlite3_column_int64(st, 6);
		out->pred = sqlite3_column_int64(st, 7);
		out->plain = out->codec == CHUNK_PLAIN;
		if (out->plain) {
			out->codec = CODEC_RAW;
			out->payload_len = out->raw_len;
		}
		if (rc == 0)
			rc = 1;
	} else if (e != SQLITE_DONE) {
		rc = chunk_db_fail(d, e);
	}
	sqlite3_reset(st);
	return rc;
}

int chunk_head_read(struct store *s, uint64_t id, struct chunk_head *out)
{
	ckpt_mutex_lock(&s->chunks->db.lock);
	int rc = chunk_head_locked(s, id, out);

	pthread_mutex_unlock(&s->chunks->db.lock);
	return rc;
}

/* 1 and *out (payload malloc()ed), 0 no such row, -errno. */
static int row_read(struct store *s, uint64_t id, struct chunk_row *out)
{
	struct chunk_db *d = &s->chunks->db;
	struct chunk_row r = { .id = id };
	uint64_t off = 0;
	int rc = 0;

	ckpt_mutex_lock(&d->lock);
	sqlite3_stmt *st = chunk_stmt(d, d->old ? ST_ROW_OLD : ST_ROW, &rc);

	if (!st)
		goto unlock;
	sqlite3_bind_int64(st, 1, (int64_t)id);
	int e = sqlite3_step(st);

	if (e == SQLITE_DONE)
		goto reset;
	if (e != SQLITE_ROW) {
		rc = chunk_db_fail(d, e);
		goto reset;
	}
	rc = head_columns(st, 6, id, &r.raw_len, &r.codec, &r.base, &r.name);
	if (rc)
		goto reset;
	r.check = sqlite3_column_int64(st, 4);
	const void *data = sqlite3_column_blob(st, 5);

	r.payload_len = (size_t)sqlite3_column_bytes(st, 5);
	bool plain = r.codec == CHUNK_PLAIN;

	if (plain) {
		rc = chunk_plain_place(data, r.payload_len, &off);
		if (rc)
			goto reset;
		r.codec = CODEC_RAW;
		r.payload_len = r.raw_len;
	}
	r.payload = malloc(r.payload_len ? r.payload_len : 1);
	if (!r.payload || (!data && sqlite3_errcode(d->db) == SQLITE_NOMEM)) {
		free(r.payload);
		rc = ckpt_fail(ENOMEM, "chunk %llu: no memory", (unsigned long long)id);
		goto reset;
	}
	if (plain)
		rc = chunk_plain_get(s, off, r.payload, r.raw_len);
	else if (r.payload_len)
		memcpy(r.payload, data, r.payload_len);
	if (rc) {
		free(r.payload);
		goto reset;
	}
	if (d->first_id && id >= d->first_id && id <= d->last_id)
		r.batch = atomic_load(&d->batch);
	*out = r;
	rc = 1;
reset:
	sqlite3_reset(st);
unlock:
	pthread_mutex_unlock(&d->lock);
	return rc;
}

int chunk_row_read(struct store *s, uint64_t id, struct chunk_row *out)
{
	int rc = row_read(s, id, out);

	/* A chunk may be in meta.db alone: its batch was lost after it was staged, or the store is read-only. */
	if (rc == 0 && chunk_maybe_staged(s, id))
		rc = chunk_staged_read(s, id, out);
	if (rc == 0)
		rc = chunk_lost(s, id);
	if (rc == 0)
		return ckpt_fail(ENOENT, "chunk %llu is missing", (unsigned long long)id);
	return rc < 0 ? rc : 0;
}

void chunk_row_release(struct chunk_row *r)
{
	free(r->payload);
	r->payload = NULL;
}

int chunk_row_delete(struct store *s, uint64_t id, const struct chunk_head *h)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = chunk_batch_begin(s);

	if (rc)
		return rc;
	rc = chunk_change_begin(s);
	if (rc)
		return rc;
	rc = run_for(d, ST_DELETE, id);
	if (rc == 0)
		rc = run_for(d, ST_LATE_DROP, id);
	rc = chunk_change_end(s, rc);
	if (rc)
		return rc;
	s->chunks->plain.left |= h->plain;
	d->chunks--;
	d->raw -= h->raw_len;
	d->stored -= h->payload_len;
	return 0;
}

int chunk_row_leaned_on(struct store *s, uint64_t id, uint64_t after, uint64_t *by)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0;
	sqlite3_stmt *st = chunk_stmt(d, ST_LEANED, &rc);

	if (!st)
		return rc;
	sqlite3_bind_int64(st, 1, (int64_t)id);
	sqlite3_bind_int64(st, 2, (int64_t)after);
	return chunk_run_id(d, st, by);
}

int chunk_row_waiting(struct store *s, uint64_t above, uint64_t *id)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0;

	ckpt_mutex_lock(&d->lock);
	sqlite3_stmt *st = d->old ? NULL : chunk_stmt(d, ST_WAITING, &rc);

	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)above);
		rc = chunk_run_id(d, st, id);
	}
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/* --- another form --------------------------------------------------------------------------------- */

/* The row is still what somebody saw, and nothing but chunks.db has it. Lock held. 0, -ESTALE, another -errno. */
static int still(struct store *s, uint64_t id, const struct chunk_head *was)
{
	struct chunk_head now;
	int rc = chunk_head_locked(s, id, &now);

	if (rc < 0)
		return rc;
	if (rc == 0 || now.check != was->check || now.base != was->base || now.codec != was->codec ||
			now.payload_len != was->payload_len || now.pred != was->pred || now.hint != was->hint ||
			chunk_maybe_staged(s, id))
		return ckpt_fail(ESTALE, "chunk %llu has changed", (unsigned long long)id);
	return 0;
}

/* How many bases there are from `at` downwards, itself included; none of them may be `id`. Lock held. */
static int depth_from(struct store *s, uint64_t at, uint64_t id, unsigned *depth)
{
	unsigned n = 0;

	for (; at; n++) {
		struct chunk_head h;

		if (at == id || n > CHUNK_DEPTH_FAR)
			return ckpt_fail(ELOOP, "chunk %llu would have too many bases", (unsigned long long)id);
		int rc = chunk_head_locked(s, at, &h);

		if (rc < 0)
			return rc;
		if (rc == 0)
			return ckpt_fail(ESTALE, "base %llu is gone", (unsigned long long)at);
		at = h.base;
	}
	*depth = n;
	return 0;
}

/* The longest row of differences that begins above a chunk, at most CHUNK_DEPTH_FAR + 1. Lock held. */
static int height_above(struct store *s, uint64_t id, unsigned *height)
{
	uint64_t row[ABOVE_MAX] = { id };
	size_t n = 1, from = 0;

	/* Level by level: row[from, n) is the one looked at. */
	for (*height = 0; from < n; ++*height) {
		size_t end = n;

		if (*height > CHUNK_DEPTH_FAR)
			return 0;
		for (; from < end; from++) {
			uint64_t by = 0;
			int rc;

			while ((rc = chunk_row_leaned_on(s, row[from], by, &by)) == 1) {
				if (n == ABOVE_MAX) {
					*height = CHUNK_DEPTH_FAR + 1;
					return 0;
				}
				row[n++] = by;
			}
			if (rc < 0)
				return rc;
		}
	}
	--*height;
	return 0;
}

int chunk_row_replace(struct store *s, const struct chunk_row *r, const struct chunk_head *was, unsigned deepest)
{
	struct chunk_db *d = &s->chunks->db;
	unsigned depth = 0, height = 0;

	ckpt_mutex_lock(&d->lock);
	int rc = chunk_batch_begin(s);

	if (rc == 0)
		rc = still(s, r->id, was);
	if (rc == 0 && r->base && r->base != was->base) {
		rc = depth_from(s, r->base, r->id, &depth);
		if (rc == 0)
			rc = height_above(s, r->id, &height);
		if (rc == 0 && (depth > deepest || depth + height > CHUNK_DEPTH_FAR))
			rc = ckpt_fail(ELOOP, "chunk %llu would have too many bases", (unsigned long long)r->id);
	}
	if (rc)
		goto out;
	sqlite3_stmt *st = chunk_stmt(d, ST_REPLACE, &rc);

	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)r->id);
		sqlite3_bind_int(st, 2, r->codec);
		sqlite3_bind_int64(st, 3, (int64_t)r->base);
		sqlite3_bind_int64(st, 4, r->check);
		sqlite3_bind_int64(st, 5, r->hint);
		sqlite3_bind_int64(st, 6, r->pred);
		sqlite3_bind_blob64(st, 7, r->payload, r->payload_len, SQLITE_STATIC);
		rc = chunk_run(d, ST_REPLACE);
		sqlite3_clear_bindings(st);
	}
	if (rc) {
		chunk_batch_failed(s, rc);
		goto out;
	}
	s->chunks->plain.left |= was->plain;
	d->stored += (int64_t)r->payload_len - (int64_t)was->payload_len;
	atomic_fetch_add(&d->pending, was->raw_len);
	atomic_fetch_add(&d->pending_stored, r->payload_len);
out:
	pthread_mutex_unlock(&d->lock);
	return rc;
}

int chunk_row_settle(struct store *s, uint64_t id, const struct chunk_head *was, int64_t hint, int64_t pred)
{
	struct chunk_db *d = &s->chunks->db;

	/* A row in chunks.plain is found there as one that waits. */
	if (was->plain && pred <= 0)
		return ckpt_fail(EINVAL, "chunk %llu has not been encoded yet", (unsigned long long)id);
	ckpt_mutex_lock(&d->lock);
	int rc = chunk_batch_begin(s);

	if (rc == 0)
		rc = still(s, id, was);
	if (rc)
		goto out;
	sqlite3_stmt *st = chunk_stmt(d, ST_SETTLE, &rc);

	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)id);
		sqlite3_bind_int64(st, 2, hint);
		sqlite3_bind_int64(st, 3, pred);
		rc = chunk_run(d, ST_SETTLE);
	}
	if (rc)
		chunk_batch_failed(s, rc);
	else
		atomic_fetch_add(&d->pending, was->raw_len);
out:
	pthread_mutex_unlock(&d->lock);
	return rc;
}

/* --- lists ---------------------------------------------------------------------------------------- */

int chunk_rows_list(struct store *s, uint64_t after, uint64_t *ids, struct chunk_name *names, int n)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0, got = 0, e = SQLITE_DONE;

	ckpt_mutex_lock(&d->lock);
	sqlite3_stmt *st = chunk_stmt(d, ST_LIST, &rc);

	if (!st)
		goto out;
	sqlite3_bind_int64(st, 1, (int64_t)after);
	sqlite3_bind_int(st, 2, n);
	while (got < n && (e = sqlite3_step(st)) == SQLITE_ROW) {
		ids[got] = (uint64_t)sqlite3_column_int64(st, 0);
		chunk_name_get(st, 1, &names[got]);
		got++;
	}
	if (e != SQLITE_ROW && e != SQLITE_DONE)
		rc = chunk_db_fail(d, e);
	sqlite3_reset(st);
out:
	pthread_mutex_unlock(&d->lock);
	return rc ? rc : got;
}
