/*
 * view_stats.c: @stats, a text file with what the store is doing.
 *
 * Lines of "key value", in groups with a heading; bytes are plain numbers, so that awk can work with them.  The text is made when
 * the file is opened and stays as it is for that handle.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs_internal.h"
#include "store/store_stats.h"

struct figure {
	const char *key;
	uint64_t value;
};

struct group {
	const char *heading;
	const struct figure *figures;
	size_t n;
};

static void print_ratio(FILE *f, const char *key, uint64_t part, uint64_t whole)
{
	if (whole == 0)
		fprintf(f, "%-22s -\n", key);
	else
		fprintf(f, "%-22s %.4f\n", key, (double)part / (double)whole);
}

static void print_group(FILE *f, const struct group *g)
{
	fprintf(f, "%s# %s\n", ftell(f) > 0 ? "\n" : "", g->heading);
	for (size_t i = 0; i < g->n; i++)
		fprintf(f, "%-22s %" PRIu64 "\n", g->figures[i].key, g->figures[i].value);
}

/* How much of the tree is open and waits for its close. */
static void count_open(struct fs *fs, struct figure *known, struct figure *bodies, struct figure *handles, struct figure *sessions)
{
	for (size_t i = 0; i < FS_SHARDS; i++) {
		struct fs_shard *sh = &fs->shards[i];

		pthread_mutex_lock(&sh->lock);
		known->value += sh->count;
		bodies->value += sh->nbodies;
		for (const struct fs_body *b = sh->bodies; b; b = b->next) {
			sessions->value += b->writers > 0 || b->parked;
			for (const struct fs_handle *h = b->handles; h; h = h->next)
				handles->value++;
		}
		pthread_mutex_unlock(&sh->lock);
	}
}

/* The text, malloc()ed. */
static int make_text(struct fs *fs, char **text, size_t *len)
{
	struct store_space space;
	struct store_stats s;
	FILE *f;
	int rc;

	store_stats(fs->store, &s);
	rc = store_space(fs->store, &space);
	if (rc < 0)
		return rc;
	f = open_memstream(text, len);
	if (!f)
		return ckpt_fail(ENOMEM, "no memory for @stats");

	const struct figure stored[] = {
		{ "chunks", s.chunks }, { "chunk_bytes_raw", s.chunk_raw }, { "chunk_bytes_stored", s.chunk_stored },
		{ "store_bytes", space.stored }, { "disk_bytes_available", space.avail },
	};
	const struct figure written[] = {
		{ "chunks_in", s.in_chunks }, { "chunks_known", s.in_known }, { "bytes_in", s.in_raw },
		{ "bytes_new", s.in_new }, { "bytes_stored", s.in_stored }, { "commits", s.commits },
	};
	const struct figure read[] = {
		{ "cache_hits", s.cache_hits }, { "cache_misses", s.cache_misses }, { "chunks_prefetched", s.prefetched },
		{ "bytes_decoded", s.decoded_bytes },
	};
	const struct figure later[] = {
		{ "differences_postponed", s.postponed }, { "differences_taken", s.taken }, { "differences_passed", s.passed },
	};
	const struct figure gc[] = {
		{ "gc_runs", s.gc_runs }, { "gc_chunks", s.gc_chunks }, { "gc_bytes", s.gc_bytes },
	};
	struct figure now[] = {
		{ "inodes_known", 0 }, { "files_open", 0 }, { "handles", 0 }, { "files_being_written", 0 },
		{ "dirty_bytes", s.dirty_bytes }, { "queue_chunks", s.queue }, { "queue_bytes", s.queue_bytes },
		{ "plain_bytes", s.plain_bytes }, { "cache_bytes", s.cache_bytes },
	};
	const struct group groups[] = {
		{ "in the store", stored, sizeof(stored) / sizeof(stored[0]) },
		{ "written since it was opened", written, sizeof(written) / sizeof(written[0]) },
		{ "read since it was opened", read, sizeof(read) / sizeof(read[0]) },
		{ "put off, and taken in idle time", later, sizeof(later) / sizeof(later[0]) },
		{ "collected since it was opened", gc, sizeof(gc) / sizeof(gc[0]) },
		{ "now", now, sizeof(now) / sizeof(now[0]) },
	};

	count_open(fs, &now[0], &now[1], &now[2], &now[3]);
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		print_group(f, &groups[i]);
		if (groups[i].figures == stored)
			print_ratio(f, "ratio", s.chunk_stored, s.chunk_raw);
		if (groups[i].figures == written)
			print_ratio(f, "ratio", s.in_stored, s.in_raw);
	}
	if (fclose(f) != 0) {
		free(*text);
		return ckpt_fail(ENOMEM, "no memory for @stats");
	}
	return 0;
}

static int stats_stat(struct fs *fs, const char *name, const char *path, struct fs_view_look *look)
{
	struct stat *st = &look->st;
	char *text;
	size_t len;
	int rc;

	(void)name;
	if (path[0] != '\0')
		return ckpt_fail(ENOTDIR, "@stats is no directory");
	rc = make_text(fs, &text, &len);
	if (rc < 0)
		return rc;
	free(text);
	st->st_mode = S_IFREG | 0444;
	st->st_size = (off_t)len;
	clock_gettime(CLOCK_REALTIME, &st->st_mtim);
	st->st_atim = st->st_ctim = st->st_mtim;
	return 0;
}

static ssize_t text_read(struct fs_view_file *f, uint64_t off, void *buf, size_t len)
{
	if (off >= f->size)
		return 0;
	if (len > f->size - off)
		len = (size_t)(f->size - off);
	memcpy(buf, (const char *)f->state + off, len);
	return (ssize_t)len;
}

static void text_close(struct fs_view_file *f)
{
	free(f->state);
}

static int stats_open(struct fs *fs, const char *name, const char *path, struct fs_view_file *out)
{
	char *text;
	size_t len;
	int rc = make_text(fs, &text, &len);

	(void)name;
	(void)path;
	if (rc < 0)
		return rc;
	*out = (struct fs_view_file){ .read = text_read, .close = text_close, .state = text, .size = len, .unsized = true };
	return 0;
}

const struct fs_view fs_view_stats = {
	.name = "@stats",
	.stat = stats_stat,
	.open = stats_open,
};
