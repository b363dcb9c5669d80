/*
 * test_tree.c: names and inodes, by tables of steps (scratch_tree.h).  A random walk does the same operations on a directory
 * of the host's and expects the same errno and the same tree.
 */
#include "scratch_tree.h"

static void test_names(void **state)
{
	static const struct step steps[] = {
		{ MKDIR, "d" }, { MKDIR, "d", NULL, EEXIST }, { FILE_, "d", NULL, EEXIST },
		{ FILE_, "d/f" }, { FILE_, "d/f", NULL, EEXIST }, { FILE_, "d/f/g", NULL, ENOTDIR },
		{ FILE_, "none/f", NULL, ENOENT }, { SYMLINK, "d/l" }, { FIFO, "d/p" },
		{ FILE_, LONG255 }, { FILE_, LONG255 "x", NULL, ENAMETOOLONG }, { GONE, LONG255 "x", NULL, ENAMETOOLONG },
		{ FILE_, "", NULL, ENOENT }, { MKDIR, ".", NULL, EEXIST }, { MKDIR, "..", NULL, EEXIST },
		{ FILE_, "sp ace\n\x01\xff\xfe" }, { FILE_, "..." },
		{ GONE, "d/none", NULL, ENOENT }, { GONE, "d/f/x", NULL, ENOTDIR },
		{ SAME, "d/..", "." }, { SAME, "d/.", "d" }, { SAME, "..", "." },
		{ GONE, "d/f/..", NULL, ENOTDIR },
		{ UNLINK, "d", NULL, EISDIR }, { RMDIR, "d", NULL, ENOTEMPTY }, { RMDIR, "d/f", NULL, ENOTDIR },
		{ UNLINK, "d/none", NULL, ENOENT }, { RMDIR, "d/none", NULL, ENOENT }, { UNLINK, "d/f/x", NULL, ENOTDIR },
		{ RMDIR, ".", NULL, EINVAL }, { RMDIR, "..", NULL, ENOTEMPTY }, { UNLINK, "..", NULL, EISDIR },
		{ UNLINK, "d/f" }, { UNLINK, "d/f", NULL, ENOENT }, { UNLINK, "d/l" }, { UNLINK, "d/p" }, { RMDIR, "d" },
		{ GONE, "d", NULL, ENOENT },
	};

	RUN(state, steps);
}

static void test_links(void **state)
{
	static const struct step steps[] = {
		{ MKDIR, "d" }, { FILE_, "f" }, { LINK, "f", "g" }, { LINK, "f", "d/h" }, { SAME, "f", "d/h" },
		{ LINK, "f", "g", EEXIST }, { LINK, "d", "e", EPERM }, { LINK, "f", "none/x", ENOENT },
		{ LINK, "f", "g/x", ENOTDIR }, { LINK, "f", "..", EEXIST },
		/* the name that the inode remembers goes; the others are found all the same */
		{ UNLINK, "f" }, { SAME, "g", "d/h" }, { UNLINK, "g" }, { LINK, "d/h", "i" }, { UNLINK, "d/h" },
		{ UNLINK, "i" }, { GONE, "i", NULL, ENOENT },
		{ SYMLINK, "s" }, { LINK, "s", "s2" }, { UNLINK, "s" }, { SAME, "s2", "s2" },
	};

	RUN(state, steps);
}

static void test_rename(void **state)
{
	static const struct step steps[] = {
		{ MKDIR, "a" }, { MKDIR, "b" }, { MKDIR, "a/x" }, { MKDIR, "a/x/y" }, { FILE_, "f" }, { FILE_, "b/g" },
		/* nothing there, no directory, no name */
		{ MOVE, "none", "z", ENOENT }, { MOVE, "f", "none/z", ENOENT }, { MOVE, "f", "b/g/z", ENOTDIR },
		{ MOVE, "f", LONG255 "x", ENAMETOOLONG }, { MOVE, ".", "z", EBUSY }, { MOVE, "a", "..", EBUSY },
		{ MOVE, "f", "z", EINVAL, 4 },
		{ MOVE, "f", "z", EINVAL, RENAME_NOREPLACE | RENAME_EXCHANGE },
		/* loops */
		{ MOVE, "a", "a/z", EINVAL }, { MOVE, "a", "a/x/y/z", EINVAL }, { MOVE, "a", "a/x", EINVAL },
		{ MOVE, "a/x", "a", ENOTEMPTY },
		/* within a directory, across, and back */
		{ MOVE, "f", "f2" }, { MOVE, "f2", "b/f" }, { MOVE, "b/f", "f" }, { MOVE, "a/x", "b/x" }, { SAME, "b/x/..", "b" },
		{ MOVE, "b/x", "a/x" }, { MOVE, "a/x", "a/x2" }, { MOVE, "a/x2", "a/x" },
		/* over what is there */
		{ MOVE, "f", "a", EISDIR }, { MOVE, "a", "f", ENOTDIR }, { MOVE, "a", "b", ENOTEMPTY },
		{ MOVE, "f", "b/g", EEXIST, RENAME_NOREPLACE }, { MOVE, "f", "b/g" }, { GONE, "f", NULL, ENOENT },
		{ MKDIR, "e" }, { MOVE, "a/x", "e" }, { GONE, "a/x", NULL, ENOENT }, { SAME, "e/y/../..", "." },
		{ MOVE, "e", "a/x", 0, RENAME_NOREPLACE },
		/* onto itself */
		{ MOVE, "b/g", "b/g" }, { LINK, "b/g", "h" }, { MOVE, "h", "b/g" }, { SAME, "h", "b/g" },
		{ MOVE, "h", "b/g", 0, RENAME_EXCHANGE }, { MOVE, "h", "b/g", EEXIST, RENAME_NOREPLACE },
		/* a name of several is replaced */
		{ FILE_, "k" }, { MOVE, "k", "h" }, { GONE, "k", NULL, ENOENT }, { SAME, "b/g", "h", EXDEV },
	};

	RUN(state, steps);
}

