/*
 * test_gc.c: what nobody names goes, and nothing else does, while others work.
 */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "scratch_chunks.h"
#include "scratch_meta.h"
#include "store/chunk_parts.h"
#include "store/manifest_internal.h"
#include "store/store_admin.h"
#include "store/tree_internal.h"

/* --- scaffold ------------------------------------------------------------------------------------- */

static void fill(uint8_t *p, uint64_t seed, size_t len)
{
	uint64_t x = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;

	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = (uint8_t)(x >> 24);
	}
}

static struct chunk_job *submit(struct store *s, uint64_t seed, size_t len)
{
	uint8_t *p = malloc(len);

	if (!p)
		return NULL;
	fill(p, seed, len);
	struct chunk_job *j = chunk_job_new(p, (uint32_t)len);

	if (j && chunk_submit(s, j)) {
		chunk_job_unref(j);
		return NULL;
	}
	return j;
}

/* Stores bytes; the pin stays. */
static uint64_t put(struct store *s, uint64_t seed, size_t len)
{
	struct chunk_job *j = submit(s, seed, len);

	assert_non_null(j);
	if (chunk_wait(s, j))
		fail_msg("put: %s", ckpt_errmsg());
	uint64_t id = j->id;

	chunk_job_unref(j);
	return id;
}

/* Whether the chunk is there and whole. */
static bool whole(struct store *s, uint64_t id, uint64_t seed, size_t len)
{
	struct chunk_buf *b = NULL;
	uint8_t *want = malloc(len);

	fill(want, seed, len);
	bool ok = chunk_get(s, id, &b) == 0 && b->len == len && memcmp(b->data, want, len) == 0;

	chunk_put(b);
	free(want);
	return ok;
}

/* Version `version` consists of one chunk, or, with id 0, of nothing. */
static int publish(struct store *s, uint64_t version, uint64_t id, uint64_t len)
{
	struct piece p = { .len = len, .id = id };
	int rc = meta_begin(s);

	if (rc)
		return rc;
	return meta_end(s, manifest_replace(s, version, 0, len, &p, 1));
}

static void db_exec(struct store *s, const char *sql)
{
	pthread_mutex_lock(&s->chunks->db.lock);
	assert_int_equal(sqlite3_exec(s->chunks->db.db, sql, NULL, NULL, NULL), SQLITE_OK);
	pthread_mutex_unlock(&s->chunks->db.lock);
}

static void lean(struct store *s, uint64_t id, uint64_t base)
{
	char sql[100];

	snprintf(sql, sizeof sql, "UPDATE chunk SET base = %llu WHERE id = %llu", (unsigned long long)base,
			(unsigned long long)id);
	db_exec(s, sql);
}

static bool there(struct store *s, uint64_t id)
{
	struct chunk_head h;

	return chunk_head_read(s, id, &h) == 1;
}

static struct store_gc_result collect(struct store *s)
{
	struct store_gc_result r = { 0 };

	if (store_gc(s, NULL, NULL, &r))
		fail_msg("gc: %s", ckpt_errmsg());
	return r;
}

/* --- one at a time -------------------------------------------------------------------------------- */

static void test_all_goes(void **state)
{
	struct fixture *f = *state;
	uint64_t last = 0;

	for (uint64_t i = 0; i < 64; i++) {
		last = put(f->s, i, 256 << 10);
		chunk_unpin(f->s, last);
	}
	assert_int_equal(chunks_commit(f->s), 0);
	uint64_t size = chunk_db_size(f->s);

	assert_true(size > 64 * (256 << 10));
	struct store_gc_result r = collect(f->s);

	assert_int_equal(r.chunks, 64);
	assert_int_equal(r.bytes, 64 * (256 << 10));
	assert_int_equal(r.live_chunks, 0);
	assert_int_equal(r.live_bytes, 0);
	assert_true(r.given_back > size * 9 / 10);
	assert_int_equal(r.given_back, size - chunk_db_size(f->s));
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM chunk_index"), 0);
	/* Ids are not used again, and nothing is taken for known. */
	cycle(f);
	uint64_t id = put(f->s, 3, 256 << 10);

	assert_true(id > last);
	assert_true(whole(f->s, id, 3, 256 << 10));
	assert_int_equal(collect(f->s).chunks, 0); /* pinned */
}

