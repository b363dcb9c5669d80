/*
 * test_reserve.c: the file `reserve` is taken as far as there is room, given up once, and taken back.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/ckpt_error.h"
#include "store/reserve_internal.h"

enum { MIB = 1 << 20 };
#define HOUR_NS INT64_C(3600000000000)

static char dir[200];
static uint64_t total, avail; /* of the disk, as statvfs() tells it; `avail` without the reserve */

static uint64_t size(void)
{
	char file[300];
	struct stat st;

	snprintf(file, sizeof file, "%s/reserve", dir);
	return stat(file, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* In place of libc's. */
int statvfs(const char *path, struct statvfs *out)
{
	uint64_t left = avail > size() ? avail - size() : 0;

	(void)path;
	memset(out, 0, sizeof *out);
	out->f_bsize = out->f_frsize = 4096;
	out->f_blocks = total / 4096;
	out->f_bfree = out->f_bavail = left / 4096;
	return 0;
}

static int setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(dir, sizeof dir, "%s/ckptfs-reserve-XXXXXX", tmp ? tmp : "/tmp");
	total = (uint64_t)1024 * MIB;
	avail = (uint64_t)512 * MIB;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char file[300];

	(void)state;
	snprintf(file, sizeof file, "%s/reserve", dir);
	unlink(file);
	rmdir(file);
	return rmdir(dir);
}

static void test_sizes(void **state)
{
	static const struct { uint64_t total, avail, want; bool short_of; } disks[] = {
		{ 1024, 512, 8, false }, { 64, 60, 4, false }, { 1024, 6, 3, true }, { 1024, 0, 0, true },
	};

	char file[300];

	(void)state;
	snprintf(file, sizeof file, "%s/reserve", dir);
	for (size_t i = 0; i < sizeof disks / sizeof *disks; i++) {
		struct reserve r;

		unlink(file);
		total = disks[i].total * MIB;
		avail = disks[i].avail * MIB;
		reserve_init(&r, dir, true);
		assert_int_equal(reserve_open(&r), 0);
		assert_int_equal(size(), disks[i].want * MIB);
		assert_int_equal(r.short_of, disks[i].short_of);
		assert_int_equal(r.none, disks[i].want == 0);
		reserve_close(&r, true);
		assert_int_equal(size(), disks[i].want * MIB);
		if (size() == 0)
			continue;
		reserve_init(&r, dir, true);
		assert_int_equal(reserve_open(&r), 0);
		reserve_close(&r, false);
		assert_int_equal(size(), RESERVE_CLOSED);
	}
}

static void test_given_up(void **state)
{
	struct reserve r;

	(void)state;
	reserve_init(&r, dir, true);
	assert_int_equal(reserve_open(&r), 0);
	avail = size();
	assert_true(reserve_give_up(&r));
	assert_int_equal(size(), 0);
	assert_true(r.none && r.short_of);
	/* Another one who met the full disk in the same moment may write, too; later nothing is won. */
	r.given_ns += HOUR_NS; /* however long it took to come here */
	assert_true(reserve_give_up(&r));
	r.given_ns -= 2 * HOUR_NS;
	assert_false(reserve_give_up(&r));
	/* Not for a trifle, and not while somebody else is at it. */
	avail = RESERVE_CLOSED;
	reserve_tick(&r);
	assert_int_equal(size(), 0);
	avail = (uint64_t)512 * MIB;
	pthread_mutex_lock(&r.lock);
	reserve_tick(&r);
	pthread_mutex_unlock(&r.lock);
	assert_int_equal(size(), 0);
	reserve_tick(&r);
	assert_int_equal(size(), RESERVE_OPEN);
	assert_false(r.none || r.short_of);
	reserve_close(&r, false);
}

/* A file that can't be opened is an error when the store is; later it is one more thing to try again. */
static void test_no_file(void **state)
{
	struct reserve r;
	char file[300];

	(void)state;
	snprintf(file, sizeof file, "%s/reserve", dir);
	assert_int_equal(mkdir(file, 0700), 0);
	reserve_init(&r, dir, true);
	assert_int_equal(reserve_open(&r), -EISDIR);
	assert_false(reserve_give_up(&r));
	assert_int_equal(rmdir(file), 0);
	assert_true(r.short_of);
	reserve_tick(&r);
	assert_int_equal(size(), RESERVE_OPEN);
	assert_true(reserve_give_up(&r));
	reserve_close(&r, false);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_sizes), T(test_given_up), T(test_no_file) };

	return cmocka_run_group_tests_name("reserve", tests, NULL, NULL);
}
