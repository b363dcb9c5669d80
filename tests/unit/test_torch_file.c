/*
 * test_torch_file.c: small torch files built here: what tensors they have, where these lie, what every check of
 * theirs refuses, and what values look like to whoever goes through an object.
 */
#include "memory_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/ckpt_error.h"
#include "codec/torch_edit.h"
#include "codec/torch_file.h"

#define P2 "\x80\2"
#define STR(n, s) "X" n "\0\0\0" s
#define OD "ccollections\nOrderedDict\n)R"

/* A storage's id: MARK 'storage' class key location count TUPLE BINPERSID. */
#define PID(class, key, count) "(" STR("\7", "storage") class STR("\1", key) STR("\6", "cuda:0") count "tQ"
#define FLOAT "ctorch\nFloatStorage\n"

/* A tensor of storage `pid`: offset, size and stride as opcodes. */
#define V2(pid, offset, size, stride) "ctorch._utils\n_rebuild_tensor_v2\n(" pid offset size stride "\x89" OD "tR"

#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

/* A zip with the pickle p and storages "0" of `len` bytes. */
static void build(struct byte_buf *f, const uint8_t *p, size_t n, size_t len)
{
	static const uint8_t zeros[4096];
	struct zip_writer w;

	f->len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(f, &w, "m/data.pkl", p, n);
	memory_record(f, &w, "m/byteorder", "little", 6);
	memory_record(f, &w, "m/data/0", zeros, len);
	memory_record(f, &w, "m/version", "3\n", 2);
	assert_int_equal(zip_write_end(&w, f), 0);
	zip_writer_release(&w);
}

static int open_it(struct byte_buf *f, struct torch_file **out)
{
	return torch_file_open(memory_read, f, f->len, NULL, out);
}

static struct torch_file *must_open(struct byte_buf *f)
{
	struct torch_file *t;

	if (open_it(f, &t) != 0)
		fail_msg("%s", ckpt_errmsg());
	return t;
}

