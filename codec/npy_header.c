/*
 * npy_header.c: reading and writing the head of a .npy.
 */
#include "codec/npy_header.h"

#include <errno.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum { ALIGN = 64 };

/* The dict, being read. */
struct text {
	const char *p, *end;
};

static int bad(const char *what)
{
	return ckpt_fail(EBADMSG, "npy: %s", what);
}

static void skip_space(struct text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\t' || *t->p == '\r'))
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
	const char *start;
	uint64_t v = 0;

	skip_space(t);
	for (start = t->p; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++)
		if (__builtin_mul_overflow(v, 10, &v) ||
				__builtin_add_overflow(v, (uint64_t)(*t->p - '0'), &v))
			return false;
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
	return t->p < t->end && *t->p++ == quote;
}

static bool is_word(const char *word, size_t len, const char *name)
{
	return len == strlen(name) && memcmp(word, name, len) == 0;
}

/* '<f4', '|b1', '<U5', '<M8[ns]': and how many bytes that is. */
static int take_descr(struct text *t, struct npy_header *h)
{
	struct text d;
	const char *word;
	size_t len;
	char kind;

	skip_space(t);
	if (t->p < t->end && (*t->p == '[' || *t->p == '('))
		return ckpt_fail(ENOTSUP, "npy: an array of records");
	if (!take_word(t, &word, &len) || len < 2 || len > NPY_DESCR_MAX ||
			memchr("<>|=", word[0], 4) == NULL)
		return bad("its dtype is none");
	kind = word[1];
	if (kind == 'O')
		return ckpt_fail(ENOTSUP, "npy: an array of objects");
	d = (struct text){ word + 2, word + len };
	if (d.p == d.end || *d.p < '0' || *d.p > '9' || !take_number(&d, &h->width) || h->width > INT32_MAX ||
			memchr("biufcSaUVMm", kind, 11) == NULL)
		return bad("its dtype is none");
	if (kind == 'U')
		h->width *= 4;
	if (d.p != d.end && ((kind != 'M' && kind != 'm') || *d.p != '['))
		return bad("its dtype is none");
	memcpy(h->descr, word, len);
	h->descr[len] = '\0';
	return 0;
}

/* (), (3,), (3, 4) */
static int take_shape(struct text *t, struct npy_header *h)
{
	if (!take(t, '('))
		return bad("its shape is none");
	h->ndim = 0;
	while (!take(t, ')')) {
		if (h->ndim == NPY_DIMS_MAX)
			return bad("too many dimensions");
		if (!take_number(t, &h->size[h->ndim++]))
			return bad("its shape is none");
		if (!take(t, ',')) {
			if (!take(t, ')'))
				return bad("its shape is none");
			break;
		}
	}
	return 0;
}

static bool take_bool(struct text *t, bool *out)
{
	skip_space(t);
	*out = t->end - t->p >= 4 && memcmp(t->p, "True", 4) == 0;
	if (!*out && (t->end - t->p < 5 || memcmp(t->p, "False", 5) != 0))
		return false;
	t->p += *out ? 4 : 5;
	return true;
}

static int take_dict(struct text *t, struct npy_header *h)
{
	unsigned have = 0;

	if (!take(t, '{'))
		return bad("its head is no dict");
	while (!take(t, '}')) {
		const char *word;
		size_t n;
		int rc = 0;

		if (!take_word(t, &word, &n) || !take(t, ':'))
			return bad("its head is no dict");
		if (is_word(word, n, "descr")) {
			rc = take_descr(t, h);
			have |= 1;
		} else if (is_word(word, n, "fortran_order")) {
			rc = take_bool(t, &h->fortran) ? 0 : bad("its order is none");
			have |= 2;
		} else if (is_word(word, n, "shape")) {
			rc = take_shape(t, h);
			have |= 4;
		} else {
			rc = bad("its head says something unknown");
		}
		if (rc < 0)
			return rc;
		if (!take(t, ',')) {
			if (!take(t, '}'))
				return bad("its head is no dict");
			break;
		}
	}
	skip_space(t);
	return have == 7 && t->p == t->end ? 0 : bad("its head is no dict");
}

static int measure(struct npy_header *h)
{
	bool zero = false, over = false;

	h->count = 1;
	for (uint32_t i = 0; i < h->ndim; i++) {
		zero |= h->size[i] == 0;
		over |= h->size[i] != 0 && __builtin_mul_overflow(h->count, h->size[i], &h->count);
	}
	if (zero)
		h->count = 0;
	else if (over)
		return bad("more elements than can be");
	return __builtin_mul_overflow(h->count, h->width, &h->bytes) || h->bytes > INT64_MAX
			       ? bad("more bytes than can be")
			       : 0;
}

int npy_read_dict(const char *dict, size_t len, struct npy_header *out)
{
	struct text t = { dict, dict + len };
	struct npy_header h = { 0 };
	int rc = take_dict(&t, &h);

	if (rc == 0)
		rc = measure(&h);
	if (rc == 0)
		*out = h;
	return rc;
}

int npy_read_header(const uint8_t *p, size_t len, struct npy_header *out)
{
	size_t head, n;
	int rc;

	if (len < NPY_MAGIC_LEN || memcmp(p, NPY_MAGIC, NPY_MAGIC_LEN) != 0)
		return ckpt_fail(EINVAL, "no .npy file");
	if (len < 8)
		return -ENODATA;
	if (p[6] < 1 || p[6] > 3)
		return ckpt_fail(ENOTSUP, "npy: version %u", p[6]);
	head = p[6] == 1 ? 10 : 12;
	if (len < head)
		return -ENODATA;
	n = p[6] == 1 ? byte_le16(p + 8) : byte_le32(p + 8);
	if (n > NPY_HEAD_MAX - head)
		return bad("a head longer than any");
	if (n > len - head)
		return -ENODATA;
	rc = npy_read_dict((const char *)p + head, n, out);
	if (rc == 0)
		out->length = head + n;
	return rc;
}

int npy_write_header(
		const char *descr, bool fortran, const uint64_t *size, uint32_t ndim, struct byte_buf *out)
{
	size_t start = out->len, n;
	int rc;

	if (ndim > NPY_DIMS_MAX || strpbrk(descr, "'\"\\\n") != NULL)
		return ckpt_fail(EINVAL, "npy: a head that can't be written");
	rc = byte_buf_put(out, NPY_MAGIC "\1\0\0\0", NPY_MAGIC_LEN + 4);
	if (rc == 0)
		rc = byte_buf_format(out, "{'descr': '%s', 'fortran_order': %s, 'shape': (", descr,
				fortran ? "True" : "False");
	for (uint32_t i = 0; rc == 0 && i < ndim; i++)
		rc = byte_buf_format(out,
				ndim == 1      ? "%llu,"
				: i + 1 < ndim ? "%llu, "
					       : "%llu",
				(unsigned long long)size[i]);
	if (rc == 0)
		rc = byte_buf_text(out, "), }");
	if (rc == 0)
		rc = byte_buf_fill(out, ' ', ALIGN - 1 - (out->len - start) % ALIGN);
	if (rc == 0)
		rc = byte_buf_put(out, "\n", 1);
	if (rc < 0) {
		out->len = start;
		return rc;
	}
	n = out->len - start - (NPY_MAGIC_LEN + 4);
	out->p[start + 8] = (uint8_t)n;
	out->p[start + 9] = (uint8_t)(n >> 8);
	return 0;
}
