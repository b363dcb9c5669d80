/*
 * chunk_base.c: which chunk a new one is to be a difference to.
 *
 * A tensor's chunk in this checkpoint has a predecessor, the same piece in the one before.  Were each the base
 * of the next, reading the last would decode them all; were all differences to the first, they would grow with
 * the distance. So they are taken by turns of CHUNK_TURN, four chains of four that hang from the first one:
 *
 *     0 <-- 1 <-- 2 <-- 3 <-- 4
 *     0 <-- 5 <-- 6 <-- 7 <-- 8
 *     0 <-- 9 <- 10 <- 11 <- 12
 *     0 <- 13 <- 14 <- 15 <- 16
 *
 * and 17 begins the next turn with bytes of its own.  At most CHUNK_DEPTH bases are below one, 2.4 in the mean, and three
 * of four are differences to their predecessor.  Where the way from 0 to 5 has become so long that it does not pay, 5 is
 * the first of a new turn: what moves fast is a row of chains, what moves slowly has one chunk in 17 that stands alone.
 *
 * Tensors of five checkpoints, 40 to 60 updates (bf16: 10) from one to the next, stored / raw, and what reading the five
 * takes in differences:
 *
 *                                        fp32, Adam    fp32, SGD    bf16, fine-tune
 *     each stands alone                  0.804         0.826        0.641              0
 *     each to k without its lowest bit   0.758         0.782        0.161              5
 *     chains of four                     0.746         0.770        0.151              10
 *
 * Over a whole turn the last two come close: 2 and 2.4 differences in the mean, 4 at most in either.
 *
 * The place in the turn is kept with the chunk (chunk_note); rows from before there were places have 0.  A base is sought
 * from the predecessor downwards: the first one whose place is no higher than what the turn says.
 *
 * Where a step changes next to nothing, some rows of an embedding, another rule is better: a difference to the
 * predecessor costs a step, one to an older chunk all the steps since, and both decode in no time.  As long as steps are
 * that tiny they chain up to CHUNK_DEPTH_FAR and keep their place; then one is taken by turn, and so on.
 *
 * A difference that was put off leaves a chunk without base where one belongs; whoever comes by goes on along its pred.
 */
#include <string.h>

#include "chunk_parts.h"

enum { LINE_MAX = 2 * CHUNK_TURN, TINY = 16 };

unsigned chunk_turn_base(unsigned k)
{
	return k % CHUNK_DEPTH == 1 ? 0 : k - 1;
}

/* --- notes ---------------------------------------------------------------------------------------- */

/*
 * Bits of chunk.hint: row 0-31, width 32-35, kind 36-38, exponent bits 40-47, turn 48-55, done 56, and 62, which makes
 * every note eight bytes long: SQLite changes a row in place when no column's length changes.
 */
int64_t chunk_note_pack(const struct chunk_note *n)
{
	return (int64_t)(n->hint.row | (uint64_t)(n->hint.width & 15) << 32 | (uint64_t)(n->hint.kind & 7) << 36 |
			(uint64_t)n->hint.exponent_bits << 40 | (uint64_t)n->turn << 48 | (uint64_t)n->done << 56 |
			UINT64_C(1) << 62);
}

void chunk_note_unpack(int64_t packed, struct chunk_note *out)
{
	uint64_t p = (uint64_t)packed;

	memset(out, 0, sizeof *out);
	out->hint.row = (uint32_t)p;
	out->hint.width = p >> 32 & 15;
	out->hint.kind = p >> 36 & 7;
	out->hint.exponent_bits = (uint8_t)(p >> 40);
	out->turn = (uint8_t)(p >> 48);
	out->done = p >> 56 & 1;
}

bool chunk_step_tiny(size_t payload_len, size_t raw_len)
{
	return payload_len <= raw_len / TINY;
}

/* --- what a predecessor offers ---------------------------------------------------------------------- */

/* The predecessor, what it leans on, and so on. */
struct line {
	uint64_t id;
	unsigned depth;            /* bases below it */
	uint8_t turn;
	bool based, tiny;
};

static size_t line_of(struct store *s, uint64_t at, struct line *line)
{
	size_t n = 0;

	while (at && n < LINE_MAX) {
		struct chunk_head h;
		struct chunk_note note;

		if (chunk_head_read(s, at, &h) != 1) {
			/* Below a difference nothing may be missing; a predecessor may. */
			if (n && line[n - 1].based)
				n = 0;
			break;
		}
		chunk_note_unpack(h.hint, &note);
		line[n++] = (struct line){ .id = at, .turn = note.turn, .based = h.base != 0,
			.tiny = h.base && chunk_step_tiny(h.payload_len, h.raw_len) };
		at = h.base ? h.base : h.pred > 0 ? (uint64_t)h.pred : 0;
	}
	if (n == LINE_MAX && line[n - 1].based)
		return 0;
	for (size_t i = n; i-- > 0;)
		line[i].depth = line[i].based ? line[i + 1].depth + 1 : 0;
	return n;
}

