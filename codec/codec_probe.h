/*
 * codec_probe.h: what a chunk's bytes look like, from a few KiB of them.
 *
 * Every guess is a fraction: payload by raw, of a chunk like the sample.  Guesses of entropies from few
 * symbols come out too low; they are corrected by (symbols seen - 1) / 2n (Miller, "Note on the bias of
 * information estimates", 1955).
 */
#ifndef CODEC_PROBE_H
#define CODEC_PROBE_H

#include "codec/codec_image.h"
#include "codec/codec_work.h"

/* A chunk below this is too short to look at parts of it. */
enum { PROBE_MIN = 4 << 10 };

/* The bytes alone, whatever their order: what a Huffman code makes of them. */
double probe_bytes(const uint8_t *raw, size_t len);

/* Byte planes of that layout; what rANS makes of them. */
double probe_planes(const uint8_t *raw, size_t len, const struct codec_layout *lay);

/* codec_float.h. Uses w->u, w->token. */
double probe_float(struct codec_work *w, const uint8_t *raw, size_t len, const struct codec_layout *lay);

/* codec_delta.h, against the part of base that raw has as well. Uses w->u, w->token. */
double probe_delta(struct codec_work *w, const uint8_t *raw, size_t len, const uint8_t *base, size_t base_len,
		const struct codec_layout *lay);

/* The distances that suit best, if row is the bytes of a row or of a pixel (0 unknown); codec_image.h.
 * Gives up, with 1, when the pixel to the left alone does not come below limit. */
double probe_image(const uint8_t *raw, size_t len, uint32_t row, double limit, struct codec_image *im);

/* zstd -1 of a piece from the middle. Uses w->other. */
double probe_zstd(struct codec_work *w, const uint8_t *raw, size_t len, size_t piece);

/*
 * Whether numbers of that layout come again in that piece, so often that zstd might do better than a codec
 * for numbers: without repeats it never does.  A tenth of the time of a trial.
 */
bool probe_repeats(const uint8_t *raw, size_t len, size_t piece, const struct codec_layout *lay);

/*
 * The first of `window` exponents, one after the other, that most of n elements have, by a look at about
 * `some` of them; 0 if the format has no more than that.
 */
unsigned probe_window(const uint8_t *elements, size_t n, const struct codec_layout *lay, unsigned window,
		size_t some);

/*
 * Finds width and phase, and for floats the exponent's bits, of bytes of which nothing is known.  The
 * guess of what the layout promises: probe_float() if lay->exponent_bits, else probe_planes(); lg 0 where
 * bytes have no period.
 */
double probe_layout(struct codec_work *w, const uint8_t *raw, size_t len, struct codec_layout *lay);

#endif
