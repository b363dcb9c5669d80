/*
 * torch_internal.h: struct torch_object, for those who fill it (torch_object.c) and read it (torch_value.c).
 */
#ifndef TORCH_INTERNAL_H
#define TORCH_INTERNAL_H

#include "codec/torch_object.h"

/* The classes and functions that are known by name. */
enum torch_known {
	KNOWN_NOT,
	KNOWN_TENSOR, /* _rebuild_tensor */
	KNOWN_TENSOR_V2,
	KNOWN_TENSOR_V3,
	KNOWN_PARAMETER, /* also _with_state */
	KNOWN_QTENSOR,
	KNOWN_SPARSE,
	KNOWN_SPARSE_CSR,
	KNOWN_META,
	KNOWN_NESTED,
	KNOWN_FROM_TYPE, /* _rebuild_from_type_v2 */
	KNOWN_WRAPPER,
	KNOWN_DEVICE_NUMPY, /* also _rebuild_xla_tensor */
	KNOWN_DEVICE_CPU,
	KNOWN_SIZE,
	KNOWN_DEVICE,
	KNOWN_LAYOUT,
	KNOWN_DTYPE,
	KNOWN_STORAGE,
	KNOWN_ORDERED_DICT,
	KNOWN_DEFAULT_DICT,
	KNOWN_COUNTER,
	KNOWN_DEQUE,
	KNOWN_DICT,
	KNOWN_LIST,
	KNOWN_SET,
	KNOWN_ENCODE, /* _codecs.encode */
	KNOWN_BYTES,
	KNOWN_BYTEARRAY,
	KNOWN_COMPLEX,
	KNOWN_NP_RECONSTRUCT,
	KNOWN_NP_SCALAR,
	KNOWN_NP_FROMBUFFER,
	KNOWN_NP_DTYPE,
	KNOWN_LOAD_BYTES, /* a storage as pickle.dump() writes it: a torch file inside a byte string */
};

/* The rest of the hash tells most keys apart without a look at them, wherever they lie. */
struct torch_key_place {
	uint32_t storage; /* number + 1; 0: free */
	uint32_t rest;
};

struct torch_object {
	const struct pickle *g; /* borrowed */
	uint8_t *known;         /* of each global: enum torch_known */
	uint8_t *dtype;         /* of a KNOWN_DTYPE or KNOWN_STORAGE */

	struct torch_storage *storage;
	uint32_t storages;
	struct torch_mention *mention;
	uint32_t mentions;
	struct torch_tensor *tensor;
	uint32_t tensors;
	uint64_t *dims;
	uint32_t dims_len;
	size_t storage_cap, mention_cap, tensor_cap, dims_cap;

	struct torch_key_place *place; /* hash table of storages by key; a power of 2 places */
	size_t places;
};

/* What the global that ref means is known as; KNOWN_NOT for all else. */
enum torch_known torch_known_of(const struct torch_object *o, uint32_t ref);

/* What the function or class of a call is known as, and the arguments when they are a tuple. */
enum torch_known torch_call_of(
		const struct torch_object *o, uint32_t ref, const uint32_t **args, uint32_t *count);

/* The elements of a tuple, a torch.Size or a list of one run; false for other values. */
bool torch_sequence(const struct torch_object *o, uint32_t ref, const uint32_t **child, uint32_t *count);

/* Room for `need` items of `size` bytes in the array that the pointer at p points to, *cap items long now. */
int torch_room(void *p, size_t *cap, size_t need, size_t size);

/* -EBADMSG with a message about the tensor that the node makes. */
int torch_bad(const struct torch_object *o, uint32_t node, const char *what);

/* Enters the tensor that a REDUCE makes, if it makes one; 0 or -errno. */
int torch_take_tensor(struct torch_object *o, uint32_t node);

#endif
