/*
 * tree_host.c: trees of this machine's own filesystems.
 *
 * Every path below an operand is reached a name at a time with O_NOFOLLOW, so that a symlink put in place meanwhile cannot
 * lead out of the tree.  umask(2) is never changed: modes are set with fchmod.
 */
#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cli.h"

struct tdir {
	int fd;
	DIR *list; /* opened with the first dir_next; has a descriptor of its own */
};

struct tfile {
	int fd;
	struct tdir *dir; /* being made: where, and under which names */
	char *name;
	char temporary[256];
	mode_t mode;
};

static int fail(const char *name)
{
	return ckpt_fail(errno, "%s: %s", name, strerror(errno));
}

/* --- directories ---------------------------------------------------------------------------------- */

static int adopt(struct tree *t, int fd, const char *name, struct tdir **out)
{
	struct tdir *d;
	struct stat st;
	int rc;

	if (fstat(fd, &st) != 0) {
		rc = fail(name);
		goto close_fd;
	}
	/* The owner of a mount must not wait for itself, and a tree must not be copied into itself for ever. */
	if (t->own_dev != 0 && st.st_dev == t->own_dev) {
		rc = ckpt_fail(EDEADLK, "lies inside the store's own mount; say STORE:PATH");
		goto close_fd;
	}
	if (st.st_dev == t->store_dev && st.st_ino == t->store_ino) {
		rc = ckpt_fail(EDEADLK, "is the store itself");
		goto close_fd;
	}
	d = calloc(1, sizeof(*d));
	if (d == NULL) {
		rc = ckpt_fail(ENOMEM, "%s: out of memory", name);
		goto close_fd;
	}
	d->fd = fd;
	*out = d;
	return 0;
close_fd:
	close(fd);
	return rc;
}

