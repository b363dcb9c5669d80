/*
 * container_zip.c: does a zip have its end?
 *
 * APPNOTE.TXT 6.3, as torch.save, numpy.savez and TorchScript write it:
 *
 *   0                 base + cd_off        +cd_size
 *   | entries ....... | PK\1\2 directory ... | [PK\6\6 zip64 end][PK\6\7 locator] PK\5\6 end | junk
 *
 * A zip is written front to back and its end record last, so a whole one has an end record near the end of
 * the file, whose directory lies where it says.  What makes it more than a search for four bytes:
 *
 *   1. After the end record may follow its comment, and up to 64 KiB of junk (torch's reader does not mind).
 *      But what begins like a zip entry there is no junk: it is the next zip of a row (below), torn.
 *   2. `base` is not 0 when whole zips lie end to end (a .distcp of torch.distributed.checkpoint): offsets count
 *      from the last one's start.  A torn zip may just so happen to end with a zip inside it (stored as a record:
 *      .pt2), whose base is not 0 either.  The difference is what lies before the base: the end of another
 *      zip, or not.
 *   3. Equal zips in a row have equal offsets, so the zip64 record is looked for next to its locator first,
 *      and only then where the locator says.
 */
#include <stdbool.h>
#include <string.h>

#include "container_internal.h"

enum {
	END_LEN = 22,
	LOCATOR_LEN = 20,
	END64_LEN = 56,
	ENTRY_LEN = 46,       /* of the directory, at least */
	TAIL = 65536 + END_LEN,
	CANDIDATES = 64,      /* end records that are looked at, in a tail made to look full of them */
};

/* Whether `magic`, four bytes, is at off: 1 yes, 0 no, -errno. */
static int has_magic(struct container_src *s, uint64_t off, const char *magic)
{
	uint8_t b[4];
	int rc = container_read(s, off, b, sizeof b);

	return rc <= 0 ? rc : memcmp(b, magic, sizeof b) == 0;
}

/* The directory as the end records tell it. */
struct directory {
	uint64_t count, size, off;
	uint64_t end; /* file offset it must not reach beyond */
};

/*
 * Whether the directory lies where it says when offsets count from `base`, and base is the start of a zip:
 * of the file's only one, or of the last in a row. 1, 0, -errno.
 */
static int fits(struct container_src *s, const struct directory *d, uint64_t base)
{
	uint8_t e[END_LEN];
	int rc;

	if (d->off > d->end - base || d->size > d->end - base - d->off || d->count > d->size / ENTRY_LEN)
		return 0;
	if (d->size > 0) {
		rc = has_magic(s, base + d->off, "PK\1\2");
		if (rc <= 0)
			return rc;
	}
	if (base == 0)
		return 1;
	rc = has_magic(s, base, "PK\3\4");
	if (rc <= 0 || base < END_LEN)
		return rc < 0 ? rc : 0;
	rc = container_read(s, base - END_LEN, e, sizeof e);
	return rc <= 0 ? rc : memcmp(e, "PK\5\6", 4) == 0 && container_le16(e + 20) == 0;
}

/* Reads the zip64 record that the locator at `loc` means. *base: where its zip begins. 1, 0: none there, -errno. */
static int read_end64(struct container_src *s, uint64_t loc, struct directory *d, uint64_t *base)
{
	uint8_t l[LOCATOR_LEN], e[END64_LEN];
	uint64_t said, at;
	int rc = container_read(s, loc, l, sizeof l);

	if (rc <= 0)
		return rc;
	said = container_le64(l + 8);
	at = said; /* a record with an extension begins further ahead than it usually does */
	*base = 0;
	if (loc >= END64_LEN && said <= loc - END64_LEN) {
		rc = has_magic(s, loc - END64_LEN, "PK\6\6");
		if (rc < 0)
			return rc;
		if (rc == 1) {
			at = loc - END64_LEN;
			*base = at - said;
		}
	}
	rc = container_read(s, at, e, sizeof e);
	if (rc <= 0)
		return rc;
	if (memcmp(e, "PK\6\6", 4) != 0 || at > loc || loc - at < 12 || container_le64(e + 4) != loc - at - 12)
		return 0;
	d->count = container_le64(e + 32);
	d->size = container_le64(e + 40);
	d->off = container_le64(e + 48);
	d->end = at;
	return 1;
}

/* Whether the end record at `at` is that of a whole zip which ends there. 1, 0, -errno. */
static int is_end(struct container_src *s, uint64_t at)
{
	uint8_t e[END_LEN], next[4] = { 0 };
	struct directory d;
	uint64_t base, after;
	size_t n;
	int rc = container_read(s, at, e, sizeof e);

	if (rc <= 0)
		return rc;
	after = at + END_LEN + container_le16(e + 20);
	if (after > s->size)
		return 0;
	n = s->size - after < sizeof next ? (size_t)(s->size - after) : sizeof next;
	rc = container_read(s, after, next, n);
	if (rc <= 0)
		return rc;
	if (n > 0 && container_match(next, n, "PK\3\4", 4) != CONTAINER_NO)
		return 0;

	if (at >= LOCATOR_LEN) {
		rc = has_magic(s, at - LOCATOR_LEN, "PK\6\7");
		if (rc < 0)
			return rc;
		if (rc == 1) {
			rc = read_end64(s, at - LOCATOR_LEN, &d, &base);
			return rc <= 0 ? rc : fits(s, &d, base);
		}
	}
	d.count = container_le16(e + 10);
	d.size = container_le32(e + 12);
	d.off = container_le32(e + 16);
	d.end = at;
	if (d.size <= at && d.off <= at - d.size) {
		rc = fits(s, &d, at - d.size - d.off);
		if (rc != 0)
			return rc;
	}
	return fits(s, &d, 0); /* something stands between directory and end, a signature for one */
}

/* From the end of the file backwards: the last end record is the most likely one. */
int container_zip(struct container_src *s)
{
	uint64_t stop = s->size > TAIL ? s->size - TAIL : 0;
	uint64_t hi = s->size; /* no end record begins at hi - 3 or later */
	unsigned tried = 0;

	while (hi >= stop + 4) {
		uint8_t piece[4096];
		uint64_t lo = hi - stop > sizeof piece ? hi - sizeof piece : stop;
		int rc = container_read(s, lo, piece, (size_t)(hi - lo));

		if (rc < 0)
			return rc;
		if (rc == 0)
			return CODEC_CONTAINER_TORN;
		for (size_t i = (size_t)(hi - lo) - 4 + 1; i-- > 0;) {
			if (piece[i] != 'P' || memcmp(piece + i, "PK\5\6", 4) != 0)
				continue;
			rc = is_end(s, lo + i);
			if (rc != 0)
				return rc < 0 ? rc : CODEC_CONTAINER_WHOLE;
			if (++tried == CANDIDATES)
				return CODEC_CONTAINER_TORN;
		}
		if (lo == stop)
			break;
		hi = lo + 3;
	}
	return CODEC_CONTAINER_TORN;
}
