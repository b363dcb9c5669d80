/*
 * codec_drift.h: the factor that lies between two checkpoints of a weight.
 *
 * Weight decay makes every weight of a tensor smaller by the same part a step, and over some hundred steps that may be
 * more than what the gradients did.  A difference to c times the predecessor then is shorter than one to the
 * predecessor itself.  fp32 only: there the product is one rounded multiplication, the same on every machine; numbers
 * that are not normal are left as they are.
 */
#ifndef CODEC_DRIFT_H
#define CODEC_DRIFT_H

#include "codec/codec_work.h"

enum { CODEC_DRIFT_MIN = 4096 }; /* elements that a factor is looked for in */

/*
 * The factor c, as the bits of an fp32 from 0.5 up to 2, such that raw[i] is about c * base[i]; 0 when that makes no
 * difference. n >= CODEC_DRIFT_MIN. Uses what probe_delta() does.
 */
uint32_t codec_drift_find(struct codec_work *w, const uint8_t *raw, const uint8_t *base, size_t n);

/* Whether these bits are such a factor. */
bool codec_drift_valid(uint32_t factor);

/* out[i] = factor * base[i] for n numbers. */
void codec_drift_apply(const uint8_t *base, size_t n, uint32_t factor, uint8_t *out);

#endif
