/*
 * test_chunk_batches.c: batches of chunks that are committed, lost or crashed, staging, damage.
 */
#include "chunk_data.h"

/* --- batches -------------------------------------------------------------------------------------- */

static void test_batches(void **state)
{
	struct fixture *f = *state;
	struct chunk_job *j = submit(f->s, noise(1, 1000), 1000);

	assert_int_equal(chunk_wait(f->s, j), 0);
	assert_true(j->batch > 0);
	assert_int_equal(chunks_batch_state(f->s, j->batch), 1);
	assert_int_equal(chunks_pending(f->s), 1000);
	assert_int_equal(chunks_commit_batch(f->s, j->batch), 0);
	assert_int_equal(chunks_batch_state(f->s, j->batch), 0);
	assert_int_equal(chunks_batch_state(f->s, 0), 0);
	assert_int_equal(chunks_commit_range(f->s, 0, 0), 0);
	assert_int_equal(chunks_commit(f->s), 0);
	struct chunk_counters n;

	chunk_counters(f->s, &n);
	assert_int_equal(n.commits, 1); /* nothing pending, nothing done */
	chunk_job_unref(j);
}

static void test_crash(void **state)
{
	struct fixture *f = *state;
	struct chunk_buf *b;
	struct chunk_row r;
	bool known;
	uint64_t a = put(f->s, 1, 70000, NULL);

	assert_int_equal(chunks_commit(f->s), 0);
	uint64_t gone = put(f->s, 2, 70000, NULL);

	crash(f);
	check_chunk(f->s, a, 1, 70000);
	assert_int_equal(chunk_row_read(f->s, gone, &r), -ENOENT);
	assert_int_equal(chunk_get(f->s, gone, &b), -EIO);
	assert_int_equal(put(f->s, 1, 70000, &known), a); /* the index was never written, and is made up for */
	assert_true(known);
	put(f->s, 2, 70000, &known);
	assert_false(known);
}

static void test_staged(void **state)
{
	struct fixture *f = *state;
	bool known;
	uint64_t a = put(f->s, 1, 3000, NULL), b = put(f->s, 2, 70000, NULL);

	assert_int_equal(stage(f->s, a), 0);
	assert_int_equal(stage(f->s, a), 0);
	assert_int_equal(meta_commit(f->s, false), 0);
	crash(f);
	check_chunk(f->s, a, 1, 3000);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM staged"), 0);
	assert_int_equal(put(f->s, 1, 3000, &known), a);
	assert_true(known);
	uint64_t c = put(f->s, 2, 70000, &known);

	assert_false(known);
	assert_true(c > a);
	(void)b;

	/* Without a crash: the row goes when the batch is committed, not before. */
	assert_int_equal(stage(f->s, c), 0);
	assert_int_equal(chunks_unstage(f->s), 0);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM staged"), 1);
	assert_true(chunk_maybe_staged(f->s, c));
	assert_int_equal(chunks_commit(f->s), 0);
	assert_int_equal(chunks_unstage(f->s), 0);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM staged"), 0);
	assert_false(chunk_maybe_staged(f->s, c));
	check_chunk(f->s, c, 2, 70000);
}

static void test_staging_rolled_back(void **state)
{
	struct fixture *f = *state;
	struct chunk_row r;
	uint64_t a = put(f->s, 1, 3000, NULL);

	assert_int_equal(chunk_row_read(f->s, a, &r), 0);
	assert_int_equal(meta_begin(f->s), 0);
	assert_int_equal(meta_stage_chunk(f->s, &r), 0);
	assert_int_equal(meta_chunk_staged(f->s, a), 1);
	assert_int_equal(meta_end(f->s, -EINVAL), -EINVAL);
	meta_lock(f->s);
	assert_int_equal(meta_chunk_staged(f->s, a), 0);
	meta_unlock(f->s);
	chunk_row_release(&r);
	assert_int_equal(stage(f->s, a), 0); /* is not taken for staged already */
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM staged"), 1);
}

static void test_readonly(void **state)
{
	struct fixture *f = *state;
	uint64_t a = put(f->s, 1, 3000, NULL);
	struct chunk_job *j;

	cycle(f);
	store_close(f->s);
	f->opt.readonly = true;
	f->opt.create = false;
	reopen(f);
	check_chunk(f->s, a, 1, 3000);
	j = chunk_job_new(noise(1, 10), 10);
	assert_int_equal(chunk_submit(f->s, j), -EROFS);
	chunk_job_unref(j);
}

