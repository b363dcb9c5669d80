/*
 * doc_cache.c: files that were understood.
 *
 * A file may be made to take all the memory there is, and nobody is to wait for it but those who look at
 * it: most are understood within LIGHT bytes, as many at a time as ask; the few that need more begin again
 * with a higher limit, one at a time.  Beyond that limit a file counts as not understood.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "view_host.h"

#define LIGHT ((size_t)12 << 20)
#define HEAVY ((size_t)160 << 20)

bool view_is_verdict(int rc)
{
	return rc == -EBADMSG || rc == -ENOTSUP || rc == -EFBIG;
}

/* The version is held first: what is remembered must be about the bytes that it has now. */
int view_learn(struct view_input *in, const char *name, const struct view_fact *fact)
{
	int rc = view_input_open(in);

	if (rc == 0)
		view_fact_put(in->fs, &in->src.mark, name, fact);
	return rc;
}

int view_learn_bad(struct view_input *in, const char *name, struct view_fact *out)
{
	struct view_host *h = in->fs->host;
	struct view_fact said;
	bool first;
	int rc;

	*out = (struct view_fact){ .verdict = VIEW_BAD };
	strncpy(out->text, ckpt_errmsg(), sizeof(out->text) - 1);
	ckpt_mutex_lock(&h->said);
	first = view_fact_get(in->fs, &in->src.mark, "said", &said) < 0;
	rc = first ? view_learn(in, "said", out) : 0;
	pthread_mutex_unlock(&h->said);
	if (rc < 0)
		return rc;
	if (first)
		ckpt_log(LOG_WARNING, "views can't show '%s': %s", in->path, out->text);
	return view_learn(in, name, out);
}

int view_refuse(const struct view_input *in, const struct view_fact *bad)
{
	return ckpt_fail(EIO, "views can't show '%s': %s", in->path, bad->text);
}

static int make_doc(void *arg, void **object, size_t *memory)
{
	struct view_input *in = arg;
	struct bridge_doc *d = NULL;
	uint64_t size;
	int rc = view_input_open(in);

	if (rc < 0)
		return rc;
	size = in->file.size;
	rc = bridge_doc_open(view_input_read, in, size, LIGHT, &d);
	if (rc == -EFBIG) {
		ckpt_mutex_lock(&in->fs->host->large);
		view_cache_spare(in->fs->host->cache);
		rc = bridge_doc_open(view_input_read, in, size, HEAVY, &d);
		pthread_mutex_unlock(&in->fs->host->large);
	}
	if (rc < 0)
		return rc;
	*memory = bridge_doc_memory(d);
	*object = d;
	return 0;
}

static void drop_doc(void *object)
{
	bridge_doc_free(object);
}

int view_doc_get(struct view_input *in, const struct bridge_doc **doc, struct view_item **out)
{
	struct view_key k = { .mark = in->src.mark, .what = VIEW_DOC };
	int rc = view_cache_get(in->fs->host->cache, &k, make_doc, in, drop_doc, out);

	if (rc == 0)
		*doc = view_item_object(*out);
	return rc;
}

/* Where the run had its tensors: of the storages the first that is not on the CPU says it. */
static void device_of(const struct bridge_doc *d, char out[VIEW_TEXT_MAX])
{
	const struct torch_file *f = bridge_doc_torch(d);
	const struct torch_object *o = f ? torch_file_object(f) : NULL;

	out[0] = '\0';
	for (uint32_t i = 0; o && i < torch_storages(o); i++) {
		const struct torch_storage *s = torch_storage_at(o, i);

		if (s->location_len == 0 || s->location_len >= BRIDGE_DEVICE_MAX ||
				(s->location_len == 3 && memcmp(s->location, "cpu", 3) == 0))
			continue;
		memcpy(out, s->location, s->location_len);
		out[s->location_len] = '\0';
		return;
	}
}

int view_doc_fact(struct view_input *in, bool quick, struct view_fact *out)
{
	const struct bridge_doc *d;
	struct view_item *item;
	int rc;

	*out = (struct view_fact){ .verdict = VIEW_SAME };
	if (in->src.mark.version == 0 && in->src.mark.rule == 0)
		return 0; /* empty, or made of nothing that is known */
	if (view_fact_get(in->fs, &in->src.mark, "doc", out) == 0)
		return 0;
	if (quick)
		return -EAGAIN;
	rc = view_doc_get(in, &d, &item);
	if (rc == 0) {
		out->verdict = VIEW_MADE;
		out->size = bridge_doc_size(d);
		device_of(d, out->text);
		view_item_put(in->fs->host->cache, item);
	} else if (view_is_verdict(rc)) {
		return view_learn_bad(in, "doc", out);
	} else if (rc != -EINVAL) {
		return rc;
	}
	return view_learn(in, "doc", out);
}
