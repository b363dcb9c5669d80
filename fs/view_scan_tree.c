/*
 * view_scan_tree.c: the tree as torchbridge wants to see it, to find the runs in it.
 *
 * It asks by path, and a path may be replaced between two questions.  What is to be remembered must be
 * about the content that was looked at; so each thread keeps the mark of the file it asked about last, and
 * nothing is remembered of one that changed meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_admin.h"
#include "store/store_derived.h"
#include "torchbridge/bridge_runs.h"
#include "view_host.h"

/* A document that was handed out. */
struct lent {
	struct lent *next;
	const struct bridge_doc *doc;
	struct view_item *item;
};

struct cost {
	uint64_t path;             /* hash */
	uint64_t stored;
};
struct costs {
	size_t n;
	struct cost at[];          /* by path */
};
enum { COSTS_MAX = 1 << 20 };

struct runs_files {
	struct fs *fs;
	pthread_mutex_t lock;      /* guards `lent`; a leaf */
	struct lent *lent;
	pthread_mutex_t counting;  /* guards `costs`, which is made once; held while the store counts */
	struct costs *costs;
};

/* What this thread asked about last. */
static _Thread_local struct {
	const struct runs_files *files;
	uint64_t path;             /* hash */
	uint64_t first;            /* hash of the first key recalled */
	struct fs_mark mark;
	bool changed;              /* it was another one at the next look */
} last;

/* key: what is recalled, or NULL.  Whoever recalls the first one again begins a new look. */
static void looked_at(const struct runs_files *f, const char *path, const struct fs_mark *m, const char *key)
{
	uint64_t hash = view_rule(0, path), what = key ? view_rule(0, key) : 0;
	bool anew = key && last.first == what;

	if (last.files == f && last.path == hash && !anew) {
		last.changed = last.changed || !fs_mark_same(&last.mark, m);
		last.first = last.first ? last.first : what;
		return;
	}
	last.files = f;
	last.path = hash;
	last.first = what;
	last.mark = *m;
	last.changed = false;
}

struct listing {
	int (*emit)(void *e, const char *name, size_t len, const struct stat *st);
	void *arg;
	int rc;
};

static int emit_entry(void *arg, const struct store_dirent *e, const struct store_attr *attr)
{
	struct listing *l = arg;
	struct view_source s;

	view_source_of(attr, &s);
	l->rc = l->emit(l->arg, e->name, e->len, &s.st);
	return l->rc;
}

static int files_list(void *arg, const char *dir,
		int (*emit)(void *e, const char *name, size_t len, const struct stat *st), void *e)
{
	struct runs_files *f = arg;
	struct listing l = { .emit = emit, .arg = e };
	struct view_source s;
	int rc = view_source_find(f->fs, dir, false, NULL, &s);

	if (rc == 0 && !S_ISDIR(s.st.st_mode))
		rc = ckpt_fail(ENOTDIR, "'%s' is no directory", dir);
	if (rc == 0)
		rc = store_readdir(f->fs->store, s.st.st_ino, 0, true, emit_entry, &l);
	return rc < 0 ? rc : l.rc;
}

/* Links are followed; into a view they lead nowhere. */
static int files_stat(void *arg, const char *path, struct stat *st)
{
	struct runs_files *f = arg;
	struct fs_entry e;
	int rc = fs_resolve(f->fs, path, true, &e);

	if (rc < 0)
		return rc;
	*st = e.st;
	fs_forget(f->fs, e.st.st_ino, 1);
	return st->st_ino & FS_VIRTUAL ? ckpt_fail(ENOENT, "'%s' leads into a view", path) : 0;
}

static int input_of(struct runs_files *f, const char *path, struct view_input *in)
{
	struct view_source s;
	int rc = view_source_find(f->fs, path, false, NULL, &s);

	if (rc == 0 && !S_ISREG(s.st.st_mode))
		rc = ckpt_fail(EINVAL, "'%s' is no file", path);
	if (rc < 0)
		return rc;
	looked_at(f, path, &s.mark, NULL);
	return view_input_init(in, f->fs, path, strlen(path), &s);
}

