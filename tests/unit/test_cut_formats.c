/*
 * test_cut_formats.c: tensors are found as their file streams by, in whatever container they lie.
 *
 * One set of tensors is written into each format, byte by byte as its own writer does it.  Each tensor that
 * is large enough must be cut at its first byte, at its last and every CODEC_CUT_PIECE, and nowhere else;
 * described in the same way everywhere; and all of that must not depend on the pieces in which the stream
 * comes.  Then files that lie, and bytes changed at random.
 */
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

static void add(const void *p, size_t n)
{
	assert_true(n <= sizeof file.b - file.len);
	if (n > 0)
		memcpy(file.b + file.len, p, n);
	file.len += n;
}

#define ADD(literal) add(literal, sizeof(literal) - 1)

static void add_text(const char *s)
{
	add(s, strlen(s));
}

static void add_le(uint64_t v, size_t width)
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

static size_t numel(size_t i)
{
	size_t n = 1;

	for (size_t d = 0; d < 3 && tensors[i].shape[d] > 0; d++)
		n *= tensors[i].shape[d];
	return n;
}

static size_t bytes_of(size_t i)
{
	return numel(i) * tensors[i].item;
}

static unsigned dims_of(size_t i)
{
	unsigned n = 0;

	while (n < 3 && tensors[i].shape[n] > 0)
		n++;
	return n;
}

/* The same bytes each time; some of them begin like a zip's signatures, and like a descriptor that tells other sizes. */
static void add_payload(size_t i)
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

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

/* Cuts the file, fed in pieces of `most` bytes; 0: in one, 1: random small ones, 2: random ones. */
static void cut_file(size_t most, uint64_t seed)
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

static bool same_said(void)
{
	if (said.n != said_before.n)
		return false;
	for (size_t i = 0; i < said.n; i++)
		if (said.v[i].off != said_before.v[i].off || said.v[i].cut.record != said_before.v[i].cut.record ||
		    said.v[i].cut.record_off != said_before.v[i].cut.record_off ||
		    memcmp(&said.v[i].cut.hint, &said_before.v[i].cut.hint, sizeof said.v[i].cut.hint) != 0)
			return false;
	return true;
}

static void cut_in_all_ways(void)
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
static bool found(size_t i, bool described)
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

static void all_found(const char *what, bool described)
{
	cut_in_all_ways();
	for (size_t i = 0; i < TENSORS; i++)
		if (file.at[i] > 0 && !found(i, described))
			fail_msg("%s: %s is not cut well", what, tensors[i].name);
}

/* The records of the file's tensors. */
static void note_records(uint64_t record[TENSORS])
{
	for (size_t i = 0; i < TENSORS; i++)
		record[i] = bytes_of(i) < CODEC_CUT_OWN ? 0 : chunk_at(file.at[i])->cut.record;
	for (size_t i = 0; i < TENSORS; i++)
		for (size_t k = 0; k < i; k++)
			assert_true(record[i] == 0 || record[i] != record[k]);
}

static void same_records(const uint64_t record[TENSORS])
{
	uint64_t now[TENSORS];

	note_records(now);
	assert_memory_equal(now, record, sizeof now);
}

static void new_file(void)
{
	file.len = 0;
	memset(file.at, 0, sizeof file.at);
}

/* --- pickles ------------------------------------------------------------------------------------- */

static void add_int(unsigned v)
{
	if (v < 256) {
		ADD("K");
		add_le(v, 1);
	} else if (v < 65536) {
		ADD("M");
		add_le(v, 2);
	} else {
		ADD("J");
		add_le(v, 4);
	}
}

static void add_string(const char *s)
{
	ADD("X");
	add_le(strlen(s), 4);
	add_text(s);
}

static void add_ints(const unsigned *v, unsigned n)
{
	if (n > 3)
		ADD("(");
	for (unsigned i = 0; i < n; i++)
		add_int(v[i]);
	if (n > 3)
		ADD("t");
	else
		add((const char *[]){ ")", "\x85", "\x86", "\x87" }[n], 1);
}

