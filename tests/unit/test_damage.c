/*
 * test_damage.c: a store whose databases were damaged behind its back: what is read is right or an error, verify finds it, what
 * else lies in the store stays readable, and nothing that collects, pools or encodes anew makes it worse.
 *
 * Each damage is done to a copy of one store that has everything: inline files, pools, differences, a history of the path,
 * a value kept with a version.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "scratch_chunks.h"
#include "scratch_dice.h"
#include "scratch_files.h"
#include "scratch_sql.h"
#include "store/chunk_parts.h"
#include "store/pool_internal.h"
#include "store/store_derived.h"
#include "store/store_internal.h"

enum { SMALL = 30, BIG = 3, INLINE = 3, ALL = SMALL + BIG + INLINE, HEAD = 128, WEIGHTS = 40000, FLIPS = 40 };

static struct {
	struct fixture *f;
	char whole[100]; /* the undamaged store */
	uint64_t ino[ALL];
	uint8_t *bytes[ALL];
	size_t len[ALL];
	uint64_t kept; /* version that a value is kept with */
} all;

static void copy_store(const char *from, const char *to)
{
	char cmd[400];

	snprintf(cmd, sizeof cmd, "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
	assert_int_equal(system(cmd), 0);
}

static sqlite3 *open_db(const char *name)
{
	char file[32];

	snprintf(file, sizeof file, "%s.db", name);
	sqlite3 *db = sql_open(all.f->path, file);
	assert_non_null(db);
	return db;
}

static int64_t rows_of(const char *dbname, const char *sql)
{
	sqlite3 *db = open_db(dbname);
	sqlite3_stmt *st;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	assert_int_equal(sql_close(db), SQLITE_OK);
	return n;
}

static void add(struct store *s, int i, uint8_t *p, size_t n)
{
	char name[32];

	snprintf(name, sizeof name, "file-%02d.%s", i, i < SMALL ? "json" : "pt");
	all.ino[i] = find_in(s, STORE_ROOT, name);
	if (all.ino[i] == 0)
		all.ino[i] = make_in(s, STORE_ROOT, name, S_IFREG);
	put_file(s, all.ino[i], p, n);
	free(all.bytes[i]);
	all.bytes[i] = p;
	all.len[i] = n;
}

/* A .npy of floats that move a little with each step. */
static uint8_t *weights(int step)
{
	static const uint8_t magic[] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, HEAD - 10, 0 };
	uint8_t *p = malloc(HEAD + WEIGHTS * sizeof(float));
	int n;

	memset(p, ' ', HEAD);
	memcpy(p, magic, sizeof magic);
	n = snprintf((char *)p + sizeof magic, HEAD - sizeof magic,
			"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }", WEIGHTS);
	p[sizeof magic + (size_t)n] = ' ';
	p[HEAD - 1] = '\n';
	for (uint32_t i = 0; i < WEIGHTS; i++) {
		float v = (float)((i + 1) * 2654435761u >> 8) / 1e8f +
			  1e-6f * (float)((uint32_t)step * (i % 7));

		memcpy(p + HEAD + i * sizeof v, &v, sizeof v);
	}
	return p;
}

static void make_all(struct store *s)
{
	struct store_recompress_result re;

	/* SHA-256 is taken at once: a name that is not known by it, where it was taken later, is malformed. */
	atomic_store(&s->chunks->pipe.forced, PRESSURE_NEVER);
	for (int i = 0; i < SMALL; i++)
		add(s, i, some_bytes(2 * (uint64_t)i, 3000 + 10 * (size_t)i), 3000 + 10 * (size_t)i);
	expect(pool_all(s, 1, false, 0), "pool");
	for (int step = 0; step < 3; step++)
		add(s, SMALL, weights(step), HEAD + WEIGHTS * sizeof(float));
	for (int i = SMALL + 1; i < SMALL + BIG; i++)
		add(s, i, some_bytes((uint64_t)i, 100000), 100000);
	for (int i = SMALL + BIG; i < ALL; i++)
		add(s, i, some_bytes(2 * (uint64_t)i, 2000), 2000);
	expect(store_recompress(s, NULL, NULL, &re), "recompress");
	all.kept = version_of(s, all.ino[SMALL]);
	expect(store_derived_put(s, all.kept, "k:1", "value", 5), "keep");
	verify_clean(s);
}

