/*
 * bridge_tree.h: a checkpoint as a directory (@tree).
 *
 * Dicts, lists, tuples, sets and objects are directories, tensors and numpy arrays are `NAME.npy`, numbers,
 * strings, None and the like are `NAME` text files (a line each, numbers as Python prints them; bytes as
 * they are).  A file that is one tensor has it as `tensor.npy`, one that is a number or a string as `value`.
 * bf16 and float8 are `.npy` of `<V2` and `|V1`, which ml_dtypes reads; complex32 is `<V4`.  A tensor that
 * lies by columns says so (fortran_order); one that is conjugated or negated by a mark is shown with its
 * true values.
 *
 * What no single array holds is a directory, its parts named as torch names them:
 *
 *   quantized    values.npy (int_repr; storage.npy if packed) qscheme scale zero_point;
 *                scale.npy zero_point.npy axis by channels
 *   sparse       layout indices.npy values.npy;
 *                crow_indices.npy col_indices.npy, or ccol_ and row_, values.npy
 *   nested       buffer.npy sizes.npy strides.npy offsets.npy          meta        device
 *   a subclass that wraps others: %class state/                        all of them dtype size
 *
 * An object of a class has its attributes, items and arguments (`args.N`), and `%class`, the class's name.
 * The directory of an .npz has its members, of a .distcp its items by number, of a safetensors file its
 * tensors and `__metadata__/`.
 *
 * Names are keys, escaped reversibly (name_escape.h): bytes that are '/', '%', control characters or no
 * UTF-8, and the leading '.' of "." and "..", stand as %XX; the empty key is `%`; a tuple is written as
 * Python does; two keys that would share a name (1 and "1") or a name longer than 255 bytes end in "%~" and
 * their number in the directory, before ".npy". A value that is met again (sharing, cycles) is shown in its
 * shallowest place, and as a symlink to there elsewhere; so are bytes and integers that are too long to be looked at a
 * million times (view_scalar.h), while short ones are files in each place.  What lies deeper than TORCH_DEPTH_MAX, or is
 * written in no known way, is a text file with its class in <>.
 *
 * Nodes are numbers of the document's own; the tree is walked by them without a path being followed twice.
 * Memory is some 16 bytes a name, and as much again for the table of a directory that has been looked into;
 * finding a name takes the same time in a directory of any size.  Any number of threads may use a tree at
 * once.
 */
#ifndef BRIDGE_TREE_H
#define BRIDGE_TREE_H

#include <sys/stat.h>

#include "bridge_doc.h"
#include "bridge_layout.h"

struct bridge_tree;

/*
 * Made from a document that outlives it.  dtype: enum torch_dtype that floats become, or -1; by the rule of
 * dtypes in bridge_view.h, arrays of numpy stay as they are.  -EBADMSG, -EFBIG, -ENOMEM.
 */
int bridge_tree_new(const struct bridge_doc *d, int dtype, struct bridge_tree **out);
void bridge_tree_free(struct bridge_tree *t);
size_t bridge_tree_memory(const struct bridge_tree *t);

struct bridge_node {
	mode_t type;     /* S_IFDIR, S_IFREG, S_IFLNK */
	uint64_t size;   /* of a file, exact; of a link its length */
	uint64_t number; /* unlike any other of this tree */
};

/*
 * "" is the root. -ENOENT, -ENOTDIR; -EFBIG for an array that would be larger than any file. Reads nothing.
 */
int bridge_tree_find(const struct bridge_tree *t, const char *path, codec_read_at read, void *arg,
		struct bridge_node *out);
/* Entries in the object's order; emit non-zero stops and is returned. */
int bridge_tree_list(const struct bridge_tree *t, const char *path,
		int (*emit)(void *e, const char *name, size_t len, mode_t type), void *e);
/*
 * A file's content, source 0 is the document's file. -EISDIR; -ELOOP for a link; -EBADMSG: an array with
 * other data than it says.
 */
int bridge_tree_open(const struct bridge_tree *t, const char *path, codec_read_at read, void *arg,
		struct bridge_layout **out);
/* Where a link points, relative to the directory that it is in; appended. -EINVAL: no link. */
int bridge_tree_link(const struct bridge_tree *t, const char *path, struct byte_buf *out);

#endif
