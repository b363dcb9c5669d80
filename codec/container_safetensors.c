/*
 * container_safetensors.c: is a safetensors file as long as its header says?
 *
 *   u64 n | n bytes of JSON: {"name":{"dtype":"F32","shape":[2,3],"data_offsets":[a,b]}, ...} | data
 *
 * The format has no magic number: 2 <= n <= 100,000,000 (its own limit) and a '{' at byte 8, before which a space may
 * stand.  The header is run through byte by byte, in pieces; all that is kept is the largest `b`.  The file is
 * whole when it is exactly 8 + n + b long.  A longer one is refused by every reader and nobody's torn save;
 * a header that is no such JSON makes the file none of ours.
 */
#include <stdbool.h>
#include <string.h>

#include "container_internal.h"

#define HEADER_MAX UINT64_C(100000000)

enum { DEPTH_MAX = 64 };

/* What of "data_offsets":[a,b] comes next. */
enum want { NOTHING, BRACKET, BEGIN, END };

struct scan {
	unsigned depth;
	bool in_string, escaped, done;
	size_t matched;  /* bytes of KEY that this string began with; KEY_OTHER: it is another one */
	bool key;        /* the last string was KEY */
	enum want want;
	bool digits;     /* at least one, of the number being read */
	uint64_t number, begin;
	uint64_t end;    /* largest so far */
};

static const char KEY[] = "data_offsets";
enum { KEY_LEN = sizeof KEY - 1, KEY_OTHER = sizeof KEY };

static bool string_byte(struct scan *j, uint8_t c)
{
	if (j->escaped) {
		j->escaped = false;
	} else if (c == '\\') {
		j->escaped = true;
		j->matched = KEY_OTHER;
	} else if (c == '"') {
		j->in_string = false;
		j->key = j->matched == KEY_LEN;
	} else if (c < 0x20) {
		return false;
	} else if (j->matched < KEY_LEN && c == (uint8_t)KEY[j->matched]) {
		j->matched++;
	} else {
		j->matched = KEY_OTHER;
	}
	return true;
}

/* A byte of "a,b]". */
static bool offsets_byte(struct scan *j, uint8_t c)
{
	if (c >= '0' && c <= '9') {
		if (j->number > (UINT64_MAX - 9) / 10)
			return false;
		j->number = j->number * 10 + (c - '0');
		j->digits = true;
		return true;
	}
	if (!j->digits || c != (j->want == BEGIN ? ',' : ']'))
		return false;
	if (j->want == BEGIN) {
		j->begin = j->number;
		j->want = END;
	} else {
		if (j->number < j->begin)
			return false;
		if (j->number > j->end)
			j->end = j->number;
		j->want = NOTHING;
		j->depth--;
	}
	j->number = 0;
	j->digits = false;
	return true;
}

/* Takes the next byte of the header; false when this can't be one. */
static bool header_byte(struct scan *j, uint8_t c)
{
	if (j->in_string)
		return string_byte(j, c);
	if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
		return true;
	if (j->done)
		return false;
	if (j->want == BEGIN || j->want == END)
		return offsets_byte(j, c);
	if (j->want == BRACKET && c != '[')
		j->want = NOTHING; /* a word of __metadata__ */
	if (j->depth == 0 && c != '{')
		return false;
	switch (c) {
	case '"':
		j->in_string = true;
		j->matched = 0;
		return true;
	case ':':
		/* One level down is a tensor's record, or __metadata__, where all values are strings. */
		if (j->key && j->depth == 2)
			j->want = BRACKET;
		return true;
	case '[':
	case '{':
		if (j->want == BRACKET)
			j->want = BEGIN;
		return ++j->depth <= DEPTH_MAX;
	case ']':
	case '}':
		j->done = --j->depth == 0;
		return true;
	}
	return strchr(",+-.0123456789eEtrufalsn", c) != NULL && c != '\0';
}

int container_safetensors(struct container_src *s)
{
	struct scan j = { 0 };
	uint8_t head[9];
	uint64_t n, off = 8, stop, total;
	int rc = container_read(s, 0, head, sizeof head);

	if (rc <= 0)
		return rc; /* 0: too short to tell, CODEC_CONTAINER_NONE */
	n = container_le64(head);
	if (n < 2 || n > HEADER_MAX || (head[8] != '{' && head[8] != ' '))
		return CODEC_CONTAINER_NONE;
	stop = 8 + n < s->size ? 8 + n : s->size;
	while (off < stop) {
		const uint8_t *p;
		size_t k;

		rc = container_window(s, off, &p, &k);
		if (rc <= 0)
			return rc < 0 ? rc : CODEC_CONTAINER_TORN;
		if (k > stop - off)
			k = (size_t)(stop - off);
		for (size_t i = 0; i < k; i++)
			if (!header_byte(&j, p[i]))
				return CODEC_CONTAINER_NONE;
		off += k;
	}
	if (s->size < 8 + n)
		return CODEC_CONTAINER_TORN;
	if (!j.done || j.end > UINT64_MAX - 8 - n)
		return CODEC_CONTAINER_NONE;
	total = 8 + n + j.end;
	if (s->size < total)
		return CODEC_CONTAINER_TORN;
	return s->size == total ? CODEC_CONTAINER_WHOLE : CODEC_CONTAINER_NONE;
}
