/*
 * fuse_dir.c: the requests that list directories.
 *
 * A listing is cut into answers of the size the kernel asks for; the offset of an entry is the store's cookie for what comes behind it,
 * which stays good while the directory changes.  In READDIRPLUS each entry but "." and ".." is looked up as well, and
 * counts as such only if it went into the answer.
 */
#include "fuse_internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static struct fs_dir *dir_handle(const struct fuse_file_info *fi)
{
	return (struct fs_dir *)(uintptr_t)fi->fh;
}

void fuse_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = tree(req);
	struct fs_dir *d = NULL;
	int rc = fs_opendir(fs, ino, &d);
	if (rc < 0) {
		reply_rc(req, rc);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)d;
	/* The kernel may keep a listing: it drops it when it changes the directory itself, or is told that a name changed. */
	fi->cache_readdir = fi->keep_cache = !(ino & FS_VIRTUAL);
	if (fuse_reply_open(req, fi) == -ENOENT)
		fs_closedir(fs, d);
}

struct listing {
	fuse_req_t req;
	bool plus;
	char *buf;
	size_t size, used;
};

/* Adds an entry to the answer; not zero when there is no room, and then it does not count as looked up. */
static int add_entry(void *arg, const char *name, size_t len, uint64_t ino, mode_t type, uint64_t cookie,
		const struct fs_entry *e)
{
	struct listing *l = arg;
	char text[NAME_MAX + 1];
	if (len > NAME_MAX)
		return 1;
	memcpy(text, name, len);
	text[len] = '\0';

	/* ino 0 in an entry of READDIRPLUS: a name without a lookup (".", ".."). */
	struct fuse_entry_param p = { .attr = { .st_ino = ino, .st_mode = type & S_IFMT } };
	if (e != NULL)
		p = fuse_adapter_entry(e);
	size_t room = l->size - l->used;
	size_t need = l->plus ? fuse_add_direntry_plus(l->req, l->buf + l->used, room, text, &p, (off_t)cookie)
			: fuse_add_direntry(l->req, l->buf + l->used, room, text, &p.attr, (off_t)cookie);
	if (need > room)
		return 1;
	l->used += need;
	return 0;
}

static void list(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
	struct listing l = { .req = req, .plus = plus, .buf = fuse_scratch(size), .size = size };
	int rc = l.buf == NULL ? -ENOMEM : fs_readdir(tree(req), dir_handle(fi), (uint64_t)off, plus, add_entry, &l);
	/* Entries already in the answer count as looked up, so they must be delivered; the error shows at the next call. */
	if (rc < 0 && l.used == 0)
		reply_rc(req, rc);
	else
		fuse_reply_buf(req, l.buf, l.used);
}

void fuse_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	list(req, size, off, fi, false);
}

void fuse_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)ino;
	list(req, size, off, fi, true);
}

void fuse_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fs_closedir(tree(req), dir_handle(fi));
	reply_rc(req, 0);
}

void fuse_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	reply_rc(req, fs_fsyncdir(tree(req), ino));
}
