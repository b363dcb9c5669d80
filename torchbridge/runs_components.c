/*
 * runs_components.c: the components of an experience, and whether it is whole.
 */
#include "runs_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "codec/ckpt_error.h"

struct items {
	struct runs_arena *arena;
	struct runs_item *item;
	size_t n, cap;
	char (*taken)[256]; /* names so far: hashed, open addressing; [0] 0 is free */
	size_t places;
};

static size_t hash(const char *s)
{
	size_t h = 5381;

	while (*s != 0)
		h = h * 33 + (uint8_t)*s++;
	return h;
}

/* Takes a name: false when an item has it. */
static bool take(struct items *s, const char *name)
{
	size_t at = hash(name) & (s->places - 1);

	while (s->taken[at][0] != 0) {
		if (strcmp(s->taken[at], name) == 0)
			return false;
		at = (at + 1) & (s->places - 1);
	}
	snprintf(s->taken[at], sizeof s->taken[at], "%s", name);
	return true;
}

static int add(struct items *s, const struct runs_file *f, const char *name, const char *other,
		const struct runs_part *part, int component)
{
	struct runs_item *it;
	int rc;

	if (!take(s, name)) {
		if (other == NULL || !take(s, other))
			return 0;
		name = other;
	}
	rc = runs_grow(&s->item, s->n, &s->cap, sizeof *it);
	if (rc < 0)
		return rc;
	it = &s->item[s->n];
	memset(it, 0, sizeof *it);
	it->pub.name = runs_text(s->arena, name, strlen(name));
	if (it->pub.name == NULL)
		return -ENOMEM;
	it->pub.source = f->path;
	it->pub.sources = 1;
	it->pub.whole = part == NULL;
	it->pub.from = part != NULL ? part->from : "";
	it->pub.size = part != NULL ? part->size : f->size;
	it->pub.mtime_ns = f->mtime_ns;
	it->part = part;
	it->file = f;
	it->component = (uint8_t)component;
	s->n++;
	return 0;
}

/*
 * What a file is called that is one component by itself and has no component's name: model.pt,
 * model.safetensors.
 */
static void whole_name(const struct runs_file *f, int component, char out[256])
{
	const char *suffix = f->name + f->said->suffix;

	snprintf(out, 256, "%s%s", runs_component_name((enum runs_component)component),
			strcasecmp(suffix, ".safetensors") == 0 ? ".safetensors" : ".pt");
}

static int parts(struct items *s, const struct runs_file *f)
{
	int rc = 0;

	for (size_t i = 0; i < f->fact->parts && rc == 0; i++)
		rc = add(s, f, f->fact->part[i].name, NULL, &f->fact->part[i], f->fact->part[i].component);
	return rc;
}

static int file(struct items *s, const struct runs_file *f)
{
	const struct runs_fact *fact = f->fact;
	int component = f->said->role == RUNS_FILE ? RUNS_OTHER : f->said->component;
	char name[256];

	if (f->link)
		return 0;
	if (fact != NULL && fact->state == RUNS_READABLE && fact->parts > 0) {
		int rc = parts(s, f);

		/* Shards stay beside what is made of them: a loader of theirs finds them here, too. */
		if (rc < 0 || fact->kind != RUNS_IS_SHARDS)
			return rc;
	}
	if (fact != NULL && fact->state == RUNS_READABLE && fact->kind == RUNS_IS_MODEL &&
			f->said->role == RUNS_FILE) {
		whole_name(f, RUNS_MODEL, name);
		return add(s, f, name, f->name, NULL, RUNS_MODEL);
	}
	if (fact != NULL && fact->state == RUNS_READABLE && f->said->role == RUNS_FILE && f->dir == NULL) {
		whole_name(f, RUNS_OTHER, name);
		return add(s, f, name, f->name, NULL, RUNS_OTHER);
	}
	if (f->said->role == RUNS_FILE || (f->dir == NULL && f->said->many)) {
		const char *as = f->name;

		/* TAK's caches: without what the run is called after, and the task. */
		if (f->said->many && f->said->stem_len > 0 && strlen(f->name) > f->said->stem_len + 6)
			as = strchr(f->name + f->said->stem_len + 6, '_') != NULL
					     ? strchr(f->name + f->said->stem_len + 6, '_') + 1
					     : as;
		return add(s, f, as, f->name, NULL, component);
	}
	runs_name_component(f->said, f->name, strlen(f->name), name);
	return add(s, f, name, f->name, NULL, component);
}

