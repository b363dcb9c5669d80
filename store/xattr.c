/*
 * xattr.c: extended attributes, names and values as they come.
 *
 * Which namespaces a mount offers is for fs/ to say.  All names of an inode with their NUL bytes fit
 * LIST_MAX, which is what listxattr(2) can return.
 */
#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

#include "store_tree.h"
#include "tree_internal.h"

enum { NAME_MAX_LEN = 255, VALUE_MAX = 65536, LIST_MAX = 65536 };

static int check_name(const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > NAME_MAX_LEN)
		return ckpt_fail(ERANGE, "an attribute's name is %zu bytes long, 1 to %d are possible", len, NAME_MAX_LEN);
	return 0;
}

/* Binds ?1 inode, ?2 name. */
static sqlite3_stmt *stmt(struct store *s, const char *sql, uint64_t ino, const char *name)
{
	sqlite3_stmt *st = meta_stmt(s, sql);

	if (st == NULL)
		return NULL;
	tree_bind(st, 1, (int64_t)ino);
	sqlite3_bind_text(st, 2, name, -1, SQLITE_STATIC);
	return st;
}

static int no_attribute(uint64_t ino, const char *name)
{
	return ckpt_fail(ENODATA, "inode %llu: no attribute '%s'", (unsigned long long)ino, name);
}

ssize_t store_getxattr(struct store *s, uint64_t ino, const char *name, void *buf, size_t cap)
{
	sqlite3_stmt *st;
	ssize_t rc = check_name(name);
	size_t size;

	if (rc < 0)
		return rc;
	meta_lock(s);
	st = stmt(s, "SELECT value FROM xattr WHERE ino = ?1 AND name = ?2", ino, name);
	rc = st != NULL ? meta_step(s, st) : meta_fail(s);
	if (rc == 0)
		rc = no_attribute(ino, name);
	if (rc < 0)
		goto unlock;
	size = (size_t)sqlite3_column_bytes(st, 0);
	if (cap != 0 && size > cap) {
		rc = ckpt_fail(ERANGE, "attribute '%s': %zu bytes do not fit %zu", name, size, cap);
	} else {
		if (cap != 0 && size > 0)
			memcpy(buf, sqlite3_column_blob(st, 0), size);
		rc = (ssize_t)size;
	}
	sqlite3_reset(st);
unlock:
	meta_unlock(s);
	return rc;
}

ssize_t store_listxattr(struct store *s, uint64_t ino, char *buf, size_t cap)
{
	struct store_attr a;
	sqlite3_stmt *st;
	size_t size = 0;
	ssize_t rc;

	meta_lock(s);
	rc = meta_inode_get(s, ino, &a);
	if (rc < 0)
		goto unlock;
	st = meta_stmt(s, "SELECT name FROM xattr WHERE ino = ?1");
	if (st == NULL) {
		rc = meta_fail(s);
		goto unlock;
	}
	tree_bind(st, 1, (int64_t)ino);
	while ((rc = meta_step(s, st)) > 0) {
		const unsigned char *name = sqlite3_column_text(st, 0);
		size_t len = (size_t)sqlite3_column_bytes(st, 0) + 1;

		if (name == NULL) {
			rc = meta_fail(s);
			sqlite3_reset(st);
			break;
		}
		if (cap != 0 && len <= cap && size <= cap - len)
			memcpy(buf + size, name, len);
		size += len;
	}
	if (rc == 0)
		rc = cap != 0 && size > cap ? ckpt_fail(ERANGE, "inode %llu: attribute names of %zu bytes do not fit %zu",
				(unsigned long long)ino, size, cap) : (ssize_t)size;
unlock:
	meta_unlock(s);
	return rc;
}

/* ctime moves. Also finds out that the inode is not there. */
static int touch(struct store *s, uint64_t ino)
{
	int rc = tree_late_settle(s, ino, false);
	sqlite3_stmt *st;

	if (rc < 0)
		return rc;
	st = meta_stmt(s, "UPDATE inode SET ctime = ?2 - btime WHERE ino = ?1");
	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)ino);
	tree_bind(st, 2, meta_now());
	rc = meta_exec(s, st);
	if (rc == 0 && tree_changes(st) == 0)
		rc = ckpt_fail(ENOENT, "inode %llu: not there", (unsigned long long)ino);
	return rc;
}

static int put(struct store *s, const char *sql, uint64_t ino, const char *name, const void *value, size_t len,
		bool *changed)
{
	sqlite3_stmt *st = stmt(s, sql, ino, name);
	int rc;

	if (st == NULL)
		return meta_fail(s);
	tree_bind_blob(st, 3, value, len);
	rc = meta_exec(s, st);
	*changed = rc == 0 && tree_changes(st) > 0;
	return rc;
}

static int check_list(struct store *s, uint64_t ino)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT sum(length(CAST(name AS BLOB)) + 1) FROM xattr WHERE ino = ?1");
	int64_t sum;
	int rc;

	if (st == NULL)
		return meta_fail(s);
	tree_bind(st, 1, (int64_t)ino);
	rc = meta_step(s, st);
	if (rc < 0)
		return rc;
	sum = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return sum <= LIST_MAX ? 0 : ckpt_fail(ENOSPC, "inode %llu: no room for more attributes", (unsigned long long)ino);
}

int store_setxattr(struct store *s, uint64_t ino, const char *name, const void *value, size_t len, int flags)
{
	bool changed = false;
	int rc = check_name(name);

	if (rc == 0 && ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) || flags == (XATTR_CREATE | XATTR_REPLACE)))
		rc = ckpt_fail(EINVAL, "attribute '%s': flags %#x", name, (unsigned)flags);
	if (rc == 0 && len > VALUE_MAX)
		rc = ckpt_fail(E2BIG, "attribute '%s': %zu bytes, the most is %d", name, len, VALUE_MAX);
	if (rc == 0)
		rc = tree_check_change(s, true);
	if (rc < 0)
		return rc;
	rc = meta_begin(s);
	if (rc < 0)
		return rc;
	rc = touch(s, ino);
	if (rc == 0 && flags != XATTR_CREATE) {
		rc = put(s, "UPDATE xattr SET value = ?3 WHERE ino = ?1 AND name = ?2", ino, name, value, len, &changed);
		if (rc == 0 && !changed && flags == XATTR_REPLACE)
			rc = no_attribute(ino, name);
	}
	if (rc == 0 && !changed) {
		rc = put(s, "INSERT OR IGNORE INTO xattr(ino, name, value) VALUES(?1, ?2, ?3)", ino, name, value, len,
				&changed);
		if (rc == 0 && !changed)
			rc = ckpt_fail(EEXIST, "inode %llu: attribute '%s' is there", (unsigned long long)ino, name);
		if (rc == 0)
			rc = check_list(s, ino);
	}
	return meta_end(s, rc);
}

int store_removexattr(struct store *s, uint64_t ino, const char *name)
{
	sqlite3_stmt *st;
	int rc = check_name(name);

	if (rc == 0)
		rc = tree_check_change(s, false);
	if (rc < 0)
		return rc;
	rc = meta_begin(s);
	if (rc < 0)
		return rc;
	rc = touch(s, ino);
	if (rc == 0) {
		st = stmt(s, "DELETE FROM xattr WHERE ino = ?1 AND name = ?2", ino, name);
		rc = st != NULL ? meta_exec(s, st) : meta_fail(s);
		if (rc == 0 && tree_changes(st) == 0)
			rc = no_attribute(ino, name);
	}
	return meta_end(s, rc);
}
