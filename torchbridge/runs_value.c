/*
 * runs_value.c: a value of a checkpoint as JSON, and as a number.
 *
 * dicts are objects (keys that are no strings as their text), lists, tuples and sets arrays; an object with
 * attributes (a Namespace, a dataclass) is an object of them, a member of an enum its value; tensors and numpy
 * arrays of a few numbers are arrays of them, larger ones say what they are ("float32[512, 3]"), as do classes
 * and calls.  A value that is shared is written wherever it stands, so the output and the depth are bounded,
 * not the input.
 */
#include "runs_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum { FEW = 4096 /* bytes of a tensor that is written out */ };

int runs_json_string(struct byte_buf *out, const char *p, size_t len)
{
	const uint8_t *s = (const uint8_t *)p;
	int rc = byte_buf_put(out, "\"", 1);

	for (size_t i = 0; i < len && rc == 0;) {
		size_t n = s[i] < 0x80                   ? 1
			   : s[i] >= 0xc2 && s[i] < 0xe0 ? 2
			   : s[i] >= 0xe0 && s[i] < 0xf0 ? 3
			   : s[i] >= 0xf0 && s[i] < 0xf5 ? 4
							 : 0;

		for (size_t k = 1; k < n; k++)
			if (i + k >= len || (s[i + k] & 0xc0) != 0x80)
				n = 0;
		/* Overlong forms, surrogates, beyond U+10FFFF. */
		if (n >= 3 && ((s[i] == 0xe0 && s[i + 1] < 0xa0) || (s[i] == 0xed && s[i + 1] >= 0xa0) ||
					      (s[i] == 0xf0 && s[i + 1] < 0x90) ||
					      (s[i] == 0xf4 && s[i + 1] >= 0x90)))
			n = 0;
		if (n == 0)
			rc = byte_buf_text(out, "\\ufffd"), n = 1;
		else if (s[i] == '"' || s[i] == '\\')
			rc = byte_buf_format(out, "\\%c", s[i]);
		else if (s[i] == '\n')
			rc = byte_buf_text(out, "\\n");
		else if (s[i] < 0x20 || s[i] == 0x7f)
			rc = byte_buf_format(out, "\\u%04x", s[i]);
		else
			rc = byte_buf_put(out, s + i, n);
		i += n;
	}
	return rc < 0 ? rc : byte_buf_put(out, "\"", 1);
}

int runs_json_number(struct byte_buf *out, double v)
{
	char text[40];

	if (!isfinite(v))
		return byte_buf_text(out, "null");
	if (v == floor(v) && fabs(v) < 1e15)
		return byte_buf_format(out, "%.1f", v);
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			break;
	}
	return byte_buf_text(out, text);
}

/*
 * ---- numbers
 * -------------------------------------------------------------------------------------------------------
 */

static double half(uint16_t h)
{
	int e = h >> 10 & 31;
	double m = h & 0x3ff, v;

	if (e == 31)
		v = m != 0 ? (double)NAN : (double)INFINITY;
	else
		v = e == 0 ? ldexp(m, -24) : ldexp(m + 1024, e - 25);
	return h >> 15 ? -v : v;
}

/*
 * The number that the shortest text of a float stands for: 0.1f is 0.1, as torch prints it, and not
 * 0.10000000149011612.
 */
static double plain(float f)
{
	char text[32];

	if (!isfinite(f))
		return (double)f;
	for (int digits = 6; digits <= 9; digits++) {
		snprintf(text, sizeof text, "%.*g", digits, (double)f);
		if (strtof(text, NULL) == f)
			break;
	}
	return strtod(text, NULL);
}

/* An element of a plain dtype. False for those that are no numbers. */
static bool element(int dtype, const uint8_t *p, double *out)
{
	uint64_t u = 0;
	float f;
	size_t width = torch_dtype_info((enum torch_dtype)dtype)->width;

	memcpy(&u, p, width <= 8 ? width : 8);
	switch (dtype) {
	case TORCH_FLOAT64:
		memcpy(out, &u, 8);
		return true;
	case TORCH_BFLOAT16:
		u <<= 16;
		/* fall through */
	case TORCH_FLOAT32:
		memcpy(&f, &u, 4);
		*out = plain(f);
		return true;
	case TORCH_FLOAT16:
		*out = half((uint16_t)u);
		return true;
	case TORCH_INT8:
		*out = (int8_t)u;
		return true;
	case TORCH_INT16:
		*out = (int16_t)u;
		return true;
	case TORCH_INT32:
		*out = (int32_t)u;
		return true;
	case TORCH_INT64:
		*out = (double)(int64_t)u;
		return true;
	case TORCH_BOOL:
	case TORCH_UINT8:
	case TORCH_UINT16:
	case TORCH_UINT32:
	case TORCH_UINT64:
		*out = (double)u;
		return true;
	default:
		return false;
	}
}

