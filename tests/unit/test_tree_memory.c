/*
 * test_tree_memory.c: what the tree keeps in memory: times that are written later, attributes and names read lately.  Whatever is kept,
 * what is shown is what the rows would say, and a crash loses no more than the times of the last second.
 */
#include "scratch_tree.h"

static struct store_attr attr_of(struct store *s, const char *path)
{
	struct store_attr a;

	if (look(s, path, &a) < 0)
		fail_msg("'%s': %s", path, ckpt_errmsg());
	return a;
}

static void check_same(struct store *s, const char *path, const struct store_attr *want)
{
	struct store_attr a = attr_of(s, path);

	assert_memory_equal(&a, want, sizeof a);
}

static bool later(struct timespec a, struct timespec b)
{
	return meta_ns(a) > meta_ns(b);
}

/* --- times that are late --------------------------------------------------------------------------------------- */

/* A directory "d" with a file "d/f", both with their times written, and then the file renamed to "d/g". */
static void renamed(struct store *s, struct store_attr *d, struct store_attr *g)
{
	struct store_attr d0, f0;

	assert_int_equal(make(s, "d", S_IFDIR | 0755, false, NULL), 0);
	assert_int_equal(make(s, "d/f", S_IFREG | 0644, false, NULL), 0);
	assert_int_equal(store_commit(s, false), 0);
	assert_false(meta_dirty(s));
	d0 = attr_of(s, "d");
	f0 = attr_of(s, "d/f");
	assert_int_equal(rename_path(s, "d/f", "d/g", 0), 0);
	*d = attr_of(s, "d");
	*g = attr_of(s, "d/g");
	assert_true(later(d->mtime, d0.mtime) && later(d->ctime, d0.ctime) && later(g->ctime, f0.ctime));
	assert_int_equal(meta_ns(g->mtime), meta_ns(f0.mtime));
	check_tree(s, 0);
}

static void test_names_before_times(void **state)
{
	struct fixture *f = *state;
	struct store_attr d, g, a;

	renamed(f->s, &d, &g);
	assert_int_equal(store_commit_names(f->s), 0);
	assert_true(meta_dirty(f->s)); /* the times are still to come */
	check_same(f->s, "d", &d);
	crash(f);
	assert_int_equal(look(f->s, "d/f", &a), -ENOENT);
	assert_int_equal(attr_of(f->s, "d/g").ino, g.ino);
	check_tree(f->s, 0);
}

/* What makes times durable with the rest. */
static void test_times_follow(void **state)
{
	enum { TICK, COMMIT, SYNC, CHECKPOINT, CLOSE, WAYS };

	(void)state;
	for (int way = TICK; way < WAYS; way++) {
		void *own = NULL;
		struct store_attr d, g;

		assert_int_equal(setup(&own), 0);
		struct fixture *f = own;

		renamed(f->s, &d, &g);
		assert_int_equal(store_commit_names(f->s), 0);
		if (way == TICK)
			store_tick(f->s);
		else if (way == COMMIT)
			assert_int_equal(store_commit(f->s, false), 0);
		else if (way == SYNC)
			assert_int_equal(store_commit(f->s, true), 0);
		else if (way == CHECKPOINT)
			assert_int_equal(meta_checkpoint(f->s, 0), 0);
		assert_int_equal(meta_dirty(f->s), way == CLOSE);
		if (way == CLOSE)
			reopen(f);
		else
			crash(f);
		check_same(f->s, "d", &d);
		check_same(f->s, "d/g", &g);
		assert_int_equal(teardown(&own), 0);
	}
}

/* A statement that sets times of its own, while others are late: the newest counts, and what it leaves alone stays. */
static void test_settled(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_attr d, g, a, past = { .mtime = { 1000, 5 } };
	struct timespec mtime;
	int64_t now;

	renamed(s, &d, &g);
	assert_int_equal(store_setattr(s, d.ino, &past, STORE_SET_MTIME, &a), 0);
	assert_int_equal(a.mtime.tv_sec, 1000);
	check_same(s, "d", &a);
	crash(f);
	s = f->s;

	/* An extended attribute moves ctime, to the present, and not mtime. */
	assert_int_equal(make(s, "d/x", S_IFREG | 0644, false, NULL), 0);
	mtime = attr_of(s, "d").mtime;
	assert_int_equal(store_setxattr(s, d.ino, "user.k", "v", 1, 0), 0);
	now = meta_now();
	a = attr_of(s, "d");
	assert_int_equal(meta_ns(a.mtime), meta_ns(mtime));
	assert_true(later(a.ctime, mtime) && meta_ns(a.ctime) <= now);

	/* So does a move to another directory. */
	assert_int_equal(make(s, "e", S_IFDIR | 0755, false, NULL), 0);
	assert_int_equal(make(s, "d/y", S_IFREG | 0644, false, NULL), 0);
	mtime = attr_of(s, "d").mtime;
	assert_int_equal(rename_path(s, "d", "e/d", 0), 0);
	a = attr_of(s, "e/d");
	assert_int_equal(meta_ns(a.mtime), meta_ns(mtime));
	assert_true(later(a.ctime, mtime));
	check_tree(s, 0);
	assert_int_equal(store_commit(s, false), 0);
	check_same(s, "e/d", &a);
	crash(f);
	check_same(f->s, "e/d", &a);
}

