/*
 * runs_group.c: the files of a run as its experiences.
 *
 *   1. each file (or directory of files) gets its number: of its name, or of what the file says
 *   2. those of one number are one experience: its best copy counts; last.ckpt, hard links and -v1 are the same again
 *   3. a best_model.pth whose tensors are those of an experience says that this one is best, and is no experience itself
 *   4. sorted by number; the newest whole one is the latest
 *
 * Runs count in epochs or in steps.  Lightning's count in epochs unless an epoch has several checkpoints;
 * then all of the run's are called by their steps.
 */
#include "runs_group.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

static int by_run(const void *a, const void *b)
{
	const struct runs_file *x = *(struct runs_file *const *)a, *y = *(struct runs_file *const *)b;
	int c = runs_compare_path(x->run, y->run);

	if (c != 0)
		return c;
	if (x->dir != y->dir)
		return x->dir == NULL                          ? -1
		       : y->dir == NULL                        ? 1
		       : strcmp(x->dir, y->dir) != 0           ? strcmp(x->dir, y->dir)
		       : (uintptr_t)x->dir < (uintptr_t)y->dir ? -1
							       : 1;
	return strcmp(x->path, y->path);
}

/* A name without its suffix. */
static const char *tag_of(struct runs_arena *a, const struct runs_file *f)
{
	return runs_text(a, f->name, f->said->suffix > 0 ? f->said->suffix : strlen(f->name));
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* What the files of a group say of themselves, together. */
static void look(struct group *g, int64_t *experience)
{
	*experience = RUNS_NONE;
	for (size_t i = 0; i < g->files; i++) {
		const struct runs_file *f = g->file[i];

		if (f->mtime_ns > g->mtime_ns)
			g->mtime_ns = f->mtime_ns;
		if (f->fact == NULL)
			continue;
		if (*experience == RUNS_NONE)
			*experience = f->fact->experience;
		if (g->epoch == RUNS_NONE)
			g->epoch = f->fact->epoch;
		if (g->step == RUNS_NONE)
			g->step = f->fact->step;
		g->torn |= f->fact->state == RUNS_TORN || (f->fact->state == RUNS_UNKNOWN && !g->dir);
	}
}

static int add(struct grouping *s, struct runs_file **file, size_t files)
{
	const struct runs_name *said = file[0]->dir != NULL ? file[0]->dir_name : file[0]->said;
	struct group *g;
	int64_t experience;
	int rc = runs_grow(&s->group, s->groups, &s->cap, sizeof *g);

	if (rc < 0)
		return rc;
	g = &s->group[s->groups++];
	*g = (struct group){ .file = file,
		.files = files,
		.number = RUNS_NONE,
		.epoch = RUNS_NONE,
		.step = RUNS_NONE,
		.said = said,
		.dir = file[0]->dir != NULL };
	g->tag = g->dir ? (said != NULL ? base_of(file[0]->dir) : "last") : tag_of(&s->r->arena, file[0]);
	if (g->tag == NULL)
		return -ENOMEM;
	if (said != NULL) {
		g->best = said->best;
		g->last = said->last;
		g->aside = said->aside;
		g->number = said->number;
		g->said_number = said->number != RUNS_NONE;
		g->step = said->step;
		if (said->counter == RUNS_COUNT_EPOCH)
			g->epoch = said->number;
	} else {
		g->last = true;
	}
	look(g, &experience);
	if (g->number == RUNS_NONE)
		g->number = experience;
	return 0;
}

/* Order: by number, none last; then what makes the better copy first. */
static int by_number(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	if (x->number != y->number)
		return x->number == RUNS_NONE   ? 1
		       : y->number == RUNS_NONE ? -1
		       : x->number < y->number  ? -1
						: 1;
	if (x->torn != y->torn)
		return x->torn - y->torn;
	if (x->said_number != y->said_number)
		return y->said_number - x->said_number;
	if (x->best != y->best || x->last != y->last)
		return x->best + x->last - y->best - y->last;
	if (x->mtime_ns != y->mtime_ns)
		return x->mtime_ns > y->mtime_ns ? -1 : 1;
	return strcmp(x->file[0]->path, y->file[0]->path);
}

static struct runs_file *model_in(struct runs_file *const *file, size_t files)
{
	for (size_t i = 0; i < files; i++)
		if (file[i]->fact != NULL && file[i]->fact->shape != 0)
			return file[i];
	return NULL;
}

struct runs_file *runs_model_file(const struct runs_experience *e)
{
	return model_in(e->file, e->files);
}

/* A symlink among files that are experiences of their own; in an experience's directory it is one of many. */
static bool is_link(const struct group *g)
{
	return !g->dir && g->file[0]->link;
}

/* Whether one is the other by another name: a hard link, or a symlink, or of equal tensors. */
static int same(struct grouping *s, const struct group *a, const struct group *b)
{
	const struct runs_file *x = model_in(a->file, a->files), *y = model_in(b->file, b->files);

	if (!a->dir && !b->dir && a->file[0]->ino == b->file[0]->ino && a->file[0]->ino != 0)
		return 1;
	if (x == NULL || y == NULL || x->fact->shape != y->fact->shape)
		return 0;
	return runs_same_model(s->r, x, y);
}

/* Finds the experience that a file called best is a copy of: that one is best, and the copy goes. */
static int find_best(struct grouping *s)
{
	for (size_t i = 0; i < s->groups; i++) {
		struct group *b = &s->group[i];
		struct group *named = NULL;
		int rc = 0;

		if (!b->best || b->gone)
			continue;
		for (size_t k = s->groups; k-- > 0 && rc == 0;) { /* the newest first */
			struct group *g = &s->group[k];

			if (k == i || g->best || g->last || g->aside || g->gone || is_link(g))
				continue;
			if (b->said_number && g->number == b->number)
				named = g;
			rc = g->number != RUNS_NONE && !b->said_number && !b->torn ? same(s, b, g) : 0;
			if (rc < 0)
				return rc;
			if (rc > 0)
				named = g;
		}
		if (named != NULL) {
			if (!named->best)
				named->best_name = b->dir ? b->tag : b->file[0]->name;
			named->best = true;
			b->gone = true;
			/* Of several that are called best the first that is found counts. */
		} else if (is_link(b)) {
			b->gone = true;
		} else {
			for (size_t k = 0; k < s->groups; k++)
				if (k != i && !s->group[k].gone && !s->group[k].best && !s->group[k].last &&
						s->group[k].number == b->number)
					b->number = RUNS_NONE; /* that number is another's */
		}
	}
	return 0;
}

/* Whether two groups of one number add up to one experience: files named as components do. */
static bool adds(const struct group *g)
{
	return !g->dir && g->said != NULL && g->said->role == RUNS_COMPONENT;
}

static int fill(struct grouping *s, struct runs_experience *e, struct group *g, size_t count)
{
	struct runs_arena *a = &s->r->arena;
	char text[24];
	size_t n = 0, have = 0;

	for (size_t i = 0; i < count; i++)
		n += g[i].files;
	e->file = runs_alloc(a, n, sizeof *e->file);
	if (e->file == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		if (g[i].best && !e->best)
			e->best_name = g[i].best_name;
		e->best |= g[i].best;
		e->last |= g[i].last;
		if (i > 0 && !adds(&g[i]) && have > 0)
			continue;
		for (size_t k = 0; k < g[i].files; k++)
			e->file[e->files++] = g[i].file[k];
		have += !adds(&g[i]);
	}
	e->aside = g->aside;
	e->epoch = g->epoch;
	e->step = g->step;
	e->pub.number = g->number;
	e->pub.numbered = g->number != RUNS_NONE;
	e->tag = g->tag;
	if (e->pub.numbered) {
		e->pub.name = runs_text(
				a, text, (size_t)snprintf(text, sizeof text, "%lld", (long long)g->number));
		return e->pub.name != NULL ? 0 : -ENOMEM;
	}
	e->pub.name = e->tag;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct runs_experience *x = a, *y = b;
	int order;

	if (x->pub.numbered != y->pub.numbered)
		return y->pub.numbered - x->pub.numbered;
	if (x->pub.numbered)
		return x->pub.number < y->pub.number ? -1 : x->pub.number > y->pub.number;
	order = strcmp(x->pub.name, y->pub.name);
	return order != 0 ? order : strcmp(x->file[0]->path, y->file[0]->path);
}

static const char *underscored(struct runs_arena *a, const char *name)
{
	size_t len = strlen(name);
	char *s = runs_alloc(a, len + 2, 1);

	if (s != NULL) {
		s[0] = '_';
		memcpy(s + 1, name, len + 1);
	}
	return s;
}

/*
 * The only one that nothing gives a number is `last`; no name may be a number's, a link's or a generated
 * file's.
 */
static int name_others(struct grouping *s, struct runs_run *run)
{
	static const char *const taken[] = { "latest", "best", "metrics.csv", "metrics.svg", "report.html" };
	size_t others = 0;

	for (size_t i = 0; i < run->pub.experiences; i++)
		others += !run->experience[i].pub.numbered;
	for (size_t i = 0; i < run->pub.experiences; i++) {
		struct runs_experience *e = &run->experience[i];
		bool clash = e->pub.name[0] == 0;

		if (e->pub.numbered)
			continue;
		if (others == run->pub.experiences && others == 1)
			e->pub.name = "last";
		for (size_t k = 0; k < sizeof taken / sizeof taken[0]; k++)
			clash |= strcmp(e->pub.name, taken[k]) == 0;
		clash |= e->pub.name[0] >= '0' && e->pub.name[0] <= '9';
		if (clash)
			e->pub.name = underscored(&s->r->arena, e->pub.name);
		if (e->pub.name == NULL)
			return -ENOMEM;
	}
	return 0;
}

/*
 * Names that several have: the second is NAME~2, and so on.  That may be somebody's own name, so it is looked at
 * again until nothing is left to do; with each pass the names grow.
 */
static int sort_names(struct grouping *s, struct runs_run *run)
{
	size_t n = run->pub.experiences;
	bool again = n > 1;

	while (again) {
		again = false;
		qsort(run->experience, n, sizeof *run->experience, by_name);
		for (size_t i = 0, first = 0; i < n; i++) {
			struct bridge_experience *e = &run->experience[i].pub;
			struct byte_buf b = { 0 };
			int rc;

			if (e->numbered || i == 0 || strcmp(run->experience[first].pub.name, e->name) != 0) {
				first = i;
				continue;
			}
			rc = byte_buf_format(&b, "%s~%zu", e->name, i - first + 1);
			e->name = rc == 0 ? runs_text(&s->r->arena, (char *)b.p, b.len) : NULL;
			byte_buf_release(&b);
			if (e->name == NULL)
				return -ENOMEM;
			again = true;
		}
	}
	return 0;
}

static int experiences(struct grouping *s, struct runs_run *run)
{
	size_t n = 0, i = 0;
	int rc = 0;

	run->experience = runs_alloc(&s->r->arena, s->groups, sizeof *run->experience);
	if (run->experience == NULL)
		return -ENOMEM;
	while (i < s->groups && rc == 0) {
		size_t end = i + 1;

		while (end < s->groups && s->group[i].number != RUNS_NONE &&
				s->group[end].number == s->group[i].number)
			end++;
		if (!is_link(&s->group[i]))
			rc = fill(s, &run->experience[n++], &s->group[i], end - i);
		i = end;
	}
	run->pub.experiences = n;
	if (rc == 0)
		rc = name_others(s, run);
	if (rc == 0)
		rc = sort_names(s, run);
	for (size_t k = 0; k < n && rc == 0; k++)
		rc = runs_components(s->r, &run->experience[k]);
	return rc;
}

static void drop(struct grouping *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->groups; i++)
		if (!s->group[i].gone)
			s->group[n++] = s->group[i];
	s->groups = n;
}