static int by_component(const void *a, const void *b)
{
	const struct runs_item *x = a, *y = b;

	if (x->component != y->component)
		return (int)x->component - (int)y->component;
	return strcmp(x->pub.name, y->pub.name);
}

/*
 * ---- whole or not
 * ----------------------------------------------------------------------------------------------------
 */

static int set_torn(struct runs_arena *a, struct runs_experience *e, const char *what, const char *why)
{
	struct byte_buf b = { 0 };
	int rc = byte_buf_format(&b, "%s: %s", what, why);

	if (rc == 0 && !e->pub.torn) {
		e->pub.why = runs_text(a, (char *)b.p, b.len);
		rc = e->pub.why == NULL ? -ENOMEM : 0;
	}
	e->pub.torn = true;
	byte_buf_release(&b);
	return rc;
}

static const struct runs_file *named(const struct runs_experience *e, const char *name)
{
	for (size_t i = 0; i < e->files; i++)
		if (strcmp(e->file[i]->name, name) == 0)
			return e->file[i];
	return NULL;
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct runs_file *const *)a)->name, (*(struct runs_file *const *)b)->name);
}

static int by_need(const void *key, const void *f)
{
	return strcmp(((const struct runs_need *)key)->name, (*(struct runs_file *const *)f)->name);
}

/* The files that a checkpoint names must be there, as long as it says. */
static int needs(struct runs_arena *a, struct runs_experience *e, const struct runs_fact *fact)
{
	struct runs_file **sorted = calloc(e->files, sizeof(*sorted));
	int rc = 0;

	if (sorted == NULL)
		return ckpt_fail(ENOMEM, "out of memory for an experience");
	memcpy(sorted, e->file, e->files * sizeof(*sorted));
	qsort(sorted, e->files, sizeof(*sorted), by_name);
	for (size_t i = 0; i < fact->needs && rc == 0 && !e->pub.torn; i++) {
		struct runs_file *const *f =
				bsearch(&fact->need[i], sorted, e->files, sizeof(*sorted), by_need);

		if (f == NULL)
			rc = set_torn(a, e, fact->need[i].name, "it is missing");
		else if ((*f)->size < fact->need[i].size)
			rc = set_torn(a, e, fact->need[i].name, "its end is missing");
	}
	free(sorted);
	return rc;
}

/* "-00002-of-00005": all five must be there. */
static int shards(struct runs_arena *a, struct runs_experience *e)
{
	for (size_t i = 0; i < e->files; i++) {
		const struct runs_name *n = e->file[i]->said;
		int64_t have = 0;

		if (!n->rank_only || n->step == RUNS_NONE || n->rank != 1 || e->file[i]->dir == NULL)
			continue;
		for (size_t k = 0; k < e->files; k++)
			have += e->file[k]->said->step == n->step &&
				e->file[k]->said->component == n->component &&
				e->file[k]->said->suffix == n->suffix;
		if (have != n->step)
			return set_torn(a, e, e->file[i]->name, "other shards are missing");
	}
	for (size_t i = 0; i < e->files; i++)
		if (e->file[i]->said->rank_only && e->file[i]->said->step != RUNS_NONE &&
				e->file[i]->dir != NULL && e->file[i]->said->rank > 1) {
			bool first = false;

			for (size_t k = 0; k < e->files && !first; k++)
				first = e->file[k]->said->rank == 1 &&
					e->file[k]->said->step == e->file[i]->said->step;
			return first ? 0 : set_torn(a, e, e->file[i]->name, "the first shard is missing");
		}
	return 0;
}

