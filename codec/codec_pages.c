/*
 * codec_pages.c: large pages for large arrays.
 */
#include "codec/codec_pages.h"

#include <stdint.h>
#include <sys/mman.h>

#define PAGE ((uintptr_t)2 << 20)

void codec_pages(void *p, size_t size)
{
	uintptr_t begin = ((uintptr_t)p + PAGE - 1) & ~(PAGE - 1), end = ((uintptr_t)p + size) & ~(PAGE - 1);

	if (size >= CODEC_PAGES_FROM && begin < end)
		madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}
