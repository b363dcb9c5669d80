/*
 * codec_chunk.h: one chunk's bytes in, fewer bytes out, and back.
 *
 * A chunk is at most CODEC_CHUNK_MAX plain bytes.  codec_encode() picks the best of the codecs below from
 * a cheap look at the bytes and a hint (what the cutter knows: element width, kind of number); the hint is
 * advice, any bytes come back exactly under any hint.  A codec may be given a base: the plain bytes of the
 * chunk's predecessor, which the decoder then needs too.  The store keeps codec id, plain length and base
 * beside the payload, so a payload carries none of them.
 *
 *   id              payload
 *   CODEC_CONST     one period, 1, 2, 4 or 8 bytes, that repeats over the whole chunk
 *   CODEC_RAW       the bytes
 *   CODEC_ZSTD      one zstd frame (RFC 8878) without content size and checksum
 *   CODEC_PLANES    bytes of elements, plane by plane: codec_planes.h
 *   CODEC_FLOATS    floats as tokens and low bits: codec_float.h
 *   CODEC_DELTA     elements as differences to the base's; the only one that needs a base: codec_delta.h
 *   CODEC_IMAGE     pixels by what their neighbours predict: codec_image.h
 *   CODEC_TEXT      text, its decimals apart: codec_text.h
 *
 * Decoding is total: whatever the payload says, it writes exactly raw_len bytes or fails, in time linear in
 * raw_len, and never touches memory outside its arguments.
 */
#ifndef CODEC_CHUNK_H
#define CODEC_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CODEC_CHUNK_MAX = 1 << 20 };

enum codec_id {
	CODEC_CONST = 1,
	CODEC_RAW = 2,
	CODEC_ZSTD = 3,
	CODEC_PLANES = 4,
	CODEC_FLOATS = 5,
	CODEC_DELTA = 6,
	CODEC_IMAGE = 7,
	CODEC_TEXT = 8,
};

enum codec_kind { CODEC_BYTES = 0, CODEC_FLOAT, CODEC_INT, CODEC_PIXELS };

/* What the cutter knows of a chunk. All zero means nothing. */
struct codec_hint {
	uint8_t width;         /* bytes of an element: 1, 2, 4, 8; 0 unknown */
	uint8_t kind;          /* enum codec_kind */
	uint8_t exponent_bits; /* of a float: 8 for fp32 and bf16, 5 for fp16, 11 for fp64; else 0 */
	uint8_t reserved;
	uint32_t row; /* bytes of a row (last dimension), for predictors; 0 unknown */
};

/* How hard to try: the first two are for saving (and alike), the last for idle time. */
enum codec_effort { CODEC_FAST, CODEC_DEFAULT, CODEC_MAX };

/* Scratch memory (some 7 MiB, touched as far as chunks are long) and zstd contexts of one thread; never shared. */
struct codec_ctx;

/* Makes a context, to be freed with codec_ctx_free(). -ENOMEM. */
int codec_ctx_new(enum codec_effort effort, struct codec_ctx **out);
void codec_ctx_free(struct codec_ctx *ctx);

/* The name of a codec as df and verify print it ("zstd"); "codec 9" style text for one not known here. */
const char *codec_name(int id);

/* Room that codec_encode() needs for a chunk of raw_len bytes. */
size_t codec_bound(size_t raw_len);

/*
 * Encodes raw[0, raw_len), 1 <= raw_len <= CODEC_CHUNK_MAX, into out (cap >= codec_bound(raw_len)).
 * base/base_len: the predecessor's plain bytes or NULL/0, of any length.  *used_base tells whether the
 * payload needs it, which is so only when that saves about 3 % and more against doing without. -EINVAL for
 * lengths out of range, -ENOMEM.
 */
int codec_encode(struct codec_ctx *ctx, const uint8_t *raw, size_t raw_len, const struct codec_hint *hint,
		const uint8_t *base, size_t base_len, uint8_t *out, size_t cap, size_t *out_len, int *id,
		int *used_base);

/*
 * A look of two microseconds at whether encoding takes time and saves little space, as with weights, whose bytes are mostly
 * noise: a writer who is in haste may leave such a chunk as it is for now.  Zeros, text and whatever is quickly made
 * much shorter is not dense, nor is a chunk that is small.
 */
bool codec_is_dense(const uint8_t *raw, size_t raw_len);

/*
 * Decodes a payload into raw, which has room for exactly raw_len bytes.  -EIO when the payload does not
 * decode to exactly that many bytes or the codec is not known; -EINVAL when a base is needed and missing.
 */
int codec_decode(struct codec_ctx *ctx, int id, const uint8_t *payload, size_t len, const uint8_t *base,
		size_t base_len, uint8_t *raw, size_t raw_len);

#endif
