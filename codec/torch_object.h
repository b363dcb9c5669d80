/*
 * torch_object.h: what a pickle of torch's means: storages, tensors, devices, containers, objects.
 *
 * A graph (pickle_graph.h) says "call torch._utils._rebuild_tensor_v2 with these arguments".  Here such calls are
 * known by name, and read as the tensors they would make.  All others stay what they are: an object of a class,
 * with arguments, attributes and items.
 *
 * What a tensor claims is checked before anybody reads a byte: sizes, strides and offset are not negative, no
 * product overflows, and its last element lies inside its storage.  (How long a storage is in the file, the
 * container says: torch_file.h checks that.)  One that breaks this makes the whole object -EBADMSG, as torch
 * refuses to load it.  Sources: torch/_utils.py, torch/_tensor.py, torch/serialization.py of 1.13 and 2.13.
 *
 * Everything is found in one pass over the nodes.  A struct torch_object borrows the graph and does not change.
 */
#ifndef TORCH_OBJECT_H
#define TORCH_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/byte_buf.h"
#include "codec/pickle_graph.h"
#include "codec/torch_dtype.h"

enum {
	TORCH_DIMS_MAX = 64,
	TORCH_DEPTH_MAX = 1000, /* of places; what lies deeper is not walked */
};

/* A storage: one run of bytes that tensors look into. Known by its key, however often the pickle names it. */
struct torch_storage {
	const char *key, *location; /* not terminated */
	uint32_t key_len, location_len;
	enum torch_dtype dtype; /* of the class: elements are counted in it; TORCH_UNTYPED counts bytes */
	uint64_t count;         /* elements */
	uint64_t bytes;
	uint32_t first; /* number of its first mention */
};

/* One mention of a storage in the pickle. The refs are raw, for editing. */
struct torch_mention {
	uint32_t node;    /* the PERSID */
	uint32_t storage; /* number */
	uint32_t dtype_ref, key_ref, location_ref;
};

enum torch_tensor_kind {
	TORCH_STRIDED,
	TORCH_QUANTIZED,  /* strided, and a scale and zero point, whose nodes are `part` */
	TORCH_META,       /* no storage */
	TORCH_COO,        /* part: indices, values */
	TORCH_COMPRESSED, /* CSR, CSC, BSR, BSC; part: compressed indices, plain indices, values */
	TORCH_NESTED,     /* part: buffer, sizes, strides, or offsets */
	TORCH_COPY,       /* of a device without storages (xla); part: the tensor on the CPU */
	TORCH_WRAPPER,    /* a subclass that wraps others (DTensor); its data are in its state */
};

struct torch_tensor {
	uint32_t node;
	uint8_t kind;  /* enum torch_tensor_kind */
	uint8_t dtype; /* enum torch_dtype */
	uint8_t ndim;
	bool requires_grad : 1, parameter : 1, conj : 1, neg : 1;
	uint32_t storage; /* number; PICKLE_NIL: none */
	uint32_t dims;    /* torch_size(), torch_stride() */
	uint64_t offset;  /* into the storage, in elements of dtype */
	uint64_t count;   /* elements */
	uint32_t part[4]; /* nodes, by kind; else PICKLE_NIL */
};

struct torch_object;

/*
 * The graph must outlive the object.  most: bytes of memory it may take (a tuple of sizes may be many tensors'), 0 for no
 * bound.  -EBADMSG: a tensor that is none; -ENOTSUP: a storage of before torch 0.4; -EFBIG; -ENOMEM.
 */
int torch_object_new(const struct pickle *g, size_t most, struct torch_object **out);
void torch_object_free(struct torch_object *o);

const struct pickle *torch_graph(const struct torch_object *o);

/* Bytes of memory it takes, without the graph. */
size_t torch_object_memory(const struct torch_object *o);

uint32_t torch_storages(const struct torch_object *o);
const struct torch_storage *torch_storage_at(const struct torch_object *o, uint32_t number);
/* By key; PICKLE_NIL when there is none. */
uint32_t torch_storage_of_key(const struct torch_object *o, const char *key, size_t len);

uint32_t torch_mentions(const struct torch_object *o);
const struct torch_mention *torch_mention_at(const struct torch_object *o, uint32_t number);
/* The mention that the node means, raw or not; NULL when it is none. */
const struct torch_mention *torch_mention_of(const struct torch_object *o, uint32_t ref);

/*
 * Whether there are storages that are files of torch's inside byte strings, as pickle.dump() writes tensors: these are no
 * tensors here, and may be on any device.
 */
bool torch_inside(const struct torch_object *o);

/* All tensors in order of their nodes; a Parameter is one, and the tensor that it was made from another. */
uint32_t torch_tensors(const struct torch_object *o);
const struct torch_tensor *torch_tensor_at(const struct torch_object *o, uint32_t number);
const struct torch_tensor *torch_tensor_of(const struct torch_object *o, uint32_t ref);

/* ndim numbers each; strides only where there is a storage, in elements. */
const uint64_t *torch_size(const struct torch_object *o, const struct torch_tensor *t);
const uint64_t *torch_stride(const struct torch_object *o, const struct torch_tensor *t);

/* Whether its elements lie one after the other in row-major order (dimensions of 1 do not matter). */
bool torch_contiguous(const struct torch_object *o, const struct torch_tensor *t);