/* Out of space in the middle of a batch, and afterwards. */
static void test_full(void **state)
{
	struct fixture *f = *state;
	struct chunk_row r;
	bool known;
	uint64_t safe = put(f->s, 1, 100000, NULL);

	assert_int_equal(chunks_commit(f->s), 0);
	struct chunk_job *first = submit(f->s, noise(2, 100000), 100000);

	assert_int_equal(chunk_wait(f->s, first), 0);
	assert_int_equal(stage(f->s, first->id), 0); /* somebody published it */
	struct chunk_job *second = submit(f->s, noise(3, 100000), 100000);

	assert_int_equal(chunk_wait(f->s, second), 0);
	db_exec(f->s, "PRAGMA max_page_count = 1"); /* becomes the pages there are */
	struct chunk_job *full = submit(f->s, noise(4, 900000), 900000);

	assert_int_equal(chunk_wait(f->s, full), -ENOSPC);
	/* The batch is lost, and says so for good. */
	assert_int_equal(chunks_commit_batch(f->s, second->batch), -ENOSPC);
	assert_int_equal(chunks_batch_state(f->s, second->batch), -ENOSPC);
	assert_int_equal(chunk_row_read(f->s, second->id, &r), -ENOSPC);
	assert_int_equal(atomic_load(&f->s->failed), 0);
	check_chunk(f->s, safe, 1, 100000);
	check_chunk(f->s, first->id, 2, 100000); /* from where it is staged */
	db_exec(f->s, "PRAGMA max_page_count = 1000000");

	/* The next batch starts clean; what was lost is not taken for known. */
	uint64_t again = put(f->s, 3, 100000, &known);

	assert_false(known);
	assert_true(again > second->id);
	assert_int_equal(chunks_unstage(f->s), 0);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM staged"), 1);
	assert_int_equal(chunks_commit(f->s), 0);
	assert_int_equal(chunks_commit_batch(f->s, second->batch), -ENOSPC);
	assert_int_equal(chunks_unstage(f->s), 0);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM staged"), 0);
	uint64_t id = first->id;

	chunk_job_unref(first);
	chunk_job_unref(second);
	chunk_job_unref(full);
	cycle(f);
	check_chunk(f->s, id, 2, 100000);
	assert_int_equal(put(f->s, 2, 100000, &known), id);
	assert_true(known);
	check_chunk(f->s, again, 3, 100000);
	check_chunk(f->s, safe, 1, 100000);
}

static void test_many_lost(void **state)
{
	struct fixture *f = *state;
	uint64_t batches[3 * CHUNK_LOST_MAX], good;

	put(f->s, 1, 100, NULL);
	assert_int_equal(chunks_commit(f->s), 0);
	for (int i = 0; i < 3 * CHUNK_LOST_MAX; i++) {
		db_exec(f->s, "PRAGMA max_page_count = 1000000");
		struct chunk_job *j = submit(f->s, noise(1000 + (uint64_t)i, 100), 100);

		assert_int_equal(chunk_wait(f->s, j), 0);
		batches[i] = j->batch;
		chunk_job_unref(j);
		db_exec(f->s, "PRAGMA max_page_count = 1");
		j = submit(f->s, noise(5000 + (uint64_t)i, 900000), 900000);
		assert_int_equal(chunk_wait(f->s, j), -ENOSPC);
		chunk_job_unref(j);
	}
	db_exec(f->s, "PRAGMA max_page_count = 1000000");
	struct chunk_job *j = submit(f->s, noise(2, 100), 100);

	assert_int_equal(chunk_wait(f->s, j), 0);
	good = j->batch;
	chunk_job_unref(j);
	for (int i = 0; i < 3 * CHUNK_LOST_MAX; i++)
		assert_int_equal(chunks_commit_batch(f->s, batches[i]), -ENOSPC);
	assert_int_equal(chunks_commit_batch(f->s, good), 0);
	assert_int_equal(chunks_commit_range(f->s, batches[0], good), -ENOSPC);
}

