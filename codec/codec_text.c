/*
 * codec_text.c: text with numbers in it (codec_text.h).
 *
 * 10,000 JSON files of metrics, 1 MiB at a time, stored/raw (MB/s of one core to encode): zstd -9 0.1148 (35), zstd -19 0.0973
 * (1); with the digits taken out, -1 0.094 (250), -9 0.085 (60), -12 0.082 (40).
 */
#include "codec/codec_text.h"

#include <string.h>
#include <zstd.h>

enum { HEAD = 12, RUN_MIN = 2, RUN_MAX = 27, CONTEXTS = 32, WORTH = 64 /* one digit in so many bytes */ };

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26;
}

static uint8_t mark_of(size_t run)
{
	return (uint8_t)(run < 10 ? run - 1 : run + 4);
}

/* The length that a byte of the skeleton tells; 0: it stands for itself. */
static size_t run_of(uint8_t c)
{
	return c >= 1 && c <= 8 ? c + 1u : c >= 14 && c <= 31 ? c - 4u : 0;
}

static uint8_t context(uint8_t letter, size_t at)
{
	return (uint8_t)((letter & 7) * 4 + (at < 3 ? at : 3));
}

/* Skeleton into w->u, digits into w->token, their contexts into w->ctx. False: this is no such text. */
static bool split(struct codec_work *w, const uint8_t *raw, size_t len, size_t *skeleton, size_t *digits)
{
	size_t ns = 0, nd = 0;
	uint8_t letter = 0;

	for (size_t i = 0; i < len;) {
		uint8_t c = raw[i++];

		if (run_of(c) || c == 0)
			return false;
		w->u[ns++] = c;
		if (is_letter(c))
			letter = c;
		if (c != '.')
			continue;
		size_t run = 0;

		while (run < RUN_MAX && i + run < len && is_digit(raw[i + run]))
			run++;
		if (run < RUN_MIN)
			continue;
		w->u[ns++] = mark_of(run);
		for (size_t k = 0; k < run; k++) {
			w->token[nd] = (uint8_t)(raw[i + k] - '0');
			w->ctx[nd++] = context(letter, k);
		}
		i += run;
	}
	*skeleton = ns;
	*digits = nd;
	return nd > len / WORTH;
}

size_t codec_text_encode(struct codec_work *w, const uint8_t *raw, size_t len, int level, uint8_t *out, size_t cap)
{
	size_t skeleton, digits, frame, stream;

	if (cap < HEAD || len > CODEC_WORK_MAX || !split(w, raw, len, &skeleton, &digits))
		return 0;
	ZSTD_CCtx_setParameter(w->cctx, ZSTD_c_compressionLevel, level);
	frame = ZSTD_compress2(w->cctx, out + HEAD, cap - HEAD, w->u, skeleton);
	if (ZSTD_isError(frame))
		return 0;
	rans_model(w->rans, w->token, w->ctx, CONTEXTS, digits);
	stream = rans_encode(w->rans, w->token, w->ctx, digits, out + HEAD + frame, cap - HEAD - frame);
	if (stream == 0)
		return 0;
	codec_put32(out, (uint32_t)skeleton);
	codec_put32(out + 4, (uint32_t)digits);
	codec_put32(out + 8, (uint32_t)frame);
	return HEAD + frame + stream;
}

/* One whole frame into w->u, exactly n bytes; bounded as CODEC_ZSTD's is. */
static bool decode_skeleton(struct codec_work *w, const uint8_t *in, size_t len, size_t n)
{
	size_t got;

	if (len < 4 || codec_get32(in) != ZSTD_MAGICNUMBER || len > n + n / 128 + 64)
		return false;
	got = ZSTD_findFrameCompressedSize(in, len);
	if (ZSTD_isError(got) || got != len)
		return false;
	got = ZSTD_decompressDCtx(w->dctx, w->u, n, in, len);
	return !ZSTD_isError(got) && got == n;
}

/* The contexts of the digits that the skeleton asks for. False: it asks for others than there are, or for other bytes. */
static bool find_contexts(struct codec_work *w, size_t skeleton, size_t digits, size_t len)
{
	size_t nd = 0, plain = 0;
	uint8_t letter = 0;

	for (size_t i = 0; i < skeleton; i++) {
		uint8_t c = w->u[i];
		size_t run = run_of(c);

		if (run > digits - nd)
			return false;
		for (size_t k = 0; k < run; k++)
			w->ctx[nd++] = context(letter, k);
		plain += run == 0;
		if (is_letter(c))
			letter = c;
	}
	return nd == digits && plain + nd == len;
}

bool codec_text_decode(struct codec_work *w, const uint8_t *in, size_t in_len, uint8_t *raw, size_t len)
{
	size_t skeleton, digits, frame, nd = 0, at = 0;

	if (in_len < HEAD || len > CODEC_WORK_MAX)
		return false;
	skeleton = codec_get32(in);
	digits = codec_get32(in + 4);
	frame = codec_get32(in + 8);
	if (skeleton < 1 || skeleton > len || digits < 1 || digits > len || frame > in_len - HEAD)
		return false;
	if (!decode_skeleton(w, in + HEAD, frame, skeleton) || !find_contexts(w, skeleton, digits, len) ||
			!rans_decode(w->rans, in + HEAD + frame, in_len - HEAD - frame, w->ctx, CONTEXTS, w->token, digits))
		return false;
	for (size_t i = 0; i < digits; i++)
		if (w->token[i] > 9)
			return false;
	for (size_t i = 0; i < skeleton; i++) {
		size_t run = run_of(w->u[i]);

		if (run == 0)
			raw[at++] = w->u[i];
		for (size_t k = 0; k < run; k++)
			raw[at++] = (uint8_t)('0' + w->token[nd++]);
	}
	return true;
}
