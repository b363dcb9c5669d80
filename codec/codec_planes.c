/*
 * codec_planes.c: see codec_planes.h.
 *
 * zstd is asked for a plane when a piece of it comes out at least an eighth smaller than its bytes'
 * frequencies promise: then there are repeats, which frequencies do not see.
 */
#include "codec/codec_planes.h"

#include <string.h>
#include <zstd.h>

enum { HEAD = 1, WIDTH_MASK = 3, PHASE_SHIFT = 2, TRIAL = 8 << 10, TRIAL_MIN = 256 };
enum form { CONSTANT, RAW, CODED, ZSTD };

static bool has_repeats(struct codec_work *w, const uint8_t *plane, size_t n, size_t coded)
{
	uint8_t out[TRIAL + 512];
	size_t k = n < TRIAL ? n : TRIAL, got;

	if (n < TRIAL_MIN)
		return false;
	ZSTD_CCtx_setParameter(w->cctx, ZSTD_c_compressionLevel, 1);
	got = ZSTD_compress2(w->cctx, out, sizeof out, plane + (n - k) / 2, k);
	if (coded > n)
		coded = n;
	return !ZSTD_isError(got) && (uint64_t)got * n < (uint64_t)coded * k / 8 * 7;
}

static size_t put_plane(struct codec_work *w, const uint8_t *plane, size_t n, uint8_t *out, size_t cap)
{
	size_t coded, k = 0;

	if (cap < 6)
		return 0;
	if (memcmp(plane, plane + 1, n - 1) == 0) {
		out[0] = CONSTANT;
		out[1] = plane[0];
		return 2;
	}
	coded = rans_model(w->rans, plane, NULL, 1, n);
	if (has_repeats(w, plane, n, coded)) {
		size_t room = cap - 5 < n ? cap - 5 : n;

		k = ZSTD_compress2(w->cctx, out + 5, room, plane, n);
		if (ZSTD_isError(k) || k >= coded)
			k = 0;
		out[0] = ZSTD;
	}
	if (k == 0 && coded < n - n / 64) {
		k = rans_encode(w->rans, plane, NULL, n, out + 5, cap - 5);
		if (k > n)
			k = 0;
		out[0] = CODED;
	}
	if (k > 0) {
		codec_put32(out + 1, (uint32_t)k);
		return 5 + k;
	}
	if (cap < 1 + n)
		return 0;
	out[0] = RAW;
	memcpy(out + 1, plane, n);
	return 1 + n;
}

size_t codec_planes_encode(struct codec_work *w, const uint8_t *raw, size_t len,
		const struct codec_layout *lay, uint8_t *out, size_t cap)
{
	unsigned lg = lay->lg;
	size_t n = len < lay->phase ? 0 : (len - lay->phase) >> lg, at = HEAD, tail;
	const uint8_t *elements = raw + lay->phase, *planes = w->other;

	if (n < 1 || cap < HEAD + ((size_t)2 << lg))
		return 0;
	tail = len - lay->phase - (n << lg);
	out[0] = (uint8_t)(lg | (unsigned)lay->phase << PHASE_SHIFT);
	memcpy(out + at, raw, lay->phase);
	at += lay->phase;
	memcpy(out + at, elements + (n << lg), tail);
	at += tail;
	if (lg == 0)
		planes = elements;
	else
		w->loops->split[lg](elements, n, w->other);
	for (unsigned p = 0; p < 1u << lg; p++) {
		size_t k = put_plane(w, planes + p * n, n, out + at, cap - at);

		if (k == 0)
			return 0;
		at += k;
	}
	return at;
}

static bool get_zstd(struct codec_work *w, const uint8_t *in, size_t len, uint8_t *plane, size_t n)
{
	size_t k;

	/* shorter than what it makes, so bounded; one frame, not several */
	if (len < 4 || len > n || codec_get32(in) != ZSTD_MAGICNUMBER)
		return false;
	k = ZSTD_findFrameCompressedSize(in, len);
	if (ZSTD_isError(k) || k != len)
		return false;
	k = ZSTD_decompressDCtx(w->dctx, plane, n, in, len);
	return !ZSTD_isError(k) && k == n;
}

static const uint8_t *get_plane(
		struct codec_work *w, const uint8_t *p, const uint8_t *end, uint8_t *plane, size_t n)
{
	size_t left = (size_t)(end - p), k;
	unsigned form;

	if (left < 2)
		return NULL;
	form = *p++;
	left--;
	if (form == CONSTANT) {
		memset(plane, *p, n);
		return p + 1;
	}
	if (form == RAW) {
		if (left < n)
			return NULL;
		memcpy(plane, p, n);
		return p + n;
	}
	if (left < 4 || codec_get32(p) > left - 4)
		return NULL;
	k = codec_get32(p);
	p += 4;
	if (form == CODED ? !rans_decode(w->rans, p, k, NULL, 1, plane, n)
			  : form != ZSTD || !get_zstd(w, p, k, plane, n))
		return NULL;
	return p + k;
}

bool codec_planes_decode(struct codec_work *w, const uint8_t *in, size_t in_len, uint8_t *raw, size_t len)
{
	const uint8_t *p = in + HEAD, *end = in + in_len;
	uint8_t *planes = w->other;
	unsigned lg, phase;
	size_t n, tail;

	if (in_len < HEAD)
		return false;
	lg = in[0] & WIDTH_MASK;
	phase = in[0] >> PHASE_SHIFT;
	if (phase >> lg != 0 || phase > len)
		return false;
	n = (len - phase) >> lg;
	tail = len - phase - (n << lg);
	if (n < 1 || (size_t)(end - p) < phase + tail)
		return false;
	memcpy(raw, p, phase);
	memcpy(raw + len - tail, p + phase, tail);
	p += phase + tail;
	if (lg == 0)
		planes = raw + phase;
	for (unsigned k = 0; k < 1u << lg; k++) {
		p = get_plane(w, p, end, planes + k * n, n);
		if (p == NULL)
			return false;
	}
	if (lg > 0)
		w->loops->merge[lg](planes, n, raw + phase);
	return p == end;
}
