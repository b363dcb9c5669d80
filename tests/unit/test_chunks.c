/*
 * test_chunks.c: chunks in and out: dedup, batches that are committed, lost or crashed, staging, damage, the cache.
 */
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch_chunks.h"
#include "store/chunk_parts.h"

/* --- scaffold ------------------------------------------------------------------------------------- */

/* Bytes that no codec makes smaller, the same for the same seed. */
static uint8_t *noise(uint64_t seed, size_t len)
{
	uint8_t *p = malloc(len);
	uint64_t x = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;

	assert_non_null(p);
	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)(x >> 24);
	}
	return p;
}

static struct chunk_job *submit(struct store *s, uint8_t *raw, size_t len)
{
	struct chunk_job *j = chunk_job_new(raw, (uint32_t)len);

	assert_non_null(j);
	assert_int_equal(chunk_submit(s, j), 0);
	return j;
}

/* Stores bytes; the pin stays. */
static uint64_t put(struct store *s, uint64_t seed, size_t len, bool *known)
{
	struct chunk_job *j = submit(s, noise(seed, len), len);

	if (chunk_wait(s, j))
		fail_msg("put: %s", ckpt_errmsg());
	uint64_t id = j->id;

	assert_true(id > 0);
	if (known)
		*known = j->known;
	chunk_job_unref(j);
	return id;
}

static void check_chunk(struct store *s, uint64_t id, uint64_t seed, size_t len)
{
	struct chunk_buf *b = NULL;
	uint8_t *want = noise(seed, len);

	if (chunk_get(s, id, &b))
		fail_msg("get %llu: %s", (unsigned long long)id, ckpt_errmsg());
	assert_int_equal(b->len, len);
	assert_memory_equal(b->data, want, len);
	chunk_put(b);
	free(want);
}

static int64_t meta_number(struct store *s, const char *sql)
{
	meta_lock(s);
	sqlite3_stmt *st = meta_stmt(s, sql);

	assert_non_null(st);
	int64_t v = meta_step(s, st) == 1 ? sqlite3_column_int64(st, 0) : -1;

	sqlite3_reset(st);
	meta_unlock(s);
	return v;
}

static void db_exec(struct store *s, const char *sql)
{
	pthread_mutex_lock(&s->chunks->db.lock);
	assert_int_equal(sqlite3_exec(s->chunks->db.db, sql, NULL, NULL, NULL), SQLITE_OK);
	pthread_mutex_unlock(&s->chunks->db.lock);
}

static int stage(struct store *s, uint64_t id)
{
	struct chunk_row r;
	int rc = chunk_row_read(s, id, &r);

	if (rc)
		return rc;
	rc = meta_begin(s);
	if (rc == 0)
		rc = meta_end(s, meta_stage_chunk(s, &r));
	chunk_row_release(&r);
	return rc;
}

/* --- in and out ----------------------------------------------------------------------------------- */

static void test_sizes(void **state)
{
	struct fixture *f = *state;
	static const size_t sizes[] = { 1, 2, 7, 64, 4095, 4096, 65536, 100001, 262144, CODEC_CHUNK_MAX };
	uint64_t ids[10], last = 0;

	for (size_t i = 0; i < 10; i++) {
		ids[i] = put(f->s, i + 1, sizes[i], NULL);
		assert_true(ids[i] > last);
		last = ids[i];
	}
	for (size_t i = 0; i < 10; i++)
		check_chunk(f->s, ids[i], i + 1, sizes[i]);
	assert_int_equal(chunks_commit(f->s), 0);
	assert_int_equal(chunks_committed(f->s), last);
	assert_int_equal(chunks_pending(f->s), 0);
	cycle(f);
	for (size_t i = 0; i < 10; i++)
		check_chunk(f->s, ids[i], i + 1, sizes[i]);
}

static void test_compressible(void **state)
{
	struct fixture *f = *state;
	struct chunk_buf *b;
	struct chunk_row r;
	size_t len = 256 << 10;
	uint8_t *raw = calloc(1, len);
	struct chunk_job *j = submit(f->s, raw, len);

	assert_int_equal(chunk_wait(f->s, j), 0);
	assert_int_equal(chunk_row_read(f->s, j->id, &r), 0);
	assert_int_equal(r.codec, CODEC_CONST);
	assert_true(r.payload_len <= 8);
	chunk_row_release(&r);
	assert_int_equal(chunk_get(f->s, j->id, &b), 0);
	assert_memory_equal(b->data, raw, len);
	chunk_put(b);
	chunk_job_unref(j);
}

static void test_bad_lengths(void **state)
{
	struct fixture *f = *state;
	struct chunk_job *j = chunk_job_new(malloc(1), 0);

	assert_int_equal(chunk_submit(f->s, j), -EINVAL);
	j->len = CODEC_CHUNK_MAX + 1;
	assert_int_equal(chunk_submit(f->s, j), -EINVAL);
	chunk_job_unref(j);
}