/* The process dies in the middle of a batch that has spilled into the file; SQLite's journal takes it back. */
static void test_killed(void **state)
{
	struct fixture *f = *state;
	struct chunk_row r;
	int used, most, status;

	store_close(f->s);
	f->s = NULL;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (store_open(f->path, &f->opt, &f->s))
			_exit(2);
		for (uint64_t i = 1; i <= 4; i++)
			put(f->s, i, 300000, NULL);
		if (chunks_commit(f->s))
			_exit(3);
		for (uint64_t i = 5; i <= 100; i++)
			put(f->s, i, 300000, NULL);
		if (stage(f->s, 7) || meta_commit(f->s, false))
			_exit(4);
		/* A long batch takes no more memory than a short one. */
		sqlite3_db_status(f->s->chunks->db.db, SQLITE_DBSTATUS_CACHE_USED, &used, &most, 0);
		_exit(used > 20 << 20 ? 5 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	reopen(f);
	for (uint64_t i = 1; i <= 4; i++)
		check_chunk(f->s, i, i, 300000);
	check_chunk(f->s, 7, 7, 300000);
	for (uint64_t i = 5; i <= 100; i++)
		if (i != 7)
			assert_int_equal(chunk_row_read(f->s, i, &r), -ENOENT);
	assert_int_equal(put(f->s, 5, 300000, NULL), 8);
}

static void test_index_made_anew(void **state)
{
	struct fixture *f = *state;
	uint64_t ids[600];
	bool known;

	for (uint64_t i = 0; i < 600; i++)
		ids[i] = put(f->s, i, 100, NULL);
	cycle(f);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM chunk_index"), 600);
	assert_int_equal(meta_begin(f->s), 0);
	assert_int_equal(meta_exec(f->s, meta_stmt(f->s, "DELETE FROM chunk_index WHERE id % 2")), 0);
	assert_int_equal(meta_exec(f->s, meta_stmt(f->s, "INSERT INTO chunk_index VALUES(1, 1), (2, 7777)")), 0);
	assert_int_equal(meta_exec(f->s, meta_stmt(f->s, "DELETE FROM config WHERE key = 'chunks_indexed'")), 0);
	assert_int_equal(meta_end(f->s, 0), 0);
	cycle(f);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM chunk_index"), 600);
	for (uint64_t i = 0; i < 600; i += 37) {
		assert_int_equal(put(f->s, i, 100, &known), ids[i]);
		assert_true(known);
	}
}

/* --- damage --------------------------------------------------------------------------------------- */

static void test_damage(void **state)
{
	struct fixture *f = *state;
	struct chunk_buf *b;
	static const char *const hurt[] = {
		"data = zeroblob(length(data))",
		"\"check\" = \"check\" + 1",
		"data = x''",
		"raw_len = raw_len + 1",
		"raw_len = 0",
		"raw_len = 1 << 40",
		"codec = 77",
		"hash = x'00'",
		"base = id",
		"base = -1",
		"base = 999999",
	};

	for (size_t i = 0; i < sizeof hurt / sizeof hurt[0]; i++) {
		char sql[200];
		uint64_t id = put(f->s, i, 5000, NULL);

		assert_int_equal(chunks_commit(f->s), 0);
		snprintf(sql, sizeof sql, "UPDATE chunk SET %s WHERE id = %llu", hurt[i], (unsigned long long)id);
		db_exec(f->s, sql);
		for (int k = 0; k < 2; k++) {
			if (chunk_get(f->s, id, &b) != -EIO)
				fail_msg("not noticed: %s", sql);
			assert_non_null(strstr(ckpt_errmsg(), "chunk "));
		}
		put(f->s, 100 + i, 5000, NULL);
	}
	assert_int_equal(atomic_load(&f->s->failed), 0);
}

static void test_chains(void **state)
{
	struct fixture *f = *state;
	struct chunk_buf *b;
	uint64_t ids[80];
	char sql[100];

	for (uint64_t i = 0; i < 80; i++)
		ids[i] = put(f->s, i, 500, NULL);
	assert_int_equal(chunks_commit(f->s), 0);
	/* Each leans on the one before; the payloads are whole, so every chain decodes. */
	for (int i = 1; i < 80; i++) {
		snprintf(sql, sizeof sql, "UPDATE chunk SET base = %llu WHERE id = %llu", (unsigned long long)ids[i - 1],
				(unsigned long long)ids[i]);
		db_exec(f->s, sql);
	}
	check_chunk(f->s, ids[63], 63, 500);
	assert_int_equal(chunk_get(f->s, ids[79], &b), 0); /* 63 is in the cache */
	chunk_put(b);
	cycle(f);
	assert_int_equal(chunk_get(f->s, ids[79], &b), -EIO);
	check_chunk(f->s, ids[3], 3, 500);
	/* A ring. */
	snprintf(sql, sizeof sql, "UPDATE chunk SET base = %llu WHERE id = %llu", (unsigned long long)ids[20],
			(unsigned long long)ids[10]);
	db_exec(f->s, sql);
	assert_int_equal(chunk_get(f->s, ids[15], &b), -EIO);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_batches),
		T(test_crash),
		T(test_staged),
		T(test_staging_rolled_back),
		T(test_readonly),
		T(test_full),
		T(test_many_lost),
		T(test_killed),
		T(test_index_made_anew),
		T(test_damage),
		T(test_chains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
