/*
 * codec_image.h: pixels of one byte, predicted from those to the left and above.
 *
 * The predictor is that of LOCO-I / JPEG-LS (Weinberger, Seroussi and Sapiro, "The LOCO-I Lossless Image
 * Compression Algorithm", IEEE Trans. Image Processing 9(8), 2000; ITU-T T.87, A.4.1): the median of left,
 * above, and left + above - above left.  Images here lie end to end and rows run into one another, so
 * nothing is done at borders: left is the byte `left` before and above the byte `up` before.
 *
 * Where a sum of neighbours with weights of their own predicts better, that is taken (image_linear.h).
 *
 * Payload:
 *
 *   u8   left: bytes from a pixel to the one on its left, at least 1; 0: what follows is laid out as image_linear.h says
 *   u32  up: bytes to the one above, more than left; 0: the left one alone is the prediction
 *   a stream of codec_rans.h with a single context: each byte less its prediction, modulo 256.  The first `left` bytes
 *   are predicted as 0, the next, up to up + left, as the left one
 */
#ifndef CODEC_IMAGE_H
#define CODEC_IMAGE_H

#include "codec/codec_work.h"

struct codec_image {
	uint8_t left;
	uint32_t up;
};

/* Residues of raw[from, to) into res, the bytes before them being there. */
void codec_image_residues(
		const uint8_t *raw, size_t from, size_t to, const struct codec_image *im, uint8_t *res);

size_t codec_image_encode(struct codec_work *w, const uint8_t *raw, size_t len, const struct codec_image *im,
		uint8_t *out, size_t cap);
bool codec_image_decode(struct codec_work *w, const uint8_t *in, size_t in_len, uint8_t *raw, size_t len);

#endif
