/*
 * codec_image.c: see codec_image.h.  The way back is a chain, each pixel needing the one before: some five
 * cycles each.
 */
#include "codec/codec_image.h"

#include <math.h>

#include "codec/image_linear.h"

#if defined __GNUC__ && !defined __clang__
#pragma GCC optimize("O3")
#endif

enum {
	HEAD = 5,
	LINEAR = 0,     /* instead of `left` */
	LOOKED = 32 << 10, /* bytes by which the ways are compared */
};

static inline int median(int left, int above, int corner)
{
	int low = left < above ? left : above, high = left < above ? above : left,
	    plane = left + above - corner;

	plane = plane < high ? plane : high;
	return plane > low ? plane : low;
}

/* Where the median begins. */
static size_t both_from(const struct codec_image *im, size_t len)
{
	size_t both = im->up == 0 ? len : (size_t)im->up + im->left;

	return both < len ? both : len;
}

void codec_image_residues(
		const uint8_t *raw, size_t from, size_t to, const struct codec_image *im, uint8_t *res)
{
	size_t both = both_from(im, to), i = from, left = im->left, up = im->up;

	for (; i < to && i < left; i++)
		*res++ = raw[i];
	for (; i < both; i++)
		*res++ = (uint8_t)(raw[i] - raw[i - left]);
	for (size_t k = 0; k < to - i; k++)
		res[k] = (uint8_t)(raw[i + k] -
				   median(raw[i + k - left], raw[i + k - up], raw[i + k - up - left]));
}

/* Bytes that these residues come to, by their entropy. */
static double bytes_of(const uint8_t *res, size_t n)
{
	uint32_t count[256] = { 0 };
	double bits = 0;

	for (size_t i = 0; i < n; i++)
		count[res[i]]++;
	for (unsigned s = 0; s < 256; s++)
		if (count[s] > 0)
			bits += count[s] * (double)log2f((float)n / (float)count[s]);
	return bits / 8;
}

/* With weights, if that is shorter by more than they take; else 0. Uses w->u, w->ctx, w->token, w->other. */
static size_t encode_linear(struct codec_work *w, const uint8_t *raw, size_t len, const struct codec_image *im,
		uint8_t *out, size_t cap)
{
	size_t some = len < LOOKED ? len : LOOKED, from = (len - some) / 2, head, k;
	struct image_linear m;

	if (im->up == 0 || from < im->up + im->left || cap < 1 + IMAGE_LINEAR_BYTES ||
			!image_linear_find(w, raw, len, im->left, im->up, &m))
		return 0;
	codec_image_residues(raw, from, from + some, im, w->token);
	image_linear_residues(w, raw, len, &m, w->u, w->ctx);
	out[0] = LINEAR;
	head = 1 + image_linear_put(&m, out + 1);
	if (bytes_of(w->u + from, some) + (double)head * (double)some / (double)len > bytes_of(w->token, some))
		return 0;
	if (rans_model(w->rans, w->u, w->ctx, 2, len) > cap - head)
		return 0;
	k = rans_encode(w->rans, w->u, w->ctx, len, out + head, cap - head);
	return k == 0 ? 0 : head + k;
}

static bool decode_linear(struct codec_work *w, const uint8_t *in, size_t in_len, uint8_t *raw, size_t len)
{
	struct image_linear m;
	size_t head = image_linear_get(in, in_len, &m);

	if (head == 0)
		return false;
	image_linear_contexts(&m, len, w->ctx);
	if (!rans_decode(w->rans, in + head, in_len - head, w->ctx, 2, w->u, len))
		return false;
	image_linear_restore(w, w->u, len, &m, raw);
	return true;
}

size_t codec_image_encode(struct codec_work *w, const uint8_t *raw, size_t len, const struct codec_image *im,
		uint8_t *out, size_t cap)
{
	size_t k;

	if (im->left < 1 || (im->up != 0 && im->up <= im->left) || cap < HEAD)
		return 0;
	k = encode_linear(w, raw, len, im, out, cap);
	if (k > 0)
		return k;
	codec_image_residues(raw, 0, len, im, w->u);
	if (rans_model(w->rans, w->u, NULL, 1, len) > cap)
		return 0;
	k = rans_encode(w->rans, w->u, NULL, len, out + HEAD, cap - HEAD);
	if (k == 0)
		return 0;
	out[0] = im->left;
	codec_put32(out + 1, im->up);
	return HEAD + k;
}

/* The rest of one left distance, so that the compiler keeps neighbours in registers for the commonest. */
static inline __attribute__((always_inline)) void restore(
		const uint8_t *res, uint8_t *raw, size_t i, size_t len, size_t left, size_t up)
{
	for (; i < len; i++)
		raw[i] = (uint8_t)(res[i] + median(raw[i - left], raw[i - up], raw[i - up - left]));
}

bool codec_image_decode(struct codec_work *w, const uint8_t *in, size_t in_len, uint8_t *raw, size_t len)
{
	struct codec_image im;
	size_t both, i = 0;

	if (in_len > 0 && in[0] == LINEAR)
		return decode_linear(w, in + 1, in_len - 1, raw, len);
	if (in_len < HEAD)
		return false;
	im = (struct codec_image){ .left = in[0], .up = codec_get32(in + 1) };
	if (im.left < 1 || (im.up != 0 && im.up <= im.left) || im.up > CODEC_WORK_MAX)
		return false;
	if (!rans_decode(w->rans, in + HEAD, in_len - HEAD, NULL, 1, w->u, len))
		return false;
	both = both_from(&im, len);
	for (; i < len && i < im.left; i++)
		raw[i] = w->u[i];
	for (; i < both; i++)
		raw[i] = (uint8_t)(w->u[i] + raw[i - im.left]);
	if (im.left == 1) {
		int left = i < len ? raw[i - 1] : 0, corner = i < len ? raw[i - im.up - 1] : 0;

		for (; i < len; i++) {
			int above = raw[i - im.up];

			left = (uint8_t)(w->u[i] + median(left, above, corner));
			raw[i] = (uint8_t)left;
			corner = above;
		}
	} else {
		restore(w->u, raw, i, len, im.left, im.up);
	}
	return true;
}
