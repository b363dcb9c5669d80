/*
 * view_runs_file.c: the components of experiences.
 *
 * A component is a file of the tree as it is, or a part of one or several, made as a layout over them.
 * Its mark is that of its file and what was taken from it; several files have no version together, so the
 * mark is a hash of theirs.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "view_runs.h"

static const struct bridge_component *component_of(const struct runs_place *p)
{
	return bridge_runs_component_at(p->scan->runs, p->run, p->experience, p->component);
}

static uint64_t ns_of(struct timespec t)
{
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/*
 * Who may see a component, how the first of its files looks, and which bytes it has: one file's, or those
 * of several, which no version stands for.  -ESTALE: some file is not what was scanned.
 */
static int look_at(struct runs_place *p, struct view_source *src, struct fs_mark *mark)
{
	const struct bridge_component *c = component_of(p);
	struct view_access access = { .any = false };
	int rc = 0;

	for (uint32_t i = 0; i < c->sources && rc == 0; i++) {
		const char *path = bridge_runs_source(p->scan->runs, p->run, p->experience, p->component, i);
		struct view_source s;

		rc = view_access_path(p->fs, &access, path, 4, &s);
		if (rc < 0)
			break;
		if (i == 0) {
			*src = s;
			*mark = s.mark;
			if (c->whole)
				continue;
			/* Of another size it is another: what was remembered of its file may be wrong. */
			mark->rule = view_rule(mark->rule ^ c->size, "runs");
			mark->rule = view_rule(mark->rule, c->name);
			mark->rule = view_rule(mark->rule, c->from);
			continue;
		}
		mark->rule = view_rule(mark->rule ^ s.mark.version ^ (uint64_t)s.mark.changed, path);
	}
	if (rc == 0 && ns_of(src->st.st_mtim) != c->mtime_ns)
		rc = -ENOENT;
	if (rc < 0)
		return runs_moved(p, rc, c->source);
	if (c->sources > 1) {
		mark->rule = view_rule(mark->rule ^ mark->version ^ (uint64_t)mark->changed, c->source);
		mark->version = 0;
		mark->changed = 0;
	}
	src->st.st_uid = access.uid;
	src->st.st_gid = access.gid;
	src->st.st_mode = S_IFREG | access.mode;
	return 0;
}

static int make_component(void *arg, void **object, size_t *memory)
{
	struct runs_place *p = arg;
	struct bridge_layout *l = NULL;
	int rc = bridge_runs_open(p->scan->runs, p->run, p->experience, p->component, &l);

	if (rc == -ESTALE)
		view_scan_wrong(p->fs, p->scan);
	if (rc < 0)
		return rc;
	*memory = bridge_layout_memory(l);
	*object = l;
	return 0;
}

static void drop_component(void *object)
{
	bridge_layout_free(object);
}

static void release_inputs(struct view_input *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		view_input_release(&in[i]);
	free(in);
}

/* The files of a component, opened: from then on they are what they are. */
static int open_inputs(struct runs_place *p, struct view_input **out)
{
	const struct bridge_component *c = component_of(p);
	struct view_input *in = calloc(c->sources, sizeof(*in));
	int rc = in ? 0 : ckpt_fail(ENOMEM, "no memory to open '%s'", c->name);

	for (uint32_t i = 0; i < c->sources && rc == 0; i++) {
		const char *path = bridge_runs_source(p->scan->runs, p->run, p->experience, p->component, i);
		struct view_source s;

		rc = view_source_find(p->fs, path, false, NULL, &s);
		if (rc == 0)
			rc = view_input_init(&in[i], p->fs, path, strlen(path), &s);
		if (rc == 0)
			rc = view_input_open(&in[i]);
	}
	if (rc < 0) {
		if (in)
			release_inputs(in, c->sources);
		return runs_moved(p, rc, c->source);
	}
	*out = in;
	return 0;
}

int runs_component_open(struct runs_place *p, struct fs_view_file *out)
{
	const struct bridge_component *c = component_of(p);
	struct fs_mark mark, again;
	struct view_item *item = NULL;
	struct view_input *in = NULL;
	struct view_source src;
	struct view_key k;
	int rc = look_at(p, &src, &mark);

	if (rc < 0)
		return rc;
	rc = open_inputs(p, &in);
	if (rc < 0)
		return rc;
	if (c->whole) {
		rc = view_input_pass(&in[0], out);
		goto release_files;
	}
	k = (struct view_key){ .mark = mark, .what = VIEW_LAYOUT };
	rc = view_cache_get(p->fs->host->cache, &k, make_component, p, drop_component, &item);
	if (view_is_verdict(rc) || rc == -EINVAL)
		rc = runs_refuse(p, &mark, c->name);
	if (rc < 0)
		goto release_files;
	/* The layout was made by path: it is about the files that are held if they are still there. */
	rc = look_at(p, &src, &again);
	if (rc == 0 && !fs_mark_same(&mark, &again))
		rc = ckpt_fail(ESTALE, "'%s' was replaced", c->source);
	if (rc == 0)
		rc = view_layout_open(p->fs, in, c->sources, item, &mark, out);
	if (rc < 0)
		view_item_put(p->fs->host->cache, item);
release_files:
	release_inputs(in, c->sources);
	return rc;
}

int runs_component_look(struct runs_place *p, struct fs_view_look *look)
{
	const struct bridge_component *c = component_of(p);
	struct view_source src;
	int rc = look_at(p, &src, &look->mark);

	if (rc < 0)
		return rc;
	look->st = src.st;
	if (!c->whole) {
		look->st.st_size = (off_t)c->size;
		look->st.st_blocks = (blkcnt_t)(c->size / 512 + (c->size % 512 != 0));
	}
	return 0;
}
