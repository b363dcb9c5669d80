/*
 * chunk_db.c: chunks.db, its rows, ids and batches.
 *
 * Why it looks as it does (measured, DESIGN): a rollback journal writes a new blob's pages once, where a WAL writes them
 * twice; PERSIST spares making and removing the journal; 64 KiB pages keep overflow chains short; a cache of 16 MiB
 * makes a long transaction spill its pages as it grows, so that the commit at its end finds most of them written.  A
 * transaction that has spilled holds the file exclusively: readers share this one connection.
 *
 * The open batch is the open transaction.  Three things end it:
 *
 *     COMMIT worked          its ids are safe                          committed = last id
 *     COMMIT failed          rolled back here                          lost, with the errno
 *     a statement failed     SQLite rolled back by itself, which       lost, with the errno
 *                            shows as autocommit being on again
 *
 * A statement that fails and leaves the transaction alone (no memory for a copy, say) harms nobody but its caller.
 *
 * Ids: next_id is written with each commit, so an id is given out again after a crash only if no commit ever held it.
 * What may still name such an id is harmless: an index row is confirmed against the hash, a staged row is counted in at
 * open (chunk_stage.c), and drafts of files are dropped at open.
 *
 * The totals are kept because summing them up would read a page of every chunk.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "chunk_parts.h"

enum {
	ST_BEGIN, ST_COMMIT, ST_ROLLBACK, ST_STATE, ST_INSERT, ST_INSERT_AT, ST_ROW, ST_HEAD, ST_DELETE, ST_LEANED, ST_LIST,
	ST_N
};
_Static_assert((int)ST_N <= (int)CHUNK_STMTS, "room for every statement");

static const char *const sql[ST_N] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
	[ST_STATE] = "UPDATE state SET next = ?1, chunks = ?2, raw = ?3, stored = ?4",
	[ST_INSERT] = "INSERT INTO chunk(id, hash, raw_len, codec, base, \"check\", data) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[ST_INSERT_AT] = "INSERT OR IGNORE INTO chunk(id, hash, raw_len, codec, base, \"check\", data) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
	[ST_ROW] = "SELECT raw_len, codec, base, hash, \"check\", data FROM chunk WHERE id = ?1",
	[ST_HEAD] = "SELECT raw_len, codec, base, hash, length(data) FROM chunk WHERE id = ?1",
	[ST_DELETE] = "DELETE FROM chunk WHERE id = ?1",
	[ST_LEANED] = "SELECT min(id) FROM chunk WHERE base = ?1 AND base > 0",
	[ST_LIST] = "SELECT id, hash FROM chunk WHERE id > ?1 ORDER BY id LIMIT ?2",
};

enum { INDEX_DUE = 4096 }; /* twins that are worth a commit's time; store_tick takes what is less */

/* --- errors --------------------------------------------------------------------------------------- */

int chunk_db_errno(sqlite3 *db, int rc)
{
	int sys;

	switch (rc & 0xff) {
	case SQLITE_FULL:
		return sqlite3_system_errno(db) == EDQUOT ? EDQUOT : ENOSPC;
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_IOERR:
		if (rc == SQLITE_IOERR_NOMEM)
			return ENOMEM;
		sys = sqlite3_system_errno(db);
		return sys == ENOSPC || sys == EDQUOT ? sys : EIO;
	default:
		return EIO;
	}
}

int chunk_db_fail(struct chunk_db *d, int rc)
{
	return ckpt_fail(chunk_db_errno(d->db, rc), "chunks.db: %s", sqlite3_errmsg(d->db));
}

/* The message of a failed store. */
static int store_failed(struct store *s)
{
	return ckpt_fail(EIO, "chunks.db: the store has failed (%s); open it anew", strerror(atomic_load(&s->failed)));
}

/* A prepared statement, clean; NULL with the message set and *rc when it can't be made. */
static sqlite3_stmt *stmt(struct chunk_db *d, int which, int *rc)
{
	if (d->stmts[which]) {
		sqlite3_reset(d->stmts[which]);
		return d->stmts[which];
	}
	int e = sqlite3_prepare_v3(d->db, sql[which], -1, SQLITE_PREPARE_PERSISTENT, &d->stmts[which], NULL);

	if (e != SQLITE_OK) {
		*rc = chunk_db_fail(d, e);
		return NULL;
	}
	return d->stmts[which];
}

