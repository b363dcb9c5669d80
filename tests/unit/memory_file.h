/*
 * memory_file.h: a file in memory for the tests of formats: a buffer, a callback that reads it a little at a time,
 * and a small torch zip to start from.
 */
#ifndef MEMORY_FILE_H
#define MEMORY_FILE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "codec/byte_buf.h"
#include "codec/zip_write.h"

/* The codec_read_at of a struct byte_buf: at most 1000 bytes a call. */
static inline int64_t memory_read(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct byte_buf *b = arg;

	if (off >= b->len)
		return 0;
	if (len > b->len - off)
		len = (size_t)(b->len - off);
	if (len > 1000)
		len = 1000;
	memcpy(buf, b->p + off, len);
	return (int64_t)len;
}

/* Appends a record with its header and descriptor. */
static inline uint64_t memory_record(struct byte_buf *f, struct zip_writer *w, const char *name, const void *p,
		size_t len)
{
	uint64_t data;

	assert_int_equal(zip_write_header(w, name, strlen(name), len, f, &data), 0);
	assert_int_equal(f->len, data);
	assert_int_equal(byte_buf_put(f, p, len), 0);
	assert_int_equal(zip_write_descriptor(w, zip_crc(0, p, len), f), 0);
	assert_int_equal(f->len, w->off);
	return data;
}

#endif
