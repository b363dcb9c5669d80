/*
 * tree_store.c: the tree in a store, through fs.h, with or without a mount.
 *
 * A new file is made under its own name, so that what the store knows of the content before it (same run, same name) helps
 * to store it, and stays provisional until file_finish() publishes it.  One that replaces another is made under a temporary
 * name and renamed over it: then the old content stands, for whoever reads it, until the new one is whole.
 */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { BATCH = 64 };

struct tdir {
	uint64_t ino; /* holds a lookup */
	char *path;   /* as an operand said it; NULL for others */
	struct fs_dir *list;
	uint64_t cookie;
	struct tentry batch[BATCH];
	unsigned at, n;
};

struct tfile {
	uint64_t ino; /* holds a lookup when `making` */
	struct fs_handle *h;
	bool making;
	uint64_t parent;
	char *name;
	char made_as[256]; /* the name it has now; differs from name when something is to be replaced */
};

static struct fs *fs_of(struct tree *t)
{
	return t->c->fs;
}

static int no_memory(const char *name)
{
	return ckpt_fail(ENOMEM, "%s: out of memory", name);
}

/* --- directories ---------------------------------------------------------------------------------- */

/* Takes the lookup of e. */
static int adopt(struct tree *t, const struct fs_entry *e, const char *name, const char *path,
		struct tdir **out)
{
	struct tdir *d;

	if (!S_ISDIR(e->st.st_mode)) {
		fs_forget(fs_of(t), e->st.st_ino, 1);
		return ckpt_fail(ENOTDIR, "%s: %s", name, strerror(ENOTDIR));
	}
	d = calloc(1, sizeof(*d));
	if (d != NULL && path != NULL)
		d->path = strdup(path);
	if (d == NULL || (path != NULL && d->path == NULL)) {
		free(d);
		fs_forget(fs_of(t), e->st.st_ino, 1);
		return no_memory(name);
	}
	d->ino = e->st.st_ino;
	*out = d;
	return 0;
}

static int dir_at(struct tree *t, const char *path, struct tdir **out)
{
	struct fs_entry e;
	int rc = fs_resolve(fs_of(t), path, true, &e);

	return rc == 0 ? adopt(t, &e, path, path, out) : rc;
}

static int dir_open(struct tree *t, const struct tentry *from, struct tdir **out)
{
	struct fs_entry e;
	int rc;

	/* A lookup of its own: that of the entry goes with the entry. */
	if (strcmp(from->name, ".") == 0 || from->follow)
		rc = fs_lookup(fs_of(t), from->ino, ".", &e);
	else
		rc = fs_lookup(fs_of(t), from->dir->ino, from->name, &e);
	return rc == 0 ? adopt(t, &e, from->name, NULL, out) : rc;
}

static void entry_release(struct tree *t, struct tentry *e)
{
	if (e->name != NULL && e->ino != 0)
		fs_forget(fs_of(t), e->ino, 1);
	free(e->name);
	*e = (struct tentry){ 0 };
}

static void dir_close(struct tree *t, struct tdir *d)
{
	while (d->at < d->n)
		entry_release(t, &d->batch[d->at++]);
	if (d->list != NULL)
		fs_closedir(fs_of(t), d->list);
	fs_forget(fs_of(t), d->ino, 1);
	free(d->path);
	free(d);
}

/* An fs_emit. An entry that is not taken (1 is returned) holds no lookup and comes again. */
static int take_entry(void *arg, const char *name, size_t len, uint64_t ino, mode_t type, uint64_t cookie,
		const struct fs_entry *e)
{
	struct tdir *d = arg;
	struct tentry *into;

	(void)ino;
	(void)type;
	if (e == NULL) { /* "." and ".." */
		d->cookie = cookie;
		return 0;
	}
	if (d->n == BATCH)
		return 1;
	into = &d->batch[d->n];
	into->name = strndup(name, len);
	if (into->name == NULL)
		return 1;
	into->dir = d;
	into->st = e->st;
	into->ino = e->st.st_ino;
	into->follow = false;
	d->cookie = cookie;
	d->n++;
	return 0;
}