static void test_what_stays(void **state)
{
	struct fixture *f = *state;
	uint64_t named = put(f->s, 1, 5000), pinned = put(f->s, 2, 5000), loose = put(f->s, 3, 5000), cached;
	struct chunk_buf *b;

	assert_int_equal(publish(f->s, 10, named, 5000), 0);
	chunk_unpin(f->s, named);
	chunk_unpin(f->s, loose);
	assert_int_equal(chunk_get(f->s, loose, &b), 0);
	cached = b->id;
	chunk_put(b);
	struct store_gc_result r = collect(f->s);

	assert_int_equal(r.chunks, 1);
	assert_int_equal(r.live_chunks, 2);
	assert_int_equal(r.live_bytes, 10000);
	assert_false(there(f->s, loose));
	assert_false(chunk_cached(f->s, cached));
	assert_int_equal(chunk_get(f->s, loose, &b), -EIO);
	assert_true(whole(f->s, named, 1, 5000));
	assert_true(whole(f->s, pinned, 2, 5000));
	chunk_unpin(f->s, pinned);
	assert_int_equal(collect(f->s).chunks, 1);
	assert_false(there(f->s, pinned));
	cycle(f);
	assert_true(whole(f->s, named, 1, 5000));
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM chunk_index"), 1);
}

static void test_staged_stays(void **state)
{
	struct fixture *f = *state;
	struct chunk_row r;
	uint64_t id = put(f->s, 1, 5000);

	assert_int_equal(chunk_row_read(f->s, id, &r), 0);
	r.batch = UINT64_MAX; /* as if its batch went on for ever */
	assert_int_equal(meta_begin(f->s), 0);
	assert_int_equal(meta_end(f->s, meta_stage_chunk(f->s, &r)), 0);
	chunk_row_release(&r);
	chunk_unpin(f->s, id);
	assert_int_equal(collect(f->s).chunks, 0);
	assert_true(whole(f->s, id, 1, 5000));
}

/* A base goes when what leans on it can do without; not while what leans on it stays, or when too many do. */
static void test_bases(void **state)
{
	struct fixture *f = *state;
	uint64_t id[24];

	for (uint64_t i = 0; i < 24; i++) {
		id[i] = put(f->s, i, 3000);
		chunk_unpin(f->s, id[i]);
	}
	assert_int_equal(chunks_commit(f->s), 0);
	/* 2 -> 1 -> 0, 2 is named; 5 -> 4 -> 3, nobody is; 6 -> 8 -> 7 and 9 -> 11 with bases behind, only 9 named. */
	lean(f->s, id[2], id[1]);
	lean(f->s, id[1], id[0]);
	lean(f->s, id[5], id[4]);
	lean(f->s, id[4], id[3]);
	lean(f->s, id[6], id[8]);
	lean(f->s, id[8], id[7]);
	lean(f->s, id[9], id[11]);
	/* 13 to 23 -> 12: all are named but 12. */
	for (int i = 13; i < 24; i++)
		lean(f->s, id[i], id[12]);
	assert_int_equal(publish(f->s, 5, id[2], 3000), 0);
	assert_int_equal(publish(f->s, 6, id[9], 3000), 0);
	for (uint64_t i = 13; i < 24; i++)
		assert_int_equal(publish(f->s, 10 + i, id[i], 3000), 0);
	assert_int_equal(collect(f->s).chunks, 10);
	for (int i = 0; i < 24; i++)
		assert_int_equal(there(f->s, id[i]), i == 2 || i == 9 || i >= 12);
	assert_int_equal(collect(f->s).chunks, 0);
	assert_true(whole(f->s, id[2], 2, 3000));
	assert_true(whole(f->s, id[9], 9, 3000));
	for (int i = 13; i < 24; i++)
		assert_true(whole(f->s, id[i], (uint64_t)i, 3000));
	cycle(f);
	assert_true(whole(f->s, id[2], 2, 3000));
}

static void test_stale_index(void **state)
{
	struct fixture *f = *state;
	uint64_t a = put(f->s, 1, 5000), b = put(f->s, 2, 5000);
	char sql[64];

	chunk_unpin(f->s, b);
	assert_int_equal(chunks_commit(f->s), 0);
	assert_int_equal(chunks_unstage(f->s), 0);
	/* As a crash between the deletion of a row and that of its index row leaves it. */
	snprintf(sql, sizeof sql, "DELETE FROM chunk WHERE id = %llu", (unsigned long long)b);
	db_exec(f->s, sql);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM chunk_index"), 2);
	assert_int_equal(collect(f->s).chunks, 0);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM chunk_index"), 1);
	assert_true(whole(f->s, a, 1, 5000));
}

