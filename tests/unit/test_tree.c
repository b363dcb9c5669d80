/*
 * test_tree.c: names, inodes and attributes.
 *
 * Most cases are tables of steps, each a call and the errno it must give; after each step the whole tree is walked
 * and compared with what the rows say (check_tree).  A random walk does the same operations on a directory of the host's
 * and expects the same errno and the same tree.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/store.h"
#include "store/store_tree.h"
#include "store/tree_internal.h"

/* --- a store in a temporary directory ---------------------------------------------------------------- */

struct fixture {
	char dir[64];
	char path[96];
	struct store *s;
};

static void open_store(struct fixture *f, bool readonly)
{
	struct store_options o = { .create = !readonly, .readonly = readonly, .history_seconds = -1 };

	if (store_open(f->path, &o, &f->s) < 0)
		fail_msg("store_open: %s", ckpt_errmsg());
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	snprintf(f->dir, sizeof f->dir, "/tmp/ckptfs-tree-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/t.ckptfs", f->dir);
	open_store(f, false);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char cmd[128];

	store_close(f->s);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", f->dir);
	assert_int_equal(system(cmd), 0);
	free(f);
	return 0;
}

static void reopen(struct fixture *f)
{
	assert_int_equal(store_close(f->s), 0);
	open_store(f, false);
}

static void crash(struct fixture *f)
{
	store_crash(f->s);
	open_store(f, false);
}

static int64_t count(struct store *s, const char *sql)
{
	sqlite3_stmt *st;
	int64_t n;

	meta_lock(s);
	st = meta_stmt(s, sql);
	assert_non_null(st);
	assert_int_equal(meta_step(s, st), 1);
	n = sqlite3_column_int64(st, 0);
	meta_unlock(s);
	return n;
}

/* --- paths ------------------------------------------------------------------------------------------------ */

/* The directory of a path and its last name. 0 or -errno. */
static int split(struct store *s, const char *path, uint64_t *parent, const char **name)
{
	struct store_attr a;
	const char *slash;

	*parent = STORE_ROOT;
	while ((slash = strchr(path, '/')) != NULL) {
		int rc = store_lookup(s, *parent, path, (size_t)(slash - path), &a);

		if (rc < 0)
			return rc;
		*parent = a.ino;
		path = slash + 1;
	}
	*name = path;
	return store_lookup(s, *parent, ".", 1, &a);
}

static int look(struct store *s, const char *path, struct store_attr *a)
{
	const char *name;
	uint64_t parent;
	int rc = split(s, path, &parent, &name);

	return rc < 0 ? rc : store_lookup(s, parent, name, strlen(name), a);
}

static int make(struct store *s, const char *path, uint32_t mode, bool provisional, struct store_attr *a)
{
	struct store_new n = { .mode = mode, .uid = 1000, .gid = 100, .provisional = provisional, .target = "t/arget",
		.target_len = 7 };
	const char *name;
	uint64_t parent;
	int rc = split(s, path, &parent, &name);

	return rc < 0 ? rc : store_make(s, parent, name, strlen(name), &n, a);
}

static int link_path(struct store *s, const char *from, const char *to)
{
	struct store_attr a;
	const char *name;
	uint64_t parent;
	int rc = look(s, from, &a);

	if (rc == 0)
		rc = split(s, to, &parent, &name);
	return rc < 0 ? rc : store_link(s, a.ino, parent, name, strlen(name), NULL);
}

/* Also reaps what has no name any more. */
static int remove_path(struct store *s, const char *path, bool dir)
{
	struct store_attr a;
	const char *name;
	uint64_t parent;
	int rc = split(s, path, &parent, &name);

	if (rc == 0)
		rc = dir ? store_rmdir(s, parent, name, strlen(name), &a) : store_unlink(s, parent, name, strlen(name), &a);
	return rc < 0 || a.nlink > 0 ? rc : store_reap(s, a.ino);
}

