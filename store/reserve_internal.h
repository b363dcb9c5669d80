/*
 * reserve_internal.h: the file `reserve`, bytes set aside for the moment when the disk is full.
 *
 * It is up to RESERVE_OPEN bytes while the store is open for changes, a sixteenth of a small disk, or, where less is free,
 * half of what is: a commit of meta.db needs no more than that (COMMIT_ROWS in meta_txn.c), and what frees space, a rename
 * or an unlink, must always find room.  A closed store keeps RESERVE_CLOSED of it, so that it can be opened again and cleaned
 * up on a disk that has filled meanwhile.
 *
 *   taken ---- a write meets a full disk ----> given up ---- reserve_tick() finds room ----> taken
 *
 * Any thread; the lock is innermost, and nobody waits for a sync with it held.
 */
#ifndef RESERVE_INTERNAL_H
#define RESERVE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { RESERVE_OPEN = 8 << 20, RESERVE_CLOSED = 1 << 20 };

struct reserve {
	const char *dir;         /* the store's path, borrowed */
	atomic_bool none;        /* it is given up, or never was there */
	atomic_bool short_of;    /* it is less than it should be */
	pthread_mutex_t lock;    /* guards the rest, and the size of the file */
	int fd;
	bool gone;               /* given up, and not as it should be since */
	int64_t given_ns;        /* CLOCK_MONOTONIC when it was given up last; 0 never */
};

/* With nothing set aside yet; `none` as given. */
void reserve_init(struct reserve *r, const char *dir, bool none);
/* Opens the file and sets aside what there is room for. 0, also where there is no room for a file; -errno: it can't be opened. */
int reserve_open(struct reserve *r);
/* Cuts the file. True: a write may find room now. False: there was nothing, so nothing is won. Keeps errno. */
bool reserve_give_up(struct reserve *r);
/* Sets aside again what is missing when there is room for it. Waits for nobody; cheap when nothing is missing. */
void reserve_tick(struct reserve *r);
/* With `keep`: leaves the file as it is (a store that failed); else cuts it to RESERVE_CLOSED. */
void reserve_close(struct reserve *r, bool keep);

/* Bytes free for us on the disk, and its size; false: it doesn't say, and counts as roomy. */
bool reserve_disk(const char *dir, uint64_t *avail, uint64_t *total);

#endif
