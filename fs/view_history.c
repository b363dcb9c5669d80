/*
 * view_history.c: @history, the versions that are no longer current.
 *
 * The directories are those of the paths in the history.  A path that has versions is a directory too, and in it each version is a
 * file called by the time at which it lost its place, in UTC, oldest first:
 *
 *     @history/run/model.pt/20261122T065401.123456Z.pt           replaced by a newer one
 *     @history/run/model.pt/20261122T070312.000021Z-torn.pt      its writer died in the middle
 *     @history/run/model.pt/20261122T071530.400000Z-deleted.pt   the file was removed, or renamed over
 *
 * The extension is the file's own, so that tools know what they look at.  Two versions that ended in the same microsecond
 * get "~2", "~3" ... behind the time.  A path that was a file once and a directory later shows both.
 *
 * Permissions: the kernel checks each directory on the way, so a directory here has the mode and owner of the one that is at the same path
 * of the tree now.  Where there is none any more, only the store's owner gets in: whom it was closed to is not known.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fs_internal.h"

enum { EXTENSION_MAX = 16 };

/* The end of a path's last component from its last '.', or "": what is longer, or the whole name, is no extension. */
static const char *extension_of(const char *path, size_t len, size_t *ext_len)
{
	for (size_t i = len; i > 0 && path[i - 1] != '/'; i--) {
		if (path[i - 1] != '.')
			continue;
		*ext_len = len - i + 1;
		if (i == 1 || path[i - 2] == '/' || *ext_len > EXTENSION_MAX || *ext_len == 1)
			break;
		return path + i - 1;
	}
	*ext_len = 0;
	return "";
}

/* twin: how many versions before this one ended at the same time. */
static void version_name(const struct store_past *p, const char *path, size_t len, unsigned twin, char out[FS_HISTORY_NAME_MAX])
{
	int64_t ns = p->ended % 1000000000, s = p->ended / 1000000000;
	const char *how = p->how == STORE_TORN ? "-torn" : p->how == STORE_DELETED ? "-deleted" : "";
	char when[32], number[16] = "";
	size_t ext_len;
	const char *ext = extension_of(path, len, &ext_len);
	time_t t = (time_t)s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(when, sizeof(when), "%Y%m%dT%H%M%S", &tm) == 0)
		snprintf(when, sizeof(when), "%lld", (long long)s);
	if (twin > 0)
		snprintf(number, sizeof(number), "~%u", twin + 1);
	snprintf(out, FS_HISTORY_NAME_MAX, "%s.%06dZ%.6s%s%.*s", when, (int)(ns / 1000), number, how, (int)ext_len, ext);
}

void fs_history_name(const struct store_past *p, const char *path, size_t len, char out[FS_HISTORY_NAME_MAX])
{
	version_name(p, path, len, 0, out);
}

/* Versions of a path, named one after the other. */
struct naming {
	const char *path;
	size_t len;
	int64_t last;      /* microsecond at which the one before ended */
	unsigned twin;
	char name[FS_HISTORY_NAME_MAX];
	/* what to do with each */
	const char *wanted;          /* look for this name, ... */
	struct store_past found;
	bool any;
	fs_view_emit emit;           /* ... or tell all */
	void *arg;
	int rc;
};

static int name_one(void *arg, const struct store_past *p)
{
	struct naming *n = arg;
	int64_t at = p->ended / 1000;

	n->twin = n->any && at == n->last ? n->twin + 1 : 0;
	n->last = at;
	n->any = true;
	version_name(p, n->path, n->len, n->twin, n->name);
	if (n->emit) {
		n->rc = n->emit(n->arg, n->name, strlen(n->name), S_IFREG);
		return n->rc;
	}
	if (n->wanted && strcmp(n->name, n->wanted) != 0)
		return 0;
	n->found = *p;
	if (n->wanted)
		n->rc = 1;
	return n->wanted != NULL;
}

/* The version that a path of the view names. -ENOENT. */
static int find_version(struct fs *fs, const char *path, struct store_past *out)
{
	const char *slash = strrchr(path, '/');
	struct naming n = { .path = path };
	int rc;

	/* Every name begins with a digit: most names that are asked for need no look at all. */
	if (!slash || slash[1] < '0' || slash[1] > '9')
		return ckpt_fail(ENOENT, "no version '%s' in the history", path);
	n.len = (size_t)(slash - path);
	n.wanted = slash + 1;
	rc = store_history_of(fs->store, path, n.len, name_one, &n);
	if (rc < 0)
		return rc;
	if (n.rc != 1)
		return ckpt_fail(ENOENT, "no version '%s' in the history", path);
	*out = n.found;
	return 0;
}