static int setup_all(void **state)
{
	struct fixture *f;

	assert_int_equal(setup(state), 0);
	f = all.f = *state;
	make_all(f->s);
	assert_int_equal(store_close(f->s), 0);
	f->s = NULL;
	assert_true(rows_of("chunks", "SELECT count(*) FROM chunk WHERE base > 0") > 0);
	assert_true(rows_of("meta", "SELECT count(*) FROM pool") > 0);
	assert_true(rows_of("meta", "SELECT count(*) FROM version WHERE content IS NOT NULL") > 0);
	snprintf(all.whole, sizeof all.whole, "%s/whole", f->dir);
	copy_store(f->path, all.whole);
	return 0;
}

static int teardown_all(void **state)
{
	for (int i = 0; i < ALL; i++)
		free(all.bytes[i]);
	*state = all.f;
	return teardown(state);
}

/* 1: right; 0: an error; wrong bytes are -1. */
static int reads(struct store *s, int i)
{
	uint8_t *got = malloc(all.len[i] + 1);
	struct store_file *f;
	ssize_t n = store_file_open(s, all.ino[i], &f);
	int rc = 0;

	if (n == 0) {
		n = store_file_read(f, 0, got, all.len[i] + 1);
		store_file_close(f);
		rc = n < 0                                                                    ? 0
		     : n == (ssize_t)all.len[i] && memcmp(got, all.bytes[i], all.len[i]) == 0 ? 1
											      : -1;
	}
	if (n < 0)
		assert_true(strlen(ckpt_errmsg()) > 0);
	free(got);
	return rc;
}

static void count_problem(void *arg, const char *line)
{
	assert_true(strlen(line) > 0);
	++*(int *)arg;
}

/*
 * Looks at the damaged store; how many files can't be read, -1 where it is not opened at all.  *problems: what verify says.
 */
static int look(const char *what, bool wrong_allowed, int *problems)
{
	struct fixture *f = all.f;
	struct store_verify_result res;
	struct store_recompress_result re;
	struct store_gc_result gc;
	int lost = 0, wrong = 0, was[ALL];

	*problems = 0;
	if (store_open(f->path, &f->opt, &f->s) != 0) {
		assert_true(strlen(ckpt_errmsg()) > 0);
		f->s = NULL;
		return -1;
	}
	for (int i = 0; i < ALL; i++) {
		was[i] = reads(f->s, i);
		if (was[i] < 0 && !wrong_allowed)
			fail_msg("%s: wrong bytes of file %d", what, i);
		lost += was[i] == 0;
		wrong += was[i] < 0;
	}
	if (store_verify(f->s, true, count_problem, NULL, problems, &res) == 0 && lost > 0 && *problems == 0)
		fail_msg("%s: verify finds nothing, and %d files can't be read", what, lost);
	/* Whether they succeed is their affair; what was readable stays so. */
	(void)pool_all(f->s, 1, false, 0);
	(void)pool_thin(f->s);
	(void)store_gc(f->s, NULL, NULL, &gc);
	(void)store_recompress(f->s, NULL, NULL, &re);
	for (int i = 0; i < ALL; i++) {
		int now = reads(f->s, i);

		if (now < 0 && !wrong_allowed)
			fail_msg("%s: wrong bytes of file %d afterwards", what, i);
		if (was[i] == 1 && now != 1)
			fail_msg("%s: file %d was lost by tidying up: %s", what, i, ckpt_errmsg());
	}
	(void)store_close(f->s);
	f->s = NULL;
	return lost + wrong;
}

static void put_back(void)
{
	copy_store(all.whole, all.f->path);
}

/* --- rows ---------------------------------------------------------------------------------------------- */

enum {
	HARMS, /* something can't be read, or the store is refused, or it was of no use any more: verify finds it */
	SPARES, /* everything can be read */
	/*
	 * What SQL changed is on a page with a good sum, and rows of meta.db carry none of their own (but inline content
	 * does): one that says something else in good order is believed when a file is read, and found by verify alone.
	 */
	BELIEVED,
};

