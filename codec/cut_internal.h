/*
 * cut_internal.h: what the cutter's parts share.
 *
 *   codec_cut.c          chunks and records; which format it is
 *   cut_content.c           cuts by content
 *   cut_unknown.c        records whose length nobody tells
 *   cut_table.c          the storages that a pickle names
 *   cut_twin.c           tensors that are copies of one another in other clothes
 *   cut_zip.c, cut_legacy.c, cut_safetensors.c, cut_npy.c      the formats
 *
 * The bytes of a stream are of two kinds.  Most belong to a record (struct cut_record), which needs no format
 * while it lasts.  Those between records are a format's headers: it says how many bytes it wants before its
 * next decision, and is told them as they come, in pieces of any size.  So nothing is ever read ahead, and
 * where a piece ends changes nothing.
 *
 * A format's functions run inside codec_cut_feed() and end in one of: cut_expect(), cut_begin(),
 * cut_begin_unknown(), cut_sniff(), cut_plain().
 */
#ifndef CUT_INTERNAL_H
#define CUT_INTERNAL_H

#include "codec_cut.h"
#include "container_internal.h"
#include "npy_header.h"
#include "pickle_walk.h"

#define CUT_UNKNOWN UINT64_MAX /* a record's length */
#define CUT_NEVER UINT64_MAX

enum { CUT_CANDIDATE = 30, CUT_SNIFF = 32, CUT_WINDOW = 20 };

/* A format is told the next n bytes of what it wanted, or of its record. */
typedef void cut_take(struct codec_cutter *c, const uint8_t *p, size_t n);

/* What bytes of a record that may be the beginning of what follows it turn out to be. */
enum cut_verdict { CUT_DEAD, CUT_LIVE, CUT_HIT };

/* The next `len` bytes of the file, or those up to an end that has to be found. Zero what is not set. */
struct cut_record {
	uint64_t len;           /* or CUT_UNKNOWN */
	uint32_t piece;         /* cut every so many bytes; 0: by content */
	struct codec_hint hint;
	uint64_t print;         /* struct codec_cut's record */
	uint64_t kind[2];       /* cut_kind() of its name and of the rest of that; 0 none */

	/* The record has ended: the format goes on. */
	void (*after)(struct codec_cutter *c);
	/* Is told the record's bytes as well. May be NULL. */
	cut_take *tap;
	/*
	 * Of unknown length: whether seen[0, n), n <= CUT_CANDIDATE, beginning with the 'P' of a zip's
	 * signatures, are what follows a record of `before` bytes.
	 */
	enum cut_verdict (*judge)(const uint8_t *seen, size_t n, uint64_t before);

	/* The cutter's. */
	uint64_t off;           /* of the next byte */
	uint64_t twin;          /* struct codec_cut's */
	bool own;               /* has chunks of its own */
	uint64_t due;           /* of unknown length: the next cut, made once the record goes on beyond it */
};

/* Where the first tensor of each kind begins: open addressing. */
struct cut_place {
	uint64_t kind, at; /* 0: free */
};

struct cut_twins {
	struct cut_place *v; /* owned */
	size_t n, room;
};

struct codec_cutter {
	uint64_t at;            /* bytes told so far */

	/* The open chunk. */
	uint8_t last[CUT_WINDOW]; /* bytes before the next one: cut_content.c */
	uint32_t pos;           /* its bytes so far */
	uint32_t behind;        /* of the cut being made */
	bool cut_now;           /* a record with chunks of its own begins here */
	struct codec_cut open;  /* what it will be described as */

	struct cut_twins twins;

	/* What lies between records with chunks of their own. */
	uint64_t pool_print, pool_start;

	/* A record. */
	bool in_record;
	struct cut_record rec;
	uint64_t start;         /* `at` of the byte that judge() counts from */
	uint8_t seen[CUT_CANDIDATE];
	size_t seen_len;

	/* A format's headers. */
	cut_take *take;         /* NULL: there is nothing to understand */
	uint64_t want;          /* bytes until its next decision */
	uint8_t sniff[CUT_SNIFF];
	size_t sniff_len;
	void *format;           /* its state, owned */
	void (*release)(void *format);
};

/* --- codec_cut.c --------------------------------------------------------------------------------- */

/* The next n >= 1 bytes are a header's: take() is told them, in pieces; with the last one c->want is 0. */
void cut_expect(struct codec_cutter *c, uint64_t n, cut_take *take);

/* The next r->len >= 1 bytes are a record. */
void cut_begin(struct codec_cutter *c, const struct cut_record *r);

/*
 * The next bytes are a record whose end judge() sees; it counts from `start` (c->at of a byte).  A quiet one
 * is pooled whatever its length.
 */
void cut_begin_unknown(struct codec_cutter *c, const struct cut_record *r, uint64_t start, bool quiet);

