/*
 * store_history.h: versions that are no longer a file's content.
 *
 * When a session that replaced a file's content is published, when a file is renamed over or its last name goes,
 * and when a session is aborted, the version that lost its place is kept here for
 * store_options.history_seconds under the path it had (bytes relative to the root), then left to gc.  Short of
 * space, the oldest go first.  Appends make no version, nor do versions below STORE_HISTORY_MIN bytes (pointer
 * files such as `latest`).
 */
#ifndef STORE_HISTORY_H
#define STORE_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#include "store_tree.h"

enum { STORE_HISTORY_MIN = 512 };

enum store_ending { STORE_REPLACED = 1, STORE_DELETED = 2, STORE_TORN = 3 };

struct store_past {
	uint64_t version;       /* for store_file_open_version() */
	enum store_ending how;
	int64_t ended;          /* CLOCK_REALTIME ns when it lost its place */
	struct store_attr attr; /* as it was: mode, owner, size, times; ino is that of the file it was */
};

/* Versions kept under exactly this path, oldest first. emit returns non-zero to stop. No locks are held in it. */
int store_history_of(struct store *s, const char *path, size_t len, int (*emit)(void *arg, const struct store_past *),
		void *arg);

/*
 * The distinct names that follow `prefix` (a directory's path, without trailing '/'; "" for the root) in the paths of the history,
 * each once, in byte order; leaf: some version has exactly this path; dir: some has a longer one.
 */
int store_history_list(struct store *s, const char *prefix, size_t len,
		int (*emit)(void *arg, const char *name, size_t name_len, int leaf, int dir), void *arg);

/* One version by its id. -ENOENT. */
int store_history_get(struct store *s, uint64_t version, struct store_past *out);

#endif
