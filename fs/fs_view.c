/*
 * fs_view.c: the names beginning with '@', and the numbers of what is below them.
 *
 * A view is functions over paths (fs_view_internal.h).  Here each path of a view that somebody has looked up gets a node with a
 * number of its own (view_nodes.h); looked up again it is the same, so that the kernel sees one inode.
 *
 * A number stands for one content (struct fs_mark): when the path shows another one, the next lookup makes another node, and
 * the one before is as a file that was renamed over.  It remembers what it looked like, for those who have it open.
 *
 * `@` itself is a view too: a directory with a symlink to each of the others, for people who wonder what there is.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "fs_internal.h"
#include "view_host.h"
#include "view_nodes.h"

enum { TRIES = 16 }; /* looks at a path that is replaced all the time */

/* --- the view that lists the views ------------------------------------------------------------------- */

static const struct fs_view view_list;
static const struct fs_view *const views[] = { &view_list, &fs_view_history, &fs_view_stats, &fs_view_forms, &fs_view_tree,
	&fs_view_runs };
enum { VIEWS = sizeof(views) / sizeof(views[0]) };

/* One view may answer to many names; these are shown. */
static const char *const shown[] = { "@cpu", "@cuda", "@auto", "@fp32", "@fp16", "@bf16", "@summary", "@json", "@tree",
	"@safetensors", "@runs", "@history", "@stats" };
enum { SHOWN = sizeof(shown) / sizeof(shown[0]) };

static int list_stat(struct fs *fs, const char *name, const char *path, struct fs_view_look *look)
{
	(void)fs;
	(void)name;
	if (path[0] == '\0') {
		look->st.st_mode = S_IFDIR | 0555;
		return 0;
	}
	for (size_t i = 0; i < SHOWN; i++) {
		if (strcmp(shown[i], path) == 0) {
			look->st.st_mode = S_IFLNK | 0777;
			look->st.st_size = (off_t)(strlen("../") + strlen(path));
			return 0;
		}
	}
	return ckpt_fail(ENOENT, "no view '%s'", path);
}

static int list_list(struct fs *fs, const char *name, const char *path, fs_view_emit emit, void *arg)
{
	(void)fs;
	(void)name;
	(void)path;
	for (size_t i = 0; i < SHOWN; i++) {
		int rc = emit(arg, shown[i], strlen(shown[i]), S_IFLNK);

		if (rc)
			return rc;
	}
	return 0;
}

static ssize_t list_readlink(struct fs *fs, const char *name, const char *path, char *buf, size_t cap)
{
	size_t len = strlen("../") + strlen(path);

	(void)fs;
	(void)name;
	if (len > cap)
		len = cap;
	if (len > 3)
		memcpy(buf + 3, path, len - 3);
	memcpy(buf, "../", len < 3 ? len : 3);
	return (ssize_t)len;
}

static const struct fs_view view_list = {
	.name = "@",
	.stat = list_stat,
	.list = list_list,
	.readlink = list_readlink,
};

const struct fs_view *fs_view_of(const char *name)
{
	for (size_t i = 0; i < VIEWS; i++)
		if (views[i]->name ? strcmp(views[i]->name, name) == 0 : views[i]->answers(name))
			return views[i];
	return NULL;
}

bool fs_view_name(const char *name)
{
	return name[0] == '@';
}

/* --- nodes ------------------------------------------------------------------------------------------- */

/* What a node remembers; its key (caller frees) is cut in place into the view's name and the path in it. */
struct place {
	const struct fs_view *view;
	uint64_t mark;    /* view_mark_hash() */
	struct stat was;
	char *name;
	const char *path;
};

static int place_of(struct fs *fs, uint64_t ino, struct place *out)
{
	struct view_node_was n;
	int rc = view_node_get(fs->views, ino, &n);
	char *slash;

	if (rc < 0)
		return rc;
	slash = strchr(n.key, '/');
	if (slash)
		*slash = '\0';
	*out = (struct place){ .mark = n.mark, .was = n.st, .name = n.key, .path = slash ? slash + 1 : "" };
	out->view = fs_view_of(n.key);
	if (out->view)
		return 0;
	rc = ckpt_fail(ENOENT, "no view '%s'", n.key);
	free(n.key);
	return rc;
}