/* What an operation settled is late again when it is undone. */
static void test_undone(void **state)
{
	struct fixture *f = *state;
	struct store_attr d, g;

	for (int first = 0; first < 2; first++) {
		/* with something before it in the transaction, and without */
		if (first)
			assert_int_equal(remove_path(f->s, "d/g", false) | remove_path(f->s, "d", true), 0);
		renamed(f->s, &d, &g);
		if (first)
			assert_int_equal(store_commit_names(f->s), 0);
		assert_int_equal(meta_begin(f->s), 0);
		assert_int_equal(tree_late_settle(f->s, d.ino, false), 0);
		assert_int_equal(tree_late_settle(f->s, g.ino, true), 0);
		assert_int_equal(meta_end(f->s, -ECANCELED), -ECANCELED);
		check_same(f->s, "d", &d);
		check_same(f->s, "d/g", &g);
		assert_int_equal(store_commit(f->s, false), 0);
		crash(f);
		check_same(f->s, "d", &d);
		check_same(f->s, "d/g", &g);
	}
}

/* More than there is room for. */
static void test_many(void **state)
{
	enum { DIRS = TREE_LATE_MAX * 2 };
	static struct store_attr seen[DIRS];
	struct fixture *f = *state;
	char dir[32], name[48];

	for (int pass = 0; pass < 2; pass++) {
		for (int i = 0; i < DIRS; i++) {
			snprintf(dir, sizeof dir, "d%d", i);
			snprintf(name, sizeof name, "d%d/f%d", i, pass);
			if (pass == 0)
				assert_int_equal(make(f->s, dir, S_IFDIR | 0755, false, NULL), 0);
			assert_int_equal(make(f->s, name, S_IFREG | 0644, false, NULL), 0);
			seen[i] = attr_of(f->s, dir);
		}
		for (int i = 0; i < DIRS; i++) {
			snprintf(dir, sizeof dir, "d%d", i);
			check_same(f->s, dir, &seen[i]);
		}
		assert_int_equal(store_commit(f->s, false), 0);
		crash(f);
		for (int i = 0; i < DIRS; i++) {
			snprintf(dir, sizeof dir, "d%d", i);
			check_same(f->s, dir, &seen[i]);
		}
	}
}

/* --- names and attributes read lately ------------------------------------------------------------------------------ */

/* Every name is looked up before and after every step, so that a stale answer would be seen. */
static void test_seen(void **state)
{
	static const char *const names[] = { "a", "b", "c", "d", "d/a", "d/b", "e", "e/a" };
	static const struct step steps[] = {
		{ FILE_, "a" },
		{ MOVE, "a", "b" },
		{ LINK, "b", "c" },
		{ MOVE, "c", "a" },
		{ FILE_, "c" },
		{ MOVE, "c", "b", .flags = RENAME_EXCHANGE },
		{ MOVE, "c", "b", .flags = RENAME_NOREPLACE, .want = EEXIST },
		{ MOVE, "c", "b" },
		{ UNLINK, "b" },
		{ MKDIR, "d" },
		{ MOVE, "a", "d/a" },
		{ FILE_, "d/a", .want = EEXIST },
		{ MKDIR, "e" },
		{ LINK, "d/a", "e/a" },
		{ UNLINK, "d/a" },
		{ MOVE, "e/a", "d/b" },
		{ RMDIR, "e" },
		{ FILE_, "e" },
		{ RMDIR, "d", .want = ENOTEMPTY },
		{ UNLINK, "d/b" },
		{ RMDIR, "d" },
	};
	struct fixture *f = *state;
	struct store_attr a, b;
	uint64_t parent = 0;
	const char *name = NULL;

	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
		for (size_t k = 0; k < sizeof names / sizeof *names; k++)
			look(f->s, names[k], &a);
		assert_int_equal(step(f->s, &steps[i]), -steps[i].want);
		for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
			int rc = look(f->s, names[k], &a), again = 0;

			/* The same without what is remembered. */
			meta_lock(f->s);
			tree_memory_forget(f->s);
			meta_unlock(f->s);
			again = look(f->s, names[k], &b);
			assert_int_equal(rc, again);
			if (rc == 0)
				assert_memory_equal(&a, &b, sizeof a);
		}
		check_tree(f->s, 0);
	}

	/* What an operation that is undone read and changed. */
	assert_int_equal(split(f->s, "u", &parent, &name), 0);
	assert_int_equal(meta_begin(f->s), 0);
	uint64_t cookie;
	struct tree_entry e;

	assert_int_equal(tree_seek(f->s, parent, "u", 1, &e), 0);
	assert_int_equal(tree_add_name(f->s, parent, "u", 1, STORE_ROOT, S_IFDIR, &cookie), 0);
	assert_int_equal(tree_seek(f->s, parent, "u", 1, &e), 1);
	assert_int_equal(meta_end(f->s, -ECANCELED), -ECANCELED);
	assert_int_equal(look(f->s, "u", &a), -ENOENT);
	check_tree(f->s, 0);
}

/* Attributes follow the row, whoever changes it. */
static void test_known(void **state)
{
	struct fixture *f = *state;
	struct store_attr a, b;

	assert_int_equal(make(f->s, "a", S_IFREG | 0644, false, &a), 0);
	assert_int_equal(store_getattr(f->s, a.ino, &b), 0);
	assert_memory_equal(&a, &b, sizeof a);
	assert_int_equal(meta_begin(f->s), 0);
	sqlite3_stmt *st = meta_stmt(f->s, "UPDATE inode SET uid = 77");

	assert_non_null(st);
	assert_int_equal(meta_end(f->s, meta_exec(f->s, st)), 0);
	assert_int_equal(store_getattr(f->s, a.ino, &b), 0);
	assert_int_equal(b.uid, 77);
	assert_int_equal(store_getattr(f->s, STORE_ROOT, &b), 0);
	assert_int_equal(b.uid, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names_before_times, setup, teardown),
		cmocka_unit_test(test_times_follow),
		cmocka_unit_test_setup_teardown(test_settled, setup, teardown),
		cmocka_unit_test_setup_teardown(test_undone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_seen, setup, teardown),
		cmocka_unit_test_setup_teardown(test_known, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
