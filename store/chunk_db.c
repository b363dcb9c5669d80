/*
 * chunk_db.c: chunks.db, its statements and batches.
 *
 * Why it looks as it does (measured, DESIGN): a rollback journal writes a new blob's pages once, where a WAL writes them
 * twice; PERSIST spares making and removing the journal; a payload ends inside a page, and pages of 64 KiB lost 6 % of every
 * store to that, where small ones cost little time, since many leave as one (gather_internal.h); a cache of 16 MiB makes a long transaction
 * spill its pages as it grows, so that the commit at its end finds most of them written.  A transaction that has spilled
 * holds the file exclusively: readers share this one connection.
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
#include "page_sums_internal.h"
#include "vfs_internal.h"

#define INSERT_COLUMNS "(id, hash, raw_len, codec, base, \"check\", hint, pred, data) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
#define INSERT "INSERT INTO chunk" INSERT_COLUMNS
#define LATE ", (SELECT sha FROM late WHERE late.id = chunk.id)"
#define INSERT_AT "INSERT OR IGNORE INTO chunk" INSERT_COLUMNS

static const char *const sql[CHUNK_STMTS] = {
	[ST_BEGIN] = "BEGIN IMMEDIATE",
	[ST_COMMIT] = "COMMIT",
	[ST_ROLLBACK] = "ROLLBACK",
	[ST_STATE] = "UPDATE state SET next = ?1, chunks = ?2, raw = ?3, stored = ?4",
	[ST_INSERT] = (INSERT),
	[ST_INSERT_AT] = (INSERT_AT),
	[ST_REPLACE] = "UPDATE chunk SET codec = ?2, base = ?3, \"check\" = ?4, hint = ?5, pred = ?6, data = ?7 WHERE id = ?1",
	[ST_SETTLE] = "UPDATE chunk SET hint = ?2, pred = ?3 WHERE id = ?1",
	[ST_ROW] = ("SELECT raw_len, codec, base, hash, \"check\", data" LATE " FROM chunk WHERE id = ?1"),
	[ST_ROW_OLD] = "SELECT raw_len, codec, base, hash, \"check\", data, NULL FROM chunk WHERE id = ?1",
	[ST_HEAD] = ("SELECT raw_len, codec, base, hash, \"check\", length(data), hint, pred" LATE " FROM chunk WHERE id = ?1"),
	[ST_HEAD_OLD] = "SELECT raw_len, codec, base, hash, \"check\", length(data), 0, 0, NULL FROM chunk WHERE id = ?1",
	[ST_DELETE] = "DELETE FROM chunk WHERE id = ?1",
	[ST_SAVE] = "SAVEPOINT change",
	[ST_UNDO] = "ROLLBACK TO change",
	[ST_KEEP] = "RELEASE change",
	[ST_LEANED] = "SELECT id FROM chunk WHERE base = ?1 AND base > 0 AND id > ?2 ORDER BY id LIMIT 1",
	[ST_LIST] = "SELECT id, hash FROM chunk WHERE id > ?1 ORDER BY id LIMIT ?2",
	[ST_LATE_ADD] = "INSERT OR IGNORE INTO late(id) VALUES(?1)",
	[ST_LATE_DROP] = "DELETE FROM late WHERE id = ?1",
	[ST_SHA_PUT] = "UPDATE late SET sha = ?2 WHERE id = ?1",
	[ST_SHA_DUE] = "SELECT id FROM late INDEXED BY late_due WHERE sha IS NULL AND id > ?1 ORDER BY id LIMIT 1",
	[ST_PLAIN_FIRST] = "SELECT data, raw_len FROM chunk INDEXED BY chunk_waiting WHERE pred > 0 AND codec = 64 ORDER BY id LIMIT 1",
	[ST_PLAIN_LAST] = "SELECT data, raw_len FROM chunk INDEXED BY chunk_waiting WHERE pred > 0 AND codec = 64 ORDER BY id DESC LIMIT 1",
	[ST_WAITING] = "SELECT min(id) FROM chunk INDEXED BY chunk_waiting WHERE pred > 0 AND id > ?1",
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
	if (rc == PAGE_DAMAGED) {
		d->hurt = true;
		return store_vfs_damage();
	}
	return ckpt_fail(chunk_db_errno(d->db, rc), "chunks.db: %s", sqlite3_errmsg(d->db));
}

/* The message of a failed store. */
static int store_failed(struct store *s)
{
	return ckpt_fail(EIO, "chunks.db: the store has failed (%s); open it anew", strerror(atomic_load(&s->failed)));
}

sqlite3_stmt *chunk_stmt(struct chunk_db *d, enum chunk_stmt which, int *rc)
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

int chunk_run(struct chunk_db *d, enum chunk_stmt which)
{
	int rc = 0;
	sqlite3_stmt *st = chunk_stmt(d, which, &rc);

	if (!st)
		return rc;
	int e = sqlite3_step(st);

	if (e != SQLITE_DONE && e != SQLITE_ROW)
		rc = chunk_db_fail(d, e);
	sqlite3_reset(st);
	return rc;
}

int chunk_run_id(struct chunk_db *d, sqlite3_stmt *st, uint64_t *id)
{
	int rc = 0;
	int e = sqlite3_step(st);

	if (e == SQLITE_ROW && sqlite3_column_type(st, 0) != SQLITE_NULL) {
		*id = (uint64_t)sqlite3_column_int64(st, 0);
		rc = 1;
	} else if (e != SQLITE_ROW && e != SQLITE_DONE) {
		rc = chunk_db_fail(d, e);
	}
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
		chunk_run(d, ST_ROLLBACK);
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
	s->chunks->plain.left = true;
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

int chunk_change_begin(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = chunk_run(d, ST_SAVE);

	d->hurt = false;
	return rc ? chunk_batch_failed(s, rc) : 0;
}

int chunk_change_end(struct store *s, int rc)
{
	struct chunk_db *d = &s->chunks->db;

	if (rc && d->hurt && chunk_run(d, ST_UNDO) == 0 && chunk_run(d, ST_KEEP) == 0)
		return store_vfs_damage();
	if (rc == 0)
		rc = chunk_run(d, ST_KEEP);
	return rc ? chunk_batch_failed(s, rc) : 0;
}

int chunk_batch_begin(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;

	if (atomic_load(&s->failed))
		return store_failed(s);
	if (atomic_load(&d->txn))
		return 0;
	int rc = chunk_run(d, ST_BEGIN);

	if (rc == 0)
		atomic_store(&d->txn, true);
	return rc;
}

/* Lock held. */
static int batch_commit(struct store *s)
{
	struct chunk_db *d = &s->chunks->db;
	int rc = 0;
	sqlite3_stmt *st = chunk_stmt(d, ST_STATE, &rc);

	if (st) {
		sqlite3_bind_int64(st, 1, (int64_t)d->next_id);
		sqlite3_bind_int64(st, 2, d->chunks);
		sqlite3_bind_int64(st, 3, d->raw);
		sqlite3_bind_int64(st, 4, d->stored);
		rc = chunk_run(d, ST_STATE);
	}
	if (rc == 0) {
		ckpt_will_wait();
		rc = chunk_plain_sync(s);
	}
	if (rc == 0)
		rc = chunk_run(d, ST_COMMIT);
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
	chunk_plain_trim(s);
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
