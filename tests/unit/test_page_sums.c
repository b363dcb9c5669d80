/*
 * test_page_sums.c: sums of pages and frames, by themselves and under SQLite.
 *
 * Random transactions of every kind are run on databases with a rollback journal and with a WAL, with a
 * cache that holds next to nothing, so that pages go out and come back at every step; each page of the file
 * must have its sum afterwards, and what SQLite finds must be what it wrote.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/codec_hash.h"
#include "scratch_dice.h"
#include "scratch_sql.h"

static char dir[64];

/* --- sums -------------------------------------------------------------------------------------------- */

static void test_page(void **state)
{
	static const size_t sizes[] = { 512, 4096, 8192, 65536 };

	(void)state;
	for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
		size_t n = sizes[k];
		uint8_t *p = calloc(1, n);

		assert_false(page_sum_good(p, n, 1)); /* nothing is no page */
		for (size_t i = 0; i < n; i++)
			p[i] = (uint8_t)(i * 31 + i / 7);
		page_sum_put(p, n, 17);
		assert_true(page_sum_good(p, n, 17));
		assert_false(page_sum_good(p, n, 18));
		assert_false(page_sum_good(p, n, 0));
		for (size_t bit = 0; bit < 8 * n; bit += n < 8192 ? 1 : 61) {
			p[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_false(page_sum_good(p, n, 17));
			p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
		/* As ckptfs-format(5) says it. */
		uint64_t sum = (uint64_t)codec_check(p, n - 8) + 17;
		for (size_t i = 0; i < 8; i++)
			assert_int_equal(p[n - 8 + i], (uint8_t)(sum >> 8 * i));
		free(p);
	}
}

static void test_whole(void **state)
{
	static const struct {
		int n;
		int64_t off;
		uint32_t page; /* 0: none */
	} all[] = {
		{ 4096, 0, 1 },
		{ 4096, 8192, 3 },
		{ 65536, 65536, 2 },
		{ 512, 512, 2 },
		{ 4096, 100, 0 },
		{ 100, 0, 0 },
		{ 16, 24, 0 },
		{ 256, 256, 0 },
		{ 131072, 0, 0 },
		{ 3000, 3000, 0 },
		{ 0, 0, 0 },
		{ 4096, -4096, 0 },
		{ 512, INT64_MAX - 511, 0 },
	};
	uint32_t page;

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
		bool is = page_is_whole(all[i].n, all[i].off, &page);

		assert_int_equal(is, all[i].page != 0);
		if (is)
			assert_int_equal(page, all[i].page);
	}
}

/* What was written to a WAL comes back as it was, or is damaged; what was never seen is learnt. */
static void test_frames(void **state)
{
	enum { PAGE = 4096, FRAME = PAGE + 24 };
	uint8_t header[32] = { [10] = PAGE >> 8 }, frame[FRAME] = { [3] = 9 };
	struct wal_sums w = { 0 };
	uint32_t bad = 0;

	(void)state;
	assert_int_equal(wal_sums_wrote(&w, header, 32, 0), SQLITE_OK);
	assert_int_equal(w.page, PAGE);
	assert_int_equal(wal_sums_wrote(&w, frame, 24, 32), SQLITE_OK);
	assert_int_equal(wal_sums_wrote(&w, frame + 24, PAGE, 56), SQLITE_OK);
	assert_int_equal(wal_sums_wrote(&w, frame, FRAME, 32 + 3 * FRAME), SQLITE_OK);
	assert_true(wal_sums_has(&w, 9));
	assert_false(wal_sums_has(&w, 8));
	for (int i = 0; i < 4; i += 3) {
		assert_int_equal(wal_sums_read(&w, frame + 24, PAGE, 56 + i * FRAME, &bad), SQLITE_OK);
		frame[24 + 77] ^= 1;
		assert_int_equal(wal_sums_read(&w, frame + 24, PAGE, 56 + i * FRAME, &bad), PAGE_DAMAGED);
		assert_int_equal(bad, i + 1);
		assert_int_equal(wal_sums_read(&w, frame, FRAME, 32 + i * FRAME, &bad), PAGE_DAMAGED);
		frame[24 + 77] ^= 1;
	}
	/* A recovery reads frames first; from then on they are known. */
	assert_int_equal(wal_sums_read(&w, frame, FRAME, 32 + 2000 * FRAME, &bad), SQLITE_OK);
	frame[24] ^= 1;
	assert_int_equal(wal_sums_read(&w, frame + 24, PAGE, 56 + 2000 * FRAME, &bad), PAGE_DAMAGED);
	/* Overwritten, cut off, overwritten by something else, begun anew: what was before counts no more. */
	assert_int_equal(wal_sums_wrote(&w, frame + 24, PAGE, 56 + 3 * FRAME), SQLITE_OK);
	assert_int_equal(wal_sums_read(&w, frame + 24, PAGE, 56 + 3 * FRAME, &bad), SQLITE_OK);
	wal_sums_cut(&w, 32 + 4 * FRAME);
	assert_int_equal(wal_sums_read(&w, frame + 24, PAGE, 56 + 2000 * FRAME, &bad), SQLITE_OK);
	frame[24] ^= 1;
	assert_int_equal(wal_sums_wrote(&w, frame, 100, 32 + 3 * FRAME + 50), SQLITE_OK);
	assert_int_equal(wal_sums_read(&w, frame + 24, PAGE, 56 + 3 * FRAME, &bad), SQLITE_OK);
	assert_int_equal(wal_sums_wrote(&w, header, 32, 0), SQLITE_OK);
	assert_false(wal_sums_has(&w, 9));
	/* A header that makes no sense turns it off. */
	header[9] = 77;
	assert_int_equal(wal_sums_wrote(&w, header, 32, 0), SQLITE_OK);
	assert_int_equal(wal_sums_wrote(&w, frame, FRAME, 32), SQLITE_OK);
	frame[24] ^= 1;
	assert_int_equal(wal_sums_read(&w, frame, FRAME, 32, &bad), SQLITE_OK);
	wal_sums_free(&w);
}

