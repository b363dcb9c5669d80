/*
 * torch_edit.c: where a pickle says on which device its tensors are, and of which dtype.
 */
#include "codec/torch_edit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

/*
 * The devices of generators, as a bit for each node; *out is NULL where there is no generator. It is the call
 * that takes a device, after it, that tells.
 */
static int generator_devices(const struct torch_object *o, uint8_t **out)
{
	uint8_t *bits = NULL;
	int64_t generator = -1;

	for (uint32_t i = 0; i < pickle_globals(o->g); i++)
		if (pickle_is_global(o->g, pickle_global_at(o->g, i)->first, "torch._C", "Generator"))
			generator = i;
	for (uint32_t i = 0; generator >= 0 && i < o->g->nodes; i++) {
		const struct pickle_call *c = pickle_call(o->g, i);
		const uint32_t *a;
		uint32_t n, device;

		if (c == NULL || pickle_global_of(o->g, c->callable) != generator)
			continue;
		if (bits == NULL)
			bits = calloc(o->g->nodes / 8 + 1, 1);
		if (bits == NULL)
			return ckpt_fail(ENOMEM, "out of memory for the devices of a pickle");
		a = pickle_children(o->g, c->args, &n);
		for (uint32_t k = 0; k < n; k++) {
			device = pickle_target(o->g, a[k]);
			bits[device / 8] |= (uint8_t)(1 << device % 8);
		}
	}
	*out = bits;
	return 0;
}

/* Devices that are not a storage's. */
static int edit_others(
		const struct torch_object *o, const struct torch_edit_rule *rule, struct pickle_edits *e)
{
	uint8_t *generator = NULL;
	int rc = generator_devices(o, &generator);

	for (uint32_t i = 0; rc == 0 && i < o->g->nodes; i++) {
		const uint32_t *a;
		uint32_t n;

		if (o->g->node[i].kind != PICKLE_REDUCE)
			continue;
		switch (torch_call_of(o, i, &a, &n)) {
		case KNOWN_DEVICE:
			if (generator == NULL || (generator[i / 8] >> i % 8 & 1) == 0)
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
	free(generator);
	return rc;
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
	return rc < 0 || rule->device == NULL ? rc : edit_others(o, rule, e);
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

int torch_edit_bare_dtypes(const struct torch_object *o, int (*dtype)(void *arg, enum torch_dtype was),
		void *arg, struct pickle_edits *e)
{
	for (uint32_t i = 0; i < o->tensors; i++) {
		const struct torch_tensor *t = &o->tensor[i];
		const uint32_t *a;
		uint32_t n, at;
		enum torch_known known;
		int now, rc;

		if (t->kind != TORCH_META && t->kind != TORCH_COPY && t->kind != TORCH_WRAPPER)
			continue;
		known = torch_call_of(o, t->node, &a, &n);
		for (int k = 0; known == KNOWN_FROM_TYPE && k < 4 && n > 2; k++) {
			known = torch_known_of(o, a[0]);
			a = pickle_children(o->g, a[2], &n);
		}
		if (known != KNOWN_META && known != KNOWN_DEVICE_CPU && known != KNOWN_DEVICE_NUMPY &&
				known != KNOWN_WRAPPER)
			continue; /* a Parameter of such a tensor, which has its own turn */
		at = known == KNOWN_META ? 0 : 1;
		if (at >= n || torch_known_of(o, a[at]) != KNOWN_DTYPE)
			continue;
		now = dtype(arg, (enum torch_dtype)t->dtype);
		if (now < 0 || now == t->dtype)
			continue;
		rc = pickle_edit_global(e, a[at], "torch", torch_dtype_info((enum torch_dtype)now)->name);
		if (rc < 0)
			return rc;
	}
	return 0;
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
