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
/* ROWS x COLS numbers in row-major order, 10,000 bytes a row; how often they were read; whether reading fails. */
enum { ROWS = 500, COLS = 2500, PIECE = 99999 };

struct rows {
	unsigned reads;
	bool fail;
};

static int64_t read_rows(void *arg, uint32_t source, uint64_t off, void *buf, size_t len)
{
	struct rows *r = arg;
	uint8_t *p = buf;

	(void)source;
	r->reads++;
	if (r->fail)
		return -EIO;
	for (size_t i = 0; i < len; i++, off++)
		p[i] = (uint8_t)(off / 4 >> 8 * (off % 4));
	return (int64_t)len;
}

static struct bridge_layout *transposed(enum torch_dtype to)
{
	const uint64_t size[] = { COLS, ROWS }, stride[] = { 1, COLS };
	struct bridge_strided t = { .from = TORCH_FLOAT32, .to = to, .ndim = 2, .size = size, .stride = stride };
	struct bridge_layout *l;

	assert_int_equal(bridge_layout_new(&l), 0);
	assert_int_equal(bridge_layout_bytes(l, "head", 4), 0);
	assert_int_equal(bridge_layout_tensor(l, 0, 0, &t), 0);
	return l;
}

/* A piece of it at `off`; whether it is right. */
static size_t check_piece(const struct bridge_layout *l, struct rows *r, uint64_t off)
{
	struct bridge_sources src = { read_rows, r };
	uint8_t *b = malloc(PIECE);
	ssize_t n;

	assert_non_null(b);
	n = bridge_layout_read(l, &src, off, b, PIECE);
	assert_true(n >= 0);
	for (ssize_t i = 0; i < n; i++) {
		uint64_t at = off + (uint64_t)i - 4, k = at / 4;

		if (off + (uint64_t)i >= 4 && b[i] != (uint8_t)((k % ROWS * COLS + k / ROWS) >> 8 * (at % 4)))
			fail_msg("byte %llu of a transposed tensor is wrong", (unsigned long long)at);
	}
	free(b);
	return (size_t)n;
}

/* Who reads a transposed tensor from front to back does not read each row of the file for each piece of it. */
static void stripes(void **state)
{
	struct bridge_layout *l[4];
	struct rows r = { 0 };
	struct bridge_sources src = { read_rows, &r };
	uint64_t off[4] = { 0 };
	uint8_t byte;

	(void)state;
	for (int i = 0; i < 4; i++)
		l[i] = transposed(i < 3 ? TORCH_FLOAT32 : TORCH_BFLOAT16);
	while (off[0] < bridge_layout_size(l[0]))
		off[0] += check_piece(l[0], &r, off[0]);
	assert_true(r.reads < 10 * ROWS);

	/* Three readers, and two stripes; one that goes back and forth; one who meets an error. */
	off[0] = 0;
	for (int i = 0; off[2] < bridge_layout_size(l[2]); i = (i + 1) % 3)
		off[i] += check_piece(l[i], &r, off[i]);
	for (uint32_t x = 1, i = 0; i < 40; i++, x = x * 1664525 + 1013904223)
		check_piece(l[0], &r, (x >> 4) % bridge_layout_size(l[0]));
	bridge_layout_free(l[0]);
	l[0] = transposed(TORCH_FLOAT32);
	check_piece(l[0], &r, 4);
	r.fail = true;
	assert_int_equal(bridge_layout_read(l[0], &src, 4 + PIECE, &byte, 1), -EIO);
	r.fail = false;
	check_piece(l[0], &r, 4 + PIECE);
	check_piece(l[0], &r, 4 + 2 * PIECE);

	/* Converted on the way, through a stripe and without one. */
	for (off[3] = 4; off[3] < 4 + 3 * PIECE; off[3] += PIECE) {
		uint8_t *b = malloc(PIECE), one[2];

		assert_non_null(b);
		assert_int_equal(bridge_layout_read(l[3], &src, off[3], b, PIECE), PIECE);
		for (size_t i = 1; i + 2 < PIECE; i += 5000) {
			assert_int_equal(bridge_layout_read(l[3], &src, off[3] + i, one, 2), 2);
			assert_memory_equal(b + i, one, 2);
		}
		free(b);
	}
	for (int i = 0; i < 4; i++)
		bridge_layout_free(l[i]);
}

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
		cmocka_unit_test(stripes),
		cmocka_unit_test(tensors),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
