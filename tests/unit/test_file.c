/*
 * test_file.c: a file's content against a plain array of bytes.
 *
 * Random operations, small and large, in place and streaming, with publish, abort, reopen and crash between them; after
 * each step what the file reads is compared with the model.  The seed is printed when a step fails and
 * may be given as the first argument.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/ckpt_error.h"
#include "store/store.h"
#include "store/store_admin.h"
#include "store/store_file.h"
#include "store/store_history.h"

enum { MODEL_MAX = 6 << 20 };

static char dir[64];
static uint64_t seed = 1;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static struct store *reopen(void)
{
	struct store_options o = { .create = true, .history_seconds = 3600 };
	struct store *s;
	int rc = store_open(dir, &o, &s);

	if (rc)
		fail_msg("store_open: %s", ckpt_errmsg());
	return s;
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_file.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		execlp("rm", "rm", "-rf", dir, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
	return 0;
}

static uint64_t make_file(struct store *s, const char *name, bool provisional)
{
	struct store_new n = { .mode = S_IFREG | 0644, .provisional = provisional };
	struct store_attr a;

	assert_int_equal(store_make(s, STORE_ROOT, name, strlen(name), &n, &a), 0);
	return a.ino;
}

static uint64_t find(struct store *s, const char *name)
{
	struct store_attr a;
	int rc = store_lookup(s, STORE_ROOT, name, strlen(name), &a);

	return rc ? 0 : a.ino;
}

static void compare(struct store_file *f, const uint8_t *model, size_t size, uint64_t from, uint64_t len)
{
	uint8_t *buf = malloc(len ? len : 1);
	size_t want = from >= size ? 0 : size - from < len ? size - from : len;
	ssize_t n = store_file_read(f, from, buf, len);

	if (n != (ssize_t)want)
		fail_msg("read %zu at %llu: %zd, want %zu (%s)", (size_t)len, (unsigned long long)from, n, want,
				n < 0 ? ckpt_errmsg() : "");
	for (size_t i = 0; i < want; i++)
		if (buf[i] != model[from + i])
			fail_msg("byte %llu of %zu differs: %02x, want %02x", (unsigned long long)(from + i), size, buf[i],
					model[from + i]);
	free(buf);
}

static void fill(uint8_t *p, size_t n)
{
	int kind = (int)(rnd() % 3);

	for (size_t i = 0; i < n; i++)
		p[i] = kind == 0 ? (uint8_t)rnd() : kind == 1 ? (uint8_t)(i >> 10) : 0;
}

static size_t some_size(void)
{
	switch (rnd() % 6) {
	case 0:
		return rnd() % 64 + 1;
	case 1:
		return 4096;
	case 2:
		return rnd() % 40000 + 1;
	case 3:
		return 65536;
	case 4:
		return rnd() % 300000 + 1;
	default:
		return rnd() % 1500000 + 1;
	}
}

static void random_session(unsigned steps, uint64_t start)
{
	uint8_t *now = calloc(1, MODEL_MAX), *kept = calloc(1, MODEL_MAX), *buf = malloc(MODEL_MAX);
	size_t size = 0, kept_size = 0;
	struct store *s = reopen();
	struct store_file *f;
	uint64_t cursor = 0;

	seed = start;
	make_file(s, "f", false);
	assert_int_equal(store_commit(s, false), 0);
	assert_int_equal(store_file_open(s, find(s, "f"), &f), 0);
	for (unsigned i = 0; i < steps; i++) {
		uint64_t off, len;
		int rc = 0;

		switch (rnd() % 24) {
		case 0: case 1: case 2: case 3: case 4: case 5: case 6: /* go on */
			off = cursor;
			len = some_size();
			goto write;
		case 7: case 8: case 9: /* anywhere */
			off = rnd() % (size + 100000);
			len = some_size();
			goto write;
		case 10: case 11: /* at the end */
			off = size;
			len = rnd() % 3000 + 1;
		write:
			if (off + len > MODEL_MAX)
				break;
			fill(buf, len);
			rc = store_file_write(f, off == size && rnd() % 2 ? STORE_APPEND : off, buf, len);
			memcpy(now + off, buf, len);
			if (off + len > size)
				size = off + len;
			cursor = off + len;
			break;
		case 12: /* truncate */
			off = rnd() % 4 ? rnd() % (size + 1) : rnd() % (MODEL_MAX / 2);
			rc = store_file_truncate(f, off);
			if (off < size)
				memset(now + off, 0, size - off);
			size = off;
			break;
		case 13:
			if (rnd() % 4)
				break;
			rc = store_file_replace(f);
			memset(now, 0, size);
			size = 0;
			cursor = 0;
			break;
		case 14: /* punch */
			off = rnd() % (size + 1);
			len = some_size();
			rc = store_file_punch(f, off, len);
			if (off < size)
				memset(now + off, 0, off + len < size ? len : size - off);
			break;
		case 15: case 16: case 17:
			rc = store_file_publish(f, rnd() % 8 == 0);
			memcpy(kept, now, MODEL_MAX);
			kept_size = size;
			break;
		case 18:
			if (rnd() % 2)
				break;
			rc = store_file_abort(f, rnd() % 2);
			memcpy(now, kept, MODEL_MAX);
			size = kept_size;
			break;
		case 19: /* a range of itself */
			off = rnd() % (size + 1);
			len = some_size();
			if (off + len > size || size + len > MODEL_MAX)
				break;
			{
				int64_t n = store_file_clone(f, off, f, size, len);

				if (n != (int64_t)len)
					fail_msg("clone: %lld, want %llu: %s", (long long)n, (unsigned long long)len, ckpt_errmsg());
				memcpy(now + size, now + off, len);
				size += len;
			}
			break;
		case 20:
			if (rnd() % 3)
				break;
			rc = store_file_publish(f, false);
			assert_int_equal(rc, 0);
			memcpy(kept, now, MODEL_MAX);
			kept_size = size;
			store_file_close(f);
			assert_int_equal(store_close(s), 0);
			s = reopen();
			assert_int_equal(store_file_open(s, find(s, "f"), &f), 0);
			break;
		case 21: /* the process dies */
			if (rnd() % 3)
				break;
			/* A crash drops the open transaction; what was published is committed. */
			store_file_close(f);
			store_crash(s);
			s = reopen();
			assert_int_equal(store_file_open(s, find(s, "f"), &f), 0);
			memcpy(now, kept, MODEL_MAX);
			size = kept_size;
			break;
		case 22:
			store_tick(s);
			break;
		default:
			break;
		}
		if (rc)
			fail_msg("seed %llu step %u: %s", (unsigned long long)start, i, ckpt_errmsg());
		compare(f, now, size, rnd() % (size + 1), some_size());
		if (rnd() % 16 == 0)
			compare(f, now, size, 0, MODEL_MAX);
	}
	compare(f, now, size, 0, MODEL_MAX);
	assert_int_equal(store_file_publish(f, true), 0);
	store_file_close(f);
	assert_int_equal(store_close(s), 0);
	s = reopen();
	assert_int_equal(store_file_open(s, find(s, "f"), &f), 0);
	compare(f, now, size, 0, MODEL_MAX);
	store_file_close(f);
	assert_int_equal(store_unlink(s, STORE_ROOT, "f", 1, &(struct store_attr){ 0 }), 0);
	assert_int_equal(store_close(s), 0);
	free(now);
	free(kept);
	free(buf);
}

