/*
 * gather_internal.h: writes that follow one another in a file, made one.
 *
 * SQLite writes page by page; a file takes the same bytes at a third of the cost when they come in large pieces (512 MiB
 * through ext4: 0.30 s of CPU by 8 KiB, 0.20 s by 64 KiB).  What is gathered is handed on when the next write does not
 * follow, when there is no room, or when the owner says so: before he reads there, syncs, truncates or asks for the size.
 *
 * No lock: whoever serialises the file's owner serialises this.  A `struct gather` of zeros gathers nothing.
 */
#ifndef GATHER_INTERNAL_H
#define GATHER_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

struct gather {
	uint8_t *bytes;   /* not yet handed on; NULL: every write goes straight through */
	int64_t at;       /* where they belong */
	int n, cap;
	bool forget;      /* what a failed gather_write() or gather_end() held is dropped, not kept for the next try */
};

/* Hands bytes on; an SQLite result code. */
typedef int (*gather_write_fn)(void *arg, const void *buf, int n, long long off);

/*
 * forget: right for a database with a rollback journal, where SQLite answers a failed write by undoing the whole
 * transaction, and has to be able to write what was there before; not for a log, whose frames count or not by themselves.
 * False: no memory.
 */
bool gather_init(struct gather *g, int cap, bool forget);
void gather_free(struct gather *g);

/* Whether bytes in [off, off + n) are held back. */
bool gather_touches(const struct gather *g, int n, int64_t off);

/* Each gives an SQLite result code, of this write or of an earlier one that had been held back. */
int gather_write(struct gather *g, const void *buf, int n, int64_t off, gather_write_fn write, void *arg);
/* Before something else is written or made durable: nothing is held any more. */
int gather_end(struct gather *g, gather_write_fn write, void *arg);
/* The same before a read, whose failure undoes nothing: keeps what could not be written. */
int gather_flush(struct gather *g, gather_write_fn write, void *arg);

#endif
