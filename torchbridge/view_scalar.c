/*
 * view_scalar.c: numbers and words as Python prints them.
 */
#include "view_scalar.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum { SIZE_ITEMS_MAX = 16 };

/*
 * ---- floats
 * ----------------------------------------------------------------------------------------------------
 */

/*
 * The fewest significant digits that read back as v, as "d.ddde[+-]xx".  If 15 digits (6 of a float of 32
 * bits) do, they are the shortest when their trailing zeros are dropped; only subnormals may take fewer.
 */
static void shortest(double v, bool single, char out[40])
{
	int sure = single ? 6 : 15, most = single ? 9 : 17;
	bool subnormal = fabs(v) < (single ? (double)FLT_MIN : DBL_MIN);

	for (int digits = subnormal ? 1 : sure; digits <= most; digits++) {
		snprintf(out, 40, "%.*e", digits - 1, v);
		if (single ? strtof(out, NULL) == (float)v : strtod(out, NULL) == v)
			return;
	}
}

/* `point`: whether a whole number ends in ".0". */
static int put_float(double v, bool single, bool point, struct byte_buf *out)
{
	char text[40], digit[24];
	int n = 0, exponent;
	const char *p = text;
	int rc = 0;

	if (isnan(v))
		return byte_buf_text(out, "nan");
	if (isinf(v))
		return byte_buf_text(out, v < 0 ? "-inf" : "inf");
	shortest(v, single, text);
	if (*p == '-') {
		rc = byte_buf_put(out, "-", 1);
		p++;
	}
	for (; *p != 'e'; p++)
		if (*p != '.')
			digit[n++] = *p;
	exponent = atoi(p + 1);
	while (n > 1 && digit[n - 1] == '0')
		n--;
	if (rc < 0)
		return rc;
	if (exponent < -4 || exponent >= 16)
		return byte_buf_format(out, "%c%s%.*se%c%02d", digit[0], n > 1 ? "." : "", n - 1, digit + 1,
				exponent < 0 ? '-' : '+', abs(exponent));
	if (exponent < 0)
		return byte_buf_format(out, "0.%.*s%.*s", -exponent - 1, "0000", n, digit);
	if (n <= exponent + 1)
		return byte_buf_format(out, "%.*s%.*s%s", n, digit, exponent + 1 - n, "0000000000000000",
				point ? ".0" : "");
	return byte_buf_format(out, "%.*s.%.*s", exponent + 1, digit, n - exponent - 1, digit + exponent + 1);
}

int view_float(double v, bool single, struct byte_buf *out)
{
	return put_float(v, single, true, out);
}

/* repr(complex): "2j" where the real part is +0, else "(1+2j)". */
static int put_complex(double re, double im, bool single, struct byte_buf *out)
{
	bool pure = re == 0 && !signbit(re);
	int rc = 0;

	if (!pure) {
		rc = byte_buf_put(out, "(", 1);
		if (rc == 0)
			rc = put_float(re, single, false, out);
		if (rc == 0 && (isnan(im) || !signbit(im)))
			rc = byte_buf_put(out, "+", 1);
	}
	if (rc == 0)
		rc = put_float(im, single, false, out);
	return rc < 0 ? rc : byte_buf_text(out, pure ? "j" : "j)");
}

static bool number(const struct pickle *g, uint32_t ref, double *out)
{
	int64_t v;

	if (pickle_kind_of(g, ref) == PICKLE_FLOAT) {
		*out = pickle_float(g, ref);
		return true;
	}
	if (!pickle_int(g, ref, &v))
		return false;
	*out = (double)v;
	return true;
}

static bool complex_parts(const struct torch_object *o, uint32_t ref, double part[2])
{
	const struct pickle *g = torch_graph(o);
	const struct pickle_call *c = pickle_call(g, ref);
	uint32_t n = 0;
	const uint32_t *a = c != NULL ? pickle_children(g, c->args, &n) : NULL;

	return n == 2 && number(g, a[0], &part[0]) && number(g, a[1], &part[1]);
}

/*
 * ---- integers
 * --------------------------------------------------------------------------------------------------
 */

/* The magnitude of a two's complement number, little-endian. */
static uint8_t magnitude_at(const uint8_t *p, size_t i, bool negative, unsigned *carry)
{
	unsigned v = negative ? (unsigned)(uint8_t)~p[i] + *carry : p[i];

	*carry = v >> 8;
	return (uint8_t)v;
}