static int stop_at_first(void *arg, const char *name, size_t len, int leaf, int dir)
{
	(void)name;
	(void)len;
	(void)leaf;
	(void)dir;
	*(bool *)arg = true;
	return 1;
}

/* What is at the same path of the tree now. -ENOENT, -ENOTDIR. */
static int live_path(struct fs *fs, const char *path, struct store_attr *out)
{
	int rc = store_getattr(fs->store, STORE_ROOT, out);

	while (rc == 0 && *path) {
		size_t len = strcspn(path, "/");

		rc = store_lookup(fs->store, out->ino, path, len, out);
		path += len + (path[len] == '/');
	}
	return rc;
}

static int history_stat(struct fs *fs, const char *name, const char *path, struct fs_view_look *look)
{
	struct stat *st = &look->st;
	struct naming newest = { .path = path, .len = strlen(path) };
	struct store_past past;
	struct store_attr live;
	bool below = false;
	int rc;

	(void)name;
	if (path[0] != '\0') {
		rc = store_history_of(fs->store, path, newest.len, name_one, &newest);
		if (rc < 0)
			return rc;
	}
	rc = store_history_list(fs->store, path, newest.len, stop_at_first, &below);
	if (rc < 0)
		return rc;
	if (path[0] == '\0' || newest.any || below) {
		rc = live_path(fs, path, &live);
		if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR)
			return rc;
		if (rc == 0 && S_ISDIR(live.mode)) {
			st->st_mode = S_IFDIR | (live.mode & 0555);
			st->st_uid = live.uid;
			st->st_gid = live.gid;
		} else if (below) {
			st->st_mode = S_IFDIR | 0500;
		} else {
			/* Nothing but versions: they have modes of their own. */
			st->st_mode = S_IFDIR | 0555;
			st->st_uid = newest.found.attr.uid;
			st->st_gid = newest.found.attr.gid;
		}
		return 0;
	}

	rc = find_version(fs, path, &past);
	if (rc < 0)
		return rc;
	st->st_mode = S_IFREG | (past.attr.mode & 0444);
	st->st_uid = past.attr.uid;
	st->st_gid = past.attr.gid;
	st->st_size = (off_t)past.attr.size;
	st->st_blocks = (blkcnt_t)(past.attr.data / 512 + (past.attr.data % 512 != 0));
	st->st_blksize = 128 * 1024;
	st->st_atim = past.attr.atime;
	st->st_mtim = past.attr.mtime;
	st->st_ctim.tv_sec = past.ended / 1000000000;
	st->st_ctim.tv_nsec = past.ended % 1000000000;
	look->mark.version = past.version;
	return 0;
}

struct below {
	fs_view_emit emit;
	void *arg;
	int rc;
};

static int emit_below(void *arg, const char *name, size_t len, int leaf, int dir)
{
	struct below *b = arg;

	(void)leaf;
	(void)dir;
	b->rc = b->emit(b->arg, name, len, S_IFDIR);
	return b->rc;
}

static int history_list(struct fs *fs, const char *name, const char *path, fs_view_emit emit, void *arg)
{
	struct naming versions = { .path = path, .len = strlen(path), .emit = emit, .arg = arg };
	struct below below = { .emit = emit, .arg = arg };
	int rc;

	(void)name;
	rc = store_history_list(fs->store, path, versions.len, emit_below, &below);
	if (rc < 0 || below.rc)
		return rc < 0 ? rc : below.rc;
	if (path[0] == '\0')
		return 0;
	rc = store_history_of(fs->store, path, versions.len, name_one, &versions);
	return rc < 0 ? rc : versions.rc;
}

static ssize_t content_read(struct fs_view_file *f, uint64_t off, void *buf, size_t len)
{
	return store_file_read(f->content, off, buf, len);
}

static void content_close(struct fs_view_file *f)
{
	store_file_close(f->content);
}

static int history_open(struct fs *fs, const char *name, const char *path, struct fs_view_file *out)
{
	struct store_past past;
	int rc = find_version(fs, path, &past);

	(void)name;
	if (rc < 0)
		return rc;
	rc = store_file_open_version(fs->store, past.version, &out->content);
	if (rc < 0)
		return rc;
	out->read = content_read;
	out->close = content_close;
	out->size = past.attr.size;
	out->mark.version = past.version;
	return 0;
}

const struct fs_view fs_view_history = {
	.name = "@history",
	.stat = history_stat,
	.list = history_list,
	.open = history_open,
};
