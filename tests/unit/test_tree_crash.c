/*
 * test_tree_crash.c: what becomes of names and inodes in a crash: provisional ones, orphans; and of a store that is only read.
 */
#include "scratch_tree.h"

/* --- crashes ------------------------------------------------------------------------------------------------------- */

static void settle(struct store *s, uint64_t ino)
{
	assert_int_equal(meta_begin(s), 0);
	assert_true(meta_is_provisional(s, ino));
	assert_int_equal(meta_end(s, meta_settle(s, ino)), 0);
}

static void test_provisional(void **state)
{
	struct fixture *f = *state;
	struct store_attr a, b;

	/* made and settled before a commit: no row was written */
	assert_int_equal(make(f->s, "kept", S_IFREG | 0644, true, &a), 0);
	settle(f->s, a.ino);
	assert_int_equal(store_commit(f->s, false), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM orphan"), 0);
	/* committed while provisional: a row, which settling deletes */
	assert_int_equal(make(f->s, "late", S_IFREG | 0644, true, &b), 0);
	assert_int_equal(store_commit(f->s, false), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM orphan"), 1);
	settle(f->s, b.ino);
	assert_int_equal(store_commit(f->s, false), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM orphan"), 0);
	/* settled, and that not committed */
	assert_int_equal(make(f->s, "lost", S_IFREG | 0644, true, &b), 0);
	assert_int_equal(store_setxattr(f->s, b.ino, "user.x", "y", 1, 0), 0);
	assert_int_equal(store_commit(f->s, true), 0);
	settle(f->s, b.ino);
	crash(f);
	assert_int_equal(look(f->s, "kept", &a), 0);
	assert_int_equal(look(f->s, "late", &a), 0);
	assert_int_equal(look(f->s, "lost", &a), -ENOENT);
	assert_int_equal(count(f->s, "SELECT count(*) FROM xattr"), 0);
	check_tree(f->s, 0);
	assert_false(meta_is_provisional(f->s, a.ino));
	/* a rolled back operation leaves nothing in memory either */
	assert_int_equal(make(f->s, "late", S_IFREG | 0644, true, &b), -EEXIST);
	assert_int_equal(store_commit(f->s, false), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM orphan"), 0);
}

/* What may happen to a provisional file before it is published, committed, then a crash: no name of it is left. */
static void test_provisional_moves(void **state)
{
	static const struct {
		struct step steps[3];
		const char *names[3];      /* gone after the crash */
	} cases[] = {
		{ { { 0 } }, { "new" } },
		{ { { MOVE, "new", "d/moved" } }, { "new", "d/moved" } },
		{ { { MOVE, "new", "old" } }, { "new", "old" } },
		{ { { LINK, "new", "d/second" } }, { "new", "d/second" } },
		{ { { LINK, "new", "second" }, { UNLINK, "new" } }, { "new", "second" } },
		{ { { LINK, "new", "d/second" }, { UNLINK, "new" }, { MOVE, "d/second", "third" } }, { "d/second", "third" } },
		{ { { MOVE, "new", "old", 0, RENAME_EXCHANGE } }, { "old" } },
		{ { { UNLINK, "new" } }, { "new" } },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		for (int when = 0; when < 2; when++) { /* commit before the steps too */
			struct fixture *f;
			void *st;
			struct store_attr a;

			(void)state;
			setup(&st);
			f = st;
			assert_int_equal(make(f->s, "d", S_IFDIR | 0755, false, NULL), 0);
			assert_int_equal(make(f->s, "old", S_IFREG | 0644, false, NULL), 0);
			assert_int_equal(make(f->s, "new", S_IFREG | 0644, true, &a), 0);
			if (when == 1)
				assert_int_equal(store_commit(f->s, false), 0);
			for (size_t j = 0; j < 3 && cases[i].steps[j].a != NULL; j++)
				assert_int_equal(step(f->s, &cases[i].steps[j]), 0);
			check_tree(f->s, 0);
			assert_int_equal(store_commit(f->s, false), 0);
			crash(f);
			check_tree(f->s, 0);
			assert_int_equal(store_getattr(f->s, a.ino, &a), -ENOENT);
			for (size_t j = 0; j < 3 && cases[i].names[j] != NULL; j++)
				assert_int_equal(look(f->s, cases[i].names[j], &a), -ENOENT);
			assert_int_equal(count(f->s, "SELECT count(*) FROM orphan"), 0);
			teardown(&st);
		}
	}
}

static void test_orphans(void **state)
{
	struct fixture *f = *state;
	struct store_attr a, b, out;

	assert_int_equal(make(f->s, "a", S_IFREG | 0644, false, &a), 0);
	assert_int_equal(make(f->s, "b", S_IFREG | 0644, false, &b), 0);
	assert_int_equal(store_commit(f->s, false), 0);
	/* not committed: it is back */
	assert_int_equal(store_unlink(f->s, STORE_ROOT, "a", 1, &out), 0);
	crash(f);
	assert_int_equal(look(f->s, "a", &out), 0);
	assert_int_equal(out.nlink, 1);
	/* committed and not reaped: it is reaped */
	assert_int_equal(store_unlink(f->s, STORE_ROOT, "a", 1, &out), 0);
	assert_int_equal(store_commit(f->s, false), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM orphan"), 1);
	assert_int_equal(store_getattr(f->s, a.ino, &out), 0);
	crash(f);
	assert_int_equal(store_getattr(f->s, a.ino, &out), -ENOENT);
	check_tree(f->s, 0);
	/* reaped after its row was written: the row goes */
	assert_int_equal(store_unlink(f->s, STORE_ROOT, "b", 1, &out), 0);
	assert_int_equal(store_commit(f->s, false), 0);
	assert_int_equal(store_reap(f->s, b.ino), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM orphan"), 0);
	/* reaped before a commit: there never was one */
	assert_int_equal(make(f->s, "c", S_IFREG | 0644, true, &a), 0);
	assert_int_equal(store_unlink(f->s, STORE_ROOT, "c", 1, &out), 0);
	assert_true(meta_is_provisional(f->s, a.ino));
	assert_int_equal(store_reap(f->s, a.ino), 0);
	assert_int_equal(store_commit(f->s, false), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM orphan"), 0);
	/* inode numbers do not come back */
	uint64_t last = a.ino;
	assert_int_equal(make(f->s, "d", S_IFREG | 0644, false, &a), 0);
	assert_true(a.ino > last);
	check_tree(f->s, 0);
	/* what is in use has no end */
	assert_int_equal(store_reap(f->s, a.ino), 0);
	assert_int_equal(look(f->s, "d", &a), 0);
}

static void test_many_loose(void **state)
{
	struct fixture *f = *state;
	char name[16];

	for (int i = 0; i < 1000; i++) {
		struct store_attr a;

		snprintf(name, sizeof name, "f%d", i);
		assert_int_equal(make(f->s, name, S_IFREG | 0644, true, &a), 0);
		if (i % 3 == 0)
			settle(f->s, a.ino);
		if (i % 100 == 50)
			assert_int_equal(store_commit(f->s, false), 0);
		if (i % 3 == 1)
			assert_int_equal(remove_path(f->s, name, false), 0);
	}
	assert_int_equal(store_commit(f->s, false), 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM orphan"), 333);
	crash(f);
	check_tree(f->s, 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM inode"), 1 + 334);
}

static void test_readonly(void **state)
{
	struct fixture *f = *state;
	struct store_attr a, p;
	char buf[8];
	int n = 0;

	assert_int_equal(make(f->s, "f", S_IFREG | 0644, false, &a), 0);
	assert_int_equal(make(f->s, "p", S_IFREG | 0644, true, &p), 0);
	assert_int_equal(store_close(f->s), 0);
	open_store(f, true);
	assert_int_equal(make(f->s, "x", S_IFREG | 0644, false, NULL), -EROFS);
	assert_int_equal(link_path(f->s, "f", "g"), -EROFS);
	assert_int_equal(remove_path(f->s, "f", false), -EROFS);
	assert_int_equal(remove_path(f->s, "f", true), -EROFS);
	assert_int_equal(rename_path(f->s, "f", "g", 0), -EROFS);
	assert_int_equal(store_setattr(f->s, a.ino, &a, STORE_SET_MODE, NULL), -EROFS);
	assert_int_equal(store_setxattr(f->s, a.ino, "user.a", "", 0, 0), -EROFS);
	assert_int_equal(store_removexattr(f->s, a.ino, "user.a"), -EROFS);
	assert_int_equal(store_reap(f->s, a.ino), -EROFS);
	assert_int_equal(store_getxattr(f->s, a.ino, "user.a", buf, 8), -ENODATA);
	/* what a crash left can't be removed, and is not shown */
	assert_int_equal(look(f->s, "p", &p), -ENOENT);
	assert_int_equal(store_getattr(f->s, p.ino, &p), -ENOENT);
	assert_int_equal(store_readdir(f->s, STORE_ROOT, 0, true, count_emit, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(store_close(f->s), 0);
	open_store(f, false);
	assert_int_equal(look(f->s, "p", &p), -ENOENT);
	check_tree(f->s, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_provisional, setup, teardown),
		cmocka_unit_test(test_provisional_moves),
		cmocka_unit_test_setup_teardown(test_orphans, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_loose, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
