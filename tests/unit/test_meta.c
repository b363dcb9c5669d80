/*
 * test_meta.c: the connection to meta.db: operations and their undoing, commits, ids, crashes, checkpoints,
 * threads, and disks that fail.
 */
#include "scratch_sql.h"
#include "scratch_store.h"

static int64_t count(struct store *s)
{
	return number(s, "SELECT count(*) FROM xattr");
}

static int64_t next_id(struct store *s, enum meta_seq which)
{
	assert_int_equal(meta_begin(s), 0);
	int64_t id = meta_next(s, which);
	assert_int_equal(meta_end(s, 0), 0);
	return id;
}

/* --- operations -------------------------------------------------------------------------------------- */

static void test_undo(void **state)
{
	(void)state;
	struct store *s = open_with(&plain);

	assert_int_equal(put(s, 1, 10), 0);
	assert_true(meta_dirty(s));
	assert_int_equal(meta_begin(s), 0);
	assert_int_equal(put_row(s, 2, 10), 0);
	assert_int_equal(put_row(s, 3, 10), 0);
	assert_int_equal(put_row(s, 1, 10), -EEXIST);
	assert_int_equal(meta_end(s, ckpt_fail(ENOSPC, "the reason")), -ENOSPC);
	assert_string_equal(ckpt_errmsg(), "the reason");
	assert_int_equal(count(s), 1);
	assert_int_equal(put(s, 2, 10), 0);

	/* A statement left in the middle of its rows hinders nobody, nor does one that is bad. */
	assert_int_equal(meta_begin(s), 0);
	sqlite3_stmt *st = meta_stmt(s, "SELECT ino FROM xattr ORDER BY ino");
	assert_int_equal(meta_step(s, st), 1);
	assert_null(meta_stmt(s, "SELECT nonsense FROM nowhere"));
	assert_int_equal(meta_fail(s), -EIO);
	assert_int_equal(meta_end(s, 0), 0);
	meta_lock(s);
	st = meta_stmt(s, "SELECT ino FROM xattr ORDER BY ino");
	assert_int_equal(meta_step(s, st), 1);
	meta_unlock(s);
	assert_int_equal(meta_commit(s, true), 0);
	assert_false(meta_dirty(s));
	assert_false(meta_unsynced(s));
	assert_int_equal(meta_checkpoint(s, 0), 0);
	assert_int_equal(count(s), 2);

	/* A name bound as text where bytes are kept is an error. */
	assert_int_equal(meta_begin(s), 0);
	st = meta_stmt(s, "INSERT INTO dirent VALUES(1, 'text', 20, 2, 8)");
	assert_int_equal(meta_exec(s, st), -EINVAL);
	assert_int_equal(meta_end(s, -EINVAL), -EINVAL);
	assert_int_equal(store_close(s), 0);
}

static void test_crash(void **state)
{
	(void)state;
	struct store *s = open_with(&plain);

	assert_int_equal(put(s, 1, 10), 0);
	assert_int_equal(store_commit(s, false), 0);
	assert_int_equal(put(s, 2, 10), 0);
	store_crash(s);
	assert_true(size_of("meta.db-wal") > 0);
	s = open_with(&plain);
	assert_int_equal(count(s), 1);

	/* Many changes are committed without being asked, so that a commit stays small. */
	for (int i = 0; i < 5000; i++)
		assert_int_equal(put(s, 100 + i, 10), 0);
	store_crash(s);
	s = open_with(&plain);
	assert_true(count(s) > 3000);
	store_tick(s);
	assert_int_equal(store_close(s), 0);
	store_crash(NULL);
}