static const char *framework(const struct runs_run *run)
{
	int found = -1;

	for (size_t i = 0; i < run->pub.experiences; i++)
		for (size_t k = 0; k < run->experience[i].files; k++) {
			const struct runs_file *f = run->experience[i].file[k];
			int x = f->fact != NULL && f->fact->framework >= 0 ? f->fact->framework
									   : f->said->framework;

			/* DeepSpeed and DCP write inside checkpoints of others, who say more. */
			if (x >= 0 && (found < 0 || found == RUNS_DEEPSPEED || found == RUNS_DCP))
				found = x;
		}
	return runs_framework_name(found >= 0 ? (enum runs_framework)found : RUNS_PYTORCH);
}

/* The newest that is whole: the highest number; where nothing has a number, the youngest. */
static int64_t latest(const struct runs_run *run)
{
	int64_t at = -1;

	for (size_t i = 0; i < run->pub.experiences; i++) {
		const struct runs_experience *e = &run->experience[i],
					     *was = at >= 0 ? &run->experience[at] : NULL;

		if (e->pub.torn || e->aside)
			continue;
		if (was == NULL || (e->pub.numbered && e->pub.number > was->pub.number) ||
				(!e->pub.numbered && !was->pub.numbered &&
						e->pub.mtime_ns > was->pub.mtime_ns))
			at = (int64_t)i;
	}
	return at;
}

