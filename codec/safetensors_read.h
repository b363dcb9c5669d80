/*
 * safetensors_read.h: the header of a safetensors file.
 *
 *   u64 n | n bytes of JSON, padded with spaces | data
 *   {"__metadata__": {"format": "pt"}, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 *
 * The rules are those of the safetensors library (0.8.0): n <= 100,000,000; a JSON object (after spaces, perhaps);
 * values of __metadata__ are strings; sorted by offset the tensors have no gap and no overlap and end where the file
 * ends; the length of each is what dtype and shape say; of equal names the last counts; fields nobody knows are
 * passed over.
 *
 * Memory: the header, some 100 bytes a tensor.  Texts are UTF-8, unescaped and terminated (a NUL in a name counts in
 * its length).
 */
#ifndef SAFETENSORS_READ_H
#define SAFETENSORS_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/codec_container.h"

#define SAFETENSORS_READ_MAX UINT64_C(100000000)

enum { SAFETENSORS_DIMS_MAX = 64, SAFETENSORS_TENSORS_MAX = 1 << 22 };

struct safetensors_entry {
	const char *name, *dtype;
	uint32_t name_len;
	uint8_t ndim;
	uint8_t bits;      /* of an element: 4 to 128 */
	uint32_t dims;     /* safetensors_size() */
	uint64_t off, len; /* off: in the file */
};

struct safetensors_pair {
	const char *key, *value;
	uint32_t key_len, value_len;
};

struct safetensors;

/*
 * Reads the header of the first `size` bytes of a file.  -EINVAL: no safetensors file; -EBADMSG: one that breaks a
 * rule; -EFBIG: more than SAFETENSORS_TENSORS_MAX tensors; -ENOMEM; what the callback failed with.
 */
int safetensors_open(codec_read_at read, void *arg, uint64_t size, struct safetensors **out);
void safetensors_free(struct safetensors *s);

/* Bytes of memory it takes. */
size_t safetensors_memory(const struct safetensors *s);

/* In the order of their data. */
size_t safetensors_count(const struct safetensors *s);
const struct safetensors_entry *safetensors_at(const struct safetensors *s, size_t i);

/* ndim numbers. */
const uint64_t *safetensors_size(const struct safetensors *s, const struct safetensors_entry *x);

/* Of __metadata__, in order. */
size_t safetensors_pairs(const struct safetensors *s);
const struct safetensors_pair *safetensors_pair_at(const struct safetensors *s, size_t i);

/* Where the data begin. */
uint64_t safetensors_data(const struct safetensors *s);

/* Bits of an element of that dtype ("F32"), or 0 for a name that is none. */
unsigned safetensors_bits(const char *dtype);

#endif
