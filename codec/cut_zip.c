/*
 * cut_zip.c: a zip as it is written, front to back (APPNOTE.TXT 6.3): torch.save, TorchScript, .pt2, npz, others.
 *
 *   PK\3\4 26 bytes name extra | payload | [PK\7\8 crc csize usize]         for each record
 *   PK\1\2 ...    [PK\6\6 ... PK\6\7 ...]    PK\5\6 ...                    directory, end records
 *
 * How long a payload is:
 *
 *   1. The local header says it: whoever knew beforehand.
 *   2. torch writes all of its headers without sizes (flag 8: they follow in a descriptor), but data.pkl comes
 *      first and names every data/<key> with its number of elements and their type.
 *   3. A .npy says it itself.  numpy.savez writes no sizes at all, and seeks back later: that never comes by.
 *   4. Otherwise the end is seen when it has passed (cut_unknown.c).  With flag 8 it is a descriptor whose two
 *      sizes both are the bytes since the payload began; there are 96 bits to be wrong by chance.  Without, it
 *      is the next header, if its fields make sense.
 *
 * data.pkl is of the fourth kind, and walked as it comes by.  When a record of the second kind is not followed
 * by its descriptor, the pickle lied about it (or was not understood): what follows is pooled until the
 * descriptor comes.
 *
 * A zip ends with its end record; another one may follow at once (.distcp).
 */
#include "cut_internal.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
	LOCAL_LEN = 30,
	ENTRY_LEN = 46,
	END64_HEAD = 12,
	LOCATOR_LEN = 20,
	END_LEN = 22,
	NAME_MAX_LEN = 512, /* bytes of a name that are kept; a longer one is nobody's */
	EXTRA_MAX = 64,     /* bytes of the extra fields that are looked at: zip64 sizes come first */

	FLAG_DESCRIBED = 8,
};

struct zip {
	uint8_t head[EXTRA_MAX]; /* of the fixed part or the extra fields being gathered */
	size_t have;
	char name[NAME_MAX_LEN];
	size_t name_len;         /* may exceed NAME_MAX_LEN */
	uint32_t extra_len;
	unsigned flags, method;
	uint64_t csize, usize;   /* as the local header has them */
	uint64_t size;           /* of the payload, 0 unknown */
	uint64_t start;          /* c->at of its first byte */

	struct cut_table table;
	struct pickle_walk walk;
	struct pickle_events events;
	bool walking;

	struct cut_npy_head npy;
};

static cut_take take_signature, take_local, take_entry;

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void release(void *format)
{
	struct zip *z = format;

	pickle_walk_release(&z->walk);
	cut_table_release(&z->table);
	free(z);
}

static void want_signature(struct codec_cutter *c)
{
	struct zip *z = c->format;

	z->have = 0;
	cut_expect(c, 4, take_signature);
}

/* Adds to the head; true when all has come. */
static bool gather(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct zip *z = c->format;

	if (z->have < sizeof z->head)
		memcpy(z->head + z->have, p, smaller(n, sizeof z->head - z->have));
	z->have += n;
	return c->want == 0;
}

/* --- what ends a record -------------------------------------------------------------------------- */

/* PK\7\8, a CRC, and twice the bytes that came before, in 32 bits or in 64. */
static enum cut_verdict judge_descriptor(const uint8_t *p, size_t n, uint64_t before)
{
	if (memcmp(p, "PK\7\10", n < 4 ? n : 4) != 0)
		return CUT_DEAD;
	if (n >= 12 && container_le32(p + 8) != (uint32_t)before)
		return CUT_DEAD;
	if (n == 16 && before <= UINT32_MAX && container_le32(p + 12) == before)
		return CUT_HIT;
	if (n >= 16 && container_le32(p + 12) != before >> 32)
		return CUT_DEAD;
	if (n >= 24)
		return container_le64(p + 16) == before ? CUT_HIT : CUT_DEAD;
	return CUT_LIVE;
}

/* A local header or a directory's entry, as far as their common length goes. */
static enum cut_verdict judge_header(const uint8_t *p, size_t n, uint64_t before)
{
	static const uint8_t methods[] = { 0, 8, 9, 12, 14, 93, 95 };
	const uint8_t *q;