/* ---- values ---------------------------------------------------------------------------------------------------- */

enum torch_kind {
	TORCH_IS_NONE,
	TORCH_IS_BOOL,
	TORCH_IS_INT, /* INT or LONG of the graph */
	TORCH_IS_FLOAT,
	TORCH_IS_COMPLEX, /* a call with two floats */
	TORCH_IS_STR,
	TORCH_IS_BYTES, /* torch_bytes() */
	TORCH_IS_TENSOR,
	TORCH_IS_STORAGE,
	TORCH_IS_DTYPE,
	TORCH_IS_DEVICE, /* torch_device_text() */
	TORCH_IS_SIZE,   /* items are the dimensions */
	TORCH_IS_ARRAY,  /* numpy: torch_array() */
	TORCH_IS_SCALAR, /* numpy: torch_array() */
	TORCH_IS_DICT,   /* dict and OrderedDict, defaultdict, Counter */
	TORCH_IS_LIST,   /* list, deque */
	TORCH_IS_TUPLE,
	TORCH_IS_SET,    /* set, frozenset */
	TORCH_IS_GLOBAL, /* a class or function itself */
	TORCH_IS_OBJECT, /* anything else that a call made */
	TORCH_IS_OTHER,  /* a persistent id that is no storage */
};
enum torch_kind torch_kind_of(const struct torch_object *o, uint32_t ref);

/* Number of the class (or function) that made an object, for pickle_global_at(); -1 where no global did. */
int64_t torch_class_of(const struct torch_object *o, uint32_t ref);

/* How a value hangs on the one that holds it. */
enum torch_relation {
	TORCH_KEY,   /* of a dict: key is a raw ref */
	TORCH_INDEX, /* of a list, tuple or set: key is a number */
	TORCH_ATTR,  /* an attribute: key is the raw ref of its name */
	TORCH_ARG,   /* an argument of the call that made an object: key is a number */
	TORCH_STATE, /* the state of an object that is no dict of attributes */
};

struct torch_item {
	enum torch_relation relation;
	uint32_t key;
	uint32_t value; /* raw ref */
};

/* Goes through what a value holds, in order; nothing for values that hold nothing. */
struct torch_iter {
	const struct torch_object *o;
	const uint32_t *child; /* of a tuple, or arguments: gone through first */
	uint32_t count, child_at;
	struct pickle_fill fill, attrs; /* then fills; and inside one, the attributes in a state */
	bool fill_on, attrs_on;
	uint32_t at, attrs_at;
	uint32_t rest;  /* a value whose fills come next */
	uint32_t slots; /* a second dict of attributes that comes next */
	uint32_t index;
	enum torch_relation relation; /* of `child` */
};
void torch_iter_init(const struct torch_object *o, uint32_t ref, struct torch_iter *it);
bool torch_iter_next(struct torch_iter *it, struct torch_item *item);

/* The value under the STR key `key` of a DICT, or the attribute of an object, raw; PICKLE_NIL: none. The last counts. */
uint32_t torch_lookup(const struct torch_object *o, uint32_t ref, const char *key);

/* Appends the bytes of a BYTES value, however its protocol wrote it; -EINVAL for other values. */
int torch_bytes(const struct torch_object *o, uint32_t ref, struct byte_buf *out);

/* "cuda:1", terminated; false when ref is no device or does not fit. */
bool torch_device_text(const struct torch_object *o, uint32_t ref, char *out, size_t room);

/* A numpy array or scalar (ndim 0) of a plain dtype. data: BYTES value, or PICKLE_NIL. */
struct torch_array {
	char descr[16];
	uint32_t ndim;
	uint64_t size[TORCH_DIMS_MAX];
	bool fortran;
	uint32_t data;
};
/* False when it is written in a way that is not known here (structured, of objects). */
bool torch_array(const struct torch_object *o, uint32_t ref, struct torch_array *out);

/* ---- places ---------------------------------------------------------------------------------------------------- */

/*
 * Where in the object a tensor, a storage or a container is first met, from the root on, in order.  Leaves of other
 * kinds have no place: they are found by going through their container.
 */
struct torch_place {
	uint32_t node;    /* a value, no alias */
	uint32_t parent;  /* number of a place; PICKLE_NIL at the root */
	uint32_t key;     /* as in struct torch_item */
	uint8_t relation; /* enum torch_relation */
	uint8_t kind;     /* enum torch_kind */
	uint16_t depth;
};

struct torch_places;
int torch_places_new(const struct torch_object *o, struct torch_places **out);
void torch_places_free(struct torch_places *p);
/* Bytes of memory they take. */
size_t torch_places_memory(const struct torch_places *p);
uint32_t torch_place_count(const struct torch_places *p);
const struct torch_place *torch_place_at(const struct torch_places *p, uint32_t number);
/* Whether something lay deeper than TORCH_DEPTH_MAX and was left out. */
bool torch_places_cut(const struct torch_places *p);

/*
 * Appends the path of a place: keys and indices joined by '.', "" for the root.  A key that is no string or number
 * is written as <tuple>, <object>, or <tensor N>, where N is its storage's key.  Keys stand as they are, with dots and slashes if they have some.
 */
int torch_place_path(const struct torch_places *p, uint32_t number, struct byte_buf *out);

#endif
