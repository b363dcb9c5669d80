/*
 * test_codec_container.c: of each format a file is built here byte by byte; it is whole, and cut anywhere it is
 * torn.  Then the cases in which a simpler rule would be wrong, and bytes changed at random.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_container.h"

enum { NONE = CODEC_CONTAINER_NONE, WHOLE = CODEC_CONTAINER_WHOLE, TORN = CODEC_CONTAINER_TORN };

/* A file in memory, as large as the tests need. */
struct file {
	size_t len;
	uint8_t b[200000];
	uint64_t read; /* bytes handed out */
};

static struct file file;

static int64_t read_file(void *arg, uint64_t off, void *buf, size_t len)
{
	struct file *f = arg;

	if (off >= f->len)
		return 0;
	if (len > f->len - off)
		len = f->len - off;
	memcpy(buf, f->b + off, len);
	f->read += len;
	return (int64_t)len;
}

static int64_t read_refused(void *arg, uint64_t off, void *buf, size_t len)
{
	(void)arg;
	(void)off;
	(void)buf;
	(void)len;
	return -EIO;
}

/* The answer for the first `len` bytes of the file. */
static int state_of(size_t len)
{
	size_t whole = file.len;
	int rc;

	file.len = len;
	rc = codec_container_state(read_file, &file, len);
	file.len = whole;
	return rc;
}

static void add(const void *p, size_t n)
{
	assert_true(n <= sizeof file.b - file.len);
	memcpy(file.b + file.len, p, n);
	file.len += n;
}

#define ADD(literal) add(literal, sizeof(literal) - 1)

static void add_text(const char *s)
{
	add(s, strlen(s));
}

static void add_zeros(size_t n)
{
	assert_true(n <= sizeof file.b - file.len);
	memset(file.b + file.len, 0, n);
	file.len += n;
}

static void add_le(uint64_t v, size_t width)
{
	for (size_t i = 0; i < width; i++) {
		uint8_t b = (uint8_t)(v >> 8 * i);

		add(&b, 1);
	}
}

/* The file is `want` as it is, and torn when cut at from, from + 1, ... */
static void whole_and_torn(const char *name, size_t from)
{
	size_t step = file.len > 20000 ? 97 : 1;

	if (state_of(file.len) != WHOLE)
		fail_msg("%s: %d", name, state_of(file.len));
	for (size_t len = from; len < file.len; len += step)
		if (state_of(len) != TORN)
			fail_msg("%s cut at %zu of %zu: %d", name, len, file.len, state_of(len));
}

/* A zip as torch.save writes it, in essence: stored entries, their directory, end records. Appended to the file. */
static void add_zip(size_t entries, size_t data, bool zip64, const char *comment)
{
	size_t start = file.len, cd, end64, at[16];

	assert_true(entries <= 16);
	for (size_t i = 0; i < entries; i++) {
		at[i] = file.len - start;
		ADD("PK\3\4");
		add_zeros(22);
		add_le(4, 2);
		add_le(0, 2);
		add_text("name");
		add_zeros(data);
		ADD("PK\7\10");
		add_zeros(12);
	}
	cd = file.len - start;
	for (size_t i = 0; i < entries; i++) {
		ADD("PK\1\2");
		add_zeros(24);
		add_le(4, 2);
		add_zeros(12);
		add_le(at[i], 4);
		add_text("name");
	}
	end64 = file.len - start;
	if (zip64) {
		ADD("PK\6\6");
		add_le(44, 8);
		add_zeros(12);
		add_le(entries, 8);
		add_le(entries, 8);
		add_le(end64 - cd, 8);
		add_le(cd, 8);
		ADD("PK\6\7");
		add_le(0, 4);
		add_le(end64, 8);
		add_le(1, 4);
	}
	ADD("PK\5\6");
	add_zeros(4);
	add_le(zip64 ? 0xffff : entries, 2);
	add_le(zip64 ? 0xffff : entries, 2);
	add_le(zip64 ? 0xffffffff : end64 - cd, 4);
	add_le(zip64 ? 0xffffffff : cd, 4);
	add_le(strlen(comment), 2);
	add_text(comment);
}

