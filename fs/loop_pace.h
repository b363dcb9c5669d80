/*
 * loop_pace.h: is it worth looking out for the next request instead of sleeping?
 *
 * A thread that sleeps on a processor that then halts is woken at the cost of 10 to 50 us, more than most
 * requests take.  Who makes one request after another (a save of small files, a walk through a tree, a log)
 * makes the next a few microseconds after the answer.  So the thread that reads requests (fuse_loop.c)
 * looks out for the next one for a moment, but only
 *
 *   - while requests lately followed one another quickly: after LOOP_PACE_QUICK_MIN of them in a row.  When
 *     none comes in time, the count begins anew and goes up to twice as many, until it was worth it again;
 *   - and nobody else needs the processor: else not for a while, which is doubled when it happens again soon.
 *
 * So at rest nothing is used, little is wasted on requests that come almost quickly enough or from a client
 * that shares our processor, and processors that are wanted by others are left to them.
 *
 * Times are of any one monotonic clock, in nanoseconds.  Not locked: it belongs to who leads.
 */
#ifndef LOOP_PACE_H
#define LOOP_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum {
	LOOP_PACE_WATCH_NS = 40000,      /* how long to look out for a request */
	LOOP_PACE_GAP_NS = 60000,        /* from an answer to the next request, which may have had to wake us */
	LOOP_PACE_QUICK_MIN = 4,         /* quick ones in a row before it is worth it: at first, at most */
	LOOP_PACE_QUICK_MAX = 256,
	LOOP_PACE_CROWD_NS = 200000,     /* kept from the processor for so long: somebody else needs it */
	LOOP_PACE_REST_MIN_NS = 100000000,
	LOOP_PACE_REST_MAX_NS = 1600000000,
};

struct loop_pace {
	int64_t answered;                /* when the last request was */
	int64_t rest_until, rest;        /* others may have the processor, and for how long they got it last */
	unsigned quick;                  /* requests in a row, at most LOOP_PACE_QUICK_MAX */
	unsigned needed;                 /* for it to be worth it; 0: as at first */
};

/* A request was read, or has been answered. */
void loop_pace_arrived(struct loop_pace *p, int64_t now);
void loop_pace_answered(struct loop_pace *p, int64_t now);
/* Before sleeping: until when to look out for a request; `now` or earlier: not at all. */
int64_t loop_pace_watch_until(const struct loop_pace *p, int64_t now);
/*
 * Looked at `before` and, with nothing in between, again at `now`: true when the time went to somebody else, who
 * is to have the processor.  (Whether a request is there by now does not matter: it has waited.)
 */
bool loop_pace_crowded(struct loop_pace *p, int64_t before, int64_t now);
/* Nothing came while looking out. */
void loop_pace_in_vain(struct loop_pace *p);

#endif
