/* test_chunk_name.c: SHA-256 taken later, what stands in for it, and chunks of format 2, which have nothing else. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scratch_chunks.h"
#include "store/chunk_parts.h"
#include "store/meta_conn.h"

static uint64_t put(struct store *s, uint32_t seed, size_t len, bool *known)
{
	uint8_t *p = malloc(len);

	assert_non_null(p);
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		p[i] = (uint8_t)(seed >> 24);
	}
	struct chunk_job *j = chunk_job_new(p, (uint32_t)len);

	assert_non_null(j);
	assert_int_equal(chunk_submit(s, j), 0);
	if (chunk_wait(s, j))
		fail_msg("put: %s", ckpt_errmsg());
	uint64_t id = j->id;

	*known = j->known;
	chunk_job_unref(j);
	return id;
}

static unsigned name_len(struct store *s, uint64_t id)
{
	struct chunk_head h;

	assert_int_equal(chunk_head_read(s, id, &h), 1);
	return h.name.len;
}

/* What verify does with a chunk. */
static int check(struct store *s, uint64_t id)
{
	struct chunk_head h;
	struct chunk_buf *b;

	assert_int_equal(chunk_head_read(s, id, &h), 1);
	assert_int_equal(chunk_get(s, id, &b), 0);
	int rc = chunk_name_check(s, &h.name, id, b->data, b->len);

	chunk_put(b);
	return rc;
}

static void change(struct store *s, const char *sql)
{
	char *message = NULL;

	pthread_mutex_lock(&s->chunks->db.lock);
	if (sqlite3_exec(s->chunks->db.db, sql, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", sql, message);
	pthread_mutex_unlock(&s->chunks->db.lock);
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

static void test_later(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	bool known;

	atomic_store(&s->chunks->pipe.forced, PRESSURE_NEVER);
	uint64_t early = put(s, 1, 50000, &known);
	assert_int_equal(name_len(s, early), CHUNK_NAME_MAX);

	atomic_store(&s->chunks->pipe.forced, PRESSURE_ALWAYS);
	uint64_t late = put(s, 2, 50000, &known), damaged = put(s, 3, 50000, &known);
	assert_false(known);
	assert_int_equal(name_len(s, late), CODEC_PRINT_LEN);
	assert_int_equal(check(s, late), 0);
	/* Known by its fingerprint, before and after a commit and its index row. */
	assert_int_equal(put(s, 2, 50000, &known), late);
	assert_true(known);
	assert_int_equal(chunks_commit(s), 0);
	assert_int_equal(chunk_index_flush(s, 1), 0);
	assert_int_equal(put(s, 2, 50000, &known), late);
	assert_true(known);
	assert_int_equal(put(s, 1, 50000, &known), early);
	assert_true(known);

	char sql[100];
	snprintf(sql, sizeof sql, "UPDATE chunk SET hash = zeroblob(16) WHERE id = %llu", (unsigned long long)damaged);
	change(s, sql);
	assert_int_equal(check(s, damaged), -EIO);
	assert_int_equal(chunk_names_finish(s, never, NULL), 0);
	assert_int_equal(name_len(s, late), CHUNK_NAME_MAX);
	assert_int_equal(check(s, late), 0);
	/* A damaged chunk gets no SHA-256 that would bless it. */
	assert_int_equal(name_len(s, damaged), CODEC_PRINT_LEN);
	assert_int_equal(put(s, 2, 50000, &known), late);
	assert_true(known);

	cycle(f);
	assert_int_equal(name_len(f->s, late), CHUNK_NAME_MAX);
	assert_int_equal(check(f->s, late), 0);
	assert_int_equal(put(f->s, 2, 50000, &known), late);
	assert_true(known);
}

/* As a store of format 2 has it: SHA-256 alone, in row and index. */
static void test_old(void **state)
{
	struct fixture *f = *state;
	bool known;

	atomic_store(&f->s->chunks->pipe.forced, PRESSURE_NEVER);
	uint64_t id = put(f->s, 4, 50000, &known);

	assert_int_equal(chunks_commit(f->s), 0);
	assert_int_equal(chunk_index_flush(f->s, 1), 0);
	change(f->s, "UPDATE chunk SET hash = substr(hash, 17); UPDATE state SET sha_upto = next");
	meta_lock(f->s);
	assert_int_equal(sqlite3_exec(f->s->meta->db, "DELETE FROM config WHERE key = 'chunks_indexed'", NULL, NULL, NULL), 0);
	meta_unlock(f->s);
	cycle(f);
	assert_int_equal(name_len(f->s, id), CODEC_HASH_LEN);
	assert_int_equal(check(f->s, id), 0);
	assert_int_equal(put(f->s, 4, 50000, &known), id);
	assert_true(known);
	/* What is new beside it has both, and is known by both. */
	atomic_store(&f->s->chunks->pipe.forced, PRESSURE_ALWAYS);
	uint64_t other = put(f->s, 5, 50000, &known);
	assert_int_equal(name_len(f->s, other), CHUNK_NAME_MAX);
	assert_int_equal(put(f->s, 5, 50000, &known), other);
	assert_true(known);
	change(f->s, "UPDATE chunk SET hash = zeroblob(32) WHERE length(hash) = 32");
	assert_int_equal(check(f->s, id), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_old, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
