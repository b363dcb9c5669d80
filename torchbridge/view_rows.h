/*
 * view_rows.h: a document as rows: its tensors, arrays and values, one after the other, each with its path.
 *
 * The object is gone through from the root, depth first, by nodes: a container met again is one row, a
 * reference to its first place, so there are never more rows than places in containers.  A list, tuple or
 * set of nothing but scalars is one row, however long.  Nothing recurses; levels are TORCH_DEPTH_MAX at
 * most, and what lies deeper is one row that says so.
 */
#ifndef VIEW_ROWS_H
#define VIEW_ROWS_H

#include "bridge_doc.h"
#include "view_key.h"

enum view_row_kind {
	ROW_TENSOR,
	ROW_STORAGE,   /* by itself */
	ROW_ARRAY,     /* of numpy; also one that is not understood */
	ROW_ENTRY,     /* tensor of a safetensors file */
	ROW_NPY,       /* a .npy file or member */
	ROW_VALUE,     /* a scalar, a string or bytes */
	ROW_PAIR,      /* of the metadata of a safetensors file */
	ROW_SEQUENCE,  /* a list, tuple or set of scalars or nothing, or an empty dict */
	ROW_OBJECT,    /* an object of a class: its items follow */
	ROW_REFERENCE, /* a container that was met before */
	ROW_DEEP,      /* a container too deep to be gone into */
	ROW_OTHER,     /* a persistent id that is no storage */
};

struct view_row {
	enum view_row_kind kind;
	const uint8_t *path; /* not terminated, valid during the call */
	size_t path_len;
	size_t parent_len; /* bytes of it that are its container's path */
	bool numbered;     /* the container is an item of a list, or has a number for a key */
	bool attribute;    /* it is an attribute of an object */
	size_t group_len;  /* bytes of it that are the path of the container's container */

	const struct torch_file *file; /* torch's: NULL for the other kinds of documents */
	const struct torch_object *o;
	const struct torch_places *places;
	uint32_t node;  /* a value, no alias */
	bool again;     /* it was met before */
	uint32_t first; /* REFERENCE, or a TENSOR, STORAGE or ARRAY met before: its place; else PICKLE_NIL */
	const char *member; /* of a .distcp: its name, with which the path begins; else NULL */

	const struct safetensors *set; /* of ENTRY and PAIR */
	const struct safetensors_entry *entry;
	const struct safetensors_pair *pair;
	const struct npy_header *npy;
};

/* Calls emit for each row in order; non-zero stops and is returned. */
int view_rows(const struct bridge_doc *d, int (*emit)(void *arg, const struct view_row *row), void *arg);

/* What a tensor subclass keeps beside its tensor: a value; PICKLE_NIL: nothing. */
uint32_t view_tensor_state(const struct torch_object *o, uint32_t node);

#endif