static void test_ids(void **state)
{
	(void)state;
	struct store *s = open_with(&plain);
	int64_t last = 1;

	assert_int_equal(next_id(s, META_INO), 2);
	assert_int_equal(next_id(s, META_COOKIE), 16);
	assert_int_equal(next_id(s, META_VERSION), 1);
	assert_int_equal(store_commit(s, false), 0);
	for (int i = 0; i < 10000; i++) {
		int64_t id = next_id(s, META_INO);

		assert_true(id > last);
		last = id;
	}
	assert_int_equal(store_commit(s, false), 0);
	store_crash(s);
	s = open_with(&plain);
	int64_t id = next_id(s, META_INO);
	assert_true(id > last);

	/* A block reserved by an operation that is undone is reserved again, whatever it was used for. */
	assert_int_equal(meta_begin(s), 0);
	for (int i = 0; i < 9000; i++)
		assert_true(meta_next(s, META_INO) > id);
	assert_int_equal(meta_end(s, -ECANCELED), -ECANCELED);
	last = next_id(s, META_INO);
	assert_true(last > id);
	assert_true(number(s, "SELECT value FROM config WHERE key = 'next_ino'") > last);
	assert_int_equal(store_commit(s, false), 0);
	store_crash(s);
	s = open_with(&plain);
	assert_true(next_id(s, META_INO) > last);

	meta_lock(s);
	assert_int_equal(meta_next(s, META_INO), -EINVAL);
	meta_unlock(s);
	assert_int_equal(store_close(s), 0);
}

static void test_checkpoint(void **state)
{
	(void)state;
	struct store *s = open_with(&plain);
	int64_t before = size_of("meta.db");

	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 64; i++)
			assert_int_equal(put(s, round * 64 + i, 60000), 0);
		assert_int_equal(store_commit(s, false), 0);
		assert_int_equal(meta_checkpoint(s, 1 << 20), 0);
	}
	/* Copied, and the WAL used anew from its start each time. */
	assert_true(size_of("meta.db") > before + (12 << 20));
	assert_true(size_of("meta.db-wal") < (7 << 20));
	assert_false(meta_unsynced(s));
	assert_int_equal(put(s, 9999, 1), 0);
	assert_int_equal(store_commit(s, false), 0);
	assert_true(meta_unsynced(s));
	store_crash(s);
	s = open_with(&plain);
	assert_int_equal(count(s), 257);
	assert_int_equal(store_close(s), 0);
}

/* --- disks that fail --------------------------------------------------------------------------------- */

/*
 * The nth write or sync fails, and all after it.  Whatever was acknowledged as committed is there afterwards,
 * nothing is there twice or in part, and after the first failure of a commit no change is taken any more.
 */
static void run_failing(int n, bool sync, int code, bool *hit)
{
	struct store *s;
	int64_t committed = 0, tried = 0;
	bool failed = false;

	fresh(NULL);
	s = open_with(&on_faulty);
	fault.code = code;
	fault.stay = true;
	atomic_store(sync ? &fault.fail_sync : &fault.fail_write, n);
	for (int i = 0; i < 12; i++) {
		int rc = 0;

		for (int k = 0; k < 4 && rc == 0; k++)
			rc = put(s, ++tried, 3000);
		if (rc == 0)
			rc = i % 3 == 2 ? meta_checkpoint(s, 0) : meta_commit(s, i & 1);
		if (failed)
			assert_true(rc < 0);
		if (rc == 0 && i % 3 != 2)
			committed = tried;
		if (rc < 0 && atomic_load(&s->failed))
			failed = true;
	}
	*hit = atomic_load(&fault.down);
	store_crash(s);
	memset(&fault, 0, sizeof fault);
	s = open_with(&on_faulty);
	int64_t n_rows = count(s);
	assert_true(n_rows >= committed && n_rows <= tried);
	assert_int_equal(number(s, "SELECT max(ino) FROM (SELECT ino FROM xattr UNION ALL SELECT 0)"), n_rows);
	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, "PRAGMA integrity_check");
	assert_int_equal(meta_step(s, st), 1);
	assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
	meta_unlock(s);
	assert_int_equal(store_close(s), 0);
}

static void test_failing_writes(void **state)
{
	(void)state;
	bool hit = true;

	for (int n = 1; hit; n++)
		run_failing(n, false, SQLITE_IOERR_WRITE, &hit);
	hit = true;
	for (int n = 1; hit; n++)
		run_failing(n, false, SQLITE_FULL, &hit);
}

static void test_failing_syncs(void **state)
{
	(void)state;
	bool hit = true;

	for (int n = 1; hit; n++)
		run_failing(n, true, SQLITE_IOERR_FSYNC, &hit);

	/* One sync that fails is final, even when the next would work. */
	fresh(NULL);
	struct store *s = open_with(&on_faulty);
	assert_int_equal(put(s, 1, 1), 0);
	assert_int_equal(meta_commit(s, false), 0); /* SQLite itself syncs the first commit of a new WAL */
	atomic_store(&fault.fail_sync, 1);
	assert_int_equal(meta_commit(s, true), -EIO);
	assert_int_equal(meta_commit(s, true), -EIO);
	assert_int_equal(meta_begin(s), -EIO);
	assert_int_equal(count(s), 1); /* reading goes on */
	assert_int_equal(store_close(s), -EIO);
}

