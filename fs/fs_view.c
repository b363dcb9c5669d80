/*
 * fs_view.c: the names beginning with '@', and the numbers of what is below them.
 *
 * A view is functions over paths (fs_view_internal.h).  Here each path of a view that somebody has looked up gets a node with a number
 * of its own, which it keeps until it is forgotten; looked up again it is the same, so that the kernel sees one inode. Numbers are
 * never used twice in the life of the process.
 *
 * `@` itself is a view too: a directory with a symlink to each of the others, for people who wonder what there is.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "codec/codec_hash.h"
#include "fs_internal.h"

struct node {
	uint64_t ino;
	uint64_t refs;
	struct node *next_ino, *next_key;
	const struct fs_view *view;
	size_t len;       /* of the key */
	char key[];       /* "@view" or "@view/path", terminated */
};

/* Two hash tables over the same nodes. */
struct fs_views {
	pthread_mutex_t lock;   /* guards the rest; never held while a view works */
	struct node **by_ino, **by_key;
	size_t nslots, count;   /* slots of each table; a power of two */
	uint64_t next;
};

enum { SLOTS_FIRST = 256 };

/* --- the view that lists the views ------------------------------------------------------------------- */

static const struct fs_view view_list;
static const struct fs_view *const views[] = { &view_list, &fs_view_history, &fs_view_stats };
enum { VIEWS = sizeof(views) / sizeof(views[0]) };

static const struct fs_view *listed_view(const char *name)
{
	for (size_t i = 0; i < VIEWS; i++)
		if (strcmp(views[i]->listed, name) == 0)
			return views[i];
	return NULL;
}

static int list_stat(struct fs *fs, const char *name, const char *path, struct stat *st)
{
	(void)fs;
	(void)name;
	if (path[0] == '\0') {
		st->st_mode = S_IFDIR | 0555;
		return 0;
	}
	if (!listed_view(path))
		return ckpt_fail(ENOENT, "no view '%s'", path);
	st->st_mode = S_IFLNK | 0777;
	st->st_size = (off_t)(strlen("../") + strlen(path));
	return 0;
}

