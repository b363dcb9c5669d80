/*
 * cut_unknown.c: a record whose length is known only once its end has gone by.
 *
 * A zip written as a stream tells a record's length behind it.  So a cut is made late, when it is certain
 * that the record goes on for CODEC_CUT_OWN bytes beyond it, and then is told as lying that many bytes
 * behind:
 *
 *   due               due + OWN                        end      what follows it
 *   |....................|                              |PK\7\8 ....|
 *   cut here        ... is told here               cut here      ... is told here
 *
 * which puts the cuts where they are for a record of known length: a short one has none, and a short rest
 * stays with the piece before it.  What might be the beginning of what follows (from a 'P' on) is kept until
 * it is certain that it is not, and counts as neither inside nor outside as long.
 *
 * As nothing may be cut in between, the bytes that wait are not hashed either; and while a record is cut in
 * pieces none are.
 */
#include "cut_internal.h"

#include <string.h>

/* Adds up to n bytes of the record to the chunk. */
static size_t pass(struct codec_cutter *c, const uint8_t *p, size_t n, bool *end)
{
	size_t room = CODEC_CHUNK_MAX - c->pos;

	if (c->rec.piece == 0 && c->rec.due == CUT_NEVER) {
		n = cut_content(c, p, n, end);
	} else {
		if (n >= room) {
			n = room;
			*end = true;
		}
		c->pos += (uint32_t)n;
	}
	cut_advance(c, p, n);
	return n;
}

/* The cut that was due is made: it lies behind. */
static void cut_late(struct codec_cutter *c, bool *end)
{
	uint64_t behind = c->rec.off - c->rec.due;

	c->rec.own = true;
	c->rec.due = c->rec.piece > 0 ? c->rec.due + c->rec.piece : CUT_NEVER;
	if (behind < c->pos) {
		c->behind = (uint32_t)behind;
		*end = true;
	} else {
		cut_describe(c, c->pos); /* the chunk began there, or has been cut since for another reason */
	}
}

/* What follows the record has been seen: it began seen_len bytes ago. */
static void ended(struct codec_cutter *c, bool *end)
{
	uint32_t back = (uint32_t)c->seen_len;

	if (c->rec.own && back < c->pos) {
		c->behind = back;
		*end = true;
	}
	cut_leave(c, back);
}

/* Looks at the candidate; as long as it is none, at what of it may begin another. */
static bool hit(struct codec_cutter *c)
{
	while (c->seen_len > 0) {
		enum cut_verdict v = c->rec.judge(c->seen, c->seen_len, c->at - c->seen_len - c->start);
		const uint8_t *p;

		if (v != CUT_DEAD)
			return v == CUT_HIT;
		p = memchr(c->seen + 1, 'P', c->seen_len - 1);
		c->seen_len = p != NULL ? (size_t)(c->seen + c->seen_len - p) : 0;
		if (p != NULL)
			memmove(c->seen, p, c->seen_len);
	}
	return false;
}

size_t cut_unknown(struct codec_cutter *c, const uint8_t *p, size_t n, bool *end)
{
	struct cut_record *r = &c->rec;
	size_t used = 0;

	while (used < n && !*end) {
		const uint8_t *q = p + used;
		size_t k = n - used;

		if (c->seen_len == 0) {
			if (r->due != CUT_NEVER && r->due + CODEC_CUT_OWN - r->off < k)
				k = (size_t)(r->due + CODEC_CUT_OWN - r->off);
			q = memchr(p + used, 'P', k);
			if (q != NULL)
				k = (size_t)(q - (p + used));
		}
		if (q == p + used) {
			used += pass(c, q, 1, end);
			c->seen[c->seen_len++] = *q;
			if (hit(c)) {
				ended(c, end);
				return used;
			}
		} else {
			used += pass(c, p + used, k, end);
		}
		if (r->due != CUT_NEVER && r->off - c->seen_len >= r->due + CODEC_CUT_OWN)
			cut_late(c, end);
	}
	return used;
}
