/*
 * torch_value.c: values as people know them: dicts, lists, numbers, devices, arrays, whatever calls and opcodes the
 * protocol needed to write them.
 */
#include "codec/torch_object.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "pickle_internal.h"
#include "torch_internal.h"

static enum torch_kind kind_of_call(const struct torch_object *o, uint32_t ref)
{
	const struct pickle_call *c = pickle_call(o->g, ref);
	const uint32_t *a;
	uint32_t n;

	if (torch_tensor_of(o, ref) != NULL)
		return TORCH_IS_TENSOR;
	switch (torch_call_of(o, ref, &a, &n)) {
	case KNOWN_SIZE:
		return TORCH_IS_SIZE;
	case KNOWN_DEVICE:
		return TORCH_IS_DEVICE;
	case KNOWN_ORDERED_DICT:
	case KNOWN_DICT:
		return n == 0 ? TORCH_IS_DICT : TORCH_IS_OBJECT;
	case KNOWN_DEFAULT_DICT:
		return n < 2 ? TORCH_IS_DICT : TORCH_IS_OBJECT;
	case KNOWN_COUNTER:
		return n == 0 || (n == 1 && pickle_kind_of(o->g, a[0]) == PICKLE_DICT) ? TORCH_IS_DICT
										       : TORCH_IS_OBJECT;
	case KNOWN_DEQUE:
	case KNOWN_LIST:
		return TORCH_IS_LIST;
	case KNOWN_SET:
		return TORCH_IS_SET;
	case KNOWN_ENCODE:
	case KNOWN_BYTES:
	case KNOWN_BYTEARRAY:
		return c->callable != PICKLE_NIL && pickle_node(o->g, pickle_target(o->g, ref))->kind ==
								       PICKLE_REDUCE
				       ? TORCH_IS_BYTES
				       : TORCH_IS_OBJECT;
	case KNOWN_COMPLEX:
		return TORCH_IS_COMPLEX;
	case KNOWN_NP_RECONSTRUCT:
	case KNOWN_NP_FROMBUFFER:
		return TORCH_IS_ARRAY;
	case KNOWN_NP_SCALAR:
		return TORCH_IS_SCALAR;
	default:
		return TORCH_IS_OBJECT;
	}
}

enum torch_kind torch_kind_of(const struct torch_object *o, uint32_t ref)
{
	switch (pickle_kind_of(o->g, ref)) {
	case PICKLE_NONE:
		return TORCH_IS_NONE;
	case PICKLE_BOOL:
		return TORCH_IS_BOOL;
	case PICKLE_INT:
	case PICKLE_LONG:
		return TORCH_IS_INT;
	case PICKLE_FLOAT:
		return TORCH_IS_FLOAT;
	case PICKLE_STR:
	case PICKLE_STR8:
		return TORCH_IS_STR;
	case PICKLE_BYTES:
	case PICKLE_BYTEARRAY:
		return TORCH_IS_BYTES;
	case PICKLE_TUPLE:
		return TORCH_IS_TUPLE;
	case PICKLE_SET:
	case PICKLE_FROZENSET:
		return TORCH_IS_SET;
	case PICKLE_LIST:
		return TORCH_IS_LIST;
	case PICKLE_DICT:
		return TORCH_IS_DICT;
	case PICKLE_GLOBAL:
		return torch_known_of(o, ref) == KNOWN_DTYPE ? TORCH_IS_DTYPE : TORCH_IS_GLOBAL;
	case PICKLE_PERSID:
		return torch_mention_of(o, ref) != NULL ? TORCH_IS_STORAGE : TORCH_IS_OTHER;
	case PICKLE_REDUCE:
	case PICKLE_NEWOBJ:
	case PICKLE_NEWOBJ_EX:
		return kind_of_call(o, ref);
	case PICKLE_ALIAS:
		break;
	}
	return TORCH_IS_OTHER;
}

int64_t torch_class_of(const struct torch_object *o, uint32_t ref)
{
	const struct pickle_call *c = pickle_call(o->g, ref);

	if (c == NULL)
		return -1;
	return pickle_global_of(o->g, c->callable);
}

/* ---- going through --------------------------------------------------------------------------------------------- */

