/*
 * fuzz_codec.c: a libFuzzer target for the chunk codecs; `make fuzz` builds it.
 *
 * An input is a head and what follows it:
 *
 *   PAYLOAD   a payload of some codec, decoded into a chunk and with a base of lengths that the head tells
 *   CHUNK     a chunk and a base, encoded under the head's hint and decoded to the same bytes
 *   RECIPE    the head tells which chunk is made (trained floats, pixels, text, ...), against which base; it is encoded,
 *             the payload damaged as what follows says, 4 bytes a damage, and decoded: the way into states behind
 *             tables and sums that no mutation of a whole payload would find
 *
 * With FUZZ_MADE=DIR in the environment the payload of each recipe is written there as an input of the first kind.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_chunk.h"

enum { HEAD = 8, CACHED = 256, SEED_MAX = 16 << 10 };
enum { PAYLOAD, CHUNK, RECIPE };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *room(size_t n)
{
	void *p = malloc(n ? n : 1);

	if (p == NULL)
		abort();
	return p;
}

static void *copy(const uint8_t *p, size_t n)
{
	uint8_t *q = room(n);

	if (n > 0)
		memcpy(q, p, n);
	return q;
}

/*
 * ---- payloads
 */

/* head: id, raw length, base length, base content. */
static void decode(struct codec_ctx *ctx, const uint8_t *head, const uint8_t *data, size_t size)
{
	size_t raw_len = 1 + (head[1] | (size_t)head[2] << 8), base_len = head[3] | (size_t)head[4] << 8;
	uint8_t *payload = copy(data, size), *raw = room(raw_len), *base = room(base_len);

	for (size_t i = 0; i < base_len; i++)
		base[i] = (uint8_t)(i * head[5] >> (i & 3));
	(void)codec_decode(ctx, head[0] % 12, payload, size, base, base_len, raw, raw_len);
	free(payload);
	free(raw);
	free(base);
}

/*
 * ---- chunks
 */

struct coded {
	uint8_t *base, *payload;
	size_t raw_len, base_len, len;
	int id, used;
};

/* Encodes, and decodes to see that it comes back. */
static void encode(struct codec_ctx *ctx, const uint8_t *raw, size_t raw_len, const struct codec_hint *hint,
		const uint8_t *base, size_t base_len, struct coded *out)
{
	size_t cap = codec_bound(raw_len);
	uint8_t *payload = room(cap), *back = room(raw_len);

	*out = (struct coded){ .raw_len = raw_len };
	if (codec_encode(ctx, raw, raw_len, hint, base, base_len, payload, cap, &out->len, &out->id,
			    &out->used) != 0 ||
			out->len > raw_len)
		abort();
	out->base_len = out->used ? base_len : 0;
	out->base = copy(base, out->base_len);
	if (codec_decode(ctx, out->id, payload, out->len, out->used ? base : NULL, out->base_len, back,
			    raw_len) != 0 ||
			memcmp(raw, back, raw_len) != 0)
		abort();
	out->payload = copy(payload, out->len);
	free(payload);
	free(back);
}

static void coded_release(struct coded *c)
{
	free(c->base);
	free(c->payload);
}

/* head: width, kind, exponent bits, row, which part of the data is the base. */
static void round_trip(struct codec_ctx *ctx, const uint8_t *head, const uint8_t *data, size_t size)
{
	struct codec_hint hint = {
		.width = head[0], .kind = head[1] & 3, .exponent_bits = head[2], .row = head[3]
	};
	size_t base_len = size * head[4] / 512, raw_len = size - base_len;
	struct coded c;
	uint8_t *raw, *base;

	if (raw_len < 1 || raw_len > CODEC_CHUNK_MAX)
		return;
	raw = copy(data, raw_len);
	base = copy(data + raw_len, base_len);
	encode(ctx, raw, raw_len, &hint, base, base_len, &c);
	coded_release(&c);
	free(raw);
	free(base);
}

/*
 * ---- recipes
 */

struct dice {
	uint64_t x;
};

static uint64_t roll(struct dice *d)
{
	d->x ^= d->x << 13;
	d->x ^= d->x >> 7;
	d->x ^= d->x << 17;
	return d->x;
}

