/*
 * view_source.c: what a view is made of.
 *
 * A path in a view is a path of the tree, or, when it begins with '@', of another view:
 * `@cpu/@runs/split-mnist/3/model.pt`.  Both look the same from here: attributes, a mark, and a way to the
 * bytes.  Views of views of views are cut off at some depth, so that nobody can make us call ourselves
 * without end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "view_host.h"

enum { NESTED_MAX = 3 };

static int64_t ns_of(struct timespec t)
{
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- of the tree ------------------------------------------------------------------------------------- */

/* The published file, whatever is being written to it; read and execution as in the tree, no writing. */
void view_source_of(const struct store_attr *a, struct view_source *out)
{
	*out = (struct view_source){ .mark = { .version = a->version } };
	out->st.st_ino = a->ino;
	out->st.st_mode = (a->mode & S_IFMT) | (a->mode & 0555);
	if (S_ISLNK(a->mode))
		out->st.st_mode = S_IFLNK | 0777;
	out->st.st_nlink = 1;
	out->st.st_uid = a->uid;
	out->st.st_gid = a->gid;
	out->st.st_rdev = a->rdev;
	out->st.st_size = S_ISDIR(a->mode) ? 0 : (off_t)a->size;
	out->st.st_blocks = (blkcnt_t)(a->data / 512 + (a->data % 512 != 0));
	out->st.st_blksize = S_ISREG(a->mode) ? 128 * 1024 : 4096;
	out->st.st_atim = a->atime;
	out->st.st_mtim = a->mtime;
	out->st.st_ctim = a->ctime;
	if (a->version != 0)
		out->mark.changed = ns_of(a->ctime);
}

static int find_in_tree(struct fs *fs, const char *path, size_t *used, struct store_attr *a)
{
	const char *p = path;
	int rc = view_name_root(fs, a);

	while (rc == 0 && *p) {
		size_t len = strcspn(p, "/");

		if (used && S_ISREG(a->mode))
			break;
		rc = view_name_lookup(fs, a->ino, p, len, a);
		p += len + (p[len] == '/');
	}
	if (rc == 0 && used)
		*used = (size_t)(p - path);
	return rc;
}

/* --- of another view --------------------------------------------------------------------------------- */

static bool nested(const char *path)
{
	return path[0] == '@';
}

/* Takes the view's name off a path. */
static int view_at(const char *path, char name[STORE_NAME_MAX + 1], const char **below,
		const struct fs_view **out)
{
	size_t len = strcspn(path, "/");
	unsigned depth = 0;

	for (const char *p = path; p[0] == '@'; depth++) {
		p += strcspn(p, "/");
		p += *p == '/';
	}
	if (len > STORE_NAME_MAX || depth > NESTED_MAX)
		return ckpt_fail(ENOENT, "no view '%.64s'", path);
	memcpy(name, path, len);
	name[len] = '\0';
	*below = path + len + (path[len] == '/');
	*out = fs_view_of(name);
	return *out ? 0 : ckpt_fail(ENOENT, "no view '%s'", name);
}

static int find_in_view(struct fs *fs, const char *path, bool quick, size_t *used, struct view_source *out)
{
	struct fs_view_look look = { .quick = quick };
	char name[STORE_NAME_MAX + 1], *copy;
	const struct fs_view *v;
	const char *below;
	size_t at = 0, len;
	int rc = view_at(path, name, &below, &v);

	if (rc < 0)
		return rc;
	copy = strdup(below);
	if (!copy)
		return ckpt_fail(ENOMEM, "no memory for a path");
	/* Where files are directories, the one that is none ends the path: looked for from the front. */
	len = strlen(copy);
	at = used ? strcspn(copy, "/") : len;
	for (;;) {
		bool more = at < len;

		copy[at] = '\0';
		rc = fs_view_look(fs, v, name, copy, &look);
		if (more)
			copy[at] = '/';
		if (rc < 0 || !more || S_ISREG(look.st.st_mode))
			break;
		at += 1 + strcspn(copy + at + 1, "/");
	}
	free(copy);
	if (rc < 0)
		return rc;
	if (used)
		*used = (size_t)(below - path) + at + (at < len);
	*out = (struct view_source){ .st = look.st, .mark = look.mark };
	out->st.st_ino = 0;
	return 0;
}

/* --- both -------------------------------------------------------------------------------------------- */

int view_source_find(struct fs *fs, const char *path, bool quick, size_t *used, struct view_source *out)
{
	struct store_attr a;
	int rc;

	if (nested(path))
		return find_in_view(fs, path, quick, used, out);
	rc = find_in_tree(fs, path, used, &a);
	if (rc == 0)
		view_source_of(&a, out);
	return rc;
}

struct listing {
	fs_view_emit emit;
	void *arg;
	int rc;
};

static int emit_entry(void *arg, const struct store_dirent *e, const struct store_attr *attr)
{
	struct listing *l = arg;

	(void)attr;
	l->rc = l->emit(l->arg, e->name, e->len, e->mode & S_IFMT);
	return l->rc;
}

