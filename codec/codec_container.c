/*
 * codec_container.c: which format a file is in, and the reading that all formats share.
 *
 * The formats' own rules are in container_zip.c, container_safetensors.c, container_npy.c and
 * container_legacy.c.  All of them look at bytes that anybody may have written: every offset is compared with
 * the size before it is used, sums are checked for overflow, loops are over bytes that were read or bounded by
 * a number that is named at the head of the file.  A question that can't be answered for sure is answered
 * NONE, since TORN costs the writer the file.
 */
#include "codec/codec_container.h"

#include <errno.h>
#include <string.h>

#include "ckpt_error.h"
#include "container_internal.h"

int container_window(struct container_src *s, uint64_t off, const uint8_t **p, size_t *n)
{
	if (off >= s->size)
		return 0;
	if (off < s->at || off - s->at >= s->have) {
		uint64_t left = s->size - off;
		int64_t got = s->read(s->arg, off, s->buf, left < sizeof s->buf ? (size_t)left : sizeof s->buf);

		s->have = 0;
		if (got < 0)
			return (int)got;
		if ((uint64_t)got > sizeof s->buf)
			return ckpt_fail(EIO, "more bytes than asked for at %llu", (unsigned long long)off);
		if (got == 0) /* the file shrank under us */
			return 0;
		s->at = off;
		s->have = (size_t)got;
		s->spent += (uint64_t)got;
	}
	*p = s->buf + (off - s->at);
	*n = s->have - (size_t)(off - s->at);
	return 1;
}

int container_read(struct container_src *s, uint64_t off, void *buf, size_t len)
{
	uint8_t *to = buf;

	if (off > s->size || len > s->size - off)
		return 0;
	while (len > 0) {
		const uint8_t *p;
		size_t n;
		int rc = container_window(s, off, &p, &n);

		if (rc <= 0)
			return rc;
		if (n > len)
			n = len;
		memcpy(to, p, n);
		to += n;
		off += n;
		len -= n;
	}
	return 1;
}

enum container_match container_match(const uint8_t *p, size_t n, const char *magic, size_t magic_len)
{
	if (memcmp(p, magic, n < magic_len ? n : magic_len) != 0)
		return CONTAINER_NO;
	return n < magic_len ? CONTAINER_PREFIX : CONTAINER_YES;
}

/* A zip without entries is its end record alone. */
static int empty_zip(struct container_src *s)
{
	uint8_t e[22];
	int rc = container_read(s, 0, e, sizeof e);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return CODEC_CONTAINER_TORN;
	return container_le16(e + 10) == 0 ? CODEC_CONTAINER_WHOLE : CODEC_CONTAINER_NONE;
}

int codec_container_state(codec_read_at read, void *arg, uint64_t size)
{
	struct container_src s = { .read = read, .arg = arg, .size = size };
	uint8_t head[CONTAINER_LEGACY_HEAD];
	size_t n = size < sizeof head ? (size_t)size : sizeof head;
	static const struct {
		const char *magic;
		size_t len;
		int (*state)(struct container_src *s);
	} format[] = {
		{ "PK\3\4", 4, container_zip },
		{ "PK\5\6", 4, empty_zip },
		{ "\x93NUMPY", 6, container_npy },
	};
	enum container_match m;
	int rc;

	if (size == 0)
		return CODEC_CONTAINER_NONE;
	rc = container_read(&s, 0, head, n);
	if (rc <= 0)
		return rc; /* 0 is CODEC_CONTAINER_NONE: it is not as long as was said */
	for (size_t i = 0; i < sizeof format / sizeof format[0]; i++) {
		m = container_match(head, n, format[i].magic, format[i].len);
		if (m == CONTAINER_PREFIX)
			return CODEC_CONTAINER_TORN;
		if (m == CONTAINER_YES)
			return format[i].state(&s);
	}
	m = container_legacy_match(head, n);
	if (m == CONTAINER_PREFIX)
		return CODEC_CONTAINER_TORN;
	if (m == CONTAINER_YES)
		return container_legacy(&s);
	return container_safetensors(&s);
}