static void zips(void **state)
{
	(void)state;
	file.len = 0;
	add_zip(3, 1000, false, "");
	whole_and_torn("zip", 1);

	file.len = 0;
	add_zip(3, 1000, true, "");
	whole_and_torn("zip64", 1);

	file.len = 0;
	add_zip(2, 50, false, "a comment with PK\5\6 in it, as long as you please");
	whole_and_torn("commented zip", 1);

	file.len = 0;
	add_zip(3, 50000, true, "");
	whole_and_torn("big zip", 1);

	/* The empty zip, which is torn as long as it can't say so. */
	file.len = 0;
	add_zip(0, 0, false, "");
	whole_and_torn("empty zip", 1);
}

static void zip_ends(void **state)
{
	size_t whole;

	(void)state;
	/* Junk behind the end up to 64 KiB is no harm, more is, and so is what looks like the next zip. */
	file.len = 0;
	add_zip(3, 100, true, "");
	whole = file.len;
	add_zeros(70000);
	assert_int_equal(state_of(whole + 1), WHOLE);
	assert_int_equal(state_of(whole + 65000), WHOLE);
	assert_int_equal(state_of(whole + 70000), TORN);
	file.len = whole;
	ADD("PK\3\4 and so on");
	for (size_t n = whole + 1; n <= file.len; n++)
		assert_int_equal(state_of(n), TORN);

	/* Zips in a row: whole at the end of each, torn anywhere else. */
	for (int zip64 = 0; zip64 < 2; zip64++) {
		size_t ends[4];

		file.len = 0;
		for (size_t i = 0; i < 4; i++) {
			add_zip(2, 300, zip64, "");
			ends[i] = file.len;
		}
		for (size_t n = 1, i = 0; n <= file.len; n++) {
			assert_int_equal(state_of(n), n == ends[i] ? WHOLE : TORN);
			i += n == ends[i];
		}
	}

	/* A zip stored in a zip: that the inner one is whole says nothing of the outer one. */
	for (int zip64 = 0; zip64 < 2; zip64++) {
		file.len = 0;
		ADD("PK\3\4");
		add_zeros(22);
		add_le(4, 2);
		add_le(0, 2);
		add_text("name");
		add_zip(2, 300, zip64, "");
		add_zeros(100);
		for (size_t n = 1; n <= file.len; n++)
			assert_int_equal(state_of(n), TORN);
	}

	/* An end record that lies about its directory: outside the file, elsewhere, more entries than fit. */
	for (size_t field = 10; field < 20; field++) {
		file.len = 0;
		add_zip(3, 100, false, "");
		file.b[file.len - 22 + field] ^= 0x40;
		assert_int_equal(state_of(file.len), TORN);
	}
	/* The same of the zip64 record's count, size and offset, and of the locator. */
	for (size_t at = 56 + 20 + 22 - 32; at > 20 + 22; at -= 8) {
		file.len = 0;
		add_zip(3, 100, true, "");
		file.b[file.len - at + 7] = 0xff;
		assert_int_equal(state_of(file.len), TORN);
	}
	file.len = 0;
	add_zip(3, 100, true, "");
	file.b[file.len - 22 - 20 + 8]++;
	assert_int_equal(state_of(file.len), TORN);

	/* A tail full of end records that are none takes no long search. */
	file.len = 0;
	ADD("PK\3\4");
	while (file.len < 150000)
		ADD("PK\5\6");
	file.read = 0;
	assert_int_equal(state_of(file.len), TORN);
	assert_in_range(file.read, 0, 4 << 20);
}

static void bounded_reading(void **state)
{
	(void)state;
	file.len = 0;
	add_zip(3, 60000, true, "");
	file.read = 0;
	assert_int_equal(state_of(file.len), WHOLE);
	assert_in_range(file.read, 0, 64 << 10);
	file.read = 0;
	assert_int_equal(state_of(file.len - 1), TORN);
	assert_in_range(file.read, 0, 200 << 10);
}

static void build_safetensors(const char *header, size_t data)
{
	file.len = 0;
	add_le(strlen(header), 8);
	add_text(header);
	add_zeros(data);
}

