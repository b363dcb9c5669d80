/*
 * fuzz_codec.c: a libFuzzer target for the chunk codecs; `make fuzz` builds it.
 *
 * The first byte of an input says what the rest is: a payload of some codec, to be decoded into a chunk of a length told
 * by the next two (with a base of a length told by two more), or a chunk, a base and a hint, to be encoded and
 * decoded to the same bytes.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_chunk.h"

enum { HEAD = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *copy(const uint8_t *p, size_t n)
{
	uint8_t *q = malloc(n ? n : 1);

	if (q == NULL)
		abort();
	if (n > 0)
		memcpy(q, p, n);
	return q;
}

static void decode(struct codec_ctx *ctx, int id, const uint8_t *head, const uint8_t *data, size_t size)
{
	size_t raw_len = 1 + (head[0] | (size_t)head[1] << 8), base_len = head[2] | (size_t)head[3] << 8;
	uint8_t *payload = copy(data, size), *raw = malloc(raw_len), *base = malloc(base_len ? base_len : 1);

	if (raw == NULL || base == NULL)
		abort();
	for (size_t i = 0; i < base_len; i++)
		base[i] = (uint8_t)(i * head[4] >> (i & 3));
	(void)codec_decode(ctx, id, payload, size, base, base_len, raw, raw_len);
	free(payload);
	free(raw);
	free(base);
}

static void round_trip(struct codec_ctx *ctx, const uint8_t *head, const uint8_t *data, size_t size)
{
	struct codec_hint hint = { .width = head[0], .kind = head[1] & 3, .exponent_bits = head[2], .row = head[3] };
	size_t base_len = size * head[4] / 512, raw_len = size - base_len, cap, len;
	uint8_t *raw, *base, *out, *back;
	int id, used;

	if (raw_len < 1 || raw_len > CODEC_CHUNK_MAX)
		return;
	cap = codec_bound(raw_len);
	raw = copy(data, raw_len);
	base = copy(data + raw_len, base_len);
	out = malloc(cap);
	back = malloc(raw_len);
	if (out == NULL || back == NULL)
		abort();
	if (codec_encode(ctx, raw, raw_len, &hint, base, base_len, out, cap, &len, &id, &used) != 0 || len > raw_len)
		abort();
	if (codec_decode(ctx, id, out, len, used ? base : NULL, used ? base_len : 0, back, raw_len) != 0)
		abort();
	if (memcmp(raw, back, raw_len) != 0)
		abort();
	free(raw);
	free(base);
	free(out);
	free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct codec_ctx *ctx[2];

	if (ctx[0] == NULL && (codec_ctx_new(CODEC_DEFAULT, &ctx[0]) != 0 || codec_ctx_new(CODEC_MAX, &ctx[1]) != 0))
		abort();
	if (size < HEAD)
		return 0;
	if (data[0] & 8)
		round_trip(ctx[data[0] >> 4 & 1], data + 1, data + HEAD, size - HEAD);
	else
		decode(ctx[0], data[0] & 7, data + 1, data + HEAD, size - HEAD);
	return 0;
}