static unsigned mask(const struct runs_experience *e)
{
	unsigned m = 0;

	for (size_t i = 0; i < e->pub.components; i++)
		if (e->item[i].component <= RUNS_OPTIMIZER)
			m |= 1u << e->item[i].component;
	/* A link is no component here, but nothing is missing where it is. */
	for (size_t i = 0; i < e->files; i++)
		if (e->file[i]->link && e->file[i]->said->role == RUNS_COMPONENT &&
				e->file[i]->said->component <= RUNS_OPTIMIZER)
			m |= 1u << e->file[i]->said->component;
	return m;
}

/*
 * A directory that lacks the model or the optimizer that all others before it have: the save was cut short.
 */
static void partial(struct runs_run *run)
{
	unsigned all = ~0u, seen = 0;

	for (size_t i = 0; i < run->pub.experiences; i++) {
		struct runs_experience *e = &run->experience[i];
		unsigned m = mask(e);

		if (!e->pub.numbered || e->files == 0 || e->file[0]->dir == NULL || e->pub.torn)
			continue;
		if (seen > 0 && (all & ~m) != 0 && i + 1 == run->pub.experiences) {
			e->pub.torn = true;
			e->pub.why = (all & ~m & 1) != 0 ? "the model is missing"
							 : "the optimizer is missing";
			continue;
		}
		all &= m;
		seen++;
	}
}