static const struct {
	const char *db, *sql;
	int what;
} hurts[] = {
	{ "chunks", "UPDATE chunk SET data = zeroblob(length(data))", HARMS },
	{ "chunks", "UPDATE chunk SET data = substr(data, 1, length(data) - 1)", HARMS },
	{ "chunks", "UPDATE chunk SET data = x''", HARMS },
	{ "chunks", "UPDATE chunk SET \"check\" = \"check\" + 1", HARMS },
	{ "chunks", "UPDATE chunk SET raw_len = raw_len + 1", HARMS },
	{ "chunks", "UPDATE chunk SET raw_len = -1", HARMS },
	{ "chunks", "UPDATE chunk SET raw_len = 1 << 62", HARMS },
	{ "chunks", "UPDATE chunk SET codec = 1 + codec % 8", HARMS },
	{ "chunks", "UPDATE chunk SET codec = -1", HARMS },
	{ "chunks", "UPDATE chunk SET base = id", HARMS },
	{ "chunks",
			"UPDATE chunk SET base = id + 1 WHERE id % 2; UPDATE chunk SET base = id - 1 WHERE "
			"id % 2 = 0",
			HARMS },
	{ "chunks", "UPDATE chunk SET base = 9223372036854775807", HARMS },
	{ "chunks", "UPDATE chunk SET base = -1", HARMS },
	{ "chunks", "UPDATE chunk SET base = base + 1 WHERE base > 0", HARMS },
	{ "chunks", "UPDATE chunk SET hash = zeroblob(32)", SPARES },
	{ "chunks", "UPDATE chunk SET hash = x''", HARMS },
	{ "chunks", "UPDATE chunk SET hint = -1", SPARES },
	{ "chunks", "UPDATE chunk SET hint = 9223372036854775807", SPARES },
	{ "chunks", "UPDATE chunk SET pred = id", SPARES },
	{ "chunks", "UPDATE chunk SET pred = 9223372036854775807", SPARES },
	{ "chunks", "UPDATE chunk SET pred = id + 1, hint = 1 << 40", SPARES },
	{ "chunks", "DELETE FROM chunk WHERE id % 3 = 0", HARMS },
	{ "chunks", "DELETE FROM chunk", HARMS },
	{ "meta", "UPDATE manifest SET pieces = x'ff'", HARMS },
	{ "meta", "UPDATE manifest SET pieces = x''", HARMS },
	{ "meta", "UPDATE manifest SET pieces = zeroblob(length(pieces))", HARMS },
	{ "meta", "UPDATE manifest SET pieces = x'ffffffffffffffffff7f02'", HARMS },
	{ "meta", "UPDATE manifest SET off = off + 1", BELIEVED },
	{ "meta", "UPDATE manifest SET off = -5", HARMS },
	{ "meta",
			"UPDATE manifest SET off = off + 1 << 20 WHERE off > 0; UPDATE manifest SET off = 1 "
			"<< 20 WHERE off = 0",
			BELIEVED },
	{ "meta", "DELETE FROM chunk_index", SPARES },
	{ "meta", "UPDATE pool SET chunk = chunk + 1", SPARES },
	{ "meta", "UPDATE pool SET raw = -1, lo = hi + 1", SPARES },
	{ "meta", "UPDATE pool SET raw = 1 << 62, lo = -1, hi = 9223372036854775807", SPARES },
	{ "meta", "INSERT INTO pool VALUES(777777, 1, 1, 2)", SPARES },
	{ "meta", "DELETE FROM pool", SPARES },
	{ "meta", "UPDATE derived SET value = zeroblob(100)", SPARES },
	{ "meta", "UPDATE derived SET version = 777777", SPARES },
	{ "meta", "UPDATE version SET content = x'' WHERE content IS NOT NULL", HARMS },
	{ "meta", "UPDATE version SET content = zeroblob(length(content)) WHERE content IS NOT NULL", HARMS },
	{ "meta", "UPDATE version SET content = substr(content, 1, 13) WHERE content IS NOT NULL", HARMS },
	{ "meta", "UPDATE version SET content = zeroblob(20) WHERE content IS NULL", HARMS },
	{ "meta", "UPDATE version SET size = -1", HARMS },
	{ "meta", "UPDATE version SET size = 9223372036854775807, data = -1", BELIEVED },
	{ "meta", "DELETE FROM version WHERE id % 2", HARMS },
	{ "meta", "UPDATE inode SET version = 777777 WHERE version > 0", HARMS },
	{ "meta", "INSERT INTO staged VALUES(3, zeroblob(32), 100, 2, 0, 0, zeroblob(100))", SPARES },
	{ "meta", "INSERT INTO staged VALUES(900, x'', -1, 99, 900, 0, x'')", HARMS },
	{ "meta", "UPDATE config SET value = 'x' WHERE key LIKE 'next%'", HARMS },
	{ "meta", "INSERT INTO record VALUES(-1, -1, 777777, -1)", SPARES },
};

