/*
 * zip_read.h: the directory of a zip, read as if somebody had made it to hurt.
 *
 * APPNOTE.TXT 6.3 as torch.save, numpy.savez, TorchScript and zip tools write it: end record, zip64 end
 * record, central directory.  Only the directory is believed (local headers of torch hold no sizes), and
 * nothing of it before it was checked:
 *
 *   1. the directory lies where the end records say, ends where they begin, and has as many entries as they say
 *   2. the zip starts at the file's start, or at the end of another zip (a row of them: a .distcp);
 *      zip_base() says where.  What stands before it is not read
 *   3. at most 2^20 entries, names of 1 to 4096 bytes without NUL, no two alike; torch's reader looks names up
 *      without regard to case, others with it, so two that differ only by case are marked (zip_ambiguous())
 *   4. each entry's data lies between the zip's start and the directory
 *   5. one disk, no encryption; a stored entry has the same size twice
 *
 * Entries with a compression method are listed; who reads their bytes has to ask for it (zip_entry.method).
 *
 * Memory: some 90 bytes an entry and its name, never more than the caller allows: it is known from the end
 * record, before the directory is read.  Reading: the tail, and the directory once, in pieces.
 */
#ifndef ZIP_READ_H
#define ZIP_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/codec_container.h"

enum {
	ZIP_ENTRIES_MAX = 1 << 20,
	ZIP_NAME_MAX = 4096,
	ZIP_STORED = 0,
	ZIP_DEFLATED = 8,
};

struct zip_entry {
	const char *name; /* terminated; inside the struct zip */
	uint32_t name_len;
	uint16_t method, flags;
	uint32_t crc;      /* as stated: torch may write 0, and nobody checks it */
	uint64_t size;     /* of the data in the file */
	uint64_t raw_size; /* uncompressed */
	uint64_t header;   /* file offset of the local header */
	uint64_t record;   /* file offset of its record in the directory */
	uint32_t record_len;
};

struct zip;

/*
 * Reads the directory of the last zip in the first `size` bytes of a file.  The callback is used during this
 * call and by zip_data(), which is given it anew.  most: bytes of memory it may take; 0 for no bound but the
 * rules above.
 *
 * -EBADMSG: not a zip, or one that breaks a rule above; -EFBIG: more than the limits; -ENOTSUP: several
 * disks; -ENOMEM; what the callback failed with.
 */
int zip_open(codec_read_at read, void *arg, uint64_t size, size_t most, struct zip **out);
void zip_free(struct zip *z);

/* Bytes of memory it takes. */
size_t zip_memory(const struct zip *z);

size_t zip_count(const struct zip *z);
const struct zip_entry *zip_at(const struct zip *z, size_t i);

/* The entry of that name, or NULL. */
const struct zip_entry *zip_find(const struct zip *z, const char *name, size_t len);

/* Where in the file the zip begins: 0, or the end of the one before it. */
uint64_t zip_base(const struct zip *z);

/* Where in the file the directory begins and how long it is; where the zip ends. */
uint64_t zip_directory(const struct zip *z, uint64_t *len);
uint64_t zip_end(const struct zip *z);

/* Whether two names differ only by the case of ASCII letters. */
bool zip_ambiguous(const struct zip *z);

/*
 * Where in the file the data of an entry begin: behind its local header, which is read for its length only.
 * The range [*off, *off + e->size) has been checked to lie before the directory. -EBADMSG: there is no local
 * header, or the data would reach into the directory.
 */
int zip_data(const struct zip *z, const struct zip_entry *e, codec_read_at read, void *arg, uint64_t *off);

/*
 * Reads exactly len bytes at off through a callback that may give fewer at a time.  -EBADMSG where the file
 * ends before.
 */
int zip_read_full(codec_read_at read, void *arg, uint64_t off, void *buf, size_t len);

#endif
