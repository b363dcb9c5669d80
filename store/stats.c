/*
 * stats.c: a store at work, in figures (store_stats.h).
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "chunk_internal.h"
#include "file_internal.h"
#include "meta_internal.h"
#include "store_internal.h"
#include "store_stats.h"

void store_stats(struct store *s, struct store_stats *out)
{
	struct chunk_counters c;
	struct store_stats n = { 0 };

	chunk_counters(s, &c);
	n.chunks = c.chunks;
	n.chunk_raw = c.chunk_raw;
	n.chunk_stored = c.chunk_stored;
	n.queue = c.queue;
	n.queue_bytes = c.queue_bytes;
	n.plain_bytes = c.plain_bytes;
	n.cache_bytes = c.cache_bytes;
	n.in_chunks = c.jobs;
	n.in_known = c.known;
	n.in_raw = c.raw_bytes;
	n.in_new = c.new_bytes;
	n.in_stored = c.stored_bytes;
	n.commits = c.commits;
	n.cache_hits = c.hits;
	n.cache_misses = c.misses;
	n.prefetched = c.prefetched;
	n.decoded_bytes = c.decoded_bytes;
	n.postponed = c.postponed;
	n.taken = c.taken;
	n.passed = c.passed;
	n.gc_runs = c.gc_runs;
	n.gc_chunks = c.gc_chunks;
	n.gc_bytes = c.gc_bytes;

	pthread_mutex_lock(&s->files->lock);
	for (const struct store_file *f = s->files->all; f; f = f->next)
		n.open_files++;
	pthread_mutex_unlock(&s->files->lock);
	n.dirty_bytes = (uint64_t)atomic_load(&s->files->dirty);
	*out = n;
}

int store_xattr_any(struct store *s, const char *prefix)
{
	sqlite3_stmt *st;
	int rc;

	meta_lock(s);
	st = meta_stmt(s, "SELECT 1 FROM xattr WHERE substr(name, 1, length(?1)) = ?1 LIMIT 1");
	if (!st) {
		rc = meta_fail(s);
	} else {
		sqlite3_bind_text(st, 1, prefix, -1, SQLITE_STATIC);
		rc = meta_step(s, st);
		if (rc > 0)
			sqlite3_reset(st);
		sqlite3_clear_bindings(st);
	}
	meta_unlock(s);
	return rc;
}