static void safetensors(void **state)
{
	static const char plain[] = "{\"__metadata__\":{\"format\":\"pt\",\"data_offsets\":\"[0,99999]\"},"
		"\"w\":{\"dtype\":\"F32\",\"shape\":[4,5],\"data_offsets\":[0,80]},"
		"\"odd \\\"data_offsets\\\":[0,999999]\":{\"data_offsets\":[80,87],\"dtype\":\"I8\",\"shape\":[7]}}   ";
	static const struct {
		const char *header;
		size_t data;
	} whole[] = {
		{ plain, 87 },
		{ "{}", 0 },
		{ "{}      ", 0 },
		{ " { \"w\" : { \"data_offsets\" : [ 0 ,\t80 ] } }\n", 80 },
		{ "{\"data_offsets\":{\"data_offsets\":[0,3]},"
		  "\"x\":{\"more\":{\"deep\":[1.5e3,null]},\"data_offsets\":[3,4]}}", 4 },
	};
	static const char *none[] = {
		"{\"w\":{\"data_offsets\":[80,0]}}",
		"{\"w\":{\"data_offsets\":[0,99999999999999999999]}}",
		"{\"w\":{\"data_offsets\":[0,18446744073709551615]}}",
		"{\"w\":{\"data_offsets\":[0]}}",
		"{\"w\":{\"data_offsets\":[,]}}",
		"{\"w\":{\"data_offsets\":[0,1]}",
		"{\"w\":{\"data_offsets\":[0,1]}}}",
		"{\"w\":\1}",
		"{hello}",
		"{\"a\nb\":1}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
		build_safetensors(whole[i].header, whole[i].data);
		whole_and_torn(whole[i].header, 9);
		for (size_t n = 0; n < 9; n++)
			assert_int_equal(state_of(n), NONE);
		add_zeros(1);
		assert_int_equal(state_of(file.len), NONE);
	}
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		build_safetensors(none[i], 100);
		if (state_of(file.len) != NONE)
			fail_msg("%s: %d", none[i], state_of(file.len));
	}
	/* Brackets without end, a header longer than the format allows, and shorter. */
	file.len = 0;
	add_le(1000, 8);
	for (int i = 0; i < 1000; i++)
		ADD("{");
	assert_int_equal(state_of(file.len), NONE);
	file.len = 0;
	add_le(100000001, 8);
	ADD("{\"w\":{");
	assert_int_equal(state_of(file.len), NONE);
	build_safetensors("{", 100);
	assert_int_equal(state_of(file.len), NONE);
	build_safetensors("", 0);
	ADD("{\"a\":1}");
	assert_int_equal(state_of(file.len), NONE);
}

static void add_npy(unsigned version, const char *dict, size_t data)
{
	ADD("\x93NUMPY");
	add_le(version, 2);
	add_le(strlen(dict), version == 1 ? 2 : 4);
	add_text(dict);
	add_zeros(data);
}

static void npy(void **state)
{
	static const struct {
		const char *descr, *shape;
		size_t data;
	} whole[] = {
		{ "<f4", "(3, 4)", 48 }, { "|b1", "(5,)", 5 }, { "<U5", "(2,)", 40 }, { "<V2", "(3,)", 6 },
		{ "|S7", "(2, 1)", 14 }, { "<M8[ns]", "(4,)", 32 }, { ">i8", "()", 8 }, { "<c16", "(2L, 2L)", 64 },
		{ "<f8", "(0, 4)", 0 }, { "<f2", "(1000, 2)", 4000 },
	};
	static const char *none[] = {
		"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
		"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 3), }",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
		"{'descr': '<f99999999999', 'shape': (1,), }",
		"{'descr': '<f4', 'shape': (1", "{'descr': '<f4'}", "{'shape': (1,)}", "{'descr': '<f4", "", "{", "nonsense",
		"{'descr': '<f4', 'shape': (1,), 'more': 1}",
	};
	char dict[200];
	size_t first;

	(void)state;
	for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
		for (unsigned version = 1; version <= 3; version++) {
			snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }       \n",
				whole[i].descr, whole[i].shape);
			file.len = 0;
			add_npy(version, dict, whole[i].data);
			whole_and_torn(dict, 1);
			ADD("x");
			assert_int_equal(state_of(file.len), NONE);
		}
	}
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
		file.len = 0;
		add_npy(1, none[i], 100);
		if (state_of(file.len) != NONE)
			fail_msg("%s: %d", none[i], state_of(file.len));
	}
	file.len = 0;
	add_npy(4, "{'descr': '<f4', 'shape': (1,)}", 4);
	assert_int_equal(state_of(file.len), NONE);

	/* Two in one file. */
	file.len = 0;
	add_npy(1, "{'shape': (6,), 'fortran_order': True, 'descr': \"<f4\"}", 24);
	first = file.len;
	add_npy(2, "{'descr': '<i2', 'fortran_order': False, 'shape': (6,), }", 12);
	for (size_t n = 1; n <= file.len; n++)
		assert_int_equal(state_of(n), n == first || n == file.len ? WHOLE : TORN);
}

