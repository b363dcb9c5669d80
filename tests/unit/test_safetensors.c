/*
 * test_safetensors.c: safetensors headers and .npy heads: what they say, and one that breaks each rule.
 */
#include "memory_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/ckpt_error.h"
#include "codec/npy_header.h"
#include "codec/safetensors_read.h"

#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

static void build(struct byte_buf *f, const char *json, size_t data)
{
	f->len = 0;
	byte_buf_le(f, strlen(json), 8);
	byte_buf_text(f, json);
	byte_buf_fill(f, 0, data);
}

static void reads(void **state)
{
	struct byte_buf f = { 0 };
	struct safetensors *s;
	const struct safetensors_entry *x;

	(void)state;
	build(&f, " {\"b\\u00e9\":{\"data_offsets\":[4,28],\"dtype\":\"F32\",\"shape\":[2,3],\"more\":[{\"x\":[1.5e3,null]}]},"
		"\"__metadata__\":{\"format\":\"pt\",\"n\":\"\\\"\\ud83d\\ude00\"},"
		"\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]},"
		"\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[28,36]},"
		"\"e\":{\"dtype\":\"U8\",\"shape\":[0,7],\"data_offsets\":[36,36]}} ", 36);
	if (safetensors_open(memory_read, &f, f.len, &s) != 0)
		fail_msg("%s", ckpt_errmsg());
	assert_int_equal(safetensors_count(s), 4);
	x = safetensors_at(s, 0);
	assert_string_equal(x->name, "a");
	assert_int_equal(x->bits, 16);
	assert_int_equal(x->off, safetensors_data(s));
	x = safetensors_at(s, 1);
	assert_string_equal(x->name, "b\xc3\xa9");
	assert_int_equal(x->ndim, 2);
	assert_int_equal(safetensors_size(s, x)[1], 3);
	assert_int_equal(x->off + x->len + 8, f.len);
	assert_int_equal(safetensors_pairs(s), 2);
	assert_string_equal(safetensors_pair_at(s, 0)->value, "pt");
	assert_string_equal(safetensors_pair_at(s, 1)->value, "\"\xf0\x9f\x98\x80");
	safetensors_free(s);

	build(&f, "{\"a\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]},"
		"\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2); /* the last counts */
	assert_int_equal(safetensors_open(memory_read, &f, f.len, &s), 0);
	assert_int_equal(safetensors_count(s), 1);
	safetensors_free(s);
	byte_buf_release(&f);
}

static void breaks_rules(void **state)
{
#define T(dtype, shape, offsets) "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
	static const struct {
		const char *json;
		size_t data;
		int want;
	} cases[] = {
		{ "{}", 0, 0 },
		{ T("U8", "[4]", "[0,4]"), 4, 0 },
		{ T("U8", "[4]", "[0,4]"), 5, -EBADMSG },       /* trailing bytes */
		{ T("U8", "[4]", "[0,4]"), 3, -EBADMSG },       /* missing ones */
		{ T("U8", "[4]", "[1,5]"), 5, -EBADMSG },       /* a gap */
		{ T("U8", "[4]", "[4,0]"), 4, -EBADMSG },
		{ T("U8", "[3]", "[0,4]"), 4, -EBADMSG },
		{ T("F32", "[4]", "[0,4]"), 4, -EBADMSG },
		{ T("F4", "[3]", "[0,2]"), 2, -EBADMSG },       /* half a byte */
		{ T("F4", "[4]", "[0,2]"), 2, 0 },
		{ T("f32", "[1]", "[0,4]"), 4, -EBADMSG },
		{ T("U8", "[-4]", "[0,4]"), 4, -EBADMSG },
		{ T("U8", "[4.0]", "[0,4]"), 4, -EBADMSG },
		{ T("U8", "[04]", "[0,4]"), 4, -EBADMSG },
		{ T("U8", "[4,]", "[0,4]"), 4, -EBADMSG },
		{ T("U8", "[9223372036854775808,2]", "[0,0]"), 0, -EBADMSG },
		{ T("U8", "[4]", "[0,99999999999999999999]"), 4, -EBADMSG },
		{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, -EBADMSG },
		{ "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, -EBADMSG },
		{ "{\"a\":{}}", 0, -EBADMSG },
		{ "{\"a\":3}", 0, -EBADMSG },
		{ "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
		  "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6, -EBADMSG }, /* overlap */
		{ "{\"__metadata__\":{\"a\":1}}", 0, -EBADMSG },
		{ "{\"__metadata__\":[]}", 0, -EBADMSG },
		{ "{} x", 0, -EBADMSG },
		{ "{\"a\"", 0, -EBADMSG },
		{ "{\"\xff\":{}}", 0, -EBADMSG },
		{ "{\"\\ud800\":{}}", 0, -EBADMSG },
		{ "{\"\\q\":{}}", 0, -EBADMSG },
		{ "{\"a\nb\":{}}", 0, -EBADMSG },
		{ "[]", 0, -EINVAL },
	};
	struct byte_buf f = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct safetensors *s;
		int rc;

		build(&f, cases[i].json, cases[i].data);
		rc = safetensors_open(memory_read, &f, f.len, &s);
		if (rc != cases[i].want)
			fail_msg("%s: %d (%s)", cases[i].json, rc, rc < 0 ? ckpt_errmsg() : "");
		if (rc == 0)
			safetensors_free(s);
	}
	build(&f, "{}", 0);
	f.p[5] = 1; /* a header of more than 1 TB */
	assert_int_equal(safetensors_open(memory_read, &f, f.len, &(struct safetensors *){ NULL }), -EINVAL);
	f.p[5] = 0;
	f.p[1] = 1; /* longer than the file */
	assert_int_equal(safetensors_open(memory_read, &f, f.len, &(struct safetensors *){ NULL }), -EBADMSG);
	byte_buf_release(&f);
}

/* What nobody knows is passed over, but not to any depth. */
static void nested(void **state)
{
	struct byte_buf f = { 0 }, json = { 0 };
	struct safetensors *s;

	(void)state;
	for (int depth = 100; depth < 100000; depth *= 10) {
		json.len = 0;
		byte_buf_text(&json, "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":");
		byte_buf_fill(&json, '[', (size_t)depth);
		byte_buf_fill(&json, ']', (size_t)depth);
		byte_buf_put(&json, "}}", 3);
		build(&f, (const char *)json.p, 0);
		assert_int_equal(safetensors_open(memory_read, &f, f.len, &s), depth == 100 ? 0 : -EBADMSG);
		if (depth == 100)
			safetensors_free(s);
	}
	byte_buf_release(&json);
	byte_buf_release(&f);
}

static void npy_reads(void **state)
{
#define NPY(n, dict) "\x93NUMPY\1\0" n "\0" dict
	static const struct {
		const uint8_t *p;
		size_t len;
		int want;
		uint64_t bytes;
	} cases[] = {
		{ BYTES(NPY("\x3a", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)} ")), 0, 48 },
		{ BYTES(NPY("\x38", "{'shape': (), 'descr': '|V2', 'fortran_order': True, }  ")), 0, 2 },
		{ BYTES(NPY("\x38", "{'shape': (5L,), 'descr': '<U3', 'fortran_order': False}")), 0, 60 },
		{ BYTES(NPY("\x3a", "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (2,)}")), -EBADMSG, 0 },
		{ BYTES(NPY("\x3b", "{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (2,)}")), 0, 16 },
		{ BYTES(NPY("\x3b", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)} ")), -ENODATA, 0 },
		{ BYTES("\x93NUM"), -EINVAL, 0 },
		{ BYTES("\x93NUMPY"), -ENODATA, 0 },
		{ BYTES("\x93NUMPY\4\0\0\0"), -ENOTSUP, 0 },
		{ BYTES("\x93NUMPY\2\0\xff\xff\xff\xff"), -EBADMSG, 0 },
		{ BYTES(NPY("\x31", "{'descr': '|O', 'fortran_order': False, 'shape':()}")), -ENOTSUP, 0 },
		{ BYTES(NPY("\x33", "{'descr': '|O8', 'fortran_order': False, 'shape':()}")), -ENOTSUP, 0 },
		{ BYTES(NPY("\x34", "{'descr': [('a','<f4')], 'fortran_order':False,'s':1}")), -ENOTSUP, 0 },
		{ BYTES(NPY("\x35", "{'descr':'<f4','fortran_order':False,'shape':(-1,3,)} ")), -EBADMSG, 0 },
		{ BYTES(NPY("\x27", "{'descr':'<f4','fortran_order':False, }")), -EBADMSG, 0 },
		{ BYTES(NPY("\x52", "{'descr':'<f4','fortran_order':False,'shape':(4294967296,4294967296,4294967296)}  ")),
			-EBADMSG, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct npy_header h;
		int rc = npy_read_header(cases[i].p, cases[i].len, &h);

		if (rc != cases[i].want)
			fail_msg("case %zu: %d (%s)", i, rc, rc < 0 ? ckpt_errmsg() : "");
		if (rc == 0)
			assert_int_equal(h.bytes, cases[i].bytes);
	}
}

static void npy_writes(void **state)
{
	static const uint64_t size[] = { 3, 4, 5 };
	struct byte_buf b = { 0 };
	struct npy_header h;

	(void)state;
	for (uint32_t n = 0; n <= 3; n++) {
		b.len = 0;
		assert_int_equal(npy_write_header("<f4", n == 2, size, n, &b), 0);
		assert_int_equal(b.len % 64, 0);
		assert_int_equal(b.p[b.len - 1], '\n');
		assert_int_equal(npy_read_header(b.p, b.len, &h), 0);
		assert_int_equal(h.length, b.len);
		assert_int_equal(h.ndim, n);
		assert_int_equal(h.fortran, n == 2);
		assert_string_equal(h.descr, "<f4");
		if (n > 0)
			assert_memory_equal(h.size, size, n * sizeof size[0]);
	}
	b.len = 0;
	assert_int_equal(npy_write_header("<f4", false, size, 1, &b), 0);
	assert_memory_equal(b.p + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 57);
	assert_int_equal(npy_write_header("'", false, size, 1, &b), -EINVAL);
	assert_int_equal(npy_write_header("<f4", false, size, NPY_DIMS_MAX + 1, &b), -EINVAL);
	byte_buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads),
		cmocka_unit_test(breaks_rules),
		cmocka_unit_test(nested),
		cmocka_unit_test(npy_reads),
		cmocka_unit_test(npy_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