static int dir_next(struct tree *t, struct tdir *d, struct tentry *out)
{
	int rc = d->list == NULL ? fs_opendir(fs_of(t), d->ino, &d->list) : 0;

	while (rc == 0 && d->at == d->n) {
		uint64_t before = d->cookie;

		d->at = d->n = 0;
		rc = fs_readdir(fs_of(t), d->list, d->cookie, true, take_entry, d);
		if (rc > 0)
			rc = 0;
		if (rc == 0 && d->cookie == before)
			return 0;
	}
	if (rc != 0)
		return rc;
	*out = d->batch[d->at++];
	return 1;
}

static int lookup(struct tree *t, struct tdir *d, const char *name, bool follow, struct tentry *out)
{
	struct fs_entry e;
	char *path = NULL;
	int rc;

	if (follow && d->path != NULL) {
		if (asprintf(&path, "%s/%s", d->path, name) < 0)
			return no_memory(name);
		rc = fs_resolve(fs_of(t), path, true, &e);
		free(path);
	} else {
		rc = fs_lookup(fs_of(t), d->ino, name, &e);
	}
	if (rc != 0)
		return rc;
	*out = (struct tentry){
		.dir = d, .name = strdup(name), .st = e.st, .ino = e.st.st_ino, .follow = follow
	};
	if (out->name == NULL) {
		fs_forget(fs_of(t), e.st.st_ino, 1);
		return no_memory(name);
	}
	return 0;
}

static ssize_t link_target(struct tree *t, const struct tentry *e, char *buf, size_t cap)
{
	return fs_readlink(fs_of(t), e->ino, buf, cap);
}

static int set_attr(struct tree *t, uint64_t ino, const struct tattr *a)
{
	struct fs_caller c = cli_caller(t->c);
	struct stat st = a->st;
	struct fs_entry e;
	unsigned mask = 0;
	int rc = 0;

	/* The owner first: a change of it clears set-user-ID bits. */
	if (a->owner)
		rc = fs_setattr(fs_of(t), &c, ino, &st, FS_SET_UID | FS_SET_GID, NULL, &e);
	if (a->mode) {
		if (!a->owner && !S_ISDIR(st.st_mode))
			st.st_mode &= ~(mode_t)(S_ISUID | S_ISGID);
		mask |= FS_SET_MODE;
	}
	if (a->times)
		mask |= FS_SET_ATIME | FS_SET_MTIME;
	if (rc == 0 && mask != 0)
		rc = fs_setattr(fs_of(t), &c, ino, &st, mask, NULL, &e);
	return rc;
}

static int make_dir(
		struct tree *t, struct tdir *d, const char *name, mode_t mode, struct tdir **out, bool *made)
{
	struct fs_caller c = cli_caller(t->c);
	struct fs_entry e, real;
	int rc;

	rc = fs_make(fs_of(t), &c, d->ino, name, S_IFDIR | (mode & 07777), 0, NULL, &e);
	*made = rc == 0;
	if (rc == -EEXIST) {
		rc = fs_lookup(fs_of(t), d->ino, name, &e);
		/* A symlink to a directory stands for it, as on a host. */
		if (rc == 0 && S_ISLNK(e.st.st_mode) && d->path != NULL) {
			char *path = NULL;

			if (asprintf(&path, "%s/%s", d->path, name) < 0)
				rc = no_memory(name);
			else
				rc = fs_resolve(fs_of(t), path, true, &real);
			free(path);
			fs_forget(fs_of(t), e.st.st_ino, 1);
			e = real;
		}
	}
	return rc == 0 ? adopt(t, &e, name, NULL, out) : rc;
}

static int dir_attr(struct tree *t, struct tdir *d, const struct tattr *a)
{
	return set_attr(t, d->ino, a);
}

/* --- files ---------------------------------------------------------------------------------------- */

