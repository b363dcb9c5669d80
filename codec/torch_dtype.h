/*
 * torch_dtype.h: torch's element types, under the names that each format has for them.
 *
 * Sources: c10/core/ScalarType.h (names and widths), torch/storage.py (storage classes), the safetensors format,
 * numpy.lib.format with ml_dtypes (bfloat16 and the float8 types are `V` to plain numpy).
 */
#ifndef TORCH_DTYPE_H
#define TORCH_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum torch_dtype {
	TORCH_FLOAT64,
	TORCH_FLOAT32,
	TORCH_FLOAT16,
	TORCH_BFLOAT16,
	TORCH_COMPLEX32,
	TORCH_COMPLEX64,
	TORCH_COMPLEX128,
	TORCH_INT8,
	TORCH_INT16,
	TORCH_INT32,
	TORCH_INT64,
	TORCH_UINT8,
	TORCH_UINT16,
	TORCH_UINT32,
	TORCH_UINT64,
	TORCH_BOOL,
	TORCH_FLOAT8_E4M3FN,
	TORCH_FLOAT8_E5M2,
	TORCH_FLOAT8_E4M3FNUZ,
	TORCH_FLOAT8_E5M2FNUZ,
	TORCH_FLOAT8_E8M0FNU,
	TORCH_FLOAT4_E2M1FN_X2,
	TORCH_BITS8,
	TORCH_BITS16,
	TORCH_BITS1X8,
	TORCH_BITS2X4,
	TORCH_BITS4X2,
	TORCH_QINT8,
	TORCH_QUINT8,
	TORCH_QINT32,
	TORCH_QUINT4X2,
	TORCH_QUINT2X4,
	TORCH_UNTYPED, /* of a storage only: bytes */
	TORCH_DTYPES,
};

struct torch_dtype_info {
	const char *name;        /* torch's, without "torch." */
	const char *storage;     /* class of a typed storage; NULL where there is none */
	const char *safetensors; /* NULL where the format has none */
	const char *numpy;       /* the descr of a .npy; NULL where none does */
	uint8_t width;           /* bytes of an element, or of the smallest group of packed ones */
	bool floating;           /* f64, f32, f16, bf16: what a dtype view converts */
	bool packed; /* several elements share a byte: counts in elements say nothing about bytes */
	bool quantized;
};

const struct torch_dtype_info *torch_dtype_info(enum torch_dtype dtype);

/* By name of the dtype ("float32"; also the old aliases "float", "half", ...) or of the storage class; -1: none. */
int torch_dtype_of_name(const char *name, size_t len);
int torch_dtype_of_storage(const char *name, size_t len);

#endif
