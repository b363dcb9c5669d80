/*
 * codec_print.c: GMAC through OpenSSL.
 *
 * As in codec_hash.c, the algorithm is fetched once for the process and every thread keeps one context until it ends.
 */
#include "codec/codec_print.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>

#include "codec/ckpt_error.h"

_Static_assert(sizeof(struct codec_print) == CODEC_PRINT_LEN, "a fingerprint is its bytes and nothing else");

static pthread_once_t once = PTHREAD_ONCE_INIT;
/* Set once under `once`, read only afterwards; live as long as the process. */
static EVP_MAC *gmac;
static pthread_key_t slot;
static int slot_err;

static void free_context(void *p)
{
	EVP_MAC_CTX_free(p);
}

static void prepare(void)
{
	gmac = EVP_MAC_fetch(NULL, "GMAC", NULL);
	slot_err = pthread_key_create(&slot, free_context);
}

/* This thread's context, made at its first use. */
static int thread_context(EVP_MAC_CTX **out)
{
	pthread_once(&once, prepare);
	if (gmac == NULL)
		return ckpt_fail(EIO, "openssl offers no GMAC");
	if (slot_err != 0)
		return ckpt_fail(ENOMEM, "no room for a fingerprint context a thread");
	EVP_MAC_CTX *ctx = pthread_getspecific(slot);

	if (ctx == NULL) {
		ctx = EVP_MAC_CTX_new(gmac);
		if (ctx == NULL || pthread_setspecific(slot, ctx) != 0) {
			EVP_MAC_CTX_free(ctx);
			return ckpt_fail(ENOMEM, "out of memory for a fingerprint context");
		}
	}
	*out = ctx;
	return 0;
}

int codec_print_key(uint8_t key[CODEC_PRINT_KEY_LEN])
{
	return RAND_bytes(key, CODEC_PRINT_KEY_LEN) == 1 ? 0 : ckpt_fail(EIO, "openssl has no random bytes for a key");
}

int codec_print(const uint8_t key[CODEC_PRINT_KEY_LEN], const void *p, size_t len, struct codec_print *out)
{
	static const uint8_t nonce[12];
	char cipher[] = "AES-128-GCM";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_CIPHER, cipher, 0),
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_IV, (void *)(uintptr_t)nonce, sizeof nonce),
		OSSL_PARAM_construct_end(),
	};
	EVP_MAC_CTX *ctx = NULL;
	size_t n = 0;
	int rc = thread_context(&ctx);

	if (rc != 0)
		return rc;
	if (EVP_MAC_init(ctx, key, CODEC_PRINT_KEY_LEN, params) != 1 || EVP_MAC_update(ctx, p, len) != 1 ||
	    EVP_MAC_final(ctx, out->b, &n, sizeof out->b) != 1 || n != CODEC_PRINT_LEN)
		return ckpt_fail(EIO, "openssl refused to take the fingerprint of %zu bytes", len);
	return 0;
}
