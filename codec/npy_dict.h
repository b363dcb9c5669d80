/*
 * npy_dict.h: what the dict at the head of a .npy file says (NEP 1 and numpy.lib.format).
 *
 *   93 'NUMPY' major minor | u16 (version 1) or u32 (2, 3) length | a Python dict as text | data
 *   {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 */
#ifndef NPY_DICT_H
#define NPY_DICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NPY_MAGIC "\x93NUMPY"

enum {
	NPY_MAGIC_LEN = 6,
	NPY_PREFIX_MAX = 12, /* bytes before the dict */
	NPY_DICT_MAX = 4096, /* a plain dtype and 64 dimensions need half of it */
};

struct npy_layout {
	uint64_t bytes;        /* of data */
	uint32_t item;         /* bytes of an element */
	char order, kind;      /* of the dtype: "<>|=" and "biufcSaUVMm" */
	unsigned dims;
	uint64_t last, before; /* the last two dimensions in memory order, 1 where there are none */
};

/* Reads the dict dict[0, len). False where it is not understood: structured and object types. */
bool npy_dict(const char *dict, size_t len, struct npy_layout *out);

#endif
