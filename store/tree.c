/*
 * tree.c: inodes and the names that lead to them.
 *
 * Every operation is a handful of statements on three B-trees, each O(log n) in everything, so that a
 * directory of a million entries costs what one of ten does:
 *
 *     dirent        (parent, name)   -> cookie, ino, type        a name
 *     dirent_order  (parent, cookie) -> ino, type, name          the order of readdir
 *     inode         ino              -> attributes
 *
 * 1. A cookie belongs to a dirent for its life and is never used twice: it is the place of the entry in the
 *    listing.  A rename within a directory keeps it, and a file renamed over another takes the place of the
 *    one it replaced: a listing under way shows each exactly once, and one that renames as it goes comes to
 *    an end.
 * 2. inode.parent, inode.cookie name one dirent of the inode, so that a path is found from an inode without an
 *    index on dirent(ino), which every create and unlink would pay for.  When that dirent goes while
 *    others remain, cookie becomes 0 (not known) until a link or rename gives the inode a name again.
 * 3. nlink of a directory is 2 + its subdirectories; its size is always 4096.
 * 4. parent of a directory is true at every moment (".." and the search for loops walk it); the root is its
 *    own.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store_history.h"
#include "store_tree.h"
#include "tree_internal.h"

enum { TARGET_MAX = 4095 };

/* --- pieces ---------------------------------------------------------------------------------------- */

int64_t tree_changes(sqlite3_stmt *st)
{
	return sqlite3_changes64(sqlite3_db_handle(st));
}

int tree_check_name(const char *name, size_t len, int dots)
{
	if (len == 0)
		return ckpt_fail(ENOENT, "a name is empty");
	if (len > STORE_NAME_MAX)
		return ckpt_fail(ENAMETOOLONG, "a name is %zu bytes long, the most is %d", len, STORE_NAME_MAX);
	if (memchr(name, '/', len) != NULL || memchr(name, '\0', len) != NULL)
		return ckpt_fail(EINVAL, "'%.*s': '/' or a NUL byte in a name", (int)len, name);
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return ckpt_fail(-dots, "'%.*s' is not a name to change", (int)len, name);
	return 0;
}

int tree_check_change(struct store *s, bool space)
{
	if (s->readonly)
		return ckpt_fail(EROFS, "store %s is read-only", s->path);
	return space ? store_space_ask(s, TREE_SPACE) : 0;
}

int tree_dir(struct store *s, uint64_t ino, struct store_attr *out)
{
	int rc = meta_inode_get(s, ino, out);

	if (rc < 0)
		return rc;
	if (!S_ISDIR(out->mode))
		return ckpt_fail(ENOTDIR, "inode %llu: not a directory", (unsigned long long)ino);
	return out->nlink == 0 ? tree_no_inode(ino) : 0;
}

/* As tree_seek(), in the tables. */
static int read_name(struct store *s, uint64_t parent, const char *name, size_t len, struct tree_entry *out)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT d.ino, d.cookie, i.cookie = d.cookie AND i.parent = d.parent, " TREE_COLS
			" FROM dirent d CROSS JOIN inode i "
			"ON i.ino = d.ino WHERE d.parent = ?1 AND d.name = ?2");
	int rc;

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)parent);
	tree_bind_blob(st, 2, name, len);
	rc = meta_step(s, st);
	if (rc > 0) {
		out->cookie = (uint64_t)sqlite3_column_int64(st, 1);
		out->placed = sqlite3_column_int(st, 2) != 0;
		tree_read_attr(s, st, 3, (uint64_t)sqlite3_column_int64(st, 0), &out->attr);
		sqlite3_reset(st);
	}
	if (rc >= 0)
		tree_seen_put(s, parent, name, len, rc > 0 ? out : NULL);
	return rc;
}

int tree_seek(struct store *s, uint64_t parent, const char *name, size_t len, struct tree_entry *out)
{
	const struct loose *l;
	int rc = tree_seen_get(s, parent, name, len, out);

	if (rc < 0)
		rc = read_name(s, parent, name, len, out);
	if (rc <= 0)
		return rc;
	l = loose_find(s->tree, out->attr.ino);
	return l == NULL || !l->hidden;
}

