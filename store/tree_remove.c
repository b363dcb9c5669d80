/*
 * tree_remove.c: names that go, and the inodes that go with them.
 *
 * Removing the last name makes an inode loose (tree_internal.h): nlink is 0, it can still be read, written
 * and changed, and store_reap() ends it when nobody holds it any more.  The path is gone by then, so that of
 * a version which may enter the history is noted with the loose inode.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store_history.h"
#include "store_tree.h"
#include "tree_internal.h"

int tree_delete_of(struct store *s, const char *sql, uint64_t ino)
{
	sqlite3_stmt *st = meta_stmt(s, sql);

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)ino);
	return meta_exec(s, st);
}

int tree_delete_orphan(struct store *s, uint64_t ino)
{
	return tree_delete_of(s, "DELETE FROM orphan WHERE ino = ?1", ino);
}

/*
 * --- the last name
 * -----------------------------------------------------------------------------------------
 */

static bool for_history(struct store *s, const struct store_attr *a)
{
	return a->version != 0 && s->opt.history_seconds != 0 && a->size >= STORE_HISTORY_MIN;
}

static int set_nlink(struct store *s, const struct store_attr *a, uint64_t cookie)
{
	int rc = tree_late_settle(s, a->ino, false);
	sqlite3_stmt *st;

	if (rc < 0)
		return rc;
	st = meta_stmt(s, "UPDATE inode SET nlink = ?2, ctime = ?3 - btime, "
			"cookie = CASE cookie WHEN ?4 THEN 0 ELSE cookie END WHERE ino = ?1");
	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)a->ino);
	tree_bind(st, 2, a->nlink);
	tree_bind(st, 3, meta_ns(a->ctime));
	tree_bind(st, 4, (int64_t)cookie);
	return meta_exec(s, st);
}

int tree_unname(struct store *s, struct store_attr *attr, uint64_t parent, const char *name, size_t len,
		uint64_t cookie, int64_t now, int how, struct unnamed *u)
{
	int rc;

	*u = (struct unnamed){ .how = how };
	attr->nlink = S_ISDIR(attr->mode) || attr->nlink <= 1 ? 0 : attr->nlink - 1;
	attr->ctime = meta_timespec(now);
	rc = set_nlink(s, attr, cookie);
	if (rc < 0 || attr->nlink > 0)
		return rc;
	if (for_history(s, attr)) {
		rc = tree_path(s, parent, name, len, &u->path, &u->path_len);
		if (rc < 0 && rc != -ERANGE)
			return rc;
	}
	u->l = loose_find(s->tree, attr->ino);
	if (u->l == NULL) {
		u->fresh = true;
		u->l = loose_new(attr->ino);
		if (u->l == NULL) {
			tree_unname_undo(u);
			return ckpt_fail(ENOMEM, "'%.*s': no memory", (int)len, name);
		}
	}
	return 0;
}

void tree_unname_done(struct store *s, struct unnamed *u)
{
	struct loose *l = u->l;

	if (l == NULL)
		return;
	l->unlinked = true;
	l->how = u->how;
	l->path = u->path;
	l->path_len = u->path_len;
	if (u->fresh)
		loose_add(s->tree, l);
}

void tree_unname_undo(struct unnamed *u)
{
	free(u->path);
	if (u->fresh)
		free(u->l);
	*u = (struct unnamed){ 0 };
}

/* --- unlink, rmdir --------------------------------------------------------------------------------------- */

int tree_delete_name(struct store *s, uint64_t parent, const char *name, size_t len)
{
	sqlite3_stmt *st = meta_stmt(s, "DELETE FROM dirent WHERE parent = ?1 AND name = ?2");

	tree_seen_forget(s);
	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)parent);
	tree_bind_blob(st, 2, name, len);
	return meta_exec(s, st);
}

static int removable(struct store *s, const struct store_attr *a, bool dir, const char *name, size_t len)
{
	if (!dir)
		return S_ISDIR(a->mode) ? ckpt_fail(EISDIR, "'%.*s': is a directory", (int)len, name) : 0;
	if (!S_ISDIR(a->mode))
		return ckpt_fail(ENOTDIR, "'%.*s': not a directory", (int)len, name);
	return tree_empty(s, a->ino);
}

static int remove_name(struct store *s, uint64_t parent, const char *name, size_t len, bool dir, struct store_attr *out)
{
	struct tree_entry e;
	struct unnamed u = { 0 };
	int64_t now = meta_now();
	int rc;

	rc = tree_check_change(s, false);
	if (rc < 0)
		return rc;
	rc = meta_begin(s);
	if (rc < 0)
		return rc;
	rc = tree_find(s, parent, name, len, &e);
	if (rc == 0)
		rc = removable(s, &e.attr, dir, name, len);
	if (rc == 0)
		rc = tree_delete_name(s, parent, name, len);
	if (rc == 0)
		rc = tree_touch(s, parent, now, dir ? -1 : 0);
	if (rc == 0)
		rc = tree_unname(s, &e.attr, parent, name, len, e.cookie, now, STORE_DELETED, &u);
	if (rc == 0) {
		if (dir)
			tree_path_forget(s->tree, e.attr.ino);
		tree_unname_done(s, &u);
	}
	rc = meta_end(s, rc);
	if (rc == 0 && out != NULL)
		*out = e.attr;
	return rc;
}

int store_unlink(struct store *s, uint64_t parent, const char *name, size_t len, struct store_attr *out)
{
	int rc = tree_check_name(name, len, -EISDIR);

	return rc < 0 ? rc : remove_name(s, parent, name, len, false, out);
}

int store_rmdir(struct store *s, uint64_t parent, const char *name, size_t len, struct store_attr *out)
{
	int rc = tree_check_name(name, len, len == 1 ? -EINVAL : -ENOTEMPTY);

	return rc < 0 ? rc : remove_name(s, parent, name, len, true, out);
}

/* --- the end of an inode ---------------------------------------------------------------------------------- */

int tree_delete_inode(struct store *s, const struct store_attr *a, int how, const char *path, size_t path_len)
{
	int rc = 0;

	if (a->version != 0 && path != NULL)
		rc = meta_version_end(s, a->version, a, how, true, path, path_len);
	else if (a->version != 0)
		rc = meta_version_delete(s, a->version);
	if (rc == 0)
		rc = tree_delete_of(s, "DELETE FROM xattr WHERE ino = ?1", a->ino);
	if (rc == 0)
		rc = tree_delete_of(s, "DELETE FROM inode WHERE ino = ?1", a->ino);
	return rc;
}

int store_reap(struct store *s, uint64_t ino)
{
	struct store_attr a;
	struct loose *l;
	int rc;

	rc = tree_check_change(s, false);
	if (rc < 0)
		return rc;
	rc = meta_begin(s);
	if (rc < 0)
		return rc;
	l = loose_find(s->tree, ino);
	if (l == NULL || !l->unlinked)
		goto end;
	rc = meta_inode_get(s, ino, &a);
	if (rc == 0)
		rc = tree_delete_inode(s, &a, l->how, l->path, l->path_len);
	if (rc == 0 && l->written)
		rc = tree_delete_orphan(s, ino);
	if (rc == 0)
		loose_drop(s->tree, l);
end:
	return meta_end(s, rc);
}