static int state(struct runs_arena *a, struct runs_experience *e)
{
	bool shard = false, metadata = false, trainer = false, optimizer = false;
	int rc = 0;

	for (size_t i = 0; i < e->files && rc == 0; i++) {
		const struct runs_file *f = e->file[i];

		if (f->mtime_ns > e->pub.mtime_ns)
			e->pub.mtime_ns = f->mtime_ns;
		if (f->fact != NULL && f->fact->state == RUNS_TORN)
			rc = set_torn(a, e, f->name, f->fact->why);
		else if (f->fact != NULL && f->fact->state == RUNS_UNKNOWN && f->dir == NULL && !f->link)
			rc = set_torn(a, e, f->name, "it is no checkpoint");
		if (rc == 0 && f->fact != NULL && f->fact->needs > 0)
			rc = needs(a, e, f->fact);
		shard |= f->said->framework == RUNS_DCP && f->fact == NULL;
		metadata |= f->said->framework == RUNS_DCP && f->fact != NULL;
		optimizer |= strcmp(f->name, "optimizer.pt") == 0;
		/*
		 * "checkpoint-500" with scheduler.pt and rng_state.pth is Transformers', and is not whole
		 * without its state.
		 */
		trainer |= f->dir_name != NULL &&
			   (strcmp(f->name, "scheduler.pt") == 0 ||
					   strcmp(f->name, "training_args.bin") == 0) &&
			   strstr(f->dir, "checkpoint-") != NULL;
	}
	if (rc == 0 && shard && !metadata)
		rc = set_torn(a, e, ".metadata", "it is missing");
	if (rc == 0 && trainer && optimizer && named(e, "config.json") != NULL &&
			named(e, "trainer_state.json") == NULL)
		rc = set_torn(a, e, "trainer_state.json", "it is missing");
	return rc < 0 ? rc : shards(a, e);
}

/* The files that the shards of a component lie in: those that .metadata needs, in its order. */
static int sources(struct bridge_runs *r, const struct runs_experience *e, struct runs_item *it)
{
	const struct runs_fact *fact = it->file->fact;
	char *dir = runs_text(&r->arena, it->file->path, strlen(it->file->path) - strlen(it->file->name));
	const char **path = runs_alloc(&r->arena, fact->needs, sizeof(*path));

	if (dir == NULL || path == NULL)
		return -ENOMEM;
	if (dir[0] != 0)
		dir[strlen(dir) - 1] = 0;
	for (size_t i = 0; i < fact->needs; i++) {
		path[i] = runs_join(&r->arena, dir, fact->need[i].name);
		if (path[i] == NULL)
			return -ENOMEM;
	}
	if (fact->needs > 0) {
		const struct runs_file *first = named(e, fact->need[0].name);

		it->source = path;
		it->pub.source = path[0];
		it->pub.mtime_ns = first != NULL ? first->mtime_ns : it->pub.mtime_ns;
		it->pub.sources = (uint32_t)fact->needs;
	}
	return 0;
}

int runs_components(struct bridge_runs *r, struct runs_experience *e)
{
	struct items s = { .arena = &r->arena };
	size_t want = 0;
	int rc;

	for (size_t i = 0; i < e->files; i++)
		want += 1 + (e->file[i]->fact != NULL ? e->file[i]->fact->parts : 0);
	for (s.places = 16; s.places < 2 * want; s.places *= 2)
		;
	s.taken = calloc(s.places, sizeof *s.taken);
	rc = s.taken == NULL ? ckpt_fail(ENOMEM, "out of memory for an experience") : state(&r->arena, e);
	/* Files that are named as components first: model.pt is theirs, before a part of another file. */
	for (int pass = 0; pass < 2 && rc == 0; pass++)
		for (size_t i = 0; i < e->files && rc == 0; i++)
			if ((e->file[i]->said->role == RUNS_COMPONENT) == (pass == 0))
				rc = file(&s, e->file[i]);
	if (rc == 0 && s.n > 0)
		qsort(s.item, s.n, sizeof *s.item, by_component);
	e->item = rc == 0 ? runs_alloc(&r->arena, s.n, sizeof *e->item) : NULL;
	if (rc == 0 && e->item == NULL)
		rc = -ENOMEM;
	if (rc == 0) {
		memcpy(e->item, s.n > 0 ? (void *)s.item : "", s.n * sizeof *e->item);
		e->pub.components = s.n;
	}
	for (size_t i = 0; i < s.n && rc == 0; i++)
		if (e->item[i].part != NULL && e->item[i].part->how == RUNS_SHARDS)
			rc = sources(r, e, &e->item[i]);
	free(s.item);
	free(s.taken);
	return rc;
}
