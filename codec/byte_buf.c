/*
 * byte_buf.c: bytes that grow at their end.
 */
#include "codec/byte_buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

void byte_buf_release(struct byte_buf *b)
{
	free(b->p);
	*b = (struct byte_buf){ 0 };
}

int byte_buf_reserve(struct byte_buf *b, size_t n)
{
	size_t cap = b->cap > 0 ? b->cap : 256;
	uint8_t *p;

	if (n <= b->cap - b->len)
		return 0;
	if (n > BYTE_BUF_MAX - b->len)
		return ckpt_fail(EFBIG, "a generated piece would be larger than %zu bytes", BYTE_BUF_MAX);
	while (cap < b->len + n)
		cap *= 2;
	p = realloc(b->p, cap);
	if (p == NULL)
		return ckpt_fail(ENOMEM, "out of memory for %zu bytes", cap);
	b->p = p;
	b->cap = cap;
	return 0;
}

int byte_buf_put(struct byte_buf *b, const void *p, size_t n)
{
	int rc = byte_buf_reserve(b, n);

	if (rc < 0 || n == 0)
		return rc;
	memcpy(b->p + b->len, p, n);
	b->len += n;
	return 0;
}

int byte_buf_text(struct byte_buf *b, const char *s)
{
	return byte_buf_put(b, s, strlen(s));
}

int byte_buf_format(struct byte_buf *b, const char *fmt, ...)
{
	va_list ap, again;
	int n, rc;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	rc = n < 0 ? ckpt_fail(EINVAL, "text can't be formatted") : byte_buf_reserve(b, (size_t)n + 1);
	if (rc == 0) {
		vsnprintf((char *)b->p + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	return rc;
}

int byte_buf_le(struct byte_buf *b, uint64_t v, size_t width)
{
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(v >> 8 * i);
	return byte_buf_put(b, bytes, width);
}

int byte_buf_fill(struct byte_buf *b, uint8_t c, size_t n)
{
	int rc = byte_buf_reserve(b, n);

	if (rc < 0 || n == 0)
		return rc;
	memset(b->p + b->len, c, n);
	b->len += n;
	return 0;
}
