/*
 * container_pickle.c: reads a pickle for the walk, in windows, and leaves out what does not matter.
 */
#include "container_pickle.h"

int container_pickle(struct container_src *s, uint64_t *pos, uint64_t read_max, const struct pickle_events *events)
{
	struct pickle_walk w;
	uint64_t at = *pos;
	int rc = PICKLE_ENDS;

	pickle_walk_init(&w, events);
	while (rc == PICKLE_ENDS) {
		uint64_t skip = pickle_walk_skips(&w);
		const uint8_t *p;
		size_t n;

		if (skip > 0) {
			if (skip > s->size - at)
				break;
			at += skip;
			pickle_walk_skip(&w, skip);
			continue;
		}
		if (s->spent > read_max) {
			rc = PICKLE_BEYOND;
			break;
		}
		rc = container_window(s, at, &p, &n);
		if (rc <= 0)
			break;
		rc = pickle_walk_feed(&w, p, n, &n);
		at += n;
	}
	pickle_walk_release(&w);
	if (rc == PICKLE_ON)
		*pos = at;
	return rc;
}
