/*
 * test_damage_bits.c: one bit of a closed store is wrong, or one page: whatever is read is what was written
 * or an error, and verify finds it, wherever it is: every byte of both databases is covered by a sum.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <unistd.h>

#include "scratch_chunks.h"
#include "scratch_dice.h"
#include "scratch_files.h"
#include "scratch_sql.h"
#include "store/page_sums_internal.h"
#include "store/store_internal.h"

enum { FILES = 14, ATTRS = 3, ATTR = 9000, PAGE = 4096, BITS = 150 };

static const char *const dbs[] = { "meta.db", "chunks.db" };

static struct {
	struct fixture *f;
	uint64_t ino[FILES];
	uint8_t *bytes[FILES];
	size_t len[FILES];
	uint8_t *image[2];
	size_t size[2];
} all;

static char *path_of(int db)
{
	static char path[128];

	snprintf(path, sizeof path, "%s/%s", all.f->path, dbs[db]);
	return path;
}

static uint8_t attr_byte(int file, int i)
{
	uint32_t x = (uint32_t)(file * ATTR + i + 1) * 2654435761u;

	return (uint8_t)((x ^ x >> 15) * 2246822519u >> 24);
}

/* Inline files, some of several pages, files of chunks, a history, attributes over more than a page. */
static int setup_all(void **state)
{
	static const size_t sizes[FILES] = { 0, 1, 90, 900, 3000, 5000, 9000, 12000, 20000, 70000, 150000,
		300000, 40000, 33000 };
	uint8_t attr[ATTR];
	char name[32];

	assert_int_equal(setup(state), 0);
	all.f = *state;
	struct store *s = all.f->s;

	for (int round = 0; round < 2; round++)
		for (int i = 0; i < FILES; i++) {
			snprintf(name, sizeof name, "file-%02d", i);
			all.len[i] = sizes[i];
			free(all.bytes[i]);
			all.bytes[i] = some_bytes((uint64_t)(2 * i + 1 + round * 100), sizes[i]);
			all.ino[i] = find_in(s, STORE_ROOT, name);
			if (!all.ino[i])
				all.ino[i] = make_in(s, STORE_ROOT, name, S_IFREG);
			put_file(s, all.ino[i], all.bytes[i], sizes[i]);
		}
	for (int i = 0; i < ATTRS; i++) {
		for (int k = 0; k < ATTR; k++)
			attr[k] = attr_byte(i, k);
		expect(store_setxattr(s, all.ino[i], "user.note", attr, ATTR, 0), "setxattr");
	}
	assert_int_equal(store_close(s), 0);
	all.f->s = NULL;
	all.f->opt.workers = 1;
	for (int db = 0; db < 2; db++) {
		/* What is on free pages matters to nobody. */
		sqlite3 *sql = sql_open(all.f->path, dbs[db]);

		assert_non_null(sql);
		assert_int_equal(sqlite3_exec(sql, "VACUUM", NULL, NULL, NULL), SQLITE_OK);
		assert_int_equal(sql_close(sql), SQLITE_OK);
	}
	for (int db = 0; db < 2; db++) {
		struct stat st;
		int fd = open(path_of(db), O_RDONLY);

		assert_int_equal(fstat(fd, &st), 0);
		all.size[db] = (size_t)st.st_size;
		all.image[db] = malloc(all.size[db]);
		assert_int_equal(pread(fd, all.image[db], all.size[db], 0), st.st_size);
		close(fd);
		assert_int_equal(all.size[db] % PAGE, 0);
	}
	return 0;
}

static int teardown_all(void **state)
{
	for (int i = 0; i < FILES; i++)
		free(all.bytes[i]);
	free(all.image[0]);
	free(all.image[1]);
	*state = all.f;
	return teardown(state);
}

/* Writes bytes into a database as nobody would who knows of sums. */
static void scribble(int db, size_t off, const void *p, size_t n)
{
	int fd = open(path_of(db), O_WRONLY);

	assert_int_equal(pwrite(fd, p, n, (off_t)off), (ssize_t)n);
	close(fd);
}

static void mend(int db)
{
	scribble(db, 0, all.image[db], all.size[db]);
	assert_int_equal(truncate(path_of(db), (off_t)all.size[db]), 0);
}

/* 1: right; 0: an error; -1: wrong. */
static int reads(struct store *s, int i)
{
	uint8_t *got = malloc(all.len[i] + 1);
	struct store_file *f;
	ssize_t n = store_file_open(s, all.ino[i], &f);
	int rc;

	if (n == 0) {
		n = store_file_read(f, 0, got, all.len[i] + 1);
		store_file_close(f);
	}
	rc = n < 0 ? 0 : n == (ssize_t)all.len[i] && memcmp(got, all.bytes[i], all.len[i]) == 0 ? 1 : -1;
	if (rc == 0)
		assert_true(strlen(ckpt_errmsg()) > 0);
	free(got);
	return rc;
}