static int rename_path(struct store *s, const char *from, const char *to, unsigned flags)
{
	struct store_attr gone;
	const char *a, *b;
	uint64_t p, q;
	int rc = split(s, from, &p, &a);

	if (rc == 0)
		rc = split(s, to, &q, &b);
	if (rc == 0)
		rc = store_rename(s, p, a, strlen(a), q, b, strlen(b), flags, &gone);
	return rc < 0 || gone.ino == 0 || gone.nlink > 0 ? rc : store_reap(s, gone.ino);
}

/* --- the tree, checked ------------------------------------------------------------------------------------- */

enum { NODES = 4096 };

struct node {
	struct store_attr attr;
	uint32_t names, subdirs;
};

struct walk {
	struct store *s;
	struct node nodes[NODES];
	size_t n;
	uint64_t dir;
	int64_t names;
};

static struct node *node(struct walk *w, const struct store_attr *a)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->nodes[i].attr.ino == a->ino)
			return &w->nodes[i];
	assert_in_range(w->n, 0, NODES - 1);
	w->nodes[w->n] = (struct node){ .attr = *a };
	return &w->nodes[w->n++];
}

static int visit(void *arg, const struct store_dirent *d, const struct store_attr *a)
{
	struct walk *w = arg;
	struct store_attr b;

	assert_int_equal(store_lookup(w->s, w->dir, d->name, d->len, &b), 0);
	assert_memory_equal(a, &b, sizeof b);
	assert_int_equal(d->ino, a->ino);
	assert_int_equal(d->mode, a->mode & S_IFMT);
	node(w, a)->names++;
	w->names++;
	if (S_ISDIR(a->mode))
		assert_int_equal(a->parent, w->dir);
	return 0;
}

static void check_path(struct store *s, const struct store_attr *a)
{
	char path[4096];
	struct store_attr b;
	ssize_t len = store_pathof(s, a->ino, path, sizeof path);

	if (len < 0)
		fail_msg("store_pathof: %s", ckpt_errmsg());
	assert_int_equal(strlen(path), len);
	if (a->ino == STORE_ROOT) {
		assert_int_equal(len, 0);
		return;
	}
	assert_int_equal(look(s, path, &b), 0);
	assert_int_equal(b.ino, a->ino);
}

/* Link counts, parents, paths; nothing in the tables that can't be reached, but `loose` inodes. */
static void check_tree(struct store *s, int64_t loose)
{
	struct walk *w = calloc(1, sizeof *w);
	struct store_attr root;

	assert_non_null(w);
	w->s = s;
	assert_int_equal(store_getattr(s, STORE_ROOT, &root), 0);
	assert_int_equal(root.parent, STORE_ROOT);
	node(w, &root)->names = 1;
	for (size_t i = 0; i < w->n; i++) {
		if (!S_ISDIR(w->nodes[i].attr.mode))
			continue;
		w->dir = w->nodes[i].attr.ino;
		assert_int_equal(store_readdir(s, w->dir, 0, true, visit, w), 0);
		for (size_t j = 1; j < w->n; j++)
			w->nodes[i].subdirs += w->nodes[j].attr.parent == w->dir;
	}
	for (size_t i = 0; i < w->n; i++) {
		const struct node *n = &w->nodes[i];

		if (S_ISDIR(n->attr.mode)) {
			assert_int_equal(n->names, 1);
			assert_int_equal(n->attr.nlink, 2 + n->subdirs);
			assert_int_equal(n->attr.size, 4096);
		} else {
			assert_int_equal(n->attr.nlink, n->names);
			assert_int_equal(n->attr.parent, 0);
		}
		check_path(s, &n->attr);
	}
	assert_int_equal(count(s, "SELECT count(*) FROM inode"), (int64_t)w->n + loose);
	assert_int_equal(count(s, "SELECT count(*) FROM dirent"), w->names);
	free(w);
}

/* --- tables of steps ------------------------------------------------------------------------------------------ */

enum op { MKDIR, FILE_, SYMLINK, FIFO, LINK, UNLINK, RMDIR, MOVE, SAME, GONE };

/* A step names what matters to it; the rest is 0. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
struct step {
	enum op op;
	const char *a, *b;
	int want;          /* errno */
	unsigned flags;
};

