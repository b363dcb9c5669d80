/*
 * view_cache.c: objects that are shared, and kept while there is room.
 *
 * Understanding a file is the dear part of a view: a pickle of some megabytes becomes a graph of ten times
 * that.  What one request made of a content the next ones use: documents, layouts, trees, all known by the
 * mark of what they show.
 *
 * Small ones and large ones are kept in lists of their own, newest first: otherwise one checkpoint of a
 * hundred thousand tensors would drive out the heads of a thousand small ones.  What is in use counts too,
 * but can't be dropped.  An object that is larger than all the room there is stays until another is made:
 * else each name that is looked up in a huge file would have the file understood anew.  A large one that
 * nobody has asked for in a while goes even if there is room: the memory belongs to whoever writes.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "view_host.h"

enum { SLOTS = 1024 };
#define SMALL_MAX ((size_t)4 << 20)       /* bytes of an object that is a small one */
#define SMALL_ROOM ((size_t)24 << 20)
#define LARGE_ROOM ((size_t)112 << 20)
#define IDLE_NS ((int64_t)10 * 1000000000)
#define MESSAGE 512

struct view_item {
	struct view_key key;
	struct view_item *next;            /* in its slot */
	struct view_item *newer, *older;   /* in its list, from when it was made */
	void *object;
	void (*drop)(void *object);
	size_t memory;
	unsigned refs;
	int64_t used;                      /* CLOCK_MONOTONIC ns of the last reference given back */
	bool making;
	int rc;                            /* how making it failed */
	char message[MESSAGE];
};

struct kept {
	struct view_item *newest, *oldest;
	size_t memory, room;
};

struct view_cache {
	pthread_mutex_t lock;              /* guards all; a leaf, not held while something is made or dropped */
	pthread_cond_t made;
	struct view_item *slots[SLOTS];
	struct kept small, large;
};

struct view_cache *view_cache_new(void)
{
	struct view_cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->small.room = SMALL_ROOM;
	c->large.room = LARGE_ROOM;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->made, NULL);
	return c;
}

static uint64_t hash_of(const struct view_key *k)
{
	uint64_t x = k->mark.version * 0x9e3779b97f4a7c15u ^ (uint64_t)k->mark.changed ^ k->mark.rule ^
			(uint64_t)k->what << 56;

	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	return x ^ x >> 31;
}

static bool same_key(const struct view_key *a, const struct view_key *b)
{
	return fs_mark_same(&a->mark, &b->mark) && a->what == b->what;
}

static struct view_item **slot_of(struct view_cache *c, const struct view_key *k)
{
	return &c->slots[hash_of(k) % SLOTS];
}

static struct kept *list_of(struct view_cache *c, const struct view_item *i)
{
	return i->memory <= SMALL_MAX ? &c->small : &c->large;
}

/* Lock held, for all of these. */
static void list_push(struct kept *l, struct view_item *i)
{
	i->newer = NULL;
	i->older = l->newest;
	*(l->newest ? &l->newest->newer : &l->oldest) = i;
	l->newest = i;
	l->memory += i->memory;
}

static void list_take(struct kept *l, struct view_item *i)
{
	*(i->newer ? &i->newer->older : &l->newest) = i->older;
	*(i->older ? &i->older->newer : &l->oldest) = i->newer;
	l->memory -= i->memory;
}

static void slot_take(struct view_cache *c, struct view_item *i)
{
	struct view_item **at = slot_of(c, &i->key);

	while (*at != i)
		at = &(*at)->next;
	*at = i->next;
}

/*
 * Takes what is too much, but the newest, and what is unused since `before` out of a list and chains it by `next` on
 * to *gone.  It looks no further than it has to: each question of a listing comes by here.
 */
static void evict(struct view_cache *c, struct kept *l, int64_t before, struct view_item **gone)
{
	struct view_item *i, *newer;

	for (i = l->oldest; i && (l->memory > l->room || before > INT64_MIN); i = newer) {
		bool over = l->memory > l->room && i != l->newest;

		newer = i->newer;
		if (i->refs > 0 || (!over && i->used >= before))
			continue;
		slot_take(c, i);
		list_take(l, i);
		i->next = *gone;
		*gone = i;
	}
}

/* Lock not held. */
static void drop_all(struct view_item *gone)
{
	while (gone) {
		struct view_item *next = gone->next;

		if (gone->object)
			gone->drop(gone->object);
		free(gone);
		gone = next;
	}
}

