/*
 * codec_hash.h: the two fingerprints of the house.
 *
 * SHA-256 (FIPS 180-4, through OpenSSL's EVP, which uses SHA-NI where the machine has it) names the plain
 * bytes of a chunk: equal hash, equal bytes.  XXH3-64 (xxHash's specification, through libxxhash) guards a
 * stored payload against damage; it is checked on every read and promises nothing against an attacker.
 */
#ifndef CODEC_HASH_H
#define CODEC_HASH_H

#include <stddef.h>
#include <stdint.h>

enum { CODEC_HASH_LEN = 32 };

struct codec_hash {
	uint8_t b[CODEC_HASH_LEN];
};

/* SHA-256 of len bytes.  Fails with -ENOMEM or -EIO (OpenSSL refused). Thread safe; does not block. */
int codec_sha256(const void *p, size_t len, struct codec_hash *out);

/* The first eight bytes of a hash as a signed integer (big-endian), the key of the chunk index. */
int64_t codec_hash_prefix(const struct codec_hash *h);

/* XXH3-64 of len bytes as a signed integer, as SQLite stores it. */
int64_t codec_check(const void *p, size_t len);

#endif