int tree_find(struct store *s, uint64_t parent, const char *name, size_t len, struct tree_entry *out)
{
	struct store_attr dir;
	int rc = tree_seek(s, parent, name, len, out);

	if (rc > 0)
		return 0;
	/* Whether a name is missing or its directory is, it is ENOENT: what was seen to be a directory is not asked again. */
	if (rc == 0 && (s->tree == NULL || s->tree->dir != parent)) {
		rc = tree_dir(s, parent, &dir);
		if (rc == 0 && s->tree != NULL)
			s->tree->dir = parent;
	}
	return rc < 0 ? rc : ckpt_fail(ENOENT, "'%.*s': not there", (int)len, name);
}

int tree_empty(struct store *s, uint64_t ino)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT 1 FROM dirent WHERE parent = ?1 LIMIT 1");
	int rc;

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)ino);
	rc = meta_step(s, st);
	sqlite3_reset(st);
	return rc <= 0 ? rc : ckpt_fail(ENOTEMPTY, "inode %llu: directory not empty", (unsigned long long)ino);
}

int tree_touch(struct store *s, uint64_t ino, int64_t now, int64_t dlinks)
{
	sqlite3_stmt *st;
	int rc;

	if (dlinks == 0)
		return tree_late_put(s, ino, true, now);
	rc = tree_late_settle(s, ino, true);
	if (rc < 0)
		return rc;
	st = meta_stmt(s, "UPDATE inode SET mtime = ?2 - btime, ctime = ?2 - btime, nlink = nlink + ?3 WHERE ino = ?1");
	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)ino);
	tree_bind(st, 2, now);
	tree_bind(st, 3, dlinks);
	return meta_exec(s, st);
}

int64_t tree_cookie(struct store *s)
{
	int64_t cookie = meta_next(s, META_COOKIE);

	if (cookie > 0)
		s->tree->cookie = (uint64_t)cookie;
	return cookie;
}

int tree_add_name(struct store *s, uint64_t parent, const char *name, size_t len, uint64_t ino, uint32_t mode,
		uint64_t *cookie)
{
	sqlite3_stmt *st;
	int64_t c = tree_cookie(s);
	int rc;

	if (c < 0)
		return (int)c;
	tree_seen_forget(s);
	st = meta_stmt(s, "INSERT OR IGNORE INTO dirent(parent, name, cookie, ino, type) VALUES(?1, ?2, ?3, ?4, ?5)");
	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)parent);
	tree_bind_blob(st, 2, name, len);
	tree_bind(st, 3, c);
	tree_bind(st, 4, (int64_t)ino);
	tree_bind(st, 5, IFTODT(mode));
	rc = meta_exec(s, st);
	if (rc < 0)
		return rc;
	if (tree_changes(st) == 0)
		return ckpt_fail(EEXIST, "'%.*s': there already", (int)len, name);
	*cookie = (uint64_t)c;
	return 0;
}

/* --- looking ----------------------------------------------------------------------------------------- */

int store_lookup(struct store *s, uint64_t parent, const char *name, size_t len, struct store_attr *out)
{
	struct tree_entry e;
	bool dot = len == 1 && name[0] == '.', dotdot = len == 2 && name[0] == '.' && name[1] == '.';
	int rc;

	if (!dot && !dotdot) {
		rc = tree_check_name(name, len, -EINVAL);
		if (rc < 0)
			return rc;
	}
	meta_lock(s);
	if (dot || dotdot) {
		rc = tree_dir(s, parent, &e.attr);
		if (rc == 0 && dotdot)
			rc = meta_inode_get(s, e.attr.parent, &e.attr);
	} else {
		rc = tree_find(s, parent, name, len, &e);
	}
	meta_unlock(s);
	if (rc == 0)
		*out = e.attr;
	return rc;
}

ssize_t store_readlink(struct store *s, uint64_t ino, char *buf, size_t cap)
{
	sqlite3_stmt *st;
	ssize_t rc;

	meta_lock(s);
	st = meta_stmt(s, "SELECT mode, target FROM inode WHERE ino = ?1");
	if (st == NULL) {
		rc = meta_fail(s);
		goto unlock;
	}
	tree_bind(st, 1, (int64_t)ino);
	rc = meta_step(s, st);
	if (rc < 0)
		goto unlock;
	if (rc == 0) {
		rc = tree_no_inode(ino);
	} else if (!S_ISLNK((uint32_t)sqlite3_column_int64(st, 0))) {
		rc = ckpt_fail(EINVAL, "inode %llu: not a symbolic link", (unsigned long long)ino);
	} else {
		const void *target = sqlite3_column_blob(st, 1);
		size_t len = (size_t)sqlite3_column_bytes(st, 1);

		rc = (ssize_t)(len < cap ? len : cap);
		if (rc > 0)
			memcpy(buf, target, (size_t)rc);
	}
	sqlite3_reset(st);
unlock:
	meta_unlock(s);
	return rc;
}