static int step(struct store *s, const struct step *t)
{
	struct store_attr a, b;
	int rc;

	switch (t->op) {
	case MKDIR:
		return make(s, t->a, S_IFDIR | 0755, false, NULL);
	case FILE_:
		return make(s, t->a, S_IFREG | 0644, false, NULL);
	case SYMLINK:
		return make(s, t->a, S_IFLNK | 0777, false, NULL);
	case FIFO:
		return make(s, t->a, S_IFIFO | 0600, false, NULL);
	case LINK:
		return link_path(s, t->a, t->b);
	case UNLINK:
		return remove_path(s, t->a, false);
	case RMDIR:
		return remove_path(s, t->a, true);
	case MOVE:
		return rename_path(s, t->a, t->b, t->flags);
	case SAME: /* both names are one inode */
		rc = look(s, t->a, &a);
		if (rc == 0)
			rc = look(s, t->b, &b);
		return rc < 0 ? rc : a.ino == b.ino ? 0 : -EXDEV;
	case GONE:
		return look(s, t->a, &a);
	}
	return -ENOSYS;
}

static void run(struct fixture *f, const struct step *steps, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int rc = step(f->s, &steps[i]);

		if (rc != -steps[i].want)
			fail_msg("step %zu (%s, %s): %d, not %d: %s", i, steps[i].a, steps[i].b ? steps[i].b : "", -rc,
					steps[i].want, ckpt_errmsg());
		check_tree(f->s, 0);
	}
	reopen(f);
	check_tree(f->s, 0);
	assert_int_equal(count(f->s, "SELECT count(*) FROM orphan"), 0);
}
#define RUN(state, steps) run(*(state), steps, sizeof steps / sizeof *steps)

#define LONG50 "01234567890123456789012345678901234567890123456789"
#define LONG255 LONG50 LONG50 LONG50 LONG50 LONG50 "01234"

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

/* --- attributes ------------------------------------------------------------------------------------------------- */

static void test_make_attributes(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_new n = { .mode = S_IFCHR | 0640, .uid = 7, .gid = 8, .rdev = 0x0105 };
	struct store_attr d, a;
	char buf[4096], target[4097];

	assert_int_equal(store_make(s, STORE_ROOT, "null", 4, &n, &a), 0);
	assert_int_equal(a.rdev, 0x0105);
	assert_int_equal(a.mode, S_IFCHR | 0640);
	assert_int_equal(a.uid, 7);
	assert_int_equal(a.gid, 8);
	assert_int_equal(a.nlink, 1);
	assert_int_equal(meta_ns(a.btime), meta_ns(a.mtime));

	/* setgid: the group is the directory's, and a directory inherits the bit */
	assert_int_equal(make(s, "g", S_IFDIR | S_ISGID | 0770, false, &d), 0);
	n = (struct store_new){ .mode = S_IFREG | 0600, .uid = 7, .gid = 8 };
	assert_int_equal(store_make(s, d.ino, "f", 1, &n, &a), 0);
	assert_int_equal(a.gid, 100);
	assert_int_equal(a.mode, S_IFREG | 0600);
	n.mode = S_IFDIR | 0700;
	assert_int_equal(store_make(s, d.ino, "d", 1, &n, &a), 0);
	assert_int_equal(a.gid, 100);
	assert_int_equal(a.mode, S_IFDIR | S_ISGID | 0700);
	assert_int_equal(a.parent, d.ino);

	/* symbolic links */
	memset(target, 'x', sizeof target);
	n = (struct store_new){ .mode = S_IFLNK | 0777, .target = target, .target_len = 4095 };
	assert_int_equal(store_make(s, STORE_ROOT, "l", 1, &n, &a), 0);
	assert_int_equal(a.size, 4095);
	assert_int_equal(store_readlink(s, a.ino, buf, sizeof buf), 4095);
	assert_memory_equal(buf, target, 4095);
	assert_int_equal(store_readlink(s, a.ino, buf, 10), 10);
	assert_int_equal(store_readlink(s, STORE_ROOT, buf, 10), -EINVAL);
	assert_int_equal(store_readlink(s, 999999, buf, 10), -ENOENT);
	n.target_len = 4096;
	assert_int_equal(store_make(s, STORE_ROOT, "m", 1, &n, &a), -ENAMETOOLONG);
	n.target_len = 0;
	assert_int_equal(store_make(s, STORE_ROOT, "m", 1, &n, &a), -ENOENT);
	n.mode = 0644;
	assert_int_equal(store_make(s, STORE_ROOT, "m", 1, &n, &a), -EINVAL);
	assert_int_equal(store_make(s, STORE_ROOT, "a/b", 3, &(struct store_new){ .mode = S_IFREG }, &a), -EINVAL);
	check_tree(s, 0);
}