static int make(struct bridge_runs *r, struct runs_file **file, size_t count, struct runs_run *run,
		bool *kept)
{
	struct grouping s = { .r = r };
	struct runs_file **log = calloc(count, sizeof *log);
	size_t logs = 0;
	int rc = log == NULL ? ckpt_fail(ENOMEM, "out of memory for %zu files", count) : 0;

	for (size_t i = 0; i < count && rc == 0;) {
		size_t end = i + 1;

		if (file[i]->log) {
			log[logs++] = file[i++];
			continue;
		}
		while (end < count && file[i]->dir != NULL && file[end]->dir == file[i]->dir &&
				!file[end]->log)
			end++;
		rc = add(&s, file + i, end - i);
		i = end;
	}
	if (rc == 0 && s.groups > 0) {
		runs_number_groups(&s);
		rc = find_best(&s);
		drop(&s);
		qsort(s.group, s.groups, sizeof *s.group, by_number);
	}
	if (rc == 0 && s.groups > 0) {
		run->pub.path = file[0]->run;
		rc = experiences(&s, run);
	}
	*kept = rc == 0 && run->pub.experiences > 0;
	if (*kept) {
		partial(run);
		run->by_step = s.by_step;
		run->pub.framework = framework(run);
		run->pub.latest = latest(run);
		rc = runs_metrics(r, run, log, logs);
		if (rc == 0)
			rc = runs_best(r, run);
	}
	free(s.group);
	free(log);
	return rc;
}

/* A run whose name an experience of the run above it has, or one of that run's files, gets another. */
static int rename_clashing(struct bridge_runs *r)
{
	static const char *const taken[] = { "latest", "best", "metrics.csv", "metrics.svg", "report.html" };

	for (size_t i = 0; i < r->runs; i++) {
		const char *path = r->run[i].pub.path, *base = base_of(path);
		char *above = base > path ? runs_text(&r->arena, path, (size_t)(base - path - 1)) : NULL;
		int64_t up = above != NULL ? bridge_runs_find(r, above) : -1;
		bool clash = false;

		if (up < 0)
			continue;
		clash = bridge_runs_find_experience(r, (size_t)up, base) >= 0;
		for (size_t k = 0; k < sizeof taken / sizeof taken[0]; k++)
			clash |= strcmp(base, taken[k]) == 0;
		if (clash) {
			struct byte_buf b = { 0 };
			int rc = byte_buf_format(&b, "%s~run", path);

			if (rc == 0)
				r->run[i].pub.path = runs_text(&r->arena, (char *)b.p, b.len);
			byte_buf_release(&b);
			if (rc < 0 || r->run[i].pub.path == NULL)
				return -ENOMEM;
		}
	}
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return runs_compare_path(
			((const struct runs_run *)a)->pub.path, ((const struct runs_run *)b)->pub.path);
}

int runs_group(struct bridge_runs *r, struct runs_file **file, size_t count)
{
	size_t runs = 0, at = 0;
	int rc = 0;

	if (count == 0)
		return 0;
	qsort(file, count, sizeof *file, by_run);
	for (size_t i = 0; i < count; i++)
		runs += i == 0 || strcmp(file[i]->run, file[i - 1]->run) != 0;
	r->run = runs_alloc(&r->arena, runs, sizeof *r->run);
	if (r->run == NULL)
		return -ENOMEM;
	while (at < count && rc == 0) {
		size_t end = at + 1;
		bool kept;

		while (end < count && strcmp(file[end]->run, file[at]->run) == 0)
			end++;
		r->run[r->runs] = (struct runs_run){ .pub = { .latest = -1, .best = -1 } };
		rc = make(r, file + at, end - at, &r->run[r->runs], &kept);
		r->runs += kept;
		at = end;
	}
	if (rc == 0)
		rc = rename_clashing(r);
	if (rc == 0 && r->runs > 1)
		qsort(r->run, r->runs, sizeof *r->run, by_path);
	return rc;
}
