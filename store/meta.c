/*
 * meta.c: the connection to meta.db.
 *
 * One connection in exclusive mode (no shared memory file, no locks taken and dropped), in WAL mode with
 * synchronous=NORMAL: SQLite syncs nothing at a commit, so a commit is an append to the WAL and takes
 * microseconds.  Syncs are made where somebody is promised one, in meta_txn.c.
 *
 * Invariants:
 *  1. A transaction that is gone without our COMMIT (SQLite ends it by itself after some errors) took
 *     acknowledged operations with it.  That is final: store.failed is set, and every meta_begin() from then
 *     on fails.  Going on would let later changes live that build upon lost ones.  meta_fail() is where it is
 *     noticed, so every error of SQLite goes through there.
 *  2. Statements handed out are reset when the lock is dropped, so none is left open to keep a pointer to a
 *     caller's buffer.
 *  3. Whoever takes the lock finds a transaction open, which begins to read with its first statement: it is kept
 *     until the next commit, so that what looks at a few rows doesn't begin and end one for each.  Nobody else
 *     writes, so what is seen never grows old.  What must not meet one (a checkpoint, VACUUM) ends it first.
 */
#include "meta_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "page_sums_internal.h"
#include "store_internal.h"
#include "tree_internal.h"
#include "vfs_internal.h"

enum { CACHE_KIB = 32 << 10 };

/* --- errors ------------------------------------------------------------------------------------------ */

static int errno_of(sqlite3 *db)
{
	int code = sqlite3_extended_errcode(db), sys = sqlite3_system_errno(db);

	switch (code & 0xff) {
	case SQLITE_NOMEM:
		return ENOMEM;
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return EBUSY;
	case SQLITE_TOOBIG:
		return E2BIG;
	case SQLITE_CONSTRAINT:
		return code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
				code == SQLITE_CONSTRAINT_ROWID ? EEXIST : EINVAL;
	case SQLITE_IOERR:
		if (code == SQLITE_IOERR_NOMEM)
			return ENOMEM;
		return sys == ENOSPC || sys == EDQUOT ? sys : EIO;
	case SQLITE_CANTOPEN:
		return sys == EACCES || sys == EPERM || sys == EROFS || sys == ENOENT || sys == EMFILE || sys == ENFILE ||
				sys == ENOSPC || sys == EDQUOT ? sys : EIO;
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return EACCES;
	default:
		return EIO;
	}
}

void meta_lost(struct store *s, const char *what)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&s->failed, &none, EIO))
		ckpt_log(LOG_ERR, "store '%s': %s failed (%s): what was not yet committed may be lost; "
				"no more changes until the store is opened anew", s->path, what, ckpt_errmsg());
}

int meta_fail(struct store *s)
{
	struct meta *m = s->meta;
	int rc;

	if (m->error) {
		rc = -m->error;
		m->error = 0;
		return rc;
	}
	if (sqlite3_extended_errcode(m->db) == PAGE_DAMAGED)
		rc = store_vfs_damage();
	else
		rc = ckpt_fail(errno_of(m->db), "meta.db: %s", sqlite3_errmsg(m->db));
	if (m->begun && sqlite3_get_autocommit(m->db)) {
		m->begun = false;
		if (m->txn) {
			m->txn = false;
			tree_memory_forget(s);
			meta_lost(s, "a transaction of meta.db");
		}
	}
	return rc;
}

int meta_format(const struct store *s)
{
	return s->meta->format;
}

int meta_failed(struct store *s)
{
	int err = atomic_load(&s->failed);

	return err ? ckpt_fail(err, "store '%s' met an error earlier and takes no more changes", s->path) : 0;
}

/* --- statements -------------------------------------------------------------------------------------- */

static struct meta_cached **bucket(struct meta *m, const char *sql)
{
	return &m->bucket[((uint64_t)(uintptr_t)sql * 0x9e3779b97f4a7c15u) >> 56];
}
_Static_assert(META_BUCKETS == 256, "bucket() takes eight bits");