/* A container ends here: another one may follow. */
void cut_sniff(struct codec_cutter *c);

/* From here on everything is cut by content. */
void cut_plain(struct codec_cutter *c);

/* Gives the cutter a format's state of `size` bytes, zeroed. NULL when there is no memory. */
void *cut_format(struct codec_cutter *c, size_t size, void (*release)(void *format));

/* The record has ended, c->at - back being its end: what lies behind is pooled. */
void cut_leave(struct codec_cutter *c, uint32_t back);

/* The cutter's place moves on by n bytes of the record. */
void cut_advance(struct codec_cutter *c, const uint8_t *p, size_t n);

/* What a chunk in this place, `back` bytes ago, is described as. */
void cut_describe(struct codec_cutter *c, uint32_t back);

/* Bytes of a piece of a tensor with elements of `item` bytes. */
uint32_t cut_piece(uint32_t item);

/* A tensor's fingerprint; seq tells apart those with the same path. */
uint64_t cut_print(uint64_t path, uint64_t seq, const struct codec_hint *hint, uint64_t bytes);

/* What a tensor's shape says of its numbers. */
void cut_shape(struct codec_hint *hint, uint32_t item, unsigned dims, uint64_t last, uint64_t before);

/* --- cut_content.c ------------------------------------------------------------------------------- */

/* Adds up to n bytes to the open chunk; *end where it ends by its content. Returns how many, at least 1. */
size_t cut_content(struct codec_cutter *c, const uint8_t *p, size_t n, bool *end);

/*
 * The first i < n behind which a cut may be, or n. p[-CUT_WINDOW, 0) can be read.  The others, which find the same, are for
 * machines with AVX2, and for any.
 */
size_t cut_find(const uint8_t *p, size_t n);
size_t cut_find_avx2(const uint8_t *p, size_t n);
size_t cut_find_plain(const uint8_t *p, size_t n);

/* --- cut_unknown.c ------------------------------------------------------------------------------- */

/* As cut_content(), of the record. */
size_t cut_unknown(struct codec_cutter *c, const uint8_t *p, size_t n, bool *end);

/* --- cut_table.c --------------------------------------------------------------------------------- */

struct cut_storage {
	uint64_t key, path, bytes;
	struct record_name name;
	uint64_t print, kind[2]; /* as of struct cut_record */
	struct codec_hint hint;
	uint32_t unit; /* bytes that its number of elements counts: of an untyped storage 1 */
	uint32_t item; /* of an element, as its tensor says */
	unsigned dims;
	uint64_t last, before;
};

struct cut_table {
	struct cut_storage *v; /* owned, in the order of the first reference */
	size_t n, room;
	uint32_t *slot;        /* owned: index + 1, by key */
	size_t slots;
	size_t now;            /* which the shape told next is of; n or more: none */
};

/* Events that fill the table with a pickle's storages. */
struct pickle_events cut_table_events(struct cut_table *t, unsigned id_len);

/* All storages are there: works out hints and fingerprints. */
void cut_table_settle(struct cut_table *t);

/* The storage of that name, or NULL. */
const struct cut_storage *cut_table_find(const struct cut_table *t, uint64_t key);

/* Empties it, and frees what it owns. */
void cut_table_release(struct cut_table *t);

/* --- cut_twin.c ---------------------------------------------------------------------------------- */

/* A tensor's name (one of record_name.h), type and shape; seq tells apart those with the same. 0 without a name. */
uint64_t cut_kind(uint32_t name, uint64_t seq, const struct codec_hint *hint, uint64_t bytes);

/* Where the first tensor of one of these kinds begins; 0: they are new, and begin at `at`. */
uint64_t cut_twin(struct cut_twins *t, const uint64_t kind[2], uint64_t at);

void cut_twins_release(struct cut_twins *t);

/* --- formats ------------------------------------------------------------------------------------- */

/* What has gone by: PK\3\4; a .npy's magic; a legacy file's first pickle; a safetensors' length and first byte. */
void cut_zip(struct codec_cutter *c);
void cut_npy(struct codec_cutter *c);
void cut_legacy(struct codec_cutter *c);
void cut_safetensors(struct codec_cutter *c, uint64_t header, uint8_t first);

/* A .npy header that is being gathered, for a .npy and for a zip's member. */
struct cut_npy_head {
	size_t have, want;
	uint8_t b[NPY_PREFIX_MAX + NPY_DICT_MAX];
};

/* Gathers the first n bytes anew; wanted are h->want more. */
void cut_npy_start(struct cut_npy_head *h, const uint8_t *p, size_t n);

/* Takes n <= h->want bytes: 1 and *r, with the print for `path`; 0: more are wanted; -1: not understood. */
int cut_npy_take(struct cut_npy_head *h, const uint8_t *p, size_t n, uint64_t path, struct cut_record *r);

#endif
