/*
 * test_zip.c: the bytes of a zip as torch's formulas have them, its directory read back, and one lie for each field
 * that the reader believes.
 */
#include "memory_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/ckpt_error.h"
#include "codec/read_window.h"
#include "codec/zip_read.h"
#include "codec/zip_write.h"

/* NAME/data.pkl, NAME/data/0, NAME/version */
static void build(struct byte_buf *f)
{
	struct zip_writer w;

	zip_writer_init(&w, 0, 0);
	memory_record(f, &w, "a/data.pkl", "\x80\2N.", 4);
	memory_record(f, &w, "a/data/0", "0123456789abcdef", 16);
	memory_record(f, &w, "a/empty", "", 0);
	memory_record(f, &w, "a/version", "3\n", 2);
	assert_int_equal(zip_write_end(&w, f), 0);
	zip_writer_release(&w);
}

static int open_it(struct byte_buf *f, struct zip **z)
{
	return zip_open(memory_read, f, f->len, 0, z);
}

static void crc(void **state)
{
	uint8_t p[1000];

	(void)state;
	assert_int_equal(zip_crc(0, (const uint8_t *)"123456789", 9), 0xcbf43926);
	for (size_t i = 0; i < sizeof p; i++)
		p[i] = (uint8_t)(i * 7);
	assert_int_equal(zip_crc(zip_crc(0, p, 333), p + 333, sizeof p - 333), zip_crc(0, p, sizeof p));
}

static void reads_what_it_writes(void **state)
{
	struct byte_buf f = { 0 };
	struct zip *z;
	const struct zip_entry *e;
	uint64_t off, len;

	(void)state;
	build(&f);
	assert_int_equal(open_it(&f, &z), 0);
	assert_int_equal(zip_count(z), 4);
	assert_int_equal(zip_base(z), 0);
	assert_int_equal(zip_end(z), f.len);
	assert_int_equal(zip_directory(z, &len) + len + 98, f.len);
	e = zip_find(z, "a/data/0", 8);
	assert_non_null(e);
	assert_int_equal(e->size, 16);
	assert_int_equal(e->flags, 0x808);
	assert_int_equal(zip_data(z, e, memory_read, &f, &off), 0);
	assert_int_equal(off % 64, 0);
	assert_memory_equal(f.p + off, "0123456789abcdef", 16);
	assert_int_equal(zip_find(z, "a/empty", 7)->flags, 0x800);
	assert_null(zip_find(z, "a/data/", 7));
	assert_null(zip_find(z, "A/data/0", 8));
	assert_false(zip_ambiguous(z));
	zip_free(z);
	byte_buf_release(&f);
}