/* What says what storage `key` is; `claim` elements of it. */
static void add_tensor(size_t i, const char *key, size_t claim, bool legacy, bool first)
{
	unsigned stride[3] = { 0 }, n = dims_of(i), step = 1;
	char class[40];

	for (unsigned d = n; d-- > 0; step *= tensors[i].shape[d])
		stride[d] = step;
	ADD("ctorch._utils\n_rebuild_tensor_v2\n((");
	if (first) {
		add_string("storage");
		ADD("r\0\0\1\0");
	} else {
		ADD("j\0\0\1\0");
	}
	snprintf(class, sizeof class, "ctorch\n%sStorage\n", tensors[i].storage);
	add_text(class);
	add_string(key);
	add_string("cpu");
	add_int((unsigned)claim);
	if (legacy)
		ADD("N");
	ADD("tQK\0");
	add_ints(tensors[i].shape, n);
	add_ints(stride, n);
	ADD("\x89""ccollections\nOrderedDict\n)RtR");
}

/* The state dict as torch pickles it; `lie` is a tensor that is said to have `by` elements more. */
static void add_state_dict(bool legacy, size_t lie, long by)
{
	char key[20];

	ADD("\x80\2ccollections\nOrderedDict\nq\0)Rq\1(");
	for (size_t i = 0; i < TENSORS; i++) {
		add_string(tensors[i].name);
		snprintf(key, sizeof key, "%zu", i + (legacy ? 94000000 : 0));
		add_tensor(i, key, (size_t)((long)numel(i) + (i == lie ? by : 0)), legacy, i == 0);
	}
	ADD("u}");
	add_string("_metadata");
	ADD("K\1sb.");
}

/* --- zips ---------------------------------------------------------------------------------------- */

enum sizes { DESCRIBED, DESCRIBED64, IN_HEADER, NOWHERE };

static size_t payload_start, zip_start;

static void begin_member(const char *prefix, const char *name, enum sizes sizes, unsigned method, size_t size)
{
	size_t pad, len = strlen(prefix) + strlen(name);

	ADD("PK\3\4\0\0");
	add_le(sizes == DESCRIBED || sizes == DESCRIBED64 ? 0x808 : 0, 2);
	add_le(method, 2);
	add_le(0, 8);
	add_le(sizes == IN_HEADER ? size : 0, 4);
	add_le(sizes == IN_HEADER ? size : 0, 4);
	add_le(len, 2);
	pad = 64 - (file.len - zip_start + 2 + len + 4) % 64;
	add_le(4 + pad, 2);
	add_text(prefix);
	add_text(name);
	ADD("FB");
	add_le(pad, 2);
	while (pad-- > 0)
		ADD("Z");
	payload_start = file.len;
}

static void end_member(enum sizes sizes)
{
	size_t size = file.len - payload_start;

	if (sizes == DESCRIBED || sizes == DESCRIBED64) {
		ADD("PK\7\10PK\7\10");
		add_le(size, sizes == DESCRIBED64 ? 8 : 4);
		add_le(size, sizes == DESCRIBED64 ? 8 : 4);
	}
}

static void add_member(const char *prefix, const char *name, enum sizes sizes, const char *text)
{
	begin_member(prefix, name, sizes, 0, strlen(text));
	add_text(text);
	end_member(sizes);
}

