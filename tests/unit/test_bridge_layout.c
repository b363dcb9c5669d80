/*
 * test_bridge_layout.c: segments of every kind, read from any offset with any length, are the bytes they stand for.
 */
#include "bridge_data.h"

enum { SOURCE = 40000 };

static void make_source(struct byte_buf *f)
{
	assert_int_equal(byte_buf_reserve(f, SOURCE), 0);
	for (size_t i = 0; i < SOURCE; i++)
		f->p[i] = data_byte(3, i);
	f->len = SOURCE;
}

/* Any range is the same as that range of the whole. */
static void check_ranges(const struct bridge_layout *l, struct byte_buf *f, const struct byte_buf *whole)
{
	struct bridge_sources src = { data_read, f };
	uint32_t x = 12345;
	uint8_t *b = malloc(whole->len + 1);

	assert_non_null(b);
	for (int k = 0; k < 400; k++) {
		size_t off, len, want;

		x = x * 1664525 + 1013904223;
		off = (x >> 8) % (whole->len + 1);
		x = x * 1664525 + 1013904223;
		len = (x >> 8) % 300;
		want = len < whole->len - off ? len : whole->len - off;
		assert_int_equal(bridge_layout_read(l, &src, off, b, len), want);
		if (want > 0)
			assert_memory_equal(b, whole->p + off, want);
	}
	free(b);
}

static void segments(void **state)
{
	struct byte_buf f = { 0 }, whole = { 0 }, taken = { 0 };
	struct bridge_layout *l;
	uint64_t len = 1 << 20, at;
	uint32_t source;

	(void)state;
	make_source(&f);
	assert_int_equal(bridge_layout_new(&l), 0);
	assert_int_equal(bridge_layout_bytes(l, "head", 4), 0);
	assert_int_equal(bridge_layout_bytes(l, "er", 2), 0);
	assert_int_equal(bridge_layout_range(l, 0, 100, 50), 0);
	assert_int_equal(bridge_layout_range(l, 0, 150, 50), 0); /* follows */
	assert_int_equal(bridge_layout_range(l, 0, 10, 0), 0);
	assert_int_equal(bridge_layout_zeros(l, 9), 0);
	byte_buf_text(&taken, "taken over, being longer than what there was");
	assert_int_equal(bridge_layout_take(l, &taken), 0);
	assert_int_equal(taken.len, 0);
	assert_int_equal(bridge_layout_bytes(l, "!", 1), 0);
	assert_int_equal(bridge_layout_convert(l, 0, 400, 33, TORCH_FLOAT32, TORCH_BFLOAT16), 0);
	assert_int_equal(bridge_layout_convert(l, 0, 401, 33, TORCH_FLOAT32, TORCH_FLOAT32), 0);
	assert_int_equal(bridge_layout_size(l), 6 + 100 + 9 + 44 + 1 + 66 + 132);
	data_layout(l, &f, 64, &whole);
	assert_memory_equal(whole.p, "header", 6);
	assert_memory_equal(whole.p + 6, f.p + 100, 100);
	assert_memory_equal(whole.p + 106, "\0\0\0\0\0\0\0\0\0taken over, being longer than what there was!", 54);
	for (int i = 0; i < 33; i++) /* 1.00xx: the third byte is even, so nothing is rounded up but ties and above */
		assert_int_equal(whole.p[160 + 2 * i + 1], 0x3f);
	assert_memory_equal(whole.p + 226, f.p + 401, 132);
	check_ranges(l, &f, &whole);

	assert_true(bridge_layout_is_range(l, 6, &len, &source, &at));
	assert_int_equal(len, 100);
	assert_int_equal(at, 100);
	len = 10;
	assert_true(bridge_layout_is_range(l, 56, &len, &source, &at));
	assert_int_equal(len, 10);
	assert_int_equal(at, 150);
	assert_false(bridge_layout_is_range(l, 0, &len, &source, &at));
	assert_false(bridge_layout_is_range(l, 1000, &len, &source, &at));
	bridge_layout_free(l);
	byte_buf_release(&f);
	byte_buf_release(&whole);
}