static int put_hex(const uint8_t *p, size_t len, struct byte_buf *out)
{
	static const char digits[] = "0123456789abcdef";
	bool negative = (p[len - 1] & 0x80) != 0;
	size_t start;
	unsigned carry = 1;
	uint8_t *to;
	int rc = byte_buf_text(out, negative ? "-0x" : "0x");

	if (rc == 0)
		rc = byte_buf_reserve(out, 2 * len);
	if (rc < 0)
		return rc;
	start = out->len;
	to = out->p + start;
	for (size_t i = 0; i < len; i++) {
		uint8_t v = magnitude_at(p, i, negative, &carry);

		to[2 * (len - 1 - i)] = (uint8_t)digits[v >> 4];
		to[2 * (len - 1 - i) + 1] = (uint8_t)digits[v & 15];
	}
	for (carry = 0; carry + 1 < 2 * len && to[carry] == '0'; carry++)
		;
	memmove(to, to + carry, 2 * len - carry);
	out->len += 2 * len - carry;
	return 0;
}

static int put_long(const uint8_t *p, size_t len, struct byte_buf *out)
{
	uint32_t word[VIEW_DECIMAL_MAX / 4 + 1] = { 0 };
	char text[VIEW_DECIMAL_MAX * 5 / 2 + 16];
	size_t words = (len + 3) / 4, at = sizeof text;
	bool negative = len > 0 && (p[len - 1] & 0x80) != 0;
	unsigned carry = 1;

	if (len > VIEW_DECIMAL_MAX)
		return put_hex(p, len, out);
	for (size_t i = 0; i < len; i++)
		word[i / 4] |= (uint32_t)magnitude_at(p, i, negative, &carry) << 8 * (i % 4);
	while (words > 0 && word[words - 1] == 0)
		words--;
	do { /* nine digits at a time */
		uint64_t rest = 0;

		for (size_t i = words; i-- > 0;) {
			rest = rest << 32 | word[i];
			word[i] = (uint32_t)(rest / 1000000000);
			rest %= 1000000000;
		}
		while (words > 0 && word[words - 1] == 0)
			words--;
		for (int k = 0; k < 9 && (words > 0 || rest > 0 || at == sizeof text); k++) {
			text[--at] = (char)('0' + rest % 10);
			rest /= 10;
		}
	} while (words > 0);
	if (negative)
		text[--at] = '-';
	return byte_buf_put(out, text + at, sizeof text - at);
}

/*
 * ---- numpy
 * -----------------------------------------------------------------------------------------------------
 */

bool view_descr(const char *descr, char *kind, uint64_t *width)
{
	uint64_t n = 0;
	const char *p = descr;

	if (*p != '\0' && strchr("<>|=", *p) != NULL)
		p++;
	*kind = *p;
	if (*p == '\0' || strchr("biufcSUV", *p) == NULL || p[1] == '\0')
		return false;
	for (p++; *p != '\0'; p++) {
		if (*p < '0' || *p > '9' || n > UINT32_MAX)
			return false;
		n = 10 * n + (uint64_t)(*p - '0');
	}
	*width = *kind == 'U' ? 4 * n : n;
	return true;
}

/* A half as the double that it is (IEEE 754). */
static double from_half(uint16_t h)
{
	int exponent = h >> 10 & 31;
	double v, fraction = h & 1023;

	if (exponent == 31)
		v = fraction == 0 ? INFINITY : NAN;
	else if (exponent == 0)
		v = ldexp(fraction, -24);
	else
		v = ldexp(fraction + 1024, exponent - 25);
	return (h & 0x8000) != 0 ? -v : v;
}

static double from_bits(const uint8_t *p, uint64_t width)
{
	uint64_t v = 0;
	float f;
	double d;

	for (uint64_t i = 0; i < width; i++)
		v |= (uint64_t)p[i] << 8 * i;
	if (width == 2)
		return from_half((uint16_t)v);
	if (width == 4) {
		uint32_t low = (uint32_t)v;

		memcpy(&f, &low, sizeof f);
		return (double)f;
	}
	memcpy(&d, &v, sizeof d);
	return d;
}

/* Whether bytes are written in few: however many times a value is met, looking at it costs little. */
static bool are_few(const struct torch_object *o, uint32_t ref)
{
	const struct pickle *g = torch_graph(o);

	for (int i = 0; i < 4; i++) { /* bytearray(bytes(encode(text, ..))) */
		const struct pickle_call *c = pickle_call(g, ref);
		uint32_t n = 0;
		size_t len;
		const uint32_t *a = c != NULL ? pickle_children(g, c->args, &n) : NULL;

		if (pickle_text(g, ref, &len) != NULL)
			return len <= VIEW_FEW;
		if (n == 0)
			return c != NULL; /* bytes() */
		ref = a[0];
	}
	return false;
}