static int reads_attr(struct store *s, int i)
{
	static uint8_t got[ATTR + 1];
	ssize_t n = store_getxattr(s, all.ino[i], "user.note", got, sizeof got);

	if (n < 0)
		return 0;
	for (int k = 0; k < ATTR; k++)
		if (n != ATTR || got[k] != attr_byte(i, k))
			return -1;
	return 1;
}

static int reads_name(struct store *s, int i)
{
	struct store_attr a;
	char name[32];

	snprintf(name, sizeof name, "file-%02d", i);
	if (store_lookup(s, STORE_ROOT, name, strlen(name), &a) < 0)
		return 0;
	return a.ino == all.ino[i] && a.size == all.len[i] && a.nlink == 1 ? 1 : -1;
}

static void count_problem(void *arg, const char *line)
{
	assert_true(strlen(line) > 0);
	++*(int *)arg;
}

/*
 * Opens the damaged store, looks at everything, and tells how much could not be read; the damage must not
 * stay unnoticed.
 */
static int look(const char *what, unsigned long long where)
{
	const struct store_options readonly = { .readonly = true, .workers = 1 };
	struct store_verify_result res;
	int lost = 0, problems = 0;
	struct store *s;

	if (store_open(all.f->path, &readonly, &s) < 0) {
		assert_true(strlen(ckpt_errmsg()) > 0);
		return FILES;
	}
	for (int i = 0; i < FILES; i++) {
		int got[] = { reads(s, i), reads_name(s, i), i < ATTRS ? reads_attr(s, i) : 1 };

		for (size_t k = 0; k < sizeof got / sizeof *got; k++) {
			if (got[k] < 0)
				fail_msg("%s %llu: something wrong is read of file %d (%zu)", what, where, i,
						k);
			lost += got[k] == 0;
		}
	}
	int rc = store_verify(s, false, count_problem, NULL, &problems, &res);
	if (rc < 0 || problems == 0)
		fail_msg("%s %llu: verify gives %d and %d problems", what, where, rc, problems);
	assert_int_equal(store_close(s), 0);
	return lost;
}

static void flip(int db, size_t bit)
{
	uint8_t b = all.image[db][bit / 8] ^ (uint8_t)(1u << bit % 8);
	char what[32];

	snprintf(what, sizeof what, "bit of %s", dbs[db]);
	scribble(db, bit / 8, &b, 1);
	look(what, bit);
	scribble(db, bit / 8, &all.image[db][bit / 8], 1);
}

/* Every bit of what a header says that could turn the sums off, and of its whole some. */
static void test_header(void **state)
{
	(void)state;
	for (int db = 0; db < 2; db++) {
		for (size_t bit = 16 * 8; bit < 24 * 8; bit++)
			flip(db, bit);
		for (size_t bit = 60 * 8; bit < 64 * 8; bit++)
			flip(db, bit);
		for (size_t bit = roll(9); bit < PAGE_HEADER * 8; bit += 9)
			flip(db, bit);
	}
}

static void test_bits(void **state)
{
	(void)state;
	for (int db = 0; db < 2; db++)
		for (int i = 0; i < BITS; i++)
			flip(db, (size_t)roll(all.size[db] * 8));
}

/* Pages in each other's place, from elsewhere, lost, cut off. */
static void test_pages(void **state)
{
	static const uint8_t zero[PAGE];
	int harmed = 0;

	(void)state;
	for (int db = 0; db < 2; db++) {
		size_t n = all.size[db] / PAGE;

		for (int i = 0; i < 20; i++) {
			size_t a = roll(n), b = roll(n - 1);

			b += b >= a;
			scribble(db, a * PAGE, all.image[db] + b * PAGE, PAGE);
			harmed += look("a page in place of page", a + 1) > 0;
			mend(db);
			scribble(db, a * PAGE, zero, PAGE);
			harmed += look("zeros in place of page", a + 1) > 0;
			mend(db);
		}
		assert_int_equal(truncate(path_of(db), (off_t)(all.size[db] - PAGE)), 0);
		assert_int_equal(truncate(path_of(db), (off_t)all.size[db]), 0);
		look("the last page is lost, of", n);
		mend(db);
	}
	assert_true(harmed > 0);
}

