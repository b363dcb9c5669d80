/*
 * meta_txn.c: operations on meta.db, their commit, the WAL's sync and checkpoint, ids.
 *
 *   meta_begin  [BEGIN]  SAVEPOINT op
 *   meta_end    RELEASE op                          or   ROLLBACK TO op, RELEASE op
 *   meta_commit COMMIT, then a sync of the WAL that may serve many callers
 *
 * The first operation that changes anything in a transaction has no savepoint: to undo it is to undo all.  So what is
 * committed by itself (a rename, a line appended) has none, and SQLite keeps no copies of the pages it changes.
 *
 * The sync is made here, on the WAL's own sqlite3_file and without the meta lock, so that other operations go
 * on while the disk works: SQLite under synchronous=FULL would sync inside of COMMIT.  The WAL's frames carry
 * a running checksum, so whatever order they reach the disk in, recovery ends at the last commit that is
 * there whole.
 *
 * Invariants:
 *  1. A COMMIT that failed lost acknowledged operations, and is final (see meta.c).
 *  2. A sync that failed is final too: the kernel may have dropped the pages it could not write and reports
 *     success the next time.
 *  3. Commits are numbered.  A sync covers the commits that were complete when it began; `synced` says up to
 *     which number.  A caller whose commit is covered, or will be by a sync that begins later, never syncs
 *     for itself.  A checkpoint syncs too, before and after it copies, so it covers what was committed before
 *     it.
 *  4. Ids come from blocks that are reserved in config, in the transaction of their first use.  When the
 *     operation that reserved a block is rolled back, the block is forgotten with it.
 */
#include "meta_conn.h"

#include <errno.h>

#include "store_internal.h"
#include "tree_internal.h"
#include "vfs_internal.h"

enum {
	ID_BLOCK = 4096,
	/*
	 * Rows changed after which meta_end() commits by itself: so a commit never needs more room than `reserve`
	 * holds.
	 */
	COMMIT_ROWS = 1024,
};

static const char *const seq_key[META_SEQS] = {
	[META_INO] = "next_ino", [META_COOKIE] = "next_cookie", [META_VERSION] = "next_version",
};

/* --- operations and commits -------------------------------------------------------------------------- */

static int64_t rows_changed(struct meta *m)
{
	return sqlite3_total_changes64(m->db) - m->changes;
}

int meta_begin(struct store *s)
{
	struct meta *m = s->meta;
	int rc;

	if (s->readonly)
		return ckpt_fail(EROFS, "store '%s' is open read-only", s->path);
	meta_lock(s);
	rc = meta_failed(s);
	if (rc < 0)
		goto unlock;
	if (!m->begun) {
		rc = meta_exec(s, m->begin);
		if (rc < 0)
			goto unlock;
		m->begun = true;
	}
	m->txn = true;
	m->alone = rows_changed(m) == 0;
	if (!m->alone) {
		rc = meta_exec(s, m->savepoint);
		if (rc < 0)
			goto unlock;
	}
	m->op = true;
	return 0;
unlock:
	meta_unlock(s);
	return rc;
}

/* The transaction can't be kept, and what was acknowledged in it is lost. */
static void give_up(struct store *s, const char *what)
{
	struct meta *m = s->meta;

	sqlite3_exec(m->db, "ROLLBACK", NULL, NULL, NULL);
	m->txn = m->begun = false;
	tree_memory_forget(s);
	meta_lost(s, what);
}

/* Ends the open transaction, if any; all: with the times that are late. Lock held, no operation under way. */
static int commit(struct store *s, bool all)
{
	struct meta *m = s->meta;
	int rc;

	if (!m->txn && all && m->begun && tree_late_any(s))
		m->txn = true;
	if (!m->txn) {
		meta_end_reading(m);
		return 0;
	}
	rc = tree_before_commit(s, all);
	meta_reset_used(m);
	if (rc < 0 && m->txn && m->torn) {
		/* No savepoint to go back to. */
		m->torn = false;
		give_up(s, "a commit of meta.db");
	}
	if (rc < 0)
		return rc; /* nothing is lost: the transaction stands, unless meta_fail() found that it does not */
	rc = meta_exec(s, m->commit);
	if (rc < 0) {
		/* meta_fail() saw it if SQLite rolled back; what it left open is rolled back here. */
		if (m->txn)
			give_up(s, "a commit of meta.db");
	} else {
		m->txn = m->begun = false;
		/* SQLite counts it as committed; it is once it left this process. */
		if (m->wal && store_vfs_flush(m->wal) != SQLITE_OK) {
			rc = ckpt_fail(EIO, "meta.db-wal: a commit could not be written");
			meta_lost(s, "a commit of meta.db");
		} else if (rows_changed(m) > 0) {
			atomic_fetch_add(&m->commits, 1);
		}
	}
	m->changes = sqlite3_total_changes64(m->db);
	atomic_store(&m->dirty, tree_late_any(s));
	return rc;
}

