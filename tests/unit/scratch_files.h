/*
 * scratch_files.h: files in a scratch store: made, replaced, appended to, read and compared, in a few words.  Include after
 * scratch_chunks.h.
 */
#ifndef SCRATCH_FILES_H
#define SCRATCH_FILES_H

#include <stdint.h>
#include <sys/stat.h>

#include "store/store_admin.h"
#include "store/store_file.h"
#include "store/store_tree.h"

static inline void expect(int rc, const char *what)
{
	if (rc)
		fail_msg("%s: %d: %s", what, rc, ckpt_errmsg());
}

/* Bytes that depend on the seed: text when it is even, noise when it is odd. malloc()ed. */
static inline uint8_t *some_bytes(uint64_t seed, size_t n)
{
	uint8_t *p = malloc(n ? n : 1);
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = seed % 2 ? (uint8_t)(x >> 24) : (uint8_t)"{\"accuracy\": 0.0123456789,\n \"loss\"}"[x % 8 + i % 28];
	}
	return p;
}

static inline uint64_t make_in(struct store *s, uint64_t parent, const char *name, uint32_t type)
{
	struct store_new n = { .mode = type | 0755, .provisional = type == S_IFREG };
	struct store_attr a;

	expect(store_make(s, parent, name, strlen(name), &n, &a), name);
	return a.ino;
}

static inline uint64_t find_in(struct store *s, uint64_t parent, const char *name)
{
	struct store_attr a;

	return store_lookup(s, parent, name, strlen(name), &a) ? 0 : a.ino;
}

static inline uint64_t version_of(struct store *s, uint64_t ino)
{
	struct store_attr a;

	expect(store_getattr(s, ino, &a), "getattr");
	return a.version;
}

/* The file's whole content becomes these bytes. */
static inline void put_file(struct store *s, uint64_t ino, const void *p, size_t n)
{
	struct store_file *f;

	expect(store_file_open(s, ino, &f), "open");
	expect(store_file_replace(f), "replace");
	expect(store_file_write(f, 0, p, n), "write");
	expect(store_file_publish(f, false), "publish");
	store_file_close(f);
}

static inline uint64_t put_some(struct store *s, uint64_t parent, const char *name, uint64_t seed, size_t n)
{
	uint64_t ino = find_in(s, parent, name);
	uint8_t *p = some_bytes(seed, n);

	if (!ino)
		ino = make_in(s, parent, name, S_IFREG);
	put_file(s, ino, p, n);
	free(p);
	return ino;
}

static inline void append_file(struct store *s, uint64_t ino, const void *p, size_t n)
{
	struct store_file *f;

	expect(store_file_open(s, ino, &f), "open");
	expect(store_file_write(f, STORE_APPEND, p, n), "append");
	expect(store_file_publish(f, false), "publish");
	store_file_close(f);
}

static inline void read_is(struct store_file *f, const void *want, size_t n)
{
	uint8_t *got = malloc(n + 1);
	ssize_t r = store_file_read(f, 0, got, n + 1);

	if (r != (ssize_t)n)
		fail_msg("read %zd bytes for %zu: %s", r, n, r < 0 ? ckpt_errmsg() : "");
	assert_memory_equal(got, want, n);
	free(got);
}

static inline void file_is(struct store *s, uint64_t ino, uint64_t seed, size_t n)
{
	uint8_t *want = some_bytes(seed, n);
	struct store_file *f;

	expect(store_file_open(s, ino, &f), "open");
	read_is(f, want, n);
	store_file_close(f);
	free(want);
}

static inline void remove_from(struct store *s, uint64_t parent, const char *name)
{
	struct store_attr a;

	expect(store_unlink(s, parent, name, strlen(name), &a), name);
	if (!a.nlink)
		expect(store_reap(s, a.ino), name);
}

static inline void say_problem(void *arg, const char *line)
{
	(void)arg;
	print_error("verify: %s\n", line);
}

static inline void verify_clean(struct store *s)
{
	struct store_verify_result res;

	expect(store_verify(s, true, say_problem, NULL, NULL, &res), "verify");
	assert_int_equal(res.problems, 0);
}

#endif
