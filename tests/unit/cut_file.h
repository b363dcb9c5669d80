/*
 * cut_file.h: for the cutter's tests, one set of tensors, a file into which they are written byte by byte, and what the
 * cutter says of it.
 *
 * Each tensor that is large enough must be cut at its first byte, at its last and every CODEC_CUT_PIECE, and nowhere
 * else; described in the same way everywhere; and all of that must not depend on the pieces in which the stream
 * comes.
 */
#ifndef CUT_FILE_H
#define CUT_FILE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_cut.h"

/* --- a file being written ------------------------------------------------------------------------ */

enum { FILE_MAX = 8 << 20, TENSORS = 13, CUTS_MAX = 400 };

static struct {
	size_t len;
	uint8_t b[FILE_MAX];
	size_t at[TENSORS]; /* where each tensor's payload lies; 0: it is not in this file */
} file;

static inline void add(const void *p, size_t n)
{
	assert_true(n <= sizeof file.b - file.len);
	if (n > 0)
		memcpy(file.b + file.len, p, n);
	file.len += n;
}

#define ADD(literal) add(literal, sizeof(literal) - 1)

static inline void add_text(const char *s)
{
	add(s, strlen(s));
}

static inline void add_le(uint64_t v, size_t width)
{
	for (size_t i = 0; i < width; i++) {
		uint8_t b = (uint8_t)(v >> 8 * i);

		add(&b, 1);
	}
}

/* --- the tensors --------------------------------------------------------------------------------- */

static const struct tensor {
	const char *name, *storage, *safe, *descr;
	unsigned item;
	unsigned shape[3]; /* 0 behind the last one */
	struct codec_hint hint;
} tensors[TENSORS] = {
	{ "tiny", "Float", "F32", "<f4", 4, { 10 }, { 4, CODEC_FLOAT, 8, 0, 40 } },
	{ "layer1.weight", "Float", "F32", "<f4", 4, { 300, 1000 }, { 4, CODEC_FLOAT, 8, 0, 4000 } },
	{ "layer1.bias", "Float", "F32", "<f4", 4, { 767 }, { 4, CODEC_FLOAT, 8, 0, 3068 } },
	{ "layer2.weight", "Float", "F32", "<f4", 4, { 48, 16 }, { 4, CODEC_FLOAT, 8, 0, 64 } },
	{ "no_rest", "Float", "F32", "<f4", 4, { 65536 }, { 4, CODEC_FLOAT, 8, 0, 262144 } },
	{ "short_rest", "Float", "F32", "<f4", 4, { 65536 + 767 }, { 4, CODEC_FLOAT, 8, 0, 265212 } },
	{ "a_rest", "Float", "F32", "<f4", 4, { 65536 + 768 }, { 4, CODEC_FLOAT, 8, 0, 265216 } },
	{ "half", "Half", "F16", "<f2", 2, { 70, 100 }, { 2, CODEC_FLOAT, 5, 0, 200 } },
	{ "tiny2", "Float", "F32", "<f4", 4, { 3, 3 }, { 4, CODEC_FLOAT, 8, 0, 12 } },
	{ "steps", "Long", "I64", "<i8", 8, { 1000 }, { 8, CODEC_INT, 0, 0, 8000 } },
	{ "images", "Byte", "U8", "|u1", 1, { 90, 32, 32 }, { 1, CODEC_PIXELS, 0, 0, 32 } },
	{ "pixels", "Byte", "U8", "|u1", 1, { 900, 32, 3 }, { 1, CODEC_PIXELS, 0, 0, 96 } },
	{ "double", "Double", "F64", "<f8", 8, { 3, 20000 }, { 8, CODEC_FLOAT, 11, 0, 160000 } },
};

static inline size_t numel(size_t i)
{
	size_t n = 1;

	for (size_t d = 0; d < 3 && tensors[i].shape[d] > 0; d++)
		n *= tensors[i].shape[d];
	return n;
}

static inline size_t bytes_of(size_t i)
{
	return numel(i) * tensors[i].item;
}

static inline unsigned dims_of(size_t i)
{
	unsigned n = 0;

	while (n < 3 && tensors[i].shape[n] > 0)
		n++;
	return n;
}

/* The same bytes each time; some of them begin like a zip's signatures, and like a descriptor that tells other sizes. */
static inline void add_payload(size_t i)
{
	uint64_t x = 88172645463325252u + i;
	size_t start = file.len, n = bytes_of(i);

	file.at[i] = start;
	assert_true(n <= sizeof file.b - file.len);
	while (file.len < start + n) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		file.b[file.len++] = (uint8_t)(x >> 24);
	}
	for (size_t k = 100; k + 40 < n; k += 7001)
		memcpy(file.b + start + k, "PPPK\7\10abcd\0\0\1\0\0\0\1\0PK\3\4PK\1\2P", 27);
}

/* --- what the cutter says ------------------------------------------------------------------------ */

static struct said {
	size_t n;
	struct chunk {
		size_t off;
		struct codec_cut cut;
	} v[CUTS_MAX];
} said, said_before;

