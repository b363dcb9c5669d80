/*
 * fuse_privilege.c: what a change by a user takes from a file.
 *
 * A write, a truncation or a new owner clears setuid, setgid and security.capability.  Without HANDLE_KILLPRIV the
 * kernel sees to that, with three gaps that are closed here:
 *
 *   - writes past the page cache (direct_io) clear nothing, so a file that has anything to lose is not opened that way;
 *     one that gets it later is looked at before each write
 *   - a truncation that is part of open(2) is ours altogether
 *   - setgid without execution for the group was once a mark for locks, and FUSE's part of the kernel still keeps it;
 *     local filesystems clear it unless the user is in the group.  The request comes all the same, naming nothing.
 *
 * Such a request that names nothing is sent for chown(path, -1, -1) too: no more than ctime moves.
 */
#include <errno.h>
#include <stdlib.h>

#include "fuse_internal.h"

enum { GROUPS_MAX = 65536 }; /* the kernel's own limit */

static bool in_group(fuse_req_t req, gid_t gid)
{
	gid_t few[32], *groups = few;
	int n, room = sizeof(few) / sizeof(few[0]);
	bool found;

	if (fuse_req_ctx(req)->gid == gid)
		return true;
	n = fuse_req_getgroups(req, room, groups);
	if (n > room && n <= GROUPS_MAX) {
		room = n;
		groups = calloc((size_t)room, sizeof(*groups));
		n = groups != NULL ? fuse_req_getgroups(req, room, groups) : -ENOMEM;
	}
	found = false;
	for (int i = 0; i < n && i < room && !found; i++)
		found = groups[i] == gid;
	if (groups != few)
		free(groups);
	return found;
}

mode_t fuse_lost_bits(fuse_req_t req, const struct stat *st)
{
	mode_t bits = st->st_mode & S_ISUID;

	if (S_ISDIR(st->st_mode) || fuse_req_ctx(req)->uid == 0)
		return 0;
	if ((st->st_mode & S_ISGID) && ((st->st_mode & S_IXGRP) || !in_group(req, st->st_gid)))
		bits |= S_ISGID;
	return bits;
}

bool fuse_may_lose(struct fs *fs, const struct stat *st)
{
	if (st->st_mode & (S_ISUID | S_ISGID))
		return true;
	return fs_getxattr(fs, st->st_ino, FUSE_CAPABILITY_XATTR, NULL, 0) > 0;
}

void fuse_privilege_given(struct fuse_adapter *a, const struct stat *st)
{
	if (S_ISREG(st->st_mode) && (st->st_mode & (S_ISUID | S_ISGID)))
		atomic_store(&a->privileges, true);
}

int fuse_privilege_written(fuse_req_t req, fuse_ino_t ino)
{
	struct fs_caller c = caller(req);
	struct fs_entry e;
	mode_t bits;
	int rc = ino & FS_VIRTUAL ? 0 : fs_getattr(tree(req), ino, &e);

	if (rc < 0 || (ino & FS_VIRTUAL))
		return rc;
	bits = fuse_lost_bits(req, &e.st);
	e.st.st_mode &= ~bits;
	if (bits != 0)
		rc = fs_setattr(tree(req), &c, ino, &e.st, FS_SET_MODE, NULL, &e);
	if (rc == 0 && fs_getxattr(tree(req), ino, FUSE_CAPABILITY_XATTR, NULL, 0) > 0)
		rc = fs_removexattr(tree(req), &c, ino, FUSE_CAPABILITY_XATTR);
	return rc == -ENODATA ? 0 : rc;
}

static bool may_write(fuse_req_t req, const struct stat *st)
{
	if (fuse_req_ctx(req)->uid == st->st_uid)
		return true;
	return st->st_mode & (in_group(req, st->st_gid) ? S_IWGRP : S_IWOTH);
}

static bool lone_setgid(mode_t mode)
{
	return !S_ISDIR(mode) && (mode & (S_ISGID | S_IXGRP)) == S_ISGID;
}

int fuse_setattr_privilege(fuse_req_t req, fuse_ino_t ino, struct stat *st, int *to_set)
{
	const int losing = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID | FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MODE;
	bool user = fuse_req_ctx(req)->uid != 0;
	struct fs_entry e;
	mode_t mode;
	int rc;

	if (*to_set != 0 && (!user || !(*to_set & losing)))
		return 0;
	if ((*to_set & FUSE_SET_ATTR_MODE) && !lone_setgid(st->st_mode | S_IFREG))
		return 0;
	rc = fs_getattr(tree(req), ino, &e);
	if (rc < 0)
		return rc;
	mode = e.st.st_mode & S_IFMT;
	mode |= (*to_set & FUSE_SET_ATTR_MODE ? st->st_mode : e.st.st_mode) & 07777;
	if (user && lone_setgid(mode) && !in_group(req, e.st.st_gid) && (*to_set != 0 || may_write(req, &e.st)))
		mode &= ~(mode_t)S_ISGID;
	if (*to_set == 0 || mode != e.st.st_mode) {
		st->st_mode = mode;
		*to_set |= FUSE_SET_ATTR_MODE;
	}
	return 0;
}
