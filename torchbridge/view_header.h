/*
 * view_header.h: a safetensors file being put together: names, the header, and the layout of the data.
 *
 *   u64 n | n bytes of JSON, padded with spaces to 8 | data
 *
 * Data stand by the width of their elements, widest first, and otherwise in the order of adding: without
 * gaps, which the format forbids, each tensor is aligned to its elements, as the library's own writer does
 * it.
 *
 * Names are unique: one that is taken already gets "~2", "~3", .. behind it; so does "__metadata__", which is
 * no tensor's. Keys of the metadata come under the same rule, with the names ("format" of the metadata is
 * entered first and taken).  Texts are made valid UTF-8: what is none becomes U+FFFD.
 */
#ifndef VIEW_HEADER_H
#define VIEW_HEADER_H

#include "bridge_layout.h"
#include "codec/byte_buf.h"
#include "codec/torch_dtype.h"

struct view_header_tensor {
	const char *dtype;         /* the format's name for what it becomes */
	enum torch_dtype from, to; /* equal where nothing is converted; TORCH_UNTYPED for bytes as they are */
	bool conj, neg;
	uint32_t ndim;
	const uint64_t *size;   /* borrowed until view_header_finish(), as `stride` is */
	const uint64_t *stride; /* NULL: one after the other */
	uint64_t off;           /* of the first element in source 0 */
	uint64_t bytes;         /* in the new file */
	bool packed;            /* the last of its sizes counts pairs: the format counts elements */
	bool twin;              /* an element is two of the format's: one more dimension, of 2 */
};

struct view_header;

int view_header_new(struct view_header **out);
void view_header_free(struct view_header *h);

/*
 * Adds a tensor, or a pair of metadata. -EFBIG: more than the format's 100,000,000 bytes of header, or 2^20
 * of them.
 */
int view_header_add(struct view_header *h, const char *name, size_t len, const struct view_header_tensor *t);
int view_header_pair(
		struct view_header *h, const char *key, size_t key_len, const char *value, size_t value_len);

/* Whether the name is taken. */
bool view_header_has(const struct view_header *h, const char *name, size_t len);

/* Appends header and data to the layout. */
int view_header_finish(struct view_header *h, struct bridge_layout *l);

#endif
