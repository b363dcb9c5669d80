/*
 * test_codec_rans.c: symbols come back, cost what they should, in streams that stay what they were; and damaged
 * streams end.
 */
#include "tests/unit/codec_data.h"

#include <math.h>

#include "codec/codec_rans.h"

enum { MANY = 70000 };

static void fill(unsigned kind, uint8_t *sym, uint8_t *ctx, size_t n, unsigned contexts)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t r = data_random();

		ctx[i] = (uint8_t)(r >> 40 & 255) % contexts;
		switch (kind) {
		case 0: /* all of them */
			sym[i] = (uint8_t)(r >> 8);
			break;
		case 1: /* nearly certain */
			sym[i] = (r >> 8) % 500 == 0;
			break;
		case 2: /* one only */
			sym[i] = 255;
			break;
		case 3: /* geometric, about its context */
			sym[i] = (uint8_t)(ctx[i] * 8 + __builtin_ctzll(r >> 8 | UINT64_C(1) << 40));
			break;
		case 4: /* some so rare that they are escaped */
			sym[i] = (r >> 8) % 4096 ? ctx[i] + (uint8_t)(r >> 16) % 4 : (uint8_t)(r >> 24);
			break;
		default: /* all, most of them rare: slots have to be found for them */
			sym[i] = (r >> 8) % 16 ? 7 : (uint8_t)(r >> 16);
		}
	}
}

static void round_trips(void **state)
{
	static const size_t len[] = { 0, 1, 2, 3, 4, 5, 7, 31, 32, 33, 1000, RANS_WIDE - 1, RANS_WIDE, RANS_WIDE + 1,
		RANS_WIDE + 31, MANY };
	struct rans *r = rans_new();
	uint8_t *sym = malloc(MANY), *ctx = malloc(MANY), *out = malloc(2 * MANY + 20000);

	(void)state;
	assert_true(r && sym && ctx && out);
	for (unsigned kind = 0; kind < 6; kind++) {
		for (unsigned contexts = 1; contexts <= RANS_CONTEXTS; contexts += contexts < 3 ? 1 : 29) {
			for (size_t l = 0; l < sizeof len / sizeof len[0]; l++) {
				size_t n = len[l], guess, k, low = 0;
				const uint8_t *c = contexts > 1 ? ctx : NULL;
				uint8_t *exact, *back = malloc(n + 1);

				fill(kind, sym, ctx, n, contexts);
				guess = rans_model(r, sym, c, contexts, n);
				k = rans_encode(r, sym, c, n, out, 2 * MANY + 20000);
				assert_true(k > 0);
				if (n >= 1000 && contexts == 1 && (k > guess + guess / 50 + 100 || guess > k + k / 10 + 100))
					fail_msg("kind %u, %zu symbols: %zu bytes, guessed %zu", kind, n, k, guess);
				if (kind == 4 && n == MANY && contexts == 1)
					assert_true(out[0] == 255 && out[1] == 0);
				exact = data_copy(out, k);
				for (enum rans_simd simd = RANS_PLAIN; simd < RANS_SIMD_ALL; simd++) {
					rans_use_simd(r, simd);
					/* decoding takes the room of the tables */
					rans_model(r, sym, c, contexts, n);
					assert_int_equal(rans_encode(r, sym, c, n, out, 2 * MANY + 20000), k);
					assert_memory_equal(out, exact, k);
					memset(back, 0x5a, n + 1);
					assert_true(rans_decode(r, exact, k, c, contexts, back, n));
					assert_memory_equal(back, sym, n);
					assert_int_equal(back[n], 0x5a);
				}
				/* not one byte less, nor one more */
				assert_false(rans_decode(r, exact, k - 1, c, contexts, back, n));
				assert_int_equal(rans_decode(r, out, k + 1, c, contexts, back, n), 0);
				/* whatever room there is, it is respected */
				for (size_t cap = 0; cap < k && low < 40; cap += 1 + k / 37, low++) {
					uint8_t *room = malloc(cap ? cap : 1);

					rans_use_simd(r, low % RANS_SIMD_ALL);
					rans_model(r, sym, c, contexts, n);
					assert_int_equal(rans_encode(r, sym, c, n, room, cap), 0);
					free(room);
				}
				free(exact);
				free(back);
			}
		}
	}
	free(sym);
	free(ctx);
	free(out);
	rans_free(r);
}