/* The formula of the header's length, for both widths and odd alignments. */
static void lengths(void **state)
{
	static const struct {
		uint64_t size, header, align, field;
	} cases[] = {
		{ 5, 0, 64, 0 },
		{ 5, 1000, 4096, 0 },
		{ 5, 77, 1, 0 },
		{ 0xfffffffe, 3, 100, 0 },
		{ 0xffffffff, 3, 64, 20 },
		{ 7, 0xffffffff, 64, 12 },
		{ UINT64_C(1) << 33, UINT64_C(1) << 34, 64, 28 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int64_t n = zip_header_length(10, cases[i].size, cases[i].header, cases[i].align);

		assert_true(n >= (int64_t)(44 + cases[i].field));
		assert_true(n < (int64_t)(44 + cases[i].field + cases[i].align));
		assert_int_equal((cases[i].header + (uint64_t)n) % cases[i].align, 0);
	}
	assert_int_equal(zip_header_length(0, 1, 0, 64), -EINVAL);
	assert_int_equal(zip_header_length(ZIP_NAME_MAX + 1, 1, 0, 64), -EINVAL);
	assert_int_equal(zip_header_length(1, 1, 1, 1 << 20), -EINVAL);
}

/* Records above 4 GiB: headers written, the data imagined. */
static void wide(void **state)
{
	struct byte_buf out = { 0 };
	struct zip_writer w;
	uint64_t data;

	(void)state;
	zip_writer_init(&w, 0, 0);
	assert_int_equal(zip_write_header(&w, "a/b", 3, UINT64_C(5) << 30, &out, &data), 0);
	assert_int_equal(out.len, data);
	assert_int_equal(data % 64, 0);
	assert_int_equal(byte_le64(out.p + 30 + 3 + 4), UINT64_C(5) << 30);
	assert_int_equal(byte_le64(out.p + 30 + 3 + 12), 0); /* miniz's */
	out.len = 0;
	assert_int_equal(zip_write_descriptor(&w, 7, &out), 0);
	assert_int_equal(out.len, 24);
	assert_int_equal(w.off, data + (UINT64_C(5) << 30) + 24);
	out.len = 0;
	assert_int_equal(zip_write_header(&w, "a/c", 3, 1, &out, &data), 0);
	assert_int_equal(byte_le64(out.p + 30 + 3 + 4), w.header);
	zip_writer_release(&w);
	byte_buf_release(&out);
}

static void junk_comment_row(void **state)
{
	struct byte_buf f = { 0 };
	struct zip *z;
	size_t one;

	(void)state;
	build(&f);
	one = f.len;
	byte_buf_fill(&f, 'x', 60000);
	assert_int_equal(open_it(&f, &z), 0);
	assert_int_equal(zip_end(z), one);
	zip_free(z);

	f.len = one; /* a row of two */
	byte_buf_reserve(&f, one);
	memcpy(f.p + one, f.p, one);
	f.len = 2 * one;
	assert_int_equal(open_it(&f, &z), 0);
	assert_int_equal(zip_base(z), one);
	assert_int_equal(zip_count(z), 4);
	assert_true(zip_at(z, 0)->header == one);
	zip_free(z);
	assert_int_equal(zip_open(memory_read, &f, one, 0, &z), 0);
	zip_free(z);
	byte_buf_release(&f);
}

/* Two entries of one name are refused, two that differ by case marked. */
static void names(void **state)
{
	static const char *const second[] = { "a/x", "a/X", "a/y" };
	static const int want[] = { -EBADMSG, 1, 0 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct byte_buf f = { 0 };
		struct zip_writer w;
		struct zip *z;
		int rc;

		zip_writer_init(&w, 0, 0);
		memory_record(&f, &w, "a/x", "1", 1);
		memory_record(&f, &w, second[i], "2", 1);
		assert_int_equal(zip_write_end(&w, &f), 0);
		rc = open_it(&f, &z);
		if (want[i] < 0) {
			assert_int_equal(rc, want[i]);
		} else {
			assert_int_equal(rc, 0);
			assert_int_equal(zip_ambiguous(z), want[i]);
			zip_free(z);
		}
		zip_writer_release(&w);
		byte_buf_release(&f);
	}
}

/* Each field of a directory record and of the end records, made a lie. */
static void lies(void **state)
{
	static const struct {
		const char *what;
		enum { RECORD, END64, LOCATOR, END } where;
		size_t off, width;
		uint64_t v;
		int want;
	} cases[] = {
		{ "signature", RECORD, 0, 4, 0, -EBADMSG },
		{ "encrypted", RECORD, 8, 2, 0x809, -EBADMSG },
		{ "two sizes", RECORD, 20, 4, 3, -EBADMSG },
		{ "other size", RECORD, 24, 4, 5, -EBADMSG },
		{ "no name", RECORD, 28, 2, 0, -EBADMSG },
		{ "long name", RECORD, 28, 2, 0xffff, -EBADMSG },
		{ "long extra", RECORD, 30, 2, 0xffff, -EBADMSG },
		{ "long comment", RECORD, 32, 2, 0xffff, -EBADMSG },
		{ "another disk", RECORD, 34, 2, 1, -ENOTSUP },
		{ "header beyond", RECORD, 42, 4, 0x7fffffff, -EBADMSG },
		{ "no zip64 field", RECORD, 42, 4, 0xffffffff, -EBADMSG },
		{ "NUL in the name", RECORD, 47, 1, 0, -EBADMSG },
		{ "fewer entries", END64, 32, 8, 3, -ENOTSUP },
		{ "a billion entries", END64, 32, 8, 1000000000, -ENOTSUP },
		{ "a short directory", END64, 40, 8, 46, -EBADMSG },
		{ "a directory elsewhere", END64, 48, 8, 1, -EBADMSG },
		{ "a directory beyond", END64, 48, 8, UINT64_MAX, -EBADMSG },
		{ "a huge directory", END64, 40, 8, UINT64_MAX, -EBADMSG },
		{ "a long end record", END64, 4, 8, 45, -EBADMSG },
		{ "several disks", END64, 16, 4, 1, -ENOTSUP },
		{ "a long comment", END, 20, 2, 5, -EBADMSG },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct byte_buf f = { 0 };
		struct zip *z;
		uint64_t len, at;
		int rc;

		build(&f);
		assert_int_equal(open_it(&f, &z), 0);
		at = zip_directory(z, &len);
		zip_free(z);
		at = cases[i].where == RECORD ? at : cases[i].where == END64 ? at + len : at + len + 76;
		for (size_t k = 0; k < cases[i].width; k++)
			f.p[at + cases[i].off + k] = (uint8_t)(cases[i].v >> 8 * k);
		rc = open_it(&f, &z);
		if (rc != cases[i].want)
			fail_msg("%s: %d (%s)", cases[i].what, rc, rc < 0 ? ckpt_errmsg() : "");
		byte_buf_release(&f);
	}
}

/* Too many entries are refused by their number, before they are looked at. */
static void too_many(void **state)
{
	struct byte_buf f = { 0 };
	struct zip *z;
	uint64_t n = ZIP_ENTRIES_MAX + 1, size = n * 46;

	(void)state;
	assert_int_equal(byte_buf_fill(&f, 0, (size_t)size), 0);
	memcpy(f.p, "PK\1\2", 4);
	byte_buf_put(&f, "PK\6\6", 4);
	byte_buf_le(&f, 44, 8);
	byte_buf_fill(&f, 0, 12);
	byte_buf_le(&f, n, 8);
	byte_buf_le(&f, n, 8);
	byte_buf_le(&f, size, 8);
	byte_buf_le(&f, 0, 8);
	byte_buf_put(&f, "PK\6\7", 4);
	byte_buf_le(&f, 0, 4);
	byte_buf_le(&f, size, 8);
	byte_buf_le(&f, 1, 4);
	byte_buf_put(&f, "PK\5\6", 4);
	byte_buf_fill(&f, 0, 18);
	assert_int_equal(open_it(&f, &z), -EFBIG);
	byte_buf_release(&f);
}

/* A local header that is none, or whose lengths reach into the directory. */
static void local_headers(void **state)
{
	struct byte_buf f = { 0 };
	struct zip *z;
	uint64_t off;

	(void)state;
	build(&f);
	assert_int_equal(open_it(&f, &z), 0);
	f.p[28] = f.p[29] = 0xff;
	assert_int_equal(zip_data(z, zip_at(z, 0), memory_read, &f, &off), -EBADMSG);
	f.p[0] = 'Q';
	assert_int_equal(zip_data(z, zip_at(z, 0), memory_read, &f, &off), -EBADMSG);
	zip_free(z);
	byte_buf_release(&f);
}

/* Cut anywhere it is no zip; changed anywhere it is one or not, and nothing worse. */
static void cut_and_noise(void **state)
{
	struct byte_buf f = { 0 };
	struct zip *z;
	uint64_t x = 88172645463325252u;

	(void)state;
	build(&f);
	for (size_t n = 0; n < f.len; n++)
		assert_true(zip_open(memory_read, &f, n, 0, &z) < 0);
	for (int i = 0; i < 5000; i++) {
		size_t at, count;
		uint8_t was;
		uint64_t off;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		at = x % f.len;
		was = f.p[at];
		f.p[at] = (uint8_t)(x >> 40);
		if (open_it(&f, &z) == 0) {
			count = zip_count(z);
			for (size_t k = 0; k < count; k++)
				if (zip_data(z, zip_at(z, k), memory_read, &f, &off) == 0)
					assert_true(off + zip_at(z, k)->size <= f.len);
			zip_free(z);
		}
		f.p[at] = was;
	}
	byte_buf_release(&f);
}

struct tail {
	const struct byte_buf *from;
	struct byte_buf out;
};

static int put_bytes(void *arg, const void *p, size_t len)
{
	return byte_buf_put(&((struct tail *)arg)->out, p, len);
}

static int put_range(void *arg, uint64_t off, uint64_t len)
{
	struct tail *t = arg;

	assert_true(off + len <= t->from->len);
	return byte_buf_put(&t->out, t->from->p + off, (size_t)len);
}

/* One entry exchanged, and the others where they were. */
static void tail(void **state)
{
	struct byte_buf f = { 0 }, now = { 0 };
	struct tail t = { &f, { 0 } };
	struct zip_sink sink = { put_bytes, put_range, &t };
	struct zip_change change = { NULL, &now };
	struct zip *z, *after;
	uint64_t before_off, off, end, len;

	(void)state;
	build(&f);
	assert_int_equal(open_it(&f, &z), 0);
	assert_int_equal(zip_data(z, zip_at(z, 1), memory_read, &f, &before_off), 0);
	byte_buf_text(&now, "something longer than it was");
	change.entry = zip_at(z, 0);
	assert_int_equal(zip_write_tail(z, &change, 1, &sink), 0);
	end = zip_directory(z, &len);
	byte_buf_release(&f);
	f = t.out;
	assert_int_equal(open_it(&f, &after), 0);
	assert_int_equal(zip_count(after), 4);
	assert_string_equal(zip_at(after, 0)->name, "a/data.pkl");
	assert_int_equal(zip_at(after, 0)->crc, zip_crc(0, now.p, now.len));
	assert_int_equal(zip_data(after, zip_at(after, 0), memory_read, &f, &off), 0);
	assert_true(off > end);
	assert_memory_equal(f.p + off, now.p, now.len);
	assert_int_equal(zip_data(after, zip_at(after, 1), memory_read, &f, &off), 0);
	assert_int_equal(off, before_off);
	zip_free(z);
	zip_free(after);
	byte_buf_release(&f);
	byte_buf_release(&now);
}

/* Reads of any size at any place are what they are without a window, and many that lie close are few. */
static int64_t counting_read(void *arg, uint64_t off, void *buf, size_t len)
{
	unsigned *reads = arg;
	uint8_t *p = buf;

	(*reads)++;
	if (off >= 1000000)
		return 0;
	len = len < 1000000 - off ? len : (size_t)(1000000 - off);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)((off + i) * 2654435761u >> 13);
	return (int64_t)len;
}

