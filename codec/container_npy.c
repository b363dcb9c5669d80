/*
 * container_npy.c: is a .npy file as long as its shape says?
 *
 * NEP 1 and numpy.lib.format:
 *
 *   93 'NUMPY' major minor | u16 (version 1) or u32 (2, 3) length | a Python dict as text | data
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *
 * numpy.save() may be called several times on one open file, so what follows the data may be the next
 * array.  Structured and object types are not understood: NONE.
 */
#include <stdbool.h>
#include <string.h>

#include "container_internal.h"

#define MAGIC "\x93NUMPY"

enum {
	MAGIC_LEN = 6,
	DICT_MAX = 4096,  /* a plain dtype and 64 dimensions need half of it */
	ARRAYS_MAX = 1024,
};

/* Text that is being read. */
struct text {
	const char *p, *end;
};

static void skip_space(struct text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\t'))
		t->p++;
}

/* Takes c, after spaces, if it is there. */
static bool take(struct text *t, char c)
{
	skip_space(t);
	if (t->p == t->end || *t->p != c)
		return false;
	t->p++;
	return true;
}

static bool take_number(struct text *t, uint64_t *out)
{
	uint64_t v = 0;
	const char *start;

	skip_space(t);
	for (start = t->p; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++) {
		if (v > (UINT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(*t->p - '0');
	}
	if (t->p == start)
		return false;
	if (t->p < t->end && *t->p == 'L') /* Python 2 */
		t->p++;
	*out = v;
	return true;
}

/* A quoted word without escapes. */
static bool take_word(struct text *t, const char **word, size_t *len)
{
	char quote;

	skip_space(t);
	if (t->p == t->end || (*t->p != '\'' && *t->p != '"'))
		return false;
	quote = *t->p++;
	*word = t->p;
	while (t->p < t->end && *t->p != quote && *t->p != '\\')
		t->p++;
	*len = (size_t)(t->p - *word);
	return take(t, quote);
}

static bool is_word(const char *word, size_t len, const char *name)
{
	return len == strlen(name) && memcmp(word, name, len) == 0;
}

/* Bytes of an element of a plain dtype such as '<f4', '|b1', '<U5', '<M8[ns]'. */
static bool item_size(const char *descr, size_t len, uint64_t *size)
{
	struct text t = { descr, descr + len };
	char kind;

	if (len < 3 || strchr("<>|=", *t.p) == NULL)
		return false;
	kind = t.p[1];
	t.p += 2;
	if (!take_number(&t, size) || *size > INT32_MAX)
		return false;
	if (kind == 'U')
		*size *= 4;
	if (kind == 'M' || kind == 'm')
		return t.p == t.end || *t.p == '[';
	return t.p == t.end && strchr("biufcSaUV", kind) != NULL;
}

/* (), (3,), (3, 4): the product in *count. */
static bool take_shape(struct text *t, uint64_t *count)
{
	*count = 1;
	if (!take(t, '('))
		return false;
	while (!take(t, ')')) {
		uint64_t dim;

		if (!take_number(t, &dim) || __builtin_mul_overflow(*count, dim, count))
			return false;
		if (!take(t, ','))
			return take(t, ')');
	}
	return true;
}

/* The dict's word on how many bytes of data follow it. */
static bool data_size(const char *dict, size_t len, uint64_t *bytes)
{
	struct text t = { dict, dict + len };
	uint64_t item = 0, count = 0;
	bool have_item = false, have_count = false;

	if (!take(&t, '{'))
		return false;
	while (!take(&t, '}')) {
		const char *word, *value;
		size_t n, k;

		if (!take_word(&t, &word, &n) || !take(&t, ':'))
			return false;
		if (is_word(word, n, "descr")) {
			have_item = take_word(&t, &value, &k) && item_size(value, k, &item);
			if (!have_item)
				return false;
		} else if (is_word(word, n, "shape")) {
			have_count = take_shape(&t, &count);
			if (!have_count)
				return false;
		} else if (is_word(word, n, "fortran_order")) {
			while (t.p < t.end && *t.p != ',' && *t.p != '}')
				t.p++;
		} else {
			return false;
		}
		take(&t, ',');
	}
	return have_item && have_count && !__builtin_mul_overflow(item, count, bytes);
}

/* Looks at the array at `off`.  WHOLE: it ends at *next.  All else is the answer for the file. */
static int one_array(struct container_src *s, uint64_t off, uint64_t *next)
{
	char dict[DICT_MAX];
	uint8_t head[12];
	size_t head_len, n = s->size - off < sizeof head ? (size_t)(s->size - off) : sizeof head;
	uint64_t len, bytes, data;
	int rc = container_read(s, off, head, n);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return CODEC_CONTAINER_TORN;
	if (n <= MAGIC_LEN)
		return CODEC_CONTAINER_TORN;
	if (head[6] < 1 || head[6] > 3)
		return CODEC_CONTAINER_NONE;
	head_len = head[6] == 1 ? 10 : 12;
	if (n < head_len)
		return CODEC_CONTAINER_TORN;
	len = head[6] == 1 ? container_le16(head + 8) : container_le32(head + 8);
	if (len > s->size - off - head_len)
		return CODEC_CONTAINER_TORN;
	if (len > sizeof dict)
		return CODEC_CONTAINER_NONE;
	rc = container_read(s, off + head_len, dict, (size_t)len);
	if (rc <= 0)
		return rc < 0 ? rc : CODEC_CONTAINER_TORN;
	if (!data_size(dict, (size_t)len, &bytes))
		return CODEC_CONTAINER_NONE;
	data = off + head_len + len;
	if (bytes > s->size - data)
		return CODEC_CONTAINER_TORN;
	*next = data + bytes;
	return CODEC_CONTAINER_WHOLE;
}

int container_npy(struct container_src *s)
{
	uint64_t off = 0;

	for (unsigned i = 0; i < ARRAYS_MAX; i++) {
		uint8_t magic[MAGIC_LEN];
		size_t n;
		int rc = one_array(s, off, &off);

		if (rc != CODEC_CONTAINER_WHOLE || off == s->size)
			return rc;
		n = s->size - off < sizeof magic ? (size_t)(s->size - off) : sizeof magic;
		rc = container_read(s, off, magic, n);
		if (rc <= 0)
			return rc < 0 ? rc : CODEC_CONTAINER_TORN;
		switch (container_match(magic, n, MAGIC, MAGIC_LEN)) {
		case CONTAINER_NO:
			return CODEC_CONTAINER_NONE;
		case CONTAINER_PREFIX:
			return CODEC_CONTAINER_TORN;
		case CONTAINER_YES:
			break;
		}
	}
	return CODEC_CONTAINER_NONE;
}
