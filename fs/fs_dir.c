/*
 * fs_dir.c: directories listed.
 *
 * "." and ".." come first, with the cookies 1 and 2; the store's cookies follow, moved up by two.  The directory of a view is
 * listed once, when it is opened, and shown from that list, its cookies being positions.  Names beginning with '@' are in no
 * directory of the store, so listing the root does not show the views.
 *
 * A listing ends at the entries that were there when it began (or was rewound): a loop that makes a name for each name it reads
 * comes to an end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs_internal.h"

enum { COOKIE_SELF = 1, COOKIE_PARENT = 2, COOKIES = 2 };

/* Of the names of a view's directory, which may be millions: of each STRETCHth it is known where it lies. */
enum { STRETCH = 64, HEAD = 2 };

struct fs_dir {
	uint64_t ino;
	bool was_read;
	uint64_t mark;        /* of the store's directory: entries behind it are younger than the listing */
	/* of a view */
	uint8_t *names;       /* one behind the other: type (S_IFMT, as dirent(3) has it), length, bytes */
	size_t used, cap;
	size_t *stretch;
	size_t n, stretches;  /* names; room for so many of `stretch` */
};

static int room(void *p, size_t *cap, size_t need, size_t size)
{
	size_t more = *cap > 0 ? *cap : 64;
	void *now;

	if (need <= *cap)
		return 0;
	while (more < need)
		more *= 2;
	memcpy(&now, p, sizeof(now));
	now = reallocarray(now, more, size);
	if (!now)
		return ckpt_fail(ENOMEM, "no memory to list a directory");
	memcpy(p, &now, sizeof(now));
	*cap = more;
	return 0;
}

static int collect(void *arg, const char *name, size_t len, mode_t type)
{
	struct fs_dir *d = arg;
	int rc;

	if (len > STORE_NAME_MAX)
		return ckpt_fail(ENAMETOOLONG, "a name of %zu bytes", len);
	rc = room(&d->names, &d->cap, d->used + HEAD + len, 1);
	if (rc == 0)
		rc = room(&d->stretch, &d->stretches, d->n / STRETCH + 1, sizeof(*d->stretch));
	if (rc < 0)
		return rc;
	if (d->n % STRETCH == 0)
		d->stretch[d->n / STRETCH] = d->used;
	d->names[d->used] = (uint8_t)(type >> 12);
	d->names[d->used + 1] = (uint8_t)len;
	memcpy(d->names + d->used + HEAD, name, len);
	d->used += HEAD + len;
	d->n++;
	return 0;
}

/* Where the name number i lies, and those behind it follow; i < n. */
static const uint8_t *name_at(const struct fs_dir *d, size_t i)
{
	const uint8_t *p = d->names + d->stretch[i / STRETCH];

	for (size_t k = i % STRETCH; k > 0; k--)
		p += HEAD + p[1];
	return p;
}

static void dir_free(struct fs_dir *d)
{
	free(d->names);
	free(d->stretch);
	free(d);
}