/* Undoes the operation under way. */
static void undo(struct store *s)
{
	struct meta *m = s->meta;
	int rc;

	for (int i = 0; i < META_SEQS; i++)
		if (m->ids[i].undo)
			m->ids[i].next = m->ids[i].end = m->ids[i].undo;
	tree_memory_forget(s);
	if (!m->txn)
		return;
	rc = meta_exec(s, m->alone ? m->rollback : m->undo);
	if (rc == 0 && m->alone) {
		m->txn = m->begun = false;
		m->changes = sqlite3_total_changes64(m->db); /* which counts those that were undone */
	} else if (rc == 0) {
		rc = meta_exec(s, m->release);
	}
	if (rc < 0 && m->txn)
		give_up(s, "a rollback in meta.db");
}

int meta_end(struct store *s, int rc)
{
	struct meta *m = s->meta;

	meta_reset_used(m); /* before the savepoint goes: an open statement would be cut off in the middle */
	m->op = false;
	if (!m->txn && rc >= 0)
		rc = meta_failed(s); /* SQLite ended the transaction and the caller overlooked it */
	if (m->torn && rc >= 0)
		rc = store_vfs_damage(); /* he overlooked that too */
	if (rc >= 0) {
		int end = m->alone ? 0 : meta_exec(s, m->release);

		if (end < 0) {
			undo(s);
			rc = end;
		}
	} else {
		/* The caller's message tells why; one of a failing rollback goes to the log. */
		undo(s);
	}
	m->torn = false;
	tree_late_done(s, rc >= 0);
	for (int i = 0; i < META_SEQS; i++)
		m->ids[i].undo = 0;
	if (m->txn && rows_changed(m) > 0) {
		atomic_store(&m->dirty, true);
		if (rows_changed(m) >= COMMIT_ROWS) {
			int end = commit(s, false);

			if (end < 0 && rc >= 0 && !m->txn)
				rc = end; /* while it stands the operation is kept, and whoever asks for a commit is told */
		}
	}
	meta_unlock(s);
	return rc;
}

bool meta_dirty(struct store *s)
{
	return atomic_load(&s->meta->dirty);
}

/* Returns when commits up to `want` are on the disk. No locks held. */
static int sync_to(struct store *s, uint64_t want)
{
	struct meta *m = s->meta;
	int rc = 0;

	if (!m->wal)
		return 0;
	pthread_mutex_lock(&m->sync_lock);
	while (m->synced < want) {
		if ((rc = meta_failed(s)) < 0)
			break;
		if (m->syncing) {
			ckpt_cond_wait(&m->sync_done, &m->sync_lock);
			continue;
		}
		m->syncing = true;
		pthread_mutex_unlock(&m->sync_lock);

		uint64_t covered = atomic_load(&m->commits);
		ckpt_will_wait();
		int code = store_vfs_sync(m->wal);
		if (code != SQLITE_OK) {
			rc = ckpt_fail(EIO, "meta.db-wal: sync failed");
			meta_lost(s, "a sync of meta.db-wal");
		}

		pthread_mutex_lock(&m->sync_lock);
		m->syncing = false;
		if (code == SQLITE_OK && m->synced < covered)
			m->synced = covered;
		pthread_cond_broadcast(&m->sync_done);
		if (rc < 0)
			break;
	}
	pthread_mutex_unlock(&m->sync_lock);
	return rc;
}

static int commit_some(struct store *s, bool all, bool sync)
{
	struct meta *m = s->meta;

	if (s->readonly)
		return 0;
	meta_lock(s);
	int rc = meta_failed(s);
	if (rc == 0)
		rc = commit(s, all);
	uint64_t mine = atomic_load(&m->commits);
	meta_unlock(s);
	return rc == 0 && sync ? sync_to(s, mine) : rc;
}

int meta_commit(struct store *s, bool sync)
{
	return commit_some(s, true, sync);
}

int meta_commit_names(struct store *s)
{
	return commit_some(s, false, false);
}

int store_commit_names(struct store *s)
{
	return meta_commit_names(s);
}

bool meta_unsynced(struct store *s)
{
	struct meta *m = s->meta;

	pthread_mutex_lock(&m->sync_lock);
	bool yes = m->synced < atomic_load(&m->commits);
	pthread_mutex_unlock(&m->sync_lock);
	return yes && m->wal;
}