/* A manifest that can't be read says nothing about what it names: then nothing may go. */
static void test_bad_manifest(void **state)
{
	struct fixture *f = *state;
	uint64_t a = put(f->s, 1, 5000);
	struct store_gc_result r;

	chunk_unpin(f->s, a);
	assert_int_equal(meta_begin(f->s), 0);
	assert_int_equal(meta_exec(f->s, meta_stmt(f->s, "INSERT INTO manifest VALUES(7, 0, x'ffffffffffffffffffffff')")), 0);
	assert_int_equal(meta_end(f->s, 0), 0);
	assert_int_equal(store_gc(f->s, NULL, NULL, &r), -EIO);
	assert_true(there(f->s, a));
}

static int stop_at(void *arg, uint64_t done, uint64_t total, bool bytes)
{
	int *left = arg;

	(void)done;
	(void)total;
	(void)bytes;
	return (*left)-- == 0;
}

static void test_stopped(void **state)
{
	struct fixture *f = *state;
	struct store_gc_result r;
	int at = 0, rc;

	for (uint64_t i = 0; i < 40; i++) {
		uint64_t id = put(f->s, i, 100000);

		assert_int_equal(publish(f->s, 100 + i, i % 2 ? id : 0, 100000), 0);
		chunk_unpin(f->s, id);
	}
	do {
		int left = at++;

		rc = store_gc(f->s, stop_at, &left, &r);
		assert_true(rc == 0 || rc == -ECANCELED);
		if (at == 3)
			cycle(f);
	} while (rc);
	assert_true(at > 3);
	assert_null(f->s->chunks->pins.marks);
	assert_int_equal(collect(f->s).live_chunks, 20);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM chunk_index"), 20);
}

/* Between two looks of a collection at the manifests, pieces of a row that it has not seen are joined to one that it has. */
struct joining {
	struct store *s;
	uint64_t version, between;
	bool done;
};

static int join_rows(void *arg, uint64_t done, uint64_t total, bool bytes)
{
	struct joining *j = arg;
	struct piece p = { .len = (2 << 20) - 500, .id = j->between };

	(void)total;
	(void)bytes;
	if (j->done || done != j->version)
		return 0;
	j->done = true;
	assert_int_equal(meta_begin(j->s), 0);
	assert_int_equal(meta_end(j->s, manifest_replace(j->s, j->version, 1000, 1000 + p.len, &p, 1)), 0);
	return 0;
}

static void test_joined_rows(void **state)
{
	struct fixture *f = *state;
	struct joining j = { .s = f->s, .version = 1000, .between = put(f->s, 3, 5000) };
	uint64_t a = put(f->s, 1, 1000), b = put(f->s, 2, 1000);
	struct piece pieces[] = { { .len = 1000, .id = a }, { .len = (2 << 20) - 1000 }, { .len = 1000, .id = b } };

	/* The first row of the last version is the last of those that are read at once. */
	for (uint64_t i = 0; i < 255; i++)
		assert_int_equal(publish(f->s, 100 + i, a, 1000), 0);
	assert_int_equal(meta_begin(f->s), 0);
	assert_int_equal(meta_end(f->s, manifest_replace(f->s, j.version, 0, (2 << 20) + 1000, pieces, 3)), 0);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM manifest WHERE version = 1000"), 2);
	chunk_unpin(f->s, a);
	chunk_unpin(f->s, b);
	assert_int_equal(store_gc(f->s, join_rows, &j, NULL), 0);
	assert_true(j.done);
	assert_int_equal(meta_number(f->s, "SELECT count(*) FROM manifest WHERE version = 1000"), 1);
	assert_true(whole(f->s, b, 2, 1000));
	chunk_unpin(f->s, j.between);
}

static void test_by_itself(void **state)
{
	struct fixture *f = *state;
	struct chunk_counters n;
	uint64_t id = put(f->s, 1, 100000);

	chunk_unpin(f->s, id);
	assert_int_equal(gc_step(f->s), 0);
	assert_false(f->s->chunks->gc.started);
	atomic_store(&f->s->tree->garbage, (uint64_t)200 << 20);
	assert_int_equal(gc_step(f->s), 0);
	assert_true(f->s->chunks->gc.started);
	for (int i = 0; i < 60000 && f->s->chunks->gc.started; i++) {
		assert_int_equal(gc_step(f->s), 0);
		usleep(1000);
	}
	assert_false(f->s->chunks->gc.started);
	chunk_counters(f->s, &n);
	assert_int_equal(n.gc_runs, 1);
	assert_int_equal(n.gc_chunks, 1);
	/* Not again so soon. */
	atomic_store(&f->s->tree->garbage, (uint64_t)200 << 20);
	assert_int_equal(gc_step(f->s), 0);
	assert_false(f->s->chunks->gc.started);
	gc_stop(f->s);
	f->s->chunks->gc.next_ns = 0;
	assert_int_equal(gc_step(f->s), 0);
	assert_false(f->s->chunks->gc.started);
	gc_stop(f->s);
}

