/*
 * test_file_same.c: what two files are known to have in common without reading them: never bytes that differ, and all that was
 * cloned or found again.
 */
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
#include "store/store_file.h"

enum { SIZE = 3 << 20, CHANGED = 1 << 20, CHANGED_LEN = 5000 };

static char dir[64];
static struct store *store;
static uint8_t *bytes;

static int setup(void **state)
{
	struct store_options o = { .create = true, .history_seconds = 0 };
	uint64_t x = 88172645463325252;

	(void)state;
	strcpy(dir, "/tmp/test_file_same.XXXXXX");
	bytes = malloc(SIZE);
	if (bytes == NULL || mkdtemp(dir) == NULL)
		return -1;
	for (size_t i = 0; i < SIZE; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		bytes[i] = (uint8_t)(x >> 32);
	}
	return store_open(dir, &o, &store);
}

static int teardown(void **state)
{
	pid_t pid;

	(void)state;
	store_close(store);
	free(bytes);
	pid = fork();
	if (pid == 0) {
		execlp("rm", "rm", "-rf", dir, (char *)NULL);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
	return 0;
}

static struct store_file *make(const char *name)
{
	struct store_new n = { .mode = S_IFREG | 0644 };
	struct store_attr a;
	struct store_file *f;

	assert_int_equal(store_make(store, STORE_ROOT, name, strlen(name), &n, &a), 0);
	assert_int_equal(store_file_open(store, a.ino, &f), 0);
	return f;
}

static struct store_file *with_bytes(const char *name)
{
	struct store_file *f = make(name);

	assert_int_equal(store_file_write(f, 0, bytes, SIZE), 0);
	assert_int_equal(store_file_publish(f, false), 0);
	return f;
}

/* Goes through both; how many bytes are known to be the same. None of [from, to) may be. */
static uint64_t known(struct store_file *a, struct store_file *b, uint64_t from, uint64_t to)
{
	uint64_t sum = 0;

	for (uint64_t off = 0; off < SIZE;) {
		int64_t n = store_file_same(a, off, b, off, SIZE - off);

		assert_true(n >= 0 && (uint64_t)n <= SIZE - off);
		assert_true(n == 0 || off + (uint64_t)n <= from || off >= to);
		sum += (uint64_t)n;
		off += n > 0 ? (uint64_t)n : 1000;
	}
	return sum;
}

static void same(void **state)
{
	struct store_file *a = with_bytes("a"), *again = with_bytes("again"), *changed = make("changed");
	struct store_file *held = make("held"), *hole = make("hole");
	uint8_t other[CHANGED_LEN];

	(void)state;
	assert_int_equal(store_file_same(a, 0, a, 0, SIZE), SIZE);
	assert_int_equal(store_file_same(a, 0, again, 0, SIZE), SIZE);
	assert_int_equal(store_file_same(a, 7, again, 7, 100), 100);
	assert_int_equal(store_file_same(a, 0, again, 1, 100), 0);
	assert_int_equal(store_file_same(a, SIZE, again, SIZE, 1), 0);
	assert_int_equal(store_file_same(a, UINT64_MAX, again, 0, UINT64_MAX), 0);
	assert_int_equal(store_file_same(a, SIZE - 5, again, SIZE - 5, UINT64_MAX), 5);

	assert_int_equal(store_file_clone(a, 0, changed, 0, SIZE), SIZE);
	for (size_t i = 0; i < sizeof(other); i++)
		other[i] = (uint8_t)~bytes[CHANGED + i];
	assert_int_equal(store_file_write(changed, CHANGED, other, sizeof(other)), 0);
	/* In a session as well as published. */
	assert_true(known(a, changed, CHANGED, CHANGED + CHANGED_LEN) > SIZE / 2);
	assert_int_equal(store_file_publish(changed, false), 0);
	assert_true(known(a, changed, CHANGED, CHANGED + CHANGED_LEN) > SIZE / 2);

	/* What is in memory only is not known. */
	assert_int_equal(store_file_write(held, 0, bytes, 1000), 0);
	assert_int_equal(store_file_same(a, 0, held, 0, 1000), 0);

	assert_int_equal(store_file_truncate(hole, SIZE), 0);
	assert_int_equal(store_file_same(hole, 0, hole, 5000, 10000), 10000);
	assert_int_equal(store_file_same(a, 0, hole, 0, SIZE), 0);
	store_file_close(a);
	store_file_close(again);
	store_file_close(changed);
	store_file_close(held);
	store_file_close(hole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(same, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