static void test_dedup(void **state)
{
	struct fixture *f = *state;
	struct chunk_counters n;
	bool known;
	uint64_t a = put(f->s, 1, 5000, &known);

	assert_false(known);
	uint64_t b = put(f->s, 2, 5000, &known);

	assert_false(known);
	assert_int_not_equal(a, b);
	assert_int_equal(put(f->s, 1, 5000, &known), a); /* not committed */
	assert_true(known);
	assert_int_equal(chunks_commit(f->s), 0);
	assert_int_equal(put(f->s, 1, 5000, &known), a); /* committed, not indexed */
	assert_true(known);
	assert_int_equal(chunks_unstage(f->s), 0);
	assert_int_equal(f->s->chunks->index.ntwins, 0);
	assert_int_equal(put(f->s, 1, 5000, &known), a); /* indexed */
	assert_true(known);
	cycle(f);
	assert_int_equal(put(f->s, 2, 5000, &known), b); /* in another life */
	assert_true(known);
	assert_false(put(f->s, 2, 4999, &known) == b);
	chunk_counters(f->s, &n);
	assert_int_equal(n.chunks, 3);
	assert_int_equal(n.jobs, 2);
	assert_int_equal(n.known, 1);
	assert_int_equal(n.pins, 2);
}

static void test_false_index_rows(void **state)
{
	struct fixture *f = *state;
	bool known;
	uint64_t a = put(f->s, 1, 5000, NULL);
	struct chunk_row r;
	uint8_t *p = noise(2, 5000);
	struct codec_hash h;

	assert_int_equal(codec_sha256(p, 5000, &h), 0);
	free(p);
	assert_int_equal(chunk_row_read(f->s, a, &r), 0);
	chunk_row_release(&r);
	/* A prefix that another chunk has, and one of a chunk that is not there. */
	assert_int_equal(meta_begin(f->s), 0);
	assert_int_equal(chunk_index_add(f->s, &h, a), 0);
	assert_int_equal(chunk_index_add(f->s, &h, 999), 0);
	assert_int_equal(meta_end(f->s, 0), 0);
	uint64_t b = put(f->s, 2, 5000, &known);

	assert_false(known);
	assert_int_not_equal(a, b);
	check_chunk(f->s, b, 2, 5000);
}

static void test_twins_under_way(void **state)
{
	struct fixture *f = *state;
	struct chunk_job *j[64];
	struct chunk_counters n;

	for (int i = 0; i < 64; i++)
		j[i] = submit(f->s, noise((uint64_t)(i / 32), CODEC_CHUNK_MAX / 2), CODEC_CHUNK_MAX / 2);
	for (int i = 0; i < 64; i++) {
		assert_int_equal(chunk_wait(f->s, j[i]), 0);
		assert_int_equal(j[i]->id, j[i / 32 * 32]->id);
		assert_int_equal(j[i]->batch, j[i / 32 * 32]->batch);
	}
	chunk_counters(f->s, &n);
	assert_int_equal(n.chunks, 2);
	assert_int_equal(n.known, 62);
	assert_int_equal(*idmap_find(&f->s->chunks->pins.counts, j[0]->id), 32);
	for (int i = 0; i < 64; i++) {
		chunk_unpin(f->s, j[i]->id);
		chunk_job_unref(j[i]);
	}
	chunk_counters(f->s, &n);
	assert_int_equal(n.pins, 0);
	assert_int_equal(n.queue, 0);
	assert_int_equal(n.queue_bytes, 0);
}

static void test_bounded_queue(void **state)
{
	struct fixture *f = *state;
	struct chunk_job *j[64];

	store_close(f->s);
	f->opt.dirty_bytes = 1 << 20;
	reopen(f);
	for (int i = 0; i < 64; i++) {
		struct chunk_counters n;

		j[i] = submit(f->s, noise((uint64_t)i, 200000), 200000);
		chunk_counters(f->s, &n);
		assert_true(n.queue_bytes <= 1 << 20);
	}
	for (int i = 0; i < 64; i++) {
		assert_int_equal(chunk_wait(f->s, j[i]), 0);
		chunk_job_unref(j[i]);
	}
	/* One that is larger than the limit goes through alone. */
	f->s->chunks->pipe.limit = 1000;
	put(f->s, 99, 200000, NULL);
}

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

/* --- cache ---------------------------------------------------------------------------------------- */

