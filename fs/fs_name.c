/*
 * fs_name.c: names made, moved and removed.
 *
 * A name that moves or is added takes what was written so far with it: the session is published first, so that the new name never
 * leads to less than the old one did (safetensors renames while the file is open, timm and DCP never call fsync).  Then the
 * rename is committed, because "write a temporary file, rename it" is how tools save, and they expect to find one of the
 * two contents after a crash.
 *
 * Names beginning with '@' in the root are views: nobody makes them, removes them or moves them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "fs_internal.h"

int fs_name_allowed(uint64_t parent, const char *name)
{
	if (parent & FS_VIRTUAL)
		return ckpt_fail(EROFS, "views are read-only");
	if (parent == FS_ROOT && fs_view_name(name))
		return ckpt_fail(EPERM, "'%s': names beginning with '@' in the root are kept for views", name);
	return 0;
}

/* For names that are to go away: one of a view exists and can't, another one is not there. */
static int name_removable(uint64_t parent, const char *name)
{
	if (parent & FS_VIRTUAL)
		return ckpt_fail(EROFS, "views are read-only");
	if (parent == FS_ROOT && fs_view_name(name))
		return ckpt_fail(EROFS, "'%s': views are read-only", name);
	return 0;
}

int fs_make(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name, mode_t mode, dev_t rdev,
		const char *target, struct fs_entry *out)
{
	struct store_new n = {
		.mode = mode,
		.uid = c->uid,
		.gid = c->gid,
		.rdev = rdev,
		.target = target,
		.target_len = target ? strlen(target) : 0,
	};
	unsigned long long seen = atomic_load(&fs->gone), published = atomic_load(&fs->published);
	struct store_attr a;
	int rc;

	rc = fs_name_allowed(parent, name);
	if (rc < 0)
		return rc;
	ckpt_rwlock_rdlock(&fs->names);
	rc = store_make(fs->store, parent, name, strlen(name), &n, &a);
	pthread_rwlock_unlock(&fs->names);
	if (rc < 0)
		return rc;
	rc = fs_inode_ref(fs, a.ino);
	if (rc < 0)
		return rc;
	if (!fs_inode_still(fs, a.ino, seen)) {
		fs_inode_unref(fs, a.ino, 1);
		return ckpt_fail(ENOENT, "'%s' was removed at once", name);
	}
	fs_entry_fill(fs, &a, published, out);
	fs_notify_outside(fs, c, parent, name);
	fs_notify_outside(fs, c, parent, NULL);
	return 0;
}

int fs_create_unnamed(struct fs *fs, const struct fs_caller *c, uint64_t parent, mode_t mode, int flags,
		struct fs_handle **h, struct fs_entry *out)
{
	struct store_new n = { .mode = S_IFREG | (mode & 07777), .uid = c->uid, .gid = c->gid };
	struct store_attr a;
	int rc;

	if (parent & FS_VIRTUAL)
		return ckpt_fail(EROFS, "views are read-only");
	rc = store_make(fs->store, parent, NULL, 0, &n, &a);
	if (rc < 0)
		return rc;
	rc = fs_inode_ref(fs, a.ino);
	fs_inode_orphaned(fs, a.ino);
	if (rc < 0)
		return rc;
	rc = fs_open_file(fs, c, a.ino, flags & ~O_TRUNC, h);
	if (rc < 0)
		fs_inode_unref(fs, a.ino, 1);
	else
		fs_entry_fill(fs, &a, atomic_load(&fs->published), out);
	return rc;
}

/* A file that was made without a name counts as one that has some while it gets its first: what was written goes with it. */
int fs_link(struct fs *fs, const struct fs_caller *c, uint64_t ino, uint64_t parent, const char *name, struct fs_entry *out)
{
	unsigned long long published = atomic_load(&fs->published);
	struct store_attr a;
	bool orphan;
	int rc;

	if (ino & FS_VIRTUAL)
		return ckpt_fail(EROFS, "views are read-only");
	rc = fs_name_allowed(parent, name);
	if (rc < 0)
		return rc;
	rc = fs_inode_ref(fs, ino);
	if (rc < 0)
		return rc;
	orphan = fs_inode_named(fs, ino);
	rc = fs_session_publish_ino(fs, ino);
	if (rc == 0) {
		ckpt_rwlock_rdlock(&fs->names);
		rc = store_link(fs->store, ino, parent, name, strlen(name), &a);
		pthread_rwlock_unlock(&fs->names);
	}
	if (rc < 0) {
		if (orphan)
			fs_inode_orphaned(fs, ino);
		fs_inode_unref(fs, ino, 1);
		return rc;
	}
	fs_entry_fill(fs, &a, published, out);
	fs_notify_outside(fs, c, parent, name);
	fs_notify_outside(fs, c, parent, NULL);
	fs_notify_outside(fs, c, ino, NULL);
	return 0;
}

