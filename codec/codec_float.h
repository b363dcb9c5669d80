/*
 * codec_float.h: floats without a predecessor.
 *
 * The exponents of trained numbers are few and skewed, their mantissas noise: so the exponent and the two
 * mantissa bits after it are a token, the rest follows as it is.  That is what ZipNN (Hershcovitch et al.,
 * arXiv:2411.05239) and Huff-LLM do with whole bytes; a token of ten bits is a point better, and faster,
 * since one symbol a number is coded.  The sign is not stored where it never changes (second moments), nor
 * low mantissa bits that are zero throughout (fp32 that was bf16 once).
 *
 * Payload:
 *
 *   u8   bits 0-1 log2 width; bit 2 signs are stored; bit 3 the sign of all, if not; bit 4 scales; the others 0
 *   u8   exponent bits, 2 to 11 and at most 8 * width - 4
 *   u8   phase: bytes before the first element, less than the width
 *   u8   low mantissa bits that are zero throughout; two mantissa bits at least remain
 *   u16  e0 of codec_bins.h
 *   the bytes before the first element and those after the last whole one
 *   with scales: their section (codec_work.h), contexts being made without a base; else a single context
 *   numbers (codec_work.h), by the float scheme; a value is exponent, mantissa less its zero bits, sign if stored
 */
#ifndef CODEC_FLOAT_H
#define CODEC_FLOAT_H

#include "codec/codec_work.h"

/* lay->exponent_bits > 0. */
size_t codec_float_encode(struct codec_work *w, const uint8_t *raw, size_t len,
		const struct codec_layout *lay, uint8_t *out, size_t cap);
bool codec_float_decode(struct codec_work *w, const uint8_t *in, size_t in_len, uint8_t *raw, size_t len);

#endif