int fs_opendir(struct fs *fs, uint64_t ino, struct fs_dir **out)
{
	struct fs_dir *d = calloc(1, sizeof(*d));
	int rc;

	if (!d)
		return ckpt_fail(ENOMEM, "no memory for an open directory");
	d->ino = ino;
	if (ino & FS_VIRTUAL)
		rc = fs_view_list(fs, ino, collect, d);
	else
		rc = fs_inode_ref(fs, ino);
	if (rc < 0) {
		dir_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

struct listing {
	struct fs *fs;
	unsigned long long seen, published;
	uint64_t mark;
	fs_emit emit;
	void *arg;
	int rc;
};

static int emit_entry(void *arg, const struct store_dirent *e, const struct store_attr *attr)
{
	struct listing *l = arg;
	struct fs_entry entry;
	int stop;

	if (e->cookie > l->mark)
		return 1;
	if (!attr)
		return l->emit(l->arg, e->name, e->len, e->ino, e->mode & S_IFMT, e->cookie + COOKIES, NULL);
	l->rc = fs_inode_ref(l->fs, e->ino);
	if (l->rc < 0)
		return 1;
	if (!fs_inode_still(l->fs, e->ino, l->seen)) {
		fs_inode_unref(l->fs, e->ino, 1);
		return 0; /* removed since the batch was read */
	}
	fs_entry_fill(l->fs, attr, l->published, &entry);
	stop = l->emit(l->arg, e->name, e->len, e->ino, e->mode & S_IFMT, e->cookie + COOKIES, &entry);
	if (stop)
		fs_inode_unref(l->fs, e->ino, 1);
	return stop;
}

static int parent_of(struct fs *fs, uint64_t ino, uint64_t *parent)
{
	struct store_attr a;
	int rc;

	if (ino & FS_VIRTUAL) {
		*parent = fs_view_parent(fs, ino);
		return 0;
	}
	rc = store_getattr(fs->store, ino, &a);
	if (rc < 0)
		return rc;
	if (!S_ISDIR(a.mode))
		return ckpt_fail(ENOTDIR, "inode %llu is no directory", (unsigned long long)ino);
	*parent = ino == FS_ROOT || a.parent == 0 ? ino : a.parent;
	return 0;
}

static int list_view(
		struct fs *fs, struct fs_dir *d, uint64_t cookie, enum fs_listing how, fs_emit emit, void *arg)
{
	uint64_t i = cookie - COOKIES;
	const uint8_t *p = i < d->n ? name_at(d, i) : NULL;
	char name[STORE_NAME_MAX + 1];

	for (; i < d->n; i++) {
		mode_t type = (mode_t)p[0] << 12;
		struct fs_entry entry;
		size_t len = p[1];
		int rc, stop;

		memcpy(name, p + HEAD, len);
		name[len] = '\0';
		p += HEAD + len;
		/* A listing may show a number before anybody looked the name up: any but 0 serves. */
		if (how == FS_NAMES) {
			if (emit(arg, name, len, FS_VIRTUAL, type, i + COOKIES + 1, NULL))
				return 0;
			continue;
		}
		rc = fs_view_lookup_listed(fs, d->ino, name, how == FS_ATTRS_QUICK, &entry);
		if (rc == -ENOENT)
			continue;
		if (rc == -EAGAIN) {
			if (emit(arg, name, len, FS_VIRTUAL, type, i + COOKIES + 1, NULL))
				return 0;
			continue;
		}
		if (rc < 0)
			return rc;
		stop = emit(arg, name, len, entry.st.st_ino, entry.st.st_mode & S_IFMT, i + COOKIES + 1, &entry);
		if (stop) {
			fs_view_forget(fs, entry.st.st_ino, 1);
			return 0;
		}
	}
	return 0;
}

int fs_readdir(struct fs *fs, struct fs_dir *d, uint64_t cookie, enum fs_listing how, fs_emit emit, void *arg)
{
	struct listing l = { .fs = fs, .emit = emit, .arg = arg };
	uint64_t parent = 0;
	int rc;

	l.seen = atomic_load(&fs->gone);
	l.published = atomic_load(&fs->published);
	if (!d->was_read && !(d->ino & FS_VIRTUAL)) {
		/* Before the answer, which makes the kernel ask for the access time again. */
		d->was_read = true;
		fs_atime_apply(fs, d->ino, fs_realtime());
	}
	if ((!cookie || !d->mark) && !(d->ino & FS_VIRTUAL))
		d->mark = store_readdir_mark(fs->store);
	l.mark = d->mark;
	if (cookie < COOKIE_PARENT) {
		rc = parent_of(fs, d->ino, &parent);
		if (rc < 0)
			return rc;
		if (cookie < COOKIE_SELF && emit(arg, ".", 1, d->ino, S_IFDIR, COOKIE_SELF, NULL))
			return 0;
		if (emit(arg, "..", 2, parent, S_IFDIR, COOKIE_PARENT, NULL))
			return 0;
		cookie = COOKIE_PARENT;
	}
	if (d->ino & FS_VIRTUAL)
		return list_view(fs, d, cookie, how, emit, arg);
	rc = store_readdir(fs->store, d->ino, cookie - COOKIES, how != FS_NAMES, emit_entry, &l);
	if (l.rc < 0)
		return l.rc;
	return rc < 0 ? rc : 0;
}

void fs_closedir(struct fs *fs, struct fs_dir *d)
{
	if (!d)
		return;
	if (!(d->ino & FS_VIRTUAL)) {
		fs_inode_unref(fs, d->ino, 1);
	}
	dir_free(d);
}

int fs_fsyncdir(struct fs *fs, uint64_t ino)
{
	if ((ino & FS_VIRTUAL) || fs->readonly)
		return 0;
	return store_commit(fs->store, true);
}
