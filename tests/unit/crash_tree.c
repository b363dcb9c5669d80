/*
 * crash_tree.c: the operations of the workload on names, each done to the store and to the model.
 */
#include "crash_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/store_tree.h"

enum { DIRS = 3 };

/* --- names ---------------------------------------------------------------------------------------- */

int world_parent(struct store *s, const char *path, uint64_t *parent, const char **name)
{
	struct store_attr a;
	const char *slash;

	*parent = STORE_ROOT;
	*name = path;
	for (; (slash = strchr(path, '/')); path = slash + 1) {
		int rc = store_lookup(s, *parent, path, (size_t)(slash - path), &a);

		if (rc)
			return rc;
		*parent = a.ino;
		*name = slash + 1;
	}
	return 0;
}

int world_lookup(struct store *s, const char *path, struct store_attr *out)
{
	uint64_t parent;
	const char *name;
	int rc = world_parent(s, path, &parent, &name);

	return rc ? rc : store_lookup(s, parent, name, strlen(name), out);
}

void world_path(struct world *w, char *path, const char *stem, unsigned n)
{
	size_t dir = world_below(w, DIRS + 1);

	if (dir == DIRS || !item_find(world_now(w), (char[]){ 'd', (char)('0' + dir), '\0' }))
		snprintf(path, CRASH_PATH, "%s%zu", stem, world_below(w, n));
	else
		snprintf(path, CRASH_PATH, "d%zu/%s%zu", dir, stem, world_below(w, n));
}

struct item *world_pick(struct world *w, uint32_t type)
{
	struct tree_state *t = world_now(w);

	for (size_t i = 0, at = t->n ? world_below(w, t->n) : 0; i < t->n; i++, at = (at + 1) % t->n)
		if (t->v[at].type == type && strcmp(t->v[at].path, "slow") != 0)
			return &t->v[at];
	return NULL;
}

/* --- operations ----------------------------------------------------------------------------------- */

int op_rename(struct world *w)
{
	struct item *it = world_pick(w, S_IFREG);
	char from[CRASH_PATH], to[CRASH_PATH];
	uint64_t fp, tp;
	const char *fname, *tname;
	struct store_attr gone;

	w->doing = "rename a file";
	if (!it)
		return 0;
	memcpy(from, it->path, sizeof from);
	struct item moved = *it;

	content_ref(moved.content);
	world_path(w, to, "f", CRASH_FILES);
	struct item *there = item_find(world_now(w), to);
	struct item other = there ? *there : (struct item){ 0 };
	unsigned flags = there && world_below(w, 2) ? RENAME_EXCHANGE : 0;
	int rc = 0;

	content_ref(other.content);
	if (strcmp(from, to) == 0 || other.ino == moved.ino)
		goto out;
	struct tree_state *t = world_begin(w);

	item_remove(t, from);
	item_remove(t, to);
	item_add(t, to, moved.type, moved.ino, moved.content)->mark = moved.mark;
	if (flags)
		item_add(t, from, other.type, other.ino, other.content)->mark = other.mark;
	rc = world_parent(w->s, from, &fp, &fname);
	if (rc == 0)
		rc = world_parent(w->s, to, &tp, &tname);
	if (rc == 0)
		rc = store_rename(w->s, fp, fname, strlen(fname), tp, tname, strlen(tname), flags, &gone);
	if (rc == 0 && gone.ino && gone.nlink == 0)
		rc = store_reap(w->s, gone.ino);
out:
	content_drop(moved.content);
	content_drop(other.content);
	return rc;
}

int op_unlink(struct world *w)
{
	struct item *it = world_pick(w, world_below(w, 4) ? S_IFREG : S_IFLNK);
	char path[CRASH_PATH];
	uint64_t parent;
	const char *name;
	struct store_attr a;

	w->doing = "unlink a file";
	if (!it)
		return 0;
	memcpy(path, it->path, sizeof path);
	item_remove(world_begin(w), path);
	int rc = world_parent(w->s, path, &parent, &name);

	if (rc == 0)
		rc = store_unlink(w->s, parent, name, strlen(name), &a);
	if (rc == 0 && a.nlink == 0)
		rc = store_reap(w->s, a.ino);
	return rc;
}

int op_dir(struct world *w)
{
	char path[CRASH_PATH];
	struct store_attr a;
	int rc;

	snprintf(path, sizeof path, "d%zu", world_below(w, DIRS));
	struct item *there = item_find(world_now(w), path);
	bool empty = true;

	for (size_t i = 0; there && i < world_now(w)->n; i++)
		empty &= strncmp(world_now(w)->v[i].path, path, 2) != 0 || world_now(w)->v[i].path[2] == '\0';
	w->doing = there ? "rmdir" : "mkdir";
	if (there && !empty)
		return 0;
	if (there) {
		item_remove(world_begin(w), path);
		rc = store_rmdir(w->s, STORE_ROOT, path, strlen(path), &a);
		return rc ? rc : store_reap(w->s, a.ino);
	}
	item_add(world_begin(w), path, S_IFDIR, w->next_ino++, NULL);
	return store_make(w->s, STORE_ROOT, path, strlen(path), &(struct store_new){ .mode = S_IFDIR | 0755 }, &a);
}

int op_small(struct world *w)
{
	struct item *it = world_pick(w, S_IFREG);
	char path[CRASH_PATH], from[CRASH_PATH];
	uint64_t parent, value = world_random(w);
	const char *name;
	struct store_attr a;
	int rc;

	w->doing = "make a link";
	world_path(w, path, "l", 4);
	if (!it || (item_find(world_now(w), path) && world_below(w, 2)))
		return 0;
	memcpy(from, it->path, sizeof from);
	if (item_find(world_now(w), path)) {
		uint64_t ino = it->ino;
		struct tree_state *t = world_begin(w);

		w->doing = "set an attribute";
		for (size_t i = 0; i < t->n; i++)
			if (t->v[i].ino == ino)
				t->v[i].mark = value;
		rc = world_lookup(w->s, from, &a);
		return rc ? rc : store_setxattr(w->s, a.ino, "user.mark", &value, sizeof value, 0);
	}
	struct item source = *it;
	struct tree_state *t = world_begin(w);

	rc = world_parent(w->s, path, &parent, &name);
	if (world_below(w, 2)) {
		struct content *c = content_new(strlen(from));

		memcpy(c->data, from, c->size);
		item_add(t, path, S_IFLNK, w->next_ino++, content_seal(c));
		content_drop(c);
		return rc ? rc : store_make(w->s, parent, name, strlen(name),
				&(struct store_new){ .mode = S_IFLNK | 0777, .target = from, .target_len = strlen(from) }, &a);
	}
	item_add(t, path, S_IFREG, source.ino, source.content)->mark = source.mark;
	if (rc == 0)
		rc = world_lookup(w->s, from, &a);
	return rc ? rc : store_link(w->s, a.ino, parent, name, strlen(name), &a);
}

