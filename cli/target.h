/*
 * target.h: what an operand names: a path in a store, or one on this machine.
 *
 *   STORE:PATH          a path in a store.  STORE is what stands before the first ':' where it is a store's directory, lies
 *                       on a mounted ckptfs, or ends in ".ckptfs"; so "a:b.ckptfs:run" works too
 *   STORE               the whole store, in commands where a host path makes no sense
 *   MOUNTPOINT[/PATH]   the same through a mount point of it, found in /proc/self/mountinfo
 *   anything else       a host path, where the command takes one.  "./a:b" or an absolute path forces it
 *                       only as far as its beginning is no store
 */
#ifndef TARGET_H
#define TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct cli;
struct fs_mount_entry;

struct target {
	bool in_store;
	char *text;  /* as the user wrote it, for messages */
	char *store; /* in_store: the store's directory; NULL when served, where there is only one */
	char *path; /* in_store: path from the root, no leading '/', a trailing one kept; else the host path */
};

enum target_how {
	TARGET_STORE, /* the operand names something in a store */
	TARGET_EITHER /* or a host path */
};

/*
 * Says what `text` names.  In the owner of a mounted store the client's answer is looked up (c->told).  -EINVAL:
 * it names no store where one is needed; -ENOMEM.  The caller releases *out.
 */
int target_parse(struct cli *c, const char *text, enum target_how how, struct target *out);
void target_release(struct target *t);
void targets_free(struct target *t, size_t n);

/* Parses argv[0, n) into a new array. Prints what is wrong; returns -1 or the exit status to return. */
int targets_parse(struct cli *c, char **argv, int n, enum target_how how, struct target **out);

/*
 * Which of our mounts has `path` (absolute, no symlinks in it)?  Reads a mountinfo file (proc(5)).  1: *out (without device numbers, to
 * be released) and *rest, the path inside the store (caller frees); 0 none; -ENOMEM.
 */
int target_find_mount(FILE *mountinfo, const char *path, struct fs_mount_entry *out, char **rest);

#endif
