/*
 * container_pickle.h: one pickle of a file, walked (pickle_walk.h).
 */
#ifndef CONTAINER_PICKLE_H
#define CONTAINER_PICKLE_H

#include <stddef.h>
#include <stdint.h>

#include "container_internal.h"
#include "pickle_walk.h"

/*
 * Walks from *pos to behind the pickle's STOP and sets *pos to there.  PICKLE_ON; PICKLE_ENDS when the file
 * ends before; PICKLE_BEYOND (also after reading up to read_max bytes of the file altogether); what an event
 * answered other than PICKLE_ON; -errno.
 */
int container_pickle(struct container_src *s, uint64_t *pos, uint64_t read_max, const struct pickle_events *events);

#endif
