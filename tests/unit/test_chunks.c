/*
 * test_chunks.c: chunks in and out: dedup, the queue, the cache.
 */
#include "chunk_data.h"

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
	struct chunk_name n;

	assert_int_equal(chunk_name_print(f->s, p, 5000, &n), 0);
	free(p);
	assert_int_equal(chunk_row_read(f->s, a, &r), 0);
	chunk_row_release(&r);
	/* A prefix that another chunk has, and one of a chunk that is not there. */
	assert_int_equal(meta_begin(f->s), 0);
	assert_int_equal(chunk_index_add(f->s, &n, a), 0);
	assert_int_equal(chunk_index_add(f->s, &n, 999), 0);
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
		T(test_sizes),
		T(test_compressible),
		T(test_bad_lengths),
		T(test_dedup),
		T(test_false_index_rows),
		T(test_twins_under_way),
		T(test_bounded_queue),
		T(test_cache),
		T(test_crowd),
		T(test_close_with_jobs),
		cmocka_unit_test(test_idmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