static void a_tensor(void **state)
{
	struct byte_buf f = { 0 };
	struct torch_file *t;
	const struct torch_object *o;
	const struct torch_tensor *x;
	uint64_t off, len;

	(void)state;
	build(&f, BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\1", "K\2K\3\x86", "K\4K\1\x86") "."), 48);
	t = must_open(&f);
	o = torch_file_object(t);
	assert_int_equal(torch_file_container(t), TORCH_ZIP);
	assert_memory_equal(torch_file_prefix(t, &(size_t){ 0 }), "m", 1);
	assert_int_equal(torch_storages(o), 1);
	assert_int_equal(torch_storage_at(o, 0)->bytes, 48);
	assert_memory_equal(torch_storage_at(o, 0)->location, "cuda:0", 6);
	assert_int_equal(torch_tensors(o), 1);
	x = torch_tensor_of(o, pickle_root(torch_file_graph(t)));
	assert_non_null(x);
	assert_int_equal(x->dtype, TORCH_FLOAT32);
	assert_int_equal(x->ndim, 2);
	assert_int_equal(x->count, 6);
	assert_int_equal(torch_size(o, x)[1], 3);
	assert_int_equal(torch_stride(o, x)[0], 4);
	assert_false(torch_contiguous(o, x));
	assert_int_equal(torch_file_tensor(t, x, memory_read, &f, &off, &len), 0);
	assert_int_equal(off % 64, 4);
	assert_int_equal(len, (4 + 2 + 1) * 4);
	torch_file_free(t);
	byte_buf_release(&f);
}

/* What a tensor may claim, and what not. The storage has 12 floats in 48 bytes. */
static void claims(void **state)
{
	static const struct {
		const char *what;
		const uint8_t *p;
		size_t len;
		int want;
	} cases[] = {
		{ "the whole", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\0", "K\x0c\x85", "K\1\x85") "."), 0 },
		{ "expanded", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\x0b", "J\xff\xff\xff\x7f\x85", "K\0\x85") "."), 0 },
		{ "empty", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\x7f", "K\0\x85", "K\1\x85") "."), 0 },
		{ "scalar", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\x0b", ")", ")") "."), 0 },
		{ "one more", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\1", "K\x0c\x85", "K\1\x85") "."), -EBADMSG },
		{ "behind", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\x0c", ")", ")") "."), -EBADMSG },
		{ "negative offset", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "J\xff\xff\xff\xff", ")", ")") "."), -EBADMSG },
		{ "negative size", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\0", "J\xff\xff\xff\xff\x85", "K\1\x85") "."),
			-EBADMSG },
		{ "negative stride", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\0", "K\2\x85", "J\xff\xff\xff\xff\x85") "."),
			-EBADMSG },
		{ "sizes and strides", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\0", "K\2\x85", ")") "."), -EBADMSG },
		{ "overflow", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\0",
				"\x8a\x08\0\0\0\0\0\0\0\x40\x8a\x08\0\0\0\0\0\0\0\x40\x86", "K\0K\0\x86") "."), -EBADMSG },
		{ "far stride", BYTES(P2 V2(PID(FLOAT, "0", "K\x0c"), "K\0", "K\3\x85",
				"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85") "."), -EBADMSG },
		{ "a short record", BYTES(P2 V2(PID(FLOAT, "0", "K\x0d"), "K\0", ")", ")") "."), -EBADMSG },
		{ "a long record", BYTES(P2 V2(PID(FLOAT, "0", "K\x0b"), "K\0", ")", ")") "."), -EBADMSG },
		{ "2^31 elements", BYTES(P2 V2(PID(FLOAT, "0", "J\xff\xff\xff\x7f"), "K\0", ")", ")") "."), -EBADMSG },
		{ "negative count", BYTES(P2 V2(PID(FLOAT, "0", "J\xff\xff\xff\xff"), "K\0", ")", ")") "."), -EBADMSG },
		{ "no record", BYTES(P2 V2(PID(FLOAT, "1", "K\x0c"), "K\0", ")", ")") "."), -EBADMSG },
		{ "no class", BYTES(P2 V2(PID("N", "0", "K\x0c"), "K\0", ")", ")") "."), -EBADMSG },
		{ "a class of ours", BYTES(P2 V2(PID("cx\nFloatStorage\n", "0", "K\x0c"), "K\0", ")", ")") "."), -EBADMSG },
		{ "no storage", BYTES(P2 V2("N", "K\0", ")", ")") "."), -EBADMSG },
		{ "too few arguments", BYTES(P2 "ctorch._utils\n_rebuild_tensor_v2\n)R."), -EBADMSG },
		{ "a storage of two sizes", BYTES(P2 PID(FLOAT, "0", "K\x0c") PID(FLOAT, "0", "K\x0b") "\x86."), -EBADMSG },
		{ "one of two classes", BYTES(P2 PID(FLOAT, "0", "K\x0c")
				PID("ctorch.storage\nUntypedStorage\n", "0", "K\x30") "\x86."), 0 },
		{ "untyped and no dtype", BYTES(P2 V2(PID("ctorch.storage\nUntypedStorage\n", "0", "K\x30"), "K\0", ")", ")")
				"."), -EBADMSG },
		{ "another's id", BYTES(P2 STR("\1", "x") "Q."), 0 },
		{ "no pickle", BYTES("hello"), -EBADMSG },
	};
	struct byte_buf f = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct torch_file *t;
		int rc;

		build(&f, cases[i].p, cases[i].len, 48);
		rc = open_it(&f, &t);
		if (rc != cases[i].want)
			fail_msg("%s: %d (%s)", cases[i].what, rc, rc < 0 ? ckpt_errmsg() : "");
		if (rc == 0)
			torch_file_free(t);
	}
	byte_buf_release(&f);
}

