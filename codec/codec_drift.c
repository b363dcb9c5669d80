/*
 * codec_drift.c: see codec_drift.h.
 */
#include "codec/codec_drift.h"

#include <math.h>
#include <string.h>

#include "codec/codec_probe.h"

#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("O3")
#endif

enum {
	PIECES = 32, /* looked at, evenly spread */
	PIECE = 64,  /* elements of one */
	LOOKED = PIECES * PIECE,
	EXPONENT_AT = 23,
	EXPONENT_ALL = 255,
};

#define WORTH 0.003 /* of raw: less is not worth the multiplication */

static float float_of(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof f);
	return f;
}

static uint32_t bits_of(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof bits);
	return bits;
}

bool codec_drift_valid(uint32_t factor)
{
	return factor >> EXPONENT_AT == 126 || factor >> EXPONENT_AT == 127;
}

void codec_drift_apply(const uint8_t *base, size_t n, uint32_t factor, uint8_t *out)
{
	const float c = float_of(factor);

	for (size_t i = 0; i < n; i++) {
		uint32_t b, exponent;

		memcpy(&b, base + 4 * i, sizeof b);
		exponent = b >> EXPONENT_AT & EXPONENT_ALL;
		/* not what is, or would become, a denormal, an infinity or none */
		if (exponent - 2 < EXPONENT_ALL - 4)
			b = bits_of(float_of(b) * c);
		memcpy(out + 4 * i, &b, sizeof b);
	}
}

/* The factor that leaves the least squares, by numbers of ordinary size. */
static double fit(const uint8_t *x, const uint8_t *b)
{
	double xb = 0, bb = 0;

	for (size_t i = 0; i < LOOKED; i++) {
		float vx, vb;

		memcpy(&vx, x + 4 * i, sizeof vx);
		memcpy(&vb, b + 4 * i, sizeof vb);
		if (fabsf(vx) < 1e15f && fabsf(vb) < 1e15f) {
			xb += (double)vx * vb;
			bb += (double)vb * vb;
		}
	}
	return bb > 0 ? xb / bb : 1;
}

uint32_t codec_drift_find(struct codec_work *w, const uint8_t *raw, const uint8_t *base, size_t n)
{
	static const struct codec_layout lay = { .lg = 2, .exponent_bits = 8 };
	uint8_t x[4 * LOOKED], b[4 * LOOKED], moved[4 * LOOKED];
	uint32_t factor;
	double c;

	for (size_t k = 0; k < PIECES; k++) {
		size_t at = 4 * ((n - PIECE) * k / (PIECES - 1));

		memcpy(x + 4 * PIECE * k, raw + at, (size_t)4 * PIECE);
		memcpy(b + 4 * PIECE * k, base + at, (size_t)4 * PIECE);
	}
	c = fit(x, b);
	if (!(c >= 0.5 && c < 1.999))
		return 0;
	factor = bits_of((float)c);
	codec_drift_apply(b, LOOKED, factor, moved);
	if (probe_delta(w, x, sizeof x, moved, sizeof moved, &lay) + WORTH >
			probe_delta(w, x, sizeof x, b, sizeof b, &lay))
		return 0;
	return factor;
}