/* --- formats ----------------------------------------------------------------------------------------- */

/* Makes of the closed store one of format 1. */
static void make_old(void)
{
	assert_int_equal(sql_make_old(path), SQLITE_OK);
}

static void is_upgraded(struct store *s, int64_t format)
{
	assert_int_equal(meta_format(s), format);
	assert_int_equal(number(s, "PRAGMA user_version"), format);
	assert_int_equal(number(s, "SELECT value FROM config WHERE key = 'format'"), format);
	assert_int_equal(number(s, "SELECT count(*) FROM sqlite_schema WHERE name IN ('derived', 'pool', 'version_inline')"),
			format < 2 ? 0 : 3);
	assert_int_equal(count(s), 1);
}

static char *name_in(const char *name)
{
	static char file[400];

	snprintf(file, sizeof file, "%s/%s", path, name);
	return file;
}

/* What a kill left of an upgrade before. */
static void leave(const char *name)
{
	FILE *f = fopen(name_in(name), "w");

	assert_non_null(f);
	assert_true(fputs("SQLite format 3", f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* Reads all of the closed store's meta.db, or writes it. */
static void move(bool back, uint8_t *p, size_t n)
{
	FILE *f = fopen(name_in("meta.db"), back ? "w" : "r");

	assert_non_null(f);
	assert_int_equal(back ? fwrite(p, 1, n, f) : fread(p, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

/* Bytes that each page of the closed database leaves for a sum, as its header says. */
static int room_in(const char *name)
{
	uint8_t header[100];
	FILE *f = fopen(name_in(name), "r");

	assert_non_null(f);
	assert_int_equal(fread(header, 1, sizeof header, f), sizeof header);
	fclose(f);
	return header[20];
}

/* An old store becomes a new one when it is opened for writing, in one step that can fail at any write. */
static void test_upgrade(void **state)
{
	(void)state;
	static const struct store_options readonly = { .readonly = true, .workers = 1 };
	struct stat st;
	struct store *s = open_with(&plain);

	is_upgraded((assert_int_equal(put(s, 1, 10), 0), s), STORE_FORMAT);
	assert_int_equal(store_close(s), 0);
	make_old();
	assert_int_equal(room_in("meta.db"), 0);
	assert_int_equal(chmod(name_in("meta.db"), 0640), 0);
	leave("meta.db-new");
	leave("meta.db-new-wal");
	leave("meta.db-new-journal");
	struct store_attr before, after;

	s = open_with(&readonly);
	is_upgraded(s, 1);
	assert_int_equal(store_getattr(s, STORE_ROOT, &before), 0);
	assert_true(before.mtime.tv_sec > 1700000000);
	assert_int_equal(store_close(s), 0);
	s = open_with(&plain);
	assert_int_equal(store_getattr(s, STORE_ROOT, &after), 0);
	assert_memory_equal(&before.mtime, &after.mtime, sizeof before.mtime);
	assert_memory_equal(&before.atime, &after.atime, sizeof before.atime);
	assert_memory_equal(&before.btime, &after.btime, sizeof before.btime);
	assert_int_equal(store_close(s), 0);
	assert_int_equal(room_in("meta.db"), PAGE_SUM);
	assert_int_equal(size_of("meta.db-new"), -1);
	assert_int_equal(size_of("meta.db-new-wal"), -1);
	assert_int_equal(size_of("meta.db-new-journal"), -1);
	assert_int_equal(stat(name_in("meta.db"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);

	fresh(NULL);
	s = open_with(&plain);
	assert_int_equal(put(s, 1, 10), 0);
	assert_int_equal(store_close(s), 0);
	make_old();
	uint8_t *old = malloc(1 << 20);
	int64_t size = size_of("meta.db");
	assert_true(size > 0 && size < 1 << 20);
	move(false, old, (size_t)size);
	/* 0: writes, 1: syncs, 2: writes to a disk that is full */
	for (int kind = 0; kind < 3; kind++) {
		bool hit = true;

		for (int n = 1; hit; n += kind == 2 ? 7 : 1) {
			unlink(name_in("meta.db-wal"));
			move(true, old, (size_t)size);
			memset(&fault, 0, sizeof fault);
			fault.code = kind == 2 ? SQLITE_FULL : SQLITE_IOERR_WRITE;
			fault.stay = true;
			atomic_store(kind == 1 ? &fault.fail_sync : &fault.fail_write, n);
			if (store_open(path, &on_faulty, &s) == 0)
				store_crash(s);
			hit = atomic_load(&fault.down);
			memset(&fault, 0, sizeof fault);
			s = open_with(&readonly);
			is_upgraded(s, meta_format(s));
			assert_int_equal(store_close(s), 0);
			s = open_with(&plain);
			is_upgraded(s, STORE_FORMAT);
			assert_int_equal(store_close(s), 0);
		}
	}
	free(old);
}

/* Databases that an older program began to make: their first page has no room for a sum, and nothing stands on it. */
static void test_begun(void **state)
{
	static const struct {
		const char *name, *sql;
	} begun[] = {
		{ "meta.db", "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL" },
		{ "chunks.db", "PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; VACUUM" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof begun / sizeof *begun; i++) {
		sqlite3 *db;

		fresh(NULL);
		if (i == 0)
			assert_int_equal(mkdir(path, 0700), 0);
		else
			assert_int_equal(store_close(open_with(&plain)), 0);
		unlink(name_in(begun[i].name));
		assert_int_equal(sqlite3_open(name_in(begun[i].name), &db), SQLITE_OK);
		assert_int_equal(sqlite3_exec(db, begun[i].sql, NULL, NULL, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_close(db), SQLITE_OK);
		assert_true(size_of(begun[i].name) > 0);
		assert_int_equal(room_in(begun[i].name), 0);

		struct store *s = open_with(&plain);
		assert_int_equal(put(s, 1, 10), 0);
		assert_int_equal(store_close(s), 0);
		assert_int_equal(room_in("meta.db"), PAGE_SUM);
		assert_int_equal(room_in("chunks.db"), PAGE_SUM);
		s = open_with(&plain);
		assert_int_equal(count(s), 1);
		assert_int_equal(store_close(s), 0);
	}
}

/* --- threads ----------------------------------------------------------------------------------------- */

enum { THREADS = 8, EACH = 40 };

struct worker {
	pthread_t thread;
	struct store *s;
	int n;
};

static void *work(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < EACH; i++)
		if (put(w->s, w->n * 1000 + i, 100) < 0 || meta_commit(w->s, i % 2 == 0) < 0)
			return (void *)-1;
	return NULL;
}

static void test_threads(void **state)
{
	(void)state;
	struct worker w[THREADS];
	struct store *s = open_with(&on_faulty);
	void *end;

	for (int i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ .s = s, .n = i };
		assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < 20; i++)
		assert_int_equal(meta_checkpoint(s, 0), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(w[i].thread, &end);
		assert_null(end);
	}
	assert_int_equal(count(s), THREADS * EACH);
	store_crash(s);
	s = open_with(&on_faulty);
	assert_int_equal(count(s), THREADS * EACH);
	assert_int_equal(store_close(s), 0);
}

static void test_time(void **state)
{
	(void)state;
	static const int64_t ns[] = { 0, 1, -1, 999999999, -1000000000, -1000000001, INT64_MAX, INT64_MIN };

	for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
		struct timespec t = meta_timespec(ns[i]);

		assert_true(t.tv_nsec >= 0 && t.tv_nsec < 1000000000);
		if (ns[i] != INT64_MIN)
			assert_true(meta_ns(t) == ns[i]);
	}
	assert_int_equal(meta_timespec(-1).tv_sec, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_undo, fresh),
		cmocka_unit_test_setup(test_crash, fresh),
		cmocka_unit_test_setup(test_ids, fresh),
		cmocka_unit_test_setup(test_checkpoint, fresh),
		cmocka_unit_test_setup(test_failing_writes, fresh),
		cmocka_unit_test_setup(test_failing_syncs, fresh),
		cmocka_unit_test_setup(test_upgrade, fresh), cmocka_unit_test_setup(test_begun, fresh),
		cmocka_unit_test_setup(test_threads, fresh),
		cmocka_unit_test_setup(test_time, fresh),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
