/*
 * codec_print.h: a fast fingerprint under a secret key.
 *
 * GMAC (NIST SP 800-38D, through OpenSSL) with AES-128 and one fixed nonce: a polynomial over GF(2^128), evaluated at a
 * point that the key makes, which is a universal hash.  Two different inputs of at most n blocks of 16 bytes, chosen by
 * somebody who knows neither key nor fingerprints, have the same one with a probability of (n + 1) / 2^128: for chunks of
 * 1 MiB 2^-112 a pair.  It runs at 5 GB/s where SHA-256 does 1 (both with the processor's own instructions), so it answers
 * "was that here before?" while somebody waits for the answer.
 *
 * Key and fingerprints are kept from everybody but the store's owner: with both at hand equal fingerprints could be made
 * on purpose.  What names bytes for all the world is SHA-256 (codec_hash.h).
 */
#ifndef CODEC_PRINT_H
#define CODEC_PRINT_H

#include <stddef.h>
#include <stdint.h>

enum { CODEC_PRINT_LEN = 16, CODEC_PRINT_KEY_LEN = 16 };

struct codec_print {
	uint8_t b[CODEC_PRINT_LEN];
};

/* A new key, from the system's randomness. -EIO. */
int codec_print_key(uint8_t key[CODEC_PRINT_KEY_LEN]);

/* The fingerprint of p[0, len).  -ENOMEM, -EIO (OpenSSL refused). Thread safe; does not block. */
int codec_print(const uint8_t key[CODEC_PRINT_KEY_LEN], const void *p, size_t len, struct codec_print *out);

#endif