static inline uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Cuts the file, fed in pieces of `most` bytes; 0: in one, 1: random small ones, 2: random ones. */
static inline void cut_file(size_t most, uint64_t seed)
{
	struct codec_cutter *c;
	struct codec_cut cut;
	size_t off = 0, start = 0;

	said.n = 0;
	assert_int_equal(codec_cutter_new(0, &c), 0);
	while (off < file.len) {
		size_t left = file.len - off, k, used;

		k = most == 0 ? left : most == 1 ? next_random(&seed) % 50 + 1 :
			most == 2 ? next_random(&seed) % 100000 + 1 : most;
		k = k < left ? k : left;
		used = codec_cut_feed(c, file.b + off, k, &cut);
		assert_in_range(used, 1, k);
		assert_true(cut.end || used == k);
		off += used;
		assert_in_range(off - start, 1, CODEC_CHUNK_MAX);
		if (!cut.end) {
			assert_int_equal(cut.behind, 0);
			continue;
		}
		assert_true(cut.behind < off - start && cut.behind < 2 * CODEC_CUT_OWN);
		assert_true(said.n < CUTS_MAX);
		said.v[said.n].off = start;
		said.v[said.n++].cut = cut;
		start = off - cut.behind;
	}
	codec_cut_end(c, &cut);
	if (start < file.len) {
		assert_true(said.n < CUTS_MAX);
		said.v[said.n].off = start;
		said.v[said.n++].cut = cut;
	}
	codec_cutter_free(c);
}

static inline bool same_said(void)
{
	if (said.n != said_before.n)
		return false;
	for (size_t i = 0; i < said.n; i++)
		if (said.v[i].off != said_before.v[i].off || said.v[i].cut.record != said_before.v[i].cut.record ||
		    said.v[i].cut.record_off != said_before.v[i].cut.record_off ||
		    said.v[i].cut.twin != said_before.v[i].cut.twin ||
		    memcmp(&said.v[i].cut.hint, &said_before.v[i].cut.hint, sizeof said.v[i].cut.hint) != 0)
			return false;
	return true;
}

static inline void cut_in_all_ways(void)
{
	static const size_t most[] = { 1, 2, 16, 4096, 65537 };

	cut_file(0, 0);
	said_before = said;
	for (size_t i = 0; i < sizeof most / sizeof most[0]; i++) {
		cut_file(most[i], 4711 + i);
		assert_true(same_said());
	}
}

/* The chunk that begins at `off`, or NULL. */
static const struct chunk *chunk_at(size_t off)
{
	for (size_t i = 0; i < said.n; i++)
		if (said.v[i].off == off)
			return &said.v[i];
	return NULL;
}

/* Whether tensor i is cut as it should be. described: its chunks say what it is, too. */
static inline bool found(size_t i, bool described)
{
	size_t at = file.at[i], n = bytes_of(i), off = 0;

	if (n < CODEC_CUT_OWN) {
		for (size_t k = 1; k < n; k++) /* the tensor before it may end with a chunk */
			if (chunk_at(at + k) != NULL)
				return false;
		return true;
	}
	while (off < n) {
		const struct chunk *c = chunk_at(at + off);
		size_t next = off + CODEC_CUT_PIECE;

		if (c == NULL || c->cut.record_off != off || c->cut.record == 0)
			return false;
		if (described && memcmp(&c->cut.hint, &tensors[i].hint, sizeof c->cut.hint) != 0)
			return false;
		if (next > n || n - next < CODEC_CUT_OWN)
			next = n;
		for (size_t k = off + 1; k < next; k++)
			if (chunk_at(at + k) != NULL)
				return false;
		off = next;
	}
	return at + n == file.len || chunk_at(at + n) != NULL;
}

static inline void all_found(const char *what, bool described)
{
	cut_in_all_ways();
	for (size_t i = 0; i < TENSORS; i++)
		if (file.at[i] > 0 && !found(i, described))
			fail_msg("%s: %s is not cut well", what, tensors[i].name);
}

/* The records of the file's tensors. */
static inline void note_records(uint64_t record[TENSORS])
{
	for (size_t i = 0; i < TENSORS; i++)
		record[i] = bytes_of(i) < CODEC_CUT_OWN ? 0 : chunk_at(file.at[i])->cut.record;
	for (size_t i = 0; i < TENSORS; i++)
		for (size_t k = 0; k < i; k++)
			assert_true(record[i] == 0 || record[i] != record[k]);
}

static inline void same_records(const uint64_t record[TENSORS])
{
	uint64_t now[TENSORS];

	note_records(now);
	assert_memory_equal(now, record, sizeof now);
}

static inline void new_file(void)
{
	file.len = 0;
	memset(file.at, 0, sizeof file.at);
}

/* --- damage -------------------------------------------------------------------------------------- */

/* Changes bytes of the file at random, mostly of headers. */
static inline void damage_file(const uint8_t *whole, size_t len, bool shorter, uint64_t *x)
{
	memcpy(file.b, whole, len);
	file.len = len;
	for (unsigned k = next_random(x) % 6 + 1; k > 0; k--) {
		/* Close to a tensor's start, into the head, or anywhere. */
		size_t at = next_random(x) % 3 == 0 ? file.at[next_random(x) % TENSORS] : 0;

		at += next_random(x) % 5 == 0 ? next_random(x) % len : next_random(x) % 3000;
		at = at > 200 && next_random(x) % 2 ? at - 200 : at;
		file.b[at % len] = next_random(x) % 2 ? (uint8_t)next_random(x) :
			(uint8_t)(file.b[at % len] ^ 1u << next_random(x) % 8);
	}
	if (shorter) { /* some bytes are missing */
		size_t at = next_random(x) % 6000, n = next_random(x) % 100 + 1;

		memmove(file.b + at, file.b + at + n, len - at - n);
		file.len = len - n;
	}
}

/* All promises hold for what the file is now with bytes changed at random, in whatever pieces. */
static inline void changed_file(uint64_t seed)
{
	static uint8_t whole[FILE_MAX];
	size_t len = file.len;
	uint64_t x = seed;

	memcpy(whole, file.b, len);
	for (int round = 0; round < 40; round++) {
		damage_file(whole, len, round % 4 == 0, &x);
		cut_file(0, 0);
		said_before = said;
		cut_file(2, x);
		assert_true(same_said());
	}
}

#endif
