/*
 * copy_command.c: from operands to a treecopy.
 */
#include "copy_command.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "progress.h"
#include "store/store_admin.h"
#include "target.h"
#include "tree.h"

struct source {
	const struct target *target;
	struct tree *tree;
	struct tplace place;
	struct tentry e; /* e.name NULL: could not be found, told already */
	bool contents;
};

struct command {
	struct cli *c;
	const struct copy_rules *r;
	struct tree host, store;
	struct tree *dst;
	const struct target *target;
	struct tdir *into; /* where things are made */
	char *name;        /* the one thing's name there; NULL: each has its own */
	struct source *source;
	size_t n;
	struct progress *progress;
	bool full; /* room ran out */
	int status;
};

bool copy_option(void *arg, int opt, const char *value)
{
	struct treecopy_options *o = arg;
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	(void)opt;
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || n < 1 || n > 64)
		return false;
	o->threads = (unsigned)n;
	return true;
}

static bool ends_in_slash(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && s[n - 1] == '/';
}

static struct tree *tree_of(struct command *k, const struct target *t)
{
	return t->in_store ? &k->store : &k->host;
}

static void note(struct command *k, int rc, const char *subject)
{
	k->status = cli_worse(k->status, cli_error(k->c, rc, subject));
}

/* --- sources -------------------------------------------------------------------------------------- */

static void find_source(struct command *k, struct source *s, const struct target *t)
{
	const char *path = t->path;
	size_t n = strlen(path);
	bool slash = ends_in_slash(path) || (t->in_store && n == 0);
	int rc;

	s->target = t;
	s->tree = tree_of(k, t);
	rc = tree_place(s->tree, path, &s->place);
	/* "link/" is what the link leads to, as everywhere. */
	if (rc == 0)
		rc = s->tree->ops->lookup(
				s->tree, s->place.dir, s->place.name, slash || !k->r->opt.recurse, &s->e);
	if (rc == 0 && slash && !S_ISDIR(s->e.st.st_mode)) {
		s->tree->ops->entry_release(s->tree, &s->e);
		rc = ckpt_fail(ENOTDIR, "%s: %s", t->text, strerror(ENOTDIR));
	}
	if (rc != 0) {
		note(k, rc, t->text);
		return;
	}
	s->contents = S_ISDIR(s->e.st.st_mode) &&
		      (strcmp(s->place.name, ".") == 0 || (slash && k->r->as_rsync));
}

static void release_source(struct source *s)
{
	if (s->tree == NULL)
		return;
	if (s->e.name != NULL)
		s->tree->ops->entry_release(s->tree, &s->e);
	tree_place_release(s->tree, &s->place);
}

/* --- the destination ------------------------------------------------------------------------------ */

/* Opens the directory `path`, made with its parents where missing. */
static int make_path(struct command *k, const char *path, struct tdir **out)
{
	const struct tree_ops *ops = k->dst->ops;
	char *copy = strdup(path), *p = copy, *end;
	struct tdir *at = NULL, *next;
	bool made;
	int rc = 0;

	if (copy == NULL)
		return ckpt_fail(ENOMEM, "%s: out of memory", path);
	while (rc == 0) {
		char kept;

		while (*p == '/')
			p++;
		end = strchrnul(p, '/');
		kept = *end;
		*end = '\0';
		rc = ops->dir_at(k->dst, copy, &next);
		if (rc == -ENOENT && *p != '\0') {
			struct tdir *parent = at;

			if (parent == NULL)
				rc = ops->dir_at(k->dst, "", &parent);
			else
				rc = 0;
			if (rc == 0)
				rc = ops->mkdir(k->dst, parent, p, 0777 & ~k->c->umask, &next, &made);
			if (at == NULL && parent != NULL)
				ops->dir_close(k->dst, parent);
		}
		*end = kept;
		if (rc != 0)
			break;
		if (at != NULL)
			ops->dir_close(k->dst, at);
		at = next;
		if (*end == '\0')
			break;
		p = end;
	}
	free(copy);
	if (rc != 0) {
		if (at != NULL)
			ops->dir_close(k->dst, at);
		return rc;
	}
	*out = at;
	return 0;
}

