/*
 * test_codec_bins.c: values come back from tokens and low bits, with vector instructions and without, from the same
 * bytes; what is too short, too long or not filled with zeros is refused.
 */
#include "tests/unit/codec_data.h"

#include "codec/codec_bins.h"
#include "codec/codec_simd.h"

enum { MANY = 3000 };

struct scheme {
	const char *name;
	unsigned lg, exponent_bits; /* 0: lengths */
	unsigned wide, first;
	unsigned odd; /* one of so many values is of no particular size */
};

static const struct scheme schemes[] = {
	{ "bytes", 0, 0, 0, 0, 3 },
	{ "differences of 16 bits", 1, 0, 0, 0, 0 },
	{ "differences of 16 bits, some large", 1, 0, 0, 0, 20 },
	{ "differences of 32 bits", 2, 0, 0, 0, 0 },
	{ "differences of 32 bits, some large", 2, 0, 0, 0, 20 },
	{ "any 32 bits", 2, 0, 0, 0, 1 },
	{ "differences of 64 bits", 3, 0, 0, 0, 9 },
	{ "bfloat16", 1, 8, 16, 4 * 100, 0 },
	{ "bfloat16, escapes and zeros", 1, 8, 16, 4 * 100, 30 },
	{ "bfloat16, zeros everywhere", 1, 8, 16, 4 * 100, 2 },
	{ "bfloat16 that was float8", 1, 5, 8, 0, 0 },
	{ "a bit of 16", 1, 8, 11, 4 * 100, 0 },
	{ "no bit of 16", 1, 8, 10, 4 * 100, 40 },
	{ "half, signs left out", 1, 5, 15, 0, 0 },
	{ "fp32", 2, 8, 32, 4 * 100, 0 },
	{ "fp32, escapes and zeros", 2, 8, 32, 4 * 100, 30 },
	{ "fp32, few zeros", 2, 8, 32, 4 * 100, 400 },
	{ "a bit of 32", 2, 8, 11, 4 * 100, 0 },
	{ "no bit of 32", 2, 8, 10, 4 * 100, 40 },
	{ "28 bits of 32", 2, 2, 32, 0, 0 },
	{ "25 bits of 32", 2, 5, 32, 0, 0 },
	{ "24 bits of 32", 2, 6, 32, 4 * 10, 100 },
	{ "12 bits of 16", 1, 2, 16, 0, 0 },
	{ "11 bits of 16", 1, 3, 16, 0, 0 },
	{ "10 bits of 16", 1, 4, 16, 0, 0 },
	{ "9 bits of 16", 1, 5, 16, 0, 50 },
	{ "fp32 that was bfloat16", 2, 8, 16, 4 * 90, 10 },
	{ "fp32 of the greatest exponents", 2, 8, 31, 4 * 250, 50 },
	{ "fp64", 3, 11, 64, 4 * 1000, 30 },
};

/* n values and their tokens. */
static void fill(const struct scheme *s, struct bins *b, uint8_t *u, uint8_t *token, size_t n)
{
	const struct codec_loops *loops = codec_loops();
	unsigned bits = s->exponent_bits ? s->wide : 8u << s->lg, low = bits - s->exponent_bits - 2;
	uint64_t own = s->exponent_bits >= 3 ? 20 : 4u << s->exponent_bits;

	for (size_t i = 0; i < n; i++) {
		uint64_t v = data_random();

		if (s->odd != 0 && data_random() % s->odd == 0)
			v = data_random() % 2 ? 0 : v >> (64 - bits);
		else if (s->exponent_bits != 0)
			v = ((s->first + v % own) << low) + (v >> 32 & ((UINT64_C(1) << low) - 1));
		else
			v >>= 64 - bits + data_random() % (bits / 2);
		memcpy(u + (i << s->lg), &v, (size_t)1 << s->lg);
	}
	if (s->exponent_bits != 0) {
		bins_float(b, s->lg, s->wide, s->exponent_bits, s->first);
		loops->float_token[s->lg](u, n, low, s->first, token);
	} else {
		bins_length(b, s->lg);
		loops->length_token[s->lg](u, n, token);
	}
}

static void both_ways(void **state)
{
	(void)state;
	for (size_t k = 0; k < sizeof schemes / sizeof schemes[0]; k++) {
		const struct scheme *s = &schemes[k];

		for (size_t n = 0; n < MANY; n += n < 70 ? 1 : 701) {
			uint8_t *u = malloc((n << s->lg) + 1), *token = malloc(n + 1), *back, *exact;
			uint8_t out[2][8 * MANY + BINS_SLACK];
			uint32_t count[256] = { 0 };
			struct bins b;
			size_t len;
			bool has_simd;

			assert_true(u && token);
			fill(s, &b, u, token, n);
			for (size_t i = 0; i < n; i++)
				count[token[i]]++;
			has_simd = b.simd;
			len = bins_low_size(&b, count);
			memset(out, 0x5a, sizeof out);
			bins_put_low(&b, u, token, n, out[0]);
			b.simd = false;
			bins_put_low(&b, u, token, n, out[1]);
			if (memcmp(out[0], out[1], len) != 0)
				fail_msg("%s, %zu values: other bytes", s->name, n);
			exact = data_copy(out[0], len);
			for (int simd = 0; simd < 2; simd++) {
				b.simd = simd && has_simd;
				back = malloc((n << s->lg) + 1);
				memset(back, 0x5a, (n << s->lg) + 1);
				if (!bins_get(&b, token, n, exact, len, back) || memcmp(back, u, n << s->lg) != 0)
					fail_msg("%s, %zu values: others came back", s->name, n);
				assert_int_equal(back[n << s->lg], 0x5a);
				out[0][len] = 0;
				assert_false(bins_get(&b, token, n, out[0], len + 1, back));
				if (len > 0)
					assert_false(bins_get(&b, token, n, exact, len - 1, back));
				free(back);
			}
			free(exact);
			free(token);
			free(u);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
