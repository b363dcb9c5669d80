/*
 * ticker.h: housekeeping of a store that a command has opened for itself.
 *
 * What a mount does once a second (store_tick: commits, staged chunks moved on, the write-ahead log copied and kept
 * short, garbage collected when space runs short) has to be done here too, or a long import keeps all that it
 * writes twice until its end.
 */
#ifndef TICKER_H
#define TICKER_H

struct store;
struct ticker;

/* Calls store_tick() once a second, from a thread of its own, until ticker_stop(). The store is borrowed. -ENOMEM, -EAGAIN. */
int ticker_start(struct store *s, struct ticker **out);
/* Waits for the thread. To be called before the store is closed. NULL is fine. */
void ticker_stop(struct ticker *t);

#endif
