/*
 * format.c: numbers, names, times and tables for people; text for JSON.
 */
#include "format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <wchar.h>

#include "codec/ckpt_error.h"

/* --- numbers -------------------------------------------------------------------------------------- */

/* Two significant digits below 10, none after the point above: 1.2, 34, 999. Rounded up, as ls -h and df -h do. */
static const char *scaled(uint64_t n, const char *const unit[], const char *space, char buf[FORMAT_LEN])
{
	uint64_t scale = 1;
	unsigned u = 0;

	while (u < 6 && n / scale >= 1024) {
		scale *= 1024;
		u++;
	}
	if (u == 0) {
		snprintf(buf, FORMAT_LEN, "%" PRIu64 "%s%s", n, space, unit[0]);
		return buf;
	}
	/* Tenths of the unit, rounded up. The remainder is below 2^60, so eleven times it fits. */
	uint64_t whole = n / scale, rest = n % scale;
	uint64_t tenths = (rest * 10 + scale - 1) / scale;

	if (tenths == 10) {
		whole++;
		tenths = 0;
	}
	if (whole < 10)
		snprintf(buf, FORMAT_LEN, "%" PRIu64 ".%" PRIu64 "%s%s", whole, tenths, space, unit[u]);
	else if (whole + (tenths > 0) >= 1024 && u < 6)
		snprintf(buf, FORMAT_LEN, "1.0%s%s", space, unit[u + 1]);
	else
		snprintf(buf, FORMAT_LEN, "%" PRIu64 "%s%s", whole + (tenths > 0), space, unit[u]);
	return buf;
}

const char *format_bytes(uint64_t n, char buf[FORMAT_LEN])
{
	static const char *const unit[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };

	return scaled(n, unit, " ", buf);
}

const char *format_short(uint64_t n, char buf[FORMAT_LEN])
{
	static const char *const unit[] = { "", "K", "M", "G", "T", "P", "E" };

	return scaled(n, unit, "", buf);
}

const char *format_ratio(uint64_t raw, uint64_t stored, char buf[FORMAT_LEN])
{
	if (raw == 0 || stored == 0)
		snprintf(buf, FORMAT_LEN, "-");
	else
		snprintf(buf, FORMAT_LEN, "%.2fx", (double)raw / (double)stored);
	return buf;
}

const char *format_percent(uint64_t part, uint64_t whole, char buf[FORMAT_LEN])
{
	snprintf(buf, FORMAT_LEN, "%.0f %%", whole == 0 ? 0.0 : 100.0 * (double)part / (double)whole);
	return buf;
}

const char *format_seconds(uint64_t s, char buf[FORMAT_LEN])
{
	if (s >= 3600)
		snprintf(buf, FORMAT_LEN, "%" PRIu64 ":%02u:%02u", s / 3600, (unsigned)(s / 60 % 60),
				(unsigned)(s % 60));
	else
		snprintf(buf, FORMAT_LEN, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
	return buf;
}

const char *format_mode(mode_t m, char buf[FORMAT_LEN])
{
	static const char bits[] = "rwxrwxrwx";

	switch (m & S_IFMT) {
	case S_IFDIR:
		buf[0] = 'd';
		break;
	case S_IFLNK:
		buf[0] = 'l';
		break;
	case S_IFIFO:
		buf[0] = 'p';
		break;
	case S_IFSOCK:
		buf[0] = 's';
		break;
	case S_IFCHR:
		buf[0] = 'c';
		break;
	case S_IFBLK:
		buf[0] = 'b';
		break;
	default:
		buf[0] = '-';
	}
	for (int i = 0; i < 9; i++)
		buf[1 + i] = m & (0400u >> i) ? bits[i] : '-';
	if (m & S_ISUID)
		buf[3] = m & S_IXUSR ? 's' : 'S';
	if (m & S_ISGID)
		buf[6] = m & S_IXGRP ? 's' : 'S';
	if (m & S_ISVTX)
		buf[9] = m & S_IXOTH ? 't' : 'T';
	buf[10] = '\0';
	return buf;
}

/* --- times ---------------------------------------------------------------------------------------- */

static int32_t offset_at(int64_t t)
{
	time_t at = (time_t)t;
	struct tm tm;

	return localtime_r(&at, &tm) != NULL ? (int32_t)tm.tm_gmtoff : 0;
}

struct zone *zone_of_process(void)
{
	enum { YEARS = 130, MAX_STEPS = 4 * YEARS };
	const int64_t end = (int64_t)YEARS * 365 * 86400, stride = 14 * 86400;
	struct zone *z = calloc(1, sizeof(*z) + MAX_STEPS * sizeof(z->step[0]));
	int32_t now;

	if (z == NULL)
		return NULL;
	tzset();
	now = offset_at(0);
	z->step[z->n++] = (struct zone_step){ INT64_MIN, now };
	for (int64_t t = 0; t < end && z->n < MAX_STEPS; t += stride) {
		int64_t lo = t, hi = t + stride;

		if (offset_at(hi) == now)
			continue;
		while (hi - lo > 1) {
			int64_t mid = lo + (hi - lo) / 2;

			if (offset_at(mid) == now)
				lo = mid;
			else
				hi = mid;
		}
		now = offset_at(t + stride);
		z->step[z->n++] = (struct zone_step){ hi, now };
	}
	return z;
}

void zone_localtime(const struct zone *z, time_t t, struct tm *out)
{
	size_t lo = 0, hi;
	time_t shifted;

	if (z == NULL || z->n == 0) {
		if (localtime_r(&t, out) == NULL)
			*out = (struct tm){ .tm_mday = 1 };
		return;
	}
	hi = z->n;
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (z->step[mid].from <= (int64_t)t)
			lo = mid;
		else
			hi = mid;
	}
	if (__builtin_add_overflow(t, (time_t)z->step[lo].offset, &shifted) ||
			gmtime_r(&shifted, out) == NULL)
		*out = (struct tm){ .tm_mday = 1 };
}

