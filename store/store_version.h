/*
 * store_version.h: a version that somebody looks at.
 *
 * A version is one content of a file, and what names it (store_attr.version) is its id.  Versions come and go: a session that
 * replaces makes another one, one that appends or goes on in place may change the content under the same id.  Whoever reads
 * a version over some time, as a view does that keeps what it found out about it, holds it: as long as it is held
 *
 *   its bytes stay what they are: a session that would have changed them in place makes another version instead;
 *   it stays readable when it is replaced, expired, unlinked or collected, and goes when the last hold does.
 *
 * An id that is not held may stand for other bytes later; it is never given to another file.
 *
 * Holds are counted, and gone when the store is closed.  A store_file from store_file_open_version() has one of its own.
 */
#ifndef STORE_VERSION_H
#define STORE_VERSION_H

#include <stdint.h>

struct store;

/* -ENOENT: there is no such version (any more); -ENOMEM. Any thread; takes the meta lock. */
int store_version_hold(struct store *s, uint64_t version);
/* Drops one hold. A version whose place was taken meanwhile goes now. */
void store_version_release(struct store *s, uint64_t version);

#endif