/* Runs a statement that gives no rows; on failure *sq is SQLite's code and the message is set. */
static int run_stmt(struct chunk_db *d, int which)
{
	int rc = 0;
	sqlite3_stmt *st = stmt(d, which, &rc);

	if (!st)
		return rc;
	int e = sqlite3_step(st);

	if (e != SQLITE_DONE && e != SQLITE_ROW)
		rc = chunk_db_fail(d, e);
	sqlite3_reset(st);
	return rc;
}

/* --- batches -------------------------------------------------------------------------------------- */

static int lost_error(struct chunk_db *d, uint64_t batch)
{
	for (unsigned i = 0; i < d->nlost; i++)
		if (batch >= d->lost[i].from && batch <= d->lost[i].to)
			return d->lost[i].error;
	return 0;
}

/* The open batch ends badly. error: positive errno. Lock held. */
static void batch_lost(struct store *s, int error)
{
	struct chunk_db *d = &s->chunks->db;
	uint64_t batch = atomic_load(&d->batch);

	if (!sqlite3_get_autocommit(d->db))
		run_stmt(d, ST_ROLLBACK);
	if (d->nlost == CHUNK_LOST_MAX) {
		/* Batches between the two count as lost from now on: an error too many, for an old session, is safe. */
		d->lost[0].to = d->lost[1].to;
		if (d->lost[1].id_to) {
			d->lost[0].id_from = d->lost[0].id_from ? d->lost[0].id_from : d->lost[1].id_from;
			d->lost[0].id_to = d->lost[1].id_to;
		}
		memmove(&d->lost[1], &d->lost[2], (CHUNK_LOST_MAX - 2) * sizeof d->lost[0]);
		d->nlost--;
	}
	d->lost[d->nlost++] = (struct lost_batch){ .from = batch, .to = batch, .id_from = d->first_id, .id_to = d->last_id,
		.error = error };
	atomic_store(&d->any_lost, true);
	atomic_fetch_add(&s->chunks->counts.lost, 1);
	if (d->first_id && !d->told) {
		ckpt_log(LOG_ERR, "chunks that were not committed yet are lost: %s", ckpt_errmsg());
		d->told = true;
	}
	twins_lost(s, batch);
	d->first_id = d->last_id = 0;
	d->chunks = d->was_chunks;
	d->raw = d->was_raw;
	d->stored = d->was_stored;
	atomic_store(&d->pending, 0);
	atomic_store(&d->pending_chunks, 0);
	atomic_store(&d->pending_stored, 0);
	atomic_store(&d->batch, batch + 1); /* before txn: see chunks_commit_range() */
	atomic_store(&d->txn, false);
	if (error == EIO) {
		int none = 0;

		atomic_compare_exchange_strong(&s->failed, &none, EIO);
	}
}

int chunk_batch_failed(struct store *s, int rc)
{
	struct chunk_db *d = &s->chunks->db;

	if (atomic_load(&d->txn) && (sqlite3_get_autocommit(d->db) || rc == -EIO))
		batch_lost(s, -rc);
	return rc;
}

int chunk_batch_begin(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;

	if (atomic_load(&s->failed))
		return store_failed(s);
	if (atomic_load(&d->txn))
		return 0;
	int rc = run_stmt(d, ST_BEGIN);

	if (rc == 0)
		atomic_store(&d->txn, true);
	return rc;
}

/* Lock held. */
static int batch_commit(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0;
	sqlite3_stmt *st = stmt(d, ST_STATE, &rc);

	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)d->next_id);
		sqlite3_bind_int64(st, 2, d->chunks);
		sqlite3_bind_int64(st, 3, d->raw);
		sqlite3_bind_int64(st, 4, d->stored);
		rc = run_stmt(d, ST_STATE);
	}
	if (rc == 0) {
		ckpt_will_wait();
		rc = run_stmt(d, ST_COMMIT);
	}
	if (rc) {
		batch_lost(s, -rc);
		return rc;
	}
	d->was_chunks = d->chunks;
	d->was_raw = d->raw;
	d->was_stored = d->stored;
	if (d->last_id)
		atomic_store(&d->committed, d->last_id);
	d->first_id = d->last_id = 0;
	atomic_store(&d->pending, 0);
	atomic_store(&d->pending_chunks, 0);
	atomic_store(&d->pending_stored, 0);
	atomic_fetch_add(&d->batch, 1);
	atomic_store(&d->txn, false);
	d->told = false;
	atomic_fetch_add(&s->chunks->counts.commits, 1);
	return 0;
}

