/*
 * codec_version.c: what the libraries say of themselves.
 */
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <xxhash.h>
#include <zstd.h>

#include "codec_version.h"

static char xxhash_version[24];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void spell_xxhash(void)
{
	unsigned v = XXH_versionNumber();

	snprintf(xxhash_version, sizeof(xxhash_version), "%u.%u.%u", v / 10000, v / 100 % 100, v % 100);
}

int codec_library(size_t i, struct codec_library *out)
{
	switch (i) {
	case 0:
		*out = (struct codec_library){ "zstd", ZSTD_versionString() };
		return 1;
	case 1:
		*out = (struct codec_library){ "OpenSSL", OpenSSL_version(OPENSSL_VERSION_STRING) };
		return 1;
	case 2:
		pthread_once(&once, spell_xxhash);
		*out = (struct codec_library){ "xxHash", xxhash_version };
		return 1;
	default:
		return 0;
	}
}
