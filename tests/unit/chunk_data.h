/*
 * chunk_data.h: for test programs of chunks: bytes to put in, and what came of them.  Each program includes it once.
 */
#ifndef CHUNK_DATA_H
#define CHUNK_DATA_H

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
#include "scratch_meta.h"
#include "store/chunk_parts.h"

/* Bytes that no codec makes smaller, the same for the same seed. */
static inline uint8_t *noise(uint64_t seed, size_t len)
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

static inline struct chunk_job *submit(struct store *s, uint8_t *raw, size_t len)
{
	struct chunk_job *j = chunk_job_new(raw, (uint32_t)len);

	assert_non_null(j);
	assert_int_equal(chunk_submit(s, j), 0);
	return j;
}

/* Stores bytes; the pin stays. */
static inline uint64_t put(struct store *s, uint64_t seed, size_t len, bool *known)
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

static inline void check_chunk(struct store *s, uint64_t id, uint64_t seed, size_t len)
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

static inline void db_exec(struct store *s, const char *sql)
{
	pthread_mutex_lock(&s->chunks->db.lock);
	assert_int_equal(sqlite3_exec(s->chunks->db.db, sql, NULL, NULL, NULL), SQLITE_OK);
	pthread_mutex_unlock(&s->chunks->db.lock);
}

static inline int stage(struct store *s, uint64_t id)
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

#endif