static bool later(struct timespec a, struct timespec b)
{
	return meta_ns(a) > meta_ns(b);
}

static void test_times(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_attr d0, d1, a0, a1, e0, e1, gone;

	assert_int_equal(make(s, "d", S_IFDIR | 0755, false, &d0), 0);
	assert_int_equal(make(s, "e", S_IFDIR | 0755, false, &e0), 0);
	assert_int_equal(make(s, "d/f", S_IFREG | 0644, false, &a0), 0);
	assert_int_equal(look(s, "d", &d1), 0);
	assert_true(later(d1.mtime, d0.mtime) && later(d1.ctime, d0.ctime));

	assert_int_equal(link_path(s, "d/f", "d/g"), 0);
	assert_int_equal(look(s, "d/f", &a1), 0);
	assert_true(later(a1.ctime, a0.ctime));
	assert_int_equal(meta_ns(a1.mtime), meta_ns(a0.mtime));

	a0 = a1;
	d0 = d1;
	assert_int_equal(rename_path(s, "d/f", "e/f", 0), 0);
	assert_int_equal(look(s, "e/f", &a1), 0);
	assert_int_equal(look(s, "d", &d1), 0);
	assert_int_equal(look(s, "e", &e1), 0);
	assert_true(later(a1.ctime, a0.ctime) && later(d1.mtime, d0.mtime) && later(e1.ctime, e0.ctime));

	a0 = a1;
	assert_int_equal(store_unlink(s, d0.ino, "g", 1, &gone), 0);
	assert_int_equal(gone.nlink, 1);
	assert_int_equal(store_getattr(s, a0.ino, &a1), 0);
	assert_memory_equal(&gone, &a1, sizeof a1);
	assert_true(later(a1.ctime, a0.ctime));

	/* nothing happens: no time moves */
	assert_int_equal(link_path(s, "e/f", "d/h"), 0);
	assert_int_equal(look(s, "d", &d0), 0);
	assert_int_equal(look(s, "d/h", &a0), 0);
	assert_int_equal(rename_path(s, "d/h", "e/f", 0), 0);
	assert_int_equal(look(s, "d", &d1), 0);
	assert_int_equal(look(s, "d/h", &a1), 0);
	assert_memory_equal(&d0, &d1, sizeof d0);
	assert_memory_equal(&a0, &a1, sizeof a0);

	/* a rename over a file: what was there is told */
	assert_int_equal(make(s, "d/n", S_IFREG | 0644, false, &a0), 0);
	assert_int_equal(store_rename(s, d0.ino, "n", 1, e0.ino, "f", 1, 0, &gone), 0);
	assert_int_equal(gone.ino, a1.ino);
	assert_int_equal(gone.nlink, 1);
	assert_int_equal(store_rename(s, e0.ino, "f", 1, d0.ino, "h", 1, 0, &gone), 0);
	assert_int_equal(gone.ino, a1.ino);
	assert_int_equal(gone.nlink, 0);
	assert_int_equal(store_getattr(s, gone.ino, &a1), 0);
	assert_memory_equal(&gone, &a1, sizeof a1);
	assert_int_equal(store_rename(s, d0.ino, "h", 1, d0.ino, "i", 1, 0, &gone), 0);
	assert_int_equal(gone.ino, 0);
	check_tree(s, 1);
	reopen(f);
	check_tree(f->s, 0);
}