sqlite3_stmt *meta_stmt(struct store *s, const char *sql)
{
	struct meta *m = s->meta;
	struct meta_cached **head = bucket(m, sql), *c;

	for (c = *head; c; c = c->next)
		if (c->sql == sql)
			break;
	if (!c) {
		c = calloc(1, sizeof *c);
		if (!c) {
			m->error = ENOMEM;
			ckpt_fail(ENOMEM, "meta.db: no memory for a statement");
			return NULL;
		}
		if (sqlite3_prepare_v3(m->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &c->st, NULL) != SQLITE_OK) {
			free(c);
			m->error = -meta_fail(s);
			return NULL;
		}
		c->sql = sql;
		c->next = *head;
		*head = c;
	} else if (c->used) {
		sqlite3_reset(c->st);
		sqlite3_clear_bindings(c->st);
	}
	if (!c->used) {
		c->used = true;
		c->next_used = m->used;
		m->used = c;
	}
	return c->st;
}

void meta_reset_used(struct meta *m)
{
	for (struct meta_cached *c = m->used; c; c = c->next_used) {
		sqlite3_reset(c->st);
		sqlite3_clear_bindings(c->st);
		c->used = false;
	}
	m->used = NULL;
}

int meta_step(struct store *s, sqlite3_stmt *st)
{
	int code = sqlite3_step(st), rc;

	if (code == SQLITE_ROW)
		return 1;
	rc = code == SQLITE_DONE ? 0 : meta_fail(s);
	if (code == PAGE_DAMAGED && !sqlite3_stmt_readonly(st))
		s->meta->torn = true;
	sqlite3_reset(st);
	return rc;
}

int meta_exec(struct store *s, sqlite3_stmt *st)
{
	int rc = meta_step(s, st);

	if (rc > 0) {
		sqlite3_reset(st);
		rc = 0;
	}
	return rc;
}

int meta_scan(struct store *s, uint32_t *at, void (*bad)(void *arg, uint32_t page), void *arg)
{
	sqlite3_file *file = NULL;
	int rc = 0;

	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "PRAGMA page_count");

	rc = st ? meta_step(s, st) : meta_fail(s);
	int64_t pages = rc == 1 ? sqlite3_column_int64(st, 0) : 0;

	if (rc == 1) {
		sqlite3_reset(st);
		rc = 0;
	}
	if (rc == 0 && sqlite3_file_control(s->meta->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK && file)
		rc = store_vfs_scan(s, file, pages, at, bad, arg);
	meta_unlock(s);
	return rc;
}

void meta_lock(struct store *s)
{
	struct meta *m = s->meta;

	ckpt_mutex_lock(&m->lock);
	/* Without one each statement is a transaction of its own, which costs more than most of them do. */
	if (m->shared && !m->begun) {
		m->begun = sqlite3_step(m->begin) == SQLITE_DONE;
		sqlite3_reset(m->begin);
	}
}

void meta_end_reading(struct meta *m)
{
	if (!m->begun || m->txn)
		return;
	sqlite3_step(m->commit);
	sqlite3_reset(m->commit);
	m->begun = !sqlite3_get_autocommit(m->db);
}

void meta_unlock(struct store *s)
{
	meta_reset_used(s->meta);
	s->meta->error = 0;
	pthread_mutex_unlock(&s->meta->lock);
}

/* --- open and close ---------------------------------------------------------------------------------- */

static int wal_grew(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct meta *m = arg;

	(void)db, (void)name;
	m->wal_bytes = (int64_t)pages * (4096 + 24);
	return SQLITE_OK;
}

static int configure(struct store *s, sqlite3 *db)
{
	char sql[512];

	/* locking_mode comes first: before the WAL is looked at for the first time. */
	sqlite3_snprintf(sizeof sql, sql,
			"PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -%d;"
			"PRAGMA secure_delete = OFF; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;"
			"PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA journal_size_limit = -1;",
			CACHE_KIB);
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return meta_fail(s);
	sqlite3_wal_hook(db, wal_grew, s->meta); /* in place of SQLite's own, which checkpoints when it likes */
	return 0;
}

static void row_changed(void *arg, int how, const char *db, const char *table, sqlite3_int64 row)
{
	(void)how, (void)db;
	if (strcmp(table, "inode") == 0)
		tree_known_forget(arg, (uint64_t)row);
}

static int prepare(struct store *s)
{
	struct meta *m = s->meta;
	const struct {
		sqlite3_stmt **st;
		const char *sql;
	} fixed[] = {
		{ &m->begin, "BEGIN" }, { &m->commit, "COMMIT" }, { &m->savepoint, "SAVEPOINT op" },
		{ &m->release, "RELEASE op" }, { &m->undo, "ROLLBACK TO op" }, { &m->rollback, "ROLLBACK" },
	};

	for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
		if (sqlite3_prepare_v3(m->db, fixed[i].sql, -1, SQLITE_PREPARE_PERSISTENT, fixed[i].st, NULL) != SQLITE_OK)
			return meta_fail(s);
	return 0;
}

