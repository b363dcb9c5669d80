/*
 * view_runs_text.c: what is generated for a run: its metrics as a table and as a picture, and the report.
 *
 * Made once for a scan and kept while there is room.  Scans come and go and mostly find the same, so the
 * mark is a hash of the bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/byte_buf.h"
#include "codec/codec_hash.h"
#include "view_runs.h"

const char *const runs_texts[RUNS_TEXTS] = { "metrics.csv", "metrics.svg", "report.html" };

struct made_text {
	struct byte_buf text;
	uint64_t hash;
	struct view_access access;
};

static void drop_text(void *object)
{
	struct made_text *t = object;

	byte_buf_release(&t->text);
	free(t);
}

/* A text is made of all files of a run: who may not see one of them does not see it. */
static int text_access(struct runs_place *p, struct view_access *a)
{
	const struct bridge_runs *r = p->scan->runs;
	size_t n = bridge_runs_at(r, p->run)->experiences;
	int rc = 0;

	for (size_t e = 0; e < n && rc == 0; e++) {
		size_t components = bridge_runs_experience(r, p->run, e)->components;
		const char *before = NULL;

		for (size_t c = 0; c < components && rc == 0; c++) {
			const struct bridge_component *comp = bridge_runs_component_at(r, p->run, e, c);

			for (uint32_t i = 0; i < comp->sources && rc == 0; i++) {
				const char *path = bridge_runs_source(r, p->run, e, c, i);

				if (!before || strcmp(before, path) != 0)
					rc = view_access_path(p->fs, a, path, 4, NULL);
				before = path;
			}
		}
	}
	return rc < 0 ? runs_moved(p, rc, bridge_runs_at(r, p->run)->path) : 0;
}

static int make_text(void *arg, void **object, size_t *memory)
{
	struct runs_place *p = arg;
	const struct bridge_runs *r = p->scan->runs;
	struct made_text *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return ckpt_fail(ENOMEM, "no memory for '%s'", runs_texts[p->text]);
	rc = text_access(p, &t->access);
	if (rc == 0)
		rc = p->text == RUNS_CSV ? bridge_runs_csv(r, p->run, &t->text)
				: p->text == RUNS_SVG ? bridge_runs_svg(r, p->run, &t->text)
						 : bridge_runs_report(r, p->run, &t->text);
	if (rc < 0) {
		drop_text(t);
		return rc;
	}
	t->hash = (uint64_t)codec_check(t->text.p, t->text.len);
	*memory = sizeof(*t) + t->text.cap;
	*object = t;
	return 0;
}

static int text_get(struct runs_place *p, bool quick, struct view_item **out)
{
	struct view_key k = { .mark = { .changed = (int64_t)p->scan->number }, .what = VIEW_TEXT };

	struct fs_mark run = { .rule = 0 };
	int rc;

	run.rule = k.mark.rule = view_rule(
			view_rule(0, bridge_runs_at(p->scan->runs, p->run)->path), runs_texts[p->text]);
	rc = view_cache_get(p->fs->host->cache, &k, quick ? NULL : make_text, p, drop_text, out);
	return view_is_verdict(rc) ? runs_refuse(p, &run, runs_texts[p->text]) : rc;
}

struct open_text {
	struct fs *fs;
	struct view_item *item;
	const struct made_text *made;
};

static ssize_t text_read(struct fs_view_file *f, uint64_t off, void *buf, size_t len)
{
	const struct open_text *o = f->state;

	if (off >= o->made->text.len)
		return 0;
	if (len > o->made->text.len - off)
		len = (size_t)(o->made->text.len - off);
	memcpy(buf, o->made->text.p + off, len);
	return (ssize_t)len;
}

static void text_close(struct fs_view_file *f)
{
	struct open_text *o = f->state;

	view_item_put(o->fs->host->cache, o->item);
	free(o);
}

int runs_text_open(struct runs_place *p, struct fs_view_file *out)
{
	struct open_text *o = malloc(sizeof(*o));
	int rc;

	if (!o)
		return ckpt_fail(ENOMEM, "no memory to open '%s'", runs_texts[p->text]);
	*o = (struct open_text){ .fs = p->fs };
	rc = text_get(p, false, &o->item);
	if (rc < 0) {
		free(o);
		return rc;
	}
	o->made = view_item_object(o->item);
	*out = (struct fs_view_file){ .read = text_read, .close = text_close, .state = o };
	out->size = o->made->text.len;
	out->mark.rule = view_rule(o->made->hash, "text");
	return 0;
}

int runs_text_look(struct runs_place *p, struct fs_view_look *look)
{
	const struct made_text *t;
	struct view_item *item;
	int rc = text_get(p, look->quick, &item);

	if (rc < 0)
		return rc;
	t = view_item_object(item);
	look->st.st_size = (off_t)t->text.len;
	look->st.st_blocks = (blkcnt_t)(t->text.len / 512 + (t->text.len % 512 != 0));
	look->st.st_uid = t->access.uid;
	look->st.st_gid = t->access.gid;
	look->st.st_mode = S_IFREG | t->access.mode;
	look->mark.rule = view_rule(t->hash, "text");
	view_item_put(p->fs->host->cache, item);
	return 0;
}