void fs_view_forget(struct fs *fs, uint64_t ino, uint64_t count)
{
	uint64_t had = view_node_forget(fs->views, ino, count);

	if (count > had)
		ckpt_log(LOG_ERR, "inode %#llx of a view: %llu references given back, %llu held", (unsigned long long)ino,
				(unsigned long long)count, (unsigned long long)had);
}

/* --- what the tree asks ------------------------------------------------------------------------------ */

/* What is remembered of names (view_names.c) may be of the moment before a change that is not counted yet. */
static void look_again(struct fs *fs)
{
	atomic_fetch_add(&fs->changes, 1);
}

int fs_view_look(struct fs *fs, const struct fs_view *v, const char *name, const char *path, struct fs_view_look *look)
{
	int rc;

	for (unsigned try = 0;; try++) {
		struct stat *st = &look->st;

		/* What a view does not say otherwise. A link count of 1 keeps find(1) from counting directories by it. */
		*st = (struct stat){ .st_nlink = 1, .st_blksize = 4096, .st_uid = geteuid(), .st_gid = getegid() };
		st->st_atim = st->st_mtim = st->st_ctim = fs->born;
		look->mark = (struct fs_mark){ 0 };
		rc = v->stat(fs, name, path, look);
		if (rc != -ESTALE || try == TRIES)
			return rc;
		look_again(fs);
	}
}

/* "@a/b" for ("@a", "b"); the name alone without a directory. Caller frees. */
static char *join(const char *dir, const char *name)
{
	size_t dlen = strlen(dir), nlen = strlen(name);
	char *key = malloc(dlen + nlen + 2);

	if (!key)
		return NULL;
	memcpy(key, dir, dlen);
	if (dlen > 0)
		key[dlen++] = '/';
	memcpy(key + dlen, name, nlen + 1);
	return key;
}

/* The path of the directory above a key: "" for a view itself. */
static void cut_last(char *key)
{
	char *slash = strrchr(key, '/');

	*(slash ? slash : key) = '\0';
}

/* The key of `name` in a directory of a view. Caller frees. */
static int key_below(struct fs *fs, uint64_t parent, const char *name, char **out)
{
	struct view_node_was dir;
	int rc = view_node_get(fs->views, parent, &dir);

	if (rc < 0)
		return rc;
	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		if (name[1] == '.')
			cut_last(dir.key);
		*out = dir.key;
		return 0;
	}
	*out = join(dir.key, name);
	free(dir.key);
	return *out ? 0 : ckpt_fail(ENOMEM, "no memory for a path");
}

/* listed: what can't be told of a name does not matter, it is there. */
static int lookup(struct fs *fs, uint64_t parent, const char *name, bool quick, bool listed, struct fs_entry *out)
{
	struct fs_view_look look = { .quick = quick };
	const struct fs_view *view;
	char *key = NULL, *slash;
	uint64_t ino = 0;
	int rc;

	if (strlen(name) > STORE_NAME_MAX)
		return ckpt_fail(ENAMETOOLONG, "a name of %zu bytes", strlen(name));
	if (parent == FS_ROOT) {
		key = strdup(name);
		rc = key ? 0 : ckpt_fail(ENOMEM, "no memory for a name");
	} else {
		rc = key_below(fs, parent, name, &key);
	}
	if (rc < 0)
		return rc;
	if (key[0] == '\0') {
		free(key);
		return fs_lookup(fs, FS_ROOT, ".", out);
	}

	slash = strchr(key, '/');
	if (slash)
		*slash = '\0';
	view = fs_view_of(key);
	if (!view) {
		rc = ckpt_fail(ENOENT, "no view '%s'", key);
		goto free_key;
	}
	rc = fs_view_look(fs, view, key, slash ? slash + 1 : "", &look);
	if (rc < 0 && listed && rc != -ENOENT && rc != -ENOMEM) {
		look.st.st_mode = S_IFREG; /* whoever opens it hears why */
		look.mark = (struct fs_mark){ 0 };
		rc = 0;
	}
	if (rc < 0)
		goto free_key;
	if (slash)
		*slash = '/';
	rc = view_node_ref(fs->views, key, &look, &ino);
	if (rc < 0)
		goto free_key;
	out->st = look.st;
	out->st.st_ino = ino;
	out->settled = false;
free_key:
	free(key);
	return rc;
}