/* --- under SQLite ------------------------------------------------------------------------------------ */

static void run(sqlite3 *db, const char *sql)
{
	char *message = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
}

static char *file_name(const char *name)
{
	static char file[128];

	snprintf(file, sizeof file, "%s/%s", dir, name);
	return file;
}

/* A new database with room for sums, or, to see that such a one is left alone, without. */
static sqlite3 *make(const char *name, const char *pragmas, int room)
{
	unlink(file_name(name));
	sqlite3 *db = sql_open(dir, name);

	assert_non_null(db);
	assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &room), SQLITE_OK);
	run(db, pragmas);
	run(db, "PRAGMA cache_size = 4; CREATE TABLE t(k INTEGER PRIMARY KEY, sum INTEGER, data BLOB);"
		"CREATE INDEX t_sum ON t(sum);");
	return db;
}

/* Each page of the file has its sum; how many pages. */
static size_t check_file(const char *name, size_t page)
{
	int fd = open(file_name(name), O_RDONLY);
	uint8_t *p = malloc(page);
	size_t n = 0;

	assert_true(fd >= 0);
	for (; pread(fd, p, page, (off_t)(n * page)) == (ssize_t)page; n++)
		if (!page_sum_good(p, page, (uint32_t)n + 1))
			fail_msg("page %zu of %s has no sum", n + 1, name);
	free(p);
	close(fd);
	return n;
}

static void put(sqlite3 *db, int64_t k, size_t n)
{
	sqlite3_stmt *st;
	uint8_t *p = malloc(n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)roll(251);
	assert_int_equal(sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO t VALUES(?1, ?2, ?3)", -1, &st, NULL),
			SQLITE_OK);
	sqlite3_bind_int64(st, 1, k);
	sqlite3_bind_int64(st, 2, codec_check(p, n));
	sqlite3_bind_blob64(st, 3, p, n, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	free(p);
}

static void check_rows(sqlite3 *db)
{
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_prepare_v2(db, "SELECT sum, data FROM t", -1, &st, NULL), SQLITE_OK);
	while (sqlite3_step(st) == SQLITE_ROW)
		assert_int_equal(sqlite3_column_int64(st, 0),
				codec_check(sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1)));
	assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
	sqlite3_finalize(st);
}

static const struct {
	const char *name, *pragmas;
	size_t page;
} kinds[] = {
	{ "chunks.db", "PRAGMA page_size = 4096; PRAGMA auto_vacuum = INCREMENTAL;"
			"PRAGMA journal_mode = PERSIST", 4096 },
	{ "chunks.db", "PRAGMA page_size = 512; PRAGMA journal_mode = DELETE", 512 },
	{ "meta.db", "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL", 4096 },
	{ "meta.db", "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL;"
			"PRAGMA wal_autocheckpoint = 20", 1024 },
};

