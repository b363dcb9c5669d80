/*
 * manifest.c: rows of pieces, found and rewritten.
 *
 * A change to a range of a manifest touches the rows that overlap it and nothing else:
 *
 *   rows      |  r1: a b c d  |  r2: e f g h |    hole    | r3: ...
 *   replace           [ off ............... end )
 *   becomes   | a b c' + new pieces, cut into rows  + h' |    hole    | r3
 *
 * The first and the last overlapped row are decoded, the pieces at the edges are split, and what is left of them is written
 * together with the new pieces as fresh rows.  Rows in between are deleted without being read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chunk_parts.h"
#include "manifest_internal.h"
#include "meta_internal.h"
#include "store_internal.h"

enum { PIECE_MAX = 30 }; /* three varints */

/* --- the bytes of a row -------------------------------------------------------------------------- */

static size_t put_varint(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	while (v >= 0x80) {
		p[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (uint8_t)v;
	return n;
}

/* Reads a varint from *p up to end; false when it is cut short or longer than 64 bits. */
static bool get_varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
	uint64_t v = 0;
	unsigned shift;

	for (shift = 0; *p < end && shift < 64; shift += 7) {
		uint8_t b = *(*p)++;

		if (shift == 63 && b > 1)
			return false;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80)) {
			*out = v;
			return true;
		}
	}
	return false;
}

static uint64_t zigzag(int64_t v)
{
	return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static int64_t unzigzag(uint64_t v)
{
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

/* Appends one piece to a row's bytes; *next is the id that would cost nothing. Returns the bytes used. */
static size_t put_piece(uint8_t *p, const struct piece *q, uint64_t *next)
{
	size_t n = put_varint(p, q->len << 2 | (uint64_t)(q->off == 0) << 1 | (q->id == 0));

	if (!q->id)
		return n;
	n += put_varint(p + n, zigzag((int64_t)(q->id - *next)));
	*next = q->id + 1;
	if (q->off)
		n += put_varint(p + n, q->off);
	return n;
}

void manifest_row_release(struct manifest_row *r)
{
	free(r->pieces);
	memset(r, 0, sizeof(*r));
}

/* Makes room for `more` further pieces. */
static int row_grow(struct manifest_row *r, size_t more)
{
	size_t cap = r->cap ? r->cap : 16;
	struct piece *p;

	if (more > SIZE_MAX / sizeof(*p) / 4 || r->n > SIZE_MAX / sizeof(*p) / 4)
		return ckpt_fail(ENOMEM, "manifest row too long");
	while (cap < r->n + more)
		cap *= 2;
	if (cap == r->cap)
		return 0;
	p = realloc(r->pieces, cap * sizeof(*p));
	if (!p)
		return ckpt_fail(ENOMEM, "no memory for a manifest row");
	r->pieces = p;
	r->cap = cap;
	return 0;
}

/* Appends a piece, joining it with the one before where they are one run of a hole or of a chunk's bytes. */
static int row_add(struct manifest_row *r, const struct piece *q)
{
	struct piece *last = r->n ? &r->pieces[r->n - 1] : NULL;
	int rc;

	if (!q->len)
		return 0;
	if (last && last->id == q->id && (!q->id || last->off + last->len == q->off)) {
		last->len += q->len;
		r->end += q->len;
		return 0;
	}
	rc = row_grow(r, 1);
	if (rc)
		return rc;
	r->pieces[r->n++] = *q;
	r->end += q->len;
	return 0;
}

int manifest_decode(const uint8_t *p, size_t len, uint64_t off, struct manifest_row *out)
{
	const uint8_t *end = p + len;
	struct manifest_row r = { .off = off, .end = off };
	uint64_t next = 0;
	int rc;

	if (p == end || off > INT64_MAX)
		goto malformed;
	while (p < end) {
		struct piece q = { 0 };
		uint64_t head, v;

		if (!get_varint(&p, end, &head))
			goto malformed;
		q.len = head >> 2;
		if (!q.len || q.len > (uint64_t)INT64_MAX - r.end)
			goto malformed;
		if (!(head & 1)) {
			if (!get_varint(&p, end, &v))
				goto malformed;
			q.id = next + (uint64_t)unzigzag(v);
			next = q.id + 1;
			if (!(head & 2)) {
				if (!get_varint(&p, end, &v) || v >= CODEC_CHUNK_MAX)
					goto malformed;
				q.off = (uint32_t)v;
			}
			if (!q.id || q.id > INT64_MAX || q.len > CODEC_CHUNK_MAX - q.off)
				goto malformed;
		}
		rc = row_grow(&r, 1);
		if (rc)
			goto fail;
		r.pieces[r.n++] = q;
		r.end += q.len;
	}
	*out = r;
	return 0;

malformed:
	rc = ckpt_fail(EIO, "manifest row at offset %llu is malformed", (unsigned long long)off);
fail:
	manifest_row_release(&r);
	return rc;
}

/* --- finding ------------------------------------------------------------------------------------- */

/* Decodes the row a statement (off, pieces) stands on. */
static int row_of(struct store *s, sqlite3_stmt *st, struct manifest_row *out)
{
	const uint8_t *p = sqlite3_column_blob(st, 1);
	int len = sqlite3_column_bytes(st, 1);

	if (!p && len)
		return meta_fail(s);
	return manifest_decode(p, (size_t)len, (uint64_t)sqlite3_column_int64(st, 0), out);
}

/* The last row that begins at or before off: 1 found, 0 none, -errno. */
static int row_before(struct store *s, uint64_t version, uint64_t off, struct manifest_row *out)
{
	sqlite3_stmt *st = meta_stmt(s, "SELECT off, pieces FROM manifest WHERE version = ?1 AND off <= ?2 "
			"ORDER BY off DESC LIMIT 1");
	int rc;

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)version);
	sqlite3_bind_int64(st, 2, (int64_t)(off > INT64_MAX ? INT64_MAX : off));
	rc = meta_step(s, st);
	if (rc == 1) {
		rc = row_of(s, st, out);
		sqlite3_reset(st);
		return rc ? rc : 1;
	}
	return rc;
}

