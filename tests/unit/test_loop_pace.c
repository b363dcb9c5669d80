/*
 * test_loop_pace.c: when the thread that reads requests looks out for the next one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/loop_pace.h"

enum { US = 1000, MS = 1000000 };

/* One request `gap` after the last answer, answered within 5 us; returns the time of the answer. */
static int64_t request(struct loop_pace *p, int64_t now, int64_t gap)
{
	loop_pace_arrived(p, now + gap);
	loop_pace_answered(p, now + gap + 5 * US);
	return now + gap + 5 * US;
}

static int64_t many(struct loop_pace *p, int64_t now, int64_t gap, int n)
{
	while (n-- > 0)
		now = request(p, now, gap);
	return now;
}

static bool watches(const struct loop_pace *p, int64_t now)
{
	return loop_pace_watch_until(p, now) > now;
}

static void test_gaps(void **state)
{
	static const struct {
		int64_t gap;
		bool watch;
	} cases[] = {
		{ 0, true }, { 10 * US, true }, { LOOP_PACE_GAP_NS, true },
		{ LOOP_PACE_GAP_NS + 1, false }, { MS, false }, { 3600ll * 1000 * MS, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct loop_pace p = { 0 };
		int64_t now = many(&p, 1000ll * MS, cases[i].gap, 100);

		assert_int_equal(watches(&p, now), cases[i].watch);
	}
}

/* A few requests are not enough, and one that is late begins the count anew. */
static void test_some_in_a_row(void **state)
{
	struct loop_pace p = { 0 };
	int64_t now = 1000ll * MS;

	(void)state;
	assert_false(watches(&p, now));
	now = request(&p, now, MS);
	for (int i = 1; i < LOOP_PACE_QUICK_MIN; i++) {
		now = request(&p, now, 10 * US);
		assert_false(watches(&p, now));
	}
	now = request(&p, now, 10 * US);
	assert_int_equal(loop_pace_watch_until(&p, now), now + LOOP_PACE_WATCH_NS);
	now = request(&p, now, MS);
	assert_false(watches(&p, now));
}

/* Each time it was in vain more is needed, up to a limit; once it was not, little is needed again. */
static void test_in_vain(void **state)
{
	struct loop_pace p = { 0 };
	int64_t now = many(&p, 1000ll * MS, US, 10);
	int more = LOOP_PACE_QUICK_MIN;

	(void)state;
	assert_true(watches(&p, now));
	for (int i = 0; i < 20; i++) {
		loop_pace_in_vain(&p);
		more = more < LOOP_PACE_QUICK_MAX ? more * 2 : more;
		now = many(&p, now, LOOP_PACE_WATCH_NS + US, more - 1);
		assert_false(watches(&p, now));
		now = request(&p, now, LOOP_PACE_WATCH_NS + US);
		assert_true(watches(&p, now));
	}
	assert_int_equal(more, LOOP_PACE_QUICK_MAX);
	now = request(&p, now, US);
	loop_pace_in_vain(&p);
	now = many(&p, now, US, 2 * LOOP_PACE_QUICK_MIN - 1);
	assert_false(watches(&p, now));
	now = request(&p, now, US);
	assert_true(watches(&p, now));
}

/* Whoever needs the processor has it for a while, and for longer and longer as long as it goes on. */
static void test_crowd(void **state)
{
	struct loop_pace p = { 0 };
	int64_t now = many(&p, 1000ll * MS, US, 10), rest = LOOP_PACE_REST_MIN_NS;

	(void)state;
	assert_false(loop_pace_crowded(&p, now - LOOP_PACE_CROWD_NS + 1, now));
	assert_true(watches(&p, now));
	for (int i = 0; i < 20; i++) {
		assert_true(loop_pace_crowded(&p, now - 3 * MS, now));
		assert_false(watches(&p, now));
		now = request(&p, now + rest - MS, US);
		now = many(&p, now, US, 10);
		assert_false(watches(&p, now));
		now = many(&p, now, US, (int)(MS / (6 * US)) + 1);
		assert_true(watches(&p, now));
		if (rest < LOOP_PACE_REST_MAX_NS)
			rest *= 2;
		assert_in_range(rest, LOOP_PACE_REST_MIN_NS, LOOP_PACE_REST_MAX_NS);
	}
	/* Once it was calm for long enough it begins with a short rest again. */
	now += rest + MS;
	assert_true(loop_pace_crowded(&p, now - 3 * MS, now));
	now = many(&p, now + LOOP_PACE_REST_MIN_NS, US, 10);
	assert_true(watches(&p, now));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gaps),
		cmocka_unit_test(test_some_in_a_row),
		cmocka_unit_test(test_in_vain),
		cmocka_unit_test(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
