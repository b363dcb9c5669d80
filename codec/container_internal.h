/*
 * container_internal.h: what the formats of codec_container.h share: a way to read, and one function each.
 *
 * A format's function is called when the head of the file says that it is this format (or may be, see
 * container_safetensors()) and answers an enum codec_container, or -errno of a failed read or of memory.
 */
#ifndef CONTAINER_INTERNAL_H
#define CONTAINER_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "codec_container.h"

enum { CONTAINER_WINDOW = 8192 };

/* The file, and a window on it. */
struct container_src {
	codec_read_at read;
	void *arg;
	uint64_t size;
	uint64_t spent;  /* bytes read so far, for whoever has to bound them */
	uint64_t at;     /* the window is [at, at + have) of the file */
	size_t have;
	uint8_t buf[CONTAINER_WINDOW];
};

/*
 * The bytes from off on, 1 <= *n <= CONTAINER_WINDOW of them, valid until the next call.  1; 0 at the end of the
 * file; -errno.
 */
int container_window(struct container_src *s, uint64_t off, const uint8_t **p, size_t *n);

/* Exactly len <= CONTAINER_WINDOW bytes at off: 1; 0 when the file ends before; -errno. */
int container_read(struct container_src *s, uint64_t off, void *buf, size_t len);

static inline uint32_t container_le16(const uint8_t *p)
{
	return (uint32_t)(p[0] | p[1] << 8);
}

static inline uint32_t container_le32(const uint8_t *p)
{
	return container_le16(p) | container_le16(p + 2) << 16;
}

static inline uint64_t container_le64(const uint8_t *p)
{
	return container_le32(p) | (uint64_t)container_le32(p + 4) << 32;
}

/* How the first n bytes of something compare with the head of a format. */
enum container_match {
	CONTAINER_NO,     /* something else */
	CONTAINER_PREFIX, /* all n are like it, and it goes on */
	CONTAINER_YES,
};

enum container_match container_match(const uint8_t *p, size_t n, const char *magic, size_t magic_len);

/* A zip, from PK\3\4 on. */
int container_zip(struct container_src *s);

/* Anything of 9 bytes or more that is none of the others: CODEC_CONTAINER_NONE unless the head fits. */
int container_safetensors(struct container_src *s);

/* numpy.save(), once or several times into one file. */
int container_npy(struct container_src *s);

/* torch.save(_use_new_zipfile_serialization=False): enough of the head to tell is CONTAINER_LEGACY_HEAD bytes. */
enum { CONTAINER_LEGACY_HEAD = 24 };
enum container_match container_legacy_match(const uint8_t *p, size_t n);
int container_legacy(struct container_src *s);

#endif
