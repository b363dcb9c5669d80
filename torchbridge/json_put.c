/*
 * json_put.c: JSON as text.
 */
#include "json_put.h"

#include <string.h>

#include "name_escape.h"

/* How much of p is plain text that stands for itself. */
static size_t plain(const uint8_t *p, size_t len)
{
	size_t i = 0;

	while (i < len && p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\')
		i++;
	return i;
}

static int put_special(const uint8_t *p, size_t n, struct byte_buf *out)
{
	if (n == 0)
		return byte_buf_text(out, "\xef\xbf\xbd");
	switch (p[0]) {
	case '"':
		return byte_buf_text(out, "\\\"");
	case '\\':
		return byte_buf_text(out, "\\\\");
	case '\n':
		return byte_buf_text(out, "\\n");
	case '\t':
		return byte_buf_text(out, "\\t");
	default:
		break;
	}
	/* Other controls, also those of two and three bytes: @json may go to a terminal. */
	if (n == 1)
		return byte_buf_format(out, "\\u%04x", p[0]);
	if (n == 2)
		return byte_buf_format(out, "\\u%04x", (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu));
	return byte_buf_format(out, "\\u%04x", (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu));
}

int json_put_string(const void *text, size_t len, struct byte_buf *out)
{
	const uint8_t *p = text;
	int rc = byte_buf_put(out, "\"", 1);

	for (size_t i = 0; rc == 0 && i < len;) {
		size_t n = plain(p + i, len - i);

		if (n > 0) {
			rc = byte_buf_put(out, p + i, n);
			i += n;
			continue;
		}
		n = name_sequence(p + i, len - i);
		if (n > 1 && !name_control(p + i, n)) /* controls lie below U+10000 */
			rc = byte_buf_put(out, p + i, n);
		else
			rc = put_special(p + i, n, out);
		i += n > 0 ? n : 1;
	}
	return rc < 0 ? rc : byte_buf_put(out, "\"", 1);
}

int json_put_text(const char *text, struct byte_buf *out)
{
	return text != NULL ? json_put_string(text, strlen(text), out) : byte_buf_text(out, "null");
}

int json_put_key(const char *key, struct byte_buf *out)
{
	int rc = 0;

	if (out->len > 0 && out->p[out->len - 1] != '{')
		rc = byte_buf_put(out, ", ", 2);
	if (rc == 0)
		rc = json_put_text(key, out);
	return rc < 0 ? rc : byte_buf_put(out, ": ", 2);
}

int json_put_member(const char *key, const char *text, struct byte_buf *out)
{
	int rc = json_put_key(key, out);

	return rc < 0 ? rc : json_put_text(text, out);
}

int json_put_number(const char *key, uint64_t v, struct byte_buf *out)
{
	int rc = json_put_key(key, out);

	return rc < 0 ? rc : byte_buf_format(out, "%llu", (unsigned long long)v);
}

int json_put_numbers(const uint64_t *v, size_t n, struct byte_buf *out)
{
	int rc = byte_buf_put(out, "[", 1);

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = byte_buf_format(out, i > 0 ? ", %llu" : "%llu", (unsigned long long)v[i]);
	return rc < 0 ? rc : byte_buf_put(out, "]", 1);
}