/* After a name went: the inode it led to, the directory it was in. */
static void name_went(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name, const struct store_attr *a)
{
	fs_ctime_moved(fs, a->ino);
	if (a->nlink == 0)
		fs_inode_orphaned(fs, a->ino);
	else
		fs_notify_outside(fs, c, a->ino, NULL);
	fs_notify_outside(fs, c, parent, name);
	fs_notify_outside(fs, c, parent, NULL);
}

int fs_unlink(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name)
{
	struct store_attr a;
	int rc;

	rc = name_removable(parent, name);
	if (rc < 0)
		return rc;
	ckpt_rwlock_rdlock(&fs->names);
	rc = store_unlink(fs->store, parent, name, strlen(name), &a);
	pthread_rwlock_unlock(&fs->names);
	if (rc < 0)
		return rc;
	name_went(fs, c, parent, name, &a);
	return 0;
}

int fs_name_remove(struct fs *fs, uint64_t parent, const char *name, uint64_t ino)
{
	size_t len = strlen(name);
	struct store_attr a;
	int rc;

	ckpt_rwlock_wrlock(&fs->names);
	rc = store_lookup(fs->store, parent, name, len, &a);
	if (rc == 0 && a.ino != ino)
		rc = ckpt_fail(ENOENT, "'%s' is another file by now", name);
	if (rc == 0)
		rc = store_unlink(fs->store, parent, name, len, &a);
	pthread_rwlock_unlock(&fs->names);
	atomic_fetch_add(&fs->changes, 1);
	if (rc == 0 && a.nlink == 0)
		fs_inode_orphaned(fs, ino);
	return rc;
}

int fs_rmdir(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name)
{
	struct store_attr a;
	int rc;

	rc = name_removable(parent, name);
	if (rc < 0)
		return rc;
	ckpt_rwlock_rdlock(&fs->names);
	rc = store_rmdir(fs->store, parent, name, strlen(name), &a);
	pthread_rwlock_unlock(&fs->names);
	if (rc < 0)
		return rc;
	name_went(fs, c, parent, name, &a);
	return 0;
}

/* Publishes what a name leads to; *regular says whether it is a file. */
static int publish_name(struct fs *fs, uint64_t parent, const char *name, bool *regular)
{
	struct store_attr a;
	int rc;

	rc = store_lookup(fs->store, parent, name, strlen(name), &a);
	if (rc < 0)
		return rc;
	*regular = S_ISREG(a.mode);
	return *regular ? fs_session_publish_ino(fs, a.ino) : 0;
}

int fs_rename(struct fs *fs, const struct fs_caller *c, uint64_t parent, const char *name, uint64_t newparent,
		const char *newname, unsigned flags)
{
	struct store_attr replaced = { 0 };
	bool regular, other = false;
	int rc;

	rc = name_removable(parent, name);
	if (rc == 0)
		rc = fs_name_allowed(newparent, newname);
	if (rc == 0)
		rc = publish_name(fs, parent, name, &regular);
	if (rc == 0 && (flags & RENAME_EXCHANGE))
		rc = publish_name(fs, newparent, newname, &other);
	if (rc < 0)
		return rc;

	ckpt_rwlock_rdlock(&fs->names);
	rc = store_rename(fs->store, parent, name, strlen(name), newparent, newname, strlen(newname), flags, &replaced);
	pthread_rwlock_unlock(&fs->names);
	if (rc < 0)
		return rc;
	if (replaced.ino != 0)
		fs_ctime_moved(fs, replaced.ino);
	if (replaced.ino != 0 && replaced.nlink == 0)
		fs_inode_orphaned(fs, replaced.ino);
	if (regular || other) {
		/* The rename itself is done and can't be taken back: a commit that fails is said in the log, and again by the
		 * next fsync. */
		if (store_commit_names(fs->store) < 0)
			ckpt_log(LOG_ERR, "rename to '%s' is not committed yet: %s", newname, ckpt_errmsg());
	}
	if (replaced.ino != 0 && replaced.nlink > 0)
		fs_notify_outside(fs, c, replaced.ino, NULL);
	fs_notify_outside(fs, c, parent, name);
	fs_notify_outside(fs, c, parent, NULL);
	fs_notify_outside(fs, c, newparent, newname);
	fs_notify_outside(fs, c, newparent, NULL);
	return 0;
}
