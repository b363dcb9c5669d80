/*
 * codec_work.c: see codec_work.h.
 */
#include "codec/codec_work.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum {
	SLACK = 64,
	SCALE_CENTRE = 128,
	LOOK_PIECE = 16, /* elements */
	SCALED_MIN = 1 << 14, /* elements for which side information and 32 tables are worth a try */
};

int codec_work_init(struct codec_work *w, bool thorough)
{
	memset(w, 0, sizeof *w);
	w->thorough = thorough;
	w->loops = codec_loops();
	w->rans = rans_new();
	w->cctx = ZSTD_createCCtx();
	w->dctx = ZSTD_createDCtx();
	w->u = malloc(CODEC_WORK_MAX + SLACK);
	w->token = malloc(CODEC_WORK_MAX + SLACK);
	w->ctx = malloc(CODEC_WORK_MAX + SLACK);
	w->other = malloc(CODEC_WORK_MAX + SLACK);
	w->scale = malloc(CODEC_WORK_MAX + SLACK);
	w->moved = malloc(CODEC_WORK_MAX + SLACK);
	w->level = thorough ? malloc((CODEC_WORK_MAX + SLACK) * sizeof w->level[0]) : NULL;
	if (w->cctx != NULL && w->dctx != NULL && w->rans != NULL && w->u != NULL && w->token != NULL &&
			w->ctx != NULL && w->other != NULL && w->scale != NULL && w->moved != NULL &&
			(!thorough || w->level != NULL)) {
		/* these parameters exist in every zstd 1.x, and flags are in range: they cannot fail */
		ZSTD_CCtx_setParameter(w->cctx, ZSTD_c_contentSizeFlag, 0);
		ZSTD_CCtx_setParameter(w->cctx, ZSTD_c_checksumFlag, 0);
		ZSTD_CCtx_setParameter(w->cctx, ZSTD_c_dictIDFlag, 0);
		return 0;
	}
	codec_work_release(w);
	return -ENOMEM;
}

void codec_work_release(struct codec_work *w)
{
	ZSTD_freeCCtx(w->cctx);
	ZSTD_freeDCtx(w->dctx);
	rans_free(w->rans);
	free(w->u);
	free(w->token);
	free(w->ctx);
	free(w->other);
	free(w->scale);
	free(w->moved);
	free(w->level);
	memset(w, 0, sizeof *w);
}

uint32_t codec_count_exponents(const uint8_t *elements, size_t n, const struct codec_layout *lay, size_t some,
		uint32_t *count)
{
	/* one piece after the other where all are looked at */
	size_t pieces = (n < some ? n : some) / LOOK_PIECE + 1;
	uint32_t seen = 0;

	for (size_t k = 0; k < pieces; k++) {
		size_t from = n * k / pieces, end = n * (k + 1) / pieces;

		for (size_t i = from; i < end && i < from + LOOK_PIECE; i++, seen++)
			count[codec_exponent(elements + (i << lay->lg), lay)]++;
	}
	return seen;
}

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static size_t low_size(const struct codec_work *w)
{
	uint32_t count[256];

	for (unsigned t = 0; t < 256; t++)
		count[t] = rans_count(w->rans, t);
	return bins_low_size(&w->bins, count);
}

size_t codec_numbers_estimate(struct codec_work *w, const uint8_t *ctx, unsigned contexts, size_t n)
{
	size_t stream = rans_model(w->rans, w->token, ctx, contexts, n);

	return 4 + stream + low_size(w);
}

size_t codec_numbers_encode(struct codec_work *w, const uint8_t *ctx, unsigned contexts, size_t n,
		uint8_t *out, size_t cap)
{
	size_t stream = codec_numbers_estimate(w, ctx, contexts, n), low = low_size(w);

	if (cap < stream || cap < low + 8 + BINS_SLACK)
		return 0;
	stream = rans_encode(w->rans, w->token, ctx, n, out + 4, cap - low - 4 - BINS_SLACK);
	if (stream == 0)
		return 0;
	codec_put32(out, (uint32_t)stream);
	bins_put_low(&w->bins, w->u, w->token, n, out + 4 + stream);
	return 4 + stream + low;
}

bool codec_numbers_decode(struct codec_work *w, const uint8_t *ctx, unsigned contexts, size_t n,
		const uint8_t *in, size_t len)
{
	size_t stream;

	if (len < 4)
		return false;
	stream = codec_get32(in);
	if (stream > len - 4 || !rans_decode(w->rans, in + 4, stream, ctx, contexts, w->token, n))
		return false;
	for (unsigned t = 1; t < 256; t++) /* 0 is valid in either scheme */
		if (rans_count(w->rans, t) != 0 && !w->bins.valid[t])
			return false;
	return bins_get(&w->bins, w->token, n, in + 4 + stream, len - 4 - stream, w->u);
}

/* ---- row and column scales -------------------------------------------------------------------------------------- */

static uint8_t scale_of(int64_t sum, int64_t count, int mid)
{
	int64_t mean = (2 * sum + count) / (2 * count) - mid + SCALE_CENTRE;

	return (uint8_t)(mean < 0 ? 0 : mean > 255 ? 255 : mean);
}