int view_source_list(struct fs *fs, const char *path, fs_view_emit emit, void *arg)
{
	struct listing l = { .emit = emit, .arg = arg };
	char name[STORE_NAME_MAX + 1];
	const struct fs_view *v;
	struct store_attr a;
	const char *below;
	int rc;

	if (nested(path)) {
		rc = view_at(path, name, &below, &v);
		if (rc < 0)
			return rc;
		return v->list ? v->list(fs, name, below, emit, arg)
			       : ckpt_fail(ENOTDIR, "'%s' is no directory", path);
	}
	rc = find_in_tree(fs, path, NULL, &a);
	if (rc == 0)
		rc = store_readdir(fs->store, a.ino, 0, false, emit_entry, &l);
	return rc < 0 ? rc : l.rc;
}

ssize_t view_source_readlink(struct fs *fs, const char *path, char *buf, size_t cap)
{
	char name[STORE_NAME_MAX + 1];
	const struct fs_view *v;
	struct store_attr a;
	const char *below;
	int rc;

	if (nested(path)) {
		rc = view_at(path, name, &below, &v);
		if (rc < 0)
			return rc;
		return v->readlink ? v->readlink(fs, name, below, buf, cap)
				   : ckpt_fail(EINVAL, "'%s' is no symbolic link", path);
	}
	rc = find_in_tree(fs, path, NULL, &a);
	return rc < 0 ? rc : store_readlink(fs->store, a.ino, buf, cap);
}

/* --- bytes ------------------------------------------------------------------------------------------- */

int view_input_init(struct view_input *in, struct fs *fs, const char *path, size_t len,
		const struct view_source *src)
{
	*in = (struct view_input){ .fs = fs, .src = *src, .path = strndup(path, len) };
	return in->path ? 0 : ckpt_fail(ENOMEM, "no memory for a path");
}

void view_input_release(struct view_input *in)
{
	if (in->open)
		in->file.close(&in->file);
	in->open = false;
	free(in->path);
	in->path = NULL;
}

static ssize_t content_read(struct fs_view_file *f, uint64_t off, void *buf, size_t len)
{
	return store_file_read(f->content, off, buf, len);
}

static void content_close(struct fs_view_file *f)
{
	store_file_close(f->content);
}

static ssize_t nothing_read(struct fs_view_file *f, uint64_t off, void *buf, size_t len)
{
	(void)f;
	(void)off;
	(void)buf;
	(void)len;
	return 0;
}

static void nothing_close(struct fs_view_file *f)
{
	(void)f;
}

/* Holding comes first: what the inode says after it is about the bytes that are held. */
static int open_in_tree(struct view_input *in)
{
	struct fs_view_file *f = &in->file;
	struct store_attr a;
	int rc;

	*f = (struct fs_view_file){ .size = (uint64_t)in->src.st.st_size, .mark = in->src.mark };
	if (in->src.mark.version == 0) {
		f->read = nothing_read;
		f->close = nothing_close;
		f->size = 0;
		return 0;
	}
	rc = store_file_open_version(in->fs->store, in->src.mark.version, &f->content);
	if (rc == -ENOENT)
		return ckpt_fail(ESTALE, "'%s' was replaced", in->path);
	if (rc < 0)
		return rc;
	f->read = content_read;
	f->close = content_close;
	rc = store_getattr(in->fs->store, in->src.st.st_ino, &a);
	if (rc == 0 && a.version == in->src.mark.version && ns_of(a.ctime) == in->src.mark.changed)
		return 0;
	store_file_close(f->content);
	return rc < 0 && rc != -ENOENT ? rc : ckpt_fail(ESTALE, "'%s' was replaced", in->path);
}

static int open_in_view(struct view_input *in)
{
	char name[STORE_NAME_MAX + 1];
	const struct fs_view *v;
	const char *below;
	int rc = view_at(in->path, name, &below, &v);

	if (rc < 0)
		return rc;
	if (!v->open)
		return ckpt_fail(EISDIR, "'%s' is no file", in->path);
	in->file = (struct fs_view_file){ .size = 0 };
	rc = v->open(in->fs, name, below, &in->file);
	if (rc < 0)
		return rc;
	if (fs_mark_same(&in->file.mark, &in->src.mark))
		return 0;
	in->file.close(&in->file);
	return ckpt_fail(ESTALE, "'%s' was replaced", in->path);
}

int view_input_open(struct view_input *in)
{
	int rc;

	if (in->open)
		return 0;
	rc = in->src.st.st_ino != 0 ? open_in_tree(in) : open_in_view(in);
	in->open = rc == 0;
	return rc;
}

int64_t view_input_read(void *arg, uint64_t off, void *buf, size_t len)
{
	struct view_input *in = arg;
	int rc = view_input_open(in);

	return rc < 0 ? rc : in->file.read(&in->file, off, buf, len);
}

int view_input_pass(struct view_input *in, struct fs_view_file *out)
{
	int rc = view_input_open(in);

	if (rc < 0)
		return rc;
	*out = in->file;
	in->open = false;
	view_input_release(in);
	return 0;
}