/* --- changing ------------------------------------------------------------------------------------------ */

static int insert_inode(struct store *s, const struct store_attr *a, uint64_t parent, uint64_t cookie,
		const char *target, size_t target_len)
{
	sqlite3_stmt *st = meta_stmt(s, "INSERT INTO inode(ino, mode, nlink, uid, gid, rdev, size, data, atime, mtime, "
			"ctime, btime, version, parent, cookie, target) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, 0, ?8, "
			"0, ?9, ?10, ?11)");

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)a->ino);
	tree_bind(st, 2, a->mode);
	tree_bind(st, 3, a->nlink);
	tree_bind(st, 4, a->uid);
	tree_bind(st, 5, a->gid);
	tree_bind(st, 6, (int64_t)a->rdev);
	tree_bind(st, 7, (int64_t)a->size);
	tree_bind(st, 8, meta_ns(a->ctime));
	tree_bind(st, 9, (int64_t)parent);
	tree_bind(st, 10, (int64_t)cookie);
	if (target != NULL)
		tree_bind_blob(st, 11, target, target_len);
	return meta_exec(s, st);
}

static int check_new(const struct store_new *n)
{
	switch (n->mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return 0;
	case S_IFLNK:
		if (n->target == NULL || n->target_len == 0)
			return ckpt_fail(ENOENT, "a symbolic link's target is empty");
		if (n->target_len > TARGET_MAX)
			return ckpt_fail(ENAMETOOLONG, "a symbolic link's target is %zu bytes long, the most is %d",
					n->target_len, TARGET_MAX);
		return 0;
	default:
		return ckpt_fail(EINVAL, "mode %o: no such file type", (unsigned)n->mode);
	}
}

/* The attributes of what is to be made in `dir`. */
static void fresh_attr(struct store_attr *a, const struct store_attr *dir, const struct store_new *n, uint64_t ino)
{
	struct timespec now = meta_timespec(meta_now());

	*a = (struct store_attr){
		.ino = ino,
		.mode = n->mode & (S_IFMT | 07777),
		.nlink = 1,
		.uid = n->uid,
		.gid = dir->mode & S_ISGID ? dir->gid : n->gid,
		.atime = now, .mtime = now, .ctime = now, .btime = now,
	};
	switch (n->mode & S_IFMT) {
	case S_IFDIR:
		a->nlink = 2;
		a->size = TREE_DIR_SIZE;
		a->parent = dir->ino;
		if (dir->mode & S_ISGID)
			a->mode |= S_ISGID;
		break;
	case S_IFLNK:
		a->size = n->target_len;
		break;
	case S_IFCHR:
	case S_IFBLK:
		a->rdev = n->rdev;
		break;
	}
}

int store_make(struct store *s, uint64_t parent, const char *name, size_t len, const struct store_new *n,
		struct store_attr *out)
{
	struct store_attr dir, a;
	struct loose *l = NULL;
	bool isdir = S_ISDIR(n->mode);
	uint64_t cookie = 0;
	int64_t ino;
	int rc;

