/*
 * read_window.h: small reads that lie close to one another, as a few larger ones.
 *
 * The hundred thousand local headers of a zip of small tensors are 30 bytes each, some hundred bytes apart: one call
 * for each costs more than all that is done with them.  A window is put between the reader and its callback.  It
 * reads ahead only where the last reads lay close together, so that headers with gigabytes between them cost what
 * they did.
 */
#ifndef READ_WINDOW_H
#define READ_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/codec_container.h"

enum { READ_WINDOW = 1 << 16 };

struct read_window {
	codec_read_at read; /* what is behind it */
	void *arg;
	uint64_t begin, end; /* what of the file is in `bytes`, or was read last */
	size_t have;
	uint8_t bytes[READ_WINDOW];
};

/* On the heap; -ENOMEM. Given back with free(). For one thread. */
int read_window_new(codec_read_at read, void *arg, struct read_window **out);

/* A codec_read_at whose argument is the window. */
int64_t read_window_read(void *arg, uint64_t off, void *buf, size_t len);

#endif
