/*
 * codec_container.h: is this file a container that somebody was in the middle of writing?
 *
 * Formats that say where they end can tell a torn file from a whole one: a zip (torch.save, npz, TorchScript)
 * ends with its end-of-central-directory record (APPNOTE.TXT 4.3.16), a safetensors file is as long as its
 * header says, a .npy as its shape says, a legacy torch file as its storages say.
 */
#ifndef CODEC_CONTAINER_H
#define CODEC_CONTAINER_H

#include <stddef.h>
#include <stdint.h>

enum codec_container {
	CODEC_CONTAINER_NONE,  /* no format that is known here: nothing can be said */
	CODEC_CONTAINER_WHOLE, /* known, and it has its end */
	CODEC_CONTAINER_TORN,  /* known, and its end is missing */
};

/*
 * Reads up to len bytes at off of the file in question into buf; returns how many (fewer only at the end)
 * or -errno.
 */
typedef int64_t (*codec_read_at)(void *arg, uint64_t off, void *buf, size_t len);

/*
 * Looks at the head and the tail of a file of `size` bytes: bounded work, some 200 KiB read, but for two formats
 * that tell their length throughout their head: a safetensors header, up to its own limit of 100 MB, and the
 * pickles of a legacy torch file, up to 32 MiB, are read in pieces and never held.
 *
 * What is not understood for sure (structured .npy, a legacy file with 4-bit storages, an .h5) is NONE, as is an
 * empty file, and a container with something unknown behind its end, except a zip, where torch does not
 * mind.  A file shorter than a magic number that it is a prefix of is TORN.  Files that hold several whole
 * containers end to end, as a .distcp and repeated saves into one open file do, are WHOLE when the last one
 * is; one cut between two of them can't be told apart.
 *
 * Returns an enum codec_container, -errno of a failed read, or -ENOMEM.
 */
int codec_container_state(codec_read_at read, void *arg, uint64_t size);

#endif