static void add_directory(const char *comment)
{
	for (int i = 0; i < 3; i++) {
		ADD("PK\1\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\4\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0nameEX");
	}
	ADD("PK\6\6\54\0\0\0\0\0\0\0");
	add("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 44);
	ADD("PK\6\7\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0PK\5\6\0\0\0\0\3\0\3\0\0\0\0\0\0\0\0\0");
	add_le(strlen(comment), 2);
	add_text(comment);
}

enum age { TORCH_1, TORCH_2, SCRIPT };

static void add_torch_zip(const char *prefix, enum age age, enum sizes sizes, size_t lie, long by)
{
	char name[40];
	size_t start = file.len;

	zip_start = file.len;
	if (age != SCRIPT) {
		size_t len;

		/* Once for its length. */
		add_state_dict(false, lie, by);
		len = file.len - start;
		file.len = start;
		begin_member(prefix, "/data.pkl", sizes, 0, len);
		add_state_dict(false, lie, by);
		end_member(sizes);
	}
	if (age == TORCH_2) {
		add_member(prefix, "/.format_version", sizes, "1");
		add_member(prefix, "/.storage_alignment", sizes, "64");
		add_member(prefix, "/byteorder", sizes, "little");
	}
	/* 1.x writes them in the order of their names as strings: 0 1 10 11 12 2 ... */
	for (size_t k = 0; k < TENSORS; k++) {
		size_t i = age != TORCH_1 || k < 2 ? k : k < 5 ? k + 8 : k - 3;

		snprintf(name, sizeof name, "/data/%zu", i);
		begin_member(prefix, name, sizes, 0, bytes_of(i));
		add_payload(i);
		end_member(sizes);
	}
	/* A storage without elements has neither descriptor nor flag. */
	begin_member(prefix, "/data/99", NOWHERE, 0, 0);
	if (age == SCRIPT) {
		begin_member(prefix, "/data.pkl", sizes, 0, 0);
		add_state_dict(false, TENSORS, 0);
		end_member(sizes);
		begin_member(prefix, "/code/__torch__.py", sizes, 8, 0);
		add_payload(9);
		file.at[9] = 0;
		end_member(sizes);
		add_member(prefix, "/constants.pkl", sizes, "\x80\2).");
	}
	add_member(prefix, "/version", sizes, "3\n");
	add_directory("");
}

static uint64_t records[TENSORS];

static void torch_zips(void **state)
{
	static const enum sizes sizes[] = { DESCRIBED, DESCRIBED64, IN_HEADER };

	(void)state;
	for (size_t k = 0; k < 3; k++) {
		for (int age = TORCH_1; age <= TORCH_2; age++) {
			new_file();
			add_torch_zip("epoch_7", age, sizes[k], TENSORS, 0);
			all_found("torch zip", true);
			if (k == 0 && age == TORCH_1)
				note_records(records);
			else
				same_records(records);
		}
	}
}

static void torch_script(void **state)
{
	(void)state;
	new_file();
	add_torch_zip("model", SCRIPT, DESCRIBED, TENSORS, 0);
	all_found("TorchScript", false);
	new_file();
	add_torch_zip("model", SCRIPT, DESCRIBED64, TENSORS, 0);
	all_found("TorchScript, zip64", false);
}

/* Zips end to end, as in a .distcp; the second one's tensors are looked for. */
static void zips_in_a_row(void **state)
{
	(void)state;
	new_file();
	add_torch_zip("archive", TORCH_2, DESCRIBED, TENSORS, 0);
	ADD("");
	add_torch_zip("archive", TORCH_1, DESCRIBED, TENSORS, 0);
	all_found("two zips", true);
	same_records(records);
}

/* A caller that puts all that was consumed into the chunk: what `behind` says is lost, and nothing else. */
static void behind_ignored(void **state)
{
	struct codec_cutter *c;
	struct codec_cut cut;
	size_t off = 0, start = 0, late = 0;

	(void)state;
	new_file();
	add_torch_zip("model", SCRIPT, DESCRIBED, TENSORS, 0);
	assert_int_equal(codec_cutter_new(0, &c), 0);
	while (off < file.len) {
		off += codec_cut_feed(c, file.b + off, file.len - off < 5000 ? file.len - off : 5000, &cut);
		assert_in_range(off - start, 1, CODEC_CHUNK_MAX);
		if (cut.end) {
			start = off;
			late += cut.behind > 0;
		}
	}
	assert_true(late > 5);
	codec_cutter_free(c);
}

/* --- the other formats --------------------------------------------------------------------------- */

static void npys(void **state)
{
	char dict[200], shape[60];
	uint64_t first = 0;

	(void)state;
	/* Several in one file, row by row and column by column. */
	for (int fortran = 0; fortran < 2; fortran++) {
		new_file();
		for (size_t i = 0; i < TENSORS; i++) {
			int n = 0;

			for (unsigned d = 0; d < dims_of(i); d++) {
				unsigned at = fortran ? dims_of(i) - 1 - d : d;

				n += snprintf(shape + n, sizeof shape - (size_t)n, "%u, ", tensors[i].shape[at]);
			}
			snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }      \n",
				tensors[i].descr, fortran ? "True" : "False", shape);
			ADD("\x93NUMPY\1\0");
			add_le(strlen(dict), 2);
			add_text(dict);
			add_payload(i);
		}
		add_text("and something else");
		all_found("npy", true);
		if (fortran)
			assert_int_equal(chunk_at(file.at[1])->cut.record, first);
		first = chunk_at(file.at[1])->cut.record;
	}
	/* The same as a zip's members: as written to a pipe, to a file, and as it then is. */
	for (int sizes = DESCRIBED; sizes <= NOWHERE; sizes++) {
		new_file();
		zip_start = 0;
		for (size_t i = 0; i < TENSORS; i++) {
			unsigned rows = (unsigned)numel(i);

			snprintf(shape, sizeof shape, "%s.npy", tensors[i].name);
			snprintf(dict, sizeof dict, "{'descr': '%s', 'shape': (%u,)}\n", tensors[i].descr, rows);
			begin_member("", shape, sizes, 0, 10 + strlen(dict) + bytes_of(i));
			ADD("\x93NUMPY\1\0");
			add_le(strlen(dict), 2);
			add_text(dict);
			add_payload(i);
			end_member(sizes);
		}
		add_directory("a comment");
		all_found("npz", false);
		for (size_t i = 0; i < 10; i++) /* with a shape of one dimension, images are none */
			if (records[i] != 0)
				assert_int_equal(chunk_at(file.at[i])->cut.record, records[i]);
	}
	/* Members that are no arrays. */
	new_file();
	zip_start = 0;
	begin_member("", "odd.npy", IN_HEADER, 0, bytes_of(1));
	add_payload(1);
	begin_member("", "empty.npy", IN_HEADER, 0, 0);
	begin_member("", "short.npy", IN_HEADER, 0, 5);
	ADD("12345");
	begin_member("", "odd.npy", NOWHERE, 0, 0);
	ADD("\x93NUMPY\1\0\xff\xff and no dict");
	begin_member("", "longer.npy", IN_HEADER, 0, 200);
	ADD("\x93NUMPY\1\0\x80\0{'descr': '<f4', 'shape': (3,)}                                                    "
	    "                                             \n");
	while (file.len < payload_start + 200)
		ADD("x");
	begin_member("/", "data/7", IN_HEADER, 0, bytes_of(7));
	add_payload(7);
	add_directory("");
	cut_in_all_ways();
	assert_non_null(chunk_at(file.at[1] + 10)); /* behind what might have been its magic */
	assert_non_null(chunk_at(file.at[1] + bytes_of(1)));
	assert_true(found(7, false));
}