	(void)before;
	if (memcmp(p, "PK\3\4", n < 4 ? n : 4) != 0 && memcmp(p, "PK\1\2", n < 4 ? n : 4) != 0)
		return CUT_DEAD;
	if (n < LOCAL_LEN)
		return CUT_LIVE;
	q = p[2] == 3 ? p + 4 : p + 6; /* version needed, flags, method */
	if (q[0] > 63 || memchr(methods, q[4], sizeof methods) == NULL || q[5] != 0)
		return CUT_DEAD;
	q = p[2] == 3 ? p + 26 : p + 28; /* length of the name */
	return q[0] != 0 || q[1] != 0 ? CUT_HIT : CUT_DEAD;
}

/* The end was seen: of the descriptor, or of LOCAL_LEN bytes of the next header. */
static void after_descriptor(struct codec_cutter *c)
{
	want_signature(c);
}

static void after_header(struct codec_cutter *c)
{
	struct zip *z = c->format;

	memcpy(z->head, c->seen, LOCAL_LEN);
	z->have = LOCAL_LEN;
	if (z->head[2] == 1)
		cut_expect(c, ENTRY_LEN - LOCAL_LEN, take_entry);
	else
		take_local(c, NULL, 0);
}

/* Whatever comes next, up to the end of the record, of which `quiet` means that it should have been here. */
static void until_end(struct codec_cutter *c, struct cut_record *r, bool quiet)
{
	struct zip *z = c->format;
	bool described = z->flags & FLAG_DESCRIBED;

	r->judge = described ? judge_descriptor : judge_header;
	if (r->after == NULL)
		r->after = described ? after_descriptor : after_header;
	cut_begin_unknown(c, r, z->start, quiet);
}

/* A record of known length is over. */
static void after_known(struct codec_cutter *c)
{
	struct zip *z = c->format;
	struct cut_record r = { 0 };

	if (z->flags & FLAG_DESCRIBED)
		until_end(c, &r, true);
	else
		want_signature(c);
}

/* --- records ------------------------------------------------------------------------------------- */

/* A part of a record's name. */
struct part {
	const char *p;
	size_t len;
};

static bool part_is(struct part a, const char *word)
{
	return a.len == strlen(word) && memcmp(a.p, word, a.len) == 0;
}

/* The name behind the archive's own, which torch puts before the first slash; and its last component. */
static void name_parts(const struct zip *z, struct part *path, struct part *dir, struct part *base)
{
	const char *end = z->name + z->name_len, *slash = memchr(z->name, '/', z->name_len), *p;

	path->p = slash != NULL ? slash + 1 : z->name;
	path->len = (size_t)(end - path->p);
	slash = memrchr(z->name, '/', z->name_len);
	base->p = slash != NULL ? slash + 1 : z->name;
	base->len = (size_t)(end - base->p);
	dir->p = NULL;
	dir->len = 0;
	if (slash != NULL) {
		p = memrchr(z->name, '/', (size_t)(slash - z->name));
		dir->p = p != NULL ? p + 1 : z->name;
		dir->len = (size_t)(slash - dir->p);
	}
}

static bool ends_with(struct part a, const char *suffix)
{
	size_t n = strlen(suffix);

	return a.len >= n && memcmp(a.p + a.len - n, suffix, n) == 0;
}

/* data/0, data/weights/weight_0, .data/0.storage: numbers whose type is not known here. */
static bool is_numbers(struct part path, struct part base)
{
	return memmem(path.p, path.len, "data/", 5) != NULL && base.len > 0 &&
		((base.p[base.len - 1] >= '0' && base.p[base.len - 1] <= '9') || ends_with(base, ".storage"));
}

static uint64_t hash_part(struct part a)
{
	return XXH3_64bits(a.p, a.len);
}

/* data.pkl comes by. */
static void tap_pickle(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct zip *z = c->format;
	size_t used;

	if (z->walking && pickle_walk_feed(&z->walk, p, n, &used) != PICKLE_ENDS)
		z->walking = false;
}