static void windows(void **state)
{
	struct read_window *w;
	unsigned reads = 0, direct = 0;
	uint8_t a[6000], b[6000];

	(void)state;
	assert_int_equal(read_window_new(counting_read, &reads, &w), 0);
	for (uint64_t off = 0; off < 999000; off += 200) {
		assert_int_equal(read_window_read(w, off, a, 30), 30);
		counting_read(&direct, off, b, 30);
		assert_memory_equal(a, b, 30);
	}
	assert_true(reads < 40);
	for (uint32_t i = 0, x = 7; i < 2000; i++) {
		uint64_t off;
		size_t len;
		int64_t n;

		x = x * 1664525 + 1013904223;
		off = i % 3 == 0 ? (x >> 8) % 1000100 : 990000 + (x >> 8) % 10100;
		len = (x >> 5) % sizeof a;
		n = read_window_read(w, off, a, len);
		assert_true(n >= 0 && (size_t)n <= len);
		assert_true(len == 0 || off >= 1000000 || n > 0);
		assert_true(counting_read(&direct, off, b, len) >= n);
		assert_memory_equal(a, b, (size_t)n);
	}
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc),
		cmocka_unit_test(reads_what_it_writes),
		cmocka_unit_test(lengths),
		cmocka_unit_test(wide),
		cmocka_unit_test(junk_comment_row),
		cmocka_unit_test(names),
		cmocka_unit_test(lies),
		cmocka_unit_test(too_many),
		cmocka_unit_test(local_headers),
		cmocka_unit_test(cut_and_noise),
		cmocka_unit_test(tail),
		cmocka_unit_test(windows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
