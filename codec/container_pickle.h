/*
 * container_pickle.h: a walk over the opcodes of one pickle, for the storages that it names.
 *
 * Nothing is built and nothing executed.  What a caller is told are the persistent ids by which torch names
 * storages, and short strings.
 */
#ifndef CONTAINER_PICKLE_H
#define CONTAINER_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "container_internal.h"

/* How a step ends, or -errno. PICKLE_BEYOND: written in a way that is not understood here. */
enum { PICKLE_ENDS = 0, PICKLE_ON = 1, PICKLE_BEYOND = 2 };

struct pickle_events {
	/*
	 * A storage of `bytes` bytes, named by the string whose hash is `key`; told each time it is referred to.
	 * NULL: an id is not to be expected here, and beyond us.
	 */
	int (*storage)(void *arg, uint64_t key, uint64_t bytes);
	/* A string: its hash; NULL where it is too long for a name or a word of torch's own. May be NULL. */
	int (*string)(void *arg, const uint64_t *key);
	void *arg;
};

/*
 * Walks from *pos to behind the pickle's STOP and sets *pos to there.  PICKLE_ON; PICKLE_ENDS when the file
 * ends before; PICKLE_BEYOND (also after reading up to read_max bytes of the file altogether); what an event
 * answered other than PICKLE_ON; -errno.
 */
int container_pickle(struct container_src *s, uint64_t *pos, uint64_t read_max, const struct pickle_events *events);

#endif