static int dtype_of_numpy(const char *descr)
{
	for (int i = 0; i < TORCH_UNTYPED; i++) {
		const char *n = torch_dtype_info((enum torch_dtype)i)->numpy;

		if (n != NULL && strcmp(n, descr) == 0)
			return i;
	}
	return -1;
}

/* The elements of a small dense tensor, in row-major order: *bytes is appended to. False: it is none. */
static bool small_tensor(const struct torch_file *f, struct runs_reader *r, uint32_t ref,
		struct byte_buf *bytes, int *dtype, uint64_t *count)
{
	const struct torch_object *o = torch_file_object(f);
	const struct torch_tensor *t = torch_tensor_of(o, ref);
	uint64_t off, len, size;

	if (t == NULL || t->kind != TORCH_STRIDED || !torch_contiguous(o, t) || t->count == 0 ||
			t->count > FEW / 8)
		return false;
	size = t->count * torch_dtype_info((enum torch_dtype)t->dtype)->width;
	if (torch_file_tensor(f, t, runs_read, r, &off, &len) < 0 || len < size ||
			byte_buf_reserve(bytes, size) < 0)
		return false;
	if (zip_read_full(runs_read, r, off, bytes->p + bytes->len, size) < 0)
		return false;
	bytes->len += size;
	*dtype = t->dtype;
	*count = t->count;
	return true;
}

/* The same of a numpy array or scalar. */
static bool small_array(const struct torch_file *f, uint32_t ref, struct byte_buf *bytes, int *dtype,
		uint64_t *count, struct torch_array *a)
{
	const struct torch_object *o = torch_file_object(f);
	uint64_t n = 1;

	if (!torch_array(o, ref, a) || a->data == PICKLE_NIL)
		return false;
	*dtype = dtype_of_numpy(a->descr);
	for (uint32_t i = 0; i < a->ndim; i++)
		if (__builtin_mul_overflow(n, a->size[i], &n) || n > FEW / 8)
			return false;
	if (*dtype < 0 || n == 0 || torch_bytes(o, a->data, bytes) < 0)
		return false;
	*count = n;
	return bytes->len == n * torch_dtype_info((enum torch_dtype) * dtype)->width;
}

bool runs_number(const struct torch_file *f, struct runs_reader *r, uint32_t ref, double *out)
{
	const struct torch_object *o = torch_file_object(f);
	const struct pickle *g = torch_file_graph(f);
	struct byte_buf bytes = { 0 };
	struct torch_array a;
	uint64_t count = 0;
	int64_t v;
	int dtype = -1;
	bool ok = false;

	switch (torch_kind_of(o, ref)) {
	case TORCH_IS_BOOL:
	case TORCH_IS_INT:
		ok = pickle_int(g, ref, &v);
		if (ok)
			*out = (double)v;
		return ok;
	case TORCH_IS_FLOAT:
		*out = pickle_float(g, ref);
		return true;
	case TORCH_IS_TENSOR:
		ok = small_tensor(f, r, ref, &bytes, &dtype, &count);
		break;
	case TORCH_IS_ARRAY:
	case TORCH_IS_SCALAR:
		ok = small_array(f, ref, &bytes, &dtype, &count, &a);
		break;
	default:
		return false;
	}
	ok = ok && count == 1 && element(dtype, bytes.p, out);
	byte_buf_release(&bytes);
	return ok;
}

/*
 * ---- JSON
 * ----------------------------------------------------------------------------------------------------------
 */

static int what_it_is(const struct torch_object *o, uint32_t ref, struct byte_buf *out)
{
	const struct torch_tensor *t = torch_tensor_of(o, ref);
	int64_t number = torch_class_of(o, ref);
	int rc;

	if (t != NULL) {
		rc = byte_buf_format(out, "\"%s[", torch_dtype_info((enum torch_dtype)t->dtype)->name);
		for (uint32_t i = 0; i < t->ndim && rc == 0; i++)
			rc = byte_buf_format(out, "%s%llu", i > 0 ? ", " : "",
					(unsigned long long)torch_size(o, t)[i]);
		return rc < 0 ? rc : byte_buf_text(out, "]\"");
	}
	if (number < 0 && torch_kind_of(o, ref) == TORCH_IS_GLOBAL)
		number = pickle_global_of(torch_graph(o), ref);
	if (number >= 0) {
		const struct pickle_global *g = pickle_global_at(torch_graph(o), (uint32_t)number);
		struct byte_buf text = { 0 };

		rc = byte_buf_format(
				&text, "%.*s.%.*s", (int)g->module_len, g->module, (int)g->name_len, g->name);
		if (rc == 0)
			rc = runs_json_string(out, (char *)text.p, text.len);
		byte_buf_release(&text);
		return rc;
	}
	return byte_buf_text(out, "null");
}