static void test_exchange(void **state)
{
	static const struct step steps[] = {
		{ MKDIR, "a" }, { MKDIR, "b" }, { MKDIR, "a/d" }, { MKDIR, "a/d/e" }, { FILE_, "b/f" }, { FILE_, "b/g" },
		{ MOVE, "a/d", "b/none", ENOENT, RENAME_EXCHANGE }, { MOVE, "a/none", "b/f", ENOENT, RENAME_EXCHANGE },
		{ MOVE, "b/f", "b/g", 0, RENAME_EXCHANGE }, { MOVE, "a/d", "b/f", 0, RENAME_EXCHANGE },
		{ SAME, "b/f/..", "b" }, { SAME, "b/f/e/../..", "b" }, { RMDIR, "a/d", NULL, ENOTDIR },
		{ MOVE, "a/d", "b/f", 0, RENAME_EXCHANGE }, { SAME, "a/d/..", "a" },
		{ MOVE, "a/d", "b", 0, RENAME_EXCHANGE }, { SAME, "b/e/..", "b" }, { SAME, "a/d/g", "a/d/g" },
		{ MOVE, "a", "a/d", EINVAL, RENAME_EXCHANGE }, { MOVE, "a/d", "a", EINVAL, RENAME_EXCHANGE },
		{ MOVE, "a", "b", 0, RENAME_EXCHANGE },
	};

	RUN(state, steps);
}

/* A directory that was removed while open takes no names and has none. */
static void test_removed_directory(void **state)
{
	struct fixture *f = *state;
	struct store_attr d, a, file;
	struct store_new n = { .mode = S_IFREG | 0644 };

	assert_int_equal(make(f->s, "d", S_IFDIR | 0755, false, &d), 0);
	assert_int_equal(make(f->s, "f", S_IFREG | 0755, false, &file), 0);
	assert_int_equal(store_rmdir(f->s, STORE_ROOT, "d", 1, &a), 0);
	assert_int_equal(a.nlink, 0);
	check_tree(f->s, 1);
	assert_int_equal(store_getattr(f->s, d.ino, &a), 0);
	assert_int_equal(store_make(f->s, d.ino, "x", 1, &n, &a), -ENOENT);
	assert_int_equal(store_link(f->s, file.ino, d.ino, "x", 1, &a), -ENOENT);
	assert_int_equal(store_rename(f->s, STORE_ROOT, "f", 1, d.ino, "x", 1, 0, &a), -ENOENT);
	assert_int_equal(store_lookup(f->s, d.ino, "x", 1, &a), -ENOENT);
	assert_int_equal(store_pathof(f->s, d.ino, (char[8]){ 0 }, 8), -ENOENT);
	assert_int_equal(store_reap(f->s, d.ino), 0);
	assert_int_equal(store_getattr(f->s, d.ino, &a), -ENOENT);
	assert_int_equal(store_reap(f->s, d.ino), 0);
	check_tree(f->s, 0);
}

/* --- the same on the host ------------------------------------------------------------------------------------------ */

static unsigned seed = 12345;

static unsigned pick(unsigned n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 16) % n;
}

static void random_path(char *out, size_t cap)
{
	static const char *const names[] = { "a", "b", "c", "d" };
	unsigned depth = 1 + pick(3);
	size_t len = 0;

	for (unsigned i = 0; i < depth; i++)
		len += (size_t)snprintf(out + len, cap - len, "%s%s", i > 0 ? "/" : "", names[pick(4)]);
}

