/*
 * test_bridge_compare.c: two documents side by side: each kind of change, numbers across dtypes and formats, damage.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/byte_buf.h"
#include "codec/ckpt_error.h"
#include "torchbridge/bridge_compare.h"

struct file {
	struct byte_buf b;
	size_t cut; /* bytes that are missing at the end when it is read, though the size says otherwise */
};

static int64_t read_file(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct file *f = arg;
	size_t size = f->b.len - f->cut;

	if (off >= size)
		return 0;
	if (len > size - off)
		len = (size_t)(size - off);
	memcpy(buf, f->b.p + off, len);
	return (int64_t)len;
}

static void put(struct file *f, const void *p, size_t n)
{
	assert_int_equal(byte_buf_put(&f->b, p, n), 0);
}

/* A safetensors file of a header and data. */
static struct file safetensors(const char *header, const void *data, size_t len)
{
	struct file f = { 0 };

	assert_int_equal(byte_buf_le(&f.b, strlen(header), 8), 0);
	put(&f, header, strlen(header));
	put(&f, data, len);
	return f;
}

static struct file npy(const char *descr, bool fortran, const uint64_t *size, uint32_t ndim, const void *data,
		size_t len)
{
	struct file f = { 0 };

	assert_int_equal(npy_write_header(descr, fortran, size, ndim, &f.b), 0);
	put(&f, data, len);
	return f;
}

/* A line for each path that is told: "CHANGE path unequal/count max_abs". */
struct told {
	char text[4096];
	struct bridge_distance last;
	int stop_after;
};

static int tell(void *arg, const struct bridge_difference *d)
{
	static const char mark[] = "=~-+!?";
	struct told *t = arg;
	size_t n = strlen(t->text);

	snprintf(t->text + n, sizeof(t->text) - n, "%c %s", mark[d->change], d->path);
	n = strlen(t->text);
	if (d->distance != NULL) {
		t->last = *d->distance;
		snprintf(t->text + n, sizeof(t->text) - n, " %llu/%llu %g",
				(unsigned long long)d->distance->unequal,
				(unsigned long long)d->distance->count, d->distance->max_abs);
	} else if (d->change != BRIDGE_EQUAL) {
		snprintf(t->text + n, sizeof(t->text) - n, " (%s|%s)", d->a != NULL ? d->a : "",
				d->b != NULL ? d->b : "");
	}
	strcat(t->text, "\n");
	return t->stop_after > 0 && --t->stop_after == 0 ? 77 : 0;
}

static int compare(struct file *a, struct file *b, struct told *t)
{
	struct bridge_doc *x, *y;
	int rc;

	assert_int_equal(bridge_doc_open(read_file, a, a->b.len, 0, &x), 0);
	assert_int_equal(bridge_doc_open(read_file, b, b->b.len, 0, &y), 0);
	rc = bridge_compare(&(struct bridge_side){ .doc = x, .read = read_file, .arg = a },
			&(struct bridge_side){ .doc = y, .read = read_file, .arg = b }, tell, t);
	bridge_doc_free(x);
	bridge_doc_free(y);
	return rc;
}

static void expect(struct file a, struct file b, const char *text)
{
	struct told t = { .text = "" };
	int rc = compare(&a, &b, &t);

	if (rc != 0)
		fail_msg("%d: %s", rc, ckpt_errmsg());
	assert_string_equal(t.text, text);
	byte_buf_release(&a.b);
	byte_buf_release(&b.b);
}

static void changes(void **state)
{
	const float a[6] = { 1, 2, 3, 4, 5, 6 }, b[6] = { 1, 2, 3.5, 4, 5, 6 };

	(void)state;
	expect(safetensors("{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
			   "\"y\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16,24]}}",
			       a, 24),
			safetensors("{\"x\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]},"
				    "\"z\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[16,24]}}",
					b, 24),
			"~ x 1/4 0.5\n- y (float32[2]|)\n+ z (|float32[2])\n");
	expect(safetensors("{\"x\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", a, 24),
			safetensors("{\"x\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,24]}}", a,
					24),
			"! x (float32[2, 3]|float32[3, 2])\n");
	expect(safetensors("{\"x\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", a, 24),
			safetensors("{\"x\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", a,
					24),
			"= x\n");
	/* No elements; no dimensions. */
	expect(safetensors("{\"e\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
			   "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
			       a, 4),
			safetensors("{\"e\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]},"
				    "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}",
					b + 1, 4),
			"= e\n~ s 1/1 1\n");
}

