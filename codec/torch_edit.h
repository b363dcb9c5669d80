/*
 * torch_edit.h: the edits (pickle_edit.h) that move an object to another device, or its storages to another
 * dtype.
 *
 * Which storage goes where is the caller's policy; here is where a pickle says it: the location of each
 * mention of a storage; torch.device objects; the device argument of the three functions that rebuild tensors
 * on devices without storages.  A device named in a user's string is the user's and stays; so does the device
 * of a torch.Generator, whose state is for that device only.
 */
#ifndef TORCH_EDIT_H
#define TORCH_EDIT_H

#include "codec/pickle_edit.h"
#include "codec/torch_object.h"

struct torch_edit_rule {
	/*
	 * The new location of a storage ("cpu", "cuda:1"), or NULL to leave it. One answer for one storage.
	 */
	const char *(*storage)(void *arg, uint32_t storage);
	/* The same for a device that is named elsewhere, as its text; may be NULL to leave them all. */
	const char *(*device)(void *arg, const char *device);
	void *arg;
};
int torch_edit_devices(
		const struct torch_object *o, const struct torch_edit_rule *rule, struct pickle_edits *e);

/*
 * dtype(arg, storage) answers the enum torch_dtype a storage's class becomes, or -1 to leave it.  The count
 * of elements stays, so the record's length changes.  -EINVAL for a storage without a class of its own
 * (untyped), and for a dtype that has none.
 */
int torch_edit_dtypes(const struct torch_object *o, int (*dtype)(void *arg, uint32_t storage), void *arg,
		struct pickle_edits *e);

/*
 * The dtype of tensors that carry it beside their data, or have no data: on the meta device, copies from
 * devices without storages, wrappers.  dtype(arg, was) answers as above, for an enum torch_dtype.
 */
int torch_edit_bare_dtypes(const struct torch_object *o, int (*dtype)(void *arg, enum torch_dtype was),
		void *arg, struct pickle_edits *e);

/* Storage i gets the decimal number key[i] for a key, unless that is PICKLE_NIL. */
int torch_edit_keys(const struct torch_object *o, const uint32_t *key, struct pickle_edits *e);

/*
 * What a legacy file says otherwise than a zip, said as in a zip: for pickle_write().  The id of a storage
 * loses its sixth element; the id that keeps a module class with its source code becomes the class.
 */
int torch_edit_ids(const struct torch_object *o, struct pickle_edits *e);

#endif