static void after_pickle(struct codec_cutter *c)
{
	struct zip *z = c->format;

	z->walking = false;
	pickle_walk_release(&z->walk);
	cut_table_settle(&z->table);
	if (c->rec.len != CUT_UNKNOWN)
		after_known(c);
	else if (c->rec.judge == judge_descriptor)
		after_descriptor(c);
	else
		after_header(c);
}

/* A payload begins with the next byte: its length is the header's, or not known. */
static void begin(struct codec_cutter *c, struct cut_record *r)
{
	struct zip *z = c->format;

	if (z->size > 0) {
		r->len = z->size;
		if (r->after == NULL)
			r->after = after_known;
		cut_begin(c, r);
	} else {
		until_end(c, r, false);
	}
}

/* What is left of a .npy member whose header was not understood, or which says less than the zip. */
static void rest_of_member(struct codec_cutter *c)
{
	struct zip *z = c->format;
	struct cut_record r = { .after = after_known };
	uint64_t gone = c->at - z->start;

	if (z->size > gone) {
		r.len = z->size - gone;
		cut_begin(c, &r);
	} else if (z->size > 0) {
		after_known(c);
	} else {
		memset(&r, 0, sizeof r);
		until_end(c, &r, false);
	}
}

static void take_npy(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct zip *z = c->format;
	struct part name = { z->name, z->name_len - strlen(".npy") };
	struct cut_record r;
	uint64_t left;
	int rc = cut_npy_take(&z->npy, p, n, pickle_path(0, hash_part(name)), &r);

	left = z->size > 0 ? z->size - (c->at - z->start) : UINT64_MAX;
	if (rc == 0 && z->npy.want <= left) {
		cut_expect(c, z->npy.want, take_npy);
	} else if (rc == 1 && r.len > 0 && r.len <= left) {
		r.after = z->size > 0 ? rest_of_member : after_known;
		cut_begin(c, &r);
	} else if (rc == 1 && r.len == 0 && z->size == 0) {
		after_known(c);
	} else {
		rest_of_member(c);
	}
}

/* All of the local header has come by. */
static void payload(struct codec_cutter *c)
{
	struct zip *z = c->format;
	struct cut_record r = { 0 };
	struct part path, dir, base;
	const struct cut_storage *s = NULL;

	z->start = c->at;
	if (z->name_len > NAME_MAX_LEN)
		z->name_len = 0;
	name_parts(z, &path, &dir, &base);
	r.print = cut_print(pickle_path(0, hash_part(path)), 0, &r.hint, z->size);
	if (z->method != 0) {
		begin(c, &r);
		return;
	}
	if (part_is(base, "data.pkl") || part_is(base, "data.old")) {
		cut_table_release(&z->table);
		pickle_walk_release(&z->walk);
		z->events = cut_table_events(&z->table, 5);
		pickle_walk_init(&z->walk, &z->events);
		z->walking = true;
		r.tap = tap_pickle;
		r.after = after_pickle;
		begin(c, &r);
		return;
	}
	if (part_is(dir, "data"))
		s = cut_table_find(&z->table, hash_part(base));
	if (s != NULL && (z->size == 0 || z->size == s->bytes)) {
		r.piece = cut_piece(s->item);
		r.hint = s->hint;
		r.print = s->print;
		memcpy(r.kind, s->kind, sizeof r.kind);
		r.len = s->bytes;
		r.after = after_known;
		if (r.len > 0)
			cut_begin(c, &r);
		else
			until_end(c, &(struct cut_record){ 0 }, true);
		return;
	}
	if (ends_with(base, ".npy") && (z->size == 0 || z->size >= NPY_PREFIX_MAX)) {
		cut_npy_start(&z->npy, NULL, 0);
		cut_expect(c, z->npy.want, take_npy);
		return;
	}
	if (is_numbers(path, base))
		r.piece = cut_piece(1);
	begin(c, &r);
}

/* --- headers ------------------------------------------------------------------------------------- */

/* Real sizes of a local header that has none of 32 bits: tag 1, usize, csize. */
static void read_zip64(struct zip *z, const uint8_t *p, size_t n)
{
	size_t at = 0;

	while (at + 4 <= n) {
		size_t len = container_le16(p + at + 2);

		if (container_le16(p + at) == 1 && len >= 16 && at + 20 <= n) {
			z->usize = container_le64(p + at + 4);
			z->csize = container_le64(p + at + 12);
			return;
		}
		at += 4 + len;
	}
}

