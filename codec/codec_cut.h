/*
 * codec_cut.h: where one chunk ends and the next begins.
 *
 * A cutter is told the bytes of a file as they stream by, once, in order, and says where to cut.  It keeps
 * no bytes of its own that anybody else needs: the caller collects them.  Cuts are advice and never truth:
 * whatever a cutter answers, the file reads back the same; a good cutter makes equal content fall into
 * equal chunks and tells the codec what kind of numbers a chunk holds.
 *
 * The cutter here is content-defined: a gear hash (Xia et al., "FastCDC", USENIX ATC 2016) over the last 64
 * bytes with normalised chunking, so that an insertion moves the cuts near it and no others.
 */
#ifndef CODEC_CUT_H
#define CODEC_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec_chunk.h"

struct codec_cutter;

/* What is known of the chunk that ends at a cut. */
struct codec_cut {
	bool end;               /* a chunk ends after the bytes just consumed */
	struct codec_hint hint; /* of that chunk */
	uint64_t record;        /* fingerprint of the record's layout (name, dtype, length) it lies in; 0 none */
	uint64_t record_off;    /* offset of the chunk's first byte in that record */
};

/* Makes a cutter for a stream that starts at file offset `off`. Caller frees. -ENOMEM. */
int codec_cutter_new(uint64_t off, struct codec_cutter **out);
void codec_cutter_free(struct codec_cutter *c);

/*
 * Tells the cutter the next n bytes.  Returns how many belong to the current chunk, 1 <= k <= n (n >= 1).
 * cut->end is set when the chunk ends after them; then the caller goes on with the rest as a new chunk.
 * Without an end k == n.  A chunk never grows beyond CODEC_CHUNK_MAX.  Linear, never fails.
 */
size_t codec_cut_feed(struct codec_cutter *c, const uint8_t *p, size_t n, struct codec_cut *cut);

/* The stream ends, or the caller cuts here for a reason of its own: describes the chunk that was open. */
void codec_cut_end(struct codec_cutter *c, struct codec_cut *cut);

#endif
