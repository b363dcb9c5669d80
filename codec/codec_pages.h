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

/*
 * Asks for large pages for p[0, size), which was just allocated and is not written yet.  Does nothing for arrays of
 * less than CODEC_PAGES_FROM, and where the kernel has no such pages.
 */
#define CODEC_PAGES_FROM ((size_t)4 << 20)
void codec_pages(void *p, size_t size);

#endif