static int complain(const char *what, const char *sql)
{
	print_error("%s: %s\n", what, sql);
	return 1;
}

static void test_rows(void **state)
{
	int bad = 0;

	(void)state;
	for (size_t i = 0; i < sizeof hurts / sizeof hurts[0]; i++) {
		sqlite3 *db;
		char *message = NULL;
		int lost, problems;

		put_back();
		db = open_db(hurts[i].db);
		if (sqlite3_exec(db, hurts[i].sql, NULL, NULL, &message) != SQLITE_OK)
			fail_msg("%s: %s", hurts[i].sql, message);
		assert_int_equal(sql_close(db), SQLITE_OK);
		lost = look(hurts[i].sql, hurts[i].what == BELIEVED, &problems);
		if (hurts[i].what != SPARES && lost == 0 && problems == 0)
			bad += complain("not noticed", hurts[i].sql);
		if (hurts[i].what == SPARES && lost != 0)
			bad += complain("files are lost", hurts[i].sql);
	}
	assert_int_equal(bad, 0);
}

/* --- bits ---------------------------------------------------------------------------------------------- */

static const struct {
	const char *db, *table, *column;
	bool checked; /* by a sum, so that no wrong bytes can come of it */
} blobs[] = {
	{ "chunks", "chunk", "data", true },
	{ "meta", "version", "content", true },
	{ "meta", "derived", "value", true },
	{ "meta", "manifest", "pieces", false },
};

static void flip(const char *dbname, const char *table, const char *column, uint64_t chance)
{
	sqlite3 *db = open_db(dbname);
	sqlite3_stmt *st;
	char sql[200];
	uint8_t *p;
	int n;

	/* Tables without a rowid have no blobs to open: the value is read, and found again by its bytes. */
	snprintf(sql, sizeof sql,
			"SELECT %s FROM %s WHERE length(%s) > 0 ORDER BY %s LIMIT 1 OFFSET %llu %%"
			" (SELECT count(*) FROM %s WHERE length(%s) > 0)",
			column, table, column, column, (unsigned long long)(chance >> 40), table, column);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_bytes(st, 0);
	p = malloc((size_t)n);
	memcpy(p, sqlite3_column_blob(st, 0), (size_t)n);
	sqlite3_finalize(st);
	snprintf(sql, sizeof sql, "UPDATE %s SET %s = ?1 WHERE %s = ?2", table, column, column);
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	sqlite3_bind_blob(st, 2, p, n, SQLITE_TRANSIENT);
	p[chance % (uint64_t)n] ^= (uint8_t)(1u << (chance >> 32 & 7));
	sqlite3_bind_blob(st, 1, p, n, SQLITE_TRANSIENT);
	assert_int_equal(sqlite3_step(st), SQLITE_DONE);
	sqlite3_finalize(st);
	assert_int_equal(sql_close(db), SQLITE_OK);
	free(p);
}

static void test_bits(void **state)
{
	(void)state;
	for (int i = 0; i < FLIPS; i++) {
		size_t k = (size_t)i % (sizeof blobs / sizeof blobs[0]);
		char what[64];
		int problems;

		put_back();
		flip(blobs[k].db, blobs[k].table, blobs[k].column, roll(UINT64_MAX));
		snprintf(what, sizeof what, "%s.%s, flip %d", blobs[k].table, blobs[k].column, i);
		if (look(what, !blobs[k].checked, &problems) == 0 && problems == 0 && k < 2)
			fail_msg("not noticed: %s", what);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_bits),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
