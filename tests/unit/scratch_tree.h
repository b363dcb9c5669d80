/*
 * scratch_tree.h: for test programs of names, inodes and attributes: a store, calls by path, and the tree checked.
 *
 * Most cases are tables of steps, each a call and the errno it must give; after each step the whole tree is walked and
 * compared with what the rows say (check_tree).  Each program includes it once.
 */
#ifndef SCRATCH_TREE_H
#define SCRATCH_TREE_H

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

#include "scratch_meta.h"
#include "store/store.h"
#include "store/store_tree.h"
#include "store/tree_internal.h"

/* --- a store in a temporary directory ---------------------------------------------------------------- */

struct fixture {
	char dir[64];
	char path[96];
	struct store *s;
};

static inline void open_store(struct fixture *f, bool readonly)
{
	struct store_options o = { .create = !readonly, .readonly = readonly, .history_seconds = -1 };

	if (store_open(f->path, &o, &f->s) < 0)
		fail_msg("store_open: %s", ckpt_errmsg());
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	char cmd[128];

	store_close(f->s);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", f->dir);
	assert_int_equal(system(cmd), 0);
	free(f);
	return 0;
}

static inline void reopen(struct fixture *f)
{
	assert_int_equal(store_close(f->s), 0);
	open_store(f, false);
}

static inline void crash(struct fixture *f)
{
	store_crash(f->s);
	open_store(f, false);
}

/* --- paths ------------------------------------------------------------------------------------------------ */

/* The directory of a path and its last name. 0 or -errno. */
static inline int split(struct store *s, const char *path, uint64_t *parent, const char **name)
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

static inline int look(struct store *s, const char *path, struct store_attr *a)
{
	const char *name = NULL;
	uint64_t parent = 0;
	int rc = split(s, path, &parent, &name);

	return rc < 0 ? rc : store_lookup(s, parent, name, strlen(name), a);
}

static inline int make(struct store *s, const char *path, uint32_t mode, bool provisional, struct store_attr *a)
{
	struct store_new n = { .mode = mode, .uid = 1000, .gid = 100, .provisional = provisional, .target = "t/arget",
		.target_len = 7 };
	const char *name = NULL;
	uint64_t parent = 0;
	int rc = split(s, path, &parent, &name);

	return rc < 0 ? rc : store_make(s, parent, name, strlen(name), &n, a);
}

static inline int link_path(struct store *s, const char *from, const char *to)
{
	struct store_attr a;
	const char *name = NULL;
	uint64_t parent = 0;
	int rc = look(s, from, &a);

	if (rc == 0)
		rc = split(s, to, &parent, &name);
	return rc < 0 ? rc : store_link(s, a.ino, parent, name, strlen(name), NULL);
}

/* Also reaps what has no name any more. */
static inline int remove_path(struct store *s, const char *path, bool dir)
{
	struct store_attr a;
	const char *name = NULL;
	uint64_t parent = 0;
	int rc = split(s, path, &parent, &name);

	if (rc == 0)
		rc = dir ? store_rmdir(s, parent, name, strlen(name), &a) : store_unlink(s, parent, name, strlen(name), &a);
	return rc < 0 || a.nlink > 0 ? rc : store_reap(s, a.ino);
}

static inline int rename_path(struct store *s, const char *from, const char *to, unsigned flags)
{
	struct store_attr gone;
	const char *a = NULL, *b = NULL;
	uint64_t p = 0, q = 0;
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

static inline struct node *node(struct walk *w, const struct store_attr *a)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->nodes[i].attr.ino == a->ino)
			return &w->nodes[i];
	assert_in_range(w->n, 0, NODES - 1);
	w->nodes[w->n] = (struct node){ .attr = *a };
	return &w->nodes[w->n++];
}

static inline int visit(void *arg, const struct store_dirent *d, const struct store_attr *a)
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

static inline void check_path(struct store *s, const struct store_attr *a)
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
static inline void check_tree(struct store *s, int64_t loose)
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

static inline int step(struct store *s, const struct step *t)
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

static inline void run(struct fixture *f, const struct step *steps, size_t n)
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

/* A store_readdir_emit that counts. */
static inline int count_emit(void *arg, const struct store_dirent *d, const struct store_attr *attr)
{
	(void)d, (void)attr;
	++*(int *)arg;
	return 0;
}

#define LONG50 "01234567890123456789012345678901234567890123456789"
#define LONG255 LONG50 LONG50 LONG50 LONG50 LONG50 "01234"

#endif