static void start_fills(struct torch_iter *it, uint32_t ref)
{
	it->fill_on = pickle_first_fill(it->o->g, ref, &it->fill);
	it->at = 0;
}

static void start_child(
		struct torch_iter *it, const uint32_t *child, uint32_t count, enum torch_relation relation)
{
	it->child = child;
	it->count = count;
	it->relation = relation;
}

/* What stands in the arguments of a call: the items of a set, a Counter or an old deque, or just arguments. */
static void start_call(struct torch_iter *it, uint32_t ref, enum torch_kind kind)
{
	const uint32_t *a;
	uint32_t n;
	enum torch_known known = torch_call_of(it->o, ref, &a, &n);
	bool holds = (kind == TORCH_IS_SET || kind == TORCH_IS_LIST || known == KNOWN_COUNTER) && n > 0;

	if (kind == TORCH_IS_OBJECT)
		start_child(it, a, n, TORCH_ARG);
	if (kind == TORCH_IS_SIZE && n == 1) {
		const uint32_t *dims = pickle_children(it->o->g, a[0], &n);

		start_child(it, dims, n, TORCH_INDEX);
	}
	if (holds) {
		const uint32_t *c = pickle_children(it->o->g, a[0], &n);

		if (c != NULL)
			start_child(it, c, n, TORCH_INDEX);
		it->rest = ref;
		ref = a[0];
	}
	start_fills(it, ref);
}

void torch_iter_init(const struct torch_object *o, uint32_t ref, struct torch_iter *it)
{
	enum torch_kind kind = torch_kind_of(o, ref);
	const uint32_t *c;
	uint32_t n;

	memset(it, 0, sizeof *it);
	it->o = o;
	it->rest = it->slots = PICKLE_NIL;
	switch (kind) {
	case TORCH_IS_TENSOR:
	case TORCH_IS_STORAGE:
	case TORCH_IS_ARRAY:
	case TORCH_IS_SCALAR:
	case TORCH_IS_DEVICE:
	case TORCH_IS_BYTES:
	case TORCH_IS_COMPLEX:
		return; /* wholes; their arguments are nobody's items */
	default:
		break;
	}
	if (pickle_call(o->g, ref) != NULL) {
		start_call(it, ref, kind);
		return;
	}
	c = pickle_children(o->g, ref, &n);
	start_child(it, c, n, TORCH_INDEX);
	start_fills(it, ref);
}

/* The state of an object: a dict of attributes, (dict or None, dict of slots), or something of its own. */
static bool start_state(struct torch_iter *it, uint32_t state)
{
	const struct pickle *g = it->o->g;
	uint32_t n;
	const uint32_t *c;

	it->attrs_at = 0;
	if (pickle_kind_of(g, state) == PICKLE_DICT) {
		it->attrs_on = pickle_first_fill(g, state, &it->attrs);
		return true;
	}
	c = pickle_children(g, state, &n);
	if (n != 2 || pickle_kind_of(g, c[1]) != PICKLE_DICT ||
			(pickle_kind_of(g, c[0]) != PICKLE_DICT && pickle_kind_of(g, c[0]) != PICKLE_NONE))
		return false;
	it->slots = c[1];
	it->attrs_on = pickle_first_fill(g, c[0], &it->attrs);
	if (!it->attrs_on) {
		it->attrs_on = pickle_first_fill(g, c[1], &it->attrs);
		it->slots = PICKLE_NIL;
	}
	return true;
}

static bool next_attr(struct torch_iter *it, struct torch_item *item)
{
	while (it->attrs_on) {
		if (it->attrs_at + 1 < it->attrs.count) {
			const uint32_t *pair = it->attrs.child + it->attrs_at;

			it->attrs_at += 2;
			*item = (struct torch_item){ TORCH_ATTR, pair[0], pair[1] };
			return true;
		}
		it->attrs_at = 0;
		it->attrs_on = pickle_next_fill(it->o->g, &it->attrs);
		if (!it->attrs_on && it->slots != PICKLE_NIL) {
			it->attrs_on = pickle_first_fill(it->o->g, it->slots, &it->attrs);
			it->slots = PICKLE_NIL;
		}
	}
	return false;
}

