/*
 * safetensors_read.c: reading the header of a safetensors file.
 */
#include "codec/safetensors_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/byte_buf.h"
#include "codec/ckpt_error.h"
#include "codec/json_text.h"
#include "codec/zip_read.h"

struct safetensors {
	char *text; /* the header: all names and values lie in it */
	uint64_t data;
	struct safetensors_entry *tensor;
	size_t tensors, tensor_cap;
	struct safetensors_pair *pair;
	size_t pairs, pair_cap;
	uint64_t *dims;
	size_t dims_len, dims_cap;
};

static bool is(const char *text, size_t len, const char *what)
{
	return len == strlen(what) && memcmp(text, what, len) == 0;
}

static int bad(const char *what)
{
	return ckpt_fail(EBADMSG, "safetensors: %s", what);
}

static int bad_tensor(const struct safetensors_entry *x, const char *what)
{
	return ckpt_fail(EBADMSG, "safetensors: '%.200s' %s", x->name, what);
}

unsigned safetensors_bits(const char *dtype)
{
	static const struct {
		const char *name;
		unsigned bits;
	} table[] = {
		{ "F32", 32 },
		{ "BF16", 16 },
		{ "F16", 16 },
		{ "F64", 64 },
		{ "I64", 64 },
		{ "I32", 32 },
		{ "I16", 16 },
		{ "I8", 8 },
		{ "U8", 8 },
		{ "BOOL", 8 },
		{ "U16", 16 },
		{ "U32", 32 },
		{ "U64", 64 },
		{ "C64", 64 },
		{ "F8_E4M3", 8 },
		{ "F8_E5M2", 8 },
		{ "F8_E8M0", 8 },
		{ "F8_E4M3FNUZ", 8 },
		{ "F8_E5M2FNUZ", 8 },
		{ "F4", 4 },
		{ "F6_E2M3", 6 },
		{ "F6_E3M2", 6 },
	};

	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (strcmp(table[i].name, dtype) == 0)
			return table[i].bits;
	return 0;
}