static void test_random(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 12; i++) {
		print_message("seed %llu\n", (unsigned long long)(i * 7919));
		random_session(150, i * 7919);
	}
}

/* A torn session leaves the version before, and its bytes in the history. */
static void test_abort(void **state)
{
	struct store_file_state st;
	struct store *s = reopen();
	struct store_file *f;
	struct store_attr a;
	uint64_t ino = make_file(s, "a", false);
	uint8_t old[100000], new[70000], got[100000];

	(void)state;
	memset(old, 'o', sizeof(old));
	memset(new, 'n', sizeof(new));
	assert_int_equal(store_file_open(s, ino, &f), 0);
	assert_int_equal(store_file_write(f, 0, old, sizeof(old)), 0);
	assert_int_equal(store_file_publish(f, false), 0);
	assert_int_equal(store_file_replace(f), 0);
	assert_int_equal(store_file_write(f, 0, new, sizeof(new)), 0);
	store_file_state(f, &st);
	assert_true(st.dirty && st.replacing);
	assert_int_equal(store_getattr(s, ino, &a), 0);
	store_file_stat(f, &a);
	assert_int_equal(a.size, sizeof(new));
	assert_int_equal(store_file_abort(f, true), 0);
	assert_int_equal(store_file_read(f, 0, got, sizeof(got)), sizeof(got));
	assert_memory_equal(got, old, sizeof(old));
	store_file_close(f);
	assert_int_equal(store_close(s), 0);
}

static int take_version(void *arg, const struct store_past *p)
{
	*(struct store_past *)arg = *p;
	return 0;
}