static void test_setattr(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_attr a, b, in = { .mode = S_IFDIR | 07601, .uid = 1, .gid = 4000000000u,
		.atime = { -5, 999999999 }, .mtime = { 4000000000, 1 }, .ctime = { 17, 18 }, .btime = { 3, 4 } };

	assert_int_equal(make(s, "f", S_IFREG | 0644, false, &a), 0);
	assert_int_equal(store_setattr(s, a.ino, &in, STORE_SET_MODE, &b), 0);
	assert_int_equal(b.mode, S_IFREG | 07601);
	assert_true(later(b.ctime, a.ctime));
	assert_int_equal(meta_ns(b.mtime), meta_ns(a.mtime));
	assert_int_equal(b.uid, a.uid);
	assert_int_equal(store_setattr(s, a.ino, &in, STORE_SET_UID | STORE_SET_GID, NULL), 0);
	assert_int_equal(store_setattr(s, a.ino, &in, STORE_SET_ATIME | STORE_SET_MTIME | STORE_SET_CTIME |
			STORE_SET_BTIME, &b), 0);
	reopen(f);
	assert_int_equal(store_getattr(f->s, a.ino, &a), 0);
	assert_memory_equal(&a, &b, sizeof a);
	assert_int_equal(a.gid, 4000000000u);
	assert_int_equal(a.atime.tv_sec, -5);
	assert_int_equal(a.atime.tv_nsec, 999999999);
	assert_int_equal(a.mtime.tv_sec, 4000000000);
	assert_int_equal(a.ctime.tv_nsec, 18);
	assert_int_equal(a.btime.tv_sec, 3);
	assert_int_equal(store_setattr(f->s, a.ino, &in, STORE_SET_ATIME_NOW | STORE_SET_MTIME_NOW, &b), 0);
	assert_true(later(b.atime, a.atime));
	assert_int_equal(meta_ns(b.mtime), meta_ns(b.ctime));
	assert_int_equal(store_setattr(f->s, 999999, &in, STORE_SET_MODE, &b), -ENOENT);
	/* also of a file without a name */
	assert_int_equal(store_unlink(f->s, STORE_ROOT, "f", 1, &b), 0);
	assert_int_equal(store_setattr(f->s, a.ino, &in, STORE_SET_MODE, &b), 0);
	assert_int_equal(b.nlink, 0);
	assert_int_equal(store_link(f->s, a.ino, STORE_ROOT, "f", 1, &b), -ENOENT);
}

static void test_xattr(void **state)
{
	static const struct {
		const char *name, *value;
		int flags, want;
	} sets[] = {
		{ "user.a", "1", 0, 0 }, { "user.a", "22", XATTR_CREATE, EEXIST }, { "user.a", "22", XATTR_REPLACE, 0 },
		{ "user.b", "", XATTR_REPLACE, ENODATA }, { "user.b", "", XATTR_CREATE, 0 }, { "user.a", "333", 0, 0 },
		{ "", "x", 0, ERANGE }, { LONG255 "x", "x", 0, ERANGE }, { LONG255, "x", 0, 0 },
		{ "user.a", "x", XATTR_CREATE | XATTR_REPLACE, EINVAL }, { "user.\xff\xfe", "bytes", 0, 0 },
	};
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_attr a, b;
	char list[1024], *big = calloc(1, 65537), value[256];
	static const char want[] = LONG255 "\0user.a\0user.b\0user.\xff\xfe";

	assert_non_null(big);
	assert_int_equal(make(s, "f", S_IFREG | 0644, false, &a), 0);
	for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
		assert_int_equal(store_setxattr(s, a.ino, sets[i].name, sets[i].value, strlen(sets[i].value), sets[i].flags),
				-sets[i].want);
	reopen(f);
	s = f->s;
	assert_int_equal(store_getxattr(s, a.ino, "user.a", list, 2), -ERANGE);
	assert_int_equal(store_getxattr(s, a.ino, "user.a", NULL, 0), 3);
	assert_int_equal(store_getxattr(s, a.ino, "user.a", list, 3), 3);
	assert_memory_equal(list, "333", 3);
	assert_int_equal(store_getxattr(s, a.ino, "user.b", list, 3), 0);
	assert_int_equal(store_getxattr(s, a.ino, "user.c", list, 3), -ENODATA);
	assert_int_equal(store_listxattr(s, a.ino, NULL, 0), sizeof want);
	assert_int_equal(store_listxattr(s, a.ino, list, sizeof want - 1), -ERANGE);
	assert_int_equal(store_listxattr(s, a.ino, list, sizeof want), sizeof want);
	assert_memory_equal(list, want, sizeof want);
	assert_int_equal(store_listxattr(s, 999999, NULL, 0), -ENOENT);
	assert_int_equal(store_setxattr(s, 999999, "user.a", "", 0, 0), -ENOENT);
	assert_int_equal(store_setxattr(s, a.ino, "user.big", big, 65537, 0), -E2BIG);
	assert_int_equal(store_setxattr(s, a.ino, "user.big", big, 65536, 0), 0);
	assert_int_equal(store_getxattr(s, a.ino, "user.big", big, 65536), 65536);
	assert_int_equal(store_removexattr(s, a.ino, "user.big"), 0);
	assert_int_equal(store_removexattr(s, a.ino, "user.big"), -ENODATA);
	assert_int_equal(store_getattr(s, a.ino, &b), 0);
	assert_true(later(b.ctime, a.ctime));
	/* names in all fit what listxattr(2) can return */
	int rc = 0, n;
	for (n = 0; n < 1000 && rc == 0; n++) {
		snprintf(value, sizeof value, "user.%0240d", n);
		rc = store_setxattr(s, a.ino, value, "", 0, 0);
	}
	assert_int_equal(rc, -ENOSPC);
	assert_in_range(store_listxattr(s, a.ino, NULL, 0), 65000, 65536);
	assert_int_equal(remove_path(s, "f", false), 0);
	assert_int_equal(count(s, "SELECT count(*) FROM xattr"), 0);
	free(big);
}

