/*
 * zip_write.h: zips as torch writes them, byte for byte.
 *
 * Formulas of caffe2/serialize/inline_container.cc and its miniz: for a record of S bytes whose local header
 * is at H, with a name of L bytes, an alignment A (64, or what .storage_alignment says) and M = 0xffffffff:
 *
 *   wide = S >= M or H >= M;  field = wide ? 4 + 16 * (S >= M) + 8 * (H >= M) : 0
 *   pad  = -(H + 30 + L + field + 4) mod A;  data begin at H + 30 + L + field + 4 + pad
 *   the next header is at data + S + (S == 0 ? 0 : wide ? 24 : 16)
 *
 * Local headers have no sizes and no checksum (a descriptor behind the data has), and always the zip64
 * records at the end.  Two uses: a whole new zip, record after record; and the tail of one that exists, whose
 * records stay where they are while its directory is written anew.
 *
 * The writer makes the bytes between the data and keeps count of where they go; the data are the caller's.
 */
#ifndef ZIP_WRITE_H
#define ZIP_WRITE_H

#include <stddef.h>
#include <stdint.h>

#include "codec/byte_buf.h"
#include "codec/zip_read.h"

enum { ZIP_CHANGES_MAX = 4 };

struct zip_writer {
	uint64_t off;   /* in the file, of what comes next */
	uint64_t align; /* of data */
	uint64_t entries;
	struct byte_buf directory; /* records so far */

	/* The record under way. */
	struct byte_buf name;
	uint64_t header, size, raw_size;
	unsigned method;
};

/*
 * Begins a zip whose next byte is at `off`; align of 0 is taken for 64. Released with zip_writer_release().
 */
void zip_writer_init(struct zip_writer *w, uint64_t off, uint64_t align);
void zip_writer_release(struct zip_writer *w);

/*
 * Appends a local header to out, and moves on to behind the data: the caller puts `size` bytes there.  *data
 * is where they begin.  -EINVAL: a name that is empty or longer than ZIP_NAME_MAX, an alignment above 65535
 * that does not fit.
 */
int zip_write_header(struct zip_writer *w, const char *name, size_t name_len, uint64_t size,
		struct byte_buf *out, uint64_t *data);

/*
 * The same for a record whose data are compressed: `size` bytes that become raw_size by a zip method
 * (ZIP_DEFLATED).
 */
int zip_write_header_as(struct zip_writer *w, const char *name, size_t name_len, unsigned method,
		uint64_t size, uint64_t raw_size, struct byte_buf *out, uint64_t *data);

/*
 * Appends what follows the data of that record, and enters it into the directory. crc may be 0: torch does
 * not ask.
 */
int zip_write_descriptor(struct zip_writer *w, uint32_t crc, struct byte_buf *out);

/* Appends the directory and the end records. */
int zip_write_end(struct zip_writer *w, struct byte_buf *out);

/* Length of the local header of such a record at `header`, padding and all; -EINVAL as above. */
int64_t zip_header_length(size_t name_len, uint64_t size, uint64_t header, uint64_t align);

/*
 * A zip with some entries exchanged: the file as it is up to its directory, then header and new bytes of
 * each, and a directory that says what the old one said and, in the places of those that were exchanged,
 * where the new ones are.  All other offsets stay.  The bytes of the old entries remain where they were,
 * named by nobody.
 *
 * It is told in pieces, in order: bytes that are new, and ranges of the file; a change's bytes are told once
 * and not looked at afterwards.  n <= ZIP_CHANGES_MAX.
 */
struct zip_change {
	const struct zip_entry *entry;
	struct byte_buf *bytes; /* not looked at after they were told: the memory may be taken over then */
};
struct zip_sink {
	int (*bytes)(void *arg, const void *p, size_t len);
	int (*range)(void *arg, uint64_t off, uint64_t len);
	void *arg;
};
int zip_write_tail(
		const struct zip *z, const struct zip_change *changes, size_t n, const struct zip_sink *sink);

/* CRC-32 of a zip (IEEE 802.3, reflected): of p[0, len) after what gave `crc`, which is 0 at first. */
uint32_t zip_crc(uint32_t crc, const uint8_t *p, size_t len);

#endif
