/* test_codec_print.c: the fingerprint is GMAC under the key, whatever came before in this thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "codec/codec_print.h"

/* AES-128-GCM of nothing, with the bytes as what is authenticated only: its tag. */
static void by_cipher(const uint8_t *key, const void *p, int len, uint8_t tag[16])
{
	static const uint8_t nonce[12];
	EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
	int n;

	assert_non_null(c);
	assert_int_equal(EVP_EncryptInit_ex(c, EVP_aes_128_gcm(), NULL, key, nonce), 1);
	assert_int_equal(EVP_EncryptUpdate(c, NULL, &n, p, len), 1);
	assert_int_equal(EVP_EncryptFinal_ex(c, tag, &n), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_GET_TAG, 16, tag), 1);
	EVP_CIPHER_CTX_free(c);
}

static void test_is_gmac(void **state)
{
	uint8_t keys[2][CODEC_PRINT_KEY_LEN], bytes[5000], tag[16];
	struct codec_print p, q;

	(void)state;
	assert_int_equal(codec_print_key(keys[0]), 0);
	assert_int_equal(codec_print_key(keys[1]), 0);
	assert_memory_not_equal(keys[0], keys[1], CODEC_PRINT_KEY_LEN);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * i >> 3);
	for (int len = 1; len <= (int)sizeof bytes; len = len * 3 + 1) {
		for (int k = 0; k < 2; k++) {
			by_cipher(keys[k], bytes, len, tag);
			assert_int_equal(codec_print(keys[k], bytes, (size_t)len, &p), 0);
			assert_memory_equal(p.b, tag, sizeof tag);
		}
		bytes[len - 1] ^= 1;
		assert_int_equal(codec_print(keys[1], bytes, (size_t)len, &q), 0);
		assert_memory_not_equal(p.b, q.b, sizeof p.b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_gmac),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