static int array(int dtype, const uint8_t *p, uint64_t count, bool scalar, struct byte_buf *out)
{
	size_t width = torch_dtype_info((enum torch_dtype)dtype)->width;
	int rc = scalar ? 0 : byte_buf_text(out, "[");

	for (uint64_t i = 0; i < count && rc == 0; i++) {
		double v = NAN;

		if (i > 0)
			rc = byte_buf_text(out, ", ");
		element(dtype, p + i * width, &v);
		if (rc == 0 && dtype == TORCH_BOOL)
			rc = byte_buf_text(out, v != 0 ? "true" : "false");
		else if (rc == 0 && !torch_dtype_info((enum torch_dtype)dtype)->floating && isfinite(v))
			rc = byte_buf_format(out, "%.0f", v);
		else if (rc == 0)
			rc = runs_json_number(out, v);
	}
	return rc < 0 || scalar ? rc : byte_buf_text(out, "]");
}

/* What an object was made of that is made of one string or number alone, as a member of an enum is; else `ref`. */
static uint32_t made_of(const struct torch_object *o, uint32_t ref)
{
	struct torch_iter it;
	struct torch_item item, more;
	int kind;

	torch_iter_init(o, ref, &it);
	if (torch_kind_of(o, ref) != TORCH_IS_OBJECT || !torch_iter_next(&it, &item) ||
			item.relation != TORCH_ARG || torch_iter_next(&it, &more))
		return ref;
	kind = torch_kind_of(o, item.value);
	return kind == TORCH_IS_STR || kind == TORCH_IS_INT || kind == TORCH_IS_FLOAT || kind == TORCH_IS_BOOL
			       ? item.value
			       : ref;
}

static int leaf(const struct torch_file *f, struct runs_reader *r, uint32_t ref, struct byte_buf *out)
{
	const struct torch_object *o = torch_file_object(f);
	const struct pickle *g = torch_file_graph(f);
	struct byte_buf bytes = { 0 };
	struct torch_array a = { 0 };
	const char *text;
	char device[64];
	uint64_t count;
	size_t len;
	int64_t i;
	int dtype, rc = 0;

	ref = made_of(o, ref);
	switch (torch_kind_of(o, ref)) {
	case TORCH_IS_NONE:
		return byte_buf_text(out, "null");
	case TORCH_IS_BOOL:
		pickle_int(g, ref, &i);
		return byte_buf_text(out, i != 0 ? "true" : "false");
	case TORCH_IS_INT:
		if (pickle_int(g, ref, &i))
			return byte_buf_format(out, "%lld", (long long)i);
		return byte_buf_text(out, "null");
	case TORCH_IS_FLOAT:
		return runs_json_number(out, pickle_float(g, ref));
	case TORCH_IS_STR:
		text = pickle_text(g, ref, &len);
		return runs_json_string(out, text, len);
	case TORCH_IS_BYTES:
		rc = torch_bytes(o, ref, &bytes);
		rc = rc < 0 ? byte_buf_text(out, "null") : runs_json_string(out, (char *)bytes.p, bytes.len);
		byte_buf_release(&bytes);
		return rc;
	case TORCH_IS_DEVICE:
		return torch_device_text(o, ref, device, sizeof device)
				       ? runs_json_string(out, device, strlen(device))
				       : byte_buf_text(out, "null");
	case TORCH_IS_TENSOR:
		if (small_tensor(f, r, ref, &bytes, &dtype, &count) &&
				element(dtype, bytes.p, &(double){ 0 }))
			rc = array(dtype, bytes.p, count, torch_tensor_of(o, ref)->ndim == 0, out);
		else
			rc = what_it_is(o, ref, out);
		break;
	case TORCH_IS_ARRAY:
	case TORCH_IS_SCALAR:
		if (small_array(f, ref, &bytes, &dtype, &count, &a) &&
				element(dtype, bytes.p, &(double){ 0 }))
			rc = array(dtype, bytes.p, count, a.ndim == 0, out);
		else
			rc = what_it_is(o, ref, out);
		break;
	default:
		return what_it_is(o, ref, out);
	}
	byte_buf_release(&bytes);
	return rc;
}

struct level {
	struct torch_iter it;
	const uint32_t *pair; /* of the pairs at the top: those left */
	size_t pairs;
	bool object, first;
};

static int indent(struct byte_buf *out, size_t depth)
{
	int rc = byte_buf_text(out, "\n");

	return rc < 0 ? rc : byte_buf_fill(out, ' ', 2 * depth);
}

