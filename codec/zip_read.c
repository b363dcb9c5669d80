/*
 * zip_read.c: reading a zip's directory.
 *
 *   base                    base + cd_off       + cd_size
 *   | local header, data ... | PK\1\2 directory  | [PK\6\6 zip64 end][PK\6\7 locator] PK\5\6 end | junk
 *
 * The end record is looked for from the end of the file backwards through its comment and as much junk as torch's
 * reader minds not (64 KiB).  Offsets count from the zip's first byte, which is found as "where the directory ends,
 * less its size and offset", so that the last zip of a row is read like any other.
 */
#include "codec/zip_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/byte_buf.h"
#include "codec/ckpt_error.h"
#include "codec/codec_pages.h"

enum {
	END_LEN = 22,
	LOCATOR_LEN = 20,
	END64_LEN = 56,
	LOCAL_LEN = 30,
	RECORD_LEN = 46,
	TAIL = 65536 + END_LEN,
	CANDIDATES = 64,
	RECORD_MAX = RECORD_LEN + 3 * 65535,
	WINDOW = 1 << 18,  /* more than a record */
	AHEAD = 16,
	PROBES_MAX = 4096, /* in the table of names; by chance it is some dozens */
};

/* The rest of the hash tells most names apart without a look at them, wherever they lie. */
struct place {
	uint32_t entry; /* number + 1; 0: free */
	uint32_t rest;
};

struct zip {
	struct zip_entry *entry;
	size_t entries;
	char *names; /* of all entries, each terminated */
	size_t names_len;
	struct place *place; /* hash table of names; a power of 2 places */
	size_t places;
	uint64_t base, directory, directory_len, end;
	bool ambiguous;
};

/* What the end records say; offsets are the file's. */
struct ends {
	uint64_t count, size, off; /* off counts from the base */
	uint64_t stop;             /* where the directory has to end */
	uint64_t end;              /* where the zip ends */
};

