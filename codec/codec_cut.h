/*
 * codec_cut.h: where one chunk ends and the next begins.
 *
 * A cutter is told the bytes of a file as they stream by, once, in order, and says where to cut.  It keeps
 * no bytes of its own that anybody else needs: the caller collects them.  Cuts are advice and never truth:
 * whatever a cutter answers, the file reads back the same; a good cutter makes equal content fall into
 * equal chunks and tells the codec what kind of numbers a chunk holds.
 *
 * A stream that starts at offset 0 is looked into.  In torch's zips of every age (several end to end, too, as
 * a .distcp has them), its legacy format, TorchScript archives and other zips, safetensors and .npy, the
 * tensors are found:
 *
 *   headers | tensor of 600 KiB ............. | headers, small tensors | tensor of 5 KiB | headers
 *           |  256 KiB  |  256 KiB  |  88 KiB |                        |                 |
 *
 * A tensor of CODEC_CUT_OWN bytes or more has chunks of its own: it is cut at its first byte, every
 * CODEC_CUT_PIECE bytes from there (a whole number of elements; a rest shorter than CODEC_CUT_OWN stays with
 * the piece before it), and at its end.  Where is a matter of its length and element size alone, so equal
 * tensors give equal chunks whatever file, name, offset or container they are in.  For views it is the
 * storage that counts.
 *
 * Everything else, and what is not understood or turns out to lie, is cut by content: a hash of the last
 * 20 bytes and a least length, so that an insertion moves the cuts near it and no others.
 */
#ifndef CODEC_CUT_H
#define CODEC_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec_chunk.h"

/*
 * Six saves of a continual learning run under changing names (frozen backbone, heads, a growing list of 32 x
 * 32 images), its best checkpoint twice and its backbone in two containers; unique bytes and 150 for each
 * chunk, 12 for each reference, to all bytes (and chunks):
 *
 *   OWN      1 KiB           2 KiB, 3 KiB    4 KiB          8 KiB          16 KiB         all by content
 *            0.127 (3079)    0.128 (2736)    0.140 (584)    0.141 (503)    0.141 (462)    0.306 (392)
 *
 * 3072 bytes are what an image of CIFAR has, and a bias or norm of 768 floats: kept in a pool with their
 * headers, which name file and number, they would be new each time, and cost more than as a chunk with a type
 * even when they are.  PIECE (128 KiB to 1 MiB) makes no difference here.
 */
enum {
	CODEC_CUT_PIECE = 256 << 10, /* bytes of a tensor's chunks */
	CODEC_CUT_OWN = 3 << 10,     /* shorter tensors are pooled with the headers around them */
};

struct codec_cutter;

/*
 * What is known of the chunk that ends at a cut.
 *
 * hint: of a tensor's chunk, its element width (of a complex number: of its parts), its kind and, as `row`,
 * the bytes of the last dimension; of uint8 tensors with three dimensions or more (CODEC_PIXELS) with up to 4
 * values in the last one, interleaved channels, of the last two.  8-bit floats have 4, 5 or 8 exponent bits
 * and width 1.
 *
 * record: of a tensor a hash of where it is (the chain of dict keys in a pickle, the name in a safetensors or
 * npz file), of its element's width and its length.  The next checkpoint's tensor of the same name and size
 * has the same one, and so has the same state dict in another container.  It is 0 for the head of a file and
 * for what is cut by content alone.  What is pooled behind a tensor has a record that is derived from that
 * tensor's, and no hint.
 *
 * twin: where in this file another tensor begins that comes before this one, has its type, its length and the end
 * of its name (record_name.h): an average of the weights behind the weights, a teacher behind the student.  The
 * chunk's counterpart is what lies record_off behind it, cut alike; a base for the chunk, if the predecessor has
 * none.  It is a guess from names, so the codec has to look whether it is any good.
 */
struct codec_cut {
	bool end;               /* a chunk ends after the bytes just consumed ... */
	uint32_t behind;        /* ... but for these last ones, which are the next chunk's first */
	struct codec_hint hint; /* of that chunk */
	uint64_t record;        /* fingerprint of the record's layout (name, dtype, length) it lies in; 0 none */
	uint64_t record_off;    /* offset of the chunk's first byte in that record */
	uint64_t twin;          /* file offset of the first byte of its like; 0 none */
};

/* Makes a cutter for a stream that starts at file offset `off`. Caller frees. -ENOMEM. */
int codec_cutter_new(uint64_t off, struct codec_cutter **out);
void codec_cutter_free(struct codec_cutter *c);

/*
 * Tells the cutter the next n bytes.  Returns how many were consumed, 1 <= k <= n (n >= 1); the rest is told
 * again. cut->end is set when the chunk ends after them; then the caller goes on with the rest as a new
 * chunk. Without an end k == n.  A chunk never grows beyond CODEC_CHUNK_MAX.  Linear, never fails.
 *
 * cut->behind is not 0 where a record's length is known only once its end has passed by (a TorchScript
 * archive's tensors, data.pkl): the chunk ends that many bytes ahead, and the new chunk begins with them.  It
 * is less than the chunk's length, and than 2 * CODEC_CUT_OWN.  A caller that ignores it, and ends the chunk
 * where it is, is none the worse but for a cut in another place.
 */
size_t codec_cut_feed(struct codec_cutter *c, const uint8_t *p, size_t n, struct codec_cut *cut);

/* The stream ends, or the caller cuts here for a reason of its own: describes the chunk that was open. */
void codec_cut_end(struct codec_cutter *c, struct codec_cut *cut);

#endif
