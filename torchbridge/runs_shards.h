/*
 * runs_shards.h: the metadata of a distributed checkpoint, read (runs_shards.c), and what is made of it
 * (shards_layout.c).
 */
#ifndef RUNS_SHARDS_H
#define RUNS_SHARDS_H

#include <stdio.h>

#include "runs_internal.h"

/* An item of a .distcp. */
struct shard_place {
	const char *fqn, *path;
	uint32_t file; /* number */
	uint64_t *at;  /* offset of the chunk in its tensor: ndim numbers */
	uint32_t ndim;
	uint64_t off, len;
};

struct shard_chunk {
	uint64_t *at, *size;
	const struct shard_place *place;
};

struct shard_tensor {
	const char *fqn, *head, *key; /* head: the first key of its path, "" where there is one key only */
	uint8_t dtype;
	uint32_t ndim;
	uint64_t *size, *stride; /* row-major */
	uint64_t count, bytes;
	struct shard_chunk *chunk;
	size_t chunks;
};

struct shard_file {
	const char *name;
	uint64_t size; /* at least */
};

struct shards {
	struct shard_tensor *tensor;
	size_t tensors;
	struct shard_place *place; /* sorted */
	size_t places;
	struct shard_file *file; /* sorted by name: the sources of what is made, in this order */
	size_t files;
};

/* Borrows the arena. -EINVAL: no such metadata; -EBADMSG, -ENOTSUP, -ENOMEM. */
int shards_open(const struct torch_file *f, struct runs_arena *a, struct shards *out);
void shards_release(struct shards *s);

/*
 * A torch zip of the tensors whose path begins with `head`. With `dir` (where the checkpoint lies) the files
 * are opened and the layout is real; its sources are shards.file. Without, it has the right size and nothing
 * else.
 */
int shards_layout(struct shards *s, const char *head, const struct bridge_files *files, const char *dir,
		struct bridge_layout **out);

/* A part of a file that begins at `off`. */
struct shard_window {
	struct runs_reader *reader;
	uint64_t off;
};
int64_t shard_window_read(void *arg, uint64_t off, void *buf, size_t len);

#endif
