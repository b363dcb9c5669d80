/*
 * torch_dtype.c: torch's element types.
 */
#include "codec/torch_dtype.h"

#include <string.h>

static const struct torch_dtype_info table[TORCH_DTYPES] = {
	[TORCH_FLOAT64] = { "float64", "DoubleStorage", "F64", "<f8", 8, true, false, false },
	[TORCH_FLOAT32] = { "float32", "FloatStorage", "F32", "<f4", 4, true, false, false },
	[TORCH_FLOAT16] = { "float16", "HalfStorage", "F16", "<f2", 2, true, false, false },
	[TORCH_BFLOAT16] = { "bfloat16", "BFloat16Storage", "BF16", "<V2", 2, true, false, false },
	[TORCH_COMPLEX32] = { "complex32", NULL, NULL, NULL, 4, false, false, false },
	[TORCH_COMPLEX64] = { "complex64", "ComplexFloatStorage", "C64", "<c8", 8, false, false, false },
	[TORCH_COMPLEX128] = { "complex128", "ComplexDoubleStorage", NULL, "<c16", 16, false, false, false },
	[TORCH_INT8] = { "int8", "CharStorage", "I8", "|i1", 1, false, false, false },
	[TORCH_INT16] = { "int16", "ShortStorage", "I16", "<i2", 2, false, false, false },
	[TORCH_INT32] = { "int32", "IntStorage", "I32", "<i4", 4, false, false, false },
	[TORCH_INT64] = { "int64", "LongStorage", "I64", "<i8", 8, false, false, false },
	[TORCH_UINT8] = { "uint8", "ByteStorage", "U8", "|u1", 1, false, false, false },
	[TORCH_UINT16] = { "uint16", NULL, "U16", "<u2", 2, false, false, false },
	[TORCH_UINT32] = { "uint32", NULL, "U32", "<u4", 4, false, false, false },
	[TORCH_UINT64] = { "uint64", NULL, "U64", "<u8", 8, false, false, false },
	[TORCH_BOOL] = { "bool", "BoolStorage", "BOOL", "|b1", 1, false, false, false },
	[TORCH_FLOAT8_E4M3FN] = { "float8_e4m3fn", NULL, "F8_E4M3", "|V1", 1, false, false, false },
	[TORCH_FLOAT8_E5M2] = { "float8_e5m2", NULL, "F8_E5M2", "|V1", 1, false, false, false },
	[TORCH_FLOAT8_E4M3FNUZ] = { "float8_e4m3fnuz", NULL, "F8_E4M3FNUZ", "|V1", 1, false, false, false },
	[TORCH_FLOAT8_E5M2FNUZ] = { "float8_e5m2fnuz", NULL, "F8_E5M2FNUZ", "|V1", 1, false, false, false },
	[TORCH_FLOAT8_E8M0FNU] = { "float8_e8m0fnu", NULL, "F8_E8M0", "|V1", 1, false, false, false },
	[TORCH_FLOAT4_E2M1FN_X2] = { "float4_e2m1fn_x2", NULL, "F4", "|V1", 1, false, false, false },
	[TORCH_BITS8] = { "bits8", NULL, NULL, "|V1", 1, false, false, false },
	[TORCH_BITS16] = { "bits16", NULL, NULL, "<V2", 2, false, false, false },
	[TORCH_BITS1X8] = { "bits1x8", NULL, NULL, "|V1", 1, false, false, false },
	[TORCH_BITS2X4] = { "bits2x4", NULL, NULL, "|V1", 1, false, false, false },
	[TORCH_BITS4X2] = { "bits4x2", NULL, NULL, "|V1", 1, false, false, false },
	[TORCH_QINT8] = { "qint8", "QInt8Storage", NULL, "|i1", 1, false, false, true },
	[TORCH_QUINT8] = { "quint8", "QUInt8Storage", NULL, "|u1", 1, false, false, true },
	[TORCH_QINT32] = { "qint32", "QInt32Storage", NULL, "<i4", 4, false, false, true },
	[TORCH_QUINT4X2] = { "quint4x2", "QUInt4x2Storage", NULL, NULL, 1, false, true, true },
	[TORCH_QUINT2X4] = { "quint2x4", "QUInt2x4Storage", NULL, NULL, 1, false, true, true },
	[TORCH_UNTYPED] = { "untyped", "UntypedStorage", NULL, NULL, 1, false, false, false },
};

const struct torch_dtype_info *torch_dtype_info(enum torch_dtype dtype)
{
	return &table[dtype];
}

static bool is(const char *a, const char *p, size_t len)
{
	return a != NULL && strlen(a) == len && memcmp(a, p, len) == 0;
}

int torch_dtype_of_name(const char *name, size_t len)
{
	static const struct {
		const char *name;
		enum torch_dtype dtype;
	} alias[] = {
		{ "double", TORCH_FLOAT64 },
		{ "float", TORCH_FLOAT32 },
		{ "half", TORCH_FLOAT16 },
		{ "chalf", TORCH_COMPLEX32 },
		{ "cfloat", TORCH_COMPLEX64 },
		{ "cdouble", TORCH_COMPLEX128 },
		{ "short", TORCH_INT16 },
		{ "int", TORCH_INT32 },
		{ "long", TORCH_INT64 },
	};

	for (int i = 0; i < TORCH_UNTYPED; i++)
		if (is(table[i].name, name, len))
			return i;
	for (size_t i = 0; i < sizeof alias / sizeof alias[0]; i++)
		if (is(alias[i].name, name, len))
			return (int)alias[i].dtype;
	return -1;
}

int torch_dtype_of_storage(const char *name, size_t len)
{
	for (int i = 0; i < TORCH_DTYPES; i++)
		if (is(table[i].storage, name, len))
			return i;
	return -1;
}