/* A symbol of every frequency there is a weight for, beside others: no state is divided wrongly. */
static void all_frequencies(void **state)
{
	enum { N = RANS_WIDE + 7 };
	struct rans *r = rans_new();
	uint8_t *sym = malloc(N), *ctx = calloc(N, 1), *out = malloc(2 * N), *same = malloc(2 * N), *back = malloc(N);

	(void)state;
	assert_true(r && sym && ctx && out && same && back);
	for (unsigned share = 1; share < 4096; share += 1 + share / 16) {
		const uint8_t *c = share % 2 ? NULL : ctx;
		unsigned contexts = c == NULL ? 1 : 2;
		size_t k;

		for (size_t i = 0; i < N; i++)
			sym[i] = data_random() % 4096 < share ? 3 : data_random() % 8 == 0 ? 9 : 200;
		rans_model(r, sym, c, contexts, N);
		rans_use_simd(r, RANS_PLAIN);
		k = rans_encode(r, sym, c, N, out, 2 * N);
		assert_true(k > 0);
		for (enum rans_simd simd = RANS_AVX2; simd < RANS_SIMD_ALL; simd++) {
			rans_use_simd(r, simd);
			assert_int_equal(rans_encode(r, sym, c, N, same, 2 * N), k);
			assert_memory_equal(out, same, k);
		}
		rans_use_simd(r, share % RANS_SIMD_ALL);
		assert_true(rans_decode(r, out, k, c, contexts, back, N));
		assert_memory_equal(back, sym, N);
	}
	free(sym);
	free(ctx);
	free(out);
	free(same);
	free(back);
	rans_free(r);
}

/* Below one bit a symbol: what a Huffman code cannot do. */
static void close_to_entropy(void **state)
{
	struct rans *r = rans_new();
	uint8_t *sym = malloc(MANY), *out = malloc(2 * MANY);
	double p = 0.002, h = -(p * log2(p) + (1 - p) * log2(1 - p));
	size_t n;

	(void)state;
	assert_true(r && sym && out);
	for (size_t i = 0; i < MANY; i++)
		sym[i] = i % 500 == 77;
	rans_model(r, sym, NULL, 1, MANY);
	n = rans_encode(r, sym, NULL, MANY, out, 2 * MANY);
	assert_in_range(n, 100, (size_t)(h * MANY / 8 * 1.05) + 140);
	free(sym);
	free(out);
	rans_free(r);
}

