/*
 * fs_table.c: which inodes are known, and the body of those that are open.
 *
 * Inodes are spread over shards by their number, each a hash table of its own that doubles when it is full, so that growing
 * holds up a small part of the tree for a short time.
 *
 * Names and references: an inode is reaped when it has neither.  Finding an inode by its name and taking a reference are two
 * steps (no lock is held while the store works), and somebody may take the last name and reap it in between.  The counter
 * fs.gone grows after each removal of a last name and before the table is asked whether anybody holds the inode; so whoever
 * took a reference and finds the counter as it was before the lookup holds a live inode, and others look again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "fs_internal.h"

enum { SLOTS_FIRST = 64 };

/* splitmix64's finalizer: neighbouring numbers go to different shards and slots. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

struct fs_shard *fs_shard_of(struct fs *fs, uint64_t ino)
{
	return &fs->shards[mix(ino) >> 58];
}

static struct fs_inode **slot_of(struct fs_inode **slots, size_t n, uint64_t ino)
{
	return &slots[mix(ino) & (n - 1)];
}

/* Shard lock held. */
static struct fs_inode *inode_find(struct fs_shard *sh, uint64_t ino)
{
	struct fs_inode *n = *slot_of(sh->slots, sh->nslots, ino);

	while (n && n->ino != ino)
		n = n->next;
	return n;
}

/* Doubles the table if memory allows; a longer chain is no error. Shard lock held. */
static void shard_grow(struct fs_shard *sh)
{
	size_t nslots = sh->nslots * 2;
	struct fs_inode **slots = calloc(nslots, sizeof(*slots));

	if (!slots)
		return;
	for (size_t i = 0; i < sh->nslots; i++) {
		struct fs_inode *n, *next;

		for (n = sh->slots[i]; n; n = next) {
			struct fs_inode **to = slot_of(slots, nslots, n->ino);

			next = n->next;
			n->next = *to;
			*to = n;
		}
	}
	free(sh->slots);
	sh->slots = slots;
	sh->nslots = nslots;
}

/* Finds or adds, without taking a reference. NULL: no memory. Shard lock held. */
static struct fs_inode *inode_need(struct fs_shard *sh, uint64_t ino)
{
	struct fs_inode *n = inode_find(sh, ino);
	struct fs_inode **slot;

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	if (sh->count >= sh->nslots)
		shard_grow(sh);
	n->ino = ino;
	n->cached = FS_NOT_CACHED;
	slot = slot_of(sh->slots, sh->nslots, ino);
	n->next = *slot;
	*slot = n;
	sh->count++;
	return n;
}

/* Takes references away; true when the inode is gone from the table and is to be reaped. Shard lock held. */
static bool inode_drop(struct fs_shard *sh, struct fs_inode *n, uint64_t refs)
{
	struct fs_inode **at;
	bool reap;

	n->refs -= refs;
	if (n->refs > 0)
		return false;
	at = slot_of(sh->slots, sh->nslots, n->ino);
	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	sh->count--;
	reap = n->orphan;
	free(n);
	return reap;
}

static void reap_now(struct fs *fs, uint64_t ino)
{
	if (store_reap(fs->store, ino) < 0)
		ckpt_log(LOG_ERR, "inode %llu without a name could not be freed: %s", (unsigned long long)ino, ckpt_errmsg());
}

int fs_inode_ref(struct fs *fs, uint64_t ino)
{
	struct fs_shard *sh = fs_shard_of(fs, ino);
	struct fs_inode *n;

	pthread_mutex_lock(&sh->lock);
	n = inode_need(sh, ino);
	if (n)
		n->refs++;
	pthread_mutex_unlock(&sh->lock);
	return n ? 0 : ckpt_fail(ENOMEM, "no memory for inode %llu", (unsigned long long)ino);
}

void fs_inode_unref(struct fs *fs, uint64_t ino, uint64_t refs)
{
	struct fs_shard *sh = fs_shard_of(fs, ino);
	struct fs_inode *n;
	bool reap = false;
	uint64_t had;

	pthread_mutex_lock(&sh->lock);
	n = inode_find(sh, ino);
	had = n ? n->refs - (n->body ? 1 : 0) : 0;
	if (n && refs > 0)
		reap = inode_drop(sh, n, refs < had ? refs : had);
	pthread_mutex_unlock(&sh->lock);
	if (refs > had)
		ckpt_log(LOG_ERR, "inode %llu: %llu references given back, %llu held", (unsigned long long)ino,
				(unsigned long long)refs, (unsigned long long)had);
	if (reap)
		reap_now(fs, ino);
}

