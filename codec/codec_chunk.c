/*
 * codec_chunk.c: which codec a chunk gets, and the way back.
 *
 * The choice, cheapest question first:
 *
 *   1. Does one period of 1, 2, 4 or 8 bytes repeat?  A chunk is compared with itself, shifted; other data fails
 *      in the first few bytes.  Empty optimizer state, masks and freshly made buffers end here.
 *   2. Is there anything to gain?  4 KiB of samples are counted, and where their bytes are spread evenly a
 *      piece from the middle is tried in earnest.  Noise (compressed pictures, encrypted or random
 *      bytes) is stored raw for some 10 us a chunk, where zstd would take 130 to find nothing.
 *   3. zstd.  It is kept when it saves at least 1/32, about 3 %: less is not worth a decode on each read.
 *
 * Levels, measured on chunks of 256 KiB (stored/raw, MB/s of one core):
 *
 *               fp32           bf16           JSON lines     C++ headers    programs       int64 < 1000
 *   level 1     0.926   970    0.780   800    0.215   360    0.168   430    0.282   360    0.201   340
 *   level 3     0.926   630    0.780   280    0.245   210    0.160   360    0.266   240    0.245   300
 *   level 9     0.926   180    0.777    50    0.233    40    0.135    60    0.245    50    0.235    30
 *
 * On numbers the higher levels find nothing, or less (they prefer matches to literals), so level 1 is taken for
 * everything that has to be quick, and CODEC_MAX takes the better of levels 1 and 9 and asks zstd without
 * the second question.
 *
 * A frame is decoded in one call into the whole chunk, so no window is ever allocated and a frame that
 * claims a huge one costs nothing.
 */
#include "codec/codec_chunk.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "codec/ckpt_error.h"

enum {
	LEVEL_QUICK = 1,
	LEVEL_MAX = 9,

	SAMPLE = 64,             /* bytes of one sample */
	SAMPLES = 64,            /* how many, evenly spread */
	TRIAL = 8 << 10,         /* bytes of the piece tried in earnest */
	PROBE_MIN = 32 << 10,    /* below, zstd itself is as quick as a look */

	ZSTD_MAGIC_LEN = 4,
};

/* zstd is kept for payloads no longer than this. */
static size_t worth(size_t raw_len)
{
	return raw_len - raw_len / 32 - 1;
}

struct codec_ctx {
	ZSTD_CCtx *cctx;
	ZSTD_DCtx *dctx;
	enum codec_effort effort;
	uint8_t *second; /* CODEC_MAX only: room for the other level's frame, codec_bound(CODEC_CHUNK_MAX) bytes */
	uint8_t trial[TRIAL + 512];
};

int codec_ctx_new(enum codec_effort effort, struct codec_ctx **out)
{
	struct codec_ctx *ctx = calloc(1, sizeof *ctx);

	if (ctx == NULL)
		goto no_memory;
	ctx->effort = effort;
	ctx->cctx = ZSTD_createCCtx();
	ctx->dctx = ZSTD_createDCtx();
	if (ctx->cctx == NULL || ctx->dctx == NULL)
		goto free_ctx;
	if (effort == CODEC_MAX) {
		ctx->second = malloc(codec_bound(CODEC_CHUNK_MAX));
		if (ctx->second == NULL)
			goto free_ctx;
	}
	/* These parameters exist in every zstd 1.x, and flags are in range: they cannot fail. */
	ZSTD_CCtx_setParameter(ctx->cctx, ZSTD_c_contentSizeFlag, 0);
	ZSTD_CCtx_setParameter(ctx->cctx, ZSTD_c_checksumFlag, 0);
	ZSTD_CCtx_setParameter(ctx->cctx, ZSTD_c_dictIDFlag, 0);
	*out = ctx;
	return 0;

free_ctx:
	codec_ctx_free(ctx);
no_memory:
	return ckpt_fail(ENOMEM, "out of memory for a codec context");
}