int manifest_find(struct store *s, uint64_t version, uint64_t off, struct manifest_row *out)
{
	struct manifest_row r = { 0 };
	uint64_t from = 0;
	sqlite3_stmt *st;
	int rc;

	rc = row_before(s, version, off, &r);
	if (rc < 0)
		return rc;
	if (rc == 1) {
		if (off < r.end) {
			*out = r;
			return 0;
		}
		from = r.end;
		manifest_row_release(&r);
	}
	st = meta_stmt(s, "SELECT off FROM manifest WHERE version = ?1 AND off > ?2 ORDER BY off LIMIT 1");
	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)version);
	sqlite3_bind_int64(st, 2, (int64_t)(off > INT64_MAX ? INT64_MAX : off));
	rc = meta_step(s, st);
	if (rc < 0)
		return rc;
	r.off = from;
	r.end = rc ? (uint64_t)sqlite3_column_int64(st, 0) : UINT64_MAX;
	sqlite3_reset(st);
	*out = r;
	return 0;
}

/* --- changing ------------------------------------------------------------------------------------ */

static int write_row(struct store *s, uint64_t version, uint64_t off, const uint8_t *bytes, size_t len)
{
	sqlite3_stmt *st = meta_stmt(s, "INSERT INTO manifest(version, off, pieces) VALUES(?1, ?2, ?3)");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)version);
	sqlite3_bind_int64(st, 2, (int64_t)off);
	sqlite3_bind_blob(st, 3, bytes, (int)len, SQLITE_STATIC);
	return meta_exec(s, st);
}

/* Writes pieces as rows, leaving holes between rows out. */
static int write_rows(struct store *s, uint64_t version, const struct manifest_row *r)
{
	uint8_t bytes[MANIFEST_ROW_MAX + PIECE_MAX];
	uint64_t off = r->off, row_off = r->off, next = 0;
	size_t len = 0, i;
	int rc;

	for (i = 0; i < r->n; i++) {
		const struct piece *q = &r->pieces[i];
		bool big_hole = !q->id && (len == 0 || i + 1 == r->n || q->len >= (1 << 20));

		if (len > MANIFEST_ROW_MAX - PIECE_MAX || (len && big_hole)) {
			rc = write_row(s, version, row_off, bytes, len);
			if (rc)
				return rc;
			len = 0;
			next = 0;
		}
		if (big_hole && len == 0) {
			off += q->len;
			continue;
		}
		if (!len)
			row_off = off;
		len += put_piece(bytes + len, q, &next);
		off += q->len;
	}
	return len ? write_row(s, version, row_off, bytes, len) : 0;
}

static int delete_rows(struct store *s, uint64_t version, uint64_t from, uint64_t end)
{
	sqlite3_stmt *st = meta_stmt(s, "DELETE FROM manifest WHERE version = ?1 AND off >= ?2 AND off < ?3");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)version);
	sqlite3_bind_int64(st, 2, (int64_t)from);
	sqlite3_bind_int64(st, 3, (int64_t)(end > INT64_MAX ? INT64_MAX : end));
	return meta_exec(s, st);
}

