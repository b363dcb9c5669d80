/*
 * runs_best.c: which experience is best, and who says so.
 *
 *   1. the framework's own record: best_model_checkpoint, best_model_path, best_ckpt; it names a file, whose last name counts
 *   2. a file called best: the experience with equal tensors, or itself
 *   3. a recorded best value (best_acc, best_val_loss) that one experience reached
 *   4. accuracy on held-out data that several experiences recorded: the highest; else the loss there: the lowest
 *
 * Where none of these says anything, nothing is best.  Means over tasks (from a matrix) do not compare
 * across experiences and are never asked.
 */
#include "runs_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/*
 * The experience that a recorded path means: by the last name of its directory or file, else by the number
 * in it.
 */
static int64_t pointed(const struct runs_run *run, const char *path)
{
	char name[256];
	struct runs_name said;
	size_t len = strlen(path);

	while (len > 0 && path[len - 1] == '/')
		len--;
	for (const char *p = path; p < path + len;)
		if (*p++ == '/' && p < path + len) {
			len -= (size_t)(p - path);
			path = p;
		}
	if (len == 0 || len >= sizeof name)
		return -1;
	memcpy(name, path, len);
	name[len] = 0;
	for (size_t i = 0; i < run->pub.experiences; i++) {
		const struct runs_experience *e = &run->experience[i];

		for (size_t k = 0; k < e->files; k++)
			if (strcmp(e->file[k]->dir != NULL ? base_of(e->file[k]->dir) : e->file[k]->name,
					    name) == 0)
				return e->pub.torn ? -1 : (int64_t)i;
	}
	/* The file itself was one that is shown as another's copy (last.ckpt). */
	runs_name_file(name, len, &said);
	if (said.number == RUNS_NONE && !runs_name_directory(name, len, &said))
		return -1;
	for (size_t i = 0; i < run->pub.experiences; i++) {
		const struct runs_experience *e = &run->experience[i];

		if (e->pub.numbered && !e->pub.torn && said.number != RUNS_NONE &&
				e->pub.number == said.number &&
				(!run->by_step || said.counter != RUNS_COUNT_EPOCH))
			return (int64_t)i;
	}
	return -1;
}

/* The rule in words: a, b and c one behind the other, and the value where there is one. */
static int say(struct bridge_runs *r, struct runs_run *run, int64_t best, const char *a, const char *b,
		const char *c, double value)
{
	struct byte_buf text = { 0 };
	int rc = byte_buf_format(&text, "%s%s%s", a, b, c);

	if (rc == 0 && isfinite(value))
		rc = byte_buf_format(&text, " (%.6g)", value);
	if (rc == 0) {
		run->pub.best = best;
		run->pub.best_by = runs_text(&r->arena, (char *)text.p, text.len);
		rc = run->pub.best_by == NULL ? -ENOMEM : 1;
	}
	byte_buf_release(&text);
	return rc;
}

/* What the newest checkpoint says; older ones knew less. */
static const struct runs_fact *record(const struct runs_run *run, bool path)
{
	for (size_t i = run->pub.experiences; i-- > 0;) {
		const struct runs_experience *e = &run->experience[i];

		if (e->pub.torn || (!e->pub.numbered && run->pub.experiences > 1))
			continue;
		for (size_t k = 0; k < e->files; k++) {
			const struct runs_fact *f = e->file[k]->fact;

			if (f != NULL && f->best_key[0] != 0 && (f->best[0] != 0) == path)
				return f;
		}
	}
	return NULL;
}

static int recorded(struct bridge_runs *r, struct runs_run *run)
{
	const struct runs_fact *f = record(run, true);
	int64_t best = f != NULL ? pointed(run, f->best) : -1;

	if (f == NULL)
		return 0;
	if (best < 0) /* it is gone, or damaged: nobody else is best then */
		return 1;
	return say(r, run, best, f->best_key, " says ", base_of(f->best), f->best_value);
}

static int called(struct bridge_runs *r, struct runs_run *run)
{
	for (size_t i = run->pub.experiences; i-- > 0;) {
		const struct runs_experience *e = &run->experience[i];

		if (!e->best || e->pub.torn)
			continue;
		if (e->best_name != NULL)
			return say(r, run, (int64_t)i, e->best_name, " is its copy", "", (double)NAN);
		return say(r, run, (int64_t)i, "it is called ", e->tag, "", (double)NAN);
	}
	return 0;
}

/* The whole experience of a number. */
static int64_t whole(const struct runs_run *run, int64_t number)
{
	size_t lo = 0, hi = run->pub.experiences;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct bridge_experience *e = &run->experience[mid].pub;

		if (e->numbered && e->number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == run->pub.experiences || !run->experience[lo].pub.numbered ||
			run->experience[lo].pub.number != number || run->experience[lo].pub.torn)
		return -1;
	return (int64_t)lo;
}

static int reached(struct bridge_runs *r, struct runs_run *run)
{
	const struct runs_fact *f = record(run, false);
	const char *what = f != NULL && strncmp(f->best_key, "best_", 5) == 0 ? f->best_key + 5 : "";

	for (size_t i = 0; f != NULL && isfinite(f->best_value) && i < run->metrics; i++) {
		const struct bridge_metric *m = &run->metric[i];
		int64_t at = m->value == f->best_value && strncmp(m->name, "best", 4) != 0 &&
							     strstr(m->name, what) != NULL
					     ? whole(run, m->experience)
					     : -1;

		if (at >= 0)
			return say(r, run, at, f->best_key, " is its ", m->name, m->value);
	}
	return 0;
}

/* Names of what was measured on held-out data, the plainest first; `least`: the lowest is best. */
static const struct {
	const char *name;
	bool least;
} judges[] = {
	{ "val_acc", false },
	{ "val_accuracy", false },
	{ "valid_acc", false },
	{ "eval_accuracy", false },
	{ "val/acc", false },
	{ "val/accuracy", false },
	{ "test_acc", false },
	{ "test_accuracy", false },
	{ "accuracy", false },
	{ "acc", false },
	{ "top1", false },
	{ "val_loss", true },
	{ "valid_loss", true },
	{ "eval_loss", true },
	{ "val/loss", true },
	{ "test_loss", true },
};

static int judged(struct bridge_runs *r, struct runs_run *run)
{
	for (size_t k = 0; k < sizeof judges / sizeof judges[0]; k++) {
		const char *name = NULL;
		double top = (double)NAN;
		int64_t best = -1;
		size_t n = 0;

		/* From a matrix it is a mean over more and more tasks. */
		if (run->mean != NULL && strcmp(judges[k].name, run->mean) == 0)
			continue;
		for (size_t i = 0; i < run->names && name == NULL; i++)
			if (strcasecmp(run->name[i], judges[k].name) == 0)
				name = run->name[i];
		for (size_t i = 0; name != NULL && i < run->metrics; i++) {
			const struct bridge_metric *m = &run->metric[i];
			int64_t at = m->name == name && isfinite(m->value) ? whole(run, m->experience) : -1;

			if (at < 0)
				continue;
			n++;
			if (best < 0 || (judges[k].least ? m->value < top : m->value > top)) {
				best = at;
				top = m->value;
			}
		}
		if (n >= 2)
			return say(r, run, best, judges[k].least ? "the lowest " : "the highest ", name, "",
					top);
	}
	return 0;
}

int runs_best(struct bridge_runs *r, struct runs_run *run)
{
	int rc = recorded(r, run);

	if (rc == 0)
		rc = called(r, run);
	if (rc == 0)
		rc = reached(r, run);
	if (rc == 0)
		rc = judged(r, run);
	return rc < 0 ? rc : 0;
}
