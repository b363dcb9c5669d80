/*
 * zip_write.c: zips as torch writes them.
 */
#include "codec/zip_write.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "codec/ckpt_error.h"

#define WIDE UINT64_C(0xffffffff)

enum { LOCAL_LEN = 30, FLAGS_UTF8 = 0x0800, FLAGS_DESCRIPTOR = 0x0008, MADE_BY = 0x031e, NEEDED = 45 };

void zip_writer_init(struct zip_writer *w, uint64_t off, uint64_t align)
{
	*w = (struct zip_writer){ .off = off, .align = align > 0 ? align : 64 };
}

void zip_writer_release(struct zip_writer *w)
{
	byte_buf_release(&w->directory);
	byte_buf_release(&w->name);
}

/* Length of the zip64 field. size: the larger of the two of a record. */
static uint64_t wide_field(uint64_t size, uint64_t header)
{
	return size >= WIDE || header >= WIDE
			       ? 4 + 16 * (uint64_t)(size >= WIDE) + 8 * (uint64_t)(header >= WIDE)
			       : 0;
}

static uint64_t padding(size_t name_len, uint64_t size, uint64_t header, uint64_t align)
{
	uint64_t at = header + LOCAL_LEN + name_len + wide_field(size, header) + 4;

	return (align - at % align) % align;
}