const char *format_time(const struct zone *z, const struct timespec *t, time_t now, char buf[FORMAT_LEN])
{
	struct tm tm;
	bool recent = t->tv_sec <= now && t->tv_sec > now - 31556952 / 2;

	zone_localtime(z, t->tv_sec, &tm);
	if (recent)
		strftime(buf, FORMAT_LEN, "%b %e %H:%M", &tm);
	else
		strftime(buf, FORMAT_LEN, "%b %e  %Y", &tm);
	return buf;
}

/* --- names ---------------------------------------------------------------------------------------- */

/*
 * Length of the well-formed UTF-8 sequence at s[0, n) (RFC 3629: no surrogates, nothing overlong), 0 if there is none; its
 * code point in *cp.
 */
static size_t utf8(const char *s, size_t n, uint32_t *cp)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *p = (const unsigned char *)s;
	size_t len;
	uint32_t c;

	if (p[0] < 0x80)
		len = 1;
	else if ((p[0] & 0xe0) == 0xc0)
		len = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		len = 3;
	else if ((p[0] & 0xf8) == 0xf0)
		len = 4;
	else
		return 0;
	if (len > n)
		return 0;
	c = len == 1 ? p[0] : p[0] & (0x7fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*cp = c;
	return len;
}

/* What a terminal may take as a command: C0, DEL and C1. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0);
}

/*
 * Columns of a character.  wcwidth(3) needs the process's locale, which a daemon has not set: the wide ranges of East
 * Asian scripts and pictures are told apart here, roughly.
 */
static unsigned columns(uint32_t c)
{
	static const struct {
		uint32_t from, to;
		unsigned columns;
	} odd[] = {
		{ 0x300, 0x36f, 0 },
		{ 0x200b, 0x200f, 0 },
		{ 0xfe00, 0xfe0f, 0 }, /* accents, joiners, variants */
		{ 0x1100, 0x115f, 2 },
		{ 0x2e80, 0xa4cf, 2 },
		{ 0xac00, 0xd7a3, 2 },
		{ 0xf900, 0xfaff, 2 },
		{ 0xfe30, 0xfe6f, 2 },
		{ 0xff00, 0xff60, 2 },
		{ 0x1f300, 0x1faff, 2 },
		{ 0x20000, 0x3ffff, 2 },
	};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		if (c >= odd[i].from && c <= odd[i].to)
			return odd[i].columns;
	return 1;
}

static unsigned put_name(FILE *f, const char *name, size_t len, bool tty)
{
	unsigned wide = 0;
	size_t i = 0;

	while (i < len) {
		uint32_t cp;
		size_t k = utf8(name + i, len - i, &cp);
		bool bad = k == 0 || is_control(cp);

		wide += bad ? 1 : columns(cp);
		if (k == 0)
			k = 1;
		if (f != NULL) {
			if (tty && bad)
				fputc('?', f);
			else
				fwrite(name + i, 1, k, f);
		}
		i += k;
	}
	return wide;
}

unsigned format_name(FILE *f, const char *name, size_t len, bool tty)
{
	return put_name(f, name, len, tty);
}

unsigned format_name_width(const char *name, size_t len)
{
	return put_name(NULL, name, len, true);
}

/* --- JSON ----------------------------------------------------------------------------------------- */