/* Strided tensors against a plain loop. */
static void gathers(void **state)
{
	static const struct {
		const char *what;
		uint32_t width, ndim;
		uint64_t size[4], stride[4];
	} cases[] = {
		{ "scalar", 4, 0, { 0 }, { 0 } },
		{ "contiguous", 4, 2, { 10, 20 }, { 20, 1 } },
		{ "transposed", 4, 2, { 50, 60 }, { 1, 50 } },
		{ "columns", 2, 2, { 100, 3 }, { 100, 2 } },
		{ "permuted", 8, 3, { 5, 6, 7 }, { 1, 35, 5 } },
		{ "expanded", 4, 3, { 4, 50, 3 }, { 1, 0, 0 } },
		{ "one element", 4, 2, { 30, 30 }, { 0, 0 } },
		{ "overlapping", 1, 2, { 20, 9 }, { 1, 1 } },
		{ "thin", 2, 2, { 3, 4 }, { 6000, 1300 } },
		{ "ones between", 16, 4, { 3, 1, 5, 1 }, { 5, 999, 1, 777 } },
		{ "far apart", 1, 3, { 2, 2, 2 }, { 20000, 7000, 3000 } },
		{ "empty", 4, 2, { 3, 0 }, { 1, 1 } },
	};
	struct byte_buf f = { 0 }, whole = { 0 };

	(void)state;
	make_source(&f);
	for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
		uint32_t w = cases[c].width, n = cases[c].ndim;
		uint64_t count = 1;
		struct bridge_layout *l;

		for (uint32_t i = 0; i < n; i++)
			count *= cases[c].size[i];
		assert_int_equal(bridge_layout_new(&l), 0);
		assert_int_equal(bridge_layout_bytes(l, "x", 1), 0);
		assert_int_equal(bridge_layout_gather(l, 0, 40, w, n, cases[c].size, cases[c].stride), 0);
		assert_int_equal(bridge_layout_size(l), 1 + count * w);
		data_layout(l, &f, 509, &whole);
		for (uint64_t e = 0; e < count; e++) {
			uint64_t rest = e, at = 0;

			for (uint32_t i = n; i-- > 0; rest /= cases[c].size[i])
				at += rest % cases[c].size[i] * cases[c].stride[i];
			if (memcmp(whole.p + 1 + e * w, f.p + 40 + at * w, w) != 0)
				fail_msg("%s: element %llu", cases[c].what, (unsigned long long)e);
		}
		check_ranges(l, &f, &whole);
		bridge_layout_free(l);
	}
	byte_buf_release(&f);
	byte_buf_release(&whole);
}

/* Conjugates, negatives, and conversions of what lies apart. */
static void tensors(void **state)
{
	static const uint64_t size[] = { 3, 2 }, stride[] = { 1, 3 };
	struct bridge_strided t = { .from = TORCH_FLOAT32, .to = TORCH_FLOAT64, .neg = true, .ndim = 2, .size = size,
		.stride = stride };
	struct byte_buf f = { 0 }, whole = { 0 };
	struct bridge_layout *l;
	float in[6] = { 1, 2, 3, 4, 5, -6 };
	double want[6] = { -1, -4, -2, -5, -3, 6 };

	(void)state;
	byte_buf_put(&f, in, sizeof in);
	assert_int_equal(bridge_layout_new(&l), 0);
	assert_int_equal(bridge_layout_tensor(l, 0, 0, &t), 0);
	data_layout(l, &f, 5, &whole);
	assert_int_equal(whole.len, sizeof want);
	assert_memory_equal(whole.p, want, sizeof want);
	bridge_layout_free(l);

	t = (struct bridge_strided){ .from = TORCH_COMPLEX64, .to = TORCH_COMPLEX64, .conj = true, .ndim = 1, .size = size,
		.stride = stride };
	assert_int_equal(bridge_layout_new(&l), 0);
	assert_int_equal(bridge_layout_tensor(l, 0, 0, &t), 0);
	data_layout(l, &f, 3, &whole);
	assert_memory_equal(whole.p, ((float[6]){ 1, -2, 3, -4, 5, 6 }), 24);
	t.to = TORCH_FLOAT32;
	assert_int_equal(bridge_layout_tensor(l, 0, 0, &t), -ENOTSUP);
	bridge_layout_free(l);
	byte_buf_release(&f);
	byte_buf_release(&whole);
}

static int64_t fails(void *arg, uint32_t source, uint64_t off, void *buf, size_t len)
{
	(void)arg;
	(void)source;
	(void)off;
	(void)buf;
	(void)len;
	return -ENOSPC;
}

