/*
 * view_lines.c: cells, colours, numbers.
 */
#include "view_lines.h"

#include <stdio.h>
#include <string.h>

#include "name_escape.h"

int view_colored(int color, enum view_color which, const char *text, struct byte_buf *out)
{
	static const char *const code[] = { "", "\x1b[1m", "\x1b[2m", "\x1b[33m", "\x1b[1;31m" };
	bool on = color != 0 && which != VIEW_PLAIN;
	int rc = on ? byte_buf_text(out, code[which]) : 0;

	if (rc == 0)
		rc = byte_buf_text(out, text);
	return rc < 0 || !on ? rc : byte_buf_text(out, "\x1b[0m");
}

/* Printable ASCII is nearly all there is. */
static bool is_simple(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] < 0x20 || p[i] >= 0x7f)
			return false;
	return true;
}

/* Bytes of the first characters of p that take no more than `width` columns. */
static size_t head(const uint8_t *p, size_t len, size_t width)
{
	size_t at = 0, columns = 0;

	while (at < len) {
		size_t n = name_sequence(p + at, len - at), c;

		n = n > 0 ? n : 1;
		c = name_columns(p + at, n);
		if (columns + c > width)
			break;
		columns += c;
		at += n;
	}
	return at;
}

/* Where the last characters that take no more than `width` columns begin. */
static size_t tail(const uint8_t *p, size_t len, size_t width)
{
	size_t all = name_columns(p, len), at = 0;

	while (at < len && all > width) {
		size_t n = name_sequence(p + at, len - at);

		n = n > 0 ? n : 1;
		all -= name_columns(p + at, n);
		at += n;
	}
	return at;
}

int view_fitted(const void *text, size_t len, size_t width, enum view_cut cut, struct byte_buf *out)
{
	struct byte_buf seen = { 0 };
	size_t front, most = 4 * (width + 1);
	int rc;

	if ((len <= width || cut == VIEW_CUT_END) && width > 3 && is_simple(text, len < width ? len : width)) {
		rc = byte_buf_put(out, text, len <= width ? len : width - 3);
		return rc < 0 || len <= width ? rc : byte_buf_text(out, "...");
	}
	/* Of a long text only what may be seen of its two ends. */
	if (len > 2 * most && cut == VIEW_CUT_MIDDLE) {
		rc = name_visible(text, most, &seen);
		if (rc == 0)
			rc = name_visible((const uint8_t *)text + len - most, most, &seen);
	} else {
		rc = name_visible(text, len < 2 * most ? len : 2 * most, &seen);
	}
	if (rc < 0 || name_columns(seen.p, seen.len) <= width) {
		if (rc == 0)
			rc = byte_buf_put(out, seen.p, seen.len);
		byte_buf_release(&seen);
		return rc;
	}
	width = width > 3 ? width - 3 : 0;
	front = cut == VIEW_CUT_END ? width : width / 2;
	rc = byte_buf_put(out, seen.p, head(seen.p, seen.len, front));
	if (rc == 0)
		rc = byte_buf_text(out, "...");
	if (rc == 0 && cut == VIEW_CUT_MIDDLE) {
		size_t from = tail(seen.p, seen.len, width - front);

		rc = byte_buf_put(out, seen.p + from, seen.len - from);
	}
	byte_buf_release(&seen);
	return rc;
}

static int odd_cell(
		const void *p, size_t len, size_t width, bool right, enum view_cut cut, struct byte_buf *out)
{
	struct byte_buf cell = { 0 };
	int rc = view_fitted(p, len, width, cut, &cell);
	size_t columns = name_columns(cell.p, cell.len), pad = columns < width ? width - columns : 0;

	if (rc == 0 && right)
		rc = byte_buf_fill(out, ' ', pad);
	if (rc == 0)
		rc = byte_buf_put(out, cell.p, cell.len);
	if (rc == 0 && !right)
		rc = byte_buf_fill(out, ' ', pad);
	byte_buf_release(&cell);
	return rc;
}

static int simple_cell(const void *p, size_t len, size_t width, bool right, struct byte_buf *out)
{
	int rc = byte_buf_reserve(out, width);

	if (rc < 0)
		return rc;
	memset(out->p + out->len, ' ', width);
	if (len > 0)
		memcpy(out->p + out->len + (right ? width - len : 0), p, len);
	out->len += width;
	return 0;
}

int view_cell(const void *p, size_t len, size_t width, bool right, enum view_cut cut, struct byte_buf *out)
{
	if (len <= width && is_simple(p, len))
		return simple_cell(p, len, width, right, out);
	return odd_cell(p, len, width, right, cut, out);
}

const char *view_size_text(uint64_t n, char buf[VIEW_NUMBER_MAX])
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	uint64_t scale = 1, tenths;
	unsigned u = 0;

	while (u < 6 && n / scale >= 1024) {
		scale *= 1024;
		u++;
	}
	if (u == 0) {
		snprintf(buf, VIEW_NUMBER_MAX, "%u B", (unsigned)n);
		return buf;
	}
	tenths = n / scale * 10 + (n % scale * 10 + scale / 2) / scale; /* the remainder is below 2^60 */
	if (tenths >= 10240 && u < 6) {
		tenths = 10;
		u++;
	}
	if (tenths < 1000)
		snprintf(buf, VIEW_NUMBER_MAX, "%u.%u %s", (unsigned)(tenths / 10), (unsigned)(tenths % 10),
				unit[u]);
	else
		snprintf(buf, VIEW_NUMBER_MAX, "%u %s", (unsigned)((tenths + 5) / 10), unit[u]);
	return buf;
}

const char *view_count_text(uint64_t n, char buf[VIEW_NUMBER_MAX])
{
	char digits[24];
	int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n), at = 0;

	for (int i = 0; i < len; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			buf[at++] = ',';
		buf[at++] = digits[i];
	}
	buf[at] = '\0';
	return buf;
}