/* Numbers are numbers, whatever holds them; bits of a zero are told apart from its value. */
static void dtypes(void **state)
{
	const float f[2] = { 1, -2 }, zero[2] = { 0.0f, 1 }, minus[2] = { -0.0f, 1 };
	const uint16_t h[2] = { 0x3c00, 0xc000 }, b[2] = { 0x3f80, 0xc000 };
	const char *f32 = "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";

	(void)state;
	expect(safetensors(f32, f, 8),
			safetensors("{\"x\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]}}", h, 4),
			"~ x 0/2 0\n");
	expect(safetensors(f32, f, 8),
			safetensors("{\"x\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,4]}}", b,
					4),
			"~ x 0/2 0\n");
	expect(safetensors(f32, zero, 8), safetensors(f32, minus, 8), "~ x 0/2 0\n");
	/* What has no numbers is the same bytes or not. */
	expect(safetensors("{\"x\":{\"dtype\":\"F4\",\"shape\":[2,2],\"data_offsets\":[0,2]}}", "\1\2", 2),
			safetensors("{\"x\":{\"dtype\":\"F4\",\"shape\":[2,2],\"data_offsets\":[0,2]}}",
					"\1\3", 2),
			"~ x (float4_e2m1fn_x2[2, 2]|float4_e2m1fn_x2[2, 2])\n");
	expect(safetensors("{\"x\":{\"dtype\":\"F4\",\"shape\":[2,2],\"data_offsets\":[0,2]}}", "\1\2", 2),
			safetensors("{\"x\":{\"dtype\":\"F4\",\"shape\":[2,2],\"data_offsets\":[0,2]}}",
					"\1\2", 2),
			"= x\n");
}

/* By columns and by rows: the same array. */
static void arrays(void **state)
{
	const uint64_t size[2] = { 2, 3 };
	const double rows[6] = { 1, 2, 3, 4, 5, 6 }, columns[6] = { 1, 4, 2, 5, 3, 6 };
	struct told t = { .text = "" };
	struct file a = npy("<f8", false, size, 2, rows, 48), b = npy("<f8", true, size, 2, columns, 48);

	(void)state;
	assert_int_equal(compare(&a, &b, &t), 0);
	assert_true(t.text[0] == '=');
	byte_buf_release(&a.b);
	byte_buf_release(&b.b);
}

/* Pickles without tensors: values by their text, type and all. */
static void values(void **state)
{
	/* {'epoch': 3, 'name': 'a', 'l': [1, 2]} and {'epoch': 4, 'name': 'a', 'l': [1, '2'], 'n': None} */
	static const char a[] =
			"\x80\x02}(X\x05\0\0\0epochK\x03X\x04\0\0\0nameX\x01\0\0\0aX\x01\0\0\0l](K\x01K\x02"
			"eu.";
	static const char b[] = "\x80\x02}(X\x05\0\0\0epochK\x04X\x04\0\0\0nameX\x01\0\0\0aX\x01\0\0\0l]("
				"K\x01X\x01\0\0\0"
				"2eX\x01\0\0\0nNu.";
	struct file x = { 0 }, y = { 0 };

	(void)state;
	put(&x, a, sizeof(a) - 1);
	put(&y, b, sizeof(b) - 1);
	expect(x, y, "~ epoch (3|4)\n= name\n~ l (list[1, 2]|list[1, '2'])\n+ n (|None)\n");
}

/* Long strings that differ at their ends only. */
static void long_values(void **state)
{
	struct told t = { .text = "" };
	struct file f[2] = { 0 };

	(void)state;
	for (int i = 0; i < 2; i++) {
		put(&f[i], "\x80\x02}X\x01\0\0\0kX", 10);
		assert_int_equal(byte_buf_le(&f[i].b, 100000, 4), 0);
		assert_int_equal(byte_buf_fill(&f[i].b, 'z', 99999), 0);
		put(&f[i], i == 0 ? "a" : "b", 1);
		put(&f[i], "s.", 2);
	}
	assert_int_equal(compare(&f[0], &f[1], &t), 0);
	assert_memory_equal(t.text, "~ k ('zzz", 9);
	assert_true(strlen(t.text) < 700);
	t.text[0] = '\0';
	assert_int_equal(compare(&f[0], &f[0], &t), 0);
	assert_string_equal(t.text, "= k\n");
	byte_buf_release(&f[0].b);
	byte_buf_release(&f[1].b);
}