static int file_open(struct tree *t, const struct tentry *e, struct tfile **out, struct stat *st)
{
	struct fs_caller c = cli_caller(t->c);
	struct fs_entry now;
	struct tfile *f;
	int rc = fs_getattr(fs_of(t), e->ino, &now);

	if (rc != 0)
		return rc;
	if (!S_ISREG(now.st.st_mode))
		return ckpt_fail(EINVAL, "%s: not a regular file", e->name);
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return no_memory(e->name);
	f->ino = e->ino;
	rc = fs_open_file(fs_of(t), &c, e->ino, O_RDONLY, &f->h);
	if (rc != 0) {
		free(f);
		return rc;
	}
	*st = now.st;
	*out = f;
	return 0;
}

static ssize_t read_file(struct tree *t, struct tfile *f, uint64_t off, void *buf, size_t len)
{
	return fs_read(fs_of(t), f->h, off, buf, len);
}

static int seek_data(struct tree *t, struct tfile *f, uint64_t off, uint64_t *data, uint64_t *hole)
{
	int rc = fs_lseek(fs_of(t), f->h, off, SEEK_DATA, data);

	return rc == 0 ? fs_lseek(fs_of(t), f->h, *data, SEEK_HOLE, hole) : rc;
}

static void file_close(struct tree *t, struct tfile *f)
{
	fs_release(fs_of(t), f->h);
	free(f);
}

static int file_make(struct tree *t, struct tdir *d, const char *name, mode_t mode, struct tfile **out)
{
	struct fs_caller c = cli_caller(t->c);
	struct fs_entry e;
	struct tfile *f;
	bool exists;
	int rc;

	rc = fs_lookup(fs_of(t), d->ino, name, &e);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	exists = rc == 0;
	if (exists) {
		fs_forget(fs_of(t), e.st.st_ino, 1);
		if (S_ISDIR(e.st.st_mode))
			return ckpt_fail(EISDIR, "a directory \"%s\" is in the way", name);
		if (S_ISREG(e.st.st_mode))
			mode = e.st.st_mode & 0777;
	}
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return no_memory(name);
	f->name = strdup(name);
	if (f->name == NULL) {
		free(f);
		return no_memory(name);
	}
	f->making = true;
	f->parent = d->ino;
	do {
		/* Somebody else may make the name between our look and this: then it is replaced like any other. */
		if (exists || strlen(name) >= sizeof(f->made_as))
			tree_temporary_name(name, f->made_as);
		else
			memcpy(f->made_as, name, strlen(name) + 1);
		rc = fs_create(fs_of(t), &c, d->ino, f->made_as, S_IFREG | (mode & 07777), O_RDWR | O_EXCL,
				&f->h, &e);
		exists = true;
	} while (rc == -EEXIST);
	if (rc != 0) {
		free(f->name);
		free(f);
		return rc;
	}
	fs_hold(fs_of(t), f->h, true);
	f->ino = e.st.st_ino;
	*out = f;
	return 0;
}

static int write_file(struct tree *t, struct tfile *f, uint64_t off, const void *buf, size_t len)
{
	struct fs_caller c = cli_caller(t->c);
	size_t done = 0;

	while (done < len) {
		ssize_t n = fs_write(fs_of(t), &c, f->h, off + done, (const char *)buf + done, len - done);

		if (n <= 0)
			return n < 0 ? (int)n : ckpt_fail(EIO, "%s: nothing could be written", f->name);
		done += (size_t)n;
	}
	return 0;
}

static int set_size(struct tree *t, struct tfile *f, uint64_t size)
{
	struct fs_caller c = cli_caller(t->c);
	struct stat st = { .st_size = (off_t)size };
	struct fs_entry e;

	return fs_setattr(fs_of(t), &c, f->ino, &st, FS_SET_SIZE, f->h, &e);
}

static void made_free(struct tree *t, struct tfile *f)
{
	fs_hold(fs_of(t), f->h, false);
	fs_release(fs_of(t), f->h);
	fs_forget(fs_of(t), f->ino, 1);
	free(f->name);
	free(f);
}

