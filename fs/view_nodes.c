/*
 * view_nodes.c: see view_nodes.h.
 *
 * Two hash tables over the same nodes, by number and by key, and one of the directories that they are in.
 */
#include "view_nodes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_hash.h"

/* What stands before the last '/' of a key; "" for a view itself. */
struct dir {
	struct dir *next;
	uint64_t refs;    /* nodes in it */
	uint64_t hash;
	size_t len;
	char text[];      /* not terminated, as all texts here */
};

struct node {
	uint64_t ino;
	uint64_t refs;
	struct node *next_ino, *next_key;
	struct dir *dir;
	uint64_t mark;    /* hash */
	int64_t mtime;    /* ns */
	uint64_t size;
	uint32_t uid, gid;
	uint16_t mode;
	uint8_t len;      /* of the name */
	char name[];
};

struct fs_views {
	pthread_mutex_t lock;   /* guards all; a leaf */
	struct node **by_ino, **by_key;
	struct dir **dirs;
	size_t nslots, count;   /* slots of each table of nodes; a power of two */
	size_t ndirs, ndir_slots;
	uint64_t next;
};

enum { SLOTS_FIRST = 256, LOAD = 2 }; /* nodes a slot */

uint64_t view_mark_hash(const struct fs_mark *m)
{
	const uint64_t words[3] = { m->version, (uint64_t)m->changed, m->rule };
	uint64_t hash = (uint64_t)codec_check(words, sizeof(words));

	return !fs_mark_known(m) ? 0 : hash ? hash : 1;
}

static struct node **slot_by_ino(struct node **slots, size_t n, uint64_t ino)
{
	return &slots[ino & (n - 1)];
}

static struct node **slot_by_key(
		struct node **slots, size_t n, const struct dir *d, const char *name, size_t len)
{
	uint64_t x = d->hash * 0x9e3779b97f4a7c15u + (uint64_t)codec_check(name, len);

	return &slots[(x ^ x >> 32) & (n - 1)];
}

/* --- directories. Lock held, for all that follow ----------------------------------------------------- */

static struct dir **slot_of_dir(struct dir **slots, size_t n, uint64_t hash)
{
	return &slots[hash & (n - 1)];
}

static struct dir *dir_find(struct fs_views *v, const char *text, size_t len)
{
	uint64_t hash = (uint64_t)codec_check(text, len);
	struct dir *d = *slot_of_dir(v->dirs, v->ndir_slots, hash);

	while (d && (d->hash != hash || d->len != len || memcmp(d->text, text, len) != 0))
		d = d->next;
	return d;
}

/* Doubles the table if memory allows. */
static void grow_dirs(struct fs_views *v)
{
	size_t n = v->ndir_slots * 2;
	struct dir **slots = calloc(n, sizeof(struct dir *)), *next;

	if (!slots)
		return;
	for (size_t i = 0; i < v->ndir_slots; i++) {
		for (struct dir *d = v->dirs[i]; d; d = next) {
			struct dir **at = slot_of_dir(slots, n, d->hash);

			next = d->next;
			d->next = *at;
			*at = d;
		}
	}
	free(v->dirs);
	v->dirs = slots;
	v->ndir_slots = n;
}

/* With a reference; NULL: no memory. */
static struct dir *dir_ref(struct fs_views *v, const char *text, size_t len)
{
	struct dir *d = dir_find(v, text, len), **at;

	if (!d) {
		if (v->ndirs >= LOAD * v->ndir_slots)
			grow_dirs(v);
		d = malloc(sizeof(*d) + len);
		if (!d)
			return NULL;
		*d = (struct dir){ .hash = (uint64_t)codec_check(text, len), .len = len };
		memcpy(d->text, text, len);
		at = slot_of_dir(v->dirs, v->ndir_slots, d->hash);
		d->next = *at;
		*at = d;
		v->ndirs++;
	}
	d->refs++;
	return d;
}

static void dir_unref(struct fs_views *v, struct dir *d)
{
	struct dir **at;

	if (--d->refs > 0)
		return;
	for (at = slot_of_dir(v->dirs, v->ndir_slots, d->hash); *at != d;)
		at = &(*at)->next;
	*at = d->next;
	v->ndirs--;
	free(d);
}