static void test_pathof(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->s;
	struct store_attr a;
	char buf[64];

	assert_int_equal(make(s, "run", S_IFDIR | 0755, false, NULL), 0);
	assert_int_equal(make(s, "run/003", S_IFDIR | 0755, false, NULL), 0);
	assert_int_equal(make(s, "run/003/model.pt", S_IFREG | 0644, false, &a), 0);
	assert_int_equal(store_pathof(s, a.ino, buf, sizeof buf), 16);
	assert_string_equal(buf, "run/003/model.pt");
	assert_int_equal(store_pathof(s, a.ino, buf, 16), -ERANGE);
	assert_int_equal(store_pathof(s, a.ino, buf, 17), 16);
	assert_int_equal(rename_path(s, "run", "old", 0), 0);
	assert_int_equal(store_pathof(s, a.ino, buf, sizeof buf), 16);
	assert_string_equal(buf, "old/003/model.pt");
	assert_int_equal(store_pathof(s, STORE_ROOT, buf, sizeof buf), 0);
	assert_int_equal(store_pathof(s, 999999, buf, sizeof buf), -ENOENT);
}

/* --- listing ------------------------------------------------------------------------------------------------------- */

enum { MANY = 3000 };

struct listing {
	struct fixture *f;
	uint64_t dir, mark;
	unsigned seen[MANY];
	unsigned others, calls, stop;
	uint64_t last;
	bool change;
};

static int list_emit(void *arg, const struct store_dirent *d, const struct store_attr *attr)
{
	static unsigned made;
	struct listing *l = arg;
	char name[32];
	unsigned i;

	(void)attr;
	if (d->cookie > l->mark)
		return 1;
	assert_true(d->cookie > l->last);
	l->last = d->cookie;
	l->calls++;
	snprintf(name, sizeof name, "%.*s", (int)d->len, d->name);
	if (sscanf(name, "keep-%u", &i) == 1 || sscanf(name, "moved-%u", &i) == 1)
		l->seen[i]++;
	else
		l->others++;
	if (l->change && l->calls % 3 == 0) {
		struct store *s = l->f->s;
		char to[32];
		int n;

		/* each step makes, removes and renames */
		n = snprintf(to, sizeof to, "new-%u", made++);
		assert_int_equal(store_make(s, l->dir, to, (size_t)n, &(struct store_new){ .mode = S_IFREG }, NULL), 0);
		i = (l->calls * 7919u) % MANY;
		n = snprintf(name, sizeof name, "drop-%u", i);
		store_unlink(s, l->dir, name, (size_t)n, NULL);
		n = snprintf(name, sizeof name, "keep-%u", i);
		snprintf(to, sizeof to, "moved-%u", i);
		store_rename(s, l->dir, name, (size_t)n, l->dir, to, strlen(to), 0, NULL);
	}
	return l->stop != 0 && l->calls % l->stop == 0;
}

