/*
 * torch_edit.c: where a pickle says on which device its tensors are, and of which dtype.
 */
#include "codec/torch_edit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "pickle_internal.h"
#include "torch_internal.h"

/* torch.device('cuda', 0) becomes torch.device('cpu'): one argument says all. */
static int edit_device(const struct torch_object *o, uint32_t node, const struct torch_edit_rule *rule,
		struct pickle_edits *e)
{
	char text[128];
	const char *now;
	const uint32_t *a;
	uint32_t n;
	int rc;

	torch_call_of(o, node, &a, &n);
	if (!torch_device_text(o, node, text, sizeof text))
		return 0;
	now = rule->device(rule->arg, text);
	if (now == NULL || strcmp(now, text) == 0)
		return 0;
	rc = n > 1 ? pickle_edit_shorten(e, pickle_call(o->g, node)->args, 1) : 0;
	return rc < 0 ? rc : pickle_edit_text(e, a[0], now, strlen(now));
}

/* args[2] of a rebuild function, a string. */
static int edit_argument(const struct torch_object *o, uint32_t raw, const struct torch_edit_rule *rule,
		struct pickle_edits *e)
{
	char text[128];
	const char *p, *now;
	size_t len;

	p = pickle_text(o->g, raw, &len);
	if (pickle_kind_of(o->g, raw) != PICKLE_STR || len >= sizeof text)
		return 0;
	memcpy(text, p, len);
	text[len] = '\0';
	now = rule->device(rule->arg, text);
	return now == NULL || strcmp(now, text) == 0 ? 0 : pickle_edit_text(e, raw, now, strlen(now));
}

int torch_edit_devices(
		const struct torch_object *o, const struct torch_edit_rule *rule, struct pickle_edits *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < o->mentions; i++) {
		const struct torch_mention *m = &o->mention[i];
		const char *now = rule->storage(rule->arg, m->storage), *p;
		size_t len;

		if (now == NULL)
			continue;
		p = pickle_text(o->g, m->location_ref, &len);
		if (!pickle_same(p, len, now, strlen(now)))
			rc = pickle_edit_text(e, m->location_ref, now, strlen(now));
	}
	for (uint32_t i = 0; rc == 0 && rule->device != NULL && i < o->g->nodes; i++) {
		const uint32_t *a;
		uint32_t n;

		if (o->g->node[i].kind != PICKLE_REDUCE)
			continue;
		switch (torch_call_of(o, i, &a, &n)) {
		case KNOWN_DEVICE:
			rc = edit_device(o, i, rule, e);
			break;
		case KNOWN_DEVICE_CPU:
		case KNOWN_DEVICE_NUMPY:
			if (n > 2)
				rc = edit_argument(o, a[2], rule, e);
			break;
		default:
			break;
		}
	}
	return rc;
}

int torch_edit_dtypes(const struct torch_object *o, int (*dtype)(void *arg, uint32_t storage), void *arg,
		struct pickle_edits *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < o->mentions; i++) {
		const struct torch_mention *m = &o->mention[i];
		int now = dtype(arg, m->storage), was = o->dtype[pickle_global_of(o->g, m->dtype_ref)];

		if (now < 0 || now == was)
			continue;
		if (now >= TORCH_UNTYPED || was == TORCH_UNTYPED ||
				torch_dtype_info((enum torch_dtype)now)->storage == NULL)
			return ckpt_fail(EINVAL, "a storage whose element type can't be exchanged");
		rc = pickle_edit_global(
				e, m->dtype_ref, "torch", torch_dtype_info((enum torch_dtype)now)->storage);
	}
	return rc;
}

int torch_edit_keys(const struct torch_object *o, const uint32_t *key, struct pickle_edits *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < o->mentions; i++) {
		const struct torch_mention *m = &o->mention[i];
		char text[16];
		int n;

		if (key[m->storage] == PICKLE_NIL)
			continue;
		n = snprintf(text, sizeof text, "%u", key[m->storage]);
		rc = pickle_edit_text(e, m->key_ref, text, (size_t)n);
	}
	return rc;
}

int torch_edit_ids(const struct torch_object *o, struct pickle_edits *e)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < o->g->nodes; i++) {
		uint32_t id, n;
		const uint32_t *c;

		if (o->g->node[i].kind != PICKLE_PERSID)
			continue;
		id = pickle_persid(o->g, i);
		c = pickle_children(o->g, id, &n);
		if (n == 6 && pickle_is_text(o->g, c[0], "storage"))
			rc = pickle_edit_shorten(e, id, 5);
		else if (n == 4 && pickle_is_text(o->g, c[0], "module"))
			rc = pickle_edit_value(e, i, c[1]);
	}
	return rc;
}