static void sized(struct codec_cutter *c)
{
	struct zip *z = c->format;

	/* Python's zipfile knows the plain size beforehand, and writes the other one later. */
	z->size = z->csize == 0 && z->method == 0 ? z->usize : z->csize;
	if (z->size == UINT32_MAX)
		z->size = 0;
	payload(c);
}

static void take_extra(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct zip *z = c->format;

	if (!gather(c, p, n))
		return;
	if (z->csize == UINT32_MAX && z->usize == UINT32_MAX) {
		z->csize = z->usize = 0;
		read_zip64(z, z->head, smaller(z->have, sizeof z->head));
	}
	sized(c);
}

static void take_name(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct zip *z = c->format;

	if (z->name_len < sizeof z->name)
		memcpy(z->name + z->name_len, p, smaller(n, sizeof z->name - z->name_len));
	z->name_len += n;
	if (c->want > 0)
		return;
	z->have = 0;
	if (z->extra_len > 0)
		cut_expect(c, z->extra_len, take_extra);
	else
		sized(c);
}

static void take_local(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct zip *z = c->format;
	uint32_t name_len;

	if (n > 0 && !gather(c, p, n))
		return;
	z->flags = container_le16(z->head + 6);
	z->method = container_le16(z->head + 8);
	z->csize = container_le32(z->head + 18);
	z->usize = container_le32(z->head + 22);
	name_len = container_le16(z->head + 26);
	z->extra_len = container_le16(z->head + 28);
	z->name_len = 0;
	if (name_len == 0)
		cut_plain(c); /* nobody writes that */
	else
		cut_expect(c, name_len, take_name);
}

/* Bytes that don't matter, up to the next signature. */
static void take_rest(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	(void)p;
	(void)n;
	if (c->want == 0)
		want_signature(c);
}

static void pass_over(struct codec_cutter *c, uint64_t n)
{
	if (n > 0)
		cut_expect(c, n, take_rest);
	else
		want_signature(c);
}

static void take_entry(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct zip *z = c->format;

	if (gather(c, p, n))
		pass_over(c, (uint64_t)container_le16(z->head + 28) + container_le16(z->head + 30) +
			container_le16(z->head + 32));
}

static void take_end64(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct zip *z = c->format;

	if (gather(c, p, n))
		pass_over(c, container_le64(z->head + 4));
}

static void take_comment(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	(void)p;
	(void)n;
	if (c->want == 0)
		cut_sniff(c);
}

static void take_end(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct zip *z = c->format;

	if (!gather(c, p, n))
		return;
	if (container_le16(z->head + 20) > 0)
		cut_expect(c, container_le16(z->head + 20), take_comment);
	else
		cut_sniff(c);
}

static void take_signature(struct codec_cutter *c, const uint8_t *p, size_t n)
{
	struct zip *z = c->format;

	if (!gather(c, p, n))
		return;
	if (memcmp(z->head, "PK\3\4", 4) == 0)
		cut_expect(c, LOCAL_LEN - 4, take_local);
	else if (memcmp(z->head, "PK\1\2", 4) == 0)
		cut_expect(c, ENTRY_LEN - 4, take_entry);
	else if (memcmp(z->head, "PK\6\6", 4) == 0)
		cut_expect(c, END64_HEAD - 4, take_end64);
	else if (memcmp(z->head, "PK\6\7", 4) == 0)
		cut_expect(c, LOCATOR_LEN - 4, take_rest);
	else if (memcmp(z->head, "PK\5\6", 4) == 0)
		cut_expect(c, END_LEN - 4, take_end);
	else
		cut_plain(c);
}

void cut_zip(struct codec_cutter *c)
{
	struct zip *z = cut_format(c, sizeof *z, release);

	if (z == NULL) {
		cut_plain(c);
		return;
	}
	memcpy(z->head, c->sniff, 4);
	z->have = 4;
	cut_expect(c, LOCAL_LEN - 4, take_local);
}
