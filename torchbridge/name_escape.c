/*
 * name_escape.c: keys as names of files, texts for terminals.
 */
#include "name_escape.h"

#include <string.h>

size_t name_sequence(const uint8_t *p, size_t left)
{
	size_t n;

	if (left == 0)
		return 0;
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

static uint32_t code_point(const uint8_t *p, size_t n)
{
	switch (n) {
	case 1:
		return p[0];
	case 2:
		return (uint32_t)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
	case 3:
		return (uint32_t)(p[0] & 0x0f) << 12 | (uint32_t)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
	default:
		return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3f) << 12 |
		       (uint32_t)(p[2] & 0x3f) << 6 | (p[3] & 0x3f);
	}
}

bool name_control(const uint8_t *p, size_t n)
{
	uint32_t c = code_point(p, n);

	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || (c >= 0x200e && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff;
}

static const char digits[] = "0123456789ABCDEF";

size_t name_escape(const void *key, size_t len, char *out, size_t room, bool *cut)
{
	const uint8_t *p = key;
	size_t at = 0;

	*cut = false;
	if (len == 0 && room > 0) {
		out[0] = '%';
		return 1;
	}
	for (size_t i = 0; i < len;) {
		size_t n = name_sequence(p + i, len - i);
		bool dots = i == 0 && len <= 2 && p[0] == '.' && p[len - 1] == '.';
		bool plain = n > 0 && p[i] != '/' && p[i] != '%' && !dots && !name_control(p + i, n);
		size_t take = n > 0 ? n : 1;

		if (room - at < (plain ? take : 3 * take)) {
			*cut = true;
			break;
		}
		if (plain) {
			memcpy(out + at, p + i, take);
			at += take;
		}
		for (size_t k = 0; !plain && k < take; k++) {
			out[at++] = '%';
			out[at++] = digits[p[i + k] >> 4];
			out[at++] = digits[p[i + k] & 15];
		}
		i += take;
	}
	return at;
}

int name_visible(const void *text, size_t len, struct byte_buf *out)
{
	const uint8_t *p = text;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < len;) {
		size_t n = name_sequence(p + i, len - i), take = n > 0 ? n : 1;

		if (n > 0 && !name_control(p + i, n))
			rc = byte_buf_put(out, p + i, n);
		else if (p[i] == '\n')
			rc = byte_buf_text(out, "\\n");
		else if (p[i] == '\t')
			rc = byte_buf_text(out, "\\t");
		else
			for (size_t k = 0; rc == 0 && k < take; k++)
				rc = byte_buf_format(out, "\\x%02x", p[i + k]);
		i += take;
	}
	return rc;
}

size_t name_columns(const void *text, size_t len)
{
	const uint8_t *p = text;
	size_t columns = 0;

	for (size_t i = 0; i < len;) {
		size_t n = name_sequence(p + i, len - i);
		uint32_t c = n > 0 ? code_point(p + i, n) : 0;

		if ((c >= 0x300 && c <= 0x36f) || (c >= 0x200b && c <= 0x200d) ||
				(c >= 0xfe00 && c <= 0xfe0f))
			columns += 0;
		else if ((c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) ||
				(c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) ||
				(c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
				(c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd))
			columns += 2;
		else
			columns++;
		i += n > 0 ? n : 1;
	}
	return columns;
}
