/*
 * safetensors_scan.c: runs through a safetensors header byte by byte.
 *
 *   depth 1   the names
 *   depth 2   a tensor's fields, or the words of __metadata__, which are all strings
 *   depth 3   "shape" and "data_offsets", whose numbers are read; of the latter the grammar is held to
 *
 * Whatever else may stand there (unknown fields are ignored by readers) is passed over as long as it looks
 * like JSON.
 */
#include "safetensors_scan.h"

#include <string.h>
#include <xxhash.h>

#include "record_name.h"

enum { DEPTH_MAX = 64 };

enum field { NOTHING, DTYPE, SHAPE, OFFSETS };

/* Which array's numbers are being read. */
enum numbers { NO_NUMBERS, SIZES, BEGIN, END };

bool safetensors_may_be(uint64_t n, uint8_t first)
{
	return n >= 2 && n <= SAFETENSORS_HEADER_MAX && (first == '{' || first == ' ');
}

void safetensors_scan_init(struct safetensors_scan *j)
{
	memset(j, 0, sizeof *j);
}

static bool is(const struct safetensors_scan *j, const char *word)
{
	return !j->odd && j->len == strlen(word) && memcmp(j->text, word, j->len) == 0;
}

static void begin_tensor(struct safetensors_scan *j)
{
	size_t len = j->len < sizeof j->text ? j->len : sizeof j->text;

	memset(&j->t, 0, sizeof j->t);
	j->t.name = XXH3_64bits(j->text, len);
	j->t.rest = record_name_rest(j->text, len);
	j->t.last = j->t.before = 1;
	j->have_end = false;
}

static bool string_byte(struct safetensors_scan *j, uint8_t c)
{
	if (!j->escaped && c == '"') {
		j->in_string = false;
		if (j->depth == 2 && j->field == DTYPE && j->len < sizeof j->t.dtype) {
			memcpy(j->t.dtype, j->text, j->len);
			j->t.dtype[j->len] = '\0';
		}
		return true;
	}
	if (!j->escaped && c < 0x20)
		return false;
	j->escaped = !j->escaped && c == '\\';
	j->odd |= j->escaped;
	if (j->len < sizeof j->text)
		j->text[j->len] = (char)c;
	j->len++;
	return true;
}

/* A dimension has been read. */
static void size(struct safetensors_scan *j)
{
	if (j->digits) {
		j->t.before = j->t.last;
		j->t.last = j->number;
		j->t.dims++;
	}
	j->number = 0;
	j->digits = false;
}

/* A digit, of a number that may not be too large; or -1 where c is none, 0 where it is too large. */
static int digit(struct safetensors_scan *j, uint8_t c)
{
	if (c < '0' || c > '9')
		return -1;
	if (j->number > (UINT64_MAX - 9) / 10)
		return 0;
	j->number = j->number * 10 + (c - '0');
	j->digits = true;
	return 1;
}

/* A byte of "a,b]". */
static bool offsets_byte(struct safetensors_scan *j, uint8_t c)
{
	int rc = digit(j, c);

	if (rc >= 0)
		return rc;
	if (!j->digits || c != (j->numbers == BEGIN ? ',' : ']'))
		return false;
	if (j->numbers == BEGIN) {
		j->t.begin = j->number;
		j->numbers = END;
	} else {
		if (j->number < j->t.begin)
			return false;
		j->t.end = j->number;
		j->have_end = true;
		if (j->number > j->end)
			j->end = j->number;
		j->numbers = NO_NUMBERS;
		j->field = NOTHING;
		j->depth--;
	}
	j->number = 0;
	j->digits = false;
	return true;
}

static bool open_bracket(struct safetensors_scan *j, uint8_t c)
{
	if (c == '{' && j->depth == 1)
		begin_tensor(j);
	if (c == '[' && j->depth == 2 && j->field == OFFSETS)
		j->numbers = BEGIN;
	else if (c == '[' && j->depth == 2 && j->field == SHAPE)
		j->numbers = SIZES;
	return ++j->depth <= DEPTH_MAX;
}

static void close_bracket(struct safetensors_scan *j)
{
	j->depth--;
	j->done = j->depth == 0;
	if (j->depth == 1 && j->have_end && j->tensor != NULL)
		j->tensor(j->arg, &j->t);
	if (j->depth == 1)
		j->have_end = false;
}

bool safetensors_scan_byte(struct safetensors_scan *j, uint8_t c)
{
	if (j->in_string)
		return string_byte(j, c);
	if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
		return true;
	if (j->done)
		return false;
	if (j->numbers == BEGIN || j->numbers == END)
		return offsets_byte(j, c);
	if (j->depth == 0 && c != '{')
		return false;
	if (j->numbers == SIZES) {
		if (digit(j, c) > 0)
			return true;
		size(j);
		if (c != ',')
			j->numbers = NO_NUMBERS;
	}
	switch (c) {
	case '"':
		j->in_string = true;
		j->odd = false;
		j->len = 0;
		return true;
	case ':':
		if (j->depth == 2)
			j->field = is(j, "data_offsets") ? OFFSETS : is(j, "shape") ? SHAPE :
				is(j, "dtype") ? DTYPE : NOTHING;
		return true;
	case '[':
	case '{':
		return open_bracket(j, c);
	case ']':
	case '}':
		close_bracket(j);
		return true;
	case ',':
		if (j->depth == 2)
			j->field = NOTHING;
		return true;
	}
	return strchr("+-.0123456789eEtrufalsn", c) != NULL && c != '\0';
}
