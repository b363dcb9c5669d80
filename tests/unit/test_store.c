/* test_store.c: a store's life: made, recognised, refused, locked, opened read-only, and short of space. */
#include <fcntl.h>
#include <sys/wait.h>

#include "scratch_sql.h"
#include "scratch_store.h"

static int64_t count(struct store *s)
{
	return number(s, "SELECT count(*) FROM xattr");
}

static void expect_refusal(const struct store_options *o, int rc, const char *word)
{
	struct store *s = NULL;

	assert_int_equal(store_open(path, o, &s), rc);
	assert_null(s);
	if (!strstr(ckpt_errmsg(), word))
		fail_msg("'%s' does not speak of '%s'", ckpt_errmsg(), word);
}

static void write_file(const char *name, const void *p, size_t n)
{
	char file[400];

	snprintf(file, sizeof file, "%s/%s", path, name);
	int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), (ssize_t)n);
	close(fd);
}

static void sql_on_meta(const char *sql)
{
	sqlite3 *db = sql_open(path, "meta.db");

	assert_non_null(db);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sql_close(db), SQLITE_OK);
}

/* --- making and recognising -------------------------------------------------------------------------- */

static void test_make(void **state)
{
	(void)state;
	static const char *const files[] = { "meta.db", "reserve", "lock" };
	char file[400];
	struct stat st;
	struct store *s = open_with(&plain);

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(file, sizeof file, "%s/%s", path, files[i]);
		assert_int_equal(stat(file, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	assert_true(size_of("reserve") > 0);
	assert_int_equal(number(s, "SELECT mode FROM inode WHERE ino = 1"), S_IFDIR | 0755);
	assert_int_equal(number(s, "SELECT nlink FROM inode WHERE ino = 1"), 2);
	assert_int_equal(number(s, "SELECT uid FROM inode WHERE ino = 1"), geteuid());
	assert_int_equal(number(s, "SELECT length(value) FROM config WHERE key = 'uuid'"), 16);
	assert_int_equal(put(s, 7, 10), 0);

	struct store_space sp;
	assert_int_equal(store_space(s, &sp), 0);
	assert_true(sp.stored > 0 && sp.avail <= sp.free && sp.free <= sp.total);
	assert_int_equal(store_close(s), 0);
	assert_int_equal(size_of("meta.db-wal"), -1); /* a clean close leaves one file */

	s = open_with(&(struct store_options){ .workers = 1 });
	assert_int_equal(count(s), 1);
	assert_int_equal(store_close(s), 0);
	assert_int_equal(store_close(NULL), 0);
	assert_non_null(strstr(store_engine_version(), "SQLite 3."));
}

static void test_refused(void **state)
{
	(void)state;
	struct store_options no_create = { .workers = 1 };
	struct store *s;

	expect_refusal(&no_create, -ENOENT, "no store at");
	assert_int_equal(access(path, F_OK), -1);

	/* Somebody's directory is left as it was. */
	assert_int_equal(mkdir(path, 0755), 0);
	expect_refusal(&no_create, -ENOENT, "no store at");
	write_file("thesis.tex", "x", 1);
	expect_refusal(&plain, -ENOTEMPTY, "thesis.tex");
	assert_int_equal(size_of("lock"), -1);
	assert_int_equal(size_of("meta.db"), -1);

	/* A meta.db of another program, and one that is no database. */
	sql_on_meta("PRAGMA application_id = 77; CREATE TABLE t(x);");
	expect_refusal(&plain, -ENOTEMPTY, "another program");
	assert_int_equal(size_of("lock"), -1);
	sql_on_meta("PRAGMA application_id = 0;");
	expect_refusal(&plain, -ENOTEMPTY, "no database of ckptfs");
	write_file("meta.db", "hello", 5);
	expect_refusal(&plain, -EIO, "damaged");

	/* Chunks without a meta.db are a loss, not a store being made. */
	remove_tree(path);
	assert_int_equal(mkdir(path, 0755), 0);
	write_file("chunks.db", "xxx", 3);
	expect_refusal(&plain, -EIO, "meta.db is missing");

	remove_tree(path);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	close(fd);
	expect_refusal(&plain, -ENOTDIR, "not a directory");
	assert_int_equal(store_open("/nonexistent/a/b", &plain, &s), -ENOENT);
	assert_int_equal(store_open("", &plain, &s), -ENOENT);
	assert_int_equal(store_open("/proc", &plain, &s), -ENOTEMPTY);
}

static void test_newer_format(void **state)
{
	(void)state;

	assert_int_equal(store_close(open_with(&plain)), 0);
	sql_on_meta("PRAGMA user_version = 9;");
	expect_refusal(&plain, -EPROTONOSUPPORT, "format 9");
	sql_on_meta("PRAGMA user_version = 3; UPDATE config SET value = 12 WHERE key = 'format';");
	expect_refusal(&plain, -EPROTONOSUPPORT, "format 12");
	sql_on_meta("DELETE FROM config WHERE key = 'format';");
	expect_refusal(&plain, -EIO, "damaged");
	sql_on_meta("INSERT INTO config VALUES('format', 3); DELETE FROM config WHERE key = 'next_ino';");
	expect_refusal(&plain, -EIO, "next_ino");
}

/* A crash at any write or sync of the making: the next open goes on from there. */
static void test_making_is_safe(void **state)
{
	(void)state;

	for (int sync = 0; sync < 2; sync++) {
		for (int n = 1;; n++) {
			struct store *s = NULL;

			assert_true(n < 1000);
			fresh(NULL);
			fault.code = SQLITE_IOERR_WRITE;
			fault.stay = true;
			atomic_store(sync ? &fault.fail_sync : &fault.fail_write, n);
			int rc = store_open(path, &on_faulty, &s);
			bool hit = atomic_load(&fault.down);
			if (rc == 0)
				store_crash(s);
			else
				assert_int_equal(rc, -EIO);
			memset(&fault, 0, sizeof fault);
			if (!hit)
				break;
			s = open_with(&on_faulty);
			assert_int_equal(number(s, "SELECT count(*) FROM inode"), 1);
			assert_int_equal(store_close(s), 0);
		}
	}
}

/* --- the lock ---------------------------------------------------------------------------------------- */

static void test_lock(void **state)
{
	(void)state;
	struct store_options o = plain;
	char mnt[200], want[40];
	int pid;

	o.mountpoint = "/mnt/a b\\c\nd";
	struct store *s = open_with(&o);
	assert_int_equal(store_owner(path, &pid, mnt, sizeof mnt), 1);
	assert_int_equal(pid, getpid());
	assert_string_equal(mnt, o.mountpoint);
	assert_int_equal(store_owner(path, &pid, mnt, 5), 1);
	assert_string_equal(mnt, "/mnt");
	snprintf(want, sizeof want, "process %d, mounted at", getpid());
	expect_refusal(&plain, -EBUSY, want);
	expect_refusal(&(struct store_options){ .readonly = true }, -EBUSY, want);
	assert_int_equal(store_close(s), 0);

	assert_int_equal(store_owner(path, &pid, mnt, sizeof mnt), 0);
	assert_int_equal(store_owner("/nonexistent", &pid, mnt, sizeof mnt), -ENOENT);
	s = open_with(&plain);
	assert_int_equal(store_owner(path, &pid, mnt, sizeof mnt), 1);
	assert_string_equal(mnt, "");
	store_crash(s);

	/* The lock goes with its process. */
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct store *c;

		_exit(store_open(path, &plain, &c) == 0 ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(store_close(open_with(&plain)), 0);
}

/* --- read-only --------------------------------------------------------------------------------------- */

static void test_readonly(void **state)
{
	(void)state;
	const struct store_options ro = { .readonly = true, .create = true, .workers = 1 };
	struct stat before, after;
	char file[400];

	expect_refusal(&ro, -ENOENT, "no store at");
	struct store *s = open_with(&plain);
	assert_int_equal(put(s, 1, 10), 0);
	assert_int_equal(store_close(s), 0);

	snprintf(file, sizeof file, "%s/meta.db", path);
	assert_int_equal(stat(file, &before), 0);
	s = open_with(&ro);
	assert_true(store_readonly(s));
	assert_int_equal(count(s), 1);
	assert_int_equal(meta_begin(s), -EROFS);
	assert_int_equal(store_commit(s, true), 0);
	store_tick(s);
	assert_int_equal(store_close(s), 0);
	assert_int_equal(stat(file, &after), 0);
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
	assert_int_equal(size_of("meta.db-wal"), -1);

	/* After a crash what is in the WAL is seen, and stays there. */
	s = open_with(&plain);
	assert_int_equal(put(s, 2, 10), 0);
	assert_int_equal(store_commit(s, false), 0);
	store_crash(s);
	int64_t wal = size_of("meta.db-wal");
	s = open_with(&ro);
	assert_int_equal(count(s), 2);
	assert_int_equal(meta_begin(s), -EROFS);
	assert_int_equal(store_close(s), 0);
	assert_int_equal(size_of("meta.db-wal"), wal);
	s = open_with(&plain);
	assert_int_equal(count(s), 2);
	assert_int_equal(store_close(s), 0);
}

/* --- a full disk ------------------------------------------------------------------------------------- */

/* A full disk: the reserve saves the transaction once. */
static void test_reserve(void **state)
{
	(void)state;
	struct store *s = open_with(&on_faulty);

	assert_false(store_short_of_space(s));
	assert_int_equal(store_space_check(s, 4096), 0);
	assert_int_equal(put(s, 1, 3000), 0);
	fault.code = SQLITE_FULL;
	atomic_store(&fault.fail_write, 1);
	assert_int_equal(meta_commit(s, false), 0);
	assert_true(store_short_of_space(s));
	assert_int_equal(size_of("reserve"), 0);

	/* Set aside again as soon as there is room. */
	store_tick(s);
	assert_false(store_short_of_space(s));
	assert_true(size_of("reserve") > 0);
	/* A refusal counts for some seconds; whoever is held up for longer asks again. */
	for (int i = 0; i < 10 && !store_short_of_space(s); i++) {
		assert_int_equal(store_space_check(s, UINT64_MAX), -ENOSPC);
		assert_non_null(strstr(ckpt_errmsg(), "no space left on the disk below"));
	}
	assert_true(store_short_of_space(s));
	int64_t whole = size_of("reserve");

	assert_int_equal(store_close(s), 0);

	/* Closed, it keeps a part of it, and no journal; after a crash all is as it was. */
	assert_int_equal(size_of("reserve"), whole < 1 << 20 ? whole : 1 << 20);
	assert_int_equal(size_of("chunks.db-journal"), -1);
	s = open_with(&on_faulty);
	assert_int_equal(size_of("reserve"), whole);
	store_crash(s);
	assert_int_equal(size_of("reserve"), whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_make, fresh),
		cmocka_unit_test_setup(test_refused, fresh),
		cmocka_unit_test_setup(test_newer_format, fresh),
		cmocka_unit_test_setup(test_making_is_safe, fresh),
		cmocka_unit_test_setup(test_lock, fresh),
		cmocka_unit_test_setup(test_readonly, fresh),
		cmocka_unit_test_setup(test_reserve, fresh),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