/* The WAL's bytes that are worth a checkpoint: those to copy, or, short of space, the file's. Lock held. */
static uint64_t wal_size(struct meta *m, bool cut)
{
	sqlite3_int64 size = m->wal_bytes;

	if (cut && m->wal->pMethods->xFileSize(m->wal, &size) != SQLITE_OK)
		size = m->wal_bytes;
	return size > 0 ? (uint64_t)size : 0;
}

int64_t meta_wal_owed(const struct store *s)
{
	return s->meta ? atomic_load(&s->meta->wal_bytes) : 0;
}

/*
 * PASSIVE is enough: nobody else has the file open and no statement is, so every frame is copied and the next
 * writer begins the WAL again at its start.  SQLite syncs the WAL first, which the sync before the lock has
 * made short, and the database after.  Short of space the WAL is cut (TRUNCATE), else its blocks are kept for
 * the frames to come.
 */
int meta_checkpoint(struct store *s, uint64_t limit)
{
	struct meta *m = s->meta;
	int rc;

	if (s->readonly)
		return 0;
	meta_lock(s);
	bool cut = store_short_of_space(s), due = wal_size(m, cut) > limit;
	meta_unlock(s);
	if (!due)
		return 0;
	rc = meta_commit(s, true);
	if (rc < 0)
		return rc;
	meta_lock(s);
	rc = meta_failed(s);
	if (rc == 0)
		rc = commit(s, true);
	if (rc == 0) {
		int log = 0, copied = 0;
		uint64_t covered = atomic_load(&m->commits);

		if (sqlite3_wal_checkpoint_v2(m->db, "main", cut ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &log,
				&copied) != SQLITE_OK) {
			int code = sqlite3_extended_errcode(m->db);

			rc = ckpt_context(meta_fail(s), "checkpoint");
			/* Of WAL or database, we can't tell; other failures leave all there is in the WAL. */
			if (code == SQLITE_IOERR_FSYNC)
				meta_lost(s, "a sync of meta.db");
		} else {
			if (log == copied)
				m->wal_bytes = 0;
			pthread_mutex_lock(&m->sync_lock);
			if (m->synced < covered)
				m->synced = covered;
			pthread_mutex_unlock(&m->sync_lock);
		}
	}
	meta_unlock(s);
	return rc;
}

/* --- ids --------------------------------------------------------------------------------------------- */

/* The next block begins at `from`; it is in config from now on. */
static int reserve(struct store *s, enum meta_seq which, int64_t from)
{
	struct meta_ids *q = &s->meta->ids[which];
	sqlite3_stmt *st;
	int rc;

	if (from > INT64_MAX - ID_BLOCK)
		return ckpt_fail(ENOSPC, "meta.db: no ids left (%s)", seq_key[which]);
	st = meta_stmt(s, "UPDATE config SET value = ?2 WHERE key = ?1");
	if (!st)
		return meta_fail(s);
	sqlite3_bind_text(st, 1, seq_key[which], -1, SQLITE_STATIC);
	sqlite3_bind_int64(st, 2, from + ID_BLOCK);
	rc = meta_exec(s, st);
	if (rc < 0)
		return rc;
	if (sqlite3_changes(s->meta->db) != 1)
		return ckpt_fail(EIO, "meta.db is damaged: config has no '%s'", seq_key[which]);
	if (!q->undo)
		q->undo = q->end;
	q->next = from;
	q->end = from + ID_BLOCK;
	return 0;
}

int64_t meta_next(struct store *s, enum meta_seq which)
{
	struct meta_ids *q = &s->meta->ids[which];

	if (!s->meta->op)
		return ckpt_fail(EINVAL, "an id was asked for outside of a transaction");
	if (q->next == q->end) {
		int rc = reserve(s, which, q->end);

		if (rc < 0)
			return rc;
	}
	return q->next++;
}

int meta_load_ids(struct store *s)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT value FROM config WHERE key = ?1");
	int rc = 0;

	if (!st)
		return meta_fail(s);
	for (int i = 0; i < META_SEQS; i++) {
		sqlite3_bind_text(st, 1, seq_key[i], -1, SQLITE_STATIC);
		rc = meta_step(s, st);
		if (rc < 0)
			return rc;
		if (rc == 0 || sqlite3_column_type(st, 0) != SQLITE_INTEGER || sqlite3_column_int64(st, 0) < 1)
			return ckpt_fail(EIO, "store '%s': meta.db is damaged: config has no good '%s'", s->path, seq_key[i]);
		s->meta->ids[i].next = s->meta->ids[i].end = sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	}
	return 0;
}
