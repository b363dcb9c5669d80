/*
 * codec_hash.c: SHA-256 through OpenSSL, XXH3 through libxxhash.
 *
 * OpenSSL 3 looks an algorithm up by name each time it is asked for by name, and a digest context costs an
 * allocation; on chunks of some KiB both are felt.  So the algorithm is fetched once for the process and
 * every thread keeps one context until it ends.
 */
#include "codec/codec_hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <xxhash.h>

#include "codec/ckpt_error.h"

_Static_assert(sizeof(struct codec_hash) == CODEC_HASH_LEN, "a hash is its bytes and nothing else");

static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Set once under `once`, read only afterwards; live as long as the process. */
static EVP_MD *sha256;
static pthread_key_t key;
static int key_err;

static void free_context(void *p)
{
	EVP_MD_CTX_free(p);
}

static void prepare(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	key_err = pthread_key_create(&key, free_context);
}

/* This thread's digest context, made at its first use. */
static int thread_context(EVP_MD_CTX **out)
{
	EVP_MD_CTX *ctx;
	int err;

	pthread_once(&once, prepare);
	if (sha256 == NULL)
		return ckpt_fail(EIO, "openssl offers no SHA-256");
	if (key_err != 0)
		return ckpt_fail(ENOMEM, "no room for a digest context a thread");
	ctx = pthread_getspecific(key);
	if (ctx == NULL) {
		ctx = EVP_MD_CTX_new();
		if (ctx == NULL)
			return ckpt_fail(ENOMEM, "out of memory for a digest context");
		err = pthread_setspecific(key, ctx);
		if (err != 0) {
			EVP_MD_CTX_free(ctx);
			return ckpt_fail(ENOMEM, "out of memory for a digest context");
		}
	}
	*out = ctx;
	return 0;
}

int codec_sha256(const void *p, size_t len, struct codec_hash *out)
{
	EVP_MD_CTX *ctx = NULL;
	struct codec_hash h;
	unsigned n = 0;
	int rc;

	rc = thread_context(&ctx);
	if (rc != 0)
		return rc;
	if (EVP_DigestInit_ex2(ctx, sha256, NULL) != 1 || EVP_DigestUpdate(ctx, p, len) != 1 ||
	    EVP_DigestFinal_ex(ctx, h.b, &n) != 1 || n != CODEC_HASH_LEN)
		return ckpt_fail(EIO, "openssl refused to hash %zu bytes", len);
	*out = h;
	return 0;
}

int64_t codec_hash_prefix(const struct codec_hash *h)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | h->b[i];
	return (int64_t)v;
}

#if defined __x86_64__ && defined __GNUC__
/*
 * XXH3_64bits() takes SSE2, what every such machine has: 6.8 GB/s here, where with AVX-512 it is 21.  A libxxhash built with
 * DISPATCH=1, as Debian's is, has this one beside it, which looks at the machine first (xxh_x86dispatch.h).
 */
extern XXH64_hash_t XXH3_64bits_dispatch(const void *p, size_t len) __attribute__((weak));
#else
static XXH64_hash_t (*const XXH3_64bits_dispatch)(const void *p, size_t len) = NULL;
#endif

int64_t codec_check(const void *p, size_t len)
{
	return (int64_t)(XXH3_64bits_dispatch ? XXH3_64bits_dispatch(p, len) : XXH3_64bits(p, len));
}