	rc = name != NULL ? tree_check_name(name, len, -EEXIST) : 0;
	if (rc == 0)
		rc = check_new(n);
	if (rc == 0)
		rc = tree_check_change(s, true);
	if (rc < 0)
		return rc;
	rc = meta_begin(s);
	if (rc < 0)
		return rc;
	rc = tree_dir(s, parent, &dir);
	if (rc < 0)
		goto end;
	if (isdir && dir.nlink >= TREE_LINK_MAX) {
		rc = ckpt_fail(EMLINK, "inode %llu: too many subdirectories", (unsigned long long)parent);
		goto end;
	}
	ino = meta_next(s, META_INO);
	if (ino < 0) {
		rc = (int)ino;
		goto end;
	}
	if ((n->provisional && S_ISREG(n->mode)) || name == NULL) {
		l = loose_new((uint64_t)ino);
		if (l == NULL) {
			rc = ckpt_fail(ENOMEM, "inode %lld: no memory", (long long)ino);
			goto end;
		}
		l->provisional = name != NULL;
		l->unlinked = l->unnamed = name == NULL;
		l->how = l->unlinked ? STORE_DELETED : 0;
	}
	fresh_attr(&a, &dir, n, (uint64_t)ino);
	if (name != NULL)
		rc = tree_add_name(s, parent, name, len, a.ino, a.mode, &cookie);
	else
		a.nlink = 0;
	if (rc == 0)
		rc = insert_inode(s, &a, parent, cookie, S_ISLNK(a.mode) ? n->target : NULL, n->target_len);
	if (rc == 0)
		tree_known_put(s, &a);
	if (rc == 0 && name != NULL)
		rc = tree_touch(s, parent, meta_ns(a.ctime), isdir);
	if (rc == 0 && l != NULL) {
		loose_add(s->tree, l);
		l = NULL;
	}
end:
	rc = meta_end(s, rc);
	free(l);
	if (rc == 0 && out != NULL)
		*out = a;
	return rc;
}

int store_link(struct store *s, uint64_t ino, uint64_t parent, const char *name, size_t len, struct store_attr *out)
{
	struct store_attr dir, a;
	struct loose *l;
	sqlite3_stmt *st;
	uint64_t cookie;
	int64_t now = meta_now();
	int rc;

	rc = tree_check_name(name, len, -EEXIST);
	if (rc == 0)
		rc = tree_check_change(s, true);
	if (rc < 0)
		return rc;
	rc = meta_begin(s);
	if (rc < 0)
		return rc;
	rc = meta_inode_get(s, ino, &a);
	if (rc == 0)
		rc = tree_dir(s, parent, &dir);
	if (rc < 0)
		goto end;
	l = a.nlink == 0 ? loose_find(s->tree, ino) : NULL;
	if (S_ISDIR(a.mode))
		rc = ckpt_fail(EPERM, "inode %llu: a directory has one name", (unsigned long long)ino);
	else if (a.nlink == 0 && (l == NULL || !l->unnamed))
		rc = tree_no_inode(ino);
	else if (a.nlink >= TREE_LINK_MAX)
		rc = ckpt_fail(EMLINK, "inode %llu: too many names", (unsigned long long)ino);
	else
		rc = tree_add_name(s, parent, name, len, ino, a.mode, &cookie);
	if (rc < 0)
		goto end;
	a.nlink++;
	a.ctime = meta_timespec(now);
	rc = tree_late_settle(s, ino, false);
	if (rc < 0)
		goto end;
	st = meta_stmt(s, "UPDATE inode SET nlink = nlink + 1, ctime = ?2 - btime, parent = CASE cookie WHEN 0 THEN ?3 ELSE "
			"parent END, cookie = CASE cookie WHEN 0 THEN ?4 ELSE cookie END WHERE ino = ?1");
	if (st == NULL) {
		rc = meta_fail(s);
		goto end;
	}
	tree_bind(st, 1, (int64_t)ino);
	tree_bind(st, 2, now);
	tree_bind(st, 3, (int64_t)parent);
	tree_bind(st, 4, (int64_t)cookie);
	rc = meta_exec(s, st);
	if (rc == 0)
		rc = tree_touch(s, parent, now, 0);
	if (rc == 0 && l != NULL)
		rc = loose_named(s, l);
end:
	rc = meta_end(s, rc);
	if (rc == 0 && out != NULL)
		*out = a;
	return rc;
}

/* --- one life ------------------------------------------------------------------------------------------ */

int tree_open(struct store *s)
{
	int rc;

	s->tree = calloc(1, sizeof *s->tree);
	if (s->tree == NULL)
		return ckpt_fail(ENOMEM, "store %s: no memory for its tree", s->path);
	rc = loose_open(s->tree);
	if (rc == 0)
		rc = loose_recover(s);
	if (rc < 0)
		tree_close(s);
	return rc;
}

void tree_close(struct store *s)
{
	if (s->tree == NULL)
		return;
	tree_paths_forget(s->tree);
	loose_close(s->tree);
	free(s->tree);
	s->tree = NULL;
}
