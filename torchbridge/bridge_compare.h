/*
 * bridge_compare.h: two checkpoints side by side (`ckptfs diff`): which tensors differ, and by how much.
 *
 * Tensors, arrays and values are matched by their path in the object, whatever the two files' formats are: a
 * torch file and the safetensors file made of it have the same paths.  What only one has is told so.  Numbers
 * are compared as numbers where shapes are equal, also of different dtypes; what else there is (strings,
 * sequences, arrays inside a pickle) by its text, of which long ones end in a hash.  On which device a tensor
 * was, and how it lay in memory, is no difference.
 *
 * A tensor is read in pieces of 1 MiB: once where the two are equal, once more from the start when a
 * difference turns up, and not at all where they are known to be the same. Memory: some 100 bytes for each
 * row of the second document, and four pieces.
 */
#ifndef BRIDGE_COMPARE_H
#define BRIDGE_COMPARE_H

#include "bridge_doc.h"
#include "bridge_math.h"

enum bridge_change {
	BRIDGE_EQUAL,
	BRIDGE_DIFFERS,
	BRIDGE_ONLY_A,
	BRIDGE_ONLY_B,
	BRIDGE_OTHER_SHAPE,
	BRIDGE_UNKNOWN, /* not compared: values that are not understood, or nested too deep */
};

struct bridge_difference {
	const char *path; /* terminated; "" is the root. Bytes as in the file: escape them for a terminal */
	enum bridge_change change;
	const char *a, *b; /* "float32[512, 3, 3]", or a scalar's text; NULL where there is none */
	/*
	 * Of tensors of numbers that differ; else NULL. With unequal == 0 they differ in bits only: in their
	 * dtype, in signs of zeros, in NaNs.
	 */
	const struct bridge_distance *distance;
};

struct bridge_side {
	const struct bridge_doc *doc;
	codec_read_at read;
	void *arg;
	/*
	 * Of the first side, where both may share what they keep; else NULL.  How many bytes, at most len, from
	 * off of the file and from other_off of the second side's (its arg) are known to be the same; these are
	 * not read then. 0: not known. -errno.
	 */
	int64_t (*same)(void *arg, uint64_t off, void *other, uint64_t other_off, uint64_t len);
};

/*
 * Calls tell for each path in A's order, then for those only B has; non-zero stops and is returned. Texts are
 * valid during the call. Fails with what reading failed with, -EIO for a file that became shorter, -ENOMEM.
 */
int bridge_compare(const struct bridge_side *a, const struct bridge_side *b,
		int (*tell)(void *arg, const struct bridge_difference *d), void *arg);

#endif
