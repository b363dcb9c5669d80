/*
 * fuse_xattr.c: the requests for extended attributes, and one of the mount's own.
 */
#include <errno.h>
#include <string.h>

#include "fuse_internal.h"
#include "mount_table.h"

/* A size of 0 asks how much there is. */
static void reply_xattr(fuse_req_t req, ssize_t n, const void *buf, size_t size)
{
	if (n < 0)
		reply_rc(req, n);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)n);
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

/* Which store a mount shows, where -o fsname= hides it: not listed, on the root only. */
static ssize_t store_xattr(struct fs *fs, void *buf, size_t size)
{
	const char *path = store_path(fs_store(fs));
	size_t len = strlen(path);
	if (size > 0 && size < len)
		return -ERANGE;
	if (size > 0)
		memcpy(buf, path, len);
	return (ssize_t)len;
}

static ssize_t get_xattr(struct fs *fs, uint64_t ino, const char *name, void *buf, size_t size)
{
	if (ino == FS_ROOT && strcmp(name, FS_MOUNT_STORE_XATTR) == 0)
		return store_xattr(fs, buf, size);
	return fs_getxattr(fs, ino, name, buf, size);
}

void fuse_op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	void *buf = size > 0 ? fuse_scratch(size) : NULL;
	if (size > 0 && buf == NULL)
		reply_rc(req, -ENOMEM);
	else
		reply_xattr(req, get_xattr(tree(req), ino, name, buf, size), buf, size);
}

void fuse_op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	void *buf = size > 0 ? fuse_scratch(size) : NULL;
	if (size > 0 && buf == NULL)
		reply_rc(req, -ENOMEM);
	else
		reply_xattr(req, fs_listxattr(tree(req), ino, buf, size), buf, size);
}

void fuse_op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct fs_caller c = caller(req);
	if (strcmp(name, FUSE_CAPABILITY_XATTR) == 0)
		atomic_store(&adapter(req)->privileges, true);
	reply_rc(req, sync_names(req, fs_setxattr(tree(req), &c, ino, name, value, size, flags)));
}

void fuse_op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct fs_caller c = caller(req);
	reply_rc(req, sync_names(req, fs_removexattr(tree(req), &c, ino, name)));
}
