/*
 * codec_cut.c: chunks and records, and which format a stream is in.
 *
 * Rules that keep cuts a matter of content alone, whatever the pieces that the stream comes in:
 *
 *   1. A decision is made with the last byte that it depends on, never with a later one.
 *   2. The hash that cuts headers and small records by content sees each byte once, when it is told, and starts
 *      over with each chunk.
 *   3. Inside a tensor nothing is hashed: its length, its element size and the offset in it say where to cut.
 *
 * What a stream says of itself is believed as long as the bytes agree, and no memory is sized by it.  A
 * format that meets what it does not understand calls cut_plain(), and the rest of the stream is cut by
 * content.
 */
#include "codec/codec_cut.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/ckpt_error.h"
#include "cut_internal.h"
#include "safetensors_scan.h"

/* A record's last piece may be longer by a rest, and by what is seen before its end is certain. */
_Static_assert(CODEC_CUT_PIECE + CODEC_CUT_OWN + CUT_CANDIDATE <= CODEC_CHUNK_MAX, "a piece must fit a chunk");

int codec_cutter_new(uint64_t off, struct codec_cutter **out)
{
	struct codec_cutter *c;

	c = calloc(1, sizeof *c);
	if (c == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a cutter");
	if (off == 0)
		cut_sniff(c);
	else
		cut_plain(c);
	*out = c;
	return 0;
}

static void drop_format(struct codec_cutter *c)
{
	if (c->format != NULL)
		c->release(c->format);
	c->format = NULL;
}

void codec_cutter_free(struct codec_cutter *c)
{
	if (c == NULL)
		return;
	drop_format(c);
	cut_twins_release(&c->twins);
	free(c);
}

void *cut_format(struct codec_cutter *c, size_t size, void (*release)(void *format))
{
	drop_format(c);
	c->release = release;
	c->format = calloc(1, size);
	return c->format;
}

/* --- what a chunk is ----------------------------------------------------------------------------- */

uint32_t cut_piece(uint32_t item)
{
	if (item == 0 || item > CODEC_CUT_PIECE)
		return CODEC_CUT_PIECE;
	return CODEC_CUT_PIECE - CODEC_CUT_PIECE % item;
}

uint64_t cut_print(uint64_t path, uint64_t seq, const struct codec_hint *hint, uint64_t bytes)
{
	uint64_t all[4] = { path, seq, (uint64_t)hint->width << 8 | hint->exponent_bits, bytes };
	uint64_t h = XXH3_64bits(all, sizeof all);

	return h == 0 ? 1 : h;
}

void cut_shape(struct codec_hint *hint, uint32_t item, unsigned dims, uint64_t last, uint64_t before)
{
	uint64_t row;

	if (hint->kind == CODEC_PIXELS) {
		if (dims < 3)
			hint->kind = CODEC_INT;
		else if (last <= 4 && __builtin_mul_overflow(last, before, &last))
			last = 0;
	}
	hint->row = 0;
	if (dims > 0 && !__builtin_mul_overflow(last, item, &row) && row <= UINT32_MAX)
		hint->row = (uint32_t)row;
}

void cut_describe(struct codec_cutter *c, uint32_t back)
{
	memset(&c->open, 0, sizeof c->open);
	if (c->in_record && c->rec.own) {
		c->open.hint = c->rec.hint;
		c->open.record = c->rec.print;
		c->open.record_off = c->rec.off - back;
		c->open.twin = c->rec.twin;
	} else if (c->pool_print != 0) {
		c->open.record = c->pool_print;
		c->open.record_off = c->at - back - c->pool_start;
	}
}

/* --- records ------------------------------------------------------------------------------------- */

void cut_begin(struct codec_cutter *c, const struct cut_record *r)
{
	c->rec = *r;
	c->rec.off = 0;
	c->rec.own = r->len >= CODEC_CUT_OWN;
	c->rec.twin = c->rec.own ? cut_twin(&c->twins, r->kind, c->at) : 0;
	c->in_record = true;
	c->cut_now = c->rec.own && c->pos > 0;
}

void cut_begin_unknown(struct codec_cutter *c, const struct cut_record *r, uint64_t start, bool quiet)
{
	c->rec = *r;
	c->rec.len = CUT_UNKNOWN;
	c->rec.twin = 0;
	c->rec.off = 0;
	c->rec.own = false;
	c->rec.due = quiet ? CUT_NEVER : 0;
	c->in_record = true;
	c->start = start;
	c->seen_len = 0;
	/* The cut at its start may come late; a chunk that could not wait for it ends now. */
	c->cut_now = !quiet && c->pos > CODEC_CHUNK_MAX - 2 * CODEC_CUT_OWN;
}

void cut_advance(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	c->at += n;
	c->rec.off += n;
	if (c->rec.tap != NULL)
		c->rec.tap(c, p, n);
}

void cut_leave(struct codec_cutter *c, uint32_t back)
{
	c->in_record = false;
	if (c->rec.own) {
		c->pool_print = XXH3_64bits(&c->rec.print, sizeof c->rec.print);
		c->pool_start = c->at - back;
	}
	c->rec.after(c);
}

/* Where the piece that holds the next byte ends. */
static uint64_t piece_end(const struct cut_record *r)
{
	uint64_t begin = r->off - r->off % r->piece;

	/* The rest that is too short for a chunk of its own stays with the piece before it. */
	if (begin > 0 && r->len - begin < CODEC_CUT_OWN)
		begin -= r->piece;
	return r->len - begin < (uint64_t)r->piece + CODEC_CUT_OWN ? r->len : begin + r->piece;
}

/* Bytes of a record of known length. */
static size_t known(struct codec_cutter *c, const uint8_t *p, size_t n, bool *end)
{
	struct cut_record *r = &c->rec;
	bool pieces = r->own && r->piece > 0;
	uint64_t stop = pieces ? piece_end(r) : r->len;
	size_t k = stop - r->off < n ? (size_t)(stop - r->off) : n;

	if (pieces) {
		if (k > CODEC_CHUNK_MAX - c->pos)
			k = CODEC_CHUNK_MAX - c->pos;
		c->pos += (uint32_t)k;
	} else {
		k = cut_content(c, p, k, end);
	}
	cut_advance(c, p, k);
	if (pieces && r->off == stop)
		*end = true;
	if (r->off == r->len) {
		if (r->own)
			*end = true;
		cut_leave(c, 0);
	}
	return k;
}

/* --- headers ------------------------------------------------------------------------------------- */

void cut_expect(struct codec_cutter *c, uint64_t n, cut_take *take)
{
	c->want = n;
	c->take = take;
}

void cut_plain(struct codec_cutter *c)
{
	drop_format(c);
	cut_expect(c, UINT64_MAX, NULL);
}

static size_t header(struct codec_cutter *c, const uint8_t *p, size_t n, bool *end)
{
	size_t k = c->want < n ? (size_t)c->want : n;

	k = cut_content(c, p, k, end);
	c->at += k;
	if (c->take != NULL) {
		c->want -= k;
		c->take(c, p, k);
	}
	return k;
}

/* A byte at the start of something; as soon as it can be only one format, that one goes on. */
static void take_sniff(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	const uint8_t *b = c->sniff;
	enum container_match zip, npy, legacy;
	bool safetensors;

	if (n == 0)
		return;
	c->sniff[c->sniff_len++] = p[0];
	zip = container_match(b, c->sniff_len, "PK\3\4", 4);
	npy = container_match(b, c->sniff_len, NPY_MAGIC, NPY_MAGIC_LEN);
	legacy = container_legacy_match(b, c->sniff_len);
	/* That format has no magic number, so it has to begin where the file does. */
	safetensors = c->at == c->sniff_len;
	if (zip == CONTAINER_YES)
		cut_zip(c);
	else if (npy == CONTAINER_YES)
		cut_npy(c);
	else if (legacy == CONTAINER_YES)
		cut_legacy(c);
	else if (safetensors && c->sniff_len == 9 && safetensors_may_be(container_le64(b), b[8]))
		cut_safetensors(c, container_le64(b), b[8]);
	else if (c->sniff_len < CUT_SNIFF && (zip == CONTAINER_PREFIX || npy == CONTAINER_PREFIX ||
			legacy == CONTAINER_PREFIX || (safetensors && c->sniff_len < 9)))
		cut_expect(c, 1, take_sniff);
	else
		cut_plain(c);
}

void cut_sniff(struct codec_cutter *c)
{
	c->sniff_len = 0;
	cut_expect(c, 1, take_sniff);
}

/* --- chunks -------------------------------------------------------------------------------------- */

/* The open chunk ends `behind` bytes ago. */
static void finish(struct codec_cutter *c, uint32_t behind, struct codec_cut *cut)
{
	*cut = c->open;
	cut->end = true;
	cut->behind = behind;
	c->pos = behind;
	cut_describe(c, behind);
}

size_t codec_cut_feed(struct codec_cutter *c, const uint8_t *p, size_t n, struct codec_cut *cut)
{
	size_t used = 0;
	bool end = false;

	memset(cut, 0, sizeof *cut);
	c->behind = 0;
	while (used < n && !end) {
		if (c->pos == 0)
			cut_describe(c, 0);
		if (!c->in_record)
			used += header(c, p + used, n - used, &end);
		else if (c->rec.len == CUT_UNKNOWN)
			used += cut_unknown(c, p + used, n - used, &end);
		else
			used += known(c, p + used, n - used, &end);
		if (c->cut_now || c->pos == CODEC_CHUNK_MAX)
			end = true;
		c->cut_now = false;
	}
	if (end)
		finish(c, c->behind, cut);
	return used;
}

void codec_cut_end(struct codec_cutter *c, struct codec_cut *cut)
{
	finish(c, 0, cut);
}
