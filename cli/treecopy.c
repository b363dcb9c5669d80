/*
 * treecopy.c: the walk, the queue and the workers.  treecopy.h has the idea, copy_file.c what a worker does with a file.
 *
 * Life of a directory record: the walker holds one reference while it lists the directory, each file queued from it and each
 * directory below holds one.  Whoever gives back the last one sets the attributes and closes both sides.
 *
 * A file with several names is copied by the walker itself, so that its first name is there when the second is met.
 */
#include "treecopy.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "copy_internal.h"
#include "progress.h"
#include "tree.h"

enum { QUEUE = 128, LINK_SLOTS_MIN = 64 };

struct dir {
	struct dir *parent; /* holds a reference; NULL: a root, whose dst is borrowed and gets no attributes */
	struct tdir *src, *dst;
	char *path;  /* of the source, for messages */
	char *below; /* of the destination relative to the root's dst, for further names; "" for the root */
	struct tattr attr;
	bool made;
	atomic_int refs;
};

struct task {
	struct dir *dir; /* holds a reference */
	struct tentry e; /* owned */
	char *name;      /* in dir->dst, owned */
};

/* First name of a file that has more. Open addressing; a slot with ino 0 is free. */
struct known {
	dev_t dev;
	ino_t ino;
	struct tlink link;
};

struct treecopy {
	struct copy_env env;
	struct treecopy_options opt;
	atomic_int status;
	atomic_bool stop, full;

	pthread_mutex_t lock; /* guards the queue, busy and done; taken with no other lock held */
	pthread_cond_t not_empty, not_full;
	struct task queue[QUEUE];
	unsigned head, count;
	bool done; /* nothing more will be queued */

	pthread_t *worker;
	unsigned nworkers;
	void *buf; /* of the walker */
	/* the walker's alone */
	struct known *known;
	size_t nknown, slots;
};

static void note(struct treecopy *t, int status)
{
	int old = atomic_load(&t->status);

	while (!atomic_compare_exchange_weak(&t->status, &old, cli_worse(old, status)))
		;
}

/* What will fail for the next file too. */
static bool is_final(int rc)
{
	return rc == -ENOSPC || rc == -EDQUOT || rc == -EROFS || rc == -ENOMEM;
}

static void failed(struct treecopy *t, int rc, const char *path, const char *name)
{
	char *subject;

	if (rc == -ECANCELED)
		return;
	subject = cli_join_shown(path, name);
	note(t, cli_error(t->env.c, rc, subject != NULL ? subject : name));
	free(subject);
	if (rc == -ENOSPC || rc == -EDQUOT)
		atomic_store(&t->full, true);
	if (is_final(rc))
		atomic_store(&t->stop, true);
}

bool treecopy_stopped(const struct treecopy *t)
{
	return atomic_load(&t->stop) || cli_cancelled(t->env.c);
}

/* --- directories ---------------------------------------------------------------------------------- */

static void dir_unref(struct treecopy *t, struct dir *d)
{
	while (d != NULL && atomic_fetch_sub(&d->refs, 1) == 1) {
		struct dir *up = d->parent;
		int rc = 0;

		if (up != NULL) {
			if (d->made || t->opt.attrs)
				rc = t->env.dst->ops->dir_attr(t->env.dst, d->dst, &d->attr);
			if (rc != 0)
				failed(t, rc, d->path, "");
			t->env.dst->ops->dir_close(t->env.dst, d->dst);
		}
		if (d->src != NULL)
			t->env.src->ops->dir_close(t->env.src, d->src);
		free(d->path);
		free(d->below);
		free(d);
		d = up;
	}
}

/* A record for `into`, which is the caller's. Takes src (may be NULL). */
static struct dir *root_dir(struct tdir *src, struct tdir *into, const char *path)
{
	struct dir *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return NULL;
	d->src = src;
	d->dst = into;
	d->path = strdup(path);
	d->below = strdup("");
	atomic_init(&d->refs, 1);
	if (d->path == NULL || d->below == NULL) {
		free(d->path);
		free(d->below);
		free(d);
		return NULL;
	}
	return d;
}

/* Opens the directory e on both sides and returns its record, or NULL after telling why not. */
static struct dir *enter(struct treecopy *t, struct dir *parent, const struct tentry *e, const char *path,
		const char *name)
{
	struct tree *src = t->env.src, *dst = t->env.dst;
	struct dir *d = calloc(1, sizeof(*d));
	int rc = -ENOMEM;

	if (d == NULL) {
		failed(t, rc, path, "");
		return NULL;
	}
	atomic_init(&d->refs, 1);
	d->path = strdup(path);
	d->below = cli_join(parent->below, name);
	if (d->path == NULL || d->below == NULL)
		goto fail;
	rc = src->ops->dir_open(src, e, &d->src);
	if (rc != 0)
		goto fail;
	rc = dst->ops->mkdir(dst, parent->dst, name, 0700, &d->dst, &d->made);
	if (rc != 0)
		goto close_src;
	copy_attributes(&t->env, &e->st, t->opt.attrs, &d->attr);
	d->attr.mode = true;
	if (t->opt.attrs) {
		rc = copy_xattrs(&t->env, d->src, NULL, d->dst, NULL);
		if (rc != 0)
			failed(t, rc, path, "");
	}
	d->parent = parent;
	atomic_fetch_add(&parent->refs, 1);
	return d;

close_src:
	src->ops->dir_close(src, d->src);
fail:
	failed(t, rc, path, "");
	free(d->path);
	free(d->below);
	free(d);
	return NULL;
}