static int list_list(struct fs *fs, const char *name, const char *path, fs_view_emit emit, void *arg)
{
	(void)fs;
	(void)name;
	(void)path;
	for (size_t i = 0; i < VIEWS; i++) {
		int rc = views[i] == &view_list ? 0 : emit(arg, views[i]->listed, strlen(views[i]->listed), S_IFLNK);

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
	.listed = "@",
	.stat = list_stat,
	.list = list_list,
	.readlink = list_readlink,
};

static const struct fs_view *view_of(const char *name)
{
	for (size_t i = 0; i < VIEWS; i++)
		if (views[i]->answers ? views[i]->answers(name) : strcmp(views[i]->listed, name) == 0)
			return views[i];
	return NULL;
}

bool fs_view_name(const char *name)
{
	return name[0] == '@';
}

/* --- nodes ------------------------------------------------------------------------------------------- */

static struct node **slot_by_ino(struct node **slots, size_t n, uint64_t ino)
{
	return &slots[ino & (n - 1)];
}

static struct node **slot_by_key(struct node **slots, size_t n, const char *key, size_t len)
{
	return &slots[(uint64_t)codec_check(key, len) & (n - 1)];
}

/* Lock held. */
static struct node *find_ino(struct fs_views *v, uint64_t ino)
{
	struct node *n = *slot_by_ino(v->by_ino, v->nslots, ino);

	while (n && n->ino != ino)
		n = n->next_ino;
	return n;
}

/* Lock held. */
static struct node *find_key(struct fs_views *v, const char *key, size_t len)
{
	struct node *n = *slot_by_key(v->by_key, v->nslots, key, len);

	while (n && (n->len != len || memcmp(n->key, key, len) != 0))
		n = n->next_key;
	return n;
}

/* Lock held. */
static void insert(struct fs_views *v, struct node *n)
{
	struct node **a = slot_by_ino(v->by_ino, v->nslots, n->ino);
	struct node **b = slot_by_key(v->by_key, v->nslots, n->key, n->len);

	n->next_ino = *a;
	*a = n;
	n->next_key = *b;
	*b = n;
}

/* Doubles both tables if memory allows. Lock held. */
static void grow(struct fs_views *v)
{
	size_t old = v->nslots;
	struct node **was = v->by_ino;
	struct node **by_ino = calloc(old * 2, sizeof(*by_ino));
	struct node **by_key = calloc(old * 2, sizeof(*by_key));

	if (!by_ino || !by_key) {
		free(by_ino);
		free(by_key);
		return;
	}
	free(v->by_key);
	v->by_ino = by_ino;
	v->by_key = by_key;
	v->nslots = old * 2;
	for (size_t i = 0; i < old; i++) {
		struct node *n, *next;

		for (n = was[i]; n; n = next) {
			next = n->next_ino;
			insert(v, n);
		}
	}
	free(was);
}

/* One reference to the node of this key. *ino gets its number. */
static int node_ref(struct fs_views *v, const struct fs_view *view, const char *key, uint64_t *ino)
{
	size_t len = strlen(key);
	struct node *n;

	pthread_mutex_lock(&v->lock);
	n = find_key(v, key, len);
	if (!n) {
		if (v->count >= v->nslots)
			grow(v);
		n = malloc(sizeof(*n) + len + 1);
		if (n) {
			*n = (struct node){ .ino = FS_VIRTUAL | v->next++, .view = view, .len = len };
			memcpy(n->key, key, len + 1);
			insert(v, n);
			v->count++;
		}
	}
	if (n) {
		n->refs++;
		*ino = n->ino;
	}
	pthread_mutex_unlock(&v->lock);
	return n ? 0 : ckpt_fail(ENOMEM, "no memory for '%s'", key);
}

/* A copy of a node's key (caller frees), cut in place into the view's name and the path in it. */
struct place {
	const struct fs_view *view;
	char *name;
	const char *path;
};

static int place_of(struct fs *fs, uint64_t ino, struct place *out)
{
	struct fs_views *v = fs->views;
	struct node *n;
	char *slash, *key = NULL;

	pthread_mutex_lock(&v->lock);
	n = find_ino(v, ino);
	if (n) {
		key = strdup(n->key);
		out->view = n->view;
	}
	pthread_mutex_unlock(&v->lock);
	if (!n)
		return ckpt_fail(ENOENT, "no inode %#llx of a view", (unsigned long long)ino);
	if (!key)
		return ckpt_fail(ENOMEM, "no memory for a path");
	slash = strchr(key, '/');
	if (slash)
		*slash = '\0';
	out->name = key;
	out->path = slash ? slash + 1 : "";
	return 0;
}

void fs_view_forget(struct fs *fs, uint64_t ino, uint64_t count)
{
	struct fs_views *v = fs->views;
	struct node *n, **at;
	uint64_t had;

	pthread_mutex_lock(&v->lock);
	n = find_ino(v, ino);
	had = n ? n->refs : 0;
	if (n) {
		n->refs -= count < had ? count : had;
		if (n->refs == 0) {
			for (at = slot_by_ino(v->by_ino, v->nslots, ino); *at != n;)
				at = &(*at)->next_ino;
			*at = n->next_ino;
			for (at = slot_by_key(v->by_key, v->nslots, n->key, n->len); *at != n;)
				at = &(*at)->next_key;
			*at = n->next_key;
			v->count--;
			free(n);
		}
	}
	pthread_mutex_unlock(&v->lock);
	if (count > had)
		ckpt_log(LOG_ERR, "inode %#llx of a view: %llu references given back, %llu held", (unsigned long long)ino,
				(unsigned long long)count, (unsigned long long)had);
}

struct fs_views *fs_views_new(void)
{
	struct fs_views *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->nslots = SLOTS_FIRST;
	v->next = 1;
	v->by_ino = calloc(v->nslots, sizeof(*v->by_ino));
	v->by_key = calloc(v->nslots, sizeof(*v->by_key));
	if (!v->by_ino || !v->by_key || pthread_mutex_init(&v->lock, NULL) != 0) {
		free(v->by_key);
		free(v->by_ino);
		free(v);
		return NULL;
	}
	return v;
}

void fs_views_free(struct fs_views *v)
{
	if (!v)
		return;
	for (size_t i = 0; i < v->nslots; i++) {
		struct node *n, *next;

		for (n = v->by_ino[i]; n; n = next) {
			next = n->next_ino;
			free(n);
		}
	}
	pthread_mutex_destroy(&v->lock);
	free(v->by_key);
	free(v->by_ino);
	free(v);
}

/* --- what the tree asks ------------------------------------------------------------------------------ */

static int stat_place(struct fs *fs, const struct place *p, struct stat *st)
{
	/* What a view does not say otherwise. A link count of 1 keeps find(1) from counting directories by it. */
	*st = (struct stat){ .st_nlink = 1, .st_blksize = 4096, .st_uid = geteuid(), .st_gid = getegid() };
	st->st_atim = st->st_mtim = st->st_ctim = fs->born;
	return p->view->stat(fs, p->name, p->path, st);
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
	struct fs_views *v = fs->views;
	struct node *n;
	char *key = NULL;

	pthread_mutex_lock(&v->lock);
	n = find_ino(v, parent);
	if (n && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
		key = strdup(n->key);
	else if (n)
		key = join(n->key, name);
	pthread_mutex_unlock(&v->lock);
	if (!n)
		return ckpt_fail(ENOENT, "no inode %#llx of a view", (unsigned long long)parent);
	if (!key)
		return ckpt_fail(ENOMEM, "no memory for a path");
	if (strcmp(name, "..") == 0)
		cut_last(key);
	*out = key;
	return 0;
}

int fs_view_lookup(struct fs *fs, uint64_t parent, const char *name, struct fs_entry *out)
{
	struct place p;
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
	p = (struct place){ .view = view_of(key), .name = key, .path = slash ? slash + 1 : "" };
	if (!p.view) {
		rc = ckpt_fail(ENOENT, "no view '%s'", key);
		goto free_key;
	}
	rc = stat_place(fs, &p, &out->st);
	if (rc < 0)
		goto free_key;
	if (slash)
		*slash = '/';
	rc = node_ref(fs->views, p.view, key, &ino);
	if (rc < 0)
		goto free_key;
	out->st.st_ino = ino;
	out->settled = false;
free_key:
	free(key);
	return rc;
}

int fs_view_getattr(struct fs *fs, uint64_t ino, struct fs_entry *out)
{
	struct place p;
	int rc = place_of(fs, ino, &p);

	if (rc < 0)
		return rc;
	rc = stat_place(fs, &p, &out->st);
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

int fs_view_open(struct fs *fs, uint64_t ino, struct fs_view_file *out)
{
	struct place p;
	int rc = place_of(fs, ino, &p);

	if (rc < 0)
		return rc;
	if (p.view->open)
		rc = p.view->open(fs, p.name, p.path, out);
	else
		rc = ckpt_fail(EISDIR, "'%s/%s' is no file", p.name, p.path);
	free(p.name);
	return rc;
}

int fs_view_list(struct fs *fs, uint64_t ino, fs_view_emit emit, void *arg)
{
	struct place p;
	struct stat st;
	int rc = place_of(fs, ino, &p);

	if (rc < 0)
		return rc;
	rc = stat_place(fs, &p, &st);
	if (rc == 0 && (!S_ISDIR(st.st_mode) || !p.view->list))
		rc = ckpt_fail(ENOTDIR, "'%s/%s' is no directory", p.name, p.path);
	if (rc == 0)
		rc = p.view->list(fs, p.name, p.path, emit, arg);
	free(p.name);
	return rc;
}

/* A directory above that nobody has looked up has no number: then any will do, for listings only show it. */
uint64_t fs_view_parent(struct fs *fs, uint64_t ino)
{
	struct fs_views *v = fs->views;
	uint64_t parent = FS_ROOT;
	struct node *n, *up = NULL;
	size_t len = 0;

	pthread_mutex_lock(&v->lock);
	n = find_ino(v, ino);
	if (n) {
		for (len = n->len; len > 0 && n->key[len - 1] != '/';)
			len--;
		if (len > 0)
			up = find_key(v, n->key, len - 1);
	}
	if (len > 0)
		parent = up ? up->ino : FS_VIRTUAL;
	pthread_mutex_unlock(&v->lock);
	return parent;
}
