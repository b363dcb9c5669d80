/* lock_internal.h: the lock of a store, and where a store may live. */
#ifndef LOCK_INTERNAL_H
#define LOCK_INTERNAL_H

#include <stdbool.h>

/*
 * 0, or -EOPNOTSUPP with what to do: the existing file or directory `path` is on a filesystem that can't hold
 * a store.
 */
int store_lock_medium(const char *path);

/*
 * Locks the store in directory `path` for this process and writes its line into the lock file.  With writable
 * false (a medium that takes no changes) the lock is shared and nothing is written.  *fd gets the descriptor
 * that holds it, or -1 where none is needed.  -EBUSY: somebody has it, the message says who.  Waits up to a
 * tenth of a second.
 */
int store_lock_take(const char *path, bool writable, const char *mountpoint, int *fd);
void store_lock_drop(int fd);

#endif
