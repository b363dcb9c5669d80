/*
 * json_text.h: taking JSON apart that lies in memory, token by token, as strictly as serde_json does.
 *
 * Strings are unescaped where they lie (which never makes them longer) and terminated in place of their closing
 * quote: the text is used up by reading it.
 */
#ifndef JSON_TEXT_H
#define JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH_MAX = 128 };

struct json_text {
	char *p, *end;
};

/* Takes c, after white space, if it is there. */
bool json_take(struct json_text *t, char c);

/* Takes a string: valid UTF-8 of *len bytes, terminated. */
bool json_take_string(struct json_text *t, const char **out, size_t *len);

/* Takes a number of digits only. */
bool json_take_uint(struct json_text *t, uint64_t *out);

/* Takes any value, nested no deeper than JSON_DEPTH_MAX. */
bool json_skip(struct json_text *t);

/* Whether only white space is left. */
bool json_at_end(struct json_text *t);

#endif
