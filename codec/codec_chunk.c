/*
 * codec_chunk.c: which codec a chunk gets, and the way back.
 *
 * The choice, cheapest question first:
 *
 *   1. Does one period of 1, 2, 4 or 8 bytes repeat?  A chunk is compared with itself, shifted; other data fails
 *      in the first few bytes.  Empty optimizer state, masks and freshly made buffers end here.
 *   2. What are the elements?  The hint says, or the entropies of a sample by period do (codec_probe.h): chunks cut by
 *      content begin anywhere in an element.
 *   3. What would each codec make of it?  2048 elements are looked at as floats or planes, as pixels when they
 *      are bytes, and as differences if there is a base; zstd is tried on a few KiB, of floats only where
 *      numbers come again.  All that takes some 10 us.
 *   4. The best guess is encoded with a limit on its length; when it does not keep what it promised the next one is
 *      tried, and at last the bytes are stored as they are.  A codec has to save 1/32, about 3 %: less is not worth a
 *      decode on each read.  A difference has to save as much against the best without one, or nobody should
 *      have to keep a base for it.
 *
 * zstd is for text, programs, and numbers that repeat.  Its levels, measured on chunks of 256 KiB
 * (stored/raw, MB/s of one core):
 *
 *               fp32           bf16           JSON lines     C++ headers    programs       int64 < 1000
 *   level 1     0.926   970    0.780   800    0.215   360    0.168   430    0.282   360    0.201   340
 *   level 3     0.926   630    0.780   280    0.245   210    0.160   360    0.266   240    0.245   300
 *   level 9     0.926   180    0.777    50    0.233    40    0.135    60    0.245    50    0.235    30
 *
 * On numbers the higher levels find nothing, or less (they prefer matches to literals), so level 1 is
 * taken for everything that has to be quick, and CODEC_MAX takes the better of levels 1 and 9, and where
 * the elements are a guess the better of zstd and what the guess says.
 *
 * Numbers, chunks of 256 KiB: stored/raw (MB/s of one busy core to encode / decode), alone and against the
 * checkpoint 40 to 60 steps before (small models, so take the sizes for an example):
 *
 *                       zstd -1    alone              difference         CODEC_MAX
 *   fp32 weights, Adam  0.920      0.816  860/1970    0.673  640/1430    0.673
 *   exp_avg             0.928      0.832  820/1860    loses, not taken   0.828
 *   exp_avg_sq          0.890      0.783  750/1670    0.707  630/1400    0.700
 *   fp32 weights, SGD   0.925      0.821  730/1600    0.652  610/1300    0.652
 *   momentum            0.927      0.832  790/1650    loses, not taken   0.831
 *   bf16, fine-tune     0.772      0.633  460/1000    0.121  360/800     0.121
 *   fp16, fine-tune     0.901      0.820  450/990     0.286  340/740     0.286
 *   1 % of rows moved   0.926      0.828  810/1840    0.0074 2700/6800   0.0074
 *   uint8 images, 84^2  0.967      0.553  250/310
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
#include "codec/codec_delta.h"
#include "codec/codec_float.h"
#include "codec/codec_image.h"
#include "codec/codec_planes.h"
#include "codec/codec_probe.h"
#include "codec/codec_text.h"
#include "codec/codec_work.h"

enum {
	LEVEL_QUICK = 1,
	LEVEL_MAX = 9,
	LEVEL_TEXT = 12,
	TRIAL_FLOAT = 4 << 10, /* bytes of the piece that zstd is tried on: floats seldom repeat */
	TRIAL = 8 << 10,
	SHORT_MIN = 192, /* a chunk below this has no room for tables */
	DENSE_MIN = 32 << 10,
};

_Static_assert((int)CODEC_CHUNK_MAX <= (int)CODEC_WORK_MAX && (int)CODEC_CHUNK_MAX <= (int)RANS_SYMBOLS_MAX,
		"scratch");

struct codec_ctx {
	enum codec_effort effort;
	uint8_t *second; /* CODEC_MAX only: room for another payload, codec_bound(CODEC_CHUNK_MAX) bytes */
	struct codec_work work;
};

/* A chunk on its way to a payload. */
struct encoding {
	struct codec_ctx *ctx;
	const uint8_t *raw, *base;
	size_t len, base_len;
	struct codec_layout lay;
	struct codec_image image;
	uint8_t *out;
	size_t cap;
};

/* What each way is expected to come to, by raw; 1 and more: nothing. */
struct guesses {
	double zstd, self, delta;
	enum codec_id self_id; /* CODEC_FLOATS, CODEC_PLANES or CODEC_IMAGE */
};

