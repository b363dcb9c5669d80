/*
 * fuse_dir.c: the requests that list directories.
 *
 * A listing is cut into answers of the size the kernel asks for; the offset of an entry is the store's cookie
 * for what comes behind it, which stays good while the directory changes.  In READDIRPLUS each entry but "."
 * and ".." is looked up as well, and counts as such only if it went into the answer.
 */
#include "fuse_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct open_dir {
	struct fs_dir *dir;
	struct open_dir *prev, *next; /* in the adapter's list */
};

static struct open_dir *dir_handle(const struct fuse_file_info *fi)
{
	return (struct open_dir *)(uintptr_t)fi->fh;
}

static int open_dir(struct fuse_adapter *a, uint64_t ino, struct open_dir **out)
{
	struct open_dir *o = calloc(1, sizeof(*o));
	if (o == NULL)
		return -ENOMEM;
	int rc = fs_opendir(a->fs, ino, &o->dir);
	if (rc < 0) {
		free(o);
		return rc;
	}
	pthread_mutex_lock(&a->dirs_lock);
	o->next = a->dirs;
	if (o->next != NULL)
		o->next->prev = o;
	a->dirs = o;
	pthread_mutex_unlock(&a->dirs_lock);
	*out = o;
	return 0;
}

static void close_dir(struct fuse_adapter *a, struct open_dir *o)
{
	pthread_mutex_lock(&a->dirs_lock);
	if (o->prev != NULL)
		o->prev->next = o->next;
	else
		a->dirs = o->next;
	if (o->next != NULL)
		o->next->prev = o->prev;
	pthread_mutex_unlock(&a->dirs_lock);
	fs_closedir(a->fs, o->dir);
	free(o);
}

void fuse_dirs_close_all(struct fuse_adapter *a)
{
	while (a->dirs != NULL)
		close_dir(a, a->dirs);
}

void fuse_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fuse_adapter *a = adapter(req);
	struct open_dir *o = NULL;
	int rc = open_dir(a, ino, &o);
	if (rc < 0) {
		reply_rc(req, rc);
		return;
	}
	fi->fh = (uint64_t)(uintptr_t)o;
	/*
	 * The kernel may keep a listing: it drops it when names change through it, or it is told that one
	 * changed.
	 */
	fi->cache_readdir = fi->keep_cache = !(ino & FS_VIRTUAL);
	if (fuse_reply_open(req, fi) == -ENOENT)
		close_dir(a, o);
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
	int rc = -ENOMEM;
	if (l.buf != NULL)
		rc = fs_readdir(tree(req), dir_handle(fi)->dir, (uint64_t)off, plus ? FS_ATTRS_QUICK : FS_NAMES,
				add_entry, &l);
	/*
	 * Entries already in the answer count as looked up, so they must be delivered; the error shows at
	 * the next call.
	 */
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
	close_dir(adapter(req), dir_handle(fi));
	reply_rc(req, 0);
}

void fuse_op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	(void)fi;
	reply_rc(req, fs_fsyncdir(tree(req), ino));
}
