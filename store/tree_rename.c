/*
 * tree_rename.c: rename(2) and renameat2(2).
 *
 * Everything a rename can meet is decided before the first change, in the order the checks stand in
 * check_rename().  The dirent of the new name keeps its place in the listing when it is replaced or
 * exchanged, and that of the old name keeps its own when it moves within its directory (tree.c, 1).
 *
 *     plain      (old) deleted, (new) made or pointed at the source; the inode that was at (new) lost a name
 *     exchange   (old) pointed at the target, (new) pointed at the source; nobody lost anything
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "store_history.h"
#include "store_tree.h"
#include "tree_internal.h"

struct place {
	uint64_t parent;
	const char *name;
	size_t len;
};

struct move {
	struct place from, to;
	bool exchange, noreplace;
	struct tree_entry src, dst;
	bool replaces;         /* dst is there */
	int64_t now;
};

static bool is_dir(const struct tree_entry *e)
{
	return S_ISDIR(e->attr.mode);
}

/* -EINVAL when directory `ino` is `dir` or above it. */
static int outside(struct store *s, uint64_t ino, uint64_t dir)
{
	for (unsigned depth = 0; depth < TREE_DEPTH_MAX; depth++) {
		sqlite3_stmt *st;
		int rc;

		if (dir == ino)
			return ckpt_fail(EINVAL, "inode %llu: a directory can't be moved into itself", (unsigned long long)ino);
		if (dir == STORE_ROOT)
			return 0;
		st = meta_stmt(s, "SELECT parent FROM inode WHERE ino = ?1");
		if (st == NULL)
			return meta_fail(s);
		tree_bind(st, 1, (int64_t)dir);
		rc = meta_step(s, st);
		if (rc < 0)
			return rc;
		if (rc == 0)
			break;
		dir = (uint64_t)sqlite3_column_int64(st, 0);
		sqlite3_reset(st);
	}
	return ckpt_fail(EIO, "inode %llu: the directories above it do not lead to the root", (unsigned long long)dir);
}

static int check_replace(struct store *s, const struct move *m)
{
	const struct place *p = &m->to;

	if (is_dir(&m->src) && !is_dir(&m->dst))
		return ckpt_fail(ENOTDIR, "'%.*s': not a directory", (int)p->len, p->name);
	if (!is_dir(&m->src) && is_dir(&m->dst))
		return ckpt_fail(EISDIR, "'%.*s': is a directory", (int)p->len, p->name);
	return is_dir(&m->dst) ? tree_empty(s, m->dst.attr.ino) : 0;
}

/*
 * Directories that lose or win a subdirectory: what is added to the link counts of from.parent and
 * to.parent.
 */
static void link_changes(const struct move *m, int64_t *from, int64_t *to)
{
	int64_t src = is_dir(&m->src), dst = m->replaces && is_dir(&m->dst);

	*from = (m->exchange ? dst : 0) - src;
	*to = src - dst;
}

/* Looks both names up and checks all rules. 1: go on, 0: nothing to do, -errno. */
static int check_rename(struct store *s, struct move *m)
{
	struct store_attr dir;
	int64_t dfrom, dto;
	int rc;

	rc = tree_find(s, m->from.parent, m->from.name, m->from.len, &m->src);
	if (rc < 0)
		return rc;
	if (m->from.parent != m->to.parent) {
		rc = tree_dir(s, m->to.parent, &dir);
		if (rc < 0)
			return rc;
	}
	rc = tree_seek(s, m->to.parent, m->to.name, m->to.len, &m->dst);
	if (rc < 0)
		return rc;
	m->replaces = rc > 0;
	if (m->replaces && m->noreplace)
		return ckpt_fail(EEXIST, "'%.*s': there already", (int)m->to.len, m->to.name);
	if (!m->replaces && m->exchange)
		return ckpt_fail(ENOENT, "'%.*s': not there", (int)m->to.len, m->to.name);
	if (m->replaces && m->src.attr.ino == m->dst.attr.ino)
		return 0;
	if (m->from.parent != m->to.parent) {
		rc = is_dir(&m->src) ? outside(s, m->src.attr.ino, m->to.parent) : 0;
		if (rc == 0 && m->exchange && is_dir(&m->dst))
			rc = outside(s, m->dst.attr.ino, m->from.parent);
		if (rc < 0)
			return rc;
		link_changes(m, &dfrom, &dto);
		if (dto > 0 && dir.nlink >= TREE_LINK_MAX)
			return ckpt_fail(EMLINK, "inode %llu: too many subdirectories", (unsigned long long)dir.ino);
	}
	rc = m->replaces && !m->exchange ? check_replace(s, m) : 0;
	return rc < 0 ? rc : 1;
}

/* Points a dirent at another inode. */
static int point(struct store *s, const struct place *p, const struct store_attr *a)
{
	sqlite3_stmt *st = meta_stmt(s, "UPDATE dirent SET ino = ?3, type = ?4 WHERE parent = ?1 AND name = ?2");

	tree_seen_forget(s);
	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)p->parent);
	tree_bind_blob(st, 2, p->name, p->len);
	tree_bind(st, 3, (int64_t)a->ino);
	tree_bind(st, 4, IFTODT(a->mode));
	return meta_exec(s, st);
}

