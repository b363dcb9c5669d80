/*
 * bridge_runs.c: a scan: made, asked, given back.
 */
#include "bridge_runs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "codec/ckpt_error.h"
#include "runs_shards.h"

int bridge_runs_scan(const struct bridge_files *files, const char *root, struct bridge_runs **out)
{
	struct bridge_runs *r = calloc(1, sizeof *r);
	struct runs_file **file = NULL;
	size_t count = 0;
	int rc;

	if (r == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a scan");
	r->files = *files;
	rc = runs_costs_new(&r->costs);
	if (rc == 0)
		rc = runs_walk(files, &r->arena, root, &file, &count);
	if (rc == 0)
		rc = runs_group(r, file, count);
	free(file);
	if (rc < 0)
		bridge_runs_free(r);
	else
		*out = r;
	return rc;
}

void bridge_runs_free(struct bridge_runs *r)
{
	if (r == NULL)
		return;
	runs_arena_release(&r->arena);
	runs_costs_free(r->costs);
	free(r);
}

size_t bridge_runs_memory(const struct bridge_runs *r)
{
	return sizeof *r + r->arena.taken;
}

size_t bridge_runs_count(const struct bridge_runs *r)
{
	return r->runs;
}

const struct bridge_run *bridge_runs_at(const struct bridge_runs *r, size_t run)
{
	return &r->run[run].pub;
}

const struct bridge_experience *bridge_runs_experience(
		const struct bridge_runs *r, size_t run, size_t experience)
{
	return &r->run[run].experience[experience].pub;
}

const struct bridge_component *bridge_runs_component_at(
		const struct bridge_runs *r, size_t run, size_t experience, size_t component)
{
	return &r->run[run].experience[experience].item[component].pub;
}

const char *bridge_runs_source(
		const struct bridge_runs *r, size_t run, size_t experience, size_t component, uint32_t i)
{
	const struct runs_item *it = &r->run[run].experience[experience].item[component];

	return it->source != NULL ? it->source[i] : it->pub.source;
}

size_t bridge_runs_metrics(const struct bridge_runs *r, size_t run)
{
	return r->run[run].metrics;
}

const struct bridge_metric *bridge_runs_metric(const struct bridge_runs *r, size_t run, size_t i)
{
	return &r->run[run].metric[i];
}

/*
 * ---- looking up
 * ----------------------------------------------------------------------------------------------------
 */

/* The first run that does not sort before a path. */
static size_t lower(const struct bridge_runs *r, const char *path)
{
	size_t lo = 0, hi = r->runs;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (runs_compare_path(r->run[mid].pub.path, path) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int64_t bridge_runs_find(const struct bridge_runs *r, const char *path)
{
	size_t at = lower(r, path);

	return at < r->runs && strcmp(r->run[at].pub.path, path) == 0 ? (int64_t)at : -1;
}

static bool is_below(const char *path, const char *dir, size_t len)
{
	return len == 0 || (strncmp(path, dir, len) == 0 && (path[len] == 0 || path[len] == '/'));
}

size_t bridge_runs_below(const struct bridge_runs *r, const char *dir, size_t *first)
{
	size_t len = strlen(dir), lo = lower(r, dir), from = lo, hi = r->runs;

	*first = lo;
	/* Those below follow the directory itself: find where they end. */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (is_below(r->run[mid].pub.path, dir, len))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - from;
}

int64_t bridge_runs_find_experience(const struct bridge_runs *r, size_t run, const char *name)
{
	const struct runs_run *x = &r->run[run];
	size_t lo = 0, hi = x->pub.experiences;
	bool number = name[0] >= '0' && name[0] <= '9';
	int64_t want = 0;

	/* Numbers come first and are sorted as numbers; names as texts. */
	for (const char *p = name; number && *p != 0; p++)
		if (*p < '0' || *p > '9' || __builtin_mul_overflow(want, 10, &want) ||
				__builtin_add_overflow(want, *p - '0', &want))
			return -1;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct bridge_experience *e = &x->experience[mid].pub;
		bool before = number ? e->numbered && e->number < want
				     : e->numbered || strcmp(e->name, name) < 0;

		if (before)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < x->pub.experiences && strcmp(x->experience[lo].pub.name, name) == 0 ? (int64_t)lo : -1;
}

int64_t bridge_runs_find_component(
		const struct bridge_runs *r, size_t run, size_t experience, const char *name)
{
	const struct runs_experience *e = &r->run[run].experience[experience];

	for (size_t i = 0; i < e->pub.components; i++)
		if (strcmp(e->item[i].pub.name, name) == 0)
			return (int64_t)i;
	return -1;
}

/*
 * ---- contents
 * ------------------------------------------------------------------------------------------------------
 */

static int open_shards(const struct bridge_runs *r, const struct runs_item *it, const struct bridge_doc *d,
		struct bridge_layout **out)
{
	size_t len = strlen(it->file->path) - strlen(it->file->name);
	struct runs_arena a = { 0 };
	struct shards s;
	char *dir = runs_text(&a, it->file->path, len > 0 ? len - 1 : 0);
	int rc = dir == NULL ? -ENOMEM : shards_open(bridge_doc_torch(d), &a, &s);

	if (rc == 0) {
		rc = shards_layout(&s, it->part->from, &r->files, dir, out);
		shards_release(&s);
	}
	runs_arena_release(&a);
	return rc;
}

/*
 * The file is not what the scan says of it.  It was replaced; or what is remembered of it is wrong, an older
 * program having found it out: forgotten, it is found out anew by the next scan.
 */
static int misfit(const struct bridge_runs *r, const struct runs_item *it)
{
	const struct runs_file *f = it->file;

	if (f->fact->recalled) {
		runs_fact_forget(&r->files, f->path, f->said);
		ckpt_log(LOG_NOTICE, "what was remembered of '%s' does not fit it: it is looked at again",
				f->path);
	}
	return ckpt_fail(ESTALE, "\"%s\" is not what it was when it was scanned", f->path);
}

int bridge_runs_open(const struct bridge_runs *r, size_t run, size_t experience, size_t component,
		struct bridge_layout **out)
{
	const struct runs_item *it = &r->run[run].experience[experience].item[component];
	struct runs_reader reader = { &r->files, it->file->path };
	struct bridge_layout *l = NULL;
	const struct bridge_doc *d;
	int rc;

	if (it->part == NULL)
		return ckpt_fail(EINVAL, "\"%s\" is \"%s\" as it is", it->pub.name, it->pub.source);
	if (it->part->how == RUNS_RANGE) {
		rc = runs_part_layout(NULL, it->part, &reader, &l);
	} else {
		rc = r->files.doc(r->files.arg, it->file->path, &d);
		if (rc < 0)
			return rc;
		if (bridge_doc_torch(d) == NULL)
			rc = -ESTALE;
		else if (it->part->how == RUNS_SHARDS)
			rc = open_shards(r, it, d, &l);
		else
			rc = runs_part_layout(bridge_doc_torch(d), it->part, &reader, &l);
		r->files.put(r->files.arg, d);
	}
	if (rc == 0 && bridge_layout_size(l) != it->pub.size) {
		bridge_layout_free(l);
		rc = -ESTALE;
	}
	if (rc == -ESTALE)
		return misfit(r, it);
	if (rc == 0)
		*out = l;
	return rc;
}
