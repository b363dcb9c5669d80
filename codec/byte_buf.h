/*
 * byte_buf.h: bytes that grow at their end, and little-endian numbers in them.
 *
 * What formats are written into.  A zeroed struct is an empty buffer; byte_buf_release() gives its memory back
 * and makes it empty again.  A function that fails (-ENOMEM, -EFBIG past BYTE_BUF_MAX) leaves it as it was.
 */
#ifndef BYTE_BUF_H
#define BYTE_BUF_H

#include <stddef.h>
#include <stdint.h>

#define BYTE_BUF_MAX ((size_t)2 << 30)

struct byte_buf {
	uint8_t *p; /* owned */
	size_t len, cap;
};

void byte_buf_release(struct byte_buf *b);

/* Room for n more bytes, so that the next n can be put without failing. */
int byte_buf_reserve(struct byte_buf *b, size_t n);

int byte_buf_put(struct byte_buf *b, const void *p, size_t n);
int byte_buf_text(struct byte_buf *b, const char *s);
int byte_buf_format(struct byte_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The low `width` bytes of v, little-endian; width <= 8. */
int byte_buf_le(struct byte_buf *b, uint64_t v, size_t width);

/* n times the byte c. */
int byte_buf_fill(struct byte_buf *b, uint8_t c, size_t n);

static inline uint32_t byte_le16(const uint8_t *p)
{
	return (uint32_t)(p[0] | p[1] << 8);
}

static inline uint32_t byte_le32(const uint8_t *p)
{
	return byte_le16(p) | byte_le16(p + 2) << 16;
}

static inline uint64_t byte_le64(const uint8_t *p)
{
	return byte_le32(p) | (uint64_t)byte_le32(p + 4) << 32;
}

#endif
