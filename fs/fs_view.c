/*
 * fs_view.c: the names beginning with '@', and the numbers of what is below them.
 *
 * A view is functions over paths (fs_view_internal.h).  Here each path of a view that somebody has looked up gets a node with a number
 * of its own, which it keeps until it is forgotten; looked up again it is the same, so that the kernel sees one inode. Numbers are
 * never used twice in the life of the process.
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

#include "codec/codec_hash.h"
#include "fs_internal.h"

struct node {
	uint64_t ino;
	uint64_t refs;
	struct node *next_ino, *next_key;
	const struct fs_view *view;
	struct fs_mark mark;
	/* as it was last seen; of a mark that is known */
	struct timespec mtime;
	uint64_t size;
	uint32_t mode, uid, gid;
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

enum {
	SLOTS_FIRST = 256,
	TRIES = 16,       /* looks at a path that is replaced all the time */
};

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
static struct node *find_key(struct fs_views *v, const char *key, size_t len, const struct fs_mark *mark)
{
	struct node *n = *slot_by_key(v->by_key, v->nslots, key, len);

	while (n && (n->len != len || memcmp(n->key, key, len) != 0 || !fs_mark_same(&n->mark, mark)))
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

/* One reference to the node of this key and mark. *ino gets its number. */
static int node_ref(struct fs_views *v, const struct fs_view *view, const char *key, const struct fs_view_look *look,
		uint64_t *ino)
{
	size_t len = strlen(key);
	struct node *n;

	pthread_mutex_lock(&v->lock);
	n = find_key(v, key, len, &look->mark);
	if (!n) {
		if (v->count >= v->nslots)
			grow(v);
		n = malloc(sizeof(*n) + len + 1);
		if (n) {
			*n = (struct node){ .ino = FS_VIRTUAL | v->next++, .view = view, .mark = look->mark, .len = len };
			memcpy(n->key, key, len + 1);
			insert(v, n);
			v->count++;
		}
	}
	if (n) {
		n->refs++;
		*ino = n->ino;
		n->mode = look->st.st_mode;
		n->uid = look->st.st_uid;
		n->gid = look->st.st_gid;
		n->size = (uint64_t)look->st.st_size;
		n->mtime = look->st.st_mtim;
	}
	pthread_mutex_unlock(&v->lock);
	return n ? 0 : ckpt_fail(ENOMEM, "no memory for '%s'", key);
}

/* A copy of a node's key (caller frees), cut in place into the view's name and the path in it. */
struct place {
	const struct fs_view *view;
	struct fs_mark mark;
	struct stat was;  /* what the node remembers; of a mark that is known */
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
		out->mark = n->mark;
		out->was = (struct stat){ .st_mode = n->mode, .st_uid = n->uid, .st_gid = n->gid };
		out->was.st_size = (off_t)n->size;
		out->was.st_blocks = (blkcnt_t)(n->size / 512 + (n->size % 512 != 0));
		out->was.st_blksize = 4096;
		out->was.st_mtim = out->was.st_atim = out->was.st_ctim = n->mtime;
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
	rc = node_ref(fs->views, view, key, &look, &ino);
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
	if (fs_mark_known(&p.mark) && (rc < 0 || !fs_mark_same(&p.mark, &look.mark))) {
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
	if (rc == 0 && exact && !fs_mark_same(&p.mark, &out->mark)) {
		out->close(out);
		rc = ckpt_fail(ESTALE, "'%s/%s' was replaced", p.name, p.path);
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
	struct fs_views *v = fs->views;
	const struct fs_mark none = { 0 }; /* directories have none */
	uint64_t parent = FS_ROOT;
	struct node *n, *up = NULL;
	size_t len = 0;

	pthread_mutex_lock(&v->lock);
	n = find_ino(v, ino);
	if (n) {
		for (len = n->len; len > 0 && n->key[len - 1] != '/';)
			len--;
		if (len > 0)
			up = find_key(v, n->key, len - 1, &none);
	}
	if (len > 0)
		parent = up ? up->ino : FS_VIRTUAL;
	pthread_mutex_unlock(&v->lock);
	return parent;
}