/* A key of an object: its text, or the JSON of what it is otherwise, as a string. */
static int key(const struct torch_file *f, struct runs_reader *r, uint32_t ref, struct byte_buf *out)
{
	struct byte_buf text = { 0 };
	const char *s;
	size_t len;
	int rc;

	if (torch_kind_of(torch_file_object(f), ref) == TORCH_IS_STR) {
		s = pickle_text(torch_file_graph(f), ref, &len);
		rc = runs_json_string(out, s, len);
	} else {
		rc = leaf(f, r, ref, &text);
		if (rc == 0)
			rc = runs_json_string(out, (char *)text.p, text.len);
		byte_buf_release(&text);
	}
	return rc < 0 ? rc : byte_buf_text(out, ": ");
}

/* Whether a value is written with what it holds; *object: as an object, else as an array. */
static bool holds(const struct torch_object *o, uint32_t ref, bool *object)
{
	struct torch_iter it;
	struct torch_item item;

	switch (torch_kind_of(o, ref)) {
	case TORCH_IS_DICT:
		*object = true;
		return true;
	case TORCH_IS_LIST:
	case TORCH_IS_TUPLE:
	case TORCH_IS_SET:
	case TORCH_IS_SIZE:
		*object = false;
		return true;
	case TORCH_IS_OBJECT:
		*object = true;
		torch_iter_init(o, ref, &it);
		while (torch_iter_next(&it, &item))
			if (item.relation == TORCH_ATTR || item.relation == TORCH_KEY)
				return true;
		return false;
	default:
		return false;
	}
}

static int open_level(struct level *l, const struct torch_object *o, uint32_t ref, bool object,
		struct byte_buf *out)
{
	memset(l, 0, sizeof *l);
	torch_iter_init(o, ref, &l->it);
	l->object = object;
	l->first = true;
	return byte_buf_text(out, object ? "{" : "[");
}

/* The next thing of a level that is to be written: false when there is none. */
static bool next(struct level *l, uint32_t *k, uint32_t *value)
{
	struct torch_item item;

	if (l->pair != NULL) {
		if (l->pairs == 0)
			return false;
		*k = l->pair[0];
		*value = l->pair[1];
		l->pair += 2;
		l->pairs--;
		return true;
	}
	while (torch_iter_next(&l->it, &item)) {
		if (l->object && item.relation != TORCH_KEY && item.relation != TORCH_ATTR)
			continue;
		*k = item.key;
		*value = item.value;
		return true;
	}
	return false;
}

int runs_value_json(const struct torch_file *f, struct runs_reader *r, const uint32_t *ref, size_t refs,
		struct byte_buf *out)
{
	const struct torch_object *o = torch_file_object(f);
	size_t from = out->len, depth = 0;
	struct level *stack = calloc(RUNS_DEPTH_MAX, sizeof *stack);
	bool object;
	int rc = 0;

	if (stack == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a value");
	if (refs == 1) {
		if (!holds(o, ref[0], &object)) {
			rc = leaf(f, r, ref[0], out);
			goto done;
		}
		rc = open_level(&stack[depth++], o, ref[0], object, out);
	} else {
		stack[0].pair = ref;
		stack[0].pairs = refs / 2;
		stack[0].object = stack[0].first = true;
		depth = 1;
		rc = byte_buf_text(out, "{");
	}
	while (depth > 0 && rc == 0) {
		struct level *l = &stack[depth - 1];
		uint32_t k, value;

		if (!next(l, &k, &value)) {
			depth--;
			rc = l->first ? 0 : indent(out, depth);
			if (rc == 0)
				rc = byte_buf_text(out, l->object ? "}" : "]");
			continue;
		}
		rc = l->first ? 0 : byte_buf_text(out, ",");
		l->first = false;
		if (rc == 0)
			rc = indent(out, depth);
		if (rc == 0 && l->object)
			rc = key(f, r, k, out);
		if (rc < 0)
			break;
		if (!holds(o, value, &object))
			rc = leaf(f, r, value, out);
		else if (depth == RUNS_DEPTH_MAX)
			rc = ckpt_fail(ENOTSUP, "values are nested more than %d deep", RUNS_DEPTH_MAX);
		else
			rc = open_level(&stack[depth++], o, value, object, out);
		if (rc == 0 && out->len - from > RUNS_JSON_MAX)
			rc = ckpt_fail(EFBIG, "values are more than %d bytes of text", RUNS_JSON_MAX);
	}
done:
	free(stack);
	if (rc == 0)
		rc = byte_buf_text(out, "\n");
	if (rc < 0)
		out->len = from;
	return rc;
}
