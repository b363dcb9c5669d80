/*
 * store_derived.h: bytes remembered with a version.
 *
 * What is found out about a version's content at some cost (the layout of a torch file, say) may be kept with it under a
 * key, so that nobody has to find it out again.  It is a cache: whoever asks must be able to do without, and the store drops
 * it when the version goes, or when the version's content is changed in place (store_version.h).  Nothing here is made
 * durable by itself; it rides on the next commit of something else.
 *
 * Keys are short texts that their users agree on, with the version of their own format in them ("layout:1").
 */
#ifndef STORE_DERIVED_H
#define STORE_DERIVED_H

#include <stddef.h>
#include <stdint.h>

struct store;

enum {
	STORE_DERIVED_MAX = 1 << 20,   /* bytes of a value */
	STORE_DERIVED_KEY_MAX = 64,
};

/*
 * The value under a key: *out is malloc()ed (also when it is empty), the caller frees.  -ENOENT: nothing is kept there,
 * without a message; -ENOMEM, -EIO.
 */
int store_derived_get(struct store *s, uint64_t version, const char *key, uint8_t **out, size_t *len);

/*
 * Keeps a value, in place of the one before.  -EROFS (no message), -ENOENT: the version is gone, -E2BIG: longer than
 * STORE_DERIVED_MAX, -EINVAL: the key is empty or too long, -ENOSPC.
 */
int store_derived_put(struct store *s, uint64_t version, const char *key, const void *value, size_t len);

#endif