int zip_read_full(codec_read_at read, void *arg, uint64_t off, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len > 0) {
		int64_t n = read(arg, off, p, len);

		if (n < 0)
			return (int)n;
		if (n == 0 || (uint64_t)n > len)
			return ckpt_fail(EBADMSG, "file ends at byte %llu, before it should",
					(unsigned long long)off);
		p += n;
		off += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

void zip_free(struct zip *z)
{
	if (z == NULL)
		return;
	free(z->entry);
	free(z->names);
	free(z->place);
	free(z);
}

size_t zip_memory(const struct zip *z)
{
	return sizeof *z + z->entries * sizeof *z->entry + z->names_len + z->places * sizeof *z->place;
}

size_t zip_count(const struct zip *z)
{
	return z->entries;
}

const struct zip_entry *zip_at(const struct zip *z, size_t i)
{
	return &z->entry[i];
}

uint64_t zip_base(const struct zip *z)
{
	return z->base;
}

uint64_t zip_directory(const struct zip *z, uint64_t *len)
{
	*len = z->directory_len;
	return z->directory;
}

uint64_t zip_end(const struct zip *z)
{
	return z->end;
}

bool zip_ambiguous(const struct zip *z)
{
	return z->ambiguous;
}

/* Whether the directory fits where the records say. Then *base is the start of its zip. */
static int fits(codec_read_at read, void *arg, const struct ends *e, uint64_t *base)
{
	uint8_t before[END_LEN], magic[4];
	int rc;

	if (e->size > e->stop || e->off > e->stop - e->size || e->count > e->size / RECORD_LEN)
		return 0;
	*base = e->stop - e->size - e->off;
	if (e->size > 0) {
		rc = zip_read_full(read, arg, *base + e->off, magic, sizeof magic);
		if (rc < 0)
			return rc;
		if (memcmp(magic, "PK\1\2", 4) != 0)
			return 0;
	}
	if (*base == 0)
		return 1;
	if (*base < END_LEN)
		return 0;
	rc = zip_read_full(read, arg, *base - END_LEN, before, sizeof before);
	if (rc < 0)
		return rc;
	return memcmp(before, "PK\5\6", 4) == 0 && byte_le16(before + 20) == 0;
}

/*
 * The zip64 end record before `at`, when there is one: 1, and its numbers in *e.  It stands right before its
 * locator; an extensible part in it, which nobody writes, would make that wrong and is not read.
 */
static int read_end64(codec_read_at read, void *arg, uint64_t at, struct ends *e)
{
	uint8_t b[END64_LEN + LOCATOR_LEN];
	int rc;

	if (at < sizeof b)
		return 0;
	rc = zip_read_full(read, arg, at - sizeof b, b, sizeof b);
	if (rc < 0)
		return rc;
	if (memcmp(b + END64_LEN, "PK\6\7", 4) != 0)
		return 0;
	if (memcmp(b, "PK\6\6", 4) != 0 || byte_le64(b + 4) != END64_LEN - 12)
		return ckpt_fail(EBADMSG, "zip: its zip64 end record is not where it should be");
	if (byte_le32(b + 16) != 0 || byte_le32(b + 20) != 0 || byte_le64(b + 24) != byte_le64(b + 32))
		return ckpt_fail(ENOTSUP, "zip: spread over several disks");
	e->count = byte_le64(b + 32);
	e->size = byte_le64(b + 40);
	e->off = byte_le64(b + 48);
	e->stop = at - sizeof b;
	return 1;
}

/* Whether the end record at `at` is that of a zip: 1, and *e and *base are set; 0; -errno. */
static int read_end(codec_read_at read, void *arg, uint64_t size, uint64_t at, struct ends *e, uint64_t *base)
{
	uint8_t b[END_LEN];
	int rc;

	if (size - at < END_LEN)
		return 0;
	rc = zip_read_full(read, arg, at, b, sizeof b);
	if (rc < 0)
		return rc;
	e->end = at + END_LEN + byte_le16(b + 20);
	if (e->end > size)
		return 0;
	rc = read_end64(read, arg, at, e);
	if (rc < 0)
		return rc;
	if (rc == 0) {
		if (byte_le16(b + 4) != 0 || byte_le16(b + 6) != 0 || byte_le16(b + 8) != byte_le16(b + 10))
			return 0;
		e->count = byte_le16(b + 10);
		e->size = byte_le32(b + 12);
		e->off = byte_le32(b + 16);
		e->stop = at;
	}
	return fits(read, arg, e, base);
}

static int find_end(codec_read_at read, void *arg, uint64_t size, struct ends *e, uint64_t *base)
{
	uint64_t stop = size > TAIL ? size - TAIL : 0, hi = size;
	unsigned tried = 0;

	while (hi >= stop + 4) {
		uint8_t piece[4096];
		uint64_t lo = hi - stop > sizeof piece ? hi - sizeof piece : stop;
		int rc = zip_read_full(read, arg, lo, piece, (size_t)(hi - lo));

		if (rc < 0)
			return rc;
		for (size_t i = (size_t)(hi - lo) - 3; i-- > 0;) {
			if (piece[i] != 'P' || memcmp(piece + i, "PK\5\6", 4) != 0)
				continue;
			rc = read_end(read, arg, size, lo + i, e, base);
			if (rc != 0)
				return rc < 0 ? rc : 0;
			if (++tried == CANDIDATES)
				return ckpt_fail(EBADMSG,
						"zip: its end is full of end records that fit nothing");
		}
		if (lo == stop)
			break;
		hi = lo + 3;
	}
	return ckpt_fail(EBADMSG, "zip: no end record that fits");
}

static bool has_name(const struct zip_entry *e, const char *name, size_t len)
{
	return e->name_len == len && memcmp(e->name, name, len) == 0;
}

/* Torch's reader folds ASCII letters only. */
static uint64_t folded_hash(const char *p, size_t len)
{
	char small[256];
	XXH64_hash_t h = 0;

	for (size_t off = 0; off < len; off += sizeof small) {
		size_t n = len - off < sizeof small ? len - off : sizeof small;

		for (size_t i = 0; i < n; i++) {
			char c = p[off + i];

			small[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
		}
		h = XXH3_64bits_withSeed(small, n, h);
	}
	return h;
}

/* How many places the table of names has for so many entries. */
static size_t places_for(uint64_t entries)
{
	size_t n = 16;

	while (n < 2 * entries)
		n *= 2;
	return n;
}

/* Enters a name into the table; -EBADMSG when it is there already. */
static int enter_name(struct zip *z, size_t k, uint64_t hash)
{
	const struct zip_entry *e = &z->entry[k];
	size_t i = hash & (z->places - 1), probes = 0;

	for (; z->place[i].entry != 0; i = (i + 1) & (z->places - 1)) {
		const struct zip_entry *x;

		if (++probes > PROBES_MAX)
			return ckpt_fail(EBADMSG, "zip: names made to collide, '%.200s' for one", e->name);
		if (z->place[i].rest != (uint32_t)(hash >> 32))
			continue;
		x = &z->entry[z->place[i].entry - 1];
		if (has_name(x, e->name, e->name_len))
			return ckpt_fail(EBADMSG, "zip: two entries are called '%.200s'", e->name);
		if (x->name_len == e->name_len && folded_hash(x->name, x->name_len) == hash)
			z->ambiguous = true;
	}
	z->place[i] = (struct place){ (uint32_t)k + 1, (uint32_t)(hash >> 32) };
	return 0;
}

/* Enters all names. A few are hashed before they are entered, so that their places can be fetched meanwhile. */
static int index_names(struct zip *z)
{
	uint64_t hash[AHEAD];
	int rc = 0;

	z->places = places_for(z->entries);
	z->place = codec_pages_zeros(z->places, sizeof *z->place);
	if (z->place == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a zip of %zu entries", z->entries);
	for (size_t k = 0; k < z->entries; k += AHEAD) {
		size_t n = z->entries - k < AHEAD ? z->entries - k : AHEAD;

		for (size_t i = 0; i < n; i++) {
			hash[i] = folded_hash(z->entry[k + i].name, z->entry[k + i].name_len);
			__builtin_prefetch(&z->place[hash[i] & (z->places - 1)], 1);
		}
		for (size_t i = 0; rc == 0 && i < n; i++)
			rc = enter_name(z, k + i, hash[i]);
	}
	return rc;
}

const struct zip_entry *zip_find(const struct zip *z, const char *name, size_t len)
{
	uint64_t hash = folded_hash(name, len);
	size_t i = hash & (z->places - 1);

	for (; z->place[i].entry != 0; i = (i + 1) & (z->places - 1))
		if (z->place[i].rest == (uint32_t)(hash >> 32) &&
				has_name(&z->entry[z->place[i].entry - 1], name, len))
			return &z->entry[z->place[i].entry - 1];
	return NULL;
}

/* The zip64 extra field holds, in this order, those of the three that did not fit their 32 bits. */
static int wide_fields(const uint8_t *extra, size_t len, uint64_t *raw, uint64_t *size, uint64_t *header)
{
	uint64_t *field[] = { raw, size, header };
	bool wanted = *raw == UINT32_MAX || *size == UINT32_MAX || *header == UINT32_MAX;

	while (len >= 4) {
		size_t n = byte_le16(extra + 2);
		const uint8_t *p = extra + 4;

		if (n > len - 4)
			break;
		if (byte_le16(extra) == 1) {
			size_t left = n;

			for (size_t i = 0; i < 3; i++) {
				if (*field[i] != UINT32_MAX)
					continue;
				if (left < 8)
					return ckpt_fail(EBADMSG, "zip: a zip64 field is too short");
				*field[i] = byte_le64(p);
				p += 8;
				left -= 8;
			}
			return 0;
		}
		extra += 4 + n;
		len -= 4 + n;
	}
	return wanted ? ckpt_fail(EBADMSG, "zip: a zip64 field is missing") : 0;
}

/* Takes a record of the directory, which is at file offset `at`, apart. Name and extra follow within `have`. */
static int take_record(struct zip *z, const uint8_t *b, size_t have, uint64_t at, size_t *used)
{
	struct zip_entry *e = &z->entry[z->entries];
	size_t name_len, extra_len, comment_len;
	uint64_t room;
	int rc;

	if (have < RECORD_LEN || memcmp(b, "PK\1\2", 4) != 0)
		return ckpt_fail(EBADMSG, "zip: entry %zu of the directory is damaged", z->entries);
	name_len = byte_le16(b + 28);
	extra_len = byte_le16(b + 30);
	comment_len = byte_le16(b + 32);
	if (name_len + extra_len + comment_len > have - RECORD_LEN)
		return ckpt_fail(EBADMSG, "zip: entry %zu reaches beyond the directory", z->entries);
	if (name_len == 0 || name_len > ZIP_NAME_MAX || memchr(b + RECORD_LEN, '\0', name_len) != NULL)
		return ckpt_fail(EBADMSG, "zip: entry %zu has a name that is none", z->entries);
	memcpy(z->names + z->names_len, b + RECORD_LEN, name_len);
	z->names[z->names_len + name_len] = '\0';

	e->name = z->names + z->names_len;
	e->name_len = (uint32_t)name_len;
	e->flags = (uint16_t)byte_le16(b + 8);
	e->method = (uint16_t)byte_le16(b + 10);
	e->crc = byte_le32(b + 16);
	e->size = byte_le32(b + 20);
	e->raw_size = byte_le32(b + 24);
	e->header = byte_le32(b + 42);
	e->record = at;
	e->record_len = (uint32_t)(RECORD_LEN + name_len + extra_len + comment_len);
	rc = wide_fields(b + RECORD_LEN + name_len, extra_len, &e->raw_size, &e->size, &e->header);
	if (rc < 0)
		return ckpt_context(rc, "'%.200s'", e->name);
	if (byte_le16(b + 34) != 0)
		return ckpt_fail(ENOTSUP, "zip: spread over several disks");
	if ((e->flags & 1) != 0)
		return ckpt_fail(EBADMSG, "zip: '%.200s' is encrypted", e->name);
	if (e->method == ZIP_STORED && e->size != e->raw_size)
		return ckpt_fail(EBADMSG, "zip: '%.200s' is stored and has two sizes", e->name);
	room = z->directory - z->base;
	if (room < LOCAL_LEN || e->header > room - LOCAL_LEN || e->size > room - LOCAL_LEN - e->header)
		return ckpt_fail(EBADMSG, "zip: '%.200s' lies outside the file", e->name);
	e->header += z->base;
	z->names_len += name_len + 1;
	z->entries++;
	*used = e->record_len;
	return 0;
}

/* All records, through a window that always holds a whole one. */
static int read_directory(struct zip *z, uint64_t count, codec_read_at read, void *arg)
{
	uint64_t at = z->directory, stop = z->directory + z->directory_len;
	size_t have = 0, used = 0;
	uint8_t *window = malloc(WINDOW);
	int rc = 0;

	if (window == NULL)
		return ckpt_fail(
				ENOMEM, "out of memory for a zip of %llu entries", (unsigned long long)count);
	while (rc == 0 && z->entries < count) {
		size_t n;

		if (have - used < RECORD_MAX && at < stop) {
			memmove(window, window + used, have - used);
			have -= used;
			used = 0;
			n = stop - at < WINDOW - have ? (size_t)(stop - at) : WINDOW - have;
			rc = zip_read_full(read, arg, at, window + have, n);
			if (rc < 0)
				break;
			at += n;
			have += n;
		}
		n = 0;
		rc = take_record(z, window + used, have - used, at - (have - used), &n);
		used += n;
	}
	free(window);
	if (rc == 0 && (at != stop || used != have))
		rc = ckpt_fail(EBADMSG, "zip: its directory is longer than its entries");
	return rc;
}

int zip_open(codec_read_at read, void *arg, uint64_t size, size_t most, struct zip **out)
{
	struct zip *z = calloc(1, sizeof *z);
	struct ends e = { 0 };
	int rc;

	if (z == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a zip");
	rc = find_end(read, arg, size, &e, &z->base);
	if (rc < 0)
		goto out;
	rc = -EFBIG;
	if (e.count > ZIP_ENTRIES_MAX) {
		ckpt_fail(EFBIG, "zip: %llu entries", (unsigned long long)e.count);
		goto out;
	}
	/* Fields and comments of a sane directory take less than the names of an insane one. */
	if (e.size > (uint64_t)e.count * (RECORD_LEN + ZIP_NAME_MAX + 1024)) {
		ckpt_fail(EFBIG, "zip: a directory of %llu bytes", (unsigned long long)e.size);
		goto out;
	}
	if (most > 0 && e.size + e.count * sizeof *z->entry + places_for(e.count) * sizeof *z->place +
							WINDOW >
					most) {
		ckpt_fail(EFBIG, "zip: %llu entries, which take more than %zu bytes of memory",
				(unsigned long long)e.count, most);
		goto out;
	}
	z->directory = z->base + e.off;
	z->directory_len = e.size;
	z->end = e.end;
	rc = -ENOMEM;
	z->entry = codec_pages_new((e.count + 1) * sizeof *z->entry);
	z->names = codec_pages_new(e.size + 1); /* a name and its end take less than its record */
	if (z->entry == NULL || z->names == NULL) {
		ckpt_fail(ENOMEM, "out of memory for a zip of %llu entries", (unsigned long long)e.count);
		goto out;
	}
	rc = read_directory(z, e.count, read, arg);
	if (rc == 0)
		rc = index_names(z);
	if (rc == 0 && z->names_len > 0) {
		char *names = realloc(z->names, z->names_len), *was = z->names;

		/* The names may move as they shrink. */
		if (names != NULL && names != was) {
			size_t off = 0;

			for (size_t i = 0; i < z->entries; i++) {
				z->entry[i].name = names + off;
				off += z->entry[i].name_len + 1;
			}
		}
		if (names != NULL)
			z->names = names;
	}
out:
	if (rc < 0) {
		zip_free(z);
		return rc;
	}
	*out = z;
	return 0;
}

int zip_data(const struct zip *z, const struct zip_entry *e, codec_read_at read, void *arg, uint64_t *off)
{
	uint8_t b[LOCAL_LEN];
	uint64_t data;
	int rc = zip_read_full(read, arg, e->header, b, sizeof b);

	if (rc < 0)
		return rc;
	if (memcmp(b, "PK\3\4", 4) != 0)
		return ckpt_fail(EBADMSG, "zip: '%.200s' has no local header", e->name);
	data = e->header + LOCAL_LEN + byte_le16(b + 26) + byte_le16(b + 28);
	if (data > z->directory || e->size > z->directory - data)
		return ckpt_fail(EBADMSG, "zip: '%.200s' reaches into the directory", e->name);
	*off = data;
	return 0;
}