/* Streams of 40 and of 16400 symbols as format version 1 has them. */
static void golden(void **state)
{
	static const uint8_t narrow[] = {
		0x3c, 0x45, 0x40, 0x0e, 0x02, 0x84, 0x1f, 0x1c, 0x38, 0x82, 0xa1, 0xf7, 0x02, 0x2e, 0xb3, 0xf9, 0x02, 0x32, 0x9a, 0xf3,
		0x02, 0xf5, 0x2e, 0xff, 0x02, 0x36, 0x07, 0x71, 0x36, 0xc4, 0xda, 0x45, 0x0d,
	};
	static const uint8_t wide[] = {
		0x00, 0x09, 0x00, 0x00, 0x00, 0x24, 0x00, 0x00, 0x80, 0x7f, 0xe0, 0x01, 0x09, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x80,
		0x3f, 0x30, 0x02, 0x09, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x80, 0x1f, 0x18, 0x02, 0xa4, 0x01, 0x00, 0x02, 0xa4, 0x01,
		0x00, 0x02, 0xa4, 0x01, 0x00, 0xfe, 0x97, 0x06, 0x00, 0x02, 0xa4, 0x01, 0x00, 0x02, 0xa4, 0x01, 0x00, 0x02, 0xa4, 0x01,
		0x00, 0x02, 0xa4, 0x01, 0x00, 0x02, 0xa4, 0x01, 0x00, 0x02, 0xa4, 0x01, 0x00, 0x02, 0xa4, 0x01, 0x00, 0x81, 0xe6, 0xa4,
		0x01, 0x02, 0xa4, 0x01, 0x00, 0x02, 0xa4, 0x01, 0x00, 0x02, 0xa4, 0x01, 0x00, 0x02, 0xa4, 0x01, 0x00, 0x9a, 0xa3, 0x01,
		0x00, 0x9a, 0xa3, 0x01, 0x00, 0x9a, 0xa3, 0x01, 0x00, 0x8e, 0x54, 0xa4, 0x01, 0x9a, 0xa3, 0x01, 0x00, 0x9a, 0xa3, 0x01,
		0x00, 0x9a, 0xa3, 0x01, 0x00, 0x9a, 0xa3, 0x01, 0x00, 0x9a, 0xa3, 0x01, 0x00, 0x9a, 0xa3, 0x01, 0x00, 0x9a, 0xa3, 0x01,
		0x00, 0x2e, 0xb2, 0xa4, 0x01, 0x9a, 0xa3, 0x01, 0x00, 0x9a, 0xa3, 0x01, 0x00, 0x9a, 0xa3, 0x01, 0x00, 0x9a, 0xa3, 0x01,
		0x00, 0xce, 0xaf, 0xf6, 0xd8, 0x91, 0x5c, 0x64, 0x53, 0x45, 0x5c, 0x12, 0x3b, 0x96, 0x64, 0x3e, 0xe2, 0xa4, 0x77,
	};
	struct rans *r = rans_new();
	static uint8_t sym[16400], ctx[16400];

	(void)state;
	assert_non_null(r);
	assert_true(rans_decode(r, narrow, sizeof narrow, NULL, 1, sym, 40));
	for (size_t i = 0; i < 40; i++)
		assert_int_equal(sym[i], i * i % 11 + 60);
	for (size_t i = 0; i < sizeof ctx; i++)
		ctx[i] = i / 5000 % 3;
	for (enum rans_simd simd = RANS_PLAIN; simd < RANS_SIMD_ALL; simd++) {
		rans_use_simd(r, simd);
		memset(sym, 0, sizeof sym);
		assert_true(rans_decode(r, wide, sizeof wide, ctx, 3, sym, sizeof sym));
		for (size_t i = 0; i < sizeof sym; i++)
			assert_int_equal(sym[i], i % 1000 == 3 ? 9 : ctx[i]);
	}
	rans_free(r);
}