bool torch_iter_next(struct torch_iter *it, struct torch_item *item)
{
	if (it->child_at < it->count) {
		*item = (struct torch_item){ it->relation, it->child_at, it->child[it->child_at] };
		it->child_at++;
		return true;
	}
	for (;;) {
		if (next_attr(it, item))
			return true;
		if (!it->fill_on) {
			if (it->rest == PICKLE_NIL)
				return false;
			start_fills(it, it->rest);
			it->rest = PICKLE_NIL;
			continue;
		}
		if (it->at >= it->fill.count) {
			it->at = 0;
			it->fill_on = pickle_next_fill(it->o->g, &it->fill);
			continue;
		}
		switch (it->fill.kind) {
		case PICKLE_FILL_ITEMS:
			*item = (struct torch_item){ TORCH_KEY, it->fill.child[it->at],
				it->fill.child[it->at + 1] };
			it->at += 2;
			return true;
		case PICKLE_FILL_STATE:
			*item = (struct torch_item){ TORCH_STATE, 0, it->fill.child[it->at++] };
			if (!start_state(it, item->value))
				return true;
			break;
		default:
			*item = (struct torch_item){ TORCH_INDEX, it->index++, it->fill.child[it->at++] };
			return true;
		}
	}
}

uint32_t torch_lookup(const struct torch_object *o, uint32_t ref, const char *key)
{
	struct torch_iter it;
	struct torch_item item;
	uint32_t found = PICKLE_NIL;

	torch_iter_init(o, ref, &it);
	while (torch_iter_next(&it, &item))
		if ((item.relation == TORCH_KEY || item.relation == TORCH_ATTR) &&
				pickle_is_text(o->g, item.key, key))
			found = item.value;
	return found;
}

/* ---- single values --------------------------------------------------------------------------------------------- */

/* Bytes at protocol 2: _codecs.encode(text, 'latin1'), each byte a code point below 256. */
static int from_latin1(const char *p, size_t len, struct byte_buf *out)
{
	size_t was = out->len;
	int rc = byte_buf_reserve(out, len);

	for (size_t i = 0; rc == 0 && i < len; i++) {
		uint8_t c = (uint8_t)p[i];

		if (c >= 0x80) {
			if ((c != 0xc2 && c != 0xc3) || i + 1 == len || ((uint8_t)p[i + 1] & 0xc0) != 0x80) {
				out->len = was;
				return ckpt_fail(EINVAL, "bytes that are no latin-1 text");
			}
			c = (uint8_t)(c << 6 | ((uint8_t)p[++i] & 0x3f));
		}
		out->p[out->len++] = c;
	}
	return rc;
}

int torch_bytes(const struct torch_object *o, uint32_t ref, struct byte_buf *out)
{
	/* A bytearray is made from bytes, these from text: never more than two calls deep. */
	for (int i = 0; i < 3; i++) {
		enum pickle_kind kind = pickle_kind_of(o->g, ref);
		size_t len;
		const char *p = pickle_text(o->g, ref, &len);
		const uint32_t *a;
		uint32_t n;
		enum torch_known known;

		if (kind == PICKLE_BYTES || kind == PICKLE_BYTEARRAY || kind == PICKLE_STR8)
			return byte_buf_put(out, p, len);
		known = torch_call_of(o, ref, &a, &n);
		if (known == KNOWN_ENCODE && n == 2 && pickle_kind_of(o->g, a[0]) == PICKLE_STR &&
				(pickle_is_text(o->g, a[1], "latin1") ||
						pickle_is_text(o->g, a[1], "latin-1"))) {
			p = pickle_text(o->g, a[0], &len);
			return from_latin1(p, len, out);
		}
		if ((known != KNOWN_BYTES && known != KNOWN_BYTEARRAY) || n > 1)
			break;
		if (n == 0)
			return 0;
		ref = a[0];
	}
	return ckpt_fail(EINVAL, "bytes written in a way that is not known");
}