/* Several pieces; one number in the last of them differs. */
static void pieces(void **state)
{
	enum { N = 700000 };
	float *a = calloc(N, sizeof(*a));
	char header[100];
	struct file x, y;

	(void)state;
	assert_non_null(a);
	for (size_t i = 0; i < N; i++)
		a[i] = (float)(i % 1000);
	snprintf(header, sizeof(header), "{\"x\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[0,%d]}}",
			N, 4 * N);
	x = safetensors(header, a, 4 * N);
	a[N - 1] += 0.25f;
	y = safetensors(header, a, 4 * N);
	free(a);
	expect(x, y, "~ x 1/700000 0.25\n");
}

/* Bytes below 4 of the data are known to be the same; who reads them in both files finds them different. */
static int64_t same_head(void *arg, uint64_t off, void *other, uint64_t other_off, uint64_t len)
{
	const struct file *a = arg;
	uint64_t first = a->b.len - 12;

	(void)other;
	assert_true(off == other_off && len <= a->b.len - off);
	return off < first + 4 ? (int64_t)(first + 4 - off < len ? first + 4 - off : len) : 0;
}

static int64_t same_fails(void *arg, uint64_t off, void *other, uint64_t other_off, uint64_t len)
{
	(void)arg, (void)off, (void)other, (void)other_off, (void)len;
	return ckpt_fail(EIO, "a manifest is damaged");
}

/* What is known to be the same is not compared, and counts in the distance of what differs. */
static void known_same(void **state)
{
	const float f[3] = { 1, 2, 3 }, g[3] = { 9, 2, 3.5F };
	const char *two = "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
			  "\"y\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}";
	const char *one = "{\"z\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,12]}}";
	const struct {
		const char *header;
		int64_t (*same)(void *arg, uint64_t off, void *other, uint64_t other_off, uint64_t len);
		int rc;
		const char *want;
	} cases[] = {
		{ two, same_head, 0, "= x\n~ y 1/2 0.5\n" },
		{ one, same_head, 0, "~ z 1/3 0.5\n" },
		{ two, same_fails, -EIO, "" },
		{ two, NULL, 0, "~ x 1/1 8\n~ y 1/2 0.5\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct file a = safetensors(cases[i].header, f, 12), b = safetensors(cases[i].header, g, 12);
		struct told t = { .text = "" };
		struct bridge_doc *x, *y;

		assert_int_equal(bridge_doc_open(read_file, &a, a.b.len, 0, &x), 0);
		assert_int_equal(bridge_doc_open(read_file, &b, b.b.len, 0, &y), 0);
		assert_int_equal(bridge_compare(&(struct bridge_side){ .doc = x, .read = read_file, .arg = &a,
								.same = cases[i].same },
						 &(struct bridge_side){ .doc = y, .read = read_file, .arg = &b }, tell, &t),
				cases[i].rc);
		assert_string_equal(t.text, cases[i].want);
		bridge_doc_free(x);
		bridge_doc_free(y);
		byte_buf_release(&a.b);
		byte_buf_release(&b.b);
	}
}

static void stops_and_failures(void **state)
{
	const float f[2] = { 1, 2 };
	const char *two = "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
			  "\"y\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}";
	struct file a = safetensors(two, f, 8), b = safetensors(two, f, 8);
	struct told t = { .text = "", .stop_after = 1 };
	struct bridge_doc *x, *y;

	(void)state;
	assert_int_equal(compare(&a, &b, &t), 77);
	assert_string_equal(t.text, "= x\n");
	/* A file that becomes shorter after it was opened. */
	assert_int_equal(bridge_doc_open(read_file, &a, a.b.len, 0, &x), 0);
	assert_int_equal(bridge_doc_open(read_file, &b, b.b.len, 0, &y), 0);
	b.cut = 3;
	t.stop_after = 0;
	assert_int_equal(bridge_compare(&(struct bridge_side){ .doc = x, .read = read_file, .arg = &a },
					 &(struct bridge_side){ .doc = y, .read = read_file, .arg = &b }, tell, &t),
			-EIO);
	assert_non_null(strstr(ckpt_errmsg(), "'y'"));
	bridge_doc_free(x);
	bridge_doc_free(y);
	byte_buf_release(&a.b);
	byte_buf_release(&b.b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(changes),
		cmocka_unit_test(dtypes),
		cmocka_unit_test(arrays),
		cmocka_unit_test(values),
		cmocka_unit_test(long_values),
		cmocka_unit_test(pieces),
		cmocka_unit_test(known_same),
		cmocka_unit_test(stops_and_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
