/*
 * test_faults.c: the Nth read, write, sync, opening fails (fault_sweep.h).
 */
#include "fault_sweep.h"

static void test_writes(void **state)
{
	(void)state;
	both("write", FAULT_WRITE, false);
}

/* Once is caught by the reserve, the second time in a row is not. */
static void test_full(void **state)
{
	(void)state;
	both("disk full", FAULT_GROW, true);
	sweep("disk full", FAULT_GROW, true, 2);
	assert_int_equal(complaints, 0);
}

/* The same where a transaction is large enough to be undone from its journal. */
static void test_full_large(void **state)
{
	uint64_t was = seed;

	(void)state;
	use_seed(was + 6);
	sweep("disk full", FAULT_GROW, true, 2);
	sweep("disk full", FAULT_GROW, true, 0);
	use_seed(was);
	assert_int_equal(complaints, 0);
}

static void test_syncs(void **state)
{
	(void)state;
	both("sync", FAULT_SYNC, false);
}

static void test_reads(void **state)
{
	(void)state;
	both("read", FAULT_READ, false);
}

static void test_files(void **state)
{
	(void)state;
	both("truncate", FAULT_TRUNCATE, false);
	both("open", FAULT_OPEN, false);
	both("delete", FAULT_DELETE, false);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes), cmocka_unit_test(test_full), cmocka_unit_test(test_full_large), cmocka_unit_test(test_syncs),
		cmocka_unit_test(test_reads), cmocka_unit_test(test_files),
	};

	sweep_arguments(argc, argv);
	return cmocka_run_group_tests_name("faults", tests, set_up, tear_down);
}