void fs_inode_orphaned(struct fs *fs, uint64_t ino)
{
	struct fs_shard *sh = fs_shard_of(fs, ino);
	struct fs_inode *n;

	atomic_fetch_add(&fs->gone, 1);
	pthread_mutex_lock(&sh->lock);
	n = inode_find(sh, ino);
	if (n)
		n->orphan = 1;
	pthread_mutex_unlock(&sh->lock);
	if (!n)
		reap_now(fs, ino);
}

bool fs_inode_named(struct fs *fs, uint64_t ino)
{
	struct fs_shard *sh = fs_shard_of(fs, ino);
	struct fs_inode *n;
	bool was;

	pthread_mutex_lock(&sh->lock);
	n = inode_find(sh, ino);
	was = n && n->orphan;
	if (n)
		n->orphan = 0;
	pthread_mutex_unlock(&sh->lock);
	return was;
}

bool fs_inode_is_orphan(struct fs *fs, uint64_t ino)
{
	struct fs_shard *sh = fs_shard_of(fs, ino);
	struct fs_inode *n;
	bool orphan;

	pthread_mutex_lock(&sh->lock);
	n = inode_find(sh, ino);
	orphan = n && n->orphan;
	pthread_mutex_unlock(&sh->lock);
	return orphan;
}

bool fs_inode_still(struct fs *fs, uint64_t ino, unsigned long long seen)
{
	struct store_attr a;

	if (atomic_load(&fs->gone) == seen)
		return true;
	return store_getattr(fs->store, ino, &a) == 0 && a.nlink > 0;
}

/* --- bodies ------------------------------------------------------------------------------------------ */

static struct fs_body *body_new(uint64_t ino)
{
	struct fs_body *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->ino = ino;
	if (pthread_mutex_init(&b->session, NULL) != 0)
		goto free_body;
	if (pthread_rwlock_init(&b->gate, NULL) != 0)
		goto destroy_session;
	return b;

destroy_session:
	pthread_mutex_destroy(&b->session);
free_body:
	free(b);
	return NULL;
}

static void body_free(struct fs_body *b)
{
	if (!b)
		return;
	pthread_rwlock_destroy(&b->gate);
	pthread_mutex_destroy(&b->session);
	free(b->name);
	free(b);
}

/* A reference to the body of an inode, made if there is none; its store_file may not be open. NULL: no memory. */
static struct fs_body *body_get(struct fs_shard *sh, uint64_t ino)
{
	struct fs_body *spare = NULL, *b = NULL;
	struct fs_inode *n;

	pthread_mutex_lock(&sh->lock);
	n = inode_find(sh, ino);
	if (!n || !n->body) {
		pthread_mutex_unlock(&sh->lock);
		spare = body_new(ino);
		if (!spare)
			return NULL;
		pthread_mutex_lock(&sh->lock);
		n = inode_need(sh, ino);
	}
	if (n && !n->body) {
		n->body = spare;
		n->refs++;
		spare->inode = n;
		spare->next = sh->bodies;
		if (sh->bodies)
			sh->bodies->prev = spare;
		sh->bodies = spare;
		sh->nbodies++;
		spare = NULL;
	}
	if (n) {
		b = n->body;
		b->refs++;
	}
	pthread_mutex_unlock(&sh->lock);
	body_free(spare);
	return b;
}

int fs_body_open(struct fs *fs, uint64_t ino, struct fs_body **out)
{
	struct fs_shard *sh = fs_shard_of(fs, ino);
	struct fs_body *b = body_get(sh, ino);
	struct store_file *file;
	int rc = 0;

	if (!b)
		return ckpt_fail(ENOMEM, "no memory to open inode %llu", (unsigned long long)ino);
	pthread_mutex_lock(&sh->lock);
	file = b->file;
	pthread_mutex_unlock(&sh->lock);
	if (!file) {
		ckpt_mutex_lock(&b->session);
		pthread_mutex_lock(&sh->lock);
		file = b->file;
		pthread_mutex_unlock(&sh->lock);
		if (!file) {
			rc = store_file_open(fs->store, ino, &file);
			if (rc == 0) {
				struct store_attr a = { 0 };

				store_file_stat(file, &a);
				pthread_mutex_lock(&sh->lock);
				b->version = a.version;
				b->file = file;
				pthread_mutex_unlock(&sh->lock);
			}
		}
		pthread_mutex_unlock(&b->session);
	}
	if (rc < 0) {
		fs_body_put(fs, b);
		return rc;
	}
	*out = b;
	return 0;
}

