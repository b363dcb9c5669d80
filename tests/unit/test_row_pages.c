/*
 * test_row_pages.c: payloads read past SQLite are those that SQLite has, or none.
 *
 * Tables of chunks are made by SQLite through the store's VFS, with pages of several sizes, rows at every border of the
 * format, and holes that later rows are scattered over.  At rest every row is found.  While transactions spill, are
 * rolled back and committed, and in files with wrong bits, what is found is right.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/codec_chunk.h"
#include "codec/codec_hash.h"
#include "scratch_chunks.h"
#include "scratch_dice.h"
#include "scratch_sql.h"
#include "store/chunk_parts.h"

enum { IDS = 120, BIG = 300000 };

static char dir[64];

static int setup_dir(void **state)
{
	(void)state;
	dice = 88172645463325252u;
	snprintf(dir, sizeof dir, "%s/ckptfs-rows-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	return mkdtemp(dir) ? 0 : -1;
}

static int drop_dir(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- a table of chunks ------------------------------------------------------------------------------- */

struct table {
	sqlite3 *db;
	sqlite3_stmt *put, *drop;
	struct row_pages pages;
	uint32_t len[IDS + 1];  /* of the payload; 0: there is no such row */
	uint32_t form[IDS + 1]; /* what it is made from */
};

static void run(sqlite3 *db, const char *sql)
{
	char *message = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
}

static int64_t ask(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *st;

	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	int64_t v = sqlite3_column_int64(st, 0);

	sqlite3_finalize(st);
	return v;
}

static void fill(uint8_t *p, uint64_t id, uint32_t form, size_t n)
{
	uint64_t x = (id * 1000003 + form) * UINT64_C(0x9E3779B97F4A7C15) | 1;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)x;
	}
}

static void open_pages(struct table *t)
{
	sqlite3_file *file = NULL;
	uint32_t size = 0;

	assert_int_equal(sqlite3_file_control(t->db, "main", SQLITE_FCNTL_FILE_POINTER, &file), SQLITE_OK);
	int fd = store_vfs_reads(file, &size);

	assert_true(fd >= 0);
	row_pages_init(&t->pages, fd, size,
			(uint32_t)ask(t->db, "SELECT rootpage FROM sqlite_schema WHERE name = 'chunk'"));
	assert_int_equal(t->pages.fd, fd);
}

static void make(struct table *t, int page)
{
	char sql[100];
	int room = PAGE_SUM;

	*t = (struct table){ .db = sql_open(dir, "chunks.db") };
	assert_non_null(t->db);
	assert_int_equal(sqlite3_file_control(t->db, "main", SQLITE_FCNTL_RESERVE_BYTES, &room), SQLITE_OK);
	snprintf(sql, sizeof sql, "PRAGMA page_size = %d; PRAGMA auto_vacuum = INCREMENTAL", page);
	run(t->db, sql);
	run(t->db, "PRAGMA cache_size = 4; PRAGMA synchronous = NORMAL; PRAGMA journal_mode = PERSIST;"
		   "CREATE TABLE other(x); CREATE TABLE chunk(id INTEGER PRIMARY KEY, hash BLOB NOT NULL,"
		   " raw_len INTEGER NOT NULL, codec INTEGER NOT NULL, base INTEGER NOT NULL, \"check\" "
		   "INTEGER NOT NULL,"
		   " hint INTEGER NOT NULL DEFAULT 0, pred INTEGER NOT NULL DEFAULT 0, data BLOB NOT NULL)");
	assert_int_equal(sqlite3_prepare_v2(t->db,
					 "REPLACE INTO chunk VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", -1,
					 &t->put, NULL),
			SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(t->db, "DELETE FROM chunk WHERE id = ?1", -1, &t->drop, NULL),
			SQLITE_OK);
	open_pages(t);
}

static void drop(struct table *t)
{
	sqlite3_finalize(t->put);
	sqlite3_finalize(t->drop);
	assert_int_equal(sql_close(t->db), SQLITE_OK);
	char path[100];

	snprintf(path, sizeof path, "%s/chunks.db", dir);
	unlink(path);
}

/* What the other columns of a row are. */
static uint32_t raw_of(uint32_t len)
{
	return len + len % 5;
}

static uint64_t base_of(uint64_t id, uint32_t form)
{
	static const int64_t bases[] = { 0, 1, 300, 70000, 1 << 24, INT64_C(1) << 40, INT64_C(1) << 55 };

	return (uint64_t)bases[form % 7] == id ? 0 : (uint64_t)bases[form % 7];
}

