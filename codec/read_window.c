/*
 * read_window.c: small reads that lie close to one another, as a few larger ones.
 */
#include "codec/read_window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum { SMALL = 4096 }; /* larger reads go past the window */

int read_window_new(codec_read_at read, void *arg, struct read_window **out)
{
	struct read_window *w = malloc(sizeof *w);

	if (w == NULL)
		return ckpt_fail(ENOMEM, "out of memory for reading a file");
	w->read = read;
	w->arg = arg;
	w->begin = w->end = 0;
	w->have = 0;
	*out = w;
	return 0;
}

int64_t read_window_read(void *arg, uint64_t off, void *buf, size_t len)
{
	struct read_window *w = arg;
	int64_t n;

	if (len > SMALL)
		return w->read(w->arg, off, buf, len);
	if (off < w->begin || off > UINT64_MAX - len || off + len > w->begin + w->have) {
		bool near = off >= w->end && off - w->end < READ_WINDOW / 8;

		w->have = 0;
		w->begin = off;
		if (!near) {
			w->end = off + len;
			return w->read(w->arg, off, buf, len);
		}
		n = w->read(w->arg, off, w->bytes, READ_WINDOW);
		if (n < 0 || n > READ_WINDOW)
			return n < 0 ? n : -EIO;
		w->have = (size_t)n;
		w->end = off + w->have;
	}
	len = w->begin + w->have - off < len ? (size_t)(w->begin + w->have - off) : len;
	memcpy(buf, w->bytes + (off - w->begin), len);
	return (int64_t)len;
}