static int room(void *p, size_t *cap, size_t need, size_t size)
{
	size_t more = *cap > 0 ? *cap + *cap / 2 : 32;
	void *now;

	if (need <= *cap)
		return 0;
	if (more < need)
		more = need;
	memcpy(&now, p, sizeof now);
	now = realloc(now, more * size);
	if (now == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a safetensors header");
	memcpy(p, &now, sizeof now);
	*cap = more;
	return 0;
}

/* {"format": "pt", ...} */
static int take_metadata(struct safetensors *s, struct json_text *t)
{
	s->pairs = 0;
	if (!json_take(t, '{'))
		return bad("its metadata are no object");
	if (json_take(t, '}'))
		return 0;
	do {
		const char *key, *value;
		size_t key_len, value_len;
		int rc = room(&s->pair, &s->pair_cap, s->pairs + 1, sizeof *s->pair);

		if (rc < 0)
			return rc;
		if (!json_take_string(t, &key, &key_len) || !json_take(t, ':') ||
				!json_take_string(t, &value, &value_len))
			return bad("its metadata are no strings");
		s->pair[s->pairs++] = (struct safetensors_pair){ key, value, (uint32_t)key_len,
			(uint32_t)value_len };
	} while (json_take(t, ','));
	return json_take(t, '}') ? 0 : bad("its metadata are no object");
}

/* [2, 3], behind the dims of the others. A header has fewer numbers than bytes. */
static int take_shape(struct safetensors *s, struct json_text *t, struct safetensors_entry *x)
{
	if (!json_take(t, '['))
		return bad_tensor(x, "has no shape");
	x->ndim = 0;
	if (json_take(t, ']'))
		return 0;
	do {
		int rc = room(&s->dims, &s->dims_cap, s->dims_len + 1, sizeof *s->dims);

		if (rc < 0)
			return rc;
		if (x->ndim == SAFETENSORS_DIMS_MAX)
			return bad_tensor(x, "has too many dimensions");
		if (!json_take_uint(t, &s->dims[s->dims_len]))
			return bad_tensor(x, "has no shape");
		s->dims_len++;
		x->ndim++;
	} while (json_take(t, ','));
	return json_take(t, ']') ? 0 : bad_tensor(x, "has no shape");
}

/* [begin, end] of the data. */
static bool take_offsets(struct json_text *t, struct safetensors_entry *x)
{
	uint64_t end;

	if (!json_take(t, '[') || !json_take_uint(t, &x->off) || !json_take(t, ',') ||
			!json_take_uint(t, &end) || !json_take(t, ']') || end < x->off)
		return false;
	x->len = end - x->off;
	return true;
}

/* The length is what dtype and shape say. */
static int check_length(const struct safetensors *s, const struct safetensors_entry *x)
{
	uint64_t bits = x->bits;

	for (unsigned i = 0; i < x->ndim; i++)
		if (__builtin_mul_overflow(bits, s->dims[x->dims + i], &bits))
			return bad_tensor(x, "has more elements than can be");
	if (bits % 8 != 0)
		return bad_tensor(x, "ends inside a byte");
	return bits / 8 == x->len ? 0 : bad_tensor(x, "is not as long as its shape says");
}

/* {"dtype": .., "shape": .., "data_offsets": ..} */
static int take_tensor(struct safetensors *s, struct json_text *t, const char *name, size_t name_len)
{
	struct safetensors_entry x = {
		.name = name, .name_len = (uint32_t)name_len, .dims = (uint32_t)s->dims_len
	};
	unsigned have = 0;
	int rc;

	if (!json_take(t, '{'))
		return bad_tensor(&x, "is no object");
	if (json_take(t, '}'))
		return bad_tensor(&x, "has no dtype, shape or offsets");
	do {
		const char *key, *value;
		size_t n;
		unsigned bit = 0;

		if (!json_take_string(t, &key, &n) || !json_take(t, ':'))
			return bad_tensor(&x, "is no object");
		rc = 0;
		if (is(key, n, "dtype")) {
			bit = 1;
			if (!json_take_string(t, &value, &n) || strlen(value) != n ||
					safetensors_bits(value) == 0)
				return bad_tensor(&x, "is of no known dtype");
			x.dtype = value;
			x.bits = (uint8_t)safetensors_bits(value);
		} else if (is(key, n, "shape")) {
			bit = 2;
			rc = take_shape(s, t, &x);
		} else if (is(key, n, "data_offsets")) {
			bit = 4;
			if (!take_offsets(t, &x))
				return bad_tensor(&x, "has no offsets");
		} else if (!json_skip(t)) {
			return bad_tensor(&x, "is no object");
		}
		if (rc == 0 && (have & bit) != 0)
			rc = bad_tensor(&x, "says something twice");
		if (rc < 0)
			return rc;
		have |= bit;
	} while (json_take(t, ','));
	if (!json_take(t, '}'))
		return bad_tensor(&x, "is no object");
	if (have != 7)
		return bad_tensor(&x, "has no dtype, shape or offsets");
	rc = check_length(s, &x);
	if (rc == 0)
		rc = room(&s->tensor, &s->tensor_cap, s->tensors + 1, sizeof *s->tensor);
	if (rc < 0)
		return rc;
	s->tensor[s->tensors++] = x;
	return 0;
}

static int take_header(struct safetensors *s, struct json_text *t)
{
	if (!json_take(t, '{'))
		return ckpt_fail(EINVAL, "no safetensors file");
	if (json_take(t, '}'))
		return json_at_end(t) ? 0 : bad("something stands behind its header");
	do {
		const char *name;
		size_t n;
		int rc;

		if (!json_take_string(t, &name, &n) || !json_take(t, ':'))
			return bad("its header is no JSON object");
		if (is(name, n, "__metadata__"))
			rc = take_metadata(s, t);
		else if (s->tensors == SAFETENSORS_TENSORS_MAX)
			rc = ckpt_fail(EFBIG, "safetensors: more than %d tensors", SAFETENSORS_TENSORS_MAX);
		else
			rc = take_tensor(s, t, name, n);
		if (rc < 0)
			return rc;
	} while (json_take(t, ','));
	return json_take(t, '}') && json_at_end(t) ? 0 : bad("its header is no JSON object");
}

/* Names lie in the header in the order in which they stand there. */
static int by_name(const void *a, const void *b)
{
	const struct safetensors_entry *x = a, *y = b;
	uint32_t n = x->name_len < y->name_len ? x->name_len : y->name_len;
	int d = memcmp(x->name, y->name, n);

	if (d != 0)
		return d;
	if (x->name_len != y->name_len)
		return x->name_len < y->name_len ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

static int by_offset(const void *a, const void *b)
{
	const struct safetensors_entry *x = a, *y = b;

	if (x->off != y->off)
		return x->off < y->off ? -1 : 1;
	if (x->len != y->len)
		return x->len < y->len ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

/* Of equal names the last stays; then the data must follow one another up to the file's end. */
static int settle(struct safetensors *s, uint64_t data_len)
{
	size_t n = 0;
	uint64_t at = 0;

	if (s->tensors > 0)
		qsort(s->tensor, s->tensors, sizeof *s->tensor, by_name);
	for (size_t i = 0; i < s->tensors; i++) {
		const struct safetensors_entry *x = &s->tensor[i];

		if (n > 0 && s->tensor[n - 1].name_len == x->name_len &&
				memcmp(s->tensor[n - 1].name, x->name, x->name_len) == 0)
			n--;
		s->tensor[n++] = *x;
	}
	s->tensors = n;
	if (n > 0)
		qsort(s->tensor, n, sizeof *s->tensor, by_offset);
	for (size_t i = 0; i < n; i++) {
		struct safetensors_entry *x = &s->tensor[i];

		if (x->off != at || x->len > data_len - at)
			return bad_tensor(x, "does not begin where the one before it ends");
		at += x->len;
		x->off += s->data;
	}
	return at == data_len ? 0 : bad("its tensors are not as long as the file");
}

int safetensors_open(codec_read_at read, void *arg, uint64_t size, struct safetensors **out)
{
	struct safetensors *s;
	struct json_text t;
	uint8_t head[9];
	uint64_t n;
	int rc;

	if (size < sizeof head)
		return ckpt_fail(EINVAL, "no safetensors file");
	rc = zip_read_full(read, arg, 0, head, sizeof head);
	if (rc < 0)
		return rc;
	n = byte_le64(head);
	if (n < 2 || n > SAFETENSORS_READ_MAX || (head[8] != '{' && head[8] != ' '))
		return ckpt_fail(EINVAL, "no safetensors file");
	if (n > size - 8)
		return bad("the file ends inside its header");
	s = calloc(1, sizeof *s);
	if (s == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a safetensors header");
	s->data = 8 + n;
	s->text = malloc((size_t)n + 1);
	rc = s->text == NULL ? ckpt_fail(ENOMEM, "out of memory for a safetensors header")
			     : zip_read_full(read, arg, 8, s->text, (size_t)n);
	if (rc == 0)
		rc = room(&s->dims, &s->dims_cap, 1, sizeof *s->dims);
	if (rc == 0) {
		t = (struct json_text){ s->text, s->text + n };
		rc = take_header(s, &t);
	}
	if (rc == 0)
		rc = settle(s, size - s->data);
	if (rc < 0) {
		safetensors_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void safetensors_free(struct safetensors *s)
{
	if (s == NULL)
		return;
	free(s->text);
	free(s->tensor);
	free(s->pair);
	free(s->dims);
	free(s);
}

size_t safetensors_memory(const struct safetensors *s)
{
	return sizeof *s + (size_t)s->data + s->tensor_cap * sizeof *s->tensor + s->pair_cap * sizeof *s->pair +
	       s->dims_cap * sizeof *s->dims;
}

size_t safetensors_count(const struct safetensors *s)
{
	return s->tensors;
}

const struct safetensors_entry *safetensors_at(const struct safetensors *s, size_t i)
{
	return &s->tensor[i];
}

size_t safetensors_pairs(const struct safetensors *s)
{
	return s->pairs;
}

const struct safetensors_pair *safetensors_pair_at(const struct safetensors *s, size_t i)
{
	return &s->pair[i];
}

const uint64_t *safetensors_size(const struct safetensors *s, const struct safetensors_entry *x)
{
	return s->dims + x->dims;
}

uint64_t safetensors_data(const struct safetensors *s)
{
	return s->data;
}
