/*
 * scratch_train.h: a training for tests of differences: one tensor's chunk at each checkpoint, floats that move a little
 * from one to the next.  Include after cmocka.h and scratch_chunks.h.
 */
#ifndef SCRATCH_TRAIN_H
#define SCRATCH_TRAIN_H

#include <stdlib.h>
#include <string.h>

#include "store/chunk_parts.h"
#include "store/manifest_internal.h"

enum { TRAIN_FLOATS = 4096, TRAIN_LEN = TRAIN_FLOATS * 4, TRAIN_TINY = 16 };

static inline uint64_t train_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* The tensor `seed` at checkpoint k.  tiny: only TRAIN_TINY of its floats move. */
static inline void train_fill(float *v, uint64_t seed, unsigned k, bool tiny)
{
	uint64_t x = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;

	for (int i = 0; i < TRAIN_FLOATS; i++)
		v[i] = (float)((double)(train_random(&x) >> 40) / (1 << 24) * 0.1 - 0.05);
	for (unsigned n = 1; n <= k; n++) {
		x = (seed + 77) * n * UINT64_C(0x9E3779B97F4A7C15) + 1;
		for (int i = 0; i < (tiny ? TRAIN_TINY : TRAIN_FLOATS); i++) {
			int at = tiny ? (int)(train_random(&x) % TRAIN_FLOATS) : i;

			v[at] += (float)((double)(train_random(&x) >> 40) / (1 << 24) * 2e-4 - 1e-4);
		}
	}
}

/* Version v consists of one chunk, or, with id 0, is no more. */
static inline void train_publish(struct store *s, uint64_t v, uint64_t id)
{
	struct piece p = { .len = TRAIN_LEN, .id = id };

	assert_int_equal(meta_begin(s), 0);
	int rc = manifest_replace(s, v, 0, TRAIN_LEN, &p, id ? 1 : 0);
	sqlite3_stmt *st = meta_stmt(s, id ? "INSERT OR REPLACE INTO version(id, ino, size, data) VALUES(?1, 99, ?2, ?2)"
					   : "DELETE FROM version WHERE id = ?1");

	assert_non_null(st);
	sqlite3_bind_int64(st, 1, (int64_t)v);
	if (id)
		sqlite3_bind_int64(st, 2, TRAIN_LEN);
	if (rc == 0)
		rc = meta_exec(s, st);
	assert_int_equal(meta_end(s, rc), 0);
}

/* Stores bytes (taken) as a chunk, to follow `pred`. Returns its id, pinned. */
static inline uint64_t train_put(struct store *s, uint8_t *raw, uint32_t len, struct codec_hint hint, uint64_t pred)
{
	struct chunk_job *j = chunk_job_new(raw, len);

	assert_non_null(j);
	j->hint = hint;
	j->predecessor = pred;
	assert_int_equal(chunk_submit(s, j), 0);
	if (chunk_wait(s, j))
		fail_msg("save: %s", ckpt_errmsg());
	uint64_t id = j->id;

	chunk_job_unref(j);
	return id;
}

/* Stores checkpoint k as version k + 1, to follow `pred`. Returns the chunk. */
static inline uint64_t train_save(struct store *s, uint64_t seed, unsigned k, bool tiny, uint64_t pred)
{
	float *v = malloc(TRAIN_LEN);

	assert_non_null(v);
	train_fill(v, seed, k, tiny);
	uint64_t id = train_put(s, (uint8_t *)v, TRAIN_LEN,
			(struct codec_hint){ .width = 4, .kind = CODEC_FLOAT, .exponent_bits = 8 }, pred);

	train_publish(s, k + 1, id);
	chunk_unpin(s, id);
	return id;
}

/* Checkpoints 0 .. n-1, each to follow the one before. */
static inline void train_run(struct store *s, uint64_t seed, unsigned n, bool tiny, uint64_t *ids)
{
	for (unsigned k = 0; k < n; k++)
		ids[k] = train_save(s, seed, k, tiny, k ? ids[k - 1] : 0);
	assert_int_equal(chunks_commit(s), 0);
	assert_int_equal(chunks_unstage(s), 0);
	assert_int_equal(store_commit(s, true), 0);
}

/* The chunk holds checkpoint k, read from the disk. */
static inline void train_check(struct store *s, uint64_t seed, unsigned k, bool tiny, uint64_t id)
{
	float *want = malloc(TRAIN_LEN);
	struct chunk_buf *b = NULL;

	assert_non_null(want);
	chunk_cache_drop(s, id);
	train_fill(want, seed, k, tiny);
	if (chunk_get(s, id, &b))
		fail_msg("checkpoint %u: %s", k, ckpt_errmsg());
	assert_int_equal(b->len, TRAIN_LEN);
	assert_memory_equal(b->data, want, TRAIN_LEN);
	chunk_put(b);
	free(want);
}

static inline struct chunk_head train_head(struct store *s, uint64_t id)
{
	struct chunk_head h = { 0 };

	assert_int_equal(chunk_head_read(s, id, &h), 1);
	return h;
}

static inline unsigned train_depth(struct store *s, uint64_t id)
{
	unsigned n = 0;

	while ((id = train_head(s, id).base) != 0)
		assert_true(++n <= CHUNK_DEPTH_FAR);
	return n;
}

static inline void train_sql(struct store *s, const char *sql)
{
	pthread_mutex_lock(&s->chunks->db.lock);
	if (sqlite3_exec(s->chunks->db.db, sql, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(s->chunks->db.db));
	pthread_mutex_unlock(&s->chunks->db.lock);
}

#endif