static int put(struct table *t, uint64_t id, uint32_t form, uint32_t len)
{
	static const uint8_t name[48];
	static uint8_t data[BIG];

	fill(data, id, form, len);
	sqlite3_reset(t->put);
	sqlite3_bind_int64(t->put, 1, (int64_t)id);
	sqlite3_bind_blob(t->put, 2, name, form % 3 == 0 ? 16 : form % 3 == 1 ? 32 : 48, SQLITE_STATIC);
	sqlite3_bind_int64(t->put, 3, raw_of(len));
	sqlite3_bind_int(t->put, 4, (int)(form % 12));
	sqlite3_bind_int64(t->put, 5, (int64_t)base_of(id, form));
	sqlite3_bind_int64(t->put, 6, codec_check(data, len));
	sqlite3_bind_int64(t->put, 7, form % 2 ? INT64_MIN : 0);
	sqlite3_bind_int64(t->put, 8, -1);
	sqlite3_bind_blob(t->put, 9, data, (int)len, SQLITE_STATIC);
	int e = sqlite3_step(t->put);

	sqlite3_reset(t->put);
	return e;
}

static void put_row(struct table *t, uint64_t id, uint32_t form, uint32_t len)
{
	assert_int_equal(put(t, id, form, len), SQLITE_DONE);
	t->len[id] = len;
	t->form[id] = form;
}

static void drop_row(struct table *t, uint64_t id)
{
	sqlite3_bind_int64(t->drop, 1, (int64_t)id);
	assert_int_equal(sqlite3_step(t->drop), SQLITE_DONE);
	sqlite3_reset(t->drop);
	t->len[id] = 0;
}

/* Reads row `id`: whether it was found, and then is of this form. */
static bool is_form(struct row_pages *p, uint64_t id, uint32_t form, uint32_t len)
{
	struct row_place at;

	if (!row_pages_find(p, id, &at))
		return false;
	uint8_t *got = malloc(at.payload_len), *want = malloc(at.payload_len);
	bool good = row_pages_read(p, &at, got);

	if (good) {
		assert_int_equal(at.payload_len, len);
		assert_int_equal(at.raw_len, raw_of(len));
		assert_int_equal(at.codec, (int)(form % 12));
		assert_true(at.base == base_of(id, form));
		fill(want, id, form, len);
		assert_memory_equal(got, want, len);
	}
	free(got);
	free(want);
	return good;
}

static void check_all(struct table *t)
{
	for (uint64_t id = 1; id <= IDS; id++)
		if (is_form(&t->pages, id, t->form[id], t->len[id]) != (t->len[id] > 0))
			fail_msg("row %u of %u bytes is %s", (unsigned)id, t->len[id],
					t->len[id] ? "not found" : "found");
	assert_false(is_form(&t->pages, IDS + 1, 0, 0));
	assert_false(is_form(&t->pages, 0, 0, 0));
	assert_false(is_form(&t->pages, UINT64_MAX, 0, 0));
}

/* --- at rest ----------------------------------------------------------------------------------------- */

static const int page_sizes[] = { 1024, 2048, 4096, 8192 };

/* Payloads around where one goes to the next page. */
static void test_borders(void **state)
{
	struct table t;

	(void)state;
	for (size_t k = 0; k < sizeof page_sizes / sizeof *page_sizes; k++) {
		uint32_t u = (uint32_t)page_sizes[k] - PAGE_SUM, least = (u - 12) * 32 / 255 - 23;

		make(&t, page_sizes[k]);
		for (int pages = 0; pages < 4; pages++)
			for (int d = -30; d < 30; d++) {
				uint32_t id = (uint32_t)((pages * 60 + d + 30) % IDS) + 1;
				/* Less the columns before it, which are some 60 to 100 bytes. */
				int64_t most = pages == 0 ? u - 35 - 80
							  : least + (uint32_t)pages * (u - 4) - 80;

				put_row(&t, id, (uint32_t)d + 30, (uint32_t)(most + d > 1 ? most + d : 1));
				if (id == IDS)
					check_all(&t);
			}
		check_all(&t);
		drop(&t);
	}
}

