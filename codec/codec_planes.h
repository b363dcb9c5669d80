/*
 * codec_planes.h: elements as byte planes, each coded as suits it.
 *
 * The bytes of an element play different parts: the top ones of an int64 label are all zero, the lowest of
 * a float are noise. Together, plane after plane, they compress as they deserve (the "shuffle" of HDF5 and
 * Blosc).  Floats do better as tokens (codec_float.h); this is for integers, for bytes, and for whatever
 * has a period.
 *
 * Payload:
 *
 *   u8   bits 0-1 log2 width, bits 2-4 phase (bytes before the first element, less than the width), the others 0
 *   the bytes before the first element and those after the last whole one
 *   the planes, that of the elements' first bytes first: u8 form, and
 *        0 constant   the byte
 *        1 raw        its bytes
 *        2 coded      u32 length, a stream of codec_rans.h with a single context
 *        3 zstd       u32 length, one zstd frame (RFC 8878)
 */
#ifndef CODEC_PLANES_H
#define CODEC_PLANES_H

#include "codec/codec_work.h"

/* Uses w->cctx and w->dctx. */
size_t codec_planes_encode(struct codec_work *w, const uint8_t *raw, size_t len,
		const struct codec_layout *lay, uint8_t *out, size_t cap);
bool codec_planes_decode(struct codec_work *w, const uint8_t *in, size_t in_len, uint8_t *raw, size_t len);

#endif