int chunks_commit_range(struct store *s, uint64_t lo, uint64_t hi)
{
	struct chunk_db *d = &s->chunks->db;

	/*
	 * Without the lock, which a commit under way holds for long: a batch that is still open when there is no transaction
	 * has nothing in it (txn is read first and written last); with nothing ever lost, one that has ended is committed.
	 */
	bool idle = !atomic_load(&d->txn);
	uint64_t open = atomic_load(&d->batch);

	if (hi == 0 || (idle && lo >= open) || (hi < open && !atomic_load(&d->any_lost)))
		return 0;
	int rc = 0;

	ckpt_mutex_lock(&d->lock);
	if (hi >= atomic_load(&d->batch) && atomic_load(&d->txn))
		rc = batch_commit(s);
	for (unsigned i = 0; rc == 0 && i < d->nlost; i++)
		if (d->lost[i].from <= hi && d->lost[i].to >= lo)
			rc = ckpt_fail(d->lost[i].error, "chunks.db: a batch of chunks was lost: %s", strerror(d->lost[i].error));
	pthread_mutex_unlock(&d->lock);
	if (rc == 0)
		rc = chunk_index_flush(s, INDEX_DUE);
	return rc;
}

int chunks_commit_batch(struct store *s, uint64_t batch)
{
	return chunks_commit_range(s, batch, batch);
}

int chunks_commit(struct store *s)
{
	return chunks_commit_batch(s, atomic_load(&s->chunks->db.batch));
}

int chunks_batch_state(struct store *s, uint64_t batch)
{
	struct chunk_db *d = &s->chunks->db;

	if (batch == 0 || (batch < atomic_load(&d->batch) && !atomic_load(&d->any_lost)))
		return 0;
	ckpt_mutex_lock(&d->lock);
	int rc = batch >= atomic_load(&d->batch) ? 1 : -lost_error(d, batch);

	pthread_mutex_unlock(&d->lock);
	return rc;
}

uint64_t chunks_committed(struct store *s)
{
	return atomic_load(&s->chunks->db.committed);
}

uint64_t chunks_pending(struct store *s)
{
	return atomic_load(&s->chunks->db.pending);
}

int chunk_lost(struct store *s, uint64_t id)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0;

	ckpt_mutex_lock(&d->lock);
	for (unsigned i = 0; i < d->nlost; i++)
		if (id >= d->lost[i].id_from && id <= d->lost[i].id_to)
			rc = ckpt_fail(d->lost[i].error, "chunk %llu was lost before it was committed: %s", (unsigned long long)id,
					strerror(d->lost[i].error));
	pthread_mutex_unlock(&d->lock);
	return rc;
}

uint64_t chunk_next_id(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;

	ckpt_mutex_lock(&d->lock);
	uint64_t id = d->next_id;

	pthread_mutex_unlock(&d->lock);
	return id;
}

/* --- rows ----------------------------------------------------------------------------------------- */