/* The database, open and of a format that we know. */
static int open_database(struct store *s, const char *path, int flags, bool create)
{
	struct meta *m = s->meta;
	int rc;

	if (sqlite3_open_v2(path, &m->db, flags, s->vfs) != SQLITE_OK) {
		rc = m->db ? meta_fail(s) : ckpt_fail(ENOMEM, "no memory to open store '%s'", s->path);
		return ckpt_context(rc, "store '%s'", s->path);
	}
	sqlite3_extended_result_codes(m->db, 1);
	rc = configure(s, m->db);
	return rc < 0 ? rc : meta_schema_open(s, m->db, create);
}

static int ready(struct store *s)
{
	struct meta *m = s->meta;
	int rc;

	if (sqlite3_exec(m->db, "PRAGMA max_page_count = 4294967294;", NULL, NULL, NULL) != SQLITE_OK)
		return meta_fail(s);
	if ((rc = prepare(s)) < 0 || (rc = meta_load_ids(s)) < 0)
		return rc;
	meta_reset_used(m);
	m->changes = sqlite3_total_changes64(m->db);
	if (s->readonly)
		return 0;
	m->shared = true;
	sqlite3_update_hook(m->db, row_changed, s);

	/* Also makes the directory's entry of a new WAL durable, which the unix VFS does at a WAL's first sync. */
	if (sqlite3_file_control(m->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &m->wal) != SQLITE_OK || !m->wal ||
	    !m->wal->pMethods)
		return ckpt_fail(EIO, "store '%s': meta.db is not in WAL mode", s->path);
	if (m->wal->pMethods->xSync(m->wal, SQLITE_SYNC_NORMAL) != SQLITE_OK)
		return ckpt_fail(EIO, "store '%s': sync of meta.db-wal failed", s->path);
	return 0;
}

int meta_open(struct store *s, bool create)
{
	char *path = NULL;
	int rc;

	int flags = store_db_flags(s, "meta.db", create);
	if (flags < 0)
		return flags;
	struct meta *m = calloc(1, sizeof *m);
	if (!m)
		return ckpt_fail(ENOMEM, "no memory to open store '%s'", s->path);
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->sync_lock, NULL);
	pthread_cond_init(&m->sync_done, NULL);
	s->meta = m;
	path = sqlite3_mprintf("%s/meta.db", s->path);
	if (!path) {
		rc = ckpt_fail(ENOMEM, "no memory to open store '%s'", s->path);
		goto close;
	}
	rc = open_database(s, path, flags, create);
	if (rc == 0 && m->format < STORE_FORMAT && !s->readonly) {
		rc = meta_upgrade(s);
		if (rc == 0)
			rc = open_database(s, path, flags, false);
	}
	if (rc == 0)
		rc = ready(s);
	if (rc < 0)
		goto close;
	sqlite3_free(path);
	return 0;
close:
	sqlite3_free(path);
	meta_close(s);
	return rc;
}

void meta_close(struct store *s)
{
	struct meta *m = s->meta;

	if (!m)
		return;
	for (int i = 0; i < META_BUCKETS; i++) {
		while (m->bucket[i]) {
			struct meta_cached *c = m->bucket[i];

			m->bucket[i] = c->next;
			sqlite3_finalize(c->st);
			free(c);
		}
	}
	sqlite3_finalize(m->begin);
	sqlite3_finalize(m->commit);
	sqlite3_finalize(m->savepoint);
	sqlite3_finalize(m->release);
	sqlite3_finalize(m->undo);
	sqlite3_finalize(m->rollback);
	/*
	 * What was left in the WAL for good reason stays there: after a failure, or where nothing is to be changed.
	 */
	if (m->db && (s->crash || s->readonly || atomic_load(&s->failed)))
		sqlite3_db_config(m->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_close(m->db);
	pthread_cond_destroy(&m->sync_done);
	pthread_mutex_destroy(&m->sync_lock);
	pthread_mutex_destroy(&m->lock);
	free(m);
	s->meta = NULL;
}

/* --- time -------------------------------------------------------------------------------------------- */

struct timespec meta_timespec(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += 1000000000;
	}
	return t;
}

int64_t meta_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return meta_ns(t);
}

int64_t meta_monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return meta_ns(t);
}
