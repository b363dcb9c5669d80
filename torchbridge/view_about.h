/*
 * view_about.h: what a file says about itself: its container, who wrote it, how far the training was.
 *
 * A framework is told by the keys at the root of the object (facts of each are in its own save function), or
 * by the class of the object; epoch and step are the whole numbers under the keys that frameworks use for
 * them.
 */
#ifndef VIEW_ABOUT_H
#define VIEW_ABOUT_H

#include "bridge_doc.h"

enum { VIEW_COUNTERS = 8 };

struct view_about {
	const char *kind;      /* "torch", "safetensors", "npy", "npz", "distcp" */
	const char *container; /* "zip", "torchscript", "legacy", "pickle"; NULL where kind says it all */
	const char *torch;     /* who wrote the zip: ">=2.1" or "<2.1"; NULL where it does not say */
	const char *byteorder; /* "little" where it says so, else NULL */
	const char *framework; /* NULL: not known */
	char version[64];      /* of the framework; "" */
	unsigned protocol;     /* of the pickle; 0: there is none */
	uint64_t pickle_bytes, records;
	struct {
		const char *name; /* "epoch", "global_step" */
		int64_t value;
	} counter[VIEW_COUNTERS];
	unsigned counters;
};

void view_about(const struct bridge_doc *d, struct view_about *out);

#endif
