/*
 * test_codec_hash.c: the two fingerprints against published values, and from several threads at once; and the
 * messages of ckpt_error.h, which are a thread's own as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/ckpt_error.h"
#include "codec/codec_hash.h"

static void hex(const struct codec_hash *h, char out[2 * CODEC_HASH_LEN + 1])
{
	for (size_t i = 0; i < CODEC_HASH_LEN; i++)
		snprintf(out + 2 * i, 3, "%02x", h->b[i]);
}

/* FIPS 180-4's examples (NIST's "SHA256.pdf"), and a million times 'a'. */
static void sha256_known_answers(void **state)
{
	static const struct {
		const char *text, *hash;
	} known[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	struct codec_hash h;
	char text[2 * CODEC_HASH_LEN + 1];
	char *million = malloc(1000000);

	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		assert_int_equal(codec_sha256(known[i].text, strlen(known[i].text), &h), 0);
		hex(&h, text);
		assert_string_equal(text, known[i].hash);
	}
	assert_non_null(million);
	memset(million, 'a', 1000000);
	assert_int_equal(codec_sha256(million, 1000000, &h), 0);
	hex(&h, text);
	assert_string_equal(text, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	free(million);
}

static void prefix_is_big_endian(void **state)
{
	struct codec_hash h = { { 0x80, 1, 2, 3, 4, 5, 6, 7, 8 } };

	(void)state;
	assert_true(codec_hash_prefix(&h) == (int64_t)UINT64_C(0x8001020304050607));
}

/* XXH3_64bits of nothing, from xxHash's own specification, and that one bit matters. */
static void check_known_answers(void **state)
{
	uint8_t b[1000] = { 0 };
	int64_t before;

	(void)state;
	assert_true((uint64_t)codec_check("", 0) == UINT64_C(0x2d06800538d394c2));
	before = codec_check(b, sizeof b);
	b[777] ^= 4;
	assert_true(codec_check(b, sizeof b) != before);
}

/* What this machine's fastest way makes of them is what the portable one does. */
static void check_everywhere_alike(void **state)
{
	static uint8_t b[20013];

	(void)state;
	for (size_t i = 0; i < sizeof b; i++)
		b[i] = (uint8_t)(i * 31 + i / 7);
	for (size_t n = 0; n < sizeof b - 13; n += n < 300 ? 1 : 97)
		assert_true((uint64_t)codec_check(b + n % 13, n) == XXH3_64bits(b + n % 13, n));
}

static void *hash_much(void *arg)
{
	const struct codec_hash *want = arg;
	uint8_t b[5000];
	struct codec_hash h;

	memset(b, 7, sizeof b);
	for (int i = 0; i < 200; i++)
		if (codec_sha256(b, sizeof b, &h) != 0 || memcmp(&h, want, sizeof h) != 0)
			return (void *)want;
	return NULL;
}

static void threads_hash_alike(void **state)
{
	pthread_t t[8];
	struct codec_hash want;
	uint8_t b[5000];

	(void)state;
	memset(b, 7, sizeof b);
	assert_int_equal(codec_sha256(b, sizeof b, &want), 0);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&t[i], NULL, hash_much, &want), 0);
	for (size_t i = 0; i < 8; i++) {
		void *bad;

		assert_int_equal(pthread_join(t[i], &bad), 0);
		assert_null(bad);
	}
}

static void *fail_elsewhere(void *arg)
{
	(void)arg;
	ckpt_fail(EIO, "another thread's");
	return NULL;
}

static void messages(void **state)
{
	char much[2000];
	pthread_t t;

	(void)state;
	assert_int_equal(ckpt_fail(ENOENT, "no chunk %d", 7), -ENOENT);
	assert_string_equal(ckpt_errmsg(), "no chunk 7");
	assert_int_equal(ckpt_context(-ENOENT, "file '%s'", "a"), -ENOENT);
	assert_string_equal(ckpt_errmsg(), "file 'a': no chunk 7");
	assert_int_equal(pthread_create(&t, NULL, fail_elsewhere, NULL), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
	assert_string_equal(ckpt_errmsg(), "file 'a': no chunk 7");
	ckpt_fail(EIO, "once more: %s", ckpt_errmsg());
	assert_string_equal(ckpt_errmsg(), "once more: file 'a': no chunk 7");

	/* Long ones are cut, never more. */
	memset(much, 'x', sizeof much - 1);
	much[sizeof much - 1] = '\0';
	ckpt_fail(EIO, "%s", much);
	assert_int_equal(strlen(ckpt_errmsg()), 511);
	ckpt_context(-EIO, "context");
	assert_int_equal(strlen(ckpt_errmsg()), 511);
	assert_int_equal(strncmp(ckpt_errmsg(), "context: xxx", 12), 0);
	ckpt_context(-EIO, "%s", much);
	assert_true(strlen(ckpt_errmsg()) <= 511);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_known_answers),
		cmocka_unit_test(prefix_is_big_endian),
		cmocka_unit_test(check_known_answers),
		cmocka_unit_test(check_everywhere_alike),
		cmocka_unit_test(threads_hash_alike),
		cmocka_unit_test(messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