uint32_t codec_scales_row(const struct codec_layout *lay, size_t n)
{
	uint32_t row = lay->row;

	if (n < SCALED_MIN)
		return 0;
	if (row == 0 || row > n / 2)
		return CODEC_ROW_JOINED;
	if (row < CODEC_ROW_MIN)
		return (CODEC_ROW_JOINED + row - 1) / row * row;
	return row <= CODEC_ROW_MAX ? row : 0;
}

void codec_scales_find(struct codec_work *w, size_t n, uint32_t row, struct codec_scales *s)
{
	const uint16_t *level = w->level;
	uint32_t *column = (uint32_t *)(void *)w->other;
	uint64_t all = 0;
	size_t i = 0;

	s->row = row;
	s->rows = (uint32_t)((n + row - 1) / row);
	memset(column, 0, row * sizeof column[0]);
	for (size_t k = 0; k < n; k++)
		all += level[k];
	s->mid = (uint16_t)((all + n / 2) / n);
	for (uint32_t r = 0; r < s->rows; r++) {
		uint32_t end = n - i < row ? (uint32_t)(n - i) : row;
		uint64_t sum = 0;

		for (uint32_t c = 0; c < end; c++) {
			sum += level[i + c];
			column[c] += level[i + c];
		}
		w->scale[r] = scale_of((int64_t)sum, end, s->mid);
		i += end;
	}
	for (uint32_t c = 0; c < row; c++)
		w->scale[s->rows + c] = scale_of(column[c], n / row + (c < n % row), s->mid);
}

static inline int level_of(const uint8_t *base, const struct codec_layout *lay, size_t i)
{
	return base == NULL ? 0 : 2 * (int)codec_exponent(base + (i << lay->lg), lay);
}

void codec_scales_centre(const struct codec_work *w, const uint8_t *base, const struct codec_layout *lay,
		size_t n, struct codec_scales *s)
{
	/* sums lie between -256 + mid - 2 * 2047 and 254 + mid; a look at every 13th will do */
	enum { SPAN = 8192, ORIGIN = 4400 };
	uint32_t *count = (uint32_t *)(void *)w->other, best = 0, in = 0;

	memset(count, 0, SPAN * sizeof count[0]);
	for (size_t i = 0; i < n; i += 13) {
		int sum = w->scale[i / s->row] + w->scale[s->rows + i % s->row] - 256 -
			  level_of(base, lay, i);

		count[sum + ORIGIN]++;
	}
	s->low = 0;
	for (int k = 0; k < SPAN; k++) {
		in += count[k] - (k >= RANS_CONTEXTS ? count[k - RANS_CONTEXTS] : 0);
		if (in > best) {
			best = in;
			s->low = (int16_t)(k - RANS_CONTEXTS + 1 - ORIGIN + s->mid);
		}
	}
}

void codec_scales_context(const struct codec_work *w, const uint8_t *base, const struct codec_layout *lay,
		size_t n, const struct codec_scales *s, uint8_t *ctx)
{
	const uint8_t *column = w->scale + s->rows;
	size_t i = 0;

	for (uint32_t r = 0; r < s->rows; r++) {
		uint32_t end = n - i < s->row ? (uint32_t)(n - i) : s->row;
		int part = w->scale[r] - 256 + s->mid - s->low;

		if (base == NULL) {
			for (uint32_t c = 0; c < end; c++) {
				int k = part + column[c];

				ctx[i + c] = (uint8_t)(k < 0                   ? 0
						       : k > RANS_CONTEXTS - 1 ? RANS_CONTEXTS - 1
									       : k);
			}
		} else {
			w->loops->scale_context[lay->lg](base + (i << lay->lg), end,
					(8u << lay->lg) - lay->exponent_bits, part, column, ctx + i);
		}
		i += end;
	}
}

size_t codec_scales_put(struct codec_work *w, const struct codec_scales *s, uint8_t *out, size_t cap)
{
	size_t n = (size_t)s->rows + s->row, len;

	if (cap < CODEC_SCALES_HEAD)
		return 0;
	rans_model(w->rans, w->scale, NULL, 1, n);
	len = rans_encode(w->rans, w->scale, NULL, n, out + CODEC_SCALES_HEAD, cap - CODEC_SCALES_HEAD);
	if (len == 0 || len > UINT16_MAX)
		return 0;
	codec_put32(out, s->row);
	codec_put16(out + 4, s->mid);
	codec_put16(out + 6, (uint16_t)s->low);
	codec_put16(out + 8, (uint32_t)len);
	return CODEC_SCALES_HEAD + len;
}

const uint8_t *codec_scales_get(
		struct codec_work *w, size_t n, const uint8_t *in, const uint8_t *end, struct codec_scales *s)
{
	size_t len, count;

	if (end - in < CODEC_SCALES_HEAD)
		return NULL;
	s->row = codec_get32(in);
	s->mid = (uint16_t)codec_get16(in + 4);
	s->low = (int16_t)codec_get16(in + 6);
	len = codec_get16(in + 8);
	in += CODEC_SCALES_HEAD;
	if (s->row < 1 || s->row > n || len > (size_t)(end - in))
		return NULL;
	s->rows = (uint32_t)((n + s->row - 1) / s->row);
	count = (size_t)s->rows + s->row;
	if (count > CODEC_WORK_MAX || !rans_decode(w->rans, in, len, NULL, 1, w->scale, count))
		return NULL;
	return in + len;
}