int chunk_row_insert(struct store *s, struct chunk_row *r, bool pin, struct twin *twin)
{
	struct chunk_db *d = &s->chunks->db;
	bool fresh = r->id == 0;

	ckpt_mutex_lock(&d->lock);
	int rc = chunk_batch_begin(s);

	if (rc)
		goto out;
	uint64_t id = fresh ? d->next_id : r->id;

	if (pin) {
		rc = chunk_pin(s, id);
		if (rc)
			goto out;
	}
	int which = fresh ? ST_INSERT : ST_INSERT_AT;
	sqlite3_stmt *st = stmt(d, which, &rc);

	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)id);
		sqlite3_bind_blob(st, 2, r->hash.b, CODEC_HASH_LEN, SQLITE_STATIC);
		sqlite3_bind_int64(st, 3, r->raw_len);
		sqlite3_bind_int(st, 4, r->codec);
		sqlite3_bind_int64(st, 5, (int64_t)r->base);
		sqlite3_bind_int64(st, 6, r->check);
		sqlite3_bind_blob64(st, 7, r->payload, r->payload_len, SQLITE_STATIC);
		rc = run_stmt(d, which);
		sqlite3_clear_bindings(st);
	}
	if (rc) {
		if (pin)
			chunk_unpin(s, id);
		chunk_batch_failed(s, rc);
		goto out;
	}
	r->id = id;
	r->batch = atomic_load(&d->batch);
	if (sqlite3_changes(d->db)) {
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

/* Columns 0 to 3 of a row. */
static int head_columns(sqlite3_stmt *st, uint64_t id, uint32_t *raw_len, int *codec, uint64_t *base, struct codec_hash *h)
{
	int64_t raw = sqlite3_column_int64(st, 0);
	int64_t on = sqlite3_column_int64(st, 2);

	if (raw < 1 || raw > CODEC_CHUNK_MAX || on < 0 || (uint64_t)on == id || sqlite3_column_bytes(st, 3) != CODEC_HASH_LEN)
		return ckpt_fail(EIO, "chunk %llu: its row is malformed", (unsigned long long)id);
	*raw_len = (uint32_t)raw;
	*codec = sqlite3_column_int(st, 1);
	*base = (uint64_t)on;
	memcpy(h->b, sqlite3_column_blob(st, 3), CODEC_HASH_LEN);
	return 0;
}

int chunk_head_locked(struct store *s, uint64_t id, struct chunk_head *out)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0;
	sqlite3_stmt *st = stmt(d, ST_HEAD, &rc);

	if (!st)
		return rc;
	sqlite3_bind_int64(st, 1, (int64_t)id);
	int e = sqlite3_step(st);

	if (e == SQLITE_ROW) {
		rc = head_columns(st, id, &out->raw_len, &out->codec, &out->base, &out->hash);
		out->payload_len = (uint32_t)sqlite3_column_int64(st, 4);
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
	int rc = 0;

	ckpt_mutex_lock(&d->lock);
	sqlite3_stmt *st = stmt(d, ST_ROW, &rc);

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
	rc = head_columns(st, id, &r.raw_len, &r.codec, &r.base, &r.hash);
	if (rc)
		goto reset;
	r.check = sqlite3_column_int64(st, 4);
	const void *data = sqlite3_column_blob(st, 5);

	r.payload_len = (size_t)sqlite3_column_bytes(st, 5);
	r.payload = malloc(r.payload_len ? r.payload_len : 1);
	if (!r.payload || (!data && sqlite3_errcode(d->db) == SQLITE_NOMEM)) {
		free(r.payload);
		rc = ckpt_fail(ENOMEM, "chunk %llu: no memory", (unsigned long long)id);
		goto reset;
	}
	if (r.payload_len)
		memcpy(r.payload, data, r.payload_len);
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
	sqlite3_stmt *st = stmt(d, ST_DELETE, &rc);

	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)id);
		rc = run_stmt(d, ST_DELETE);
	}
	if (rc)
		return chunk_batch_failed(s, rc);
	d->chunks--;
	d->raw -= h->raw_len;
	d->stored -= h->payload_len;
	return 0;
}

int chunk_row_leaned_on(struct store *s, uint64_t id, uint64_t *by)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0;
	sqlite3_stmt *st = stmt(d, ST_LEANED, &rc);

	if (!st)
		return rc;
	sqlite3_bind_int64(st, 1, (int64_t)id);
	int e = sqlite3_step(st);

	if (e == SQLITE_ROW && sqlite3_column_type(st, 0) != SQLITE_NULL) {
		*by = (uint64_t)sqlite3_column_int64(st, 0);
		rc = 1;
	} else if (e != SQLITE_ROW && e != SQLITE_DONE) {
		rc = chunk_db_fail(d, e);
	}
	sqlite3_reset(st);
	return rc;
}

int chunk_rows_list(struct store *s, uint64_t after, uint64_t *ids, struct codec_hash *hashes, int n)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0, got = 0, e = SQLITE_DONE;

	ckpt_mutex_lock(&d->lock);
	sqlite3_stmt *st = stmt(d, ST_LIST, &rc);

	if (!st)
		goto out;
	sqlite3_bind_int64(st, 1, (int64_t)after);
	sqlite3_bind_int(st, 2, n);
	while (got < n && (e = sqlite3_step(st)) == SQLITE_ROW) {
		ids[got] = (uint64_t)sqlite3_column_int64(st, 0);
		memset(&hashes[got], 0, sizeof hashes[got]);
		if (sqlite3_column_bytes(st, 1) == CODEC_HASH_LEN)
			memcpy(hashes[got].b, sqlite3_column_blob(st, 1), CODEC_HASH_LEN);
		got++;
	}
	if (e != SQLITE_ROW && e != SQLITE_DONE)
		rc = chunk_db_fail(d, e);
	sqlite3_reset(st);
out:
	pthread_mutex_unlock(&d->lock);
	return rc ? rc : got;
}