/* A stream with escapes: 70000 symbols, 31 of which tell themselves. */
static void golden_escapes(void **state)
{
	static const uint8_t stream[] = {
		0xff, 0x00, 0x06, 0x1f, 0x00, 0x00, 0x64, 0x69, 0x6e, 0x73, 0x78, 0x7d, 0x82, 0x87, 0x8c, 0x91, 0x96, 0x9b, 0xa0, 0xa5,
		0xaa, 0xaf, 0xb4, 0xb9, 0xbe, 0xc3, 0xc8, 0xcd, 0xd2, 0xd7, 0xdc, 0xe1, 0xe6, 0xeb, 0xf0, 0xf5, 0xfa, 0x06, 0x07, 0x00,
		0x10, 0x00, 0x00, 0xc0, 0x00, 0xc2, 0xf8, 0x02, 0x00, 0xfe, 0x82, 0xb2, 0x2e, 0xc2, 0xf8, 0x02, 0x00, 0xc2, 0xf8, 0x02,
		0x00, 0xc2, 0xf8, 0x02, 0x00, 0x01, 0x40, 0x68, 0x2e, 0xc2, 0xf8, 0x02, 0x00, 0xc2, 0xf8, 0x02, 0x00, 0xc2, 0xf8, 0x02,
		0x00, 0x86, 0xd7, 0x05, 0x00, 0xc2, 0xf8, 0x02, 0x00, 0xc2, 0xf8, 0x02, 0x00, 0xc2, 0xf8, 0x02, 0x00, 0x3b, 0x00, 0xd8,
		0x2d, 0xc2, 0xf8, 0x02, 0x00, 0xc2, 0xf8, 0x02, 0x00, 0x62, 0xf8, 0x02, 0x00, 0x94, 0x21, 0xa0, 0x2e, 0x62, 0xf8, 0x02,
		0x00, 0x62, 0xf8, 0x02, 0x00, 0x62, 0xf8, 0x02, 0x00, 0xba, 0x8e, 0x89, 0x2e, 0x62, 0xf8, 0x02, 0x00, 0x62, 0xf8, 0x02,
		0x00, 0x62, 0xf8, 0x02, 0x00, 0xc2, 0x5c, 0x66, 0x2e, 0x62, 0xf8, 0x02, 0x00, 0x62, 0xf8, 0x02, 0x00, 0x62, 0xf8, 0x02,
		0x00, 0xad, 0x3d, 0x37, 0x2e, 0x62, 0xf8, 0x02, 0x00, 0x62, 0xf8, 0x02, 0x00, 0xb2, 0x98, 0x85, 0x62, 0xf6, 0x6b, 0x79,
		0x8a, 0x96, 0xe8, 0xcf, 0x5b, 0xa6, 0x0e, 0xcc, 0xeb, 0x52, 0x26, 0x3a, 0x12, 0xb0, 0x75, 0x70, 0x3d, 0xea, 0x12, 0xf4,
		0xde, 0x40, 0x26, 0x42, 0x4d,
	};
	static uint8_t sym[70000];
	struct rans *r = rans_new();
	uint8_t bad[sizeof stream];

	(void)state;
	assert_non_null(r);
	for (enum rans_simd simd = RANS_PLAIN; simd < RANS_SIMD_ALL; simd++) {
		rans_use_simd(r, simd);
		memset(sym, 0, sizeof sym);
		assert_true(rans_decode(r, stream, sizeof stream, NULL, 1, sym, sizeof sym));
		for (size_t i = 0; i < sizeof sym; i++)
			assert_int_equal(sym[i], i % 2300 == 5 ? 100 + i / 2300 * 5 : 7);
	}
	/* what came out is known: not the symbol that stood for others */
	for (unsigned s = 0; s < 256; s++)
		assert_int_equal(rans_count(r, s) != 0, s == 7 || (s >= 100 && s <= 250 && s % 5 == 0));
	/* one escape less, and one more, than there are symbols that ask for it; more than the stream is long */
	assert_int_equal(stream[3], 31);
	for (int wrong = 30; wrong <= 32; wrong += 2) {
		memcpy(bad, stream, sizeof bad);
		bad[3] = (uint8_t)wrong;
		assert_false(rans_decode(r, bad, sizeof bad, NULL, 1, sym, sizeof sym));
	}
	memcpy(bad, stream, sizeof bad);
	bad[5] = 255;
	assert_false(rans_decode(r, bad, sizeof bad, NULL, 1, sym, sizeof sym));
	for (size_t len = 0; len < sizeof stream; len++) {
		uint8_t *exact = data_copy(stream, len);

		assert_false(rans_decode(r, exact, len, NULL, 1, sym, sizeof sym));
		free(exact);
	}
	rans_free(r);
}

static void damaged(void **state)
{
	struct rans *r = rans_new();
	uint8_t *sym = malloc(MANY), *ctx = malloc(MANY), *out = malloc(2 * MANY + 20000), *back;

	(void)state;
	assert_true(r && sym && ctx && out);
	for (unsigned round = 0; round < 3000; round++) {
		size_t n = round % 50 == 0 ? RANS_WIDE + data_random() % 50000 : data_random() % 300, k;
		unsigned contexts = 1 + data_random() % 4;
		uint8_t *bad;

		fill(round % 6, sym, ctx, n, contexts);
		rans_model(r, sym, ctx, contexts, n);
		k = rans_encode(r, sym, ctx, n, out, 2 * MANY + 20000);
		assert_true(k > 0);
		bad = data_damage(out, &k);
		back = malloc(n ? n : 1);
		rans_decode(r, bad, k, ctx, contexts, back, n); /* true or false; a sanitizer watches */
		free(back);
		free(bad);
	}
	/* and what never was a stream */
	for (unsigned round = 0; round < 3000; round++) {
		size_t k = data_random() % 400;
		uint8_t *bad = malloc(k ? k : 1);

		for (size_t i = 0; i < k; i++)
			bad[i] = (uint8_t)(data_random() >> 20) & (round % 2 ? 255 : 7);
		back = malloc(64);
		rans_decode(r, bad, k, NULL, 1, back, 64);
		free(back);
		free(bad);
	}
	free(sym);
	free(ctx);
	free(out);
	rans_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trips),
		cmocka_unit_test(all_frequencies),
		cmocka_unit_test(close_to_entropy),
		cmocka_unit_test(golden),
		cmocka_unit_test(golden_escapes),
		cmocka_unit_test(damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
