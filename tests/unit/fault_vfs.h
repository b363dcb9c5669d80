/*
 * fault_vfs.h: a disk in memory below SQLite, for tests: it remembers what reached it in which order, can lose its power
 * at any point of that, and fails on demand.
 *
 * The VFS is named FAULT_VFS and keeps its files on the disk that is in use (disk_use()).  It behaves as SQLite's unix
 * VFS on Linux does: writes and truncations wait for a sync, names for a sync of the directory, which a new journal
 * or WAL gets with its first sync and a deletion when SQLite asks for it; an overwrite changes no byte beside it
 * (SQLITE_IOCAP_POWERSAFE_OVERWRITE).
 *
 * All functions may be called from any thread; a disk is freed when nothing on it is open.
 */
#ifndef FAULT_VFS_H
#define FAULT_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULT_VFS "fault"

/* Registers the VFS. 0 or SQLite's error. */
int fault_vfs_register(void);

/* --- disks ---------------------------------------------------------------------------------------- */

struct disk;

struct disk *disk_new(void);
struct disk *disk_copy(const struct disk *d); /* its files as they are; an empty log */
void disk_free(struct disk *d);
void disk_use(struct disk *d);                /* files are opened there from now on */

/* How many writes, syncs and so on reached it. */
size_t disk_events(const struct disk *d);
/* A sync of the directory that SQLite knows nothing of. */
void disk_sync_dir(struct disk *d);
/*
 * The disk has room for so many bytes, of which beside() are taken by others (0: no limit); growing beyond fails with
 * SQLITE_FULL.
 */
void disk_limit(struct disk *d, uint64_t bytes, uint64_t (*beside)(void));
/* Bytes of its files. */
uint64_t disk_used(const struct disk *d);
/*
 * Makes real files in `dir` with the sizes and first bytes of the disk's databases and
 * journals, for those who look at them beside SQLite.
 */
int disk_mirror(const struct disk *d, const char *dir);

/* --- power cuts ----------------------------------------------------------------------------------- */

/*
 * What of the writes that no sync covered is on the disk afterwards.  A sector holds what some prefix of the writes to
 * it made of it, the size of a file follows some prefix of the events, each name some prefix of what was done to it.
 */
enum cut_mode {
	CUT_ALL,     /* everything: as when only the process dies */
	CUT_NONE,    /* nothing */
	CUT_PREFIX,  /* everything up to some event, which is torn */
	CUT_FILES,   /* for each file all or nothing */
	CUT_SECTORS, /* for each sector of 4096 bytes, on its own */
	CUT_TORN,    /* the same of 512 bytes */
	CUT_GARBAGE, /* the same; what was never written below the new size of a file is noise instead of zeros */
	CUT_MODES
};
extern const char *const cut_name[CUT_MODES];

/* Walks the events of a disk forwards. */
struct replay;
struct replay *replay_new(const struct disk *d);
/* Of a disk that began as disk_copy() of `first`. */
struct replay *replay_on(const struct disk *first, const struct disk *d);
void replay_free(struct replay *r);
/* The disk as it may be when the power goes after the first `events` events (never fewer than in the call before). */
struct disk *replay_cut(struct replay *r, size_t events, enum cut_mode mode, uint64_t seed);

/* --- faults --------------------------------------------------------------------------------------- */

enum fault_kind {
	FAULT_READ, FAULT_WRITE,
	FAULT_GROW,      /* a write that makes a file longer */
	FAULT_SYNC,      /* what it should have covered counts as lost, whatever syncs follow */
	FAULT_TRUNCATE, FAULT_OPEN, FAULT_DELETE,
	FAULT_ALLOC, FAULT_SQLITE_ALLOC, /* asked for by whoever wraps an allocator: fault_strikes() */
	FAULT_KINDS
};
struct fault_plan {
	enum fault_kind kind;
	uint64_t first;  /* the how manieth from fault_arm() on fails, from 1 */
	uint64_t times;  /* and how many one after the other; 0: all that follow */
	bool full;       /* for want of space (SQLITE_FULL, ENOSPC), else an I/O error */
};
void fault_arm(const struct fault_plan *p);
/* No more faults. Returns how many there were. */
uint64_t fault_disarm(void);
/* Counts one event of this kind: does it fail? */
bool fault_strikes(enum fault_kind kind);
/* This thread meets no faults between the two: for what the test itself does. Nests. */
void fault_hold(void);
void fault_release(void);

#endif