/* --- nodes. Lock held, too --------------------------------------------------------------------------- */

/* Where the name begins in a key, and how much of it is its directory. */
static const char *name_in(const char *key, size_t len, size_t *dir)
{
	size_t at = len;

	while (at > 0 && key[at - 1] != '/')
		at--;
	*dir = at > 0 ? at - 1 : 0;
	return key + at;
}

static struct node *find_ino(struct fs_views *v, uint64_t ino)
{
	struct node *n = *slot_by_ino(v->by_ino, v->nslots, ino);

	while (n && n->ino != ino)
		n = n->next_ino;
	return n;
}

static struct node *find_key(
		struct fs_views *v, const struct dir *d, const char *name, size_t len, uint64_t mark)
{
	struct node *n = *slot_by_key(v->by_key, v->nslots, d, name, len);

	while (n && (n->dir != d || n->mark != mark || n->len != len || memcmp(n->name, name, len) != 0))
		n = n->next_key;
	return n;
}

static void insert(struct fs_views *v, struct node *n)
{
	struct node **a = slot_by_ino(v->by_ino, v->nslots, n->ino);
	struct node **b = slot_by_key(v->by_key, v->nslots, n->dir, n->name, n->len);

	n->next_ino = *a;
	*a = n;
	n->next_key = *b;
	*b = n;
}

/* Doubles both tables if memory allows. */
static void grow(struct fs_views *v)
{
	size_t old = v->nslots;
	struct node **was = v->by_ino, *next;
	struct node **by_ino = calloc(old * 2, sizeof(struct node *));
	struct node **by_key = calloc(old * 2, sizeof(struct node *));

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
		for (struct node *n = was[i]; n; n = next) {
			next = n->next_ino;
			insert(v, n);
		}
	}
	free(was);
}

/* A new node without references, in the tables. NULL: no memory. */
static struct node *make(struct fs_views *v, const char *key, size_t len, uint64_t mark)
{
	size_t dlen, nlen;
	const char *name = name_in(key, len, &dlen);
	struct dir *d = dir_ref(v, key, dlen);
	struct node *n;

	if (!d)
		return NULL;
	nlen = len - (size_t)(name - key);
	if (v->count >= LOAD * v->nslots)
		grow(v);
	n = malloc(offsetof(struct node, name) + nlen);
	if (!n) {
		dir_unref(v, d);
		return NULL;
	}
	n->ino = FS_VIRTUAL | v->next++;
	n->refs = 0;
	n->dir = d;
	n->mark = mark;
	n->len = (uint8_t)nlen;
	memcpy(n->name, name, nlen);
	insert(v, n);
	v->count++;
	return n;
}

static void drop(struct fs_views *v, struct node *n)
{
	struct node **at;

	for (at = slot_by_ino(v->by_ino, v->nslots, n->ino); *at != n;)
		at = &(*at)->next_ino;
	*at = n->next_ino;
	for (at = slot_by_key(v->by_key, v->nslots, n->dir, n->name, n->len); *at != n;)
		at = &(*at)->next_key;
	*at = n->next_key;
	dir_unref(v, n->dir);
	v->count--;
	free(n);
}

/* Terminated; NULL: no memory. */
static char *key_of(const struct node *n)
{
	size_t dlen = n->dir->len;
	char *key = malloc(dlen + 1 + n->len + 1);

	if (!key)
		return NULL;
	memcpy(key, n->dir->text, dlen);
	if (dlen > 0)
		key[dlen++] = '/';
	memcpy(key + dlen, n->name, n->len);
	key[dlen + n->len] = '\0';
	return key;
}

/* --- for fs_view.c ----------------------------------------------------------------------------------- */