/* --- files with several names --------------------------------------------------------------------- */

static struct known *slot_of(struct known *table, size_t slots, dev_t dev, ino_t ino)
{
	size_t i = (size_t)(((uint64_t)ino ^ (uint64_t)dev << 40) * UINT64_C(0x9e3779b97f4a7c15) >> 20) &
		   (slots - 1);

	while (table[i].ino != 0 && (table[i].ino != ino || table[i].dev != dev))
		i = (i + 1) & (slots - 1);
	return &table[i];
}

static int grow_known(struct treecopy *t)
{
	size_t slots = t->slots ? t->slots * 2 : LINK_SLOTS_MIN;
	struct known *table = calloc(slots, sizeof(*table));

	if (table == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < t->slots; i++)
		if (t->known[i].ino != 0)
			*slot_of(table, slots, t->known[i].dev, t->known[i].ino) = t->known[i];
	free(t->known);
	t->known = table;
	t->slots = slots;
	return 0;
}

static int copy_linked(struct treecopy *t, struct dir *d, const struct tentry *e, const char *name)
{
	struct tree *dst = t->env.dst;
	struct dir *root = d;
	struct known *k;
	char *below;
	int rc;

	if (t->nknown * 2 >= t->slots && grow_known(t) != 0)
		return ckpt_fail(ENOMEM, "hard links: out of memory");
	k = slot_of(t->known, t->slots, e->st.st_dev, e->st.st_ino);
	if (k->ino != 0) {
		rc = dst->ops->link(dst, &k->link, d->dst, name);
		if (rc == 0 && t->env.progress != NULL)
			progress_add(t->env.progress, (uint64_t)e->st.st_size);
		return rc;
	}
	rc = copy_file(&t->env, e, d->dst, name, t->opt.attrs, t->buf);
	if (rc != 0)
		return rc;
	below = cli_join(d->below, name);
	if (below == NULL)
		return ckpt_fail(ENOMEM, "hard links: out of memory");
	while (root->parent != NULL)
		root = root->parent;
	rc = dst->ops->remember(dst, d->dst, name, root->dst, below, &k->link);
	if (rc == 0) {
		k->dev = e->st.st_dev;
		k->ino = e->st.st_ino;
		t->nknown++;
	}
	free(below);
	return rc;
}

/* --- the walk ------------------------------------------------------------------------------------- */

static void enqueue(struct treecopy *t, struct dir *d, struct tentry *e, const char *name)
{
	char *copy = strdup(name);

	if (copy == NULL) {
		failed(t, -ENOMEM, d->path, name);
		t->env.src->ops->entry_release(t->env.src, e);
		return;
	}
	atomic_fetch_add(&d->refs, 1);
	pthread_mutex_lock(&t->lock);
	while (t->count == QUEUE)
		pthread_cond_wait(&t->not_full, &t->lock);
	t->queue[(t->head + t->count++) % QUEUE] = (struct task){ d, *e, copy };
	pthread_cond_signal(&t->not_empty);
	pthread_mutex_unlock(&t->lock);
}

/*
 * Takes one entry of the source: queues a file, makes what is neither file nor directory.  Returns a directory to walk, or NULL.
 * `path` is the entry's own.  Takes e.
 */
static struct dir *take(
		struct treecopy *t, struct dir *d, struct tentry *e, const char *path, const char *name)
{
	struct tree *src = t->env.src;
	struct dir *below = NULL;
	int rc = 0;

	if (S_ISDIR(e->st.st_mode)) {
		if (!t->opt.recurse)
			rc = ckpt_fail(EINVAL, "%s: is a directory; -r copies it", path);
		else
			below = enter(t, d, e, path, name);
	} else if (S_ISREG(e->st.st_mode)) {
		if (!t->opt.attrs || e->st.st_nlink < 2) {
			enqueue(t, d, e, name);
			return NULL;
		}
		rc = copy_linked(t, d, e, name);
	} else if (!t->opt.recurse) {
		rc = ckpt_fail(EINVAL, "%s: not a regular file", path);
	} else {
		rc = copy_other(&t->env, e, d->dst, name, t->opt.attrs);
	}
	if (rc != 0)
		failed(t, rc, path, "");
	src->ops->entry_release(src, e);
	return below;
}

static void walk(struct treecopy *t, struct dir *d)
{
	struct tree *src = t->env.src;

	while (d != NULL) {
		struct dir *below, *up;
		struct tentry e;
		char *path;
		/* The root of a copy that is not of a directory's contents has no list of its own. */
		int rc = d->src == NULL || treecopy_stopped(t) ? 0 : src->ops->dir_next(src, d->src, &e);

		if (rc <= 0) {
			if (rc < 0)
				failed(t, rc, d->path, "");
			up = d->parent;
			dir_unref(t, d);
			d = up;
			continue;
		}
		path = cli_join_shown(d->path, e.name);
		if (path == NULL) {
			failed(t, -ENOMEM, d->path, e.name);
			src->ops->entry_release(src, &e);
			continue;
		}
		/* The walker keeps its hold on d for the way back. */
		below = take(t, d, &e, path, e.name);
		free(path);
		if (below != NULL)
			d = below;
	}
}