bool view_is_long(const struct torch_object *o, uint32_t ref)
{
	size_t len = 0;

	switch (torch_kind_of(o, ref)) {
	case TORCH_IS_BYTES:
		return !are_few(o, ref);
	case TORCH_IS_INT:
		pickle_text(torch_graph(o), ref, &len);
		return len > VIEW_FEW;
	default:
		return false;
	}
}

/* Of a numpy scalar that is a number: its bytes, little-endian. */
static bool scalar_bytes(
		const struct torch_object *o, uint32_t ref, char *kind, uint64_t *width, uint8_t p[16])
{
	struct torch_array a;
	struct byte_buf data = { 0 };
	bool ok;

	if (!torch_array(o, ref, &a) || a.ndim != 0 || !view_descr(a.descr, kind, width))
		return false;
	switch (*kind) {
	case 'b':
		ok = *width == 1;
		break;
	case 'i':
	case 'u':
		ok = *width == 1 || *width == 2 || *width == 4 || *width == 8;
		break;
	case 'f':
		ok = *width == 2 || *width == 4 || *width == 8;
		break;
	case 'c':
		ok = *width == 8 || *width == 16;
		break;
	default:
		ok = false;
	}
	ok = ok && are_few(o, a.data) && torch_bytes(o, a.data, &data) == 0 && data.len == *width;
	if (ok) {
		uint64_t part = *kind == 'c' ? *width / 2 : *width;

		for (uint64_t i = 0; i < *width; i++)
			p[i] = data.p[a.descr[0] == '>' ? i / part * part + part - 1 - i % part : i];
	}
	byte_buf_release(&data);
	return ok;
}

static int put_numpy(const struct torch_object *o, uint32_t ref, struct byte_buf *out)
{
	uint8_t p[16] = { 0 };
	uint64_t width, v = 0;
	char kind;

	if (!scalar_bytes(o, ref, &kind, &width, p))
		return ckpt_fail(EINVAL, "a numpy scalar that is no number");
	if (kind == 'f')
		return view_float(from_bits(p, width), width <= 4, out);
	if (kind == 'c')
		return put_complex(from_bits(p, width / 2), from_bits(p + width / 2, width / 2), width == 8,
				out);
	for (uint64_t i = 0; i < width; i++)
		v |= (uint64_t)p[i] << 8 * i;
	if (kind == 'b')
		return byte_buf_text(out, v != 0 ? "True" : "False");
	if (kind == 'u')
		return byte_buf_format(out, "%llu", (unsigned long long)v);
	v <<= 64 - 8 * width;
	return byte_buf_format(out, "%lld", (long long)((int64_t)v >> (64 - 8 * width)));
}

/*
 * ---- values
 * ----------------------------------------------------------------------------------------------------
 */

bool view_is_scalar(const struct torch_object *o, uint32_t ref)
{
	double part[2];
	uint8_t p[16];
	uint64_t width;
	char kind;

	switch (torch_kind_of(o, ref)) {
	case TORCH_IS_NONE:
	case TORCH_IS_BOOL:
	case TORCH_IS_INT:
	case TORCH_IS_FLOAT:
	case TORCH_IS_DTYPE:
	case TORCH_IS_DEVICE:
	case TORCH_IS_SIZE:
	case TORCH_IS_GLOBAL:
		return true;
	case TORCH_IS_COMPLEX:
		return complex_parts(o, ref, part);
	case TORCH_IS_SCALAR:
		return scalar_bytes(o, ref, &kind, &width, p);
	default:
		return false;
	}
}

int view_global(const struct pickle_global *g, struct byte_buf *out)
{
	int rc = byte_buf_put(out, g->module, g->module_len < VIEW_FEW ? g->module_len : VIEW_FEW);

	if (rc == 0)
		rc = byte_buf_put(out, ".", 1);
	return rc < 0 ? rc : byte_buf_put(out, g->name, g->name_len < VIEW_FEW ? g->name_len : VIEW_FEW);
}

