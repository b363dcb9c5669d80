/*
 * codec_version.h: which libraries the codecs stand on, for `ckptfs version`.
 */
#ifndef CODEC_VERSION_H
#define CODEC_VERSION_H

#include <stddef.h>

struct codec_library {
	const char *name;
	const char *version; /* of the library that is loaded, not of its headers */
};

/* The i-th library, from 0: 1, or 0 when there are no more. Strings live as long as the process. */
int codec_library(size_t i, struct codec_library *out);

#endif
