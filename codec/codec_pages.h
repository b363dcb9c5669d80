/*
 * codec_pages.h: large pages for large arrays.
 *
 * What is known of a checkpoint with a hundred thousand tensors is some tens of MiB that are written once from the
 * first byte to the last.  A page of 4 KiB at a time, the kernel spends a quarter of the whole time on handing them
 * out; of 2 MiB each, next to nothing.
 */
#ifndef CODEC_PAGES_H
#define CODEC_PAGES_H

#include <stddef.h>

/* What is smaller is not worth it. */
#define CODEC_PAGES_FROM ((size_t)3 << 19)

/*
 * malloc() of an array that will be written soon: a large one begins where a large page does, and ends where one
 * does if that wastes little.  realloc() and free() take it.
 */
void *codec_pages_new(size_t size);
/* The same, of n items, all zero. */
void *codec_pages_zeros(size_t n, size_t size);

/*
 * Asks for large pages for p[0, size), which realloc() just made longer.  Does nothing for small ones, and where
 * the kernel has no such pages.
 */
void codec_pages(void *p, size_t size);

#endif
