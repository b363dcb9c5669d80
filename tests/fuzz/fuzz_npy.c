/*
 * fuzz_npy.c: any bytes as the head of a .npy; what is read and can be written reads the same again.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -std=c11 -D_GNU_SOURCE -I. -Icodec tests/fuzz/fuzz_npy.c
 *       codec/ckpt_error.c codec/byte_buf.c codec/npy_header.c -o fuzz_npy
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/npy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct npy_header h, again;
	struct byte_buf b = { 0 };

	if (npy_read_header(data, size, &h) != 0)
		return 0;
	if (h.length > size || h.ndim > NPY_DIMS_MAX)
		abort();
	if (npy_write_header(h.descr, h.fortran, h.size, h.ndim, &b) == 0 &&
	    (npy_read_header(b.p, b.len, &again) != 0 || again.bytes != h.bytes || again.ndim != h.ndim))
		abort();
	byte_buf_release(&b);
	return 0;
}
