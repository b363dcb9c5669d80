/*
 * treecopy.h: one tree made from another, for cp, import and export.
 *
 * One thread walks the source, depth first, makes directories and everything that is no regular file, and queues the
 * files; workers copy them, so memory is a queue of names and one buffer a worker, whatever the tree's size.  A
 * directory gets its attributes when the last thing in it is done, so that its times stay.
 *
 * Errors are printed where they happen and the copy goes on, but for those that will not pass (no space, read-only): then it stops.
 */
#ifndef TREECOPY_H
#define TREECOPY_H

#include <stdbool.h>

struct cli;
struct progress;
struct tdir;
struct tentry;
struct tree;
struct treecopy;

struct treecopy_options {
	bool recurse; /* directories, and things that are neither file nor directory, as such; else only files are copied */
	bool attrs;       /* mode, times, user.* attributes, hard links; the owner where we may */
	unsigned threads; /* workers; at least 1 */
};

/* Starts the workers. progress may be NULL. -ENOMEM, -EAGAIN. */
int treecopy_new(struct cli *c, struct tree *src, struct tree *dst, const struct treecopy_options *o,
		struct progress *progress, struct treecopy **out);

/*
 * Copies the entry `e` of src to into/name; as the root of a tree, when `contents` is set, what is in the directory e to `into`
 * itself.  path: how messages call it.  `into` must stay until treecopy_finish().
 */
void treecopy_add(struct treecopy *t, const struct tentry *e, const char *path, struct tdir *into,
		const char *name, bool contents);

/* Waits for the workers, frees all; returns the exit status. *full is set when room ran out. NULL is fine: CLI_DONE. */
int treecopy_finish(struct treecopy *t, bool *full);

/* True when going on is pointless: cancelled, or an error that will not pass. */
bool treecopy_stopped(const struct treecopy *t);

#endif