void codec_ctx_free(struct codec_ctx *ctx)
{
	if (ctx == NULL)
		return;
	free(ctx->second);
	ZSTD_freeDCtx(ctx->dctx);
	ZSTD_freeCCtx(ctx->cctx);
	free(ctx);
}

const char *codec_name(int id)
{
	static _Thread_local char unknown[24];

	switch (id) {
	case CODEC_CONST:
		return "constant";
	case CODEC_RAW:
		return "raw";
	case CODEC_ZSTD:
		return "zstd";
	}
	snprintf(unknown, sizeof unknown, "codec %d", id);
	return unknown;
}

size_t codec_bound(size_t raw_len)
{
	return ZSTD_compressBound(raw_len);
}

/* The shortest period that raw repeats, if it is shorter than raw; else 0. The last one may be cut short. */
static size_t period_of(const uint8_t *raw, size_t len)
{
	/* Periods 1, 2 and 4 are periods of 8 as well, so one look over the whole chunk is enough. */
	if (len > 8 && memcmp(raw, raw + 8, len - 8) != 0)
		return 0;
	for (size_t p = 1; p <= 8 && p < len; p *= 2) {
		size_t head = len < 16 ? len : 16;

		if (memcmp(raw, raw + p, head - p) == 0)
			return p;
	}
	return 0;
}

/*
 * Whether zstd stands a chance.  With c[b] the count of byte b among n samples, q = 256 * sum c(c-1) / n(n-1) is
 * 1 for evenly spread bytes (within 0.6 %) and at least 2^d when an order-0 code saves d bits a byte: saving
 * 1/32 means q >= 1.18.  What is even and compressible all the same (ramps, repeats) the trial finds.
 */
static bool promising(struct codec_ctx *ctx, const uint8_t *raw, size_t len)
{
	enum { N = SAMPLE * SAMPLES };
	uint32_t count[256] = { 0 };
	size_t step = (len - SAMPLE) / (SAMPLES - 1), got;
	uint64_t pairs = 0;

	for (size_t s = 0; s < SAMPLES; s++)
		for (size_t i = 0; i < SAMPLE; i++)
			count[raw[s * step + i]]++;
	for (size_t b = 0; b < 256; b++)
		pairs += (uint64_t)count[b] * count[b] - count[b];
	if (pairs * 256 * 10 >= (uint64_t)N * (N - 1) * 11)
		return true;
	got = ZSTD_compress2(ctx->cctx, ctx->trial, sizeof ctx->trial, raw + len / 2, TRIAL);
	return !ZSTD_isError(got) && got <= worth(TRIAL);
}

/* Compresses at a level; the frame's length, or 0 when there is no frame for lack of memory. */
static size_t compress(struct codec_ctx *ctx, int level, const uint8_t *raw, size_t raw_len, uint8_t *out,
		size_t cap)
{
	size_t n;

	ZSTD_CCtx_setParameter(ctx->cctx, ZSTD_c_compressionLevel, level);
	n = ZSTD_compress2(ctx->cctx, out, cap, raw, raw_len);
	return ZSTD_isError(n) ? 0 : n;
}

