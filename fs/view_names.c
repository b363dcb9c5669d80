/*
 * view_names.c: names of the tree that views looked up, for as long as nothing changes.
 *
 * The kernel may not keep what it knows of a path in a view, so each step of each path is asked for again,
 * and a path of views is one of the tree: `ls -lR @runs` asks for the same few directories thousands of
 * times.  What a lookup found is good until the tree changes (fs.published, fs.gone, fs.changes), which is
 * all that is checked: in a tree that changes all the time nothing is gained, or lost.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_hash.h"
#include "view_host.h"

enum { PLACES = 8192 };

struct known {
	uint64_t parent, name;      /* parent 0: nothing here; name: a hash */
	unsigned long long seen;    /* changes of the tree before it was looked up */
	struct store_attr attr;
};

struct view_names {
	pthread_mutex_t lock;       /* guards all; a leaf */
	struct known at[PLACES];
};

struct view_names *view_names_new(void)
{
	struct view_names *n = calloc(1, sizeof(*n));

	if (n)
		pthread_mutex_init(&n->lock, NULL);
	return n;
}

void view_names_free(struct view_names *n)
{
	if (!n)
		return;
	pthread_mutex_destroy(&n->lock);
	free(n);
}

unsigned long long view_changes(struct fs *fs)
{
	return atomic_load(&fs->published) + atomic_load(&fs->gone) + atomic_load(&fs->changes);
}

int view_name_lookup(struct fs *fs, uint64_t parent, const char *name, size_t len, struct store_attr *out)
{
	struct view_names *names = fs->host->names;
	struct known k = {
		.parent = parent, .name = (uint64_t)codec_check(name, len), .seen = view_changes(fs)
	};
	struct known *at = &names->at[(k.name ^ parent * 0x9e3779b97f4a7c15u) % PLACES];
	bool found;
	int rc;

	pthread_mutex_lock(&names->lock);
	found = at->parent == parent && at->name == k.name && at->seen == k.seen;
	if (found)
		*out = at->attr;
	pthread_mutex_unlock(&names->lock);
	if (found)
		return 0;
	rc = store_lookup(fs->store, parent, name, len, &k.attr);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&names->lock);
	*at = k;
	pthread_mutex_unlock(&names->lock);
	*out = k.attr;
	return 0;
}

int view_name_root(struct fs *fs, struct store_attr *out)
{
	return view_name_lookup(fs, STORE_ROOT, ".", 1, out);
}
