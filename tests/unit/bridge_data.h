/*
 * bridge_data.h: torch files of a few tensors made in the tests, a document of one, and a view of it as bytes.
 */
#ifndef BRIDGE_DATA_H
#define BRIDGE_DATA_H

#include "memory_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/ckpt_error.h"
#include "torchbridge/bridge_doc.h"
#include "torchbridge/bridge_layout.h"
#include "torchbridge/bridge_view.h"

#define P2 "\x80\2"
#define STR(n, s) "X" n "\0\0\0" s
#define OD "ccollections\nOrderedDict\n)R"

/* A storage's id: MARK 'storage' class key location count TUPLE BINPERSID; in a legacy file with a sixth element. */
#define PID_ON(class, key, location, count) "(" STR("\7", "storage") class STR("\1", key) location count "tQ"
#define PID(class, key, count) PID_ON(class, key, CUDA0, count)
#define LEGACY_PID(class, key, location, count) "(" STR("\7", "storage") class STR("\1", key) location count "NtQ"
#define CUDA0 STR("\6", "cuda:0")
#define CPU STR("\3", "cpu")
#define DOUBLE "ctorch\nDoubleStorage\n"
#define FLOAT "ctorch\nFloatStorage\n"
#define HALF "ctorch\nHalfStorage\n"
#define LONGS "ctorch\nLongStorage\n"
#define BYTE "ctorch\nByteStorage\n"

/* A tensor of storage `pid`: offset, size and stride as opcodes. */
#define V2(pid, offset, size, stride) "ctorch._utils\n_rebuild_tensor_v2\n(" pid offset size stride "\x89" OD "tR"
/* The first n (an opcode) elements of a storage. */
#define VECTOR(pid, n) V2(pid, "K\0", n "\x85", "K\1\x85")

#define DATA(s) (const uint8_t *)(s), sizeof(s) - 1

/* The heads of a legacy file; the object's pickle follows, then that of the keys, then counts and bytes. */
#define LEGACY_HEAD P2 "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." P2 "M\xe9\3." P2 "}."

/* Bytes of storage `key`: different everywhere, and plain numbers as float32. */
static inline uint8_t data_byte(unsigned key, size_t i)
{
	static const uint8_t tail[4] = { 0, 0, 0x80, 0x3f };

	return i % 4 < 2 ? (uint8_t)(i / 4 * 7 + key * 31 + i % 4) : tail[i % 4];
}

/* A zip "m" with the pickle p and n storages "0", "1", .. of len[i] bytes. */
static inline void data_zip(struct byte_buf *f, const uint8_t *p, size_t p_len, const size_t *len, unsigned n)
{
	struct zip_writer w;

	f->len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(f, &w, "m/data.pkl", p, p_len);
	memory_record(f, &w, "m/.format_version", "1", 1);
	memory_record(f, &w, "m/.storage_alignment", "64", 2);
	memory_record(f, &w, "m/byteorder", "little", 6);
	for (unsigned k = 0; k < n; k++) {
		uint8_t *b = malloc(len[k] + 1);
		char name[32];

		assert_non_null(b);
		for (size_t i = 0; i < len[k]; i++)
			b[i] = data_byte(k, i);
		snprintf(name, sizeof name, "m/data/%u", k);
		memory_record(f, &w, name, b, len[k]);
		free(b);
	}
	memory_record(f, &w, "m/version", "3\n", 2);
	memory_record(f, &w, "m/.data/serialization_id", "0123456789", 10);
	assert_int_equal(zip_write_end(&w, f), 0);
	zip_writer_release(&w);
}

static inline struct bridge_doc *data_open(struct byte_buf *f)
{
	struct bridge_doc *d;

	if (bridge_doc_open(memory_read, f, f->len, 0, &d) != 0)
		fail_msg("%s", ckpt_errmsg());
	return d;
}

static inline int64_t data_read(void *arg, uint32_t source, uint64_t off, void *buf, size_t len)
{
	assert_int_equal(source, 0);
	return memory_read(arg, off, buf, len);
}

/* All bytes of a layout over the file f, read in pieces of `piece` bytes. */
static inline void data_layout(const struct bridge_layout *l, struct byte_buf *f, size_t piece, struct byte_buf *out)
{
	struct bridge_sources src = { data_read, f };
	uint64_t size = bridge_layout_size(l);

	out->len = 0;
	assert_int_equal(byte_buf_reserve(out, (size_t)size + piece + 1), 0);
	while (out->len < size) {
		ssize_t n = bridge_layout_read(l, &src, out->len, out->p + out->len, piece);

		if (n <= 0)
			fail_msg("read at %zu: %zd (%s)", out->len, n, ckpt_errmsg());
		out->len += (size_t)n;
	}
	assert_int_equal(out->len, size);
	assert_int_equal(bridge_layout_read(l, &src, size, out->p, piece), 0);
}

/* A view of the file f: 0, or what refused it. The view is read in two ways, which must be the same bytes. */
static inline int data_view(struct byte_buf *f, const char *view, struct byte_buf *out)
{
	struct bridge_doc *d = data_open(f);
	struct bridge_spec spec;
	struct bridge_layout *l;
	struct byte_buf again = { 0 };
	int rc;

	assert_true(bridge_spec_parse(view, &spec));
	rc = spec.form == BRIDGE_SAFETENSORS ? bridge_view_safetensors(d, &spec, memory_read, f, &l)
					     : bridge_view_file(d, &spec, memory_read, f, &l);
	bridge_doc_free(d);
	if (rc < 0)
		return rc;
	data_layout(l, f, 4096, out);
	data_layout(l, f, 7, &again);
	assert_memory_equal(out->p, again.p, out->len);
	byte_buf_release(&again);
	bridge_layout_free(l);
	return 0;
}

static inline void data_must_view(struct byte_buf *f, const char *view, struct byte_buf *out)
{
	int rc = data_view(f, view, out);

	if (rc != 0)
		fail_msg("%s: %d (%s)", view, rc, ckpt_errmsg());
}

/* Whether bytes are somewhere in a buffer. */
static inline bool data_has(const struct byte_buf *b, const char *what)
{
	return memmem(b->p, b->len, what, strlen(what)) != NULL;
}

#endif