/* The other ways in which tensors are made. */
static void kinds(void **state)
{
#define TENSOR V2(PID(FLOAT, "0", "K\x0c"), "K\0", "K\x0c\x85", "K\1\x85")
	static const struct {
		const uint8_t *p;
		size_t len;
		enum torch_tensor_kind kind;
		enum torch_dtype dtype;
		uint64_t count;
	} cases[] = {
		{ BYTES(P2 "ctorch._utils\n_rebuild_parameter\n(" TENSOR "\x88" OD "tR."), TORCH_STRIDED, TORCH_FLOAT32, 12 },
		{ BYTES(P2 "ctorch._utils\n_rebuild_tensor_v3\n(" PID("ctorch.storage\nUntypedStorage\n", "0", "K\x30")
				"K\0K\x30\x85K\1\x85\x89" OD "ctorch\nfloat8_e5m2\ntR."), TORCH_STRIDED, TORCH_FLOAT8_E5M2, 48 },
		{ BYTES(P2 "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_tensor_v2\nctorch\nTensor\n"
				"(" PID(FLOAT, "0", "K\x0c") "K\0K\x0c\x85K\1\x85\x89" OD "t}tR."), TORCH_STRIDED,
			TORCH_FLOAT32, 12 },
		{ BYTES(P2 "ctorch._utils\n_rebuild_meta_tensor_no_storage\n(ctorch\nbfloat16\nK\5\x85K\1\x85\x89tR."),
			TORCH_META, TORCH_BFLOAT16, 5 },
		{ BYTES(P2 "ctorch._utils\n_rebuild_sparse_tensor\nctorch.serialization\n_get_layout\n"
				STR("\x10", "torch.sparse_coo") "\x85R(" TENSOR TENSOR "ctorch\nSize\nK\3K\4\x86\x85R\x88t"
				"\x86R."), TORCH_COO, TORCH_FLOAT32, 12 },
		{ BYTES(P2 "ctorch._utils\n_rebuild_qtensor\n(" PID("ctorch\nQInt8Storage\n", "0", "K\x30")
				"K\0K\x30\x85K\1\x85" "ctorch\nper_tensor_affine\nG\0\0\0\0\0\0\0\0K\0\x87\x89" OD "tR."),
			TORCH_QUANTIZED, TORCH_QINT8, 48 },
	};
	struct byte_buf f = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct torch_file *t;
		const struct torch_tensor *x;

		build(&f, cases[i].p, cases[i].len, 48);
		if (i == 3) { /* no storage: the record may stay, nobody names it */
			t = must_open(&f);
			torch_file_free(t);
		}
		t = must_open(&f);
		x = torch_tensor_of(torch_file_object(t), pickle_root(torch_file_graph(t)));
		if (x == NULL || x->kind != cases[i].kind || x->dtype != cases[i].dtype || x->count != cases[i].count)
			fail_msg("case %zu", i);
		assert_int_equal(x->parameter, i == 0);
		torch_file_free(t);
	}
	byte_buf_release(&f);
}

/* The containers that are not ours, or not understood, say so. */
static void containers(void **state)
{
	struct byte_buf f = { 0 };
	struct zip_writer w;
	struct torch_file *t;
	static const char big[] = "big";

	(void)state;
	byte_buf_text(&f, "hello, world");
	assert_int_equal(open_it(&f, &t), -EINVAL);
	f.len = 0;
	assert_int_equal(open_it(&f, &t), -EINVAL);

	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "m/other", "x", 1);
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	assert_int_equal(open_it(&f, &t), -EINVAL);

	f.len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "m/data.pkl", P2 "N.", 4);
	memory_record(&f, &w, "m/byteorder", big, 3);
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	assert_int_equal(open_it(&f, &t), -ENOTSUP);

	f.len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "m/data.pkl", P2 "N.", 4);
	memory_record(&f, &w, "n/data/0", big, 3);
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	assert_int_equal(open_it(&f, &t), -EBADMSG); /* of another archive */

	f.len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "m/data.pkl", P2 "N.", 4);
	memory_record(&f, &w, "m/constants.pkl", P2 ").", 4);
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	t = must_open(&f);
	assert_int_equal(torch_file_container(t), TORCH_SCRIPT);
	torch_file_free(t);

	f.len = 0;
	byte_buf_put(&f, P2 "K\1.", 5);
	t = must_open(&f);
	assert_int_equal(torch_file_container(t), TORCH_PICKLE);
	torch_file_free(t);
	byte_buf_text(&f, "more");
	assert_int_equal(open_it(&f, &t), -ENOTSUP);

	f.len = 0;
	build(&f, BYTES(P2 "N."), 0);
	for (size_t n = 0; n + 1 < f.len; n++) {
		int rc = torch_file_open(memory_read, &f, n, NULL, &t);

		assert_true(rc == -EBADMSG || rc == -EINVAL);
	}
	byte_buf_release(&f);
}

#define MAGIC P2 "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." P2 "M\xe9\3." P2 "}."
#define LEGACY_ID(key, count) "(" STR("\7", "storage") FLOAT STR("\1", key) STR("\3", "cpu") count "NtQ"