/* Rows come and go, so that free pages lie everywhere and chains go to and fro. */
static void test_scattered(void **state)
{
	struct table t;

	(void)state;
	for (size_t k = 0; k < sizeof page_sizes / sizeof *page_sizes; k++) {
		make(&t, page_sizes[k]);
		for (int round = 0; round < 12; round++) {
			run(t.db, "BEGIN");
			for (int i = 0; i < 40; i++) {
				uint64_t id = roll(IDS) + 1;

				if (roll(3) == 0)
					drop_row(&t, id);
				else
					put_row(&t, id, (uint32_t)roll(1000),
							(uint32_t)roll(roll(8) ? 20000 : 120000) + 1);
			}
			if (round % 4 == 3)
				run(t.db, "PRAGMA incremental_vacuum(20)");
			run(t.db, "COMMIT");
			check_all(&t);
		}
		drop(&t);
	}
}

/* The largest chunk there is, across a page of the pointer map, in no more than a few reads. */
static void test_long(void **state)
{
	struct table t;

	(void)state;
	make(&t, 512);
	put_row(&t, 1, 1, BIG);
	put_row(&t, 2, 2, BIG);
	check_all(&t);
	assert_int_equal(atomic_load(&t.pages.found), 2);
	drop(&t);
}

/* --- while it changes ---------------------------------------------------------------------------------- */

/* In a transaction that has spilled what is found is a form that the row has or had. */
static void test_transaction(void **state)
{
	struct table t;

	(void)state;
	make(&t, 1024);
	run(t.db, "BEGIN");
	for (uint64_t id = 1; id <= IDS; id++)
		put_row(&t, id, 7, 3000);
	run(t.db, "COMMIT");
	for (int round = 0; round < 6; round++) {
		bool keep = round % 2;

		run(t.db, "BEGIN");
		for (int i = 0; i < 60; i++) {
			uint64_t id = roll(IDS) + 1;

			/* Both forms have the same columns but for the check, so either is what is_form() expects. */
			assert_int_equal(put(&t, id, 7, 3000), SQLITE_DONE);
			is_form(&t.pages, id, 7, 3000);
			is_form(&t.pages, roll(IDS) + 1, 7, 3000);
		}
		run(t.db, keep ? "COMMIT" : "ROLLBACK");
		check_all(&t);
	}
	drop(&t);
}

struct watcher {
	struct row_pages *pages;
	atomic_bool stop;
	uint64_t found;
};

static void *watch(void *arg)
{
	struct watcher *w = arg;
	uint64_t id = 0;

	while (!atomic_load(&w->stop)) {
		id = id % IDS + 1;
		/* A form's length says which it is. */
		struct row_place at;

		if (!row_pages_find(w->pages, id, &at))
			continue;
		uint8_t *got = malloc(at.payload_len), *want = malloc(at.payload_len);

		if (row_pages_read(w->pages, &at, got)) {
			fill(want, id, at.payload_len, at.payload_len);
			if (memcmp(got, want, at.payload_len) != 0)
				abort();
			w->found++;
		}
		free(got);
		free(want);
	}
	return NULL;
}

/* A reader beside a writer. */
static void test_beside(void **state)
{
	struct table t;
	pthread_t thread;

	(void)state;
	make(&t, 4096);
	struct watcher w = { .pages = &t.pages };

	assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
	for (int round = 0; round < 40; round++) {
		run(t.db, "BEGIN");
		for (int i = 0; i < 20; i++) {
			uint64_t id = roll(IDS) + 1;
			uint32_t len = (uint32_t)roll(40000) + 1;

			assert_int_equal(put(&t, id, len, len), SQLITE_DONE);
			if (round % 3) {
				t.len[id] = len;
				t.form[id] = len;
			}
		}
		run(t.db, round % 3 ? "COMMIT" : "ROLLBACK");
	}
	atomic_store(&w.stop, true);
	pthread_join(thread, NULL);
	check_all(&t);
	drop(&t);
}

/* --- damage ------------------------------------------------------------------------------------------ */

static int open_file(void)
{
	char path[100];

	snprintf(path, sizeof path, "%s/chunks.db", dir);
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	return fd;
}