static int files_doc(void *arg, const char *path, const struct bridge_doc **out)
{
	struct runs_files *f = arg;
	struct view_fact fact;
	struct view_input in;
	struct lent *l;
	int rc = input_of(f, path, &in);

	if (rc < 0)
		return rc;
	/* What is known not to be understood is not tried again, and the log hears of it once. */
	rc = view_doc_fact(&in, false, &fact);
	if (rc == 0 && fact.verdict != VIEW_MADE)
		rc = fact.verdict == VIEW_BAD ? ckpt_fail(EBADMSG, "'%s' can't be understood", path)
				: ckpt_fail(EINVAL, "'%s' is no file that has views", path);
	if (rc < 0)
		goto release_input;
	l = calloc(1, sizeof(*l));
	if (!l) {
		rc = ckpt_fail(ENOMEM, "no memory for '%s'", path);
		goto release_input;
	}
	rc = view_doc_get(&in, &l->doc, &l->item);
	if (rc < 0) {
		free(l);
		goto release_input;
	}
	*out = l->doc;
	pthread_mutex_lock(&f->lock);
	l->next = f->lent;
	f->lent = l;
	pthread_mutex_unlock(&f->lock);
release_input:
	view_input_release(&in);
	return rc;
}

static void files_put(void *arg, const struct bridge_doc *d)
{
	struct runs_files *f = arg;
	struct lent **at, *l;

	pthread_mutex_lock(&f->lock);
	for (at = &f->lent; *at && (*at)->doc != d; at = &(*at)->next)
		;
	l = *at;
	if (l)
		*at = l->next;
	pthread_mutex_unlock(&f->lock);
	if (!l)
		return;
	view_item_put(f->fs->host->cache, l->item);
	free(l);
}

static int64_t files_read(void *arg, const char *path, uint64_t off, void *buf, size_t len)
{
	struct runs_files *f = arg;
	struct view_input in;
	int64_t n = input_of(f, path, &in);

	if (n < 0)
		return n;
	n = view_input_read(&in, off, buf, len);
	view_input_release(&in);
	return n;
}

static void key_of(const char *key, char out[STORE_DERIVED_KEY_MAX])
{
	snprintf(out, STORE_DERIVED_KEY_MAX, "runs:%s", key);
}

static int files_recall(void *arg, const char *path, const char *key, uint8_t **out, size_t *len)
{
	struct runs_files *f = arg;
	char full[STORE_DERIVED_KEY_MAX];
	struct view_fact wrong;
	struct view_source s;
	int rc = view_source_find(f->fs, path, false, NULL, &s);

	if (rc < 0)
		return rc;
	looked_at(f, path, &s.mark, key);
	if (s.mark.version == 0)
		return -ENOENT;
	key_of(key, full);
	if (f->fs->readonly && view_fact_get(f->fs, &s.mark, full, &wrong) == 0)
		return -ENOENT;
	return store_derived_get(f->fs->store, s.mark.version, full, out, len);
}

/*
 * Held while it is put, and seen to be the content that was looked at.  What was wrong stays in a store that
 * is only read, and is passed over as long as we remember that.
 */
static void files_remember(void *arg, const char *path, const char *key, const void *p, size_t len)
{
	const struct view_fact wrong = { .verdict = VIEW_SAME };
	struct runs_files *f = arg;
	char full[STORE_DERIVED_KEY_MAX];
	struct view_input in;

	if ((f->fs->readonly && len > 0) || input_of(f, path, &in) < 0)
		return;
	key_of(key, full);
	if (f->fs->readonly)
		view_fact_put(f->fs, &in.src.mark, full, &wrong);
	else if (!last.changed && in.src.mark.version != 0 && view_input_open(&in) == 0)
		store_derived_put(f->fs->store, in.src.mark.version, full, p, len);
	view_input_release(&in);
}

/* --- what files cost --------------------------------------------------------------------------------- */

struct counting {
	struct costs *costs;
	size_t n;
};

static int count_file(void *arg, const char *path, const char *rest)
{
	struct counting *c = arg;

	(void)rest;
	if (!c->costs) {
		c->n++;
		return -1;
	}
	if (c->n == c->costs->n)
		return -1; /* younger than the first count */
	c->costs->at[c->n].path = view_rule(0, path);
	return (int)c->n++;
}

static int by_path(const void *a, const void *b)
{
	const struct cost *x = a, *y = b;

	return x->path < y->path ? -1 : x->path > y->path;
}

/*
 * To say what one file costs takes a look at what all others share with it, so it is found out for all at
 * once: the first pass only counts them.
 */