/* Floats and integers: width and exponent bits of each kind of number; how many low bits are zero. */
static const struct number {
	uint8_t width, exponent_bits, zeros, kind;
} numbers[] = {
	{ 4, 8, 0, CODEC_FLOAT },
	{ 2, 8, 0, CODEC_FLOAT },
	{ 2, 5, 0, CODEC_FLOAT },
	{ 8, 11, 0, CODEC_FLOAT },
	{ 4, 8, 16, CODEC_FLOAT },
	{ 1, 4, 0, CODEC_FLOAT },
	{ 8, 0, 0, CODEC_INT },
	{ 4, 0, 0, CODEC_INT },
};
enum { NUMBERS = sizeof numbers / sizeof numbers[0], PIXELS = NUMBERS, TEXT, RARE, NOISE, KINDS };

static void make_numbers(const struct number *n, struct dice *d, uint8_t *p, size_t len)
{
	unsigned wide = 8u * n->width, mantissa = wide - 1u - n->exponent_bits;

	for (size_t i = 0; i + n->width <= len; i += n->width) {
		uint64_t r = roll(d), v = r % 1000 * (r >> 60);

		if (n->exponent_bits != 0) {
			v = (UINT64_C(1) << (n->exponent_bits - 1)) - 3 -
			    (uint64_t)__builtin_ctzll(roll(d) | 64);
			v = v << mantissa | (r & ((UINT64_C(1) << mantissa) - 1)) | (r >> 63) << (wide - 1);
			v = v >> n->zeros << n->zeros;
		}
		memcpy(p + i, &v, n->width);
	}
}

static void make_text(struct dice *d, uint8_t *p, size_t len)
{
	size_t at = 0;

	while (at < len) {
		char line[96];
		int n = snprintf(line, sizeof line, "{\"step\": %u, \"loss\": 0.%0*llu, \"lr\": 0.001}\n",
				(unsigned)(at / 32), (int)(roll(d) % 18 + 1),
				(unsigned long long)(roll(d) % 10000000));
		size_t k = len - at < (size_t)n ? len - at : (size_t)n;

		memcpy(p + at, line, k);
		at += k;
	}
}

static void make(unsigned kind, struct dice *d, uint8_t *p, size_t len)
{
	memset(p, 0, len);
	if (kind < NUMBERS) {
		make_numbers(&numbers[kind], d, p, len);
	} else if (kind == TEXT) {
		make_text(d, p, len);
	} else {
		for (size_t i = 0; i < len; i++) {
			uint64_t r = roll(d);

			if (kind == PIXELS)
				p[i] = (uint8_t)((i >= 84 ? p[i - 84] : 128) + r % 5);
			else if (kind == RARE) /* few symbols, and dozens of rare ones: escapes */
				p[i] = (uint8_t)(r % 2048 ? 128 + r % 3 : r >> 32);
			else
				p[i] = (uint8_t)(r & 0xff);
		}
	}
}

/* The chunk again, some time later. */
static void move(unsigned how, const struct number *n, struct dice *d, uint8_t *p, size_t len)
{
	for (size_t i = 0; i + n->width <= len; i += n->width) {
		uint64_t v = 0;
		float f;

		if (how == 2 && i / 256 % 16 != 3) /* rows that stay */
			continue;
		memcpy(&v, p + i, n->width);
		if (how == 3 && n->width == 4) { /* weight decay */
			memcpy(&f, &v, 4);
			f *= 0.98f;
			memcpy(&v, &f, 4);
		}
		v += roll(d) % 64;
		memcpy(p + i, &v, n->width);
	}
}

/* head: kind, length, how the base differs and where it begins, dice, row, what the hint leaves out. */
static void cook(struct codec_ctx *ctx, const uint8_t *head, struct coded *out)
{
	static const struct number byte = { 1, 0, 0, CODEC_BYTES };
	unsigned kind = head[0] % KINDS, how = head[3] & 3;
	size_t len = 1 + 3 * (head[1] | (size_t)head[2] << 8), phase = head[3] >> 2 & 7;
	const struct number *n = kind < NUMBERS ? &numbers[kind] : &byte;
	struct codec_hint hint = {
		.width = n->width, .kind = n->kind, .exponent_bits = n->exponent_bits, .row = 4u * head[5]
	};
	struct dice d = { 88172645463325252u + head[4] };
	uint8_t *raw = room(len + phase), *base = room(len + phase);

	if (kind == PIXELS) {
		hint.kind = CODEC_PIXELS;
		hint.row = 84;
	}
	make(kind, &d, base, len + phase);
	memcpy(raw, base, len + phase);
	if (kind != TEXT)
		move(how, n, &d, raw, len + phase);
	encode(ctx, raw + phase, len, head[6] & 1 ? NULL : &hint, base + phase, how > 0 ? len : 0, out);
	free(raw);
	free(base);
}

