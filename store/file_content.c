/*
 * file_content.c: inline content, as it stands in a version's row.
 *
 * Codec id (1 byte), plain length (4, little-endian), codec_check() of the payload (8), payload.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "file_internal.h"

enum { CONTENT_HEAD = 13 };

static void put_le(uint8_t *p, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get_le(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

int file_content_encode(struct files *files, const uint8_t *raw, uint32_t len, bool plain, uint8_t **out, size_t *out_len)
{
	size_t n = len;
	uint8_t *p = malloc(CONTENT_HEAD + codec_bound(len));
	int id = CODEC_RAW, used_base, rc = 0;

	if (!p)
		return ckpt_fail(ENOMEM, "no memory to store a small file");
	if (plain) {
		memcpy(p + CONTENT_HEAD, raw, len);
	} else {
		ckpt_mutex_lock(&files->ctx_lock);
		rc = codec_encode(files->ctx, raw, len, &(struct codec_hint){ 0 }, NULL, 0, p + CONTENT_HEAD,
				codec_bound(len), &n, &id, &used_base);
		pthread_mutex_unlock(&files->ctx_lock);
	}
	if (rc) {
		free(p);
		return rc;
	}
	p[0] = (uint8_t)id;
	put_le(p + 1, len, 4);
	put_le(p + 5, (uint64_t)codec_check(p + CONTENT_HEAD, n), 8);
	*out = p;
	*out_len = CONTENT_HEAD + n;
	return 0;
}

int file_content_decode(struct files *files, uint64_t version, const uint8_t *p, size_t len, uint8_t **out,
		uint32_t *out_len)
{
	uint64_t n = len >= CONTENT_HEAD ? get_le(p + 1, 4) : 0;
	uint8_t *raw;
	int rc;

	if (!n || n > FILE_INLINE_MAX)
		return ckpt_fail(EIO, "version %llu: inline content is malformed", (unsigned long long)version);
	if (codec_check(p + CONTENT_HEAD, len - CONTENT_HEAD) != (int64_t)get_le(p + 5, 8))
		return ckpt_fail(EIO, "version %llu: inline content is damaged", (unsigned long long)version);
	raw = malloc(n);
	if (!raw)
		return ckpt_fail(ENOMEM, "no memory to read a small file");
	ckpt_mutex_lock(&files->ctx_lock);
	rc = codec_decode(files->ctx, p[0], p + CONTENT_HEAD, len - CONTENT_HEAD, NULL, 0, raw, n);
	pthread_mutex_unlock(&files->ctx_lock);
	if (rc) {
		free(raw);
		return ckpt_context(rc, "version %llu", (unsigned long long)version);
	}
	*out = raw;
	*out_len = (uint32_t)n;
	return 0;
}
