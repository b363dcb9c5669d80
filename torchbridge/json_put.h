/*
 * json_put.h: writing JSON (RFC 8259) into a buffer.
 *
 * What is written is valid whatever the bytes: those that are no UTF-8 become U+FFFD, controls are escaped.
 */
#ifndef JSON_PUT_H
#define JSON_PUT_H

#include "codec/byte_buf.h"

/* "text", quoted. */
int json_put_string(const void *p, size_t len, struct byte_buf *out);
int json_put_text(const char *text, struct byte_buf *out);

/* ,"key": or "key": after '{'. */
int json_put_key(const char *key, struct byte_buf *out);

/* The same and a value. A NULL text is null. */
int json_put_member(const char *key, const char *text, struct byte_buf *out);
int json_put_number(const char *key, uint64_t v, struct byte_buf *out);

/* [1,2,3] */
int json_put_numbers(const uint64_t *v, size_t n, struct byte_buf *out);

#endif
