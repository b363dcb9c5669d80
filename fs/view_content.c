/*
 * view_content.c: a file's content in a view.
 *
 * What is known of it is a fact (does the view apply, how many bytes), which a stat needs and which is
 * remembered for good.  The bytes are a layout over the file (bridge_layout.h), made when somebody opens
 * it and shared while it is in use; reading it reads the file where its tensors lie.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "codec/byte_buf.h"
#include "codec/codec_hash.h"
#include "torchbridge/bridge_client.h"
#include "torchbridge/bridge_view.h"
#include "view_host.h"

/* The name under which the fact is kept: what the bytes depend on beside the file. */
static void name_key(struct view_content *c)
{
	static const char *const forms[] = {
		[BRIDGE_FILE] = "",
		[BRIDGE_SUMMARY] = "summary",
		[BRIDGE_JSON] = "json",
		[BRIDGE_TREE] = "tree",
		[BRIDGE_SAFETENSORS] = "safetensors",
		[BRIDGE_RUNS] = "runs",
	};
	const struct bridge_spec *s = &c->spec;
	char dtype[16] = "", name[32] = "";

	if (s->dtype >= 0)
		snprintf(dtype, sizeof(dtype), "+%d", s->dtype);
	if (s->form == BRIDGE_SUMMARY || s->form == BRIDGE_JSON)
		snprintf(name, sizeof(name), "/%016llx",
				(unsigned long long)codec_check(c->name, strlen(c->name)));
	snprintf(c->key, sizeof(c->key), "%s%s%s%s", forms[s->form], s->device, dtype, name);
	c->mark = c->in->src.mark;
	c->mark.rule = view_rule(c->mark.rule, c->key);
}

int view_content_init(struct view_content *c, struct view_input *in, const struct bridge_spec *spec,
		const char *name, bool quick)
{
	struct view_fact doc;
	int rc;

	*c = (struct view_content){ .in = in, .spec = *spec, .name = name };
	if (strcmp(spec->device, "auto") == 0) {
		rc = view_doc_fact(in, quick, &doc);
		if (rc < 0)
			return rc;
		strcpy(c->spec.device, "cpu");
		if (doc.verdict == VIEW_MADE)
			bridge_client_auto(in->fs->host->bridge, doc.text, c->spec.device,
					sizeof(c->spec.device));
	}
	name_key(c);
	return 0;
}

static int make_text(struct view_content *c, const struct bridge_doc *d, struct bridge_layout **out)
{
	struct bridge_text how = { .name = c->name };
	struct byte_buf text = { 0 };
	struct bridge_layout *l;
	int rc;

	if (c->spec.form == BRIDGE_JSON)
		rc = bridge_view_json(d, &how, view_input_read, c->in, &text);
	else
		rc = bridge_view_summary(d, &how, view_input_read, c->in, &text);
	if (rc == 0)
		rc = bridge_layout_new(&l);
	if (rc < 0)
		goto release_text;
	rc = bridge_layout_bytes(l, text.p, text.len);
	if (rc == 0)
		*out = l;
	else
		bridge_layout_free(l);
release_text:
	byte_buf_release(&text);
	return rc;
}

static int make_layout(void *arg, void **object, size_t *memory)
{
	struct view_content *c = arg;
	struct bridge_layout *l = NULL;
	const struct bridge_doc *d;
	struct view_item *doc;
	int rc = view_doc_get(c->in, &d, &doc);

	if (rc < 0)
		return rc;
	switch (c->spec.form) {
	case BRIDGE_FILE:
		rc = bridge_view_file(d, &c->spec, view_input_read, c->in, &l);
		break;
	case BRIDGE_SAFETENSORS:
		rc = bridge_view_safetensors(d, &c->spec, view_input_read, c->in, &l);
		break;
	case BRIDGE_SUMMARY:
	case BRIDGE_JSON:
		rc = make_text(c, d, &l);
		break;
	default:
		rc = ckpt_fail(EINVAL, "no view of a file");
	}
	view_item_put(c->in->fs->host->cache, doc);
	if (rc < 0)
		return rc;
	*memory = bridge_layout_memory(l);
	*object = l;
	return 0;
}

static void drop_layout(void *object)
{
	bridge_layout_free(object);
}