static void legacy(void **state)
{
	static const struct {
		const char *what;
		const uint8_t *p;
		size_t len;
		int want;
	} cases[] = {
		{ "good", BYTES(MAGIC P2 V2(LEGACY_ID("7", "K\2"), "K\0", "K\2\x85", "K\1\x85") "."
				P2 "]" STR("\1", "7") "a." "\2\0\0\0\0\0\0\0" "12345678"), 0 },
		{ "short", BYTES(MAGIC P2 V2(LEGACY_ID("7", "K\2"), "K\0", "K\2\x85", "K\1\x85") "."
				P2 "]" STR("\1", "7") "a." "\2\0\0\0\0\0\0\0" "1234567"), -EBADMSG },
		{ "another count", BYTES(MAGIC P2 V2(LEGACY_ID("7", "K\2"), "K\0", "K\2\x85", "K\1\x85") "."
				P2 "]" STR("\1", "7") "a." "\1\0\0\0\0\0\0\0" "12345678"), -EBADMSG },
		{ "another key", BYTES(MAGIC P2 V2(LEGACY_ID("7", "K\2"), "K\0", "K\2\x85", "K\1\x85") "."
				P2 "]" STR("\1", "8") "a." "\2\0\0\0\0\0\0\0" "12345678"), -EBADMSG },
		{ "a key twice", BYTES(MAGIC P2 V2(LEGACY_ID("7", "K\0"), "K\0", "K\0\x85", "K\1\x85") "."
				P2 "](" STR("\1", "7") STR("\1", "7") "e." "\0\0\0\0\0\0\0\0" "\0\0\0\0\0\0\0\0"), -EBADMSG },
		{ "no key", BYTES(MAGIC P2 V2(LEGACY_ID("7", "K\2"), "K\0", "K\2\x85", "K\1\x85") "." P2 "]."), -EBADMSG },
		{ "no list", BYTES(MAGIC P2 "N." P2 "N."), -EBADMSG },
		{ "ends early", BYTES(MAGIC P2 "N"), -EBADMSG },
		{ "a view of another", BYTES(MAGIC P2 "(" STR("\7", "storage") FLOAT STR("\1", "7") STR("\3", "cpu") "K\2K\0tQ."
				P2 "]."), -ENOTSUP },
	};
	struct byte_buf f = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct torch_file *t;
		uint64_t off;
		int rc;

		f.len = 0;
		byte_buf_put(&f, cases[i].p, cases[i].len);
		rc = open_it(&f, &t);
		if (rc != cases[i].want)
			fail_msg("%s: %d (%s)", cases[i].what, rc, rc < 0 ? ckpt_errmsg() : "");
		if (rc < 0)
			continue;
		assert_int_equal(torch_file_container(t), TORCH_LEGACY);
		assert_int_equal(torch_file_storage(t, 0, memory_read, &f, &off), 0);
		assert_memory_equal(f.p + off, "12345678", 8);
		torch_file_free(t);
	}
	byte_buf_release(&f);
}

static void place_is(const struct torch_places *p, uint32_t i, const char *path, enum torch_kind kind)
{
	struct byte_buf b = { 0 };

	assert_int_equal(torch_place_path(p, i, &b), 0);
	assert_int_equal(b.len, strlen(path));
	if (b.len > 0)
		assert_memory_equal(b.p, path, b.len);
	assert_int_equal(torch_place_at(p, i)->kind, kind);
	byte_buf_release(&b);
}

/* Dicts of all kinds, attributes, lists, sharing, itself. */
static void places(void **state)
{
	struct byte_buf f = { 0 };
	struct torch_file *t;
	struct torch_places *p;

	(void)state;
	build(&f, BYTES(P2 "}q\0(" STR("\2", "sd") OD "(" STR("\3", "w.x") TENSOR "q\1u}" STR("\1", "m") "}sb"
			STR("\1", "l") "](h\1K\1" TENSOR "e" "K\7h\0"
			STR("\1", "o") "cmy\nClass\n)\x81}" STR("\1", "a") TENSOR "sb"
			STR("\1", "d") "ccollections\ndefaultdict\n\x63" "builtins\nlist\n\x85RK\3]s" "u."), 48);
	t = must_open(&f);
	assert_int_equal(torch_places_new(torch_file_object(t), &p), 0);
	place_is(p, 0, "", TORCH_IS_DICT);
	place_is(p, 1, "sd", TORCH_IS_DICT);
	place_is(p, 2, "sd.w.x", TORCH_IS_TENSOR);
	place_is(p, 3, "sd.m", TORCH_IS_DICT);
	place_is(p, 4, "l", TORCH_IS_LIST);
	place_is(p, 5, "l.2", TORCH_IS_TENSOR);
	place_is(p, 6, "o", TORCH_IS_OBJECT);
	place_is(p, 7, "o.a", TORCH_IS_TENSOR);
	place_is(p, 8, "d", TORCH_IS_DICT);
	place_is(p, 9, "d.3", TORCH_IS_LIST);
	assert_int_equal(torch_place_count(p), 10);
	torch_places_free(p);
	torch_file_free(t);
	byte_buf_release(&f);
}