static int move_name(struct store *s, const struct move *m, int64_t cookie)
{
	sqlite3_stmt *st = meta_stmt(s, "UPDATE dirent SET parent = ?3, name = ?4, cookie = ?5 "
			"WHERE parent = ?1 AND name = ?2");

	tree_seen_forget(s);
	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)m->from.parent);
	tree_bind_blob(st, 2, m->from.name, m->from.len);
	tree_bind(st, 3, (int64_t)m->to.parent);
	tree_bind_blob(st, 4, m->to.name, m->to.len);
	tree_bind(st, 5, cookie);
	return meta_exec(s, st);
}

/* The inode's ctime and the place of the name it has now. */
static int settle_inode(struct store *s, struct store_attr *a, uint64_t parent, int64_t cookie, int64_t now)
{
	int rc = tree_late_settle(s, a->ino, false);
	sqlite3_stmt *st;

	if (rc < 0)
		return rc;
	a->ctime = meta_timespec(now);
	if (S_ISDIR(a->mode))
		a->parent = parent;
	st = meta_stmt(s, "UPDATE inode SET ctime = ?2 - btime, parent = ?3, cookie = ?4 WHERE ino = ?1");
	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)a->ino);
	tree_bind(st, 2, now);
	tree_bind(st, 3, (int64_t)parent);
	tree_bind(st, 4, cookie);
	return meta_exec(s, st);
}

/* A directory keeps the mtime it has. */
static int late_ctime(struct store *s, struct store_attr *a, int64_t now)
{
	a->ctime = meta_timespec(now);
	return tree_late_put(s, a->ino, false, now);
}

static int move_names(struct store *s, struct move *m)
{
	int64_t cookie;
	int rc;

	if (m->exchange) {
		rc = point(s, &m->from, &m->dst.attr);
		if (rc == 0)
			rc = point(s, &m->to, &m->src.attr);
		if (rc == 0)
			rc = settle_inode(s, &m->dst.attr, m->from.parent, (int64_t)m->src.cookie, m->now);
		cookie = (int64_t)m->dst.cookie;
	} else if (m->replaces) {
		rc = tree_delete_name(s, m->from.parent, m->from.name, m->from.len);
		if (rc == 0)
			rc = point(s, &m->to, &m->src.attr);
		cookie = (int64_t)m->dst.cookie;
	} else {
		cookie = m->from.parent == m->to.parent ? (int64_t)m->src.cookie : tree_cookie(s);
		rc = cookie < 0 ? (int)cookie : move_name(s, m, cookie);
		/* Of the inode only ctime changes. */
		if (rc == 0 && m->src.placed && m->from.parent == m->to.parent)
			return late_ctime(s, &m->src.attr, m->now);
	}
	return rc < 0 ? rc : settle_inode(s, &m->src.attr, m->to.parent, cookie, m->now);
}

static int touch_parents(struct store *s, const struct move *m)
{
	int64_t dfrom, dto;
	int rc;

	link_changes(m, &dfrom, &dto);
	if (m->from.parent == m->to.parent)
		return tree_touch(s, m->to.parent, m->now, dfrom + dto);
	rc = tree_touch(s, m->from.parent, m->now, dfrom);
	return rc < 0 ? rc : tree_touch(s, m->to.parent, m->now, dto);
}

static int do_rename(struct store *s, struct move *m)
{
	struct unnamed u = { 0 };
	int rc;

	rc = check_rename(s, m);
	if (rc <= 0) {
		m->replaces = false;
		return rc;
	}
	if (m->replaces && !m->exchange) {
		/* first, while the paths are what they were */
		rc = tree_unname(s, &m->dst.attr, m->to.parent, m->to.name, m->to.len, m->dst.cookie, m->now,
				STORE_REPLACED, &u);
		if (rc < 0)
			return rc;
	}
	rc = move_names(s, m);
	if (rc == 0)
		rc = touch_parents(s, m);
	if (rc < 0) {
		tree_unname_undo(&u);
		return rc;
	}
	if (is_dir(&m->src) || (m->exchange && is_dir(&m->dst)))
		tree_paths_forget(s->tree);
	tree_unname_done(s, &u);
	return 0;
}

int store_rename(struct store *s, uint64_t parent, const char *name, size_t len, uint64_t newparent,
		const char *newname, size_t newlen, unsigned flags, struct store_attr *replaced)
{
	struct move m = {
		.from = { parent, name, len },
		.to = { newparent, newname, newlen },
		.exchange = flags & RENAME_EXCHANGE,
		.noreplace = flags & RENAME_NOREPLACE,
		.now = meta_now(),
	};
	int rc;

	if (flags & ~(unsigned)(RENAME_EXCHANGE | RENAME_NOREPLACE) || (m.exchange && m.noreplace))
		return ckpt_fail(EINVAL, "rename: flags %#x", flags);
	rc = tree_check_name(name, len, -EBUSY);
	if (rc == 0)
		rc = tree_check_name(newname, newlen, m.noreplace ? -EEXIST : -EBUSY);
	if (rc == 0)
		rc = tree_check_change(s, false);
	if (rc < 0)
		return rc;
	rc = meta_begin(s);
	if (rc < 0)
		return rc;
	rc = meta_end(s, do_rename(s, &m));
	if (rc == 0 && replaced != NULL)
		*replaced = m.replaces ? m.dst.attr : (struct store_attr){ 0 };
	return rc;
}