static void safetensors(void **state)
{
	char *head = calloc(1, 8000);
	size_t n = 0, off = 0;

	(void)state;
	assert_non_null(head);
	n += (size_t)sprintf(head, "{\"__metadata__\":{\"shape\":\"[1,2]\",\"data_offsets\":\"[0,9]\"}");
	for (size_t i = 0; i < TENSORS; i++) {
		n += (size_t)sprintf(head + n, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", tensors[i].name, tensors[i].safe);
		for (unsigned d = 0; d < dims_of(i); d++)
			n += (size_t)sprintf(head + n, "%s%u", d > 0 ? "," : "", tensors[i].shape[d]);
		n += (size_t)sprintf(head + n, "],\"data_offsets\":[%zu,%zu]}", off, off + bytes_of(i));
		off += bytes_of(i);
	}
	sprintf(head + n, ",\"none\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[%zu,%zu]}}   ", off, off);
	new_file();
	add_le(strlen(head), 8);
	add_text(head);
	for (size_t i = 0; i < TENSORS; i++)
		add_payload(i);
	all_found("safetensors", true);
	same_records(records);

	/* Tensors that overlap, a gap, and an end far behind the file's. */
	new_file();
	strcpy(head, "{\"c\":{\"dtype\":\"X\",\"data_offsets\":[900000,18446744073709551609]},"
		"\"a\":{\"dtype\":\"F32\",\"shape\":[18446744073709551609,18446744073709551609],\"data_offsets\":[100,200000]},"
		"\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[150000,700000]}}");
	add_le(strlen(head), 8);
	add_text(head);
	add_payload(1);
	cut_in_all_ways();
	assert_non_null(chunk_at(8 + strlen(head) + 100));
	assert_non_null(chunk_at(8 + strlen(head) + 200000));
	assert_non_null(chunk_at(8 + strlen(head) + 900000));

	/* What is no header after all, and one that is longer than the file. */
	new_file();
	add_le(50000, 8);
	ADD("{\"a\":{]}},");
	add_payload(1);
	file.at[1] = 0;
	cut_in_all_ways();
	for (size_t i = 0; i < said.n; i++)
		assert_int_equal(said.v[i].cut.record, 0);
	free(head);
}

static void add_legacy(size_t lie)
{
	char key[20];

	ADD("\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.");
	ADD("\x80\2M\xe9\3.");
	ADD("\x80\2}q\0(X\20\0\0\0protocol_versionq\1M\xe9\3X\15\0\0\0little_endianq\2\x88u.");
	add_state_dict(true, TENSORS, 0);
	ADD("\x80\2]q\0(");
	for (size_t i = 0; i < TENSORS; i++) {
		snprintf(key, sizeof key, "%zu", 94000000 + (i + 5) % TENSORS);
		add_string(key);
	}
	ADD("e.");
	for (size_t i = 0; i < TENSORS; i++) {
		size_t k = (i + 5) % TENSORS;

		add_le(numel(k) + (k == lie), 8);
		add_payload(k);
	}
}

static void legacy(void **state)
{
	(void)state;
	new_file();
	add_legacy(TENSORS);
	all_found("legacy", true);
	same_records(records);

	/* Saved twice into one file, and then a .npy. */
	new_file();
	add_legacy(TENSORS);
	add_legacy(TENSORS);
	all_found("two legacy files", true);
	same_records(records);

	/* One number of elements is wrong: up to there all is well. */
	new_file();
	add_legacy(11);
	cut_in_all_ways();
	for (size_t i = 5; i < 11; i++)
		assert_true(found(i, true));
}

/* --- lies and damage ----------------------------------------------------------------------------- */

/* The pickle says that a tensor is shorter than it is: the next ones are found all the same. */
static void lies(void **state)
{
	(void)state;
	new_file();
	add_torch_zip("m", TORCH_2, DESCRIBED, 1, -1000);
	cut_in_all_ways();
	for (size_t i = 2; i < TENSORS; i++)
		assert_true(found(i, true));
	/* Or longer: then those inside are not, and it is no harm. */
	new_file();
	add_torch_zip("m", TORCH_2, DESCRIBED, 3, 50000000);
	cut_in_all_ways();
	assert_true(found(1, true));
	/* No storage of that name. */
	new_file();
	add_torch_zip("m", TORCH_2, DESCRIBED, TENSORS, 0);
	for (size_t i = 0; i + 12 < file.len && i < 4000; i++)
		if (memcmp(file.b + i, "FloatStorage", 12) == 0)
			file.b[i] = 'f';
	all_found("no types", false);
}

/* A stream that does not begin where the file does. */
static void from_the_middle(void **state)
{
	struct codec_cutter *c;
	struct codec_cut cut;
	size_t off = 0;

	(void)state;
	new_file();
	add_torch_zip("m", TORCH_2, DESCRIBED, TENSORS, 0);
	assert_int_equal(codec_cutter_new(4096, &c), 0);
	while (off < file.len) {
		off += codec_cut_feed(c, file.b + off, file.len - off, &cut);
		assert_int_equal(cut.record, 0);
		assert_int_equal(cut.hint.width, 0);
		assert_int_equal(cut.behind, 0);
	}
	codec_cutter_free(c);
}

/* Changes bytes at random, mostly of headers; all promises hold, in whatever pieces. */
static void changed_bytes(void **state)
{
	static uint8_t whole[FILE_MAX];
	uint64_t x = 20260101;

	(void)state;
	for (int kind = 0; kind < 5; kind++) {
		size_t len;

		new_file();
		if (kind < 3)
			add_torch_zip("archive", (enum age)kind, DESCRIBED, TENSORS, 0);
		else if (kind == 3)
			add_legacy(TENSORS);
		else
			npys(NULL);
		len = file.len;
		memcpy(whole, file.b, len);
		for (int round = 0; round < 40; round++) {
			memcpy(file.b, whole, len);
			file.len = len;
			for (unsigned k = next_random(&x) % 6 + 1; k > 0; k--) {
				/* Close to a tensor's start, into the head, or anywhere. */
				size_t at = next_random(&x) % 3 == 0 ? file.at[next_random(&x) % TENSORS] : 0;

				at += next_random(&x) % 5 == 0 ? next_random(&x) % len : next_random(&x) % 3000;
				at = at > 200 && next_random(&x) % 2 ? at - 200 : at;
				file.b[at % len] = next_random(&x) % 2 ? (uint8_t)next_random(&x) :
					(uint8_t)(file.b[at % len] ^ 1u << next_random(&x) % 8);
			}
			if (round % 4 == 0) { /* some bytes are missing */
				size_t at = next_random(&x) % 6000, n = next_random(&x) % 100 + 1;

				memmove(file.b + at, file.b + at + n, len - at - n);
				file.len = len - n;
			}
			cut_file(0, 0);
			said_before = said;
			cut_file(2, x);
			assert_true(same_said());
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torch_zips),
		cmocka_unit_test(torch_script),
		cmocka_unit_test(zips_in_a_row),
		cmocka_unit_test(behind_ignored),
		cmocka_unit_test(npys),
		cmocka_unit_test(safetensors),
		cmocka_unit_test(legacy),
		cmocka_unit_test(lies),
		cmocka_unit_test(from_the_middle),
		cmocka_unit_test(changed_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