static void fill(struct fixture *f, uint64_t dir)
{
	struct store_new n = { .mode = S_IFREG | 0644 };
	char name[32];

	for (unsigned i = 0; i < MANY; i++) {
		int len = snprintf(name, sizeof name, "keep-%u", i);

		assert_int_equal(store_make(f->s, dir, name, (size_t)len, &n, NULL), 0);
		len = snprintf(name, sizeof name, "drop-%u", i);
		assert_int_equal(store_make(f->s, dir, name, (size_t)len, &n, NULL), 0);
	}
}

static void check_seen(const struct listing *l)
{
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(l->seen[i], 1);
}

static void test_readdir(void **state)
{
	struct fixture *f = *state;
	struct store_attr d, file;
	struct listing l = { .f = f, .mark = UINT64_MAX };

	assert_int_equal(make(f->s, "d", S_IFDIR | 0755, false, &d), 0);
	assert_int_equal(make(f->s, "f", S_IFREG | 0644, false, &file), 0);
	l.dir = d.ino;
	assert_int_equal(store_readdir(f->s, d.ino, 0, false, list_emit, &l), 0);
	assert_int_equal(l.calls, 0);
	assert_int_equal(store_readdir(f->s, file.ino, 0, false, list_emit, &l), -ENOTDIR);
	assert_int_equal(store_readdir(f->s, 999999, 0, false, list_emit, &l), -ENOENT);
	fill(f, d.ino);
	for (int attrs = 0; attrs < 2; attrs++) {
		l = (struct listing){ .f = f, .dir = d.ino, .mark = UINT64_MAX };
		assert_int_equal(store_readdir(f->s, d.ino, 0, attrs, list_emit, &l), 0);
		check_seen(&l);
		assert_int_equal(l.others, MANY);
		/* in pieces, and beyond the end */
		l = (struct listing){ .f = f, .dir = d.ino, .mark = UINT64_MAX, .stop = 41 };
		do {
			assert_int_equal(store_readdir(f->s, d.ino, l.last, attrs, list_emit, &l), 0);
		} while (l.calls % 41 == 0);
		check_seen(&l);
		assert_int_equal(store_readdir(f->s, d.ino, UINT64_MAX, attrs, list_emit, &l), 0);
	}
	/* the tree changes at each step; what stays is seen once */
	for (int pass = 0; pass < 2; pass++) {
		l = (struct listing){ .f = f, .dir = d.ino, .change = true, .mark = store_readdir_mark(f->s) };
		if (pass == 1)
			l.stop = 17;
		unsigned before;
		do {
			before = l.calls;
			assert_int_equal(store_readdir(f->s, d.ino, l.last, pass == 0, list_emit, &l), 0);
		} while (l.calls > before && l.stop != 0);
		check_seen(&l);
	}
	reopen(f);
	l = (struct listing){ .f = f, .dir = d.ino, .mark = store_readdir_mark(f->s) };
	assert_int_equal(store_readdir(f->s, d.ino, 0, true, list_emit, &l), 0);
	check_seen(&l);
}

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

static int count_emit(void *arg, const struct store_dirent *d, const struct store_attr *attr)
{
	(void)d, (void)attr;
	++*(int *)arg;
	return 0;
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
		cmocka_unit_test_setup_teardown(test_make_attributes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_setattr, setup, teardown),
		cmocka_unit_test_setup_teardown(test_xattr, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pathof, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readdir, setup, teardown),
		cmocka_unit_test_setup_teardown(test_provisional, setup, teardown),
		cmocka_unit_test(test_provisional_moves),
		cmocka_unit_test_setup_teardown(test_orphans, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_loose, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly, setup, teardown),
		cmocka_unit_test_setup_teardown(test_like_the_host, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