/* A wrong bit anywhere: what is found is right. */
static void test_bits(void **state)
{
	struct table t;
	uint64_t missed = 0;

	(void)state;
	make(&t, 1024);
	for (uint64_t id = 1; id <= 30; id++)
		put_row(&t, id, (uint32_t)id, (uint32_t)(id * id * 11));
	int64_t bytes = ask(t.db, "PRAGMA page_count") * 1024;
	int fd = open_file();

	for (int i = 0; i < 800; i++) {
		int64_t off = (int64_t)roll((uint64_t)bytes);
		uint8_t was, is;

		assert_int_equal(pread(fd, &was, 1, off), 1);
		is = was ^ (uint8_t)(1 << roll(8));
		assert_int_equal(pwrite(fd, &is, 1, off), 1);
		for (uint64_t id = 1; id <= 30; id++)
			missed += !is_form(&t.pages, id, t.form[id], t.len[id]);
		assert_int_equal(pwrite(fd, &was, 1, off), 1);
	}
	assert_true(missed >= 400);
	check_all(&t);
	drop(&t);
	close(fd);
}

/* Pages with good sums and nonsense on them: it ends, in bounds, and what is found has its check. */
static void test_nonsense(void **state)
{
	struct table t;
	uint8_t was[1024], is[1024];

	(void)state;
	make(&t, 1024);
	for (uint64_t id = 1; id <= IDS; id++)
		put_row(&t, id, (uint32_t)id, (uint32_t)(id * 40));
	int64_t pages = ask(t.db, "PRAGMA page_count");
	uint32_t root = t.pages.root;
	int fd = open_file();

	for (int i = 0; i < 3000; i++) {
		uint32_t page = roll(3) ? (uint32_t)roll((uint64_t)pages) + 1 : root;

		assert_int_equal(pread(fd, was, sizeof was, (page - 1) * 1024), 1024);
		memcpy(is, was, sizeof is);
		for (uint64_t n = roll(4) + 1; n > 0; n--) {
			size_t at = roll(4) ? roll(64) : roll(1016);

			is[at] = (uint8_t)(roll(3) ? roll(256) : roll(2) * 255);
		}
		if (roll(16) == 0)
			for (size_t k = 0; k < sizeof is / 4; k++)
				is[4 * k] = is[4 * k + 1] = 0, is[4 * k + 2] = (uint8_t)(page >> 8),
				       is[4 * k + 3] = (uint8_t)page;
		page_sum_put(is, sizeof is, page);
		assert_int_equal(pwrite(fd, is, sizeof is, (page - 1) * 1024), 1024);
		for (int k = 0; k < 6; k++) {
			struct row_place at;
			uint64_t id = roll(IDS) + 1;

			if (!row_pages_find(&t.pages, id, &at))
				continue;
			assert_true(at.payload_len <= codec_bound(at.raw_len));
			uint8_t *got = malloc(at.payload_len ? at.payload_len : 1);

			if (row_pages_read(&t.pages, &at, got))
				assert_true(codec_check(got, at.payload_len) == at.check);
			free(got);
		}
		assert_int_equal(pwrite(fd, was, sizeof was, (page - 1) * 1024), 1024);
	}
	check_all(&t);
	drop(&t);
	close(fd);
}

/* --- in a store -------------------------------------------------------------------------------------- */

/* Chunks that are committed are read past SQLite. */
static void test_store(void **state)
{
	struct fixture *f = *state;
	enum { CHUNKS = 20, LEN = 200000 };
	uint64_t ids[CHUNKS];
	static uint8_t want[LEN];
	struct chunk_buf *b;

	for (int i = 0; i < CHUNKS; i++) {
		uint8_t *raw = malloc(LEN);

		fill(raw, (uint64_t)i, 0, LEN);
		struct chunk_job *j = chunk_job_new(raw, LEN);

		assert_non_null(j);
		assert_int_equal(chunk_submit(f->s, j), 0);
		assert_int_equal(chunk_wait(f->s, j), 0);
		ids[i] = j->id;
		chunk_unpin(f->s, j->id);
		chunk_job_unref(j);
	}
	assert_int_equal(chunks_commit(f->s), 0);
	cycle(f);
	for (int i = 0; i < CHUNKS; i++) {
		fill(want, (uint64_t)i, 0, LEN);
		assert_int_equal(chunk_get(f->s, ids[i], &b), 0);
		assert_int_equal(b->len, LEN);
		assert_memory_equal(b->data, want, LEN);
		chunk_put(b);
	}
	assert_int_equal(atomic_load(&f->s->chunks->db.pages.found), CHUNKS);
	assert_int_equal(atomic_load(&f->s->chunks->db.pages.left), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup_dir, drop_dir)
	const struct CMUnitTest tests[] = {
		T(test_borders),
		T(test_scattered),
		T(test_long),
		T(test_transaction),
		T(test_beside),
		T(test_bits),
		T(test_nonsense),
		cmocka_unit_test_setup_teardown(test_store, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
