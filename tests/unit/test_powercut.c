/*
 * test_powercut.c: the power goes, at any moment, and what was promised is there.
 *
 * A workload runs on a disk that logs everything (fault_vfs.h).  Then the disk is rebuilt as a power cut after this or
 * that event may leave it, and the store on it must open, verify with all data, and show the tree as it was after one
 * of the steps that it may show (crash_model.h): so content is old or new and never a mix, and a rename is done or not.
 * Some of these recoveries are cut off themselves, at a random event, and made again.
 *
 *     test_powercut [SEED [CUTS [TEST]]]      CUTS: how many cuts of the long workload are tried
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
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/ckpt_error.h"
#include "crash_model.h"

enum { MESSAGES = 5 };

static char base[200], dir[256];
static struct disk *recorded; /* the disk whose directory store.c syncs, at the moment */
static uint64_t seed = 1;
static size_t cuts = 160;

/* In place of libc's: store.c syncs its directory beside SQLite. Real syncs of real files would only cost time. */
int fsync(int fd)
{
	struct stat st, ours;

	if (recorded && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && stat(dir, &ours) == 0 && st.st_ino == ours.st_ino &&
	    st.st_dev == ours.st_dev)
		disk_sync_dir(recorded);
	return 0;
}

static void use(struct disk *d)
{
	disk_use(d);
	recorded = d;
}

static void remove_base(void)
{
	char cmd[300];

	snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
	assert_int_equal(system(cmd), 0);
}

static int set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(base, sizeof base, "%s/ckptfs-cut-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(base))
		return -1;
	snprintf(dir, sizeof dir, "%s/s.ckptfs", base);
	return fault_vfs_register() == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	remove_base();
	return 0;
}

static uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* --- one cut -------------------------------------------------------------------------------------- */

static unsigned complaints;

static void complain(const char *what, uint64_t of, size_t at, size_t events, enum cut_mode mode, const char *wrong)
{
	if (complaints++ < MESSAGES)
		print_error("%s, seed %llu: cut after event %zu of %zu, %s: %s\n", what, (unsigned long long)of, at, events,
				cut_name[mode], wrong);
}

/* The recovery of disk d is cut off somewhere, and the next one must do. */
static void cut_again(const struct world *w, struct disk *d, size_t lo, size_t hi, const char *what, uint64_t of, size_t at)
{
	struct disk *first = disk_copy(d);
	struct store *s = NULL;

	use(first);
	assert_int_equal(disk_mirror(first, dir), 0);
	if (store_open(dir, &w->opt, &s) == 0)
		store_close(s);
	size_t events = disk_events(first), end = (size_t)(mix(of + at) % (events + 1));
	/* The log begins with the copy, and a copy is on the disk as it is. */
	struct replay *r = replay_on(d, first);
	struct disk *second = replay_cut(r, end, (enum cut_mode)(mix(of + at + 1) % CUT_MODES), of + at);
	use(second);
	const char *wrong = world_check(w, second, lo, hi, false);

	if (wrong) {
		char text[100];

		snprintf(text, sizeof text, "%s, recovery cut after event %zu of %zu", what, end, events);
		complain(text, of, at, events, CUT_ALL, wrong);
	}
	replay_free(r);
	disk_free(second);
	disk_free(first);
}

static void try_cut(const struct world *w, struct replay *r, size_t at, enum cut_mode mode, uint64_t of, const char *what,
		bool changes, bool again)
{
	size_t lo, hi;
	struct disk *d = replay_cut(r, at, mode, mix(of) + at), *fresh = again ? disk_copy(d) : NULL;

	world_range(w, at, mode != CUT_ALL, &lo, &hi);
	use(d);
	const char *wrong = world_check(w, d, lo, hi, changes);

	if (wrong)
		complain(what, of, at, disk_events(w->disk), mode, wrong);
	else if (again)
		cut_again(w, fresh, lo, hi, what, of, at);
	disk_free(fresh);
	disk_free(d);
}

/* --- the tests ------------------------------------------------------------------------------------ */

/* Works `steps` operations long on a new store. */
static void work(struct world *w, uint64_t of, unsigned steps, bool little)
{
	struct disk *d = disk_new();

	remove_base();
	assert_int_equal(mkdir(base, 0700), 0);
	use(d);
	world_init(w, dir, d, of);
	w->little = little;
	if (world_open(w))
		fail_msg("store_open: %s", ckpt_errmsg());
	for (unsigned i = 0; i < steps; i++)
		if (world_step(w))
			fail_msg("seed %llu: operation %u (%s) fails: %s", (unsigned long long)of, i, w->doing, ckpt_errmsg());
}

static void done(struct world *w)
{
	use(NULL);
	disk_free(w->disk);
	world_release(w);
}

/* A store that is being made, cut at every event in every way. */
static void test_making(void **state)
{
	struct world w;

	(void)state;
	complaints = 0;
	work(&w, seed, 0, true);
	assert_int_equal(world_close(&w), 0);
	for (unsigned i = 0; i < 2 * CUT_MODES; i++) {
		enum cut_mode mode = i % CUT_MODES;
		struct replay *r = replay_new(w.disk);

		/* Without a choice once is enough. */
		for (size_t at = 0; (i == mode || mode > CUT_NONE) && at <= disk_events(w.disk); at++)
			try_cut(&w, r, at, mode, seed + i, "making a store", mode == CUT_TORN, mode == CUT_SECTORS);
		replay_free(r);
	}
	done(&w);
	assert_int_equal(complaints, 0);
}

/* A short workload, cut at every event. */
static void test_every_event(void **state)
{
	struct world w;

	(void)state;
	complaints = 0;
	work(&w, seed + 1, 60, true);
	world_crash(&w);
	struct replay *r = replay_new(w.disk);

	for (size_t at = 0; at <= disk_events(w.disk); at++)
		try_cut(&w, r, at, (enum cut_mode)(mix(seed + at) % CUT_MODES), seed + 1, "short work", at % 16 == 0, at % 8 == 3);
	replay_free(r);
	done(&w);
	assert_int_equal(complaints, 0);
}

/* Long ones, cut here and there. */
static void test_long(void **state)
{
	enum { WORKS = 4 };

	(void)state;
	complaints = 0;
	for (unsigned i = 0; i < WORKS; i++) {
		uint64_t of = seed + 100 + i;
		struct world w;

		work(&w, of, 160, false);
		if (i % 2)
			assert_int_equal(world_close(&w), 0);
		else
			world_crash(&w);
		struct replay *r = replay_new(w.disk);
		size_t events = disk_events(w.disk), n = cuts / WORKS;

		print_message("# long work, seed %llu: %zu steps, %zu promises, %zu events\n", (unsigned long long)of, w.nsteps,
				w.npromises, events);
		for (size_t c = 0; c < n; c++) {
			size_t from = events * c / n, to = events * (c + 1) / n;
			uint64_t dice = mix(of * 1000 + c);

			try_cut(&w, r, from + (size_t)(dice % (to - from + 1)), (enum cut_mode)((dice >> 32) % CUT_MODES), of,
					"long work", c % 8 == 0, c % 5 == 2);
		}
		replay_free(r);
		done(&w);
	}
	assert_int_equal(complaints, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_making),
		cmocka_unit_test(test_every_event),
		cmocka_unit_test(test_long),
	};

	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		cuts = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		cmocka_set_test_filter(argv[3]);
	return cmocka_run_group_tests_name("powercut", tests, set_up, tear_down);
}