struct fs_body *fs_body_hold(struct fs *fs, uint64_t ino)
{
	struct fs_shard *sh = fs_shard_of(fs, ino);
	struct fs_body *b = NULL;
	struct fs_inode *n;

	pthread_mutex_lock(&sh->lock);
	n = inode_find(sh, ino);
	if (n && n->body && n->body->file) {
		b = n->body;
		b->refs++;
	}
	pthread_mutex_unlock(&sh->lock);
	return b;
}

struct fs_body *fs_body_again(struct fs *fs, struct fs_body *b)
{
	struct fs_shard *sh = fs_shard_of(fs, b->ino);

	pthread_mutex_lock(&sh->lock);
	b->refs++;
	pthread_mutex_unlock(&sh->lock);
	return b;
}

/*
 * The store allows one store_file for an inode at a time, so the body stays in its place while the file is being closed:
 * who comes meanwhile takes a reference, waits for the session lock and opens it again.
 */
void fs_body_put(struct fs *fs, struct fs_body *b)
{
	uint64_t ino = b->ino;
	struct fs_shard *sh = fs_shard_of(fs, ino);
	struct store_file *file = NULL;
	bool last, reap = false;

	pthread_mutex_lock(&sh->lock);
	last = b->refs == 1;
	if (!last)
		b->refs--;
	pthread_mutex_unlock(&sh->lock);
	if (!last)
		return;

	ckpt_mutex_lock(&b->session);
	pthread_mutex_lock(&sh->lock);
	if (b->refs == 1) {
		file = b->file;
		b->file = NULL;
	}
	pthread_mutex_unlock(&sh->lock);
	store_file_close(file);
	pthread_mutex_unlock(&b->session);

	pthread_mutex_lock(&sh->lock);
	last = --b->refs == 0;
	if (last) {
		struct fs_inode *n = b->inode;

		if (b->prev)
			b->prev->next = b->next;
		else
			sh->bodies = b->next;
		if (b->next)
			b->next->prev = b->prev;
		sh->nbodies--;
		n->body = NULL;
		reap = inode_drop(sh, n, 1);
	}
	pthread_mutex_unlock(&sh->lock);
	if (last)
		body_free(b);
	if (reap)
		reap_now(fs, ino);
}

/* --- the whole --------------------------------------------------------------------------------------- */

int fs_table_init(struct fs *fs)
{
	for (size_t i = 0; i < FS_SHARDS; i++) {
		struct fs_shard *sh = &fs->shards[i];

		sh->slots = calloc(SLOTS_FIRST, sizeof(*sh->slots));
		if (!sh->slots || pthread_mutex_init(&sh->lock, NULL) != 0) {
			free(sh->slots);
			sh->slots = NULL;
			fs_table_release(fs);
			return ckpt_fail(ENOMEM, "no memory for the table of inodes");
		}
		sh->nslots = SLOTS_FIRST;
	}
	return 0;
}

/* What the kernel or a caller has not given back goes with it; sessions were finished before. */
void fs_table_release(struct fs *fs)
{
	for (size_t i = 0; i < FS_SHARDS; i++) {
		struct fs_shard *sh = &fs->shards[i];

		if (!sh->slots)
			continue;
		while (sh->bodies) {
			struct fs_body *b = sh->bodies;

			sh->bodies = b->next;
			while (b->handles) {
				struct fs_handle *h = b->handles;

				b->handles = h->next;
				free(h);
			}
			store_file_close(b->file);
			body_free(b);
		}
		for (size_t k = 0; k < sh->nslots; k++) {
			struct fs_inode *n, *next;

			for (n = sh->slots[k]; n; n = next) {
				next = n->next;
				if (n->orphan)
					reap_now(fs, n->ino);
				free(n);
			}
		}
		free(sh->slots);
		sh->slots = NULL;
		pthread_mutex_destroy(&sh->lock);
	}
}