bool torch_device_text(const struct torch_object *o, uint32_t ref, char *out, size_t out_room)
{
	const uint32_t *a;
	uint32_t n;
	size_t len;
	const char *p;
	int64_t index;
	int k;

	if (torch_call_of(o, ref, &a, &n) != KNOWN_DEVICE || n < 1 || n > 2 ||
			pickle_kind_of(o->g, a[0]) != PICKLE_STR)
		return false;
	p = pickle_text(o->g, a[0], &len);
	if (memchr(p, '\0', len) != NULL || len >= out_room)
		return false;
	if (n == 2 && pickle_kind_of(o->g, a[1]) != PICKLE_NONE) {
		if (!pickle_int(o->g, a[1], &index))
			return false;
		k = snprintf(out, out_room, "%.*s:%lld", (int)len, p, (long long)index);
	} else {
		k = snprintf(out, out_room, "%.*s", (int)len, p);
	}
	return k >= 0 && (size_t)k < out_room;
}

/* numpy.dtype('f8', False, True) with the state (3, '<', None, ...): the descr "<f8". */
static bool array_dtype(const struct torch_object *o, uint32_t ref, char descr[16])
{
	const uint32_t *a, *s;
	uint32_t n, k;
	struct pickle_fill f;
	const char *p, *order = "|";
	size_t len, order_len;

	if (torch_call_of(o, ref, &a, &n) != KNOWN_NP_DTYPE || n < 1)
		return false;
	p = pickle_text(o->g, a[0], &len);
	if (p == NULL || len < 2 || len > 12 || memchr("biufcSUV", p[0], 8) == NULL)
		return false;
	for (size_t i = 1; i < len; i++)
		if (p[i] < '0' || p[i] > '9')
			return false;
	if (pickle_first_fill(o->g, ref, &f) && f.kind == PICKLE_FILL_STATE) {
		s = pickle_children(o->g, f.child[0], &k);
		if (k < 5)
			return false;
		order = pickle_text(o->g, s[1], &order_len);
		if (order == NULL || order_len != 1 || memchr("<>|=", order[0], 4) == NULL ||
				pickle_kind_of(o->g, s[3]) != PICKLE_NONE ||
				pickle_kind_of(o->g, s[4]) != PICKLE_NONE)
			return false; /* of several fields */
	}
	snprintf(descr, 16, "%c%.*s", order[0], (int)len, p);
	return true;
}

static bool array_shape(const struct torch_object *o, uint32_t ref, struct torch_array *out)
{
	const uint32_t *c;
	uint32_t n;

	c = pickle_children(o->g, ref, &n);
	if (c == NULL || n > TORCH_DIMS_MAX)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		int64_t v;

		if (!pickle_int(o->g, c[i], &v) || v < 0)
			return false;
		out->size[i] = (uint64_t)v;
	}
	out->ndim = n;
	return true;
}

bool torch_array(const struct torch_object *o, uint32_t ref, struct torch_array *out)
{
	const uint32_t *a, *s;
	uint32_t n, k;
	int64_t fortran;
	struct pickle_fill f;

	memset(out, 0, sizeof *out);
	out->data = PICKLE_NIL;
	switch (torch_call_of(o, ref, &a, &n)) {
	case KNOWN_NP_SCALAR: /* dtype, bytes */
		if (n != 2 || !array_dtype(o, a[0], out->descr))
			return false;
		out->data = a[1];
		return torch_kind_of(o, a[1]) == TORCH_IS_BYTES || pickle_kind_of(o->g, a[1]) == PICKLE_STR8;
	case KNOWN_NP_FROMBUFFER: /* buffer, dtype, shape, order */
		if (n != 4 || !array_dtype(o, a[1], out->descr) || !array_shape(o, a[2], out))
			return false;
		out->fortran = pickle_is_text(o->g, a[3], "F");
		out->data = a[0];
		return torch_kind_of(o, a[0]) == TORCH_IS_BYTES;
	case KNOWN_NP_RECONSTRUCT: /* and the state: version, shape, dtype, is fortran, data */
		if (!pickle_first_fill(o->g, ref, &f) || f.kind != PICKLE_FILL_STATE)
			return false;
		s = pickle_children(o->g, f.child[0], &k);
		if (k != 5 || !array_shape(o, s[1], out) || !array_dtype(o, s[2], out->descr) ||
				!pickle_int(o->g, s[3], &fortran))
			return false;
		out->fortran = fortran != 0;
		out->data = s[4];
		return torch_kind_of(o, s[4]) == TORCH_IS_BYTES || pickle_kind_of(o->g, s[4]) == PICKLE_STR8;
	default:
		return false;
	}
}
