/*
 * recode.c: a chunk gets another, shorter form; its id and its plain bytes stay.
 *
 *   read -- SHA-256 right? -- encode, against each base that offers itself -- shorter? -- decode -- the same bytes? -- replace
 *
 * Nothing is locked but for the row at the end, which chunk_row_replace() compares with what was seen at the beginning.
 * To be killed anywhere costs the work on this chunk, or on the batch that was open.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"

enum {
	GAIN = 256,                /* a form has to be shorter by this part of the old one */
	WORTH = 32,                /* and one with more bases below it by this part */
};

int recoder_init(struct recoder *r, struct store *s, enum codec_effort effort, const struct live *live)
{
	*r = (struct recoder){ .s = s, .live = live, .all = effort == CODEC_MAX, .cap = codec_bound(CODEC_CHUNK_MAX) };
	r->out = malloc(r->cap);
	r->best = malloc(r->cap);
	r->raw = malloc(CODEC_CHUNK_MAX);
	int rc = r->out && r->best && r->raw ? codec_ctx_new(effort, &r->ctx)
					     : ckpt_fail(ENOMEM, "no memory to encode chunks anew");

	if (rc)
		recoder_release(r);
	return rc;
}

void recoder_release(struct recoder *r)
{
	codec_ctx_free(r->ctx);
	free(r->out);
	free(r->best);
	free(r->raw);
	*r = (struct recoder){ 0 };
}

/* The best form found so far. */
struct form {
	struct chunk_row row;      /* its payload is r->best; payload_len 0: none yet */
	struct chunk_note note;
	struct chunk_base base;
};

/* What lies in r->out is another form, with its base in hand: the better of the two stays. */
static void consider(struct recoder *r, struct form *f, const struct chunk_row *row, const struct chunk_note *note,
		struct chunk_base *base)
{
	if (f->row.payload_len && row->payload_len >= f->row.payload_len) {
		chunk_base_drop(r->s, base);
		return;
	}
	uint8_t *was = r->best;

	r->best = r->out;
	r->out = was;
	chunk_base_drop(r->s, &f->base);
	f->row = *row;
	f->row.payload = r->best;
	f->note = *note;
	f->base = *base;
}

static int try_offer(struct recoder *r, const struct chunk_buf *b, const struct chunk_bases *offer, struct form *f)
{
	struct chunk_row row = { .id = b->id };
	struct chunk_note note = f->note;
	struct chunk_base base = { 0 };
	int rc = chunk_encode(r->ctx, r->s, b->data, b->len, offer, r->out, r->cap, &row, &note, &base);

	if (rc == 0)
		consider(r, f, &row, &note, &base);
	return rc;
}

/* The base that it has; its place in the turn stays. */
static int try_own(struct recoder *r, const struct chunk_buf *b, const struct chunk_head *h, struct form *f)
{
	struct chunk_row row = { .id = b->id };
	struct chunk_note note = f->note;
	struct chunk_base base = { 0 };

	chunk_base_take(r->s, h->base, &base);
	int rc = chunk_encode_to(r->ctx, r->s, b->data, b->len, r->out, r->cap, &row, &note, &base);

	if (rc)
		return rc;
	if (!base.id)
		note.turn = 0;
	consider(r, f, &row, &note, &base);
	return 0;
}

/*
 * With all effort: a base that is nearer than the one it has, or any at all, if that saves as much as a difference has to.
 * The place in the turn stays: those that come later count from it.
 */
static int try_near(struct recoder *r, const struct chunk_buf *b, const struct chunk_head *h, uint64_t near, struct form *f)
{
	uint64_t id = chunk_base_near(r->s, b->id, near, r->live);
	struct chunk_row row = { .id = b->id };
	struct chunk_base base = { 0 };

	if (!id || id == h->base || id == b->id)
		return 0;
	chunk_base_take(r->s, id, &base);
	if (!base.id)
		return 0;
	int rc = chunk_encode_to(r->ctx, r->s, b->data, b->len, r->out, r->cap, &row, &f->note, &base);

	if (rc)
		return rc;
	if (!base.id || (f->row.payload_len && row.payload_len > f->row.payload_len - f->row.payload_len / WORTH))
		chunk_base_drop(r->s, &base);
	else
		consider(r, f, &row, &f->note, &base);
	return 0;
}

/* Encodes b every way there is. f->note holds what is known of it. */
static int search(struct recoder *r, const struct chunk_buf *b, const struct chunk_head *h, const uint64_t *near,
		size_t n, struct form *f)
{
	struct chunk_bases offer;
	uint64_t pred = h->pred > 0 ? (uint64_t)h->pred : 0;
	int rc = 0;

	if (h->base) {
		rc = try_own(r, b, h, f);
		for (size_t i = 0; rc == 0 && r->all && i < n; i++)
			rc = try_near(r, b, h, near[i], f);
		return rc;
	}
	if (pred) {
		near = &pred;
		n = 1;
	}
	for (size_t i = 0; rc == 0 && i < n; i++) {
		chunk_bases_find(r->s, near[i], r->live, &offer);
		if (offer.near != b->id && offer.far != b->id && (offer.near || offer.far))
			rc = try_offer(r, b, &offer, f);
	}
	if (rc == 0 && !f->row.payload_len && (r->all || h->plain)) {
		offer = (struct chunk_bases){ 0 };
		rc = try_offer(r, b, &offer, f);
	}
	for (size_t i = 0; rc == 0 && r->all && !f->base.id && i < n; i++)
		rc = try_near(r, b, h, near[i], f);
	return rc;
}