/* Is the target a directory already? 1 yes (into is opened), 0 no, -errno. */
static int existing_directory(struct command *k)
{
	struct tplace place;
	struct tentry e;
	int rc = tree_place(k->dst, k->target->path, &place);

	if (rc == -ENOENT)
		return 0;
	if (rc != 0)
		return rc;
	rc = k->dst->ops->lookup(k->dst, place.dir, place.name, true, &e);
	if (rc == 0) {
		rc = S_ISDIR(e.st.st_mode) ? 1 : 0;
		k->dst->ops->entry_release(k->dst, &e);
	} else if (rc == -ENOENT) {
		rc = 0;
	}
	tree_place_release(k->dst, &place);
	if (rc == 1) {
		rc = k->dst->ops->dir_at(k->dst, k->target->path, &k->into);
		if (rc == 0)
			rc = 1;
	}
	return rc;
}

/* Splits the target into the directory that holds it and its name. */
static int become_target(struct command *k)
{
	struct tplace place;
	char *copy, *slash;
	size_t n;
	int rc;

	if (k->r->as_rsync) {
		copy = strdup(k->target->path);
		if (copy == NULL)
			return ckpt_fail(ENOMEM, "%s: out of memory", k->target->text);
		for (n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
			copy[n - 1] = '\0';
		slash = strrchr(copy, '/');
		if (slash != NULL && slash != copy) {
			struct tdir *d;

			*slash = '\0';
			rc = make_path(k, copy, &d);
			if (rc == 0)
				k->dst->ops->dir_close(k->dst, d);
		} else {
			rc = 0;
		}
		free(copy);
		if (rc != 0)
			return rc;
	}
	rc = tree_place(k->dst, k->target->path, &place);
	if (rc != 0)
		return rc;
	k->into = place.dir;
	k->name = place.name;
	return 0;
}

static int find_target(struct command *k)
{
	const struct source *only = k->n == 1 ? &k->source[0] : NULL;
	bool tree = only != NULL && only->e.name != NULL && S_ISDIR(only->e.st.st_mode);
	bool slash = ends_in_slash(k->target->path);
	int rc = existing_directory(k);

	if (rc != 0)
		return rc == 1 ? 0 : rc;
	if (k->r->as_rsync && (only == NULL || tree || slash))
		return make_path(k, k->target->path, &k->into);
	if (only == NULL || (slash && !tree))
		return ckpt_fail(ENOTDIR, "%s: %s", k->target->text, strerror(ENOTDIR));
	return become_target(k);
}

/* --- copying -------------------------------------------------------------------------------------- */

/* What would eat itself, in one store. */
static int check_against_self(struct command *k, const struct source *s, const char *name)
{
	struct tentry there;
	int rc;

	if (!s->tree->in_store || !k->dst->in_store)
		return 0;
	if (S_ISDIR(s->e.st.st_mode)) {
		if (!tree_store_below(k->dst, k->into, s->e.ino))
			return 0;
		return ckpt_fail(EINVAL, "%s: cannot be copied into itself", s->target->text);
	}
	rc = k->dst->ops->lookup(k->dst, k->into, name, false, &there);
	if (rc != 0)
		return 0;
	rc = there.ino == s->e.ino;
	k->dst->ops->entry_release(k->dst, &there);
	return rc ? ckpt_fail(EINVAL, "%s and its copy are the same file", s->target->text) : 0;
}

/* Adds up the bytes of regular files in `top`, for the bar's total. */
static void measure_tree(struct tree *src, const struct tentry *top, struct progress *progress)
{
	struct level {
		struct level *up;
		struct tdir *d;
	} *at = NULL, *l;
	struct tentry e = *top;
	bool owned = false;

	for (;;) {
		if (S_ISREG(e.st.st_mode))
			progress_add_total(progress, (uint64_t)e.st.st_size);
		l = S_ISDIR(e.st.st_mode) ? calloc(1, sizeof(*l)) : NULL;
		if (l != NULL && src->ops->dir_open(src, &e, &l->d) == 0) {
			l->up = at;
			at = l;
		} else {
			free(l);
		}
		if (owned)
			src->ops->entry_release(src, &e);
		owned = true;
		while (at != NULL && (cli_cancelled(src->c) || src->ops->dir_next(src, at->d, &e) != 1)) {
			l = at;
			at = l->up;
			src->ops->dir_close(src, l->d);
			free(l);
		}
		if (at == NULL)
			return;
	}
}

static void *measure(void *arg)
{
	struct command *k = arg;

	for (size_t i = 0; i < k->n; i++)
		if (k->source[i].e.name != NULL)
			measure_tree(k->source[i].tree, &k->source[i].e, k->progress);
	progress_total_known(k->progress);
	return NULL;
}

static void copy_sources(struct command *k)
{
	struct treecopy *t = NULL;
	struct tree *of = NULL;

	for (size_t i = 0; i < k->n && k->status != CLI_USAGE; i++) {
		struct source *s = &k->source[i];
		const char *name = k->name != NULL ? k->name : s->place.name;
		int rc;

		if (s->e.name == NULL)
			continue;
		/* All sources of one kind share the workers. */
		if (s->tree != of) {
			k->status = cli_worse(k->status, treecopy_finish(t, &k->full));
			t = NULL;
			rc = treecopy_new(k->c, s->tree, k->dst, &k->r->opt, k->progress, &t);
			if (rc != 0) {
				note(k, rc, NULL);
				return;
			}
			of = s->tree;
		}
		rc = check_against_self(k, s, name);
		if (rc != 0)
			note(k, rc, s->target->text);
		else
			treecopy_add(t, &s->e, s->target->text, k->into, name,
					s->contents && k->name == NULL);
		if (treecopy_stopped(t))
			break;
	}
	k->status = cli_worse(k->status, treecopy_finish(t, &k->full));
}

/* What was stored of files that did not fit is nobody's, and would keep the disk full.  A mount sees to that by itself. */
static void make_room(struct command *k)
{
	struct store_gc_result r;
	int rc = store_gc(fs_store(k->c->fs), NULL, NULL, &r);

	if (rc != 0)
		note(k, rc, k->target->text);
}

int copy_command(struct cli *c, const struct target *t, size_t n, const struct copy_rules *r)
{
	struct command k = { .c = c, .r = r, .target = &t[n - 1], .n = n - 1 };
	pthread_t measuring;
	bool started = false;
	int rc;

	tree_host_init(&k.host, c);
	tree_store_init(&k.store, c);
	k.dst = tree_of(&k, k.target);
	k.source = calloc(k.n, sizeof(*k.source));
	if (k.source == NULL)
		return cli_error(c, -ENOMEM, NULL);
	for (size_t i = 0; i < k.n; i++)
		find_source(&k, &k.source[i], &t[i]);
	if (k.n == 1 && k.source[0].e.name == NULL)
		goto out;
	rc = find_target(&k);
	if (rc != 0) {
		note(&k, rc, k.target->text);
		goto out;
	}
	rc = progress_start(c, c->name, true, &k.progress);
	if (rc != 0) {
		note(&k, rc, NULL);
		goto out;
	}
	if (progress_shown(k.progress))
		started = pthread_create(&measuring, NULL, measure, &k) == 0;
	copy_sources(&k);
	if ((k.dst->in_store || r->sync) && !cli_cancelled(c)) {
		rc = k.dst->ops->sync(k.dst, k.into);
		if (rc != 0)
			note(&k, rc, k.target->text);
	}
	if (started)
		pthread_join(measuring, NULL);
	progress_stop(k.progress);
	if (k.full && k.dst->in_store && !c->served)
		make_room(&k);
	if (cli_cancelled(c))
		k.status = cli_worse(k.status, CLI_FAILED);
out:
	for (size_t i = 0; i < k.n; i++)
		release_source(&k.source[i]);
	free(k.source);
	if (k.into != NULL)
		k.dst->ops->dir_close(k.dst, k.into);
	free(k.name);
	return k.status;
}