/* Adds to *to what of `row` lies in [from, end). */
static int add_part(struct manifest_row *to, const struct manifest_row *row, uint64_t from, uint64_t end)
{
	uint64_t at = row->off;
	size_t i;
	int rc;

	for (i = 0; i < row->n; i++) {
		struct piece q = row->pieces[i];
		uint64_t a = at, b = at + q.len;

		at = b;
		if (b <= from || a >= end)
			continue;
		if (a < from) {
			if (q.id)
				q.off += (uint32_t)(from - a);
			q.len -= from - a;
		}
		if (b > end)
			q.len -= b - end;
		rc = row_add(to, &q);
		if (rc)
			return rc;
	}
	return 0;
}

/*
 * A collection reads rows in the order of their keys, some at a time (gc_mark.c).  What moves to a row with a lower key may
 * move to behind its back, from where it has not been yet: so it counts as seen.
 */
static void mark_moved(struct store *s, const struct manifest_row *row)
{
	for (size_t i = 0; i < row->n; i++)
		if (row->pieces[i].id)
			mark(s, &row->pieces[i].id, 1);
}

int manifest_replace(struct store *s, uint64_t version, uint64_t off, uint64_t end, const struct piece *pieces,
		size_t n)
{
	struct manifest_row first = { 0 }, last = { 0 }, merged = { 0 };
	uint64_t from = off;
	size_t i;
	int rc;

	if (off >= end)
		return 0;
	/* The row that begins before the range and reaches into it (or touches it: short rows are worth joining). */
	rc = off ? row_before(s, version, off - 1, &first) : 0;
	if (rc < 0)
		return rc;
	if (rc == 1 && first.end >= off && first.n < MANIFEST_ROW_MAX)
		from = first.off;
	else
		manifest_row_release(&first);
	/* The last row that begins inside the range and may reach beyond it. */
	rc = row_before(s, version, end - 1, &last);
	if (rc < 0)
		goto out;
	if (rc == 1 && (last.off < off || last.end <= end))
		manifest_row_release(&last);

	merged.off = merged.end = from;
	rc = 0;
	if (first.n)
		rc = add_part(&merged, &first, first.off, off);
	for (i = 0; !rc && i < n; i++)
		rc = row_add(&merged, &pieces[i]);
	if (!rc && merged.end < end) {
		struct piece hole = { .len = end - merged.end };

		rc = row_add(&merged, &hole);
	}
	if (!rc && first.n && first.end > end)
		rc = add_part(&merged, &first, end, first.end);
	if (!rc && last.n) {
		mark_moved(s, &last);
		rc = add_part(&merged, &last, end, last.end);
	}
	if (!rc)
		rc = delete_rows(s, version, from, end);
	if (!rc)
		rc = write_rows(s, version, &merged);
out:
	manifest_row_release(&first);
	manifest_row_release(&last);
	manifest_row_release(&merged);
	return rc;
}

int manifest_data(struct store *s, uint64_t version, uint64_t off, uint64_t end, uint64_t *out)
{
	struct manifest_row row;
	uint64_t sum = 0, at;
	size_t i;
	int rc;

	while (off < end) {
		rc = manifest_find(s, version, off, &row);
		if (rc)
			return rc;
		for (i = 0, at = row.off; i < row.n && at < end; at += row.pieces[i++].len) {
			uint64_t a = at > off ? at : off, z = at + row.pieces[i].len;

			if (z > end)
				z = end;
			if (row.pieces[i].id && a < z)
				sum += z - a;
		}
		off = row.end;
		manifest_row_release(&row);
	}
	*out = sum;
	return 0;
}

int manifest_copy(struct store *s, uint64_t from, uint64_t to)
{
	sqlite3_stmt *st = meta_stmt(s, "INSERT INTO manifest(version, off, pieces) "
			"SELECT ?2, off, pieces FROM manifest WHERE version = ?1");

	if (!st)
		return meta_fail(s);
	sqlite3_bind_int64(st, 1, (int64_t)from);
	sqlite3_bind_int64(st, 2, (int64_t)to);
	return meta_exec(s, st);
}

int manifest_walk(struct store *s, uint64_t version, int (*fn)(void *arg, uint64_t off, const struct piece *p),
		void *arg)
{
	struct manifest_row row;
	uint64_t at = 0;
	size_t i;
	int rc;

	for (;;) {
		meta_lock(s);
		rc = manifest_find(s, version, at, &row);
		meta_unlock(s);
		if (rc)
			return rc;
		if (!row.n && row.end == UINT64_MAX)
			return 0;
		if (!row.n) {
			struct piece hole = { .len = row.end - at };

			rc = fn(arg, at, &hole);
		}
		at = row.n ? row.off : at;
		for (i = 0; !rc && i < row.n; i++) {
			rc = fn(arg, at, &row.pieces[i]);
			at += row.pieces[i].len;
		}
		at = row.end;
		manifest_row_release(&row);
		if (rc)
			return rc;
	}
}