/* A storage's persistent id, as protocol 2 writes it the first and every other time. */
static void add_id(bool first, const char *key, unsigned numel)
{
	if (first)
		ADD("(X\7\0\0\0storageq\1ctorch\nFloatStorage\nq\2");
	else
		ADD("(h\1h\2");
	ADD("X");
	add_le(strlen(key), 4);
	add_text(key);
	ADD("q\3h\4K");
	add_le(numel, 1);
	ADD("Ntq\5Q");
}

static void add_legacy_head(void)
{
	ADD("\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
	ADD("\x80\2M\xe9\3.");
	ADD("\x80\2}q\0(X\20\0\0\0protocol_versionq\1M\xe9\3X\15\0\0\0little_endianq\2\x88u.");
}

/* [storage a of 5 floats, storage b of 7, a again, some other values] */
static void add_legacy(void)
{
	add_legacy_head();
	ADD("\x80\2]q\0(X\3\0\0\0cpuq\4G\0\0\0\0\0\0\0\0");
	add_id(true, "111", 5);
	ADD("K\0\x85q\6cbuiltins\nset\nq\7)R");
	add_id(false, "222", 7);
	add_id(false, "111", 5);
	/* the source of a class, and long strings */
	ADD("(X\6\0\0\0moduleq\10c__main__\nNet\nq\11X\2\0\0\0fnX\5\0\0\0classtQ");
	ADD("X\xe8\3\0\0");
	add_zeros(1000);
	ADD("C\12");
	add_zeros(10);
	ADD("\x8a\3abce.");
	ADD("\x80\2]q\0(X\3\0\0\0" "111q\1X\3\0\0\0" "222q\2e.");
	add_le(5, 8);
	add_zeros(20);
	add_le(7, 8);
	add_zeros(28);
}

static void legacy(void **state)
{
	size_t first;

	(void)state;
	file.len = 0;
	add_legacy();
	whole_and_torn("legacy", 1);
	first = file.len;
	ADD("x");
	assert_int_equal(state_of(file.len), NONE);
	file.len = first;
	add_legacy();
	for (size_t n = first; n <= file.len; n++)
		assert_int_equal(state_of(n), n == first || n == file.len ? WHOLE : TORN);

	/* Without any storage it ends with p4. */
	file.len = 0;
	add_legacy_head();
	ADD("\x80\2K\5.\x80\2]q\0.");
	whole_and_torn("legacy without storages", 1);

	/* Protocol 4: frames, memo by order, classes by two strings. */
	file.len = 0;
	ADD("\x80\4\x95\x0d\0\0\0\0\0\0\0\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
	ADD("\x80\4M\xe9\3.\x80\4}\x94.");
	ADD("\x80\4\x95\x40\0\0\0\0\0\0\0]\x94(");
	ADD("(\x8c\7storage\x94\x8c\5torch\x94\x8c\x0bHalfStorage\x94\x93\x94\x8c\3" "111\x94\x8c\3cpu\x94K\3Nt\x94Q");
	ADD("(h\1h\2\x8c\x0b" "LongStorage\x94\x93\x94\x8c\3" "222\x94h\6K\2NtQ");
	ADD("e.\x80\4]\x94(\x8c\3" "111\x94\x8c\3" "222\x94" "e.");
	add_zeros(8 + 6 + 8 + 16);
	whole_and_torn("legacy, protocol 4", 1);

	/* Not understood: an unknown class, a view, an id that is no tuple, keys of other storages, one of two sizes. */
	file.len = 0;
	add_legacy_head();
	first = file.len;
	static const struct {
		const char *p;
		size_t len;
	} beyond[] = {
#define B(s) { s, sizeof(s) - 1 }
		B("\x80\2(X\7\0\0\0storagectorch\nOddStorage\nX\1\0\0\0" "1X\3\0\0\0cpuK\1NtQ.\x80\2]X\1\0\0\0" "1a."),
		B("\x80\2(X\7\0\0\0storagectorch\nIntStorage\nX\1\0\0\0" "1X\3\0\0\0cpuK\1K\1K\1K\1\x87tQ.\x80\2]X\1\0\0\0" "1a."),
		B("\x80\2NQ.\x80\2]."),
		B("\x80\2(X\7\0\0\0storagectorch\nIntStorage\nX\1\0\0\0" "1X\3\0\0\0cpuK\1NtQ.\x80\2]X\1\0\0\0" "2a."),
		B("\x80\2(X\7\0\0\0storagectorch\nIntStorage\nX\1\0\0\0" "1X\3\0\0\0cpuK\1NtQ.\x80\2]."),
		B("\x80\2(X\7\0\0\0storagectorch\nIntStorage\nX\1\0\0\0" "1X\3\0\0\0cpuK\1NtQ"
		  "(X\7\0\0\0storagectorch\nIntStorage\nX\1\0\0\0" "1X\3\0\0\0cpuK\2NtQ.\x80\2]X\1\0\0\0" "1a."),
		B("\x80\2(X\7\0\0\0storagectorch\nIntStorage\nX\1\0\0\0" "1X\3\0\0\0cpu"
		  "\x8a\10\xff\xff\xff\xff\xff\xff\xff\xffNtQ.\x80\2]X\1\0\0\0" "1a."),
		B("\x80\2P1\n.\x80\2]."),
		B("\x80\2\xfe.\x80\2]."),
#undef B
	};
	for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
		file.len = first;
		add(beyond[i].p, beyond[i].len);
		if (state_of(file.len) != NONE)
			fail_msg("legacy case %zu: %d", i, state_of(file.len));
	}
}

static void others(void **state)
{
	static const struct {
		const char *p;
		size_t len;
		int want;
	} head[] = {
#define H(s, want) { s, sizeof(s) - 1, want }
		H("", NONE), H("P", TORN), H("PK", TORN), H("PK\3", TORN), H("PK\5", TORN), H("PK\7\10more", NONE),
		H("PX", NONE), H("\x93NUM", TORN), H("\x93NUX", NONE), H("\x80", TORN), H("\x80\2\x8a", TORN),
		H("\x80\4\x95\x0d", TORN), H("\x80\4\x95\x0e\0\0\0\0\0\0\0", NONE), H("\x80\2}.", NONE),
		H("\x89HDF\r\n\x1a\n and so on", NONE), H("{\"epoch\": 1}", NONE), H("hello world\n", NONE),
#undef H
	};

	(void)state;
	for (size_t i = 0; i < sizeof head / sizeof head[0]; i++) {
		file.len = 0;
		add(head[i].p, head[i].len);
		if (state_of(file.len) != head[i].want)
			fail_msg("head %zu: %d", i, state_of(file.len));
	}
	assert_int_equal(codec_container_state(read_refused, NULL, 100), -EIO);
	/* A file that is shorter than was said, since somebody truncated it meanwhile. */
	file.len = 0;
	assert_int_equal(codec_container_state(read_file, &file, 100), NONE);
	add_zip(2, 100, true, "");
	assert_int_equal(codec_container_state(read_file, &file, UINT64_MAX), TORN);
	file.len = 0;
	add_legacy();
	assert_in_range(codec_container_state(read_file, &file, UINT64_MAX), NONE, TORN);
}

/* Whatever becomes of the bytes, an answer comes, and soon. */
static void changed_bytes(void **state)
{
	static uint8_t good[100000];
	uint64_t x = 42;

	(void)state;
	for (int which = 0; which < 6; which++) {
		size_t len;

		file.len = 0;
		if (which < 2)
			add_zip(3, 100, which, "");
		else if (which == 2)
			build_safetensors("{\"w\":{\"dtype\":\"F32\",\"shape\":[4,5],\"data_offsets\":[0,80]}}", 80);
		else if (which == 3)
			add_npy(2, "{'descr': '<i2', 'fortran_order': False, 'shape': (6,), }", 12);
		else if (which == 4)
			add_legacy();
		else
			for (int i = 0; i < 5; i++)
				add_zip(1, 20, true, "");
		len = file.len;
		memcpy(good, file.b, len);
		for (int i = 0; i < 20000; i++) {
			int rc;

			memcpy(file.b, good, len);
			for (int m = 0; m <= i % 4; m++) {
				x ^= x << 13;
				x ^= x >> 7;
				x ^= x << 17;
				file.b[x % len] = (x >> 40 & 3) == 0 ? 0xff : (uint8_t)(x >> 32);
			}
			rc = state_of(len);
			assert_in_range(rc, NONE, TORN);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zips),
		cmocka_unit_test(zip_ends),
		cmocka_unit_test(bounded_reading),
		cmocka_unit_test(safetensors),
		cmocka_unit_test(npy),
		cmocka_unit_test(legacy),
		cmocka_unit_test(others),
		cmocka_unit_test(changed_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
