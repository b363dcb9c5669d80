/*
 * view_scalar.h: single values of an object as text, the way Python prints them.
 *
 *   None  True  42  0.1  1e-05  nan  (1+2j)  torch.float32  cuda:0  torch.Size([2, 3])  os.system
 *
 * Numbers read back as the same value.  An integer of more than VIEW_DECIMAL_MAX bytes is written in
 * hexadecimal (0x...), which takes time linear in its length.
 */
#ifndef VIEW_SCALAR_H
#define VIEW_SCALAR_H

#include <stdbool.h>

#include "codec/byte_buf.h"
#include "codec/torch_object.h"

enum {
	VIEW_DECIMAL_MAX = 1024,
	VIEW_FEW = 4096, /* bytes: what is written in no more may be looked at any number of times */
};

/*
 * Whether an integer or bytes are so long that they should be looked at only where they are first met: a
 * pickle may refer to the same megabyte a million times.
 */
bool view_is_long(const struct torch_object *o, uint32_t ref);

/* Whether view_scalar() writes it: all that hold no other values, but strings and bytes. */
bool view_is_scalar(const struct torch_object *o, uint32_t ref);

/* Appends the text of a scalar; -EINVAL for other values. */
int view_scalar(const struct torch_object *o, uint32_t ref, struct byte_buf *out);

/* Appends the shortest text that reads back as v: of a float of 64 bits, or of 32. */
int view_float(double v, bool single, struct byte_buf *out);

/* Appends "module.name" of a global, no more than VIEW_FEW bytes of each. */
int view_global(const struct pickle_global *g, struct byte_buf *out);

/* What an object is of: its class, or what the value itself is ("dict"); appended. */
int view_class(const struct torch_object *o, uint32_t ref, struct byte_buf *out);

/* A numpy dtype's kind and width: false for those that have no fixed one. "<f4" is 'f', 4. */
bool view_descr(const char *descr, char *kind, uint64_t *width);

#endif