void treecopy_add(struct treecopy *t, const struct tentry *e, const char *path, struct tdir *into,
		const char *name, bool contents)
{
	struct tree *src = t->env.src;
	struct tdir *list = NULL;
	struct tentry copy = *e;
	struct dir *root, *below;
	int rc;

	if (contents) {
		rc = src->ops->dir_open(src, e, &list);
		if (rc != 0) {
			failed(t, rc, path, "");
			return;
		}
	}
	root = root_dir(list, into, path);
	if (root == NULL) {
		if (list != NULL)
			src->ops->dir_close(src, list);
		failed(t, -ENOMEM, path, "");
		return;
	}
	if (contents) {
		walk(t, root);
		return;
	}
	rc = src->ops->lookup(src, e->dir, e->name, e->follow, &copy);
	if (rc != 0) {
		failed(t, rc, path, "");
	} else {
		below = take(t, root, &copy, path, name);
		if (below != NULL) {
			/* The walk ends by giving back the root's reference that it came with. */
			walk(t, below);
			return;
		}
	}
	dir_unref(t, root);
}

/* --- workers -------------------------------------------------------------------------------------- */

static void *worker_main(void *arg)
{
	struct treecopy *t = arg;
	struct tree *src = t->env.src;
	void *buf = malloc(COPY_BUFFER);

	for (;;) {
		struct task k;
		int rc;

		pthread_mutex_lock(&t->lock);
		while (t->count == 0 && !t->done)
			pthread_cond_wait(&t->not_empty, &t->lock);
		if (t->count == 0) {
			pthread_mutex_unlock(&t->lock);
			break;
		}
		k = t->queue[t->head];
		t->head = (t->head + 1) % QUEUE;
		t->count--;
		pthread_cond_signal(&t->not_full);
		pthread_mutex_unlock(&t->lock);

		rc = treecopy_stopped(t) ? -ECANCELED
		     : buf == NULL       ? -ENOMEM
					 : copy_file(&t->env, &k.e, k.dir->dst, k.name, t->opt.attrs, buf);
		if (rc != 0)
			failed(t, rc, k.dir->src != NULL ? k.dir->path : "",
					k.dir->src != NULL ? k.e.name : k.dir->path);
		src->ops->entry_release(src, &k.e);
		free(k.name);
		dir_unref(t, k.dir);
	}
	free(buf);
	return NULL;
}

static void stop_workers(struct treecopy *t)
{
	pthread_mutex_lock(&t->lock);
	t->done = true;
	pthread_cond_broadcast(&t->not_empty);
	pthread_mutex_unlock(&t->lock);
	while (t->nworkers > 0)
		pthread_join(t->worker[--t->nworkers], NULL);
}

static void treecopy_free(struct treecopy *t)
{
	for (size_t i = 0; i < t->slots; i++)
		if (t->known[i].ino != 0)
			t->env.dst->ops->forget(t->env.dst, &t->known[i].link);
	free(t->known);
	pthread_cond_destroy(&t->not_full);
	pthread_cond_destroy(&t->not_empty);
	pthread_mutex_destroy(&t->lock);
	free(t->worker);
	free(t->buf);
	free(t);
}

int treecopy_new(struct cli *c, struct tree *src, struct tree *dst, const struct treecopy_options *o,
		struct progress *progress, struct treecopy **out)
{
	struct treecopy *t = calloc(1, sizeof(*t));
	unsigned n = o->threads > 0 ? o->threads : 1;
	int e = 0;

	if (t == NULL)
		return ckpt_fail(ENOMEM, "copy: out of memory");
	t->env = (struct copy_env){ .c = c, .src = src, .dst = dst, .progress = progress };
	t->opt = *o;
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->not_empty, NULL);
	pthread_cond_init(&t->not_full, NULL);
	t->buf = malloc(COPY_BUFFER);
	t->worker = calloc(n, sizeof(*t->worker));
	if (t->buf == NULL || t->worker == NULL) {
		treecopy_free(t);
		return ckpt_fail(ENOMEM, "copy: out of memory");
	}
	while (t->nworkers < n && e == 0) {
		e = pthread_create(&t->worker[t->nworkers], NULL, worker_main, t);
		t->nworkers += e == 0;
	}
	if (t->nworkers == 0) {
		treecopy_free(t);
		return ckpt_fail(e, "copy: no thread: %s", strerror(e));
	}
	*out = t;
	return 0;
}

int treecopy_finish(struct treecopy *t, bool *full)
{
	int status;

	if (t == NULL)
		return CLI_DONE;
	stop_workers(t);
	status = atomic_load(&t->status);
	*full |= atomic_load(&t->full);
	treecopy_free(t);
	return status;
}