static void other_problem(void *arg, const char *line)
{
	static const char *const about[] = { "is damaged", "failed to get page", "can't be read",
		"was not looked at", "payload" };
	bool known = false;

	for (size_t i = 0; i < sizeof about / sizeof *about; i++)
		known |= strstr(line, about[i]) != NULL;
	if (!known)
		fail_msg("the damage has spread: %s", line);
	*(int *)arg += strstr(line, "its checksum") != NULL;
}

/* Verify says nothing but what comes of damaged pages; how many there are. */
static int only_the_page(struct store *s)
{
	struct store_verify_result res;
	int pages = 0;

	expect(store_verify(s, true, other_problem, NULL, &pages, &res), "verify");
	return pages;
}

/*
 * What is not damaged goes on: an operation that is not yet committed is kept though another one meets a
 * damaged page.
 */
static void test_goes_on(void **state)
{
	uint8_t part[16], wrong = 0;
	size_t at = 0;
	struct store *s;

	(void)state;
	/* Of an overflow page, which a search for another attribute does not read. */
	for (int k = 0; k < (int)sizeof part; k++)
		part[k] = attr_byte(2, 6000 + k);
	for (size_t i = 0; i + sizeof part <= all.size[0] && !at; i++)
		if (memcmp(all.image[0] + i, part, sizeof part) == 0)
			at = i;
	assert_true(at > 0);
	scribble(0, at, &wrong, 1);
	assert_int_equal(store_open(all.f->path, &all.f->opt, &s), 0);
	put_some(s, STORE_ROOT, "new", 5, 2000);
	assert_int_equal(reads_attr(s, 2), 0);
	assert_non_null(strstr(ckpt_errmsg(), "of meta.db is damaged"));
	assert_int_equal(reads_attr(s, 0), 1);
	/* A change that stops half way leaves nothing of itself. */
	assert_int_equal(store_removexattr(s, all.ino[2], "user.note"), -EIO);
	put_some(s, STORE_ROOT, "newer", 7, 2000);
	expect(store_commit(s, true), "commit");
	assert_int_equal(store_setxattr(s, all.ino[2], "user.note", "x", 1, 0), -EIO);
	assert_int_equal(reads_attr(s, 2), 0);
	expect(store_removexattr(s, all.ino[0], "user.note"), "removexattr");
	assert_int_equal(store_close(s), 0);

	assert_int_equal(store_open(all.f->path, &all.f->opt, &s), 0);
	assert_true(find_in(s, STORE_ROOT, "new") && find_in(s, STORE_ROOT, "newer"));
	for (int i = 0; i < FILES; i++)
		assert_int_equal(reads(s, i), 1);
	assert_int_equal(only_the_page(s), 1);
	assert_int_equal(store_close(s), 0);
}

/* Chunks on a damaged page can't be deleted; all others can, and the store takes changes as before. */
static void test_collect(void **state)
{
	const struct store_options now = { .workers = 1, .history_seconds = 0 };
	struct store_gc_result gc, again;
	size_t at = 0;
	uint8_t wrong;
	struct store *s;

	(void)state;
	mend(0);
	mend(1);
	for (size_t i = 0; i + 64 <= all.size[1] && !at; i++)
		if (memcmp(all.image[1] + i, all.bytes[11] + 200000, 64) == 0)
			at = i;
	assert_true(at > 0); /* noise is stored as it is */
	wrong = all.image[1][at] ^ 0x40;
	scribble(1, at, &wrong, 1);
	assert_int_equal(store_open(all.f->path, &now, &s), 0);
	assert_int_equal(reads(s, 11), 0);
	assert_int_equal(reads(s, 10), 1);
	for (int i = 10; i < 12; i++) {
		char name[32];

		snprintf(name, sizeof name, "file-%02d", i);
		expect(store_unlink(s, STORE_ROOT, name, strlen(name), NULL), "unlink");
	}
	expect(store_commit(s, true), "commit");
	int rc = store_gc(s, NULL, NULL, &gc);
	assert_true(gc.chunks > 0);
	if (rc == 0)
		assert_int_equal(store_gc(s, NULL, NULL, &again), 0);
	put_some(s, STORE_ROOT, "after", 9, 200000);
	expect(store_commit(s, true), "commit after gc");
	assert_int_equal(store_close(s), 0);
	assert_int_equal(store_open(all.f->path, &now, &s), 0);
	for (int i = 0; i < FILES; i++)
		if (i != 10 && i != 11)
			assert_int_equal(reads(s, i), 1);
	assert_true(find_in(s, STORE_ROOT, "after"));
	assert_true(only_the_page(s) <= 1);
	assert_int_equal(store_close(s), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header), cmocka_unit_test(test_bits), cmocka_unit_test(test_pages),
		cmocka_unit_test(test_goes_on), cmocka_unit_test(test_collect),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