/* What is too much is refused, what fails is told. */
static void refusals(void **state)
{
	static const uint64_t many[] = { 1ull << 40, 1ull << 40 }, big[] = { 1ull << 40, 1ull << 20 }, none[] = { 0, 0 };
	struct bridge_sources bad = { fails, NULL };
	struct byte_buf f = { 0 };
	struct bridge_sources src = { data_read, &f };
	struct bridge_layout *l;
	uint8_t b[64];

	(void)state;
	make_source(&f);
	assert_int_equal(bridge_layout_new(&l), 0);
	assert_int_equal(bridge_layout_zeros(l, INT64_MAX - 10), 0);
	assert_int_equal(bridge_layout_zeros(l, 11), -EFBIG);
	assert_int_equal(bridge_layout_bytes(l, b, 11), -EFBIG);
	assert_int_equal(bridge_layout_range(l, 0, 0, 11), -EFBIG);
	assert_int_equal(bridge_layout_read(l, &src, INT64_MAX - 20, b, 64), 10);
	bridge_layout_free(l);

	assert_int_equal(bridge_layout_new(&l), 0);
	assert_int_equal(bridge_layout_range(l, 0, UINT64_MAX, 2), -EFBIG);
	assert_int_equal(bridge_layout_convert(l, 0, 0, 1ull << 62, TORCH_FLOAT64, TORCH_FLOAT32), -EFBIG);
	assert_int_equal(bridge_layout_convert(l, 0, 0, 1, TORCH_INT64, TORCH_FLOAT32), -ENOTSUP);
	assert_int_equal(bridge_layout_gather(l, 0, 0, 4, 2, many, none), -EINVAL);
	assert_int_equal(bridge_layout_gather(l, 0, 0, 0, 0, none, none), -EINVAL);
	assert_int_equal(bridge_layout_gather(l, 0, 0, 4, 65, none, none), -EINVAL);
	assert_int_equal(bridge_layout_size(l), 0);
	assert_int_equal(bridge_layout_gather(l, 0, 8, 4, 2, big, none), 0); /* one element, 2^60 times */
	assert_int_equal(bridge_layout_size(l), 1ull << 62);
	assert_int_equal(bridge_layout_read(l, &src, 12345678912345ull, b, 7), 7);
	assert_memory_equal(b, ((uint8_t[]){ f.p[9], f.p[10], f.p[11], f.p[8], f.p[9], f.p[10], f.p[11] }), 7);
	assert_int_equal(bridge_layout_read(l, &bad, 0, b, 7), -ENOSPC);
	bridge_layout_free(l);

	assert_int_equal(bridge_layout_new(&l), 0);
	assert_int_equal(bridge_layout_range(l, 0, SOURCE - 5, 10), 0); /* longer than the file is now */
	assert_int_equal(bridge_layout_read(l, &src, 0, b, 5), 5);
	assert_int_equal(bridge_layout_read(l, &src, 0, b, 10), -EIO);
	bridge_layout_free(l);
	byte_buf_release(&f);
}

/* Many segments: the list grows under those that are looked at. */
static void many(void **state)
{
	struct byte_buf f = { 0 }, whole = { 0 };
	struct bridge_layout *l;

	(void)state;
	make_source(&f);
	assert_int_equal(bridge_layout_new(&l), 0);
	for (uint64_t i = 0; i < 3000; i++) {
		assert_int_equal(bridge_layout_range(l, 0, i * 12, 6), 0);
		assert_int_equal(bridge_layout_range(l, 0, i * 12 + 6, 3), 0);
		assert_int_equal(bridge_layout_bytes(l, "ab", i % 3), 0);
	}
	data_layout(l, &f, 1000, &whole);
	for (size_t i = 0, at = 0; i < 3000; i++) {
		assert_memory_equal(whole.p + at, f.p + i * 12, 9);
		assert_memory_equal(whole.p + at + 9, "ab", i % 3);
		at += 9 + i % 3;
	}
	check_ranges(l, &f, &whole);
	bridge_layout_free(l);
	byte_buf_release(&f);
	byte_buf_release(&whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments),
		cmocka_unit_test(many),
		cmocka_unit_test(gathers),
		cmocka_unit_test(tensors),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