/* --- while others work ---------------------------------------------------------------------------- */

enum { WRITERS = 3, SLOTS = 12, CONTENTS = 30, LEN = 4000, ROUNDS = 400 };

struct writer {
	struct store *s;
	uint64_t number;
	uint64_t slot[SLOTS];      /* content of each of its versions; 0 none */
	atomic_bool *stop;
	_Atomic unsigned rounds;
	const char *_Atomic failed;
};

/* Publishes, copies and drops versions made of a few contents that all share, so chunks die and are matched all the time. */
static void *write_on(void *arg)
{
	struct writer *w = arg;
	uint64_t x = w->number * 99 + 3;

	while (!atomic_load(w->stop) && !w->failed) {
		w->rounds++;
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		uint64_t i = (x >> 33) % SLOTS, content = (x >> 45) % CONTENTS + 1;
		uint64_t version = w->number * 100 + i + 1;

		if (x >> 62 == 0) {
			if (publish(w->s, version, 0, LEN))
				w->failed = "drop";
			w->slot[i] = 0;
			continue;
		}
		struct chunk_job *j = submit(w->s, content, LEN);

		if (!j || chunk_wait(w->s, j) || ((x >> 20 & 7) == 0 && chunks_commit(w->s))) {
			w->failed = "store";
			return NULL;
		}
		if (!whole(w->s, j->id, content, LEN))
			w->failed = "gone before it was named";
		if (publish(w->s, version, j->id, LEN))
			w->failed = "publish";
		w->slot[i] = content;
		chunk_unpin(w->s, j->id);
		chunk_job_unref(j);
	}
	return NULL;
}

static int first_piece(void *arg, uint64_t off, const struct piece *p)
{
	(void)off;
	if (p->id)
		*(uint64_t *)arg = p->id;
	return 0;
}

static void test_while_others_write(void **state)
{
	struct fixture *f = *state;
	struct writer w[WRITERS];
	pthread_t t[WRITERS];
	atomic_bool stop = false;
	uint64_t gone = 0;

	for (unsigned i = 0; i < WRITERS; i++) {
		w[i] = (struct writer){ .s = f->s, .number = i + 1, .stop = &stop };
		assert_int_equal(pthread_create(&t[i], NULL, write_on, &w[i]), 0);
	}
	for (unsigned least = 0; least < ROUNDS;) {
		gone += collect(f->s).chunks;
		least = UINT_MAX;
		for (int i = 0; i < WRITERS; i++)
			if (w[i].rounds < least)
				least = w[i].failed ? UINT_MAX : w[i].rounds;
	}
	atomic_store(&stop, true);
	for (int i = 0; i < WRITERS; i++)
		pthread_join(t[i], NULL);
	gone += collect(f->s).chunks;
	assert_true(gone > 0);
	for (int k = 0; k < 2; k++) {
		bool used[CONTENTS + 1] = { false };
		int contents = 0;

		for (uint64_t i = 0; i < WRITERS; i++) {
			if (w[i].failed)
				fail_msg("writer: %s", w[i].failed);
			for (uint64_t n = 0; n < SLOTS; n++) {
				uint64_t id = 0;

				assert_int_equal(manifest_walk(f->s, (i + 1) * 100 + n + 1, first_piece, &id), 0);
				assert_int_equal(id != 0, w[i].slot[n] != 0);
				if (id)
					assert_true(whole(f->s, id, w[i].slot[n], LEN));
				contents += w[i].slot[n] && !used[w[i].slot[n]];
				used[w[i].slot[n]] = true;
			}
		}
		assert_int_equal(collect(f->s).live_chunks, contents);
		cycle(f);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_all_goes), T(test_what_stays), T(test_staged_stays), T(test_bases), T(test_stale_index),
		T(test_bad_manifest), T(test_stopped), T(test_joined_rows), T(test_by_itself), T(test_while_others_write),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