int view_node_ref(struct fs_views *v, const char *key, const struct fs_view_look *look, uint64_t *ino)
{
	uint64_t mark = view_mark_hash(&look->mark);
	size_t len = strlen(key), dlen;
	const char *name = name_in(key, len, &dlen);
	struct node *n = NULL;
	struct dir *d;

	pthread_mutex_lock(&v->lock);
	d = dir_find(v, key, dlen);
	if (d)
		n = find_key(v, d, name, len - (size_t)(name - key), mark);
	if (!n)
		n = make(v, key, len, mark);
	if (n) {
		n->refs++;
		n->mode = (uint16_t)look->st.st_mode;
		n->uid = look->st.st_uid;
		n->gid = look->st.st_gid;
		n->size = (uint64_t)look->st.st_size;
		n->mtime = (int64_t)look->st.st_mtim.tv_sec * 1000000000 + look->st.st_mtim.tv_nsec;
		*ino = n->ino;
	}
	pthread_mutex_unlock(&v->lock);
	return n ? 0 : ckpt_fail(ENOMEM, "no memory for '%s'", key);
}

uint64_t view_node_forget(struct fs_views *v, uint64_t ino, uint64_t count)
{
	struct node *n;
	uint64_t had;

	pthread_mutex_lock(&v->lock);
	n = find_ino(v, ino);
	had = n ? n->refs : 0;
	if (n) {
		n->refs -= count < had ? count : had;
		if (n->refs == 0)
			drop(v, n);
	}
	pthread_mutex_unlock(&v->lock);
	return had;
}

static struct timespec time_of(int64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += 1000000000;
	}
	return t;
}

int view_node_get(struct fs_views *v, uint64_t ino, struct view_node_was *out)
{
	struct stat *st = &out->st;
	struct node *n;

	out->key = NULL;
	pthread_mutex_lock(&v->lock);
	n = find_ino(v, ino);
	if (n) {
		out->key = key_of(n);
		out->mark = n->mark;
		*st = (struct stat){ .st_mode = n->mode, .st_uid = n->uid, .st_gid = n->gid };
		st->st_blksize = 4096;
		st->st_size = (off_t)n->size;
		st->st_blocks = (blkcnt_t)(n->size / 512 + (n->size % 512 != 0));
		st->st_mtim = st->st_atim = st->st_ctim = time_of(n->mtime);
	}
	pthread_mutex_unlock(&v->lock);
	if (!n)
		return ckpt_fail(ENOENT, "no inode %#llx of a view", (unsigned long long)ino);
	return out->key ? 0 : ckpt_fail(ENOMEM, "no memory for a path");
}

uint64_t view_node_parent(struct fs_views *v, uint64_t ino)
{
	uint64_t parent = FS_ROOT;
	const char *name;
	struct node *n, *up;
	struct dir *d;
	size_t dlen;

	pthread_mutex_lock(&v->lock);
	n = find_ino(v, ino);
	if (n && n->dir->len > 0) {
		name = name_in(n->dir->text, n->dir->len, &dlen);
		d = dir_find(v, n->dir->text, dlen);
		/* Directories have no mark. */
		up = d ? find_key(v, d, name, n->dir->len - (size_t)(name - n->dir->text), 0) : NULL;
		parent = up ? up->ino : FS_VIRTUAL;
	}
	pthread_mutex_unlock(&v->lock);
	return parent;
}

struct fs_views *fs_views_new(void)
{
	struct fs_views *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->nslots = v->ndir_slots = SLOTS_FIRST;
	v->next = 1;
	v->by_ino = calloc(v->nslots, sizeof(struct node *));
	v->by_key = calloc(v->nslots, sizeof(struct node *));
	v->dirs = calloc(v->ndir_slots, sizeof(struct dir *));
	if (!v->by_ino || !v->by_key || !v->dirs || pthread_mutex_init(&v->lock, NULL) != 0) {
		free(v->dirs);
		free(v->by_key);
		free(v->by_ino);
		free(v);
		return NULL;
	}
	return v;
}

void fs_views_free(struct fs_views *v)
{
	struct node *next;

	if (!v)
		return;
	for (size_t i = 0; i < v->nslots; i++) {
		for (struct node *n = v->by_ino[i]; n; n = next) {
			next = n->next_ino;
			dir_unref(v, n->dir);
			free(n);
		}
	}
	pthread_mutex_destroy(&v->lock);
	free(v->dirs);
	free(v->by_key);
	free(v->by_ino);
	free(v);
}