static int put_size(const struct torch_object *o, uint32_t ref, struct byte_buf *out)
{
	struct torch_iter it;
	struct torch_item item;
	size_t n = 0;
	int64_t v;
	int rc = byte_buf_text(out, "torch.Size([");

	torch_iter_init(o, ref, &it);
	while (rc == 0 && torch_iter_next(&it, &item)) {
		if (n == SIZE_ITEMS_MAX) { /* of hardly any tensor */
			rc = byte_buf_text(out, ", ...");
			break;
		}
		if (pickle_int(torch_graph(o), item.value, &v))
			rc = byte_buf_format(out, "%s%lld", n++ > 0 ? ", " : "", (long long)v);
		else
			rc = byte_buf_text(out, n++ > 0 ? ", ?" : "?");
	}
	return rc < 0 ? rc : byte_buf_text(out, "])");
}

int view_scalar(const struct torch_object *o, uint32_t ref, struct byte_buf *out)
{
	const struct pickle *g = torch_graph(o);
	char device[256];
	double part[2];
	int64_t v;
	const char *p;
	size_t len;

	switch (torch_kind_of(o, ref)) {
	case TORCH_IS_NONE:
		return byte_buf_text(out, "None");
	case TORCH_IS_BOOL:
		return byte_buf_text(out, pickle_int(g, ref, &v) && v != 0 ? "True" : "False");
	case TORCH_IS_INT:
		if (pickle_int(g, ref, &v))
			return byte_buf_format(out, "%lld", (long long)v);
		p = pickle_text(g, ref, &len);
		return put_long((const uint8_t *)p, len, out);
	case TORCH_IS_FLOAT:
		return view_float(pickle_float(g, ref), false, out);
	case TORCH_IS_COMPLEX:
		if (!complex_parts(o, ref, part))
			break;
		return put_complex(part[0], part[1], false, out);
	case TORCH_IS_DEVICE:
		if (torch_device_text(o, ref, device, sizeof device))
			return byte_buf_text(out, device);
		return byte_buf_text(out, "torch.device");
	case TORCH_IS_SIZE:
		return put_size(o, ref, out);
	case TORCH_IS_DTYPE:
	case TORCH_IS_GLOBAL:
		return view_global(pickle_global_at(g, (uint32_t)pickle_global_of(g, ref)), out);
	case TORCH_IS_SCALAR:
		return put_numpy(o, ref, out);
	default:
		break;
	}
	return ckpt_fail(EINVAL, "a value that is no scalar");
}

static int put_numpy_name(char kind, unsigned bits, struct byte_buf *out)
{
	static const char kinds[] = "fiuc";
	static const char *const name[] = { "float", "int", "uint", "complex" };
	const char *at = strchr(kinds, kind);

	return at == NULL ? byte_buf_text(out, "numpy.bool")
			  : byte_buf_format(out, "numpy.%s%u", name[at - kinds], bits);
}

int view_class(const struct torch_object *o, uint32_t ref, struct byte_buf *out)
{
	static const char *const name[] = {
		[TORCH_IS_NONE] = "None",
		[TORCH_IS_BOOL] = "bool",
		[TORCH_IS_INT] = "int",
		[TORCH_IS_FLOAT] = "float",
		[TORCH_IS_COMPLEX] = "complex",
		[TORCH_IS_STR] = "str",
		[TORCH_IS_BYTES] = "bytes",
		[TORCH_IS_TENSOR] = "tensor",
		[TORCH_IS_STORAGE] = "storage",
		[TORCH_IS_DTYPE] = "dtype",
		[TORCH_IS_DEVICE] = "device",
		[TORCH_IS_SIZE] = "size",
		[TORCH_IS_ARRAY] = "numpy.ndarray",
		[TORCH_IS_SCALAR] = "numpy.generic",
		[TORCH_IS_DICT] = "dict",
		[TORCH_IS_LIST] = "list",
		[TORCH_IS_TUPLE] = "tuple",
		[TORCH_IS_SET] = "set",
		[TORCH_IS_GLOBAL] = "global",
		[TORCH_IS_OBJECT] = "object",
		[TORCH_IS_OTHER] = "persistent id",
	};
	enum torch_kind kind = torch_kind_of(o, ref);
	int64_t made = kind == TORCH_IS_OBJECT ? torch_class_of(o, ref) : -1;
	uint8_t p[16];
	uint64_t width;
	char letter;

	if (made >= 0)
		return view_global(pickle_global_at(torch_graph(o), (uint32_t)made), out);
	if (kind == TORCH_IS_SCALAR && scalar_bytes(o, ref, &letter, &width, p))
		return put_numpy_name(letter, (unsigned)(8 * width), out);
	return byte_buf_text(out, name[kind]);
}
