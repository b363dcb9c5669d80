/*
 * codec_text.h: text with numbers in it.
 *
 * Metrics, logs and tables are texts that repeat but for their numbers, and the digits behind a decimal point hardly ever repeat
 * at all.  To zstd they are literals that cut its matches short.  So they are taken out: a run of 2 to 27 digits behind a
 * point is replaced by one byte that tells its length, a control character that the text itself does not have.  What is
 * left, the skeleton, repeats well; the digits are entropy coded under the place in their run and the name that they stand
 * behind ("loss", "accuracy": its last letter has to do).
 *
 *     {"loss": 0.31415, "lr": 0.001}   ->   {"loss": 0.<5>, "lr": 0.<3>}   and   31415 001
 *
 * Payload:
 *
 *   u32  length of the skeleton
 *   u32  digits
 *   u32  length of the frame
 *   one zstd frame of the skeleton, as in CODEC_ZSTD
 *   a stream of codec_rans.h with 32 contexts: the digits, 0 to 9, each under 4 * (last letter before it modulo 8) + its
 *   place in the run, at most 3.  The last letter is the last byte of the text so far that is one of A to Z or a to z; 0
 *   before the first
 *
 * Lengths 2 to 9 are told by the bytes 1 to 8, lengths 10 to 27 by the bytes 14 to 31.
 */
#ifndef CODEC_TEXT_H
#define CODEC_TEXT_H

#include "codec/codec_work.h"

/* Has nothing to offer for a chunk with other bytes than a text's, or with few such digits. */
size_t codec_text_encode(struct codec_work *w, const uint8_t *raw, size_t len, int level, uint8_t *out, size_t cap);
bool codec_text_decode(struct codec_work *w, const uint8_t *in, size_t in_len, uint8_t *raw, size_t len);

#endif