/* Makes the layout, or the verdict that there is none. *item is set where there is one. */
static int find_out(struct view_content *c, struct view_fact *out, struct view_item **item)
{
	struct view_key k = { .mark = c->mark, .what = VIEW_LAYOUT };
	struct view_fact known;
	int rc = view_cache_get(c->in->fs->host->cache, &k, make_layout, c, drop_layout, item);

	*out = (struct view_fact){ .verdict = VIEW_SAME };
	if (view_is_verdict(rc))
		return view_learn_bad(c->in, c->key, out);
	if (rc < 0 && rc != -EINVAL)
		return rc;
	if (rc == 0) {
		out->verdict = VIEW_MADE;
		out->size = bridge_layout_size(view_item_object(*item));
	}
	if (view_fact_get(c->in->fs, &c->in->src.mark, c->key, &known) == 0) {
		if (known.verdict == out->verdict && known.size == out->size)
			return 0;
		ckpt_log(LOG_NOTICE, "what was remembered of '%s' does not fit it: it is looked at again",
				c->in->path);
	}
	rc = view_learn(c->in, c->key, out);
	if (rc < 0 && out->verdict == VIEW_MADE)
		view_item_put(c->in->fs->host->cache, *item);
	return rc;
}

int view_content_fact(struct view_content *c, bool quick, struct view_fact *out)
{
	struct view_item *item = NULL;
	int rc = view_doc_fact(c->in, quick, out);

	if (rc < 0 || out->verdict != VIEW_MADE)
		return rc;
	if (view_fact_get(c->in->fs, &c->in->src.mark, c->key, out) == 0)
		return 0;
	if (quick)
		return -EAGAIN;
	rc = find_out(c, out, &item);
	if (rc == 0)
		view_item_put(c->in->fs->host->cache, item);
	return rc;
}

/* --- open files -------------------------------------------------------------------------------------- */

struct open_layout {
	struct fs *fs;
	struct view_item *item;
	const struct bridge_layout *layout;
	struct bridge_sources sources;
	size_t n;
	struct view_input in[];
};

static int64_t source_read(void *arg, uint32_t source, uint64_t off, void *buf, size_t len)
{
	struct open_layout *o = arg;

	if (source >= o->n)
		return ckpt_fail(EIO, "a layout of %zu files names the file %u", o->n, source);
	return view_input_read(&o->in[source], off, buf, len);
}

static ssize_t layout_read(struct fs_view_file *f, uint64_t off, void *buf, size_t len)
{
	struct open_layout *o = f->state;

	return bridge_layout_read(o->layout, &o->sources, off, buf, len);
}

static void layout_close(struct fs_view_file *f)
{
	struct open_layout *o = f->state;

	view_item_put(o->fs->host->cache, o->item);
	for (size_t i = 0; i < o->n; i++)
		view_input_release(&o->in[i]);
	free(o);
}

int view_layout_open(struct fs *fs, struct view_input *in, size_t n, struct view_item *layout,
		const struct fs_mark *mark, struct fs_view_file *out)
{
	struct open_layout *o;
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++)
		rc = view_input_open(&in[i]);
	if (rc < 0)
		return rc;
	o = n < SIZE_MAX / sizeof(o->in[0]) / 2 ? malloc(sizeof(*o) + n * sizeof(o->in[0])) : NULL;
	if (!o)
		return ckpt_fail(ENOMEM, "no memory to open a view");
	*o = (struct open_layout){ .fs = fs, .item = layout, .layout = view_item_object(layout), .n = n };
	o->sources = (struct bridge_sources){ .read = source_read, .arg = o };
	for (size_t i = 0; i < n; i++) {
		o->in[i] = in[i];
		in[i] = (struct view_input){ .fs = fs };
	}
	*out = (struct fs_view_file){ .read = layout_read, .close = layout_close, .state = o };
	out->size = bridge_layout_size(o->layout);
	out->mark = *mark;
	return 0;
}

int view_content_open(struct view_content *c, struct fs_view_file *out)
{
	struct view_item *item = NULL;
	struct view_fact fact;
	int rc = view_doc_fact(c->in, false, &fact);

	if (rc == 0 && fact.verdict == VIEW_MADE &&
			(view_fact_get(c->in->fs, &c->in->src.mark, c->key, &fact) < 0 ||
					fact.verdict == VIEW_MADE))
		rc = find_out(c, &fact, &item);
	if (rc < 0)
		return rc;
	if (fact.verdict == VIEW_BAD)
		return view_refuse(c->in, &fact);
	if (fact.verdict == VIEW_SAME)
		return view_input_pass(c->in, out);
	rc = view_layout_open(c->in->fs, c->in, 1, item, &c->mark, out);
	if (rc < 0)
		view_item_put(c->in->fs->host->cache, item);
	return rc;
}