static void test_transactions(void **state)
{
	enum { TURNS = 60, STEPS = 25 };

	(void)state;
	dice = 88172645463325252u;
	for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
		sqlite3 *db = make(kinds[k].name, kinds[k].pragmas, PAGE_SUM);

		for (int turn = 0; turn < TURNS; turn++) {
			run(db, "BEGIN IMMEDIATE");
			for (int i = 0; i < STEPS; i++) {
				char sql[96];

				snprintf(sql, sizeof sql, "DELETE FROM t WHERE k %% 7 = %d", (int)roll(7));
				switch (roll(8)) {
				case 0:
					run(db, sql);
					break;
				case 1:
					run(db, "SAVEPOINT a; DELETE FROM t WHERE k % 3 = 1; ROLLBACK TO a; "
						"RELEASE a");
					break;
				case 2: /* new pages, free again before they were written */
					put(db, 1000, 40 * kinds[k].page);
					run(db, "DELETE FROM t WHERE k = 1000");
					break;
				default:
					put(db, (int64_t)roll(60),
							(size_t)roll(roll(4) ? 900 : 6 * kinds[k].page));
				}
			}
			run(db, roll(5) ? "COMMIT" : "ROLLBACK");
			if (turn % 10 == 9)
				run(db, "PRAGMA incremental_vacuum(3); PRAGMA wal_checkpoint(TRUNCATE)");
			if (turn % 30 == 29)
				run(db, "VACUUM");
		}
		check_rows(db);
		assert_int_equal(sql_close(db), SQLITE_OK);
		assert_true(check_file(kinds[k].name, kinds[k].page) > 10);
		db = sql_open(dir, kinds[k].name);
		check_rows(db);
		assert_int_equal(sql_close(db), SQLITE_OK);
	}
}

/* A database without room for sums is taken as it is: no byte of it is touched or doubted. */
static void test_without(void **state)
{
	(void)state;
	dice = 88172645463325252u;
	sqlite3 *db = make("chunks.db", kinds[0].pragmas, 0);
	for (int i = 0; i < 50; i++)
		put(db, i, 5000);
	check_rows(db);
	assert_int_equal(sql_close(db), SQLITE_OK);
	assert_int_equal(sqlite3_open(file_name("chunks.db"), &db), SQLITE_OK);
	check_rows(db);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void flip(const char *name, off_t at)
{
	int fd = open(file_name(name), O_RDWR);
	uint8_t b;

	assert_int_equal(pread(fd, &b, 1, at), 1);
	b ^= 0x10;
	assert_int_equal(pwrite(fd, &b, 1, at), 1);
	close(fd);
}

/* Damage in the database or in its WAL is noticed when the page is read, and ends nothing else. */
static void test_damage(void **state)
{
	sqlite3_stmt *st;

	(void)state;
	for (int in_wal = 0; in_wal < 2; in_wal++) {
		sqlite3 *db = make("meta.db", kinds[2].pragmas, PAGE_SUM);
		char wal[] = "meta.db-wal";
		off_t at;

		for (int i = 0; i < 10; i++)
			put(db, i, 20000);
		if (in_wal) {
			/* Whatever frame the last page is in, each has one flipped bit in its middle. */
			struct stat s;

			assert_int_equal(stat(file_name(wal), &s), 0);
			for (at = 32 + 24 + 2000; at < s.st_size; at += 4096 + 24)
				flip(wal, at);
		} else {
			run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
			for (at = 20 * 4096 + 2000; at < 40 * 4096; at += 4096)
				flip("meta.db", at);
		}
		run(db, "BEGIN IMMEDIATE; CREATE TABLE other(x); INSERT INTO other VALUES(7)");
		assert_int_equal(
				sqlite3_prepare_v2(db, "SELECT sum(length(hex(data))) FROM t", -1, &st, NULL),
				SQLITE_OK);
		int rc = sqlite3_step(st);
		assert_int_equal(sqlite3_extended_errcode(db), PAGE_DAMAGED);
		assert_int_not_equal(rc, SQLITE_ROW);
		sqlite3_finalize(st);
		assert_int_equal(store_vfs_damage(), -EIO);
		assert_non_null(strstr(ckpt_errmsg(),
				in_wal ? "of meta.db-wal is damaged" : "of meta.db is damaged"));
		assert_int_equal(sqlite3_get_autocommit(db), 0); /* the transaction stands, */
		run(db, "COMMIT");                               /* and can be kept */
		run(db, "SELECT x FROM other");
		sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
		assert_int_equal(sql_close(db), SQLITE_OK);
		unlink(file_name(wal));
	}
}

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof dir, "%s/ckptfs-sums-XXXXXX",
			access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	char cmd[100];

	(void)state;
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
	return system(cmd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_page),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_transactions),
		cmocka_unit_test(test_without),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