/* The new payload decodes to the same bytes. */
static int check_form(struct recoder *r, const struct chunk_buf *b, const struct form *f)
{
	int rc = codec_decode(r->ctx, f->row.codec, f->row.payload, f->row.payload_len, f->base.buf ? f->base.buf->data : NULL,
			f->base.buf ? f->base.buf->len : 0, r->raw, b->len);

	if (rc == 0 && memcmp(r->raw, b->data, b->len) != 0)
		rc = ckpt_fail(EIO, "its new form does not give its bytes back");
	return rc ? ckpt_context(rc, "chunk %llu", (unsigned long long)b->id) : 0;
}

/* Its form stays: that it was looked at is noted where that changes a few bytes of the row and not all of it. */
static int keep(struct recoder *r, uint64_t id, const struct chunk_head *h, struct chunk_note *note)
{
	if (h->pred > 0)
		note->turn = 0; /* a turn begins with what has no base */
	note->done |= r->all;
	int64_t hint = h->hint ? chunk_note_pack(note) : 0, pred = h->pred > 0 ? -h->pred : h->pred;
	int rc = hint == h->hint && pred == h->pred ? 0 : chunk_row_settle(r->s, id, h, hint, pred);

	return rc == -ESTALE ? RECODE_NOT_NOW : rc ? rc : RECODE_KEPT;
}

/* The form of its own, whatever came out better: what waits in chunks.plain can't stay as it is. */
static int take_alone(struct recoder *r, const struct chunk_buf *b, struct form *f)
{
	const struct chunk_bases none = { 0 };

	chunk_base_drop(r->s, &f->base);
	f->row.payload_len = 0;
	return try_offer(r, b, &none, f);
}

static int put(struct recoder *r, const struct chunk_buf *b, const struct chunk_head *h, struct form *f)
{
	uint64_t id = b->id;

	f->note.done |= r->all;
	f->row.hint = chunk_note_pack(&f->note);
	f->row.pred = h->pred > 0 && h->pred != CHUNK_PRED_NONE && !f->row.base ? -h->pred : 0;
	int rc = chunk_room_for(r->s, f->row.payload_len + CHUNK_ROW_OVERHEAD);

	if (rc)
		return rc;
	rc = chunk_row_replace(r->s, &f->row, h,
			r->all || chunk_step_tiny(f->row.payload_len, h->raw_len) ? CHUNK_DEPTH_FAR : CHUNK_DEPTH);
	if (rc == 0)
		return RECODE_BETTER;
	if (rc == -ESTALE)
		return RECODE_NOT_NOW;
	if (rc != -ELOOP)
		return rc;
	chunk_note_unpack(h->hint, &f->note);
	if (!h->plain)
		return keep(r, id, h, &f->note);
	rc = f->base.id ? take_alone(r, b, f) : rc;
	return rc ? rc : put(r, b, h, f);
}

int recode_chunk(struct recoder *r, uint64_t id, const uint64_t *near, size_t n, struct recoded *out)
{
	struct chunk_head h;
	struct chunk_buf *b = NULL;
	struct form f = { 0 };
	int rc = chunk_maybe_staged(r->s, id) ? 0 : chunk_head_read(r->s, id, &h);

	*out = (struct recoded){ 0 };
	if (rc <= 0)
		return rc ? rc : RECODE_NOT_NOW;
	out->raw = h.raw_len;
	out->was = out->now = h.payload_len;
	chunk_note_unpack(h.hint, &f.note);
	if (r->all && f.note.done && h.pred <= 0)
		return RECODE_KEPT;
	/* Pinned, so that it is not collected under our hands. */
	rc = chunk_pin(r->s, id);
	if (rc)
		return rc;
	rc = chunk_get_aside(r->s, id, &b);
	if (rc == 0)
		rc = chunk_name_check(r->s, &h.name, id, b->data, b->len);
	if (rc == 0)
		rc = search(r, b, &h, near, n, &f);
	if (rc)
		goto out;
	if (!h.plain && (!f.row.payload_len || f.row.payload_len > h.payload_len - h.payload_len / GAIN - 1)) {
		chunk_note_unpack(h.hint, &f.note);
		rc = keep(r, id, &h, &f.note);
		goto named;
	}
	rc = check_form(r, b, &f);
	if (rc == 0)
		rc = put(r, b, &h, &f);
	if (rc == RECODE_BETTER)
		out->now = f.row.payload_len;
named:
	/* The bytes are in hand. */
	if (rc >= 0 && rc != RECODE_NOT_NOW) {
		int rc2 = chunk_name_settle(r->s, id, &h.name, b->data, b->len);

		rc = rc2 ? rc2 : rc;
	}
out:
	chunk_base_drop(r->s, &f.base);
	chunk_put(b);
	chunk_unpin(r->s, id);
	return rc;
}