/* Whoever waited for one that was not made gets its error; the last frees it. Lock held; drops it. */
static int take_failure(struct view_cache *c, struct view_item *i)
{
	int rc = i->rc;
	bool last = --i->refs == 0;

	if (rc < 0)
		ckpt_fail(-rc, "%s", i->message);
	pthread_mutex_unlock(&c->lock);
	if (last)
		free(i);
	return rc;
}

int view_cache_get(struct view_cache *c, const struct view_key *k,
		int (*make)(void *arg, void **object, size_t *memory), void *arg, void (*drop)(void *object),
		struct view_item **out)
{
	struct view_item *i, *gone = NULL, *spare = NULL;
	void *object = NULL;
	size_t memory = 0;
	int rc;

	for (;;) {
		pthread_mutex_lock(&c->lock);
		for (i = *slot_of(c, k); i && !same_key(&i->key, k); i = i->next)
			;
		if (!make && (!i || i->making)) {
			pthread_mutex_unlock(&c->lock);
			return -EAGAIN;
		}
		if (i || spare)
			break;
		pthread_mutex_unlock(&c->lock);
		spare = calloc(1, sizeof(*spare));
		if (!spare)
			return ckpt_fail(ENOMEM, "no memory for a view");
	}
	if (i) {
		i->refs++;
		while (i->making)
			ckpt_cond_wait(&c->made, &c->lock);
		if (i->rc < 0) {
			rc = take_failure(c, i);
			free(spare);
			return rc;
		}
		list_take(list_of(c, i), i);
		list_push(list_of(c, i), i);
		pthread_mutex_unlock(&c->lock);
		free(spare);
		*out = i;
		return 0;
	}
	i = spare;
	*i = (struct view_item){ .key = *k, .drop = drop, .refs = 1, .making = true };
	i->next = *slot_of(c, k);
	*slot_of(c, k) = i;
	pthread_mutex_unlock(&c->lock);

	ckpt_will_wait();
	rc = make(arg, &object, &memory);

	pthread_mutex_lock(&c->lock);
	i->making = false;
	pthread_cond_broadcast(&c->made);
	if (rc < 0) {
		i->rc = rc;
		strncpy(i->message, ckpt_errmsg(), sizeof(i->message) - 1);
		slot_take(c, i);
		return take_failure(c, i);
	}
	i->object = object;
	i->memory = memory;
	list_push(list_of(c, i), i);
	evict(c, list_of(c, i), INT64_MIN, &gone);
	pthread_mutex_unlock(&c->lock);
	drop_all(gone);
	*out = i;
	return 0;
}

void *view_item_object(const struct view_item *i)
{
	return i->object;
}

void view_item_put(struct view_cache *c, struct view_item *i)
{
	struct view_item *gone = NULL;

	if (!i)
		return;
	pthread_mutex_lock(&c->lock);
	i->used = fs_monotonic();
	if (--i->refs == 0)
		evict(c, list_of(c, i), INT64_MIN, &gone);
	pthread_mutex_unlock(&c->lock);
	drop_all(gone);
}

void view_cache_spare(struct view_cache *c)
{
	struct view_item *gone = NULL;
	bool any = false;

	/* A tree that goes gives its document back, which may go then. */
	do {
		drop_all(gone);
		gone = NULL;
		pthread_mutex_lock(&c->lock);
		evict(c, &c->large, INT64_MAX, &gone);
		pthread_mutex_unlock(&c->lock);
		any |= gone != NULL;
	} while (gone);
	if (any)
		malloc_trim(0);
}

void view_cache_tick(struct view_cache *c)
{
	struct view_item *gone = NULL;

	pthread_mutex_lock(&c->lock);
	evict(c, &c->large, fs_monotonic() - IDLE_NS, &gone);
	pthread_mutex_unlock(&c->lock);
	if (!gone)
		return;
	drop_all(gone);
	malloc_trim(0); /* a graph is thousands of allocations: without this the process keeps their pages */
}

/* Trees refer to documents, so they go first; nothing is in use any more. */
void view_cache_free(struct view_cache *c)
{
	struct view_item *gone = NULL;

	if (!c)
		return;
	do {
		drop_all(gone);
		gone = NULL;
		evict(c, &c->small, INT64_MAX, &gone);
		evict(c, &c->large, INT64_MAX, &gone);
	} while (gone);
	pthread_cond_destroy(&c->made);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
