/*
 * npy_header.h: the head of a .npy file (NEP 1, numpy.lib.format).
 *
 *   93 'NUMPY' major minor | u16 (version 1) or u32 (2, 3) length | a Python dict as text, padded | data
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *
 * Plain dtypes only: a descr that is a list of fields is -ENOTSUP.
 */
#ifndef NPY_HEADER_H
#define NPY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/byte_buf.h"

#define NPY_MAGIC "\x93NUMPY"

enum {
	NPY_MAGIC_LEN = 6,
	NPY_PREFIX_MAX = 12, /* bytes before the dict */
	NPY_DICT_MAX = 4096, /* a plain dtype and 64 dimensions need half of it */
	NPY_DIMS_MAX = 64,
	NPY_DESCR_MAX = 31,
	NPY_HEAD_MAX = 65536, /* bytes: no head of a plain dtype is longer */
};

struct npy_header {
	char descr[NPY_DESCR_MAX + 1]; /* "<f4", "|b1", "<V2", "<M8[ns]" */
	bool fortran;
	uint32_t ndim;
	uint64_t size[NPY_DIMS_MAX];
	uint64_t width; /* bytes of an element */
	uint64_t count; /* elements */
	uint64_t bytes; /* of data */
	size_t length;  /* of the head: where the data begin */
};

/*
 * Reads the head in p[0, len), the first bytes of a file.  -EINVAL: no .npy; -EBADMSG: one whose head makes
 * no sense; -ENOTSUP; -ENODATA: the head is longer than len (NPY_HEAD_MAX bytes are always enough for what is
 * read here).
 */
int npy_read_header(const uint8_t *p, size_t len, struct npy_header *out);

/*
 * The same of the dict alone, dict[0, len), for those who have the bytes before it elsewhere: out->length is 0.
 * -EBADMSG, -ENOTSUP.
 */
int npy_read_dict(const char *dict, size_t len, struct npy_header *out);

/*
 * Appends a head as numpy writes it: version 1.0, padded with spaces so that the data begin at a multiple of
 * 64. -EINVAL: too many dimensions, or a descr with a quote in it.
 */
int npy_write_header(
		const char *descr, bool fortran, const uint64_t *size, uint32_t ndim, struct byte_buf *out);

#endif
