/*
 * npy_dict.c: reads the dict of a .npy file, text that Python wrote with repr().
 */
#include "npy_dict.h"

#include <string.h>

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

/* A plain dtype such as '<f4', '|b1', '<U5', '<M8[ns]'. */
static bool plain_type(const char *descr, size_t len, struct npy_layout *out)
{
	struct text t = { descr, descr + len };
	uint64_t size;

	if (len < 3 || strchr("<>|=", *t.p) == NULL)
		return false;
	out->order = t.p[0];
	out->kind = t.p[1];
	t.p += 2;
	if (!take_number(&t, &size) || size > INT32_MAX / 4)
		return false;
	out->item = (uint32_t)(out->kind == 'U' ? size * 4 : size);
	if (out->kind == 'M' || out->kind == 'm')
		return t.p == t.end || *t.p == '[';
	return t.p == t.end && out->kind != '\0' && strchr("biufcSaUV", out->kind) != NULL;
}

/* A shape: the product of its dimensions, and those at either end. */
struct shape {
	uint64_t count;
	uint64_t dim[4]; /* first, second, last but one, last */
	unsigned dims;
};

/* (), (3,), (3, 4). */
static bool take_shape(struct text *t, struct shape *s)
{
	*s = (struct shape){ 1, { 1, 1, 1, 1 }, 0 };
	if (!take(t, '('))
		return false;
	while (!take(t, ')')) {
		uint64_t dim;

		if (!take_number(t, &dim) || __builtin_mul_overflow(s->count, dim, &s->count))
			return false;
		if (s->dims < 2)
			s->dim[s->dims] = dim;
		s->dim[2] = s->dim[3];
		s->dim[3] = dim;
		s->dims++;
		if (!take(t, ','))
			return take(t, ')');
	}
	return true;
}

bool npy_dict(const char *dict, size_t len, struct npy_layout *out)
{
	struct text t = { dict, dict + len };
	struct npy_layout l = { 0 };
	struct shape s = { 0 };
	bool have_item = false, have_shape = false, fortran = false;

	if (!take(&t, '{'))
		return false;
	while (!take(&t, '}')) {
		const char *word, *value;
		size_t n, k;

		if (!take_word(&t, &word, &n) || !take(&t, ':'))
			return false;
		if (is_word(word, n, "descr")) {
			have_item = take_word(&t, &value, &k) && plain_type(value, k, &l);
			if (!have_item)
				return false;
		} else if (is_word(word, n, "shape")) {
			have_shape = take_shape(&t, &s);
			if (!have_shape)
				return false;
		} else if (is_word(word, n, "fortran_order")) {
			fortran = take(&t, 'T');
			while (t.p < t.end && *t.p != ',' && *t.p != '}')
				t.p++;
		} else {
			return false;
		}
		take(&t, ',');
	}
	if (!have_item || !have_shape || __builtin_mul_overflow(l.item, s.count, &l.bytes))
		return false;
	l.dims = s.dims;
	l.last = fortran ? s.dim[0] : s.dim[3];
	l.before = fortran ? s.dim[1] : s.dim[2];
	*out = l;
	return true;
}