static void test_torn_kept(void **state)
{
	struct store *s = reopen();
	struct store_past past = { 0 };
	struct store_file *f;
	uint8_t got[70000];

	(void)state;
	assert_int_equal(store_history_of(s, "a", 1, take_version, &past), 0);
	assert_int_equal(past.how, STORE_TORN);
	assert_int_equal(past.attr.size, 70000);
	assert_int_equal(store_file_open_version(s, past.version, &f), 0);
	assert_int_equal(store_file_read(f, 0, got, sizeof(got)), sizeof(got));
	for (size_t i = 0; i < sizeof(got); i++)
		assert_int_equal(got[i], 'n');
	store_file_close(f);
	assert_int_equal(store_close(s), 0);
}

/* A file never published is not there after a crash; a published one is. */
static void test_provisional(void **state)
{
	struct store *s = reopen();
	struct store_file *f;

	(void)state;
	assert_int_equal(store_file_open(s, make_file(s, "new", true), &f), 0);
	assert_int_equal(store_file_write(f, 0, "hello", 5), 0);
	assert_int_equal(store_commit(s, false), 0);
	store_file_close(f);
	store_crash(s);
	s = reopen();
	assert_int_equal(find(s, "new"), 0);
	assert_int_equal(store_file_open(s, make_file(s, "new", true), &f), 0);
	assert_int_equal(store_file_write(f, 0, "hello", 5), 0);
	assert_int_equal(store_file_publish(f, false), 0);
	store_file_close(f);
	store_crash(s);
	s = reopen();
	assert_true(find(s, "new") != 0);
	assert_int_equal(store_close(s), 0);
}

/* Holes stay holes, however far. */
static void test_sparse(void **state)
{
	struct store *s = reopen();
	struct store_file *f;
	struct store_attr a;
	uint64_t ino = make_file(s, "sparse", false), at;
	char c[3] = { 0 };

	(void)state;
	assert_int_equal(store_file_open(s, ino, &f), 0);
	assert_int_equal(store_file_truncate(f, (uint64_t)1 << 40), 0);
	assert_int_equal(store_file_write(f, (uint64_t)1 << 39, "xy", 2), 0);
	assert_int_equal(store_file_publish(f, false), 0);
	store_file_close(f);
	assert_int_equal(store_getattr(s, ino, &a), 0);
	assert_int_equal(a.size, (uint64_t)1 << 40);
	assert_true(a.data > 0 && a.data <= 1 << 20);
	assert_int_equal(store_file_open(s, ino, &f), 0);
	assert_int_equal(store_file_seek(f, 0, SEEK_DATA, &at), 0);
	assert_true(at <= (uint64_t)1 << 39 && at > ((uint64_t)1 << 39) - (1 << 20));
	assert_int_equal(store_file_seek(f, (uint64_t)1 << 39, SEEK_HOLE, &at), 0);
	assert_true(at > (uint64_t)1 << 39 && at < ((uint64_t)1 << 39) + (1 << 20));
	assert_int_equal(store_file_seek(f, at, SEEK_DATA, &at), -ENXIO);
	assert_int_equal(store_file_read(f, (uint64_t)1 << 39, c, 2), 2);
	assert_string_equal(c, "xy");
	assert_int_equal(store_file_write(f, UINT64_MAX - 1, "x", 1), -EFBIG);
	store_file_close(f);
	assert_int_equal(store_close(s), 0);
}

/* A line at a time: each published, none a chunk of its own. */
static void test_log(void **state)
{
	struct store *s = reopen();
	struct store_file *f;
	uint64_t ino = make_file(s, "log", false);
	char line[64], *got = malloc(400000), *want = malloc(400000);
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		int len = snprintf(line, sizeof(line), "epoch %d loss 0.%d and some more text\n", i, i * 37);

		assert_int_equal(store_file_open(s, ino, &f), 0);
		assert_int_equal(store_file_write(f, STORE_APPEND, line, (size_t)len), 0);
		assert_int_equal(store_file_publish(f, false), 0);
		store_file_close(f);
		memcpy(want + n, line, (size_t)len);
		n += (size_t)len;
	}
	assert_int_equal(store_file_open(s, ino, &f), 0);
	assert_int_equal(store_file_read(f, 0, got, 400000), (ssize_t)n);
	assert_memory_equal(got, want, n);
	store_file_close(f);
	free(got);
	free(want);
	assert_int_equal(store_close(s), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_torn_kept),
		cmocka_unit_test(test_provisional),
		cmocka_unit_test(test_sparse),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_random),
	};

	if (argc > 1) {
		setup(NULL);
		random_session(argc > 2 ? (unsigned)atoi(argv[2]) : 150, strtoull(argv[1], NULL, 0));
		teardown(NULL);
		return 0;
	}
	return cmocka_run_group_tests_name("file", tests, setup, teardown);
}