static void test_cache(void **state)
{
	struct fixture *f = *state;
	struct chunk_counters n;
	struct chunk_buf *b;
	uint64_t ids[32];

	store_close(f->s);
	f->opt.cache_bytes = 10 * 100000;
	reopen(f);
	for (uint64_t i = 0; i < 32; i++)
		ids[i] = put(f->s, i, 100000, NULL);
	for (uint64_t i = 0; i < 32; i++)
		check_chunk(f->s, ids[i], i, 100000);
	chunk_counters(f->s, &n);
	assert_int_equal(n.misses, 32);
	assert_int_equal(n.cache_bytes, 10 * 100000);
	check_chunk(f->s, ids[22], 22, 100000); /* the oldest there is */
	check_chunk(f->s, ids[0], 0, 100000);   /* drives out 23 */
	check_chunk(f->s, ids[22], 22, 100000);
	chunk_counters(f->s, &n);
	assert_int_equal(n.hits, 2);
	assert_int_equal(n.misses, 33);
	assert_false(chunk_cached(f->s, ids[23]));
	/* A buffer in use outlives its place in the cache. */
	assert_int_equal(chunk_get(f->s, ids[22], &b), 0);
	chunk_cache_drop(f->s, ids[22]);
	assert_false(chunk_cached(f->s, ids[22]));
	uint8_t *want = noise(22, 100000);

	assert_memory_equal(b->data, want, 100000);
	free(want);
	chunk_put(b);
	/* Decoding ahead. */
	chunk_prefetch(f->s, ids + 4, 6);
	for (int i = 0; i < 6000 && !(chunk_cached(f->s, ids[9]) && chunk_cached(f->s, ids[4])); i++)
		usleep(10000);
	assert_true(chunk_cached(f->s, ids[4]));
	assert_true(chunk_cached(f->s, ids[9]));
	chunk_prefetch(f->s, (uint64_t[]){ 0, 123456 }, 2); /* nothing that could be said of these */
}

/* --- many at once --------------------------------------------------------------------------------- */

struct crowd {
	struct fixture *f;
	uint64_t seed;
	_Atomic int failed;
};

static void *crowd_thread(void *arg)
{
	struct crowd *c = arg;
	struct store *s = c->f->s;
	uint64_t x = c->seed * 77 + 5;

	for (int i = 0; i < 150; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		uint64_t seed = (x >> 33) % 40;
		size_t len = 1000 + seed * 700;
		struct chunk_job *j = chunk_job_new(noise(seed, len), (uint32_t)len);
		struct chunk_buf *b = NULL;

		if (chunk_submit(s, j) || chunk_wait(s, j) || chunk_get(s, j->id, &b) || b->len != len ||
		    memcmp(b->data, j->raw, len) != 0)
			c->failed = 1;
		chunk_put(b);
		if (i % 16 == 0 && (chunks_commit_batch(s, j->batch) || chunks_unstage(s)))
			c->failed = 1;
		if (i % 16 == 8 && stage(s, j->id))
			c->failed = 1;
		chunk_unpin(s, j->id);
		chunk_job_unref(j);
	}
	return NULL;
}

static void test_crowd(void **state)
{
	struct fixture *f = *state;
	struct chunk_counters n;
	struct crowd c[4];
	pthread_t t[4];

	for (int i = 0; i < 4; i++) {
		c[i] = (struct crowd){ .f = f, .seed = (uint64_t)i };
		assert_int_equal(pthread_create(&t[i], NULL, crowd_thread, &c[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(c[i].failed, 0);
	}
	chunk_counters(f->s, &n);
	assert_int_equal(n.chunks, 40);
	assert_int_equal(n.pins, 0);
	cycle(f);
	for (uint64_t i = 0; i < 40; i++) {
		bool known;
		uint64_t id = put(f->s, i, 1000 + i * 700, &known);

		assert_true(known);
		check_chunk(f->s, id, i, 1000 + i * 700);
	}
}

static void test_close_with_jobs(void **state)
{
	struct fixture *f = *state;
	struct chunk_job *j[40];

	for (int i = 0; i < 40; i++)
		j[i] = submit(f->s, noise((uint64_t)i, CODEC_CHUNK_MAX), CODEC_CHUNK_MAX);
	store_crash(f->s);
	for (int i = 0; i < 40; i++) {
		assert_true(atomic_load(&j[i]->done));
		chunk_job_unref(j[i]);
	}
	reopen(f);
}

/* --- the map -------------------------------------------------------------------------------------- */

static void test_idmap(void **state)
{
	struct idmap m = { 0 };
	uint64_t have[512] = { 0 }, x = 9;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		uint64_t key = (x >> 40) % 512;

		if (key == 0)
			continue;
		if (x >> 63) {
			uint64_t *v = idmap_get(&m, key);

			assert_non_null(v);
			assert_int_equal(*v, have[key]);
			*v = have[key] = (x >> 20 & 1023) + 1;
		} else {
			idmap_remove(&m, key);
			have[key] = 0;
		}
		key = (x >> 50) % 511 + 1;
		uint64_t *v = idmap_find(&m, key);

		assert_int_equal(v ? *v : 0, have[key]);
	}
	idmap_release(&m);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_sizes), T(test_compressible), T(test_bad_lengths), T(test_dedup), T(test_false_index_rows),
		T(test_twins_under_way), T(test_bounded_queue), T(test_batches), T(test_crash), T(test_staged),
		T(test_staging_rolled_back), T(test_readonly), T(test_full), T(test_many_lost), T(test_killed),
		T(test_index_made_anew),
		T(test_damage), T(test_chains), T(test_cache), T(test_crowd), T(test_close_with_jobs),
		cmocka_unit_test(test_idmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