static int on_host(const char *root, const struct step *t)
{
	char a[256], b[256];
	int rc = -1;

	snprintf(a, sizeof a, "%s/%s", root, t->a);
	snprintf(b, sizeof b, "%s/%s", root, t->b);
	switch (t->op) {
	case MKDIR:
		rc = mkdir(a, 0755);
		break;
	case FILE_:
		rc = mknod(a, S_IFREG | 0644, 0);
		break;
	case LINK:
		rc = link(a, b);
		break;
	case UNLINK:
		rc = unlink(a);
		break;
	case RMDIR:
		rc = rmdir(a);
		break;
	case MOVE:
		rc = renameat2(AT_FDCWD, a, AT_FDCWD, b, t->flags);
		break;
	default:
		break;
	}
	return rc < 0 ? errno : 0;
}

/* The host looks at some rules in another order. */
static bool equal_errno(const struct step *t, int host, int ours)
{
	size_t len = strlen(t->b);

	if (host == ours)
		return true;
	/* a file over a directory that it is in: the host says "not empty" first */
	if (t->op == MOVE && host == ENOTEMPTY && ours == EISDIR)
		return strncmp(t->a, t->b, len) == 0 && t->a[len] == '/';
	/* of two bad paths, or a bad path and a directory, another one is found first */
	return t->op == LINK && host != 0 && ours != 0;
}

static void test_like_the_host(void **state)
{
	static const enum op ops[] = { MKDIR, MKDIR, FILE_, FILE_, LINK, UNLINK, RMDIR, MOVE, MOVE, MOVE };
	static const unsigned flags[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	struct fixture *f = *state;
	char root[128], a[64], b[64];

	snprintf(root, sizeof root, "%s/host", f->dir);
	assert_int_equal(mkdir(root, 0755), 0);
	for (int i = 0; i < 6000; i++) {
		struct step t = { .op = ops[pick(10)], .a = a, .b = b, .flags = flags[pick(4)] };
		struct store_attr attr;
		struct stat st;
		char path[256];
		int host, ours;

		random_path(a, sizeof a);
		random_path(b, sizeof b);
		host = on_host(root, &t);
		ours = -step(f->s, &t);
		if (!equal_errno(&t, host, ours))
			fail_msg("%d: op %d '%s' '%s' flags %u: %d on the host, %d here: %s", i, (int)t.op, a, b, t.flags, host,
					ours, ckpt_errmsg());
		snprintf(path, sizeof path, "%s/%s", root, b);
		if (lstat(path, &st) == 0) {
			assert_int_equal(look(f->s, b, &attr), 0);
			assert_int_equal(st.st_mode & S_IFMT, attr.mode & S_IFMT);
			if (!S_ISDIR(attr.mode))
				assert_int_equal(st.st_nlink, attr.nlink);
		} else {
			assert_int_equal(look(f->s, b, &attr), -errno);
		}
		if (i % 20 == 0)
			check_tree(f->s, 0);
		if (i % 1000 == 999) {
			assert_int_equal(store_commit(f->s, false), 0);
			crash(f);
		}
	}
}

/* --- many at once ---------------------------------------------------------------------------------------------------- */

struct worker {
	struct store *s;
	int id;
	int errors;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	struct store_new n = { .mode = S_IFREG | 0644, .provisional = true };
	char a[32], b[32];

	for (int i = 0; i < 200; i++) {
		struct store_attr attr, gone;
		int listed = 0;

		snprintf(a, sizeof a, "w%d-%d", w->id, i);
		snprintf(b, sizeof b, "shared-%d", i % 7);
		w->errors += store_make(w->s, STORE_ROOT, a, strlen(a), &n, &attr) < 0;
		w->errors += store_setxattr(w->s, attr.ino, "user.i", &i, sizeof i, 0) < 0;
		w->errors += store_rename(w->s, STORE_ROOT, a, strlen(a), STORE_ROOT, b, strlen(b), 0, &gone) < 0;
		if (gone.ino != 0)
			w->errors += gone.nlink != 0 || store_reap(w->s, gone.ino) < 0;
		store_lookup(w->s, STORE_ROOT, b, strlen(b), &attr);
		w->errors += store_readdir(w->s, STORE_ROOT, 0, true, count_emit, &listed) < 0 || listed < 1;
		if (i % 50 == w->id)
			w->errors += store_commit(w->s, false) < 0;
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct fixture *f = *state;
	struct worker w[4];
	pthread_t t[4];

	for (int i = 0; i < 4; i++) {
		w[i] = (struct worker){ .s = f->s, .id = i };
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		assert_int_equal(w[i].errors, 0);
	}
	check_tree(f->s, 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM inode"), 1 + 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rename, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exchange, setup, teardown),
		cmocka_unit_test_setup_teardown(test_removed_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_like_the_host, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
