/*
 * codec_pages.c: large pages for large arrays.
 */
#include "codec/codec_pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE ((uintptr_t)2 << 20)

void codec_pages(void *p, size_t size)
{
	uintptr_t begin = ((uintptr_t)p + PAGE - 1) & ~(PAGE - 1), end = ((uintptr_t)p + size) & ~(PAGE - 1);

	if (size >= CODEC_PAGES_FROM && begin < end)
		madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

void *codec_pages_new(size_t size)
{
	size_t whole = size;
	void *p;

	if (size < CODEC_PAGES_FROM || size > SIZE_MAX / 2)
		return malloc(size);
	whole = (size + PAGE - 1) & ~(PAGE - 1);
	if (whole - size > size / 3)
		whole = size;
	if (posix_memalign(&p, PAGE, whole) != 0)
		return NULL;
	codec_pages(p, whole);
	return p;
}

void *codec_pages_zeros(size_t n, size_t size)
{
	void *p;

	if (n < CODEC_PAGES_FROM / size)
		return calloc(n, size);
	if (__builtin_mul_overflow(n, size, &n))
		return NULL;
	p = codec_pages_new(n);
	if (p != NULL)
		memset(p, 0, n);
	return p;
}
