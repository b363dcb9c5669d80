/*
 * test_faults_memory.c: the Nth allocation fails (fault_sweep.h); and a disk that is too small.
 */
#include "fault_sweep.h"

static void test_memory(void **state)
{
	(void)state;
	both("allocation", FAULT_ALLOC, false);
	sweep("allocation", FAULT_ALLOC, false, 3); /* what undoes a failure fails too */
	assert_int_equal(complaints, 0);
}

static void test_sqlite_memory(void **state)
{
	(void)state;
	both("allocation of SQLite's", FAULT_SQLITE_ALLOC, false);
}

/* --- a small disk --------------------------------------------------------------------------------- */

/*
 * A disk that is too small for the work: every operation either is done or fails for want of space and is not, the
 * store never fails, and room comes back when something goes.
 */
static void test_small_disk(void **state)
{
	enum { WORKS = 4, OPERATIONS = 200 };

	(void)state;
	complaints = 0;
	for (unsigned i = 0; i < WORKS; i++) {
		struct fault_plan none = { .kind = FAULT_KINDS };
		unsigned refused = 0, worked = 0;
		const char *why = NULL;
		struct world w;

		char file[300];

		snprintf(file, sizeof file, "%s/reserve", dir);
		unlink(file);
		capacity = OTHERS + ((uint64_t)(16 + 3 * i) << 20);
		small = disk_new();
		disk_limit(small, capacity, beside);
		disk_use(small);
		world_init(&w, dir, small, seed * 10 + i);
		if (world_open(&w))
			fail_msg("store_open: %s", ckpt_errmsg());
		for (unsigned n = 0; n < OPERATIONS && !why; n++) {
			size_t steps = w.nsteps;
			int rc = world_step(&w);

			if (rc == 0) {
				worked++;
				continue;
			}
			refused++;
			if (rc != -ENOSPC)
				why = ckpt_errmsg();
			else if (!w.s)
				break;
			else if (w.nsteps > steps && !world_settle(&w, true, &why) && !why)
				why = "the store has failed";
		}
		if (why)
			complain("a small disk", &none, &w, why);
		size_t lo, hi, events = disk_events(small);

		if (w.s)
			world_crash(&w);
		struct disk *after = disk_copy(small);

		world_range(&w, events, false, &lo, &hi);
		small = NULL;
		why = world_check(&w, after, lo, hi, true);
		if (why)
			complain("after a small disk", &none, &w, why);
		print_message("# a disk of %llu MiB: %u operations, %u refused\n", (unsigned long long)((capacity - OTHERS) >> 20), worked, refused);
		disk_free(after);
		disk_free(w.disk);
		world_release(&w);
	}
	assert_int_equal(complaints, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory), cmocka_unit_test(test_sqlite_memory), cmocka_unit_test(test_small_disk),
	};

	sweep_arguments(argc, argv);
	return cmocka_run_group_tests_name("faults_memory", tests, set_up, tear_down);
}