/* A codec is kept for payloads no longer than this. */
static size_t worth(size_t raw_len)
{
	return raw_len - raw_len / 32 - 1;
}

int codec_ctx_new(enum codec_effort effort, struct codec_ctx **out)
{
	struct codec_ctx *ctx = calloc(1, sizeof *ctx);

	if (ctx == NULL)
		goto no_memory;
	ctx->effort = effort;
	if (codec_work_init(&ctx->work, effort == CODEC_MAX) != 0)
		goto free_ctx;
	if (effort == CODEC_MAX) {
		ctx->second = malloc(codec_bound(CODEC_CHUNK_MAX));
		if (ctx->second == NULL)
			goto release_work;
	}
	*out = ctx;
	return 0;

release_work:
	codec_work_release(&ctx->work);
free_ctx:
	free(ctx);
no_memory:
	return ckpt_fail(ENOMEM, "out of memory for a codec context");
}

void codec_ctx_free(struct codec_ctx *ctx)
{
	if (ctx == NULL)
		return;
	free(ctx->second);
	codec_work_release(&ctx->work);
	free(ctx);
}

const char *codec_name(int id)
{
	static const char *const name[] = { [CODEC_CONST] = "constant",
		[CODEC_RAW] = "raw",
		[CODEC_ZSTD] = "zstd",
		[CODEC_PLANES] = "planes",
		[CODEC_FLOATS] = "floats",
		[CODEC_DELTA] = "difference",
		[CODEC_IMAGE] = "image",
		[CODEC_TEXT] = "text" };
	static _Thread_local char unknown[24];

	if (id >= CODEC_CONST && id <= CODEC_TEXT)
		return name[id];
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

/* Takes over what the hint says, if it makes sense; whether it says what the elements are. */
static bool layout_of(const struct codec_hint *hint, struct codec_layout *lay)
{
	memset(lay, 0, sizeof *lay);
	if (hint == NULL || hint->width == 0 || hint->width > 8 || (hint->width & (hint->width - 1)) != 0)
		return false;
	lay->lg = (uint8_t)__builtin_ctz(hint->width);
	if (hint->kind == CODEC_FLOAT && hint->width > 1 && hint->exponent_bits >= 2 &&
			hint->exponent_bits <= 11 && hint->exponent_bits + 4 <= 8 * hint->width)
		lay->exponent_bits = hint->exponent_bits;
	lay->row = hint->row / hint->width;
	return hint->kind != CODEC_BYTES;
}

static size_t encode_zstd(struct encoding *e, int level, uint8_t *out, size_t cap)
{
	size_t n;

	ZSTD_CCtx_setParameter(e->ctx->work.cctx, ZSTD_c_compressionLevel, level);
	n = ZSTD_compress2(e->ctx->work.cctx, out, cap, e->raw, e->len);
	return ZSTD_isError(n) ? 0 : n;
}

/* One way into out[0, cap); the length, or 0 if it does not fit. */
static size_t encode_as(struct encoding *e, enum codec_id id, uint8_t *out, size_t cap)
{
	struct codec_work *w = &e->ctx->work;

	switch (id) {
	case CODEC_ZSTD:
		return encode_zstd(e, LEVEL_QUICK, out, cap);
	case CODEC_PLANES:
		return codec_planes_encode(w, e->raw, e->len, &e->lay, out, cap);
	case CODEC_FLOATS:
		return codec_float_encode(w, e->raw, e->len, &e->lay, out, cap);
	case CODEC_DELTA:
		return codec_delta_encode(w, e->raw, e->len, e->base, e->base_len, &e->lay, out, cap);
	case CODEC_IMAGE:
		return codec_image_encode(w, e->raw, e->len, &e->image, out, cap);
	case CODEC_TEXT:
		return codec_text_encode(w, e->raw, e->len, LEVEL_TEXT, out, cap);
	default:
		return 0;
	}
}

/* Fills e->lay and e->image, and says what to expect. e->len >= PROBE_MIN. */
static struct guesses look(struct encoding *e, const struct codec_hint *hint)
{
	struct codec_work *w = &e->ctx->work;
	struct guesses g = { .zstd = 1, .self_id = CODEC_PLANES, .delta = 1 };
	bool known = layout_of(hint, &e->lay);
	size_t piece;

	if (known && e->lay.exponent_bits != 0) {
		g.self = probe_float(w, e->raw, e->len, &e->lay);
	} else if (known) {
		g.self = probe_planes(e->raw, e->len, &e->lay);
	} else {
		uint32_t row = e->lay.row;

		g.self = probe_layout(w, e->raw, e->len, &e->lay);
		e->lay.row = row;
	}
	if (e->lay.exponent_bits != 0)
		g.self_id = CODEC_FLOATS;
	piece = known && e->lay.exponent_bits != 0 ? TRIAL_FLOAT : TRIAL;
	if (e->lay.exponent_bits == 0 || probe_repeats(e->raw, e->len, piece, &e->lay))
		g.zstd = probe_zstd(w, e->raw, e->len, piece);
	if (e->lay.lg == 0) {
		double image = probe_image(e->raw, e->len, hint != NULL && known ? hint->row : 0,
				known && hint->kind == CODEC_PIXELS ? 1 : 0.95 * g.self, &e->image);

		if (image < g.self - 0.01) {
			g.self = image;
			g.self_id = CODEC_IMAGE;
		}
		/* plain bytes have repeats further apart than a trial sees */
		if (!known && g.self_id == CODEC_PLANES)
			g.zstd *= 0.8;
	} else {
		/* and numbers have less of them */
		g.zstd *= 1.15;
	}
	if (g.self < 0.01 && g.zstd < 0.02)
		g.zstd = 0; /* next to nothing: the codec with the smaller head */
	if (e->base_len > 0)
		g.delta = probe_delta(w, e->raw, e->len, e->base, e->base_len, &e->lay);
	return g;
}

/* Tries ways without a base, the likeliest first. */
static size_t encode_alone(struct encoding *e, const struct guesses *g, bool sure, enum codec_id *id)
{
	bool zstd_first = g->zstd <= g->self;
	size_t cap = worth(e->len), n = 0, m;

	for (int k = 0; k < 2 && n == 0; k++) {
		*id = zstd_first == (k == 0) ? CODEC_ZSTD : g->self_id;
		/* noise is seen at a glance: zstd would take 130 us to find nothing */
		if (e->ctx->effort == CODEC_MAX || (*id == CODEC_ZSTD ? g->zstd : g->self) < 1 - 1. / 40)
			n = encode_as(e, *id, e->out, cap);
	}
	if (e->ctx->effort != CODEC_MAX)
		return n;
	if (n == 0 || *id == CODEC_ZSTD || !sure) {
		static const int level[] = { LEVEL_QUICK, LEVEL_MAX };

		if (!sure && *id == CODEC_ZSTD && n > 0) {
			/* No level finds as much as this one does where it works: it need not be tried then. */
			m = encode_as(e, CODEC_TEXT, e->ctx->second, n - n / 4);
			if (m > 0) {
				memcpy(e->out, e->ctx->second, m);
				*id = CODEC_TEXT;
				return m;
			}
		}
		for (int k = *id == CODEC_ZSTD && n > 0; k < 2; k++) {
			m = encode_zstd(e, level[k], e->ctx->second, n > 0 ? n - 1 : cap);
			if (m > 0) {
				memcpy(e->out, e->ctx->second, m);
				*id = CODEC_ZSTD;
				n = m;
			}
		}
	}
	if (!sure && *id == CODEC_ZSTD) {
		const enum codec_id other[] = { g->self_id, CODEC_TEXT };

		for (int k = 0; k < 2; k++) {
			m = encode_as(e, other[k], e->ctx->second, n > 0 ? n - 1 : cap);
			if (m > 0) {
				memcpy(e->out, e->ctx->second, m);
				*id = other[k];
				n = m;
			}
		}
	}
	return n;
}

/* Chunks too short for looks: all that may fit is tried, which costs as little. */
static size_t encode_short(struct encoding *e, const struct codec_hint *hint, enum codec_id *id)
{
	bool known = layout_of(hint, &e->lay);
	size_t n, m, limit;

	*id = CODEC_ZSTD;
	n = encode_zstd(e, e->ctx->effort == CODEC_MAX ? LEVEL_MAX : LEVEL_QUICK, e->out, worth(e->len));
	if (e->len < SHORT_MIN || !known)
		return n;
	for (int k = 0; k < 2; k++) {
		enum codec_id it = k == 1                      ? CODEC_DELTA
				   : e->lay.exponent_bits != 0 ? CODEC_FLOATS
							       : CODEC_PLANES;
		uint8_t other[PROBE_MIN];

		limit = n > 0 ? n - 1 : worth(e->len);
		if (k == 1)
			limit -= limit / 32;
		if (k == 1 && e->base_len == 0)
			break;
		m = encode_as(e, it, other, limit < sizeof other ? limit : sizeof other);
		if (m > 0) {
			memcpy(e->out, other, m);
			*id = it;
			n = m;
		}
	}
	return n;
}

bool codec_is_dense(const uint8_t *raw, size_t raw_len)
{
	return raw_len >= DENSE_MIN && probe_bytes(raw, raw_len) > 0.68;
}

int codec_encode(struct codec_ctx *ctx, const uint8_t *raw, size_t raw_len, const struct codec_hint *hint,
		const uint8_t *base, size_t base_len, uint8_t *out, size_t cap, size_t *out_len, int *id,
		int *used_base)
{
	struct encoding e = { .ctx = ctx,
		.raw = raw,
		.len = raw_len,
		.base = base,
		.base_len = base ? base_len : 0,
		.out = out,
		.cap = cap };
	enum codec_id chosen = CODEC_RAW;
	size_t period, n = 0;

	if (raw_len < 1 || raw_len > CODEC_CHUNK_MAX)
		return ckpt_fail(EINVAL, "a chunk of %zu bytes", raw_len);
	if (cap < codec_bound(raw_len))
		return ckpt_fail(EINVAL, "room of %zu bytes for a chunk of %zu", cap, raw_len);

	period = period_of(raw, raw_len);
	if (period != 0) {
		memcpy(out, raw, period);
		chosen = CODEC_CONST;
		n = period;
	} else if (raw_len < PROBE_MIN) {
		n = encode_short(&e, hint, &chosen);
	} else {
		struct guesses g = look(&e, hint);
		double alone = g.zstd < g.self ? g.zstd : g.self;

		if (g.delta < alone) {
			double limit = (alone < 1 ? alone : 1) * 31 / 32 * (double)raw_len;

			chosen = CODEC_DELTA;
			n = encode_as(&e, CODEC_DELTA, out,
					(size_t)limit < worth(raw_len) ? (size_t)limit : worth(raw_len));
		}
		if (n == 0)
			n = encode_alone(&e, &g, hint != NULL && hint->kind != CODEC_BYTES, &chosen);
	}
	if (n == 0) {
		memcpy(out, raw, raw_len);
		n = raw_len;
		chosen = CODEC_RAW;
	}
	*out_len = n;
	*id = (int)chosen;
	*used_base = chosen == CODEC_DELTA;
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
 * zstd's own call takes a row of frames and skippable ones; a payload is exactly one.  Shorter than the
 * chunk, as every frame that was kept is, it is also bounded: empty blocks without end would decode to
 * nothing.
 */
static int decode_zstd(struct codec_work *w, const uint8_t *payload, size_t len, uint8_t *raw, size_t raw_len)
{
	size_t n;

	if (len < 4 || len >= raw_len || codec_get32(payload) != ZSTD_MAGICNUMBER)
		return ckpt_fail(EIO, "zstd chunk is no frame");
	n = ZSTD_findFrameCompressedSize(payload, len);
	if (ZSTD_isError(n) || n != len)
		return ckpt_fail(EIO, "zstd chunk is not one whole frame");
	n = ZSTD_decompressDCtx(w->dctx, raw, raw_len, payload, len);
	if (ZSTD_isError(n))
		return ckpt_fail(EIO, "zstd chunk does not decode: %s", ZSTD_getErrorName(n));
	if (n != raw_len)
		return ckpt_fail(EIO, "zstd chunk decodes to %zu bytes of %zu", n, raw_len);
	return 0;
}

int codec_decode(struct codec_ctx *ctx, int id, const uint8_t *payload, size_t len, const uint8_t *base,
		size_t base_len, uint8_t *raw, size_t raw_len)
{
	struct codec_work *w = &ctx->work;
	bool ok;

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
		return decode_zstd(w, payload, len, raw, raw_len);
	case CODEC_PLANES:
		ok = codec_planes_decode(w, payload, len, raw, raw_len);
		break;
	case CODEC_FLOATS:
		ok = codec_float_decode(w, payload, len, raw, raw_len);
		break;
	case CODEC_DELTA:
		if (base == NULL)
			return ckpt_fail(EINVAL, "a difference without its base");
		ok = codec_delta_decode(w, payload, len, base, base_len, raw, raw_len);
		break;
	case CODEC_IMAGE:
		ok = codec_image_decode(w, payload, len, raw, raw_len);
		break;
	case CODEC_TEXT:
		ok = codec_text_decode(w, payload, len, raw, raw_len);
		break;
	default:
		return ckpt_fail(EIO, "%s is not known here", codec_name(id));
	}
	return ok ? 0 : ckpt_fail(EIO, "%s chunk of %zu bytes does not decode", codec_name(id), len);
}