int64_t zip_header_length(size_t name_len, uint64_t size, uint64_t header, uint64_t align)
{
	uint64_t a = align > 0 ? align : 64, field = wide_field(size, header), pad;

	if (name_len == 0 || name_len > ZIP_NAME_MAX || header > INT64_MAX || size > INT64_MAX)
		return ckpt_fail(EINVAL, "zip: a record that can't be written");
	pad = padding(name_len, size, header, a);
	if (field + 4 + pad > UINT16_MAX)
		return ckpt_fail(EINVAL, "zip: an alignment of %llu bytes does not fit",
				(unsigned long long)a);
	return (int64_t)(LOCAL_LEN + name_len + field + 4 + pad);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

int zip_write_header(struct zip_writer *w, const char *name, size_t name_len, uint64_t size,
		struct byte_buf *out, uint64_t *data)
{
	return zip_write_header_as(w, name, name_len, ZIP_STORED, size, size, out, data);
}

int zip_write_header_as(struct zip_writer *w, const char *name, size_t name_len, unsigned method,
		uint64_t size, uint64_t raw_size, struct byte_buf *out, uint64_t *data)
{
	uint64_t header = w->off, most = larger(size, raw_size), field = wide_field(most, header), pad;
	int64_t len = zip_header_length(name_len, most, header, w->align);
	int rc;

	if (len < 0)
		return (int)len;
	pad = padding(name_len, most, header, w->align);
	rc = byte_buf_reserve(out, (size_t)len);
	if (rc == 0)
		rc = byte_buf_reserve(&w->name, name_len);
	if (rc < 0)
		return rc;
	/* There is room: from here on nothing fails. */
	byte_buf_put(out, "PK\3\4", 4);
	byte_buf_le(out, 0, 2);
	byte_buf_le(out, FLAGS_UTF8 | (size > 0 ? FLAGS_DESCRIPTOR : 0), 2);
	byte_buf_le(out, method, 2);
	byte_buf_fill(out, 0, 4 + 4 + 8); /* time, checksum, sizes */
	byte_buf_le(out, name_len, 2);
	byte_buf_le(out, field + 4 + pad, 2);
	byte_buf_put(out, name, name_len);
	if (field > 0) {
		byte_buf_le(out, 1, 2);
		byte_buf_le(out, field - 4, 2);
		if (most >= WIDE) {
			byte_buf_le(out, raw_size, 8);
			byte_buf_le(out, 0, 8); /* so miniz writes it */
		}
		if (header >= WIDE)
			byte_buf_le(out, header, 8);
	}
	byte_buf_put(out, "FB", 2);
	byte_buf_le(out, pad, 2);
	byte_buf_fill(out, 'Z', (size_t)pad);

	w->name.len = 0;
	byte_buf_put(&w->name, name, name_len);
	w->header = header;
	w->size = size;
	w->raw_size = raw_size;
	w->method = method;
	*data = header + (uint64_t)len;
	w->off = *data + size;
	return 0;
}

int zip_write_descriptor(struct zip_writer *w, uint32_t crc, struct byte_buf *out)
{
	uint64_t most = larger(w->size, w->raw_size), field = wide_field(most, w->header);
	struct byte_buf *d = &w->directory;
	size_t width = field > 0 ? 8 : 4;
	int rc = byte_buf_reserve(d, 46 + w->name.len + (size_t)field);

	if (rc == 0)
		rc = byte_buf_reserve(out, 24);
	if (rc < 0)
		return rc;
	if (w->size > 0) {
		byte_buf_put(out, "PK\7\10", 4);
		byte_buf_le(out, crc, 4);
		byte_buf_le(out, w->size, width);
		byte_buf_le(out, w->raw_size, width);
		w->off += 8 + 2 * width;
	}
	byte_buf_put(d, "PK\1\2", 4);
	byte_buf_le(d, 0, 4); /* made by, needed */
	byte_buf_le(d, FLAGS_UTF8 | (w->size > 0 ? FLAGS_DESCRIPTOR : 0), 2);
	byte_buf_le(d, w->method, 2);
	byte_buf_fill(d, 0, 4); /* time */
	byte_buf_le(d, crc, 4);
	byte_buf_le(d, most < WIDE ? w->size : WIDE, 4);
	byte_buf_le(d, most < WIDE ? w->raw_size : WIDE, 4);
	byte_buf_le(d, w->name.len, 2);
	byte_buf_le(d, field, 2);
	byte_buf_fill(d, 0, 10); /* comment, disk, attributes */
	byte_buf_le(d, w->header < WIDE ? w->header : WIDE, 4);
	byte_buf_put(d, w->name.p, w->name.len);
	if (field > 0) {
		byte_buf_le(d, 1, 2);
		byte_buf_le(d, field - 4, 2);
		if (most >= WIDE) {
			byte_buf_le(d, w->raw_size, 8);
			byte_buf_le(d, w->size, 8);
		}
		if (w->header >= WIDE)
			byte_buf_le(d, w->header, 8);
	}
	w->entries++;
	return 0;
}

/* The end records of a directory of `size` bytes at `at`. */
static int write_ends(uint64_t at, uint64_t size, uint64_t entries, struct byte_buf *out)
{
	uint64_t end64 = at + size, few = entries < 0xffff ? entries : 0xffff;
	int rc = byte_buf_reserve(out, 98);

	if (rc < 0)
		return rc;
	byte_buf_put(out, "PK\6\6", 4);
	byte_buf_le(out, 44, 8);
	byte_buf_le(out, MADE_BY, 2);
	byte_buf_le(out, NEEDED, 2);
	byte_buf_fill(out, 0, 8);
	byte_buf_le(out, entries, 8);
	byte_buf_le(out, entries, 8);
	byte_buf_le(out, size, 8);
	byte_buf_le(out, at, 8);
	byte_buf_put(out, "PK\6\7", 4);
	byte_buf_le(out, 0, 4);
	byte_buf_le(out, end64, 8);
	byte_buf_le(out, 1, 4);
	byte_buf_put(out, "PK\5\6", 4);
	byte_buf_fill(out, 0, 4);
	byte_buf_le(out, few, 2);
	byte_buf_le(out, few, 2);
	byte_buf_le(out, size < WIDE ? size : WIDE, 4);
	byte_buf_le(out, at < WIDE ? at : WIDE, 4);
	return byte_buf_le(out, 0, 2);
}

int zip_write_end(struct zip_writer *w, struct byte_buf *out)
{
	size_t len = w->directory.len;
	int rc = 0;

	if (out->len == 0) {
		struct byte_buf empty = *out;

		*out = w->directory;
		w->directory = empty;
	} else {
		rc = byte_buf_put(out, w->directory.p, len);
	}
	if (rc == 0)
		rc = write_ends(w->off, len, w->entries, out);
	if (rc == 0)
		w->off += len + 98;
	return rc;
}

/* A new record at the end: its bytes go to the sink, and what the directory says of it to `fresh`. */
static int write_change(struct zip_writer *w, const struct zip_change *c, const struct zip_sink *sink,
		struct byte_buf *fresh)
{
	uint32_t crc = zip_crc(0, c->bytes->p, c->bytes->len);
	struct byte_buf b = { 0 };
	uint64_t data;
	int rc = zip_write_header(w, c->entry->name, c->entry->name_len, c->bytes->len, &b, &data);

	if (rc == 0)
		rc = sink->bytes(sink->arg, b.p, b.len);
	if (rc == 0)
		rc = sink->bytes(sink->arg, c->bytes->p, c->bytes->len);
	b.len = 0;
	if (rc == 0)
		rc = zip_write_descriptor(w, crc, &b);
	if (rc == 0)
		rc = sink->bytes(sink->arg, b.p, b.len);
	byte_buf_release(&b);
	if (rc == 0)
		rc = byte_buf_put(fresh, w->directory.p, w->directory.len);
	w->directory.len = 0;
	return rc;
}

/* Which of the changes is for this entry; n: none. */
static size_t change_of(const struct zip_change *changes, size_t n, const struct zip_entry *e)
{
	size_t i = 0;

	while (i < n && changes[i].entry != e)
		i++;
	return i;
}

/* The old directory, but for the records of what has changed. *size: how long the new one is. */
static int write_records(const struct zip *z, const struct zip_change *changes, size_t n,
		const struct byte_buf *fresh, const struct zip_sink *sink, uint64_t *size)
{
	uint64_t len, same = zip_directory(z, &len),
		      end = same + len; /* from `same` on nothing is written yet */
	int rc = 0;

	*size = len;
	for (size_t i = 0; rc == 0 && n > 0 && i < zip_count(z); i++) {
		const struct zip_entry *e = zip_at(z, i);
		size_t k = change_of(changes, n, e);

		if (k == n)
			continue;
		rc = sink->range(sink->arg, same, e->record - same);
		if (rc == 0)
			rc = sink->bytes(sink->arg, fresh[k].p, fresh[k].len);
		same = e->record + e->record_len;
		*size += fresh[k].len - (uint64_t)e->record_len;
	}
	return rc < 0 ? rc : sink->range(sink->arg, same, end - same);
}

int zip_write_tail(
		const struct zip *z, const struct zip_change *changes, size_t n, const struct zip_sink *sink)
{
	struct byte_buf fresh[ZIP_CHANGES_MAX] = { { 0 } }, b = { 0 };
	uint64_t len, at = zip_directory(z, &len);
	struct zip_writer w;
	int rc;

	if (zip_base(z) != 0 || n > ZIP_CHANGES_MAX)
		return ckpt_fail(EINVAL, "zip: one of several end to end, or too many changes");
	zip_writer_init(&w, at, 64);
	rc = sink->range(sink->arg, 0, at);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = write_change(&w, &changes[i], sink, &fresh[i]);
	if (rc == 0)
		rc = write_records(z, changes, n, fresh, sink, &len);
	if (rc == 0)
		rc = write_ends(w.off, len, zip_count(z), &b);
	if (rc == 0)
		rc = sink->bytes(sink->arg, b.p, b.len);
	zip_writer_release(&w);
	byte_buf_release(&b);
	for (size_t i = 0; i < n; i++)
		byte_buf_release(&fresh[i]);
	return rc;
}

/* Eight tables, for eight bytes a step (Intel's "slicing by 8"). */
static uint32_t crc_table[8][256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c >> 1 ^ (0xedb88320 & -(c & 1));
		crc_table[0][i] = c;
	}
	for (uint32_t i = 0; i < 256; i++)
		for (int k = 1; k < 8; k++)
			crc_table[k][i] = crc_table[k - 1][i] >> 8 ^ crc_table[0][crc_table[k - 1][i] & 255];
}

uint32_t zip_crc(uint32_t crc, const uint8_t *p, size_t len)
{
	pthread_once(&crc_once, make_tables);
	crc = ~crc;
	for (; len >= 8; p += 8, len -= 8) {
		uint32_t a = crc ^ byte_le32(p), b = byte_le32(p + 4);

		crc = crc_table[7][a & 255] ^ crc_table[6][a >> 8 & 255] ^ crc_table[5][a >> 16 & 255] ^
		      crc_table[4][a >> 24] ^ crc_table[3][b & 255] ^ crc_table[2][b >> 8 & 255] ^
		      crc_table[1][b >> 16 & 255] ^ crc_table[0][b >> 24];
	}
	for (; len > 0; p++, len--)
		crc = crc >> 8 ^ crc_table[0][(crc ^ *p) & 255];
	return ~crc;
}
