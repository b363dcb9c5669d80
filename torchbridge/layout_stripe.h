/*
 * layout_stripe.h: tensors whose order is not the file's, for those who read them from front to back; for
 * bridge_layout.c only.
 *
 * A piece of a transposed tensor is a little of every row of the file, so that each piece costs as much as the whole
 * tensor does: 128 KiB at a time, 190 MB are read 1,500 times.  When somebody goes through such a tensor in order, a
 * stripe of up to STRIPE_MAX bytes is made at once and kept, and what is asked next is copied from it.
 *
 * There are STRIPES of them in the whole process, whatever is open, which is all the memory this takes.  A stripe is given
 * back at the end of its tensor, with its layout, or to the next who needs one.  Who finds none reads without.
 */
#ifndef LAYOUT_STRIPE_H
#define LAYOUT_STRIPE_H

#include <stddef.h>
#include <stdint.h>

enum { STRIPE_MAX = 16 << 20, STRIPES = 2 };

/* One tensor of a layout. */
struct stripe_of {
	const void *layout;
	size_t number;  /* of its segment */
	uint64_t size;  /* bytes of it as it is shown */
	uint64_t block; /* bytes of the blocks that are best read whole; a divisor of `size` */
	/* Bytes [off, off + len) of it, made without a stripe. */
	int (*make)(void *arg, uint64_t off, uint8_t *dst, size_t len);
	void *arg;
};

/* Bytes [off, off + len) of the tensor. What make() fails with. */
int stripe_read(const struct stripe_of *of, uint64_t off, uint8_t *dst, size_t len);

/* The layout goes: nobody reads it any more. */
void stripe_forget(const void *layout);

#endif
