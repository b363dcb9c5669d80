/*
 * pathof.c: from an inode to its path.
 *
 * Upwards from the inode, each step by (parent, cookie) of its row to the dirent that names it (tree.c, 2).
 * The paths of the last few thousand directories asked for are remembered, so that in the common case, a
 * file in a directory seen before, a path costs one step.  A renamed directory changes the paths of all
 * below it: everything is forgotten then.
 *
 * A file whose row does not know its name (it was unlinked under the name noted while it has others) is
 * looked for in all names.  Only hard links can come to that.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_tree.h"
#include "tree_internal.h"

static struct path_slot *slot_of(struct tree *t, uint64_t ino)
{
	return &t->paths[((ino * 0x9e3779b97f4a7c15u) >> 32) % TREE_PATH_SLOTS];
}

static void slot_clear(struct path_slot *p)
{
	free(p->path);
	*p = (struct path_slot){ 0 };
}

void tree_path_forget(struct tree *t, uint64_t ino)
{
	struct path_slot *p = slot_of(t, ino);

	if (p->ino == ino)
		slot_clear(p);
}

void tree_paths_forget(struct tree *t)
{
	for (size_t i = 0; i < TREE_PATH_SLOTS; i++)
		if (t->paths[i].ino != 0)
			slot_clear(&t->paths[i]);
}

/* Without memory nothing is remembered, and nothing is wrong. */
static void remember(struct tree *t, uint64_t ino, const char *path, size_t len)
{
	struct path_slot *p = slot_of(t, ino);
	char *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		return;
	memcpy(copy, path, len);
	slot_clear(p);
	*p = (struct path_slot){ .ino = ino, .path = copy, .len = len };
}

/* A path that is written from its end: bytes [at, TREE_PATH_MAX) of tree.scratch. */
static int prepend(struct tree *t, size_t *at, const void *p, size_t len)
{
	bool slash = *at < TREE_PATH_MAX;

	if (len + slash > *at)
		return ckpt_fail(ERANGE, "a path is longer than %d bytes", TREE_PATH_MAX);
	if (slash)
		t->scratch[--*at] = '/';
	*at -= len;
	memcpy(t->scratch + *at, p, len);
	return 0;
}

/* Puts the name of *ino before the path and goes to its parent. -ENOENT: it has no name. */
static int step_up(struct store *s, uint64_t *ino, size_t *at)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT d.parent, d.name FROM inode i CROSS JOIN dirent d ON d.parent = i.parent "
			"AND d.cookie = i.cookie AND d.ino = i.ino WHERE i.ino = ?1");
	int rc;

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)*ino);
	rc = meta_step(s, st);
	if (rc == 0) {
		st = meta_stmt(s, "SELECT parent, name FROM dirent WHERE ino = ?1 LIMIT 1");
		if (st == NULL)
			return meta_fail(s);
		tree_bind(st, 1, (int64_t)*ino);
		rc = meta_step(s, st);
	}
	if (rc < 0)
		return rc;
	if (rc == 0)
		return ckpt_fail(ENOENT, "inode %llu: has no name", (unsigned long long)*ino);
	rc = prepend(s->tree, at, sqlite3_column_blob(st, 1), (size_t)sqlite3_column_bytes(st, 1));
	*ino = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return rc;
}

/* Puts the path of directory `ino` before what stands from *at on. */
static int climb(struct store *s, uint64_t ino, size_t *at)
{
	for (unsigned depth = 0; depth < TREE_DEPTH_MAX; depth++) {
		const struct path_slot *p = slot_of(s->tree, ino);
		int rc;

		if (ino == STORE_ROOT)
			return 0;
		if (p->ino == ino)
			return prepend(s->tree, at, p->path, p->len);
		rc = step_up(s, &ino, at);
		if (rc < 0)
			return rc;
	}
	return ckpt_fail(EIO, "inode %llu: the directories above it do not lead to the root", (unsigned long long)ino);
}

static int copy_out(const char *path, size_t len, char **out, size_t *out_len)
{
	char *p = malloc(len + 1);

	if (p == NULL)
		return ckpt_fail(ENOMEM, "no memory for a path");
	memcpy(p, path, len);
	p[len] = '\0';
	*out = p;
	*out_len = len;
	return 0;
}

int tree_path(struct store *s, uint64_t parent, const char *name, size_t len, char **out, size_t *out_len)
{
	struct tree *t = s->tree;
	size_t at = TREE_PATH_MAX, end;
	int rc = 0;

	if (len > 0)
		rc = prepend(t, &at, name, len);
	end = at;
	if (rc == 0)
		rc = climb(s, parent, &at);
	if (rc < 0)
		return rc;
	if (parent != STORE_ROOT && slot_of(t, parent)->ino != parent)
		remember(t, parent, t->scratch + at, (len > 0 ? end - 1 : end) - at);
	return copy_out(t->scratch + at, TREE_PATH_MAX - at, out, out_len);
}

int tree_path_of(struct store *s, uint64_t ino, char **out, size_t *out_len)
{
	const struct loose *l = loose_find(s->tree, ino);
	size_t at = TREE_PATH_MAX;
	char name[STORE_NAME_MAX];
	size_t len;
	int rc;

	if (l != NULL && l->unlinked && l->path != NULL)
		return copy_out(l->path, l->path_len, out, out_len);
	if (l != NULL && l->unlinked)
		return ckpt_fail(ENOENT, "inode %llu: has no name", (unsigned long long)ino);
	if (ino == STORE_ROOT)
		return copy_out("", 0, out, out_len);
	rc = step_up(s, &ino, &at);
	if (rc < 0)
		return rc;
	len = TREE_PATH_MAX - at;
	if (len > sizeof name)
		return ckpt_fail(EIO, "inode %llu: a name in it is %zu bytes long", (unsigned long long)ino, len);
	memcpy(name, s->tree->scratch + at, len);
	return tree_path(s, ino, name, len, out, out_len);
}

ssize_t store_pathof(struct store *s, uint64_t ino, char *buf, size_t cap)
{
	const struct loose *l;
	char *path;
	size_t len;
	int rc;

	meta_lock(s);
	l = loose_find(s->tree, ino);
	if (l != NULL && l->unlinked)
		rc = ckpt_fail(ENOENT, "inode %llu: has no name", (unsigned long long)ino);
	else
		rc = tree_path_of(s, ino, &path, &len);
	meta_unlock(s);
	if (rc < 0)
		return rc;
	if (len < cap)
		memcpy(buf, path, len + 1);
	else
		rc = ckpt_fail(ERANGE, "a path of %zu bytes does not fit %zu", len, cap);
	free(path);
	return rc < 0 ? rc : (ssize_t)len;
}