int fs_view_lookup(struct fs *fs, uint64_t parent, const char *name, struct fs_entry *out)
{
	return lookup(fs, parent, name, false, false, out);
}

int fs_view_lookup_listed(struct fs *fs, uint64_t parent, const char *name, bool quick, struct fs_entry *out)
{
	int rc = lookup(fs, parent, name, quick, !quick, out);

	return quick && rc < 0 && rc != -ENOENT ? -EAGAIN : rc;
}

int fs_view_getattr(struct fs *fs, uint64_t ino, struct fs_entry *out)
{
	struct fs_view_look look = { .quick = false };
	struct place p;
	int rc = place_of(fs, ino, &p);

	if (rc < 0)
		return rc;
	rc = fs_view_look(fs, p.view, p.name, p.path, &look);
	/* The path shows something else by now, or nothing: what is open is what it was, without a name. */
	if (p.mark != 0 && (rc < 0 || p.mark != view_mark_hash(&look.mark))) {
		look.st = p.was;
		rc = 0;
	}
	out->st = look.st;
	out->st.st_ino = ino;
	out->settled = false;
	free(p.name);
	return rc;
}

ssize_t fs_view_readlink(struct fs *fs, uint64_t ino, char *buf, size_t cap)
{
	struct place p;
	ssize_t n = place_of(fs, ino, &p);

	if (n < 0)
		return n;
	if (!p.view->readlink || p.path[0] == '\0')
		n = ckpt_fail(EINVAL, "'%s/%s' is no symbolic link", p.name, p.path);
	else
		n = p.view->readlink(fs, p.name, p.path, buf, cap);
	free(p.name);
	return n;
}

int fs_view_open(struct fs *fs, uint64_t ino, bool exact, struct fs_view_file *out)
{
	struct place p;
	int rc = place_of(fs, ino, &p);

	if (rc < 0)
		return rc;
	if (p.view->open) {
		for (unsigned try = 0;; try++) {
			rc = p.view->open(fs, p.name, p.path, out);
			if (rc != -ESTALE || try == TRIES)
				break;
			look_again(fs);
		}
	} else {
		rc = ckpt_fail(EISDIR, "'%s/%s' is no file", p.name, p.path);
	}
	if (rc == 0 && exact && p.mark != view_mark_hash(&out->mark)) {
		out->close(out);
		rc = ckpt_fail(ESTALE, "'%s/%s' was replaced", p.name, p.path);
	}
	if (rc == 0) {
		rc = view_handles_add(fs->host->handles, out);
		if (rc < 0)
			out->close(out);
	}
	free(p.name);
	return rc;
}

int fs_view_list(struct fs *fs, uint64_t ino, fs_view_emit emit, void *arg)
{
	struct fs_view_look look = { .quick = false };
	struct place p;
	int rc = place_of(fs, ino, &p);

	if (rc < 0)
		return rc;
	rc = fs_view_look(fs, p.view, p.name, p.path, &look);
	if (rc == 0 && (!S_ISDIR(look.st.st_mode) || !p.view->list))
		rc = ckpt_fail(ENOTDIR, "'%s/%s' is no directory", p.name, p.path);
	if (rc == 0)
		rc = p.view->list(fs, p.name, p.path, emit, arg);
	free(p.name);
	return rc;
}

/* A directory above that nobody has looked up has no number: then any will do, for listings only show it. */
uint64_t fs_view_parent(struct fs *fs, uint64_t ino)
{
	return view_node_parent(fs->views, ino);
}
