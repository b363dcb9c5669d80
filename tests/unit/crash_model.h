/*
 * crash_model.h: a random workload on a store, and what may be left of it.
 *
 * The tree of a store changes in steps, one operation after the other in one database, so after any failure it must be
 * exactly what it was after one of them: not earlier than the last one that was promised to last, not later than the
 * last one that was begun.  The model therefore remembers the whole tree, content included, after every step, and
 * with each promise how far the log of the disk had come.
 *
 * The store lives on the disk in use (fault_vfs.h); its lock and its reserve are real files in world.dir.
 */
#ifndef CRASH_MODEL_H
#define CRASH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault_vfs.h"
#include "store/store.h"

struct content;
struct store_file;

struct item {
	char path[48];
	uint32_t type;           /* S_IFREG, S_IFDIR, S_IFLNK */
	uint64_t ino;            /* items with the same are one file */
	struct content *content; /* of a file or symbolic link */
	uint64_t mark;           /* value of the attribute user.mark; 0 none */
};

struct tree_state {
	struct item *v;          /* sorted by path */
	size_t n;
};

struct promise {
	size_t events, step;
	bool durable;            /* else it lasts unless the power goes */
};

struct world {
	const char *dir;         /* of the store, absolute */
	struct disk *disk;
	struct store_options opt;
	bool little;             /* no big files */
	uint64_t rng;

	struct store *s;
	struct tree_state *steps;
	size_t *begun;           /* events of the disk when each step began */
	size_t nsteps, cap_steps;
	struct promise *promises;
	size_t npromises, cap_promises;

	struct store_file *slow; /* a file that is written little by little, beside all else */
	uint64_t slow_ino;       /* the model's number */
	uint64_t slow_inode;     /* the store's */
	struct content *slow_now;
	bool slow_session;
	uint64_t held;           /* a version that somebody looks at; 0 none */
	const char *doing;       /* the last operation */
	uint64_t next_ino;       /* of the model */
	bool unsure;             /* the last step failed and it isn't known whether it counts: nobody promises it */
};

void world_init(struct world *w, const char *dir, struct disk *d, uint64_t seed);
/* The same model (so far only) on a copy of its disk, which must be in use by the caller; the store is not open. */
void world_fork(struct world *w, const struct world *from, struct disk *d, uint64_t seed);
void world_release(struct world *w);

/* Opens the store on the disk in use. 0 or -errno. */
int world_open(struct world *w);
/* Closes it; a success promises everything. */
int world_close(struct world *w);
/* Drops it as a crash would. */
void world_crash(struct world *w);

/*
 * One random operation.  -errno when it failed: then the last step stands for what would have been, and world_settle()
 * says whether it is.
 */
int world_step(struct world *w);
/*
 * After a failure, the store being open: finds out whether the tree is as before the last step or as after it, so that
 * the work can go on.  false: neither, and *why says what is wrong; NULL: it can't be told, the store has failed.
 * `old`: it must be as before.
 */
bool world_settle(struct world *w, bool old, const char **why);

/* The first and the last step that the tree may show after a failure at this point of the disk's log. */
void world_range(const struct world *w, size_t events, bool power, size_t *lo, size_t *hi);

/*
 * Opens the store on disk d, verifies it with all data, and compares its tree with the steps lo..hi; with `use` changes it and
 * looks again.  NULL when all is well, else what is wrong (a static buffer).
 */
const char *world_check(const struct world *w, struct disk *d, size_t lo, size_t hi, bool use);

#endif