int format_json_text(json_t *obj, const char *key, const char *s, size_t len)
{
	static const char digit[] = "0123456789abcdef";
	char *text, *hex, *hexkey = NULL;
	size_t i = 0, w = 0;
	bool exact = true;
	int rc = -ENOMEM;

	if (len > SIZE_MAX / 3 - 1)
		return ckpt_fail(ENOMEM, "json: text too long");
	text = calloc(len * 3 + 1, 1);
	hex = calloc(len * 2 + 1, 1);
	if (text == NULL || hex == NULL)
		goto out;
	while (i < len) {
		uint32_t cp;
		size_t k = utf8(s + i, len - i, &cp);

		if (k > 0) {
			memcpy(text + w, s + i, k);
			w += k;
			i += k;
		} else {
			memcpy(text + w, "\xef\xbf\xbd", 3);
			w += 3;
			i++;
			exact = false;
		}
	}
	if (json_object_set_new(obj, key, json_stringn(text, w)) != 0)
		goto out;
	if (!exact) {
		for (i = 0; i < len; i++) {
			hex[2 * i] = digit[(unsigned char)s[i] >> 4];
			hex[2 * i + 1] = digit[(unsigned char)s[i] & 15];
		}
		hex[2 * len] = '\0';
		if (asprintf(&hexkey, "%s_hex", key) < 0) {
			hexkey = NULL;
			goto out;
		}
		if (json_object_set_new(obj, hexkey, json_string(hex)) != 0)
			goto out;
	}
	rc = 0;
out:
	free(hexkey);
	free(hex);
	free(text);
	return rc == 0 ? 0 : ckpt_fail(ENOMEM, "json: out of memory");
}

json_t *format_json_time(const struct timespec *t)
{
	return json_sprintf("%" PRId64 "%09ld", (int64_t)t->tv_sec, t->tv_nsec);
}

int format_json_print(FILE *f, json_t *v, size_t flags)
{
	int rc = v == NULL ? -1 : json_dumpf(v, f, flags);

	json_decref(v);
	if (rc != 0 && !ferror(f))
		return ckpt_fail(ENOMEM, "json: out of memory");
	fputc('\n', f);
	return 0;
}

/* --- tables --------------------------------------------------------------------------------------- */

enum { TABLE_COLUMNS = 16 };

struct table {
	char *align;
	size_t columns;
	char **cell;
	size_t n, cap;
};

struct table *table_new(const char *align)
{
	struct table *t = strlen(align) <= TABLE_COLUMNS ? calloc(1, sizeof(*t)) : NULL;

	if (t == NULL)
		return NULL;
	t->align = strdup(align);
	t->columns = strlen(align);
	if (t->align == NULL) {
		free(t);
		return NULL;
	}
	return t;
}

void table_free(struct table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->cell[i]);
	free(t->cell);
	free(t->align);
	free(t);
}

int table_cell(struct table *t, const char *text)
{
	char *copy;

	if (t->n == t->cap) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		char **grown = reallocarray(t->cell, cap, sizeof(*grown));

		if (grown == NULL)
			return ckpt_fail(ENOMEM, "table: out of memory");
		t->cell = grown;
		t->cap = cap;
	}
	copy = strdup(text);
	if (copy == NULL)
		return ckpt_fail(ENOMEM, "table: out of memory");
	t->cell[t->n++] = copy;
	return 0;
}

static unsigned column_width(const struct table *t, size_t column)
{
	unsigned width = 0;

	for (size_t i = column; i < t->n; i += t->columns) {
		unsigned w = format_name_width(t->cell[i], strlen(t->cell[i]));

		if (w > width)
			width = w;
	}
	return width;
}

/* How many cells of the row at t->cell[row] are left when empty ones at its end are dropped. */
static size_t cells_in(const struct table *t, size_t row)
{
	size_t n = t->n - row < t->columns ? t->n - row : t->columns;

	while (n > 0 && t->cell[row + n - 1][0] == '\0')
		n--;
	return n;
}

void table_print(const struct table *t, FILE *f, bool heading, bool colour)
{
	unsigned width[TABLE_COLUMNS];

	for (size_t column = 0; column < t->columns; column++)
		width[column] = column_width(t, column);
	for (size_t row = 0; row < t->n; row += t->columns) {
		size_t n = cells_in(t, row);
		bool bold = colour && heading && n > 0 && (row == 0 || n == 1);

		fputs(bold ? "\033[1m" : "", f);
		for (size_t column = 0; column < n; column++) {
			const char *cell = t->cell[row + column];
			int pad = (int)(width[column] - format_name_width(cell, strlen(cell)));

			fputs(column > 0 ? "  " : "", f);
			if (t->align[column] == 'r')
				fprintf(f, "%*s", pad, "");
			format_name(f, cell, strlen(cell), true);
			if (t->align[column] != 'r' && column + 1 < n)
				fprintf(f, "%*s", pad, "");
		}
		fputs(bold ? "\033[0m\n" : "\n", f);
	}
}