void chunk_bases_find(struct store *s, uint64_t pred, const struct live *live, struct chunk_bases *out)
{
	struct line line[LINE_MAX];
	size_t n = line_of(s, pred, line);

	*out = (struct chunk_bases){ 0 };
	if (n == 0)
		return;
	if (line[0].tiny && line[0].depth < CHUNK_DEPTH_FAR && (!live || live_has(live, line[0].id))) {
		out->near = line[0].id;
		out->near_depth = line[0].depth;
		out->near_turn = line[0].turn;
	}
	unsigned k = line[0].turn + 1u;

	if (k >= CHUNK_TURN)
		return;
	for (size_t i = 0; i < n; i++) {
		if (line[i].turn <= chunk_turn_base(k) && line[i].depth < CHUNK_DEPTH &&
				(!live || live_has(live, line[i].id))) {
			out->far = line[i].id;
			out->far_depth = line[i].depth;
			out->far_turn = (uint8_t)k;
			return;
		}
	}
}

static bool line_has(const struct line *line, size_t n, uint64_t id)
{
	for (size_t i = 0; i < n; i++)
		if (line[i].id == id)
			return true;
	return false;
}

uint64_t chunk_base_near(struct store *s, uint64_t id, uint64_t pred, const struct live *live)
{
	struct line own[LINE_MAX], line[LINE_MAX];
	size_t below = line_of(s, id, own), n = line_of(s, pred, line);
	unsigned depth = below && own[0].based ? own[0].depth : 0;

	if (line_has(line, n, id))
		return 0;
	for (size_t i = 0; i < n; i++) {
		/* What it leans on already, with or without others between, is as near. */
		if (line_has(own, below, line[i].id))
			return 0;
		if (line[i].depth + 1 + CHUNK_DEPTH <= CHUNK_DEPTH_FAR + depth && line[i].depth < CHUNK_DEPTH_FAR &&
				(!live || live_has(live, line[i].id)))
			return line[i].id;
	}
	return 0;
}

/* --- taken ------------------------------------------------------------------------------------------ */

void chunk_base_take(struct store *s, uint64_t id, struct chunk_base *out)
{
	*out = (struct chunk_base){ 0 };
	if (id == 0 || chunk_pin(s, id))
		return;
	if (chunk_get(s, id, &out->buf)) {
		out->buf = NULL;
		chunk_unpin(s, id);
		return;
	}
	out->id = id;
	out->pinned = true;
}

void chunk_base_drop(struct store *s, struct chunk_base *b)
{
	chunk_put(b->buf);
	if (b->pinned)
		chunk_unpin(s, b->id);
	*b = (struct chunk_base){ 0 };
}

int chunk_encode_to(struct codec_ctx *ctx, struct store *s, const uint8_t *raw, uint32_t len, uint8_t *out, size_t cap,
		struct chunk_row *r, const struct chunk_note *note, struct chunk_base *b)
{
	int used = 0;
	int rc = codec_encode(ctx, raw, len, &note->hint, b->buf ? b->buf->data : NULL, b->buf ? b->buf->len : 0, out, cap,
			&r->payload_len, &r->codec, &used);

	if (rc || !used)
		chunk_base_drop(s, b);
	if (rc)
		return rc;
	r->base = b->id;
	r->payload = out;
	r->check = codec_check(out, r->payload_len);
	return 0;
}

int chunk_encode(struct codec_ctx *ctx, struct store *s, const uint8_t *raw, uint32_t len,
		const struct chunk_bases *offer, uint8_t *out, size_t cap, struct chunk_row *r, struct chunk_note *note,
		struct chunk_base *used)
{
	int rc;

	note->turn = 0;
	if (offer->near) {
		chunk_base_take(s, offer->near, used);
		rc = chunk_encode_to(ctx, s, raw, len, out, cap, r, note, used);
		if (rc)
			return rc;
		note->turn = offer->near_turn;
		if (used->id && chunk_step_tiny(r->payload_len, len))
			return 0;
		note->turn = offer->far_turn;
		if (used->id && offer->far && offer->near_depth < CHUNK_DEPTH)
			return 0;
		chunk_base_drop(s, used);
	}
	chunk_base_take(s, offer->far, used);
	rc = chunk_encode_to(ctx, s, raw, len, out, cap, r, note, used);
	note->turn = rc == 0 && used->id ? offer->far_turn : 0;
	return rc;
}