static int count_costs(struct runs_files *f, struct costs **out)
{
	struct store_usage_codec codecs[16];
	struct store_usage *lines = NULL, all;
	struct counting c = { .n = 0 };
	struct costs *costs;
	unsigned ncodecs = 0;
	int rc = store_usage(f->fs->store, "", count_file, &c, 1, &all, &all, codecs, &ncodecs);

	if (rc < 0)
		return rc;
	if (c.n > COSTS_MAX)
		return ckpt_fail(EFBIG, "more than %d files", COSTS_MAX);
	costs = calloc(1, sizeof(*costs) + c.n * sizeof(costs->at[0]));
	lines = calloc(c.n + 1, sizeof(*lines));
	if (!costs || !lines) {
		rc = ckpt_fail(ENOMEM, "no memory to count %zu files", c.n);
		goto free_all;
	}
	costs->n = c.n;
	c = (struct counting){ .costs = costs };
	rc = store_usage(f->fs->store, "", count_file, &c, (unsigned)costs->n, lines, &all, codecs, &ncodecs);
	if (rc < 0)
		goto free_all;
	costs->n = c.n;
	for (size_t i = 0; i < costs->n; i++)
		costs->at[i].stored = lines[i].stored;
	qsort(costs->at, costs->n, sizeof(costs->at[0]), by_path);
	*out = costs;
	costs = NULL;
free_all:
	free(lines);
	free(costs);
	return rc;
}

static int files_cost(void *arg, const char *path, uint64_t *stored)
{
	struct runs_files *f = arg;
	struct cost want = { .path = view_rule(0, path) };
	const struct cost *found = NULL;
	int rc = 0;

	ckpt_mutex_lock(&f->counting);
	if (!f->costs)
		rc = count_costs(f, &f->costs);
	if (rc == 0)
		found = bsearch(&want, f->costs->at, f->costs->n, sizeof(want), by_path);
	if (found)
		*stored = found->stored;
	pthread_mutex_unlock(&f->counting);
	return rc < 0  ? rc
	       : found ? 0
		       : ckpt_fail(ENOENT, "'%s' was not there when files were counted", path);
}

struct members {
	struct member {
		uint64_t path;     /* hash */
		uint32_t group;
	} *at;                     /* by path */
	size_t n;
};

static int member_order(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	return x->path < y->path ? -1 : x->path > y->path;
}

static int group_of(void *arg, const char *path, const char *rest)
{
	const struct members *m = arg;
	struct member want = { .path = view_rule(0, path) };
	const struct member *found = bsearch(&want, m->at, m->n, sizeof(want), member_order);

	(void)rest;
	return found ? (int)found->group : -1;
}

static int files_cost_together(void *arg, const char *const *path, const uint32_t *group, size_t n, uint32_t groups,
		uint64_t *stored)
{
	struct runs_files *f = arg;
	struct store_usage_codec codecs[16];
	struct store_usage *lines, all;
	struct members m = { .n = n };
	unsigned ncodecs = 0;
	int rc = 0;

	if (n > COSTS_MAX || groups > COSTS_MAX)
		return ckpt_fail(EFBIG, "more than %d files", COSTS_MAX);
	m.at = calloc(n + 1, sizeof(*m.at));
	lines = calloc((size_t)groups + 1, sizeof(*lines));
	if (!m.at || !lines)
		rc = ckpt_fail(ENOMEM, "no memory to count %zu files", n);
	for (size_t i = 0; i < n && rc == 0; i++)
		m.at[i] = (struct member){ view_rule(0, path[i]), group[i] };
	if (rc == 0) {
		qsort(m.at, n, sizeof(*m.at), member_order);
		rc = store_usage(f->fs->store, "", group_of, &m, groups, lines, &all, codecs, &ncodecs);
	}
	for (uint32_t i = 0; i < groups && rc == 0; i++)
		stored[i] = lines[i].stored;
	free(lines);
	free(m.at);
	return rc;
}

int runs_files_new(struct fs *fs, struct runs_files **out, struct bridge_files *calls)
{
	struct runs_files *f = calloc(1, sizeof(*f));

	if (!f)
		return ckpt_fail(ENOMEM, "no memory to scan the tree");
	f->fs = fs;
	pthread_mutex_init(&f->lock, NULL);
	pthread_mutex_init(&f->counting, NULL);
	*calls = (struct bridge_files){
		.arg = f,
		.list = files_list,
		.stat = files_stat,
		.doc = files_doc,
		.put = files_put,
		.read = files_read,
		.recall = files_recall,
		.remember = files_remember,
		.cost = files_cost,
		.cost_together = files_cost_together,
	};
	*out = f;
	return 0;
}

void runs_files_free(struct runs_files *f)
{
	if (!f)
		return;
	while (f->lent)
		files_put(f, f->lent->doc);
	pthread_mutex_destroy(&f->counting);
	pthread_mutex_destroy(&f->lock);
	free(f->costs);
	free(f);
}
