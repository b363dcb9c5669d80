/*
 * view_key.h: keys of dicts as text, and paths made of them.
 *
 * A string stands as it is, a number, bool, None or dtype as Python prints it, a tuple of such as
 * ('encoder', 0), a tensor (an optimizer object keeps its state by parameter) as <tensor KEY> with its
 * storage's key, all else as <object>.  A path is keys joined by '.'; "" is the root.
 */
#ifndef VIEW_KEY_H
#define VIEW_KEY_H

#include "codec/byte_buf.h"
#include "codec/torch_object.h"

enum {
	VIEW_KEY_MAX = 512,   /* bytes that one key adds to a path; more are left out, with "..." */
	VIEW_PATH_MAX = 4096, /* bytes of a path; what is deeper ends in "..." */
};

/*
 * Appends the text of a key of a dict or of an attribute, of a long one a little more than VIEW_KEY_MAX
 * bytes. -ENOMEM.
 */
int view_key(const struct torch_object *o, uint32_t key, struct byte_buf *out);

/* Appends ".key" (or "key" to an empty path) for an item; keeps to VIEW_KEY_MAX and VIEW_PATH_MAX. */
int view_path_add(const struct torch_object *o, const struct torch_item *item, size_t start,
		struct byte_buf *path);

/* Appends the path of a place, as view_path_add() makes it from the root on. */
int view_path(const struct torch_object *o, const struct torch_places *p, uint32_t place,
		struct byte_buf *out);

#endif