static void file_abort(struct tree *t, struct tfile *f)
{
	struct fs_caller c = cli_caller(t->c);
	char why[512];

	/* The reason for this is what is told, not that a file without room has lost its name already. */
	snprintf(why, sizeof(why), "%s", ckpt_errmsg());
	/* Without a name it is an orphan, which no close publishes. */
	(void)fs_unlink(fs_of(t), &c, f->parent, f->made_as);
	made_free(t, f);
	(void)ckpt_fail(EIO, "%s", why);
}

static int file_finish(struct tree *t, struct tfile *f, const struct tattr *a)
{
	struct fs_caller c = cli_caller(t->c);
	int rc = set_attr(t, f->ino, a);

	if (rc == 0)
		rc = fs_flush(fs_of(t), &c, f->h);
	if (rc == 0 && strcmp(f->made_as, f->name) != 0)
		rc = fs_rename(fs_of(t), &c, f->parent, f->made_as, f->parent, f->name, 0);
	if (rc != 0) {
		file_abort(t, f);
		return rc;
	}
	made_free(t, f);
	return 0;
}

int tree_store_clone(struct tree *t, struct tfile *src, struct tfile *dst, uint64_t *size)
{
	struct fs_caller c = cli_caller(t->c);
	struct fs_entry e;
	uint64_t off = 0;
	int rc = fs_getattr(fs_of(t), src->ino, &e);

	if (rc != 0)
		return rc;
	while (off < (uint64_t)e.st.st_size) {
		int64_t n = fs_copy_range(
				fs_of(t), &c, src->h, off, dst->h, off, (uint64_t)e.st.st_size - off);

		if (n < 0)
			return (int)n;
		if (n == 0) /* it was truncated meanwhile */
			break;
		off += (uint64_t)n;
	}
	*size = off;
	return 0;
}

int64_t tree_store_same(struct tfile *a, uint64_t aoff, struct tfile *b, uint64_t boff, uint64_t len)
{
	return fs_same_range(a->h, aoff, b->h, boff, len);
}

int tree_store_below(struct tree *t, struct tdir *d, uint64_t ino)
{
	uint64_t at = d->ino;

	while (at != ino) {
		struct fs_entry e;

		if (at == FS_ROOT || fs_lookup(fs_of(t), at, "..", &e) != 0)
			return 0;
		/* Only the number is wanted: an ancestor of what we hold open stays. */
		fs_forget(fs_of(t), e.st.st_ino, 1);
		if (e.st.st_ino == at)
			return 0;
		at = e.st.st_ino;
	}
	return 1;
}

/* --- everything else ------------------------------------------------------------------------------ */

static int is_directory(struct tree *t, uint64_t parent, const char *name)
{
	struct fs_entry e;

	if (fs_lookup(fs_of(t), parent, name, &e) != 0)
		return 0;
	fs_forget(fs_of(t), e.st.st_ino, 1);
	return S_ISDIR(e.st.st_mode);
}

static int make_other(struct tree *t, struct tdir *d, const char *name, const struct stat *st,
		const char *target, const struct tattr *a)
{
	struct fs_caller c = cli_caller(t->c);
	char temporary[256];
	struct tattr own = *a;
	struct fs_entry e;
	mode_t mode = target != NULL ? S_IFLNK | 0777 : (st->st_mode & (S_IFMT | 0777));
	int rc;

	if (is_directory(t, d->ino, name))
		return ckpt_fail(EISDIR, "a directory \"%s\" is in the way", name);
	do {
		tree_temporary_name(name, temporary);
		rc = fs_make(fs_of(t), &c, d->ino, temporary, mode, st->st_rdev, target, &e);
	} while (rc == -EEXIST);
	if (rc != 0)
		return rc;
	own.mode = false;
	rc = set_attr(t, e.st.st_ino, &own);
	if (rc == 0)
		rc = fs_rename(fs_of(t), &c, d->ino, temporary, d->ino, name, 0);
	if (rc != 0)
		(void)fs_unlink(fs_of(t), &c, d->ino, temporary);
	fs_forget(fs_of(t), e.st.st_ino, 1);
	return rc;
}

