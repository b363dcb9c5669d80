/*
 * json_text.c: JSON (RFC 8259), token by token.
 */
#include "codec/json_text.h"

#include <string.h>

static void skip_space(struct json_text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\n' || *t->p == '\t' || *t->p == '\r'))
		t->p++;
}

bool json_take(struct json_text *t, char c)
{
	skip_space(t);
	if (t->p == t->end || *t->p != c)
		return false;
	t->p++;
	return true;
}

bool json_at_end(struct json_text *t)
{
	skip_space(t);
	return t->p == t->end;
}

static bool hex4(struct json_text *t, uint32_t *out)
{
	uint32_t v = 0;

	if (t->end - t->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		char c = *t->p++;

		if (c >= '0' && c <= '9')
			v = v << 4 | (uint32_t)(c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
		else
			return false;
	}
	*out = v;
	return true;
}

/* What follows a backslash, written to *to as UTF-8. */
static bool take_escape(struct json_text *t, char **to)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	const char *at;
	uint32_t c, low;
	char *q = *to;

	if (t->p == t->end)
		return false;
	if (*t->p != 'u') {
		at = *t->p != '\0' ? strchr(from, *t->p) : NULL;
		if (at == NULL)
			return false;
		t->p++;
		*(*to)++ = into[at - from];
		return true;
	}
	t->p++;
	if (!hex4(t, &c) || (c >= 0xdc00 && c < 0xe000))
		return false;
	if (c >= 0xd800 && c < 0xdc00) {
		if (t->end - t->p < 6 || t->p[0] != '\\' || t->p[1] != 'u')
			return false;
		t->p += 2;
		if (!hex4(t, &low) || low < 0xdc00 || low >= 0xe000)
			return false;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	if (c < 0x80) {
		*q++ = (char)c;
	} else if (c < 0x800) {
		*q++ = (char)(0xc0 | c >> 6);
		*q++ = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		*q++ = (char)(0xe0 | c >> 12);
		*q++ = (char)(0x80 | (c >> 6 & 0x3f));
		*q++ = (char)(0x80 | (c & 0x3f));
	} else {
		*q++ = (char)(0xf0 | c >> 18);
		*q++ = (char)(0x80 | (c >> 12 & 0x3f));
		*q++ = (char)(0x80 | (c >> 6 & 0x3f));
		*q++ = (char)(0x80 | (c & 0x3f));
	}
	*to = q;
	return true;
}

/* Length of the UTF-8 sequence at p, or 0 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). */
static size_t sequence(const char *text, const char *end)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t left = (size_t)(end - text), n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (left < n)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
			(p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

bool json_take_string(struct json_text *t, const char **out, size_t *len)
{
	char *start, *to;

	if (!json_take(t, '"'))
		return false;
	start = to = t->p;
	while (t->p < t->end && *t->p != '"') {
		size_t n;

		if (*t->p == '\\') {
			t->p++;
			if (!take_escape(t, &to))
				return false;
			continue;
		}
		n = (uint8_t)*t->p < 0x20 ? 0 : sequence(t->p, t->end);
		if (n == 0)
			return false;
		memmove(to, t->p, n);
		to += n;
		t->p += n;
	}
	if (t->p == t->end)
		return false;
	t->p++;
	*to = '\0'; /* at the closing quote, or before it */
	*out = start;
	*len = (size_t)(to - start);
	return true;
}

bool json_take_uint(struct json_text *t, uint64_t *out)
{
	const char *start;
	uint64_t v = 0;

	skip_space(t);
	for (start = t->p; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++)
		if (__builtin_mul_overflow(v, 10, &v) ||
				__builtin_add_overflow(v, (uint64_t)(*t->p - '0'), &v))
			return false;
	if (t->p == start || (*start == '0' && t->p - start > 1))
		return false;
	if (t->p < t->end && (*t->p == '.' || (*t->p | 0x20) == 'e'))
		return false;
	*out = v;
	return true;
}

static bool digits(struct json_text *t)
{
	const char *start = t->p;

	while (t->p < t->end && *t->p >= '0' && *t->p <= '9')
		t->p++;
	return t->p > start;
}

static bool skip_number(struct json_text *t)
{
	const char *start;

	if (t->p < t->end && *t->p == '-')
		t->p++;
	start = t->p;
	if (!digits(t) || (*start == '0' && t->p - start > 1))
		return false;
	if (t->p < t->end && *t->p == '.') {
		t->p++;
		if (!digits(t))
			return false;
	}
	if (t->p < t->end && (*t->p | 0x20) == 'e') {
		t->p++;
		if (t->p < t->end && (*t->p == '+' || *t->p == '-'))
			t->p++;
		return digits(t);
	}
	return true;
}

static bool skip_word(struct json_text *t, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(t->end - t->p) < n || memcmp(t->p, word, n) != 0)
		return false;
	t->p += n;
	return true;
}

/* A value that holds no others. */
static bool skip_plain(struct json_text *t)
{
	const char *text;
	size_t len;

	switch (*t->p) {
	case '"':
		return json_take_string(t, &text, &len);
	case 't':
		return skip_word(t, "true");
	case 'f':
		return skip_word(t, "false");
	case 'n':
		return skip_word(t, "null");
	default:
		return skip_number(t);
	}
}

static bool skip_key(struct json_text *t)
{
	const char *text;
	size_t len;

	return json_take_string(t, &text, &len) && json_take(t, ':');
}

bool json_skip(struct json_text *t)
{
	char close[JSON_DEPTH_MAX]; /* what ends each open array and object */
	size_t depth = 0;

	for (;;) {
		bool ended = false; /* a value has just ended */

		skip_space(t);
		if (t->p == t->end)
			return false;
		if (*t->p == '[' || *t->p == '{') {
			if (depth == JSON_DEPTH_MAX)
				return false;
			close[depth] = *t->p == '[' ? ']' : '}';
			t->p++;
			depth++;
			if (json_take(t, close[depth - 1])) {
				depth--;
				ended = true;
			} else if (close[depth - 1] == '}' && !skip_key(t)) {
				return false;
			}
		} else {
			if (!skip_plain(t))
				return false;
			ended = true;
		}
		while (ended && depth > 0) {
			if (json_take(t, ',')) {
				if (close[depth - 1] == '}' && !skip_key(t))
					return false;
				ended = false;
			} else if (json_take(t, close[depth - 1])) {
				depth--;
			} else {
				return false;
			}
		}
		if (ended)
			return true;
	}
}