static int dir_at(struct tree *t, const char *path, struct tdir **out)
{
	int fd = openat(t->c->cwd_fd, path[0] != '\0' ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? fail(path) : adopt(t, fd, path[0] != '\0' ? path : ".", out);
}

static int dir_open(struct tree *t, const struct tentry *e, struct tdir **out)
{
	int fd = openat(e->dir->fd, e->name,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | (e->follow ? 0 : O_NOFOLLOW));

	return fd < 0 ? fail(e->name) : adopt(t, fd, e->name, out);
}

static void dir_close(struct tree *t, struct tdir *d)
{
	(void)t;
	if (d->list != NULL)
		closedir(d->list);
	close(d->fd);
	free(d);
}

static int lookup(struct tree *t, struct tdir *d, const char *name, bool follow, struct tentry *out)
{
	struct tentry e = { .dir = d, .follow = follow };

	(void)t;
	if (fstatat(d->fd, name, &e.st, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0)
		return fail(name);
	e.name = strdup(name);
	if (e.name == NULL)
		return ckpt_fail(ENOMEM, "%s: out of memory", name);
	*out = e;
	return 0;
}

static int dir_next(struct tree *t, struct tdir *d, struct tentry *out)
{
	if (d->list == NULL) {
		int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			return fail("directory");
		d->list = fdopendir(fd);
		if (d->list == NULL) {
			close(fd);
			return ckpt_fail(ENOMEM, "directory: out of memory");
		}
	}
	for (;;) {
		struct dirent *e;
		int rc;

		errno = 0;
		e = readdir(d->list);
		if (e == NULL)
			return errno == 0 ? 0 : fail("directory");
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		rc = lookup(t, d, e->d_name, false, out);
		if (rc != -ENOENT) /* it may have gone since */
			return rc == 0 ? 1 : rc;
	}
}

static void entry_release(struct tree *t, struct tentry *e)
{
	(void)t;
	free(e->name);
	*e = (struct tentry){ 0 };
}

static ssize_t link_target(struct tree *t, const struct tentry *e, char *buf, size_t cap)
{
	ssize_t n = readlinkat(e->dir->fd, e->name, buf, cap);

	(void)t;
	return n < 0 ? fail(e->name) : n;
}

static int set_attr(int fd, const struct tattr *a, const char *name)
{
	mode_t mode = a->st.st_mode & 07777;

	if (a->owner && fchown(fd, a->st.st_uid, a->st.st_gid) != 0)
		return fail(name);
	if (a->mode) {
		/* A file that changes hands must not run with its new owner's rights. */
		if (!a->owner && !S_ISDIR(a->st.st_mode))
			mode &= ~(mode_t)(S_ISUID | S_ISGID);
		if (fchmod(fd, mode) != 0)
			return fail(name);
	}
	if (a->times && futimens(fd, (const struct timespec[2]){ a->st.st_atim, a->st.st_mtim }) != 0)
		return fail(name);
	return 0;
}

static int make_dir(
		struct tree *t, struct tdir *d, const char *name, mode_t mode, struct tdir **out, bool *made)
{
	int fd, rc;

	*made = mkdirat(d->fd, name, 0700) == 0;
	if (!*made && errno != EEXIST)
		return fail(name);
	fd = openat(d->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (*made ? O_NOFOLLOW : 0));
	if (fd < 0)
		return fail(name);
	if (*made && fchmod(fd, mode & 07777) != 0) {
		rc = fail(name);
		close(fd);
		return rc;
	}
	return adopt(t, fd, name, out);
}

static int dir_attr(struct tree *t, struct tdir *d, const struct tattr *a)
{
	(void)t;
	return set_attr(d->fd, a, "directory");
}

/* --- files ---------------------------------------------------------------------------------------- */

static int file_open(struct tree *t, const struct tentry *e, struct tfile **out, struct stat *st)
{
	struct tfile *f;
	int rc, fd;

	(void)t;
	/* O_NONBLOCK: it may have become a fifo since it was looked at. */
	fd = openat(e->dir->fd, e->name,
			O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (e->follow ? 0 : O_NOFOLLOW));
	if (fd < 0)
		return fail(e->name);
	if (fstat(fd, st) != 0) {
		rc = fail(e->name);
		goto close_fd;
	}
	if (!S_ISREG(st->st_mode)) {
		rc = ckpt_fail(EINVAL, "%s: not a regular file", e->name);
		goto close_fd;
	}
	f = calloc(1, sizeof(*f));
	if (f == NULL) {
		rc = ckpt_fail(ENOMEM, "%s: out of memory", e->name);
		goto close_fd;
	}
	f->fd = fd;
	posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	*out = f;
	return 0;
close_fd:
	close(fd);
	return rc;
}

static ssize_t read_file(struct tree *t, struct tfile *f, uint64_t off, void *buf, size_t len)
{
	ssize_t n;

	(void)t;
	do
		n = pread(f->fd, buf, len, (off_t)off);
	while (n < 0 && errno == EINTR);
	return n < 0 ? fail("read") : n;
}

static int seek_data(struct tree *t, struct tfile *f, uint64_t off, uint64_t *data, uint64_t *hole)
{
	off_t a = lseek(f->fd, (off_t)off, SEEK_DATA), b;

	(void)t;
	if (a < 0)
		return errno == ENXIO ? -ENXIO : fail("seek");
	b = lseek(f->fd, a, SEEK_HOLE);
	if (b < 0)
		return errno == ENXIO ? -ENXIO : fail("seek");
	*data = (uint64_t)a;
	*hole = (uint64_t)b;
	return 0;
}

static void file_free(struct tfile *f)
{
	close(f->fd);
	free(f->name);
	free(f);
}

static void file_close(struct tree *t, struct tfile *f)
{
	(void)t;
	file_free(f);
}

static int file_make(struct tree *t, struct tdir *d, const char *name, mode_t mode, struct tfile **out)
{
	struct tfile *f;
	struct stat st;

	(void)t;
	if (fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st.st_mode))
			return ckpt_fail(EISDIR, "a directory \"%s\" is in the way", name);
		/* Replacing /dev/null by a file would be a surprise. */
		if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
			return ckpt_fail(EINVAL, "\"%s\" exists and is not a regular file", name);
		if (S_ISREG(st.st_mode))
			mode = st.st_mode & 0777;
	}
	f = calloc(1, sizeof(*f));
	if (f == NULL)
		return ckpt_fail(ENOMEM, "%s: out of memory", name);
	f->name = strdup(name);
	if (f->name == NULL) {
		free(f);
		return ckpt_fail(ENOMEM, "%s: out of memory", name);
	}
	f->dir = d;
	f->mode = mode & 07777;
	do {
		tree_temporary_name(name, f->temporary);
		f->fd = openat(d->fd, f->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	} while (f->fd < 0 && errno == EEXIST);
	if (f->fd < 0) {
		int rc = fail(name);

		free(f->name);
		free(f);
		return rc;
	}
	*out = f;
	return 0;
}

static int write_file(struct tree *t, struct tfile *f, uint64_t off, const void *buf, size_t len)
{
	size_t done = 0;

	(void)t;
	while (done < len) {
		ssize_t n = pwrite(f->fd, (const char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(f->name);
		done += (size_t)n;
	}
	return 0;
}

static int set_size(struct tree *t, struct tfile *f, uint64_t size)
{
	(void)t;
	return ftruncate(f->fd, (off_t)size) == 0 ? 0 : fail(f->name);
}

static void file_abort(struct tree *t, struct tfile *f)
{
	(void)t;
	unlinkat(f->dir->fd, f->temporary, 0);
	file_free(f);
}

static int file_finish(struct tree *t, struct tfile *f, const struct tattr *a)
{
	int rc = 0;

	if (!a->mode && fchmod(f->fd, f->mode) != 0)
		rc = fail(f->name);
	if (rc == 0)
		rc = set_attr(f->fd, a, f->name);
	if (rc == 0 && renameat(f->dir->fd, f->temporary, f->dir->fd, f->name) != 0)
		rc = fail(f->name);
	if (rc != 0) {
		file_abort(t, f);
		return rc;
	}
	file_free(f);
	return 0;
}

/* --- everything else ------------------------------------------------------------------------------ */

static int make_other(struct tree *t, struct tdir *d, const char *name, const struct stat *st,
		const char *target, const struct tattr *a)
{
	char temporary[256];
	struct stat old;
	int rc = 0, e;

	(void)t;
	if (fstatat(d->fd, name, &old, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(old.st_mode))
		return ckpt_fail(EISDIR, "a directory \"%s\" is in the way", name);
	do {
		tree_temporary_name(name, temporary);
		e = target != NULL ? symlinkat(target, d->fd, temporary)
				   : mknodat(d->fd, temporary, (st->st_mode & S_IFMT) | 0600, st->st_rdev);
	} while (e != 0 && errno == EEXIST);
	if (e != 0)
		return fail(name);
	if (a->owner && fchownat(d->fd, temporary, a->st.st_uid, a->st.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
		rc = fail(name);
	if (rc == 0 && target == NULL && fchmodat(d->fd, temporary, st->st_mode & 0777, 0) != 0)
		rc = fail(name);
	if (rc == 0 && a->times &&
			utimensat(d->fd, temporary,
					(const struct timespec[2]){ a->st.st_atim, a->st.st_mtim },
					AT_SYMLINK_NOFOLLOW) != 0)
		rc = fail(name);
	if (rc == 0 && renameat(d->fd, temporary, d->fd, name) != 0)
		rc = fail(name);
	if (rc != 0)
		unlinkat(d->fd, temporary, 0);
	return rc;
}

static int remember(struct tree *t, struct tdir *d, const char *name, struct tdir *base, const char *path,
		struct tlink *out)
{
	(void)t;
	(void)d;
	(void)name;
	*out = (struct tlink){ .path = strdup(path), .base = base };
	return out->path != NULL ? 0 : ckpt_fail(ENOMEM, "%s: out of memory", name);
}

static int link_to(struct tree *t, const struct tlink *to, struct tdir *d, const char *name)
{
	char temporary[256];
	struct stat a, b;
	int rc = 0;

	(void)t;
	if (linkat(to->base->fd, to->path, d->fd, name, 0) == 0)
		return 0;
	if (errno != EEXIST)
		return fail(name);
	/* rename(2) of one name of a file onto another does nothing, and leaves both. */
	if (fstatat(to->base->fd, to->path, &a, AT_SYMLINK_NOFOLLOW) == 0 &&
			fstatat(d->fd, name, &b, AT_SYMLINK_NOFOLLOW) == 0 && a.st_dev == b.st_dev &&
			a.st_ino == b.st_ino)
		return 0;
	tree_temporary_name(name, temporary);
	if (linkat(to->base->fd, to->path, d->fd, temporary, 0) != 0)
		return fail(name);
	if (renameat(d->fd, temporary, d->fd, name) != 0) {
		rc = fail(name);
		unlinkat(d->fd, temporary, 0);
	}
	return rc;
}

static void forget(struct tree *t, struct tlink *l)
{
	(void)t;
	free(l->path);
	*l = (struct tlink){ 0 };
}

static ssize_t list_xattr(struct tree *t, struct tdir *d, struct tfile *f, char *buf, size_t cap)
{
	ssize_t n = flistxattr(d != NULL ? d->fd : f->fd, buf, cap);

	(void)t;
	return n < 0 ? fail("extended attributes") : n;
}

static ssize_t get_xattr(
		struct tree *t, struct tdir *d, struct tfile *f, const char *name, void *buf, size_t cap)
{
	ssize_t n = fgetxattr(d != NULL ? d->fd : f->fd, name, buf, cap);

	(void)t;
	return n < 0 ? fail(name) : n;
}

static int set_xattr(struct tree *t, struct tdir *d, struct tfile *f, const char *name, const void *value,
		size_t len)
{
	(void)t;
	return fsetxattr(d != NULL ? d->fd : f->fd, name, value, len, 0) == 0 ? 0 : fail(name);
}

static int sync_all(struct tree *t, struct tdir *d)
{
	(void)t;
	return syncfs(d->fd) == 0 ? 0 : fail("sync");
}

static const struct tree_ops host_ops = {
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

void tree_host_init(struct tree *t, struct cli *c)
{
	struct stat st;

	*t = (struct tree){ .ops = &host_ops, .c = c, .own_dev = c->own_dev };
	if (c->fs != NULL && stat(store_path(fs_store(c->fs)), &st) == 0) {
		t->store_dev = st.st_dev;
		t->store_ino = st.st_ino;
	}
}