static int remember(struct tree *t, struct tdir *d, const char *name, struct tdir *base, const char *path,
		struct tlink *out)
{
	struct fs_entry e;
	int rc = fs_lookup(fs_of(t), d->ino, name, &e);

	(void)base;
	(void)path;
	if (rc == 0)
		*out = (struct tlink){ .ino = e.st.st_ino };
	return rc;
}

static int link_to(struct tree *t, const struct tlink *to, struct tdir *d, const char *name)
{
	struct fs_caller c = cli_caller(t->c);
	char temporary[256];
	struct fs_entry e;
	int rc = fs_link(fs_of(t), &c, to->ino, d->ino, name, &e);

	if (rc == 0)
		fs_forget(fs_of(t), e.st.st_ino, 1);
	if (rc != -EEXIST)
		return rc;
	rc = fs_lookup(fs_of(t), d->ino, name, &e);
	if (rc != 0)
		return rc;
	fs_forget(fs_of(t), e.st.st_ino, 1);
	/* rename(2) of one name of a file onto another does nothing, and leaves both. */
	if (e.st.st_ino == to->ino)
		return 0;
	tree_temporary_name(name, temporary);
	rc = fs_link(fs_of(t), &c, to->ino, d->ino, temporary, &e);
	if (rc != 0)
		return rc;
	fs_forget(fs_of(t), e.st.st_ino, 1);
	rc = fs_rename(fs_of(t), &c, d->ino, temporary, d->ino, name, 0);
	if (rc != 0)
		(void)fs_unlink(fs_of(t), &c, d->ino, temporary);
	return rc;
}

static void forget(struct tree *t, struct tlink *l)
{
	if (l->ino != 0)
		fs_forget(fs_of(t), l->ino, 1);
	*l = (struct tlink){ 0 };
}

static ssize_t list_xattr(struct tree *t, struct tdir *d, struct tfile *f, char *buf, size_t cap)
{
	return fs_listxattr(fs_of(t), d != NULL ? d->ino : f->ino, buf, cap);
}

static ssize_t get_xattr(
		struct tree *t, struct tdir *d, struct tfile *f, const char *name, void *buf, size_t cap)
{
	return fs_getxattr(fs_of(t), d != NULL ? d->ino : f->ino, name, buf, cap);
}

static int set_xattr(struct tree *t, struct tdir *d, struct tfile *f, const char *name, const void *value,
		size_t len)
{
	struct fs_caller c = cli_caller(t->c);

	return fs_setxattr(fs_of(t), &c, d != NULL ? d->ino : f->ino, name, value, len, 0);
}

static int sync_all(struct tree *t, struct tdir *d)
{
	(void)d;
	return store_commit(fs_store(fs_of(t)), true);
}

static const struct tree_ops store_ops = {
	.dir_at = dir_at,
	.dir_open = dir_open,
	.dir_close = dir_close,
	.dir_next = dir_next,
	.lookup = lookup,
	.entry_release = entry_release,
	.readlink = link_target,
	.file_open = file_open,
	.read = read_file,
	.seek = seek_data,
	.file_close = file_close,
	.mkdir = make_dir,
	.file_make = file_make,
	.write = write_file,
	.set_size = set_size,
	.file_finish = file_finish,
	.file_abort = file_abort,
	.make_other = make_other,
	.dir_attr = dir_attr,
	.remember = remember,
	.link = link_to,
	.forget = forget,
	.listxattr = list_xattr,
	.getxattr = get_xattr,
	.setxattr = set_xattr,
	.sync = sync_all,
};

void tree_store_init(struct tree *t, struct cli *c)
{
	*t = (struct tree){ .ops = &store_ops, .c = c, .in_store = true };
}