static void keep(const char *dir, const struct coded *c)
{
	uint8_t head[HEAD] = { PAYLOAD, (uint8_t)c->id, (uint8_t)(c->raw_len - 1),
		(uint8_t)((c->raw_len - 1) >> 8), (uint8_t)c->base_len, (uint8_t)(c->base_len >> 8), 77 };
	uint64_t sum = c->len;
	char path[4096];
	FILE *f;

	if (c->len > SEED_MAX || c->raw_len > 65536)
		return;
	for (size_t i = 0; i < c->len; i++)
		sum = (sum ^ c->payload[i]) * UINT64_C(1099511628211);
	snprintf(path, sizeof path, "%s/payload-%016llx", dir, (unsigned long long)sum);
	f = fopen(path, "wb");
	if (f == NULL || fwrite(head, HEAD, 1, f) != 1 || fwrite(c->payload, c->len, 1, f) != 1 ||
			fclose(f) != 0)
		abort();
}

/* Each damage: where (u16), what (u8), how (u8). */
static void damage(struct coded *c, const uint8_t *how, size_t n, uint8_t *p, size_t *len)
{
	memcpy(p, c->payload, c->len);
	for (; n >= 4; n -= 4, how += 4) {
		size_t at = how[0] | (size_t)how[1] << 8;

		if (how[3] & 4) /* anywhere, not near the head */
			at *= 3;
		if (how[3] & 8) /* from the end */
			at = c->len - 1 - at % c->len;
		if (at >= *len)
			continue;
		if ((how[3] & 3) == 3)
			*len = at;
		else if ((how[3] & 3) == 2)
			p[at] ^= how[2];
		else if ((how[3] & 3) == 1)
			p[at] = (uint8_t)(p[at] + how[2]);
		else
			p[at] = how[2];
	}
}

/* What a head was cooked to is kept: mutations are mostly of what follows. */
static void recipe(struct codec_ctx *const ctx[2], const uint8_t *head, const uint8_t *data, size_t size)
{
	static struct {
		uint8_t head[HEAD - 1];
		struct coded coded;
	} cache[CACHED];
	const char *dir = getenv("FUZZ_MADE");
	unsigned h = 0;
	struct coded *c;
	uint8_t *p, *raw;
	size_t len;

	for (size_t i = 0; i < HEAD - 1; i++)
		h = (h ^ head[i]) * 16777619u;
	h = h >> 16 & (CACHED - 1);
	c = &cache[h].coded;
	if (c->payload == NULL || memcmp(cache[h].head, head, HEAD - 1) != 0) {
		coded_release(c);
		memcpy(cache[h].head, head, HEAD - 1);
		cook(ctx[head[6] >> 1 & 1], head, c);
	}
	if (dir != NULL)
		keep(dir, c);
	len = c->len;
	p = room(c->len);
	damage(c, data, size, p, &len);
	p = realloc(p, len > 0 ? len : 1); /* its end is where it ends */
	raw = room(c->raw_len);
	if (p == NULL)
		abort();
	(void)codec_decode(ctx[0], c->id, p, len, c->used ? c->base : NULL, c->base_len, raw, c->raw_len);
	free(p);
	free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct codec_ctx *ctx[2];

	if (ctx[0] == NULL && (codec_ctx_new(CODEC_DEFAULT, &ctx[0]) != 0 ||
					      codec_ctx_new(CODEC_MAX, &ctx[1]) != 0))
		abort();
	if (size < HEAD)
		return 0;
	switch (data[0] & 3) {
	case PAYLOAD:
		decode(ctx[0], data + 1, data + HEAD, size - HEAD);
		break;
	case CHUNK:
		round_trip(ctx[data[0] >> 2 & 1], data + 1, data + HEAD, size - HEAD);
		break;
	default:
		recipe(ctx, data + 1, data + HEAD, size - HEAD);
		break;
	}
	return 0;
}
