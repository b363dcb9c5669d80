/*
 * manifest_internal.h: which chunks a version is made of.
 *
 * A manifest is a sequence of pieces, each a range of a chunk's plain bytes or a hole, gapless from 0 to the last one; what is missing
 * up to the version's size is a hole.  It is stored in rows of at most MANIFEST_ROW_MAX bytes, keyed by (version, file offset of the
 * first piece), so that the piece at an offset is found in O(log n) and a change in the middle of a huge file touches one row.  A row never
 * begins with a hole it could leave out: bytes between rows are holes.
 *
 * A row's pieces, each:   varint head   = len << 2 | whole << 1 | hole      (len in bytes, >= 1)
 *                         unless hole:  varint zigzag(id - (previous id of this row + 1)), the first against 0
 *                         unless whole or hole:  varint off     (first byte within the chunk)
 * `whole` says off is 0 (the piece may still be shorter than the chunk).  Varints are LEB128, at most 10 bytes.
 */
#ifndef MANIFEST_INTERNAL_H
#define MANIFEST_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

enum { MANIFEST_ROW_MAX = 900 };

struct piece {
	uint64_t len;
	uint64_t id;   /* chunk; 0: a hole */
	uint32_t off;  /* in the chunk */
};

/* A row, decoded. */
struct manifest_row {
	uint64_t off, end;       /* file offsets; end: where its last piece ends */
	struct piece *pieces;
	size_t n, cap;
};
void manifest_row_release(struct manifest_row *r);

/* Decodes a stored row at file offset off; -EIO when it is malformed. */
int manifest_decode(const uint8_t *p, size_t len, uint64_t off, struct manifest_row *out);

/*
 * The row that covers `off`, or, where a hole is, an empty row (n == 0) that spans the hole up to the next row (or UINT64_MAX).
 * Meta lock held.
 */
int manifest_find(struct store *s, uint64_t version, uint64_t off, struct manifest_row *out);

/*
 * Replaces [off, end) of a version's manifest by the pieces (their lengths sum up to end - off, or none for a hole),
 * rewriting the rows it touches and splitting pieces at its edges.  Meta lock held, in a transaction.
 */
int manifest_replace(struct store *s, uint64_t version, uint64_t off, uint64_t end, const struct piece *pieces,
		size_t n);
/* Bytes in [off, end) of a version's manifest that are no hole. Meta lock held. */
int manifest_data(struct store *s, uint64_t version, uint64_t off, uint64_t end, uint64_t *out);
/* Copies all rows of one version to another that has none. Meta lock held, in a transaction. */
int manifest_copy(struct store *s, uint64_t from, uint64_t to);

/* Visits all pieces of a version in order, rows fetched a few at a time; fn returns non-zero to stop (returned). Meta lock not held. */
int manifest_walk(struct store *s, uint64_t version,
		int (*fn)(void *arg, uint64_t off, const struct piece *p), void *arg);

#endif