/* Deeper than anybody goes: cut, and nothing worse. */
static void deep(void **state)
{
	struct byte_buf f = { 0 }, p = { 0 };
	struct torch_file *t;
	struct torch_places *places;

	(void)state;
	byte_buf_text(&p, P2);
	byte_buf_fill(&p, ']', 50000);
	byte_buf_fill(&p, 'a', 49999);
	byte_buf_text(&p, ".");
	build(&f, p.p, p.len, 0);
	t = must_open(&f);
	assert_int_equal(torch_places_new(torch_file_object(t), &places), 0);
	assert_true(torch_places_cut(places));
	assert_int_equal(torch_place_count(places), TORCH_DEPTH_MAX + 1);
	place_is(places, 3, "0.0.0", TORCH_IS_LIST);
	torch_places_free(places);
	torch_file_free(t);
	byte_buf_release(&f);
	byte_buf_release(&p);
}

static void values(void **state)
{
	static const struct {
		const uint8_t *p;
		size_t len;
		enum torch_kind kind;
		uint32_t items;
	} cases[] = {
		{ BYTES(P2 "N."), TORCH_IS_NONE, 0 },
		{ BYTES(P2 "ctorch\nfloat32\n."), TORCH_IS_DTYPE, 0 },
		{ BYTES(P2 "ctorch\nTensor\n."), TORCH_IS_GLOBAL, 0 },
		{ BYTES(P2 "ctorch\nSize\nK\1K\2\x86\x85R."), TORCH_IS_SIZE, 2 },
		{ BYTES(P2 "c__builtin__\nset\n](K\1K\2K\3e\x85R."), TORCH_IS_SET, 3 },
		{ BYTES("\x80\4\x8f(K\1\x90."), TORCH_IS_SET, 1 },
		{ BYTES(P2 "ccollections\ndeque\n)K\5\x86R(K\1K\2e."), TORCH_IS_LIST, 2 },
		{ BYTES(P2 "ccollections\nCounter\n}K\1K\2s\x85R."), TORCH_IS_DICT, 1 },
		{ BYTES(P2 "c__builtin__\ncomplex\nG\0\0\0\0\0\0\0\0G\0\0\0\0\0\0\0\0\x86R."), TORCH_IS_COMPLEX, 0 },
		{ BYTES(P2 "cdatetime\ndatetime\nK\1\x85R."), TORCH_IS_OBJECT, 1 },
		{ BYTES(P2 "cm\nc\n)\x81N}X\1\0\0\0aK\1s\x86""b."), TORCH_IS_OBJECT, 1 }, /* slots */
		{ BYTES(P2 "cm\nc\n)\x81K\1b."), TORCH_IS_OBJECT, 1 },                  /* a state of its own */
		{ BYTES(P2 "c_codecs\nencode\nX\1\0\0\0aX\6\0\0\0latin1\x86R."), TORCH_IS_BYTES, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pickle *g;
		struct torch_object *o;
		struct torch_iter it;
		struct torch_item item;
		uint32_t n = 0;

		assert_int_equal(pickle_parse(cases[i].p, cases[i].len, NULL, &g, NULL), 0);
		assert_int_equal(torch_object_new(g, 0, &o), 0);
		torch_iter_init(o, pickle_root(g), &it);
		while (torch_iter_next(&it, &item))
			n++;
		if (torch_kind_of(o, pickle_root(g)) != cases[i].kind || n != cases[i].items)
			fail_msg("case %zu: kind %d, %u items", i, torch_kind_of(o, pickle_root(g)), n);
		torch_object_free(o);
		pickle_free(g);
	}
}

static void bytes_devices_arrays(void **state)
{
#define DTYPE "cnumpy\ndtype\nX\2\0\0\0f8K\0K\1\x87R(K\3X\1\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
	static const char p[] = P2 "(c_codecs\nencode\nX\4\0\0\0a\xc3\xbf\x62X\6\0\0\0latin1\x86R"
		"ctorch\ndevice\nX\4\0\0\0cudaK\1\x86R" "ctorch\ndevice\nX\3\0\0\0cpu\x85R"
		"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85X\1\0\0\0b\x87R"
		"(K\1K\2K\3\x86" DTYPE "\x88" "c_codecs\nencode\nX\1\0\0\0aX\6\0\0\0latin1\x86Rtb"
		"cnumpy.core.multiarray\nscalar\n" DTYPE "c_codecs\nencode\nX\1\0\0\0aX\6\0\0\0latin1\x86R\x86Rt.";
	struct pickle *g;
	struct torch_object *o;
	struct torch_array a;
	struct byte_buf b = { 0 };
	const uint32_t *c;
	uint32_t n;
	char text[16];

	(void)state;
	if (pickle_parse(BYTES(p), NULL, &g, NULL) != 0)
		fail_msg("%s", ckpt_errmsg());
	assert_int_equal(torch_object_new(g, 0, &o), 0);
	c = pickle_children(g, pickle_root(g), &n);
	assert_int_equal(n, 5);
	assert_int_equal(torch_bytes(o, c[0], &b), 0);
	assert_int_equal(b.len, 3);
	assert_memory_equal(b.p, "a\xff" "b", 3);
	assert_int_equal(torch_bytes(o, c[1], &b), -EINVAL);
	assert_true(torch_device_text(o, c[1], text, sizeof text));
	assert_string_equal(text, "cuda:1");
	assert_true(torch_device_text(o, c[2], text, sizeof text));
	assert_string_equal(text, "cpu");
	assert_false(torch_device_text(o, c[1], text, 6));
	assert_true(torch_array(o, c[3], &a));
	assert_string_equal(a.descr, "<f8");
	assert_int_equal(a.ndim, 2);
	assert_int_equal(a.size[1], 3);
	assert_true(a.fortran);
	assert_true(torch_array(o, c[4], &a));
	assert_int_equal(a.ndim, 0);
	assert_false(torch_array(o, c[0], &a));
	torch_object_free(o);
	pickle_free(g);
	byte_buf_release(&b);
}

static const char *to_cpu(void *arg, uint32_t storage)
{
	(void)arg;
	(void)storage;
	return "cpu";
}

static const char *device_to_cpu(void *arg, const char *device)
{
	(void)arg;
	(void)device;
	return "cpu";
}

/* Locations and devices follow, a user's string stays. */
static void edits(void **state)
{
#define LOC(where) "(" STR("\7", "storage") FLOAT STR("\1", "0") where "K\x0ctQ"
	static const char p[] = P2 "(X\6\0\0\0cuda:0q\1" LOC("h\1") LOC("X\6\0\0\0cuda:0")
		"ctorch\ndevice\nX\4\0\0\0cudaK\0\x86Rt.";
	static const char want[] = P2 "(X\6\0\0\0cuda:0q\1" LOC("X\3\0\0\0cpu") LOC("X\3\0\0\0cpu")
		"ctorch\ndevice\nX\3\0\0\0cpu\x85Rt.";
	struct torch_edit_rule rule = { to_cpu, device_to_cpu, NULL };
	struct pickle *g;
	struct torch_object *o;
	struct pickle_edits *e;
	struct byte_buf b = { 0 };

	(void)state;
	assert_int_equal(pickle_parse(BYTES(p), NULL, &g, NULL), 0);
	assert_int_equal(torch_object_new(g, 0, &o), 0);
	assert_int_equal(pickle_edits_new(g, &e), 0);
	assert_int_equal(torch_edit_devices(o, &rule, e), 0);
	assert_int_equal(pickle_edits_apply(e, &b), 0);
	assert_int_equal(b.len, sizeof want - 1);
	assert_memory_equal(b.p, want, b.len);
	pickle_edits_free(e);
	torch_object_free(o);
	pickle_free(g);
	byte_buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tensor),
		cmocka_unit_test(claims),
		cmocka_unit_test(kinds),
		cmocka_unit_test(containers),
		cmocka_unit_test(legacy),
		cmocka_unit_test(places),
		cmocka_unit_test(deep),
		cmocka_unit_test(values),
		cmocka_unit_test(bytes_devices_arrays),
		cmocka_unit_test(edits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
