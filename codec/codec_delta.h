/*
 * codec_delta.h: numbers as differences to the same place of a base.
 *
 * A weight moves little from one checkpoint to the next.  Differences are taken between integers that
 * order like the floats do, so a small step is a small number whatever power of two lies between
 * (codec_simd.h), and coded as sign, length and the bit after the leading one (codec_bins.h).  In units of
 * the last place a step is as long as it is large against the weight: so the base's exponent, which the
 * decoder knows, is the context.  Rows that did not move at all (embeddings) cost nothing each: blocks of
 * 16 equal elements are left out and told by their runs.
 *
 * Payload:
 *
 *   u8   bits 0-1 log2 width; bit 2 floats (else integers: plain differences); bit 3 runs; bits 4-5 contexts: 0 none, 1 by
 *        exponent, 2 by exponent and scales; the others 0
 *   u8   exponent bits, 2 to 11 and at most 8 * width - 4, if floats; else 0
 *   u8   phase: bytes before the first element, less than the width
 *   u8   how many contexts: 1 for 0; 2 to 32 for 1; 32 for 2
 *   u16  for 1: top; the context is min(contexts - 1, max(0, top - exponent of the base)); else 0
 *   if the base drifts: u32 the factor it is multiplied with first (codec_drift.h); fp32 only
 *   bytes of the chunk before the first element and after the last one that the base has as well
 *   with runs: u32 length | LEB128 numbers of equal blocks, other blocks, equal ..., all blocks in all
 *   with scales: their section (codec_work.h); not together with runs
 *   numbers (codec_work.h) of all blocks that are not equal, by the length scheme
 */
#ifndef CODEC_DELTA_H
#define CODEC_DELTA_H

#include "codec/codec_work.h"

size_t codec_delta_encode(struct codec_work *w, const uint8_t *raw, size_t len, const uint8_t *base,
		size_t base_len, const struct codec_layout *lay, uint8_t *out, size_t cap);
bool codec_delta_decode(struct codec_work *w, const uint8_t *in, size_t in_len, const uint8_t *base,
		size_t base_len, uint8_t *raw, size_t len);

#endif