int codec_encode(struct codec_ctx *ctx, const uint8_t *raw, size_t raw_len, const struct codec_hint *hint,
		const uint8_t *base, size_t base_len, uint8_t *out, size_t cap, size_t *out_len, int *id,
		int *used_base)
{
	size_t period, n = 0;

	/* None of today's codecs asks what kind of number it is given, nor for a predecessor. */
	(void)hint;
	(void)base;
	(void)base_len;
	if (raw_len < 1 || raw_len > CODEC_CHUNK_MAX)
		return ckpt_fail(EINVAL, "a chunk of %zu bytes", raw_len);
	if (cap < codec_bound(raw_len))
		return ckpt_fail(EINVAL, "room of %zu bytes for a chunk of %zu", cap, raw_len);

	period = period_of(raw, raw_len);
	if (period != 0) {
		memcpy(out, raw, period);
		*out_len = period;
		*id = CODEC_CONST;
		*used_base = 0;
		return 0;
	}
	ZSTD_CCtx_setParameter(ctx->cctx, ZSTD_c_compressionLevel, LEVEL_QUICK);
	if (ctx->effort == CODEC_MAX || raw_len < PROBE_MIN || promising(ctx, raw, raw_len)) {
		n = compress(ctx, LEVEL_QUICK, raw, raw_len, out, cap);
		if (n == 0)
			return ckpt_fail(ENOMEM, "zstd could not compress %zu bytes", raw_len);
	}
	if (ctx->effort == CODEC_MAX) {
		size_t m = compress(ctx, LEVEL_MAX, raw, raw_len, ctx->second, cap);

		if (m == 0)
			return ckpt_fail(ENOMEM, "zstd could not compress %zu bytes", raw_len);
		if (m < n) {
			memcpy(out, ctx->second, m);
			n = m;
		}
	}
	if (n != 0 && n <= worth(raw_len)) {
		*out_len = n;
		*id = CODEC_ZSTD;
	} else {
		memcpy(out, raw, raw_len);
		*out_len = raw_len;
		*id = CODEC_RAW;
	}
	*used_base = 0;
	return 0;
}

static int decode_const(const uint8_t *payload, size_t len, uint8_t *raw, size_t raw_len)
{
	size_t done = len;

	if ((len != 1 && len != 2 && len != 4 && len != 8) || len > raw_len)
		return ckpt_fail(EIO, "constant chunk with a period of %zu bytes", len);
	memcpy(raw, payload, len);
	while (done < raw_len) {
		size_t k = raw_len - done < done ? raw_len - done : done;

		memcpy(raw + done, raw, k);
		done += k;
	}
	return 0;
}

/*
 * zstd's own call takes a row of frames and skippable ones; a payload is exactly one.  Shorter than the chunk, as
 * every frame that was kept is, it is also bounded: empty blocks without end would decode to nothing.
 */
static int decode_zstd(struct codec_ctx *ctx, const uint8_t *payload, size_t len, uint8_t *raw, size_t raw_len)
{
	static const uint8_t magic[ZSTD_MAGIC_LEN] = { 0x28, 0xb5, 0x2f, 0xfd };
	size_t n;

	if (len < ZSTD_MAGIC_LEN || len >= raw_len || memcmp(payload, magic, ZSTD_MAGIC_LEN) != 0)
		return ckpt_fail(EIO, "zstd chunk is no frame");
	n = ZSTD_findFrameCompressedSize(payload, len);
	if (ZSTD_isError(n) || n != len)
		return ckpt_fail(EIO, "zstd chunk is not one whole frame");
	n = ZSTD_decompressDCtx(ctx->dctx, raw, raw_len, payload, len);
	if (ZSTD_isError(n))
		return ckpt_fail(EIO, "zstd chunk does not decode: %s", ZSTD_getErrorName(n));
	if (n != raw_len)
		return ckpt_fail(EIO, "zstd chunk decodes to %zu bytes of %zu", n, raw_len);
	return 0;
}

int codec_decode(struct codec_ctx *ctx, int id, const uint8_t *payload, size_t len, const uint8_t *base,
		size_t base_len, uint8_t *raw, size_t raw_len)
{
	(void)base;
	(void)base_len;
	if (raw_len < 1 || raw_len > CODEC_CHUNK_MAX)
		return ckpt_fail(EIO, "a chunk of %zu bytes", raw_len);
	switch (id) {
	case CODEC_CONST:
		return decode_const(payload, len, raw, raw_len);
	case CODEC_RAW:
		if (len != raw_len)
			return ckpt_fail(EIO, "raw chunk of %zu bytes is %zu long", raw_len, len);
		memcpy(raw, payload, raw_len);
		return 0;
	case CODEC_ZSTD:
		return decode_zstd(ctx, payload, len, raw, raw_len);
	}
	return ckpt_fail(EIO, "%s is not known here", codec_name(id));
}
