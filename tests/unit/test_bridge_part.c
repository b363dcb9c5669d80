/*
 * test_bridge_part.c: parts of a torch file as files of their own, and files as safetensors.
 */
#include "bridge_data.h"

static const size_t len48[] = { 48, 48, 48 };

/* The part of f that lies under `key` of its root, as a file. */
static int part(struct byte_buf *f, const char *key, struct byte_buf *out)
{
	struct bridge_doc *d = data_open(f);
	const struct torch_file *t = bridge_doc_torch(d);
	uint32_t ref = torch_lookup(torch_file_object(t), pickle_root(torch_file_graph(t)), key);
	struct bridge_layout *l;
	int rc;

	assert_true(ref != PICKLE_NIL);
	rc = bridge_view_part(t, ref, memory_read, f, &l);
	bridge_doc_free(d);
	if (rc < 0)
		return rc;
	data_layout(l, f, 333, out);
	bridge_layout_free(l);
	return 0;
}

/* Storage `key` of f has the bytes of storage `was` as data_zip() makes them. */
static void data_is(struct byte_buf *f, const char *key, unsigned was, size_t len)
{
	struct bridge_doc *d = data_open(f);
	const struct torch_file *t = bridge_doc_torch(d);
	uint32_t n = torch_storage_of_key(torch_file_object(t), key, strlen(key));
	uint64_t off;

	assert_true(n != PICKLE_NIL);
	assert_int_equal(torch_storage_at(torch_file_object(t), n)->bytes, len);
	assert_int_equal(torch_file_storage(t, n, memory_read, f, &off), 0);
	assert_int_equal(off % 64, 0);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(f->p[off + i], data_byte(was, i));
	bridge_doc_free(d);
}

static void parts(void **state)
{
	struct byte_buf f = { 0 }, out = { 0 };
	struct bridge_doc *d;
	const struct torch_file *t;

	(void)state;
	data_zip(&f, DATA(P2 "}(" STR("\1", "a") VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c")
			STR("\1", "b") "}(" STR("\1", "x") VECTOR(PID(FLOAT, "2", "K\x0c"), "K\x0c")
			STR("\1", "y") V2(PID(FLOAT, "1", "K\x0c"), "K\4", "K\2\x85", "K\1\x85")
			STR("\1", "z") VECTOR(PID(FLOAT, "2", "K\x0c"), "K\1") "u" STR("\1", "n") "K\7" "u."), len48, 3);
	assert_int_equal(part(&f, "b", &out), 0);
	d = data_open(&out);
	t = bridge_doc_torch(d);
	assert_int_equal(torch_file_container(t), TORCH_ZIP);
	assert_int_equal(torch_storages(torch_file_object(t)), 2);
	assert_int_equal(torch_tensors(torch_file_object(t)), 3);
	assert_int_equal(zip_count(torch_file_zip(t)), 8);
	assert_string_equal(zip_at(torch_file_zip(t), 0)->name, "archive/data.pkl");
	assert_non_null(torch_file_record(t, "version"));
	assert_non_null(torch_file_record(t, ".data/serialization_id"));
	assert_true(torch_file_storage_entry(t, 0)->crc != 0);
	bridge_doc_free(d);
	data_is(&out, "0", 2, 48); /* numbered as they are met */
	data_is(&out, "1", 1, 48);
	assert_int_equal(part(&f, "n", &out), 0);
	d = data_open(&out);
	assert_int_equal(torch_storages(torch_file_object(bridge_doc_torch(d))), 0);
	bridge_doc_free(d);
	byte_buf_release(&f);
	byte_buf_release(&out);
}

/* A new dict of values from anywhere in the object. */
static void dict(void **state)
{
	struct byte_buf f = { 0 }, out = { 0 };
	struct bridge_doc *d;
	const struct torch_object *o;
	struct bridge_layout *l;
	struct pickle_fill fill;
	uint32_t root, pair[4];

	(void)state;
	data_zip(&f, DATA(P2 "}(" STR("\1", "a") "K\1" STR("\1", "b") VECTOR(PID(FLOAT, "1", "K\x0c"), "K\x0c")
			STR("\1", "c") VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") "u."), len48, 2);
	d = data_open(&f);
	o = torch_file_object(bridge_doc_torch(d));
	root = pickle_root(torch_graph(o));
	assert_true(pickle_first_fill(torch_graph(o), root, &fill));
	memcpy(pair, fill.child + 2, sizeof pair);
	assert_int_equal(bridge_view_parts(bridge_doc_torch(d), pair, 2, memory_read, &f, &l), 0);
	bridge_doc_free(d);
	data_layout(l, &f, 4096, &out);
	bridge_layout_free(l);
	d = data_open(&out);
	o = torch_file_object(bridge_doc_torch(d));
	root = pickle_root(torch_graph(o));
	assert_true(torch_lookup(o, root, "a") == PICKLE_NIL);
	assert_non_null(torch_tensor_of(o, torch_lookup(o, root, "b")));
	assert_non_null(torch_tensor_of(o, torch_lookup(o, root, "c")));
	bridge_doc_free(d);
	data_is(&out, "0", 1, 48);
	data_is(&out, "1", 0, 48);
	byte_buf_release(&f);
	byte_buf_release(&out);
}

static void from_legacy(void **state)
{
	static const char data[] = LEGACY_HEAD P2 "}(" STR("\1", "a") VECTOR(LEGACY_PID(FLOAT, "7", CPU, "K\2"), "K\2")
			STR("\1", "b") VECTOR(LEGACY_PID(LONGS, "8", CPU, "K\1"), "K\1") "u." P2 "](" STR("\1", "7") STR("\1", "8") "e."
			"\2\0\0\0\0\0\0\0" "12345678" "\1\0\0\0\0\0\0\0" "abcdefgh";
	struct byte_buf f = { 0 }, out = { 0 };
	struct bridge_doc *d;
	uint64_t off;

	(void)state;
	byte_buf_put(&f, data, sizeof data - 1);
	assert_int_equal(part(&f, "b", &out), 0);
	d = data_open(&out);
	assert_int_equal(torch_file_container(bridge_doc_torch(d)), TORCH_ZIP);
	assert_int_equal(torch_storages(torch_file_object(bridge_doc_torch(d))), 1);
	assert_int_equal(torch_file_storage(bridge_doc_torch(d), 0, memory_read, &out, &off), 0);
	assert_memory_equal(out.p + off, "abcdefgh", 8);
	bridge_doc_free(d);
	byte_buf_release(&f);
	byte_buf_release(&out);
}

/* ---- safetensors ----------------------------------------------------------------------------------------------- */

/* The tensor of that name in a safetensors document; NULL when there is none. */
static const struct safetensors_entry *entry(const struct bridge_doc *d, const char *name)
{
	const struct safetensors *s = bridge_doc_safetensors(d);

	for (size_t i = 0; i < safetensors_count(s); i++)
		if (strcmp(safetensors_at(s, i)->name, name) == 0)
			return safetensors_at(s, i);
	return NULL;
}

static const char *pair(const struct bridge_doc *d, const char *key)
{
	const struct safetensors *s = bridge_doc_safetensors(d);

	for (size_t i = 0; i < safetensors_pairs(s); i++)
		if (strcmp(safetensors_pair_at(s, i)->key, key) == 0)
			return safetensors_pair_at(s, i)->value;
	return NULL;
}

static void tensors(void **state)
{
	struct byte_buf f = { 0 }, out = { 0 };
	struct bridge_doc *d;
	const struct safetensors_entry *e;

	(void)state;
	data_zip(&f, DATA(P2 "}(" STR("\1", "b") VECTOR(PID(BYTE, "2", "K\x30"), "K\3")
			STR("\1", "m") "}(" STR("\1", "w") V2(PID(FLOAT, "0", "K\x0c"), "K\0", "K\3K\4\x86", "K\4K\1\x86") "q\1"
			STR("\1", "t") V2(PID(FLOAT, "0", "K\x0c"), "K\0", "K\4K\3\x86", "K\1K\4\x86")
			STR("\5", "again") "h\1" STR("\4", "same") V2(PID(FLOAT, "0", "K\x0c"), "K\0", "K\3K\4\x86", "K\4K\1\x86") "u"
			STR("\3", "m.w") VECTOR(PID(LONGS, "1", "K\6"), "K\6")
			STR("\5", "epoch") "K\x0c" STR("\2", "qu") STR("\2", "\"\n") "u."), len48, 3);
	data_must_view(&f, "@safetensors", &out);
	d = data_open(&out);
	assert_int_equal(bridge_doc_kind(d), BRIDGE_SAFETENSOR);
	assert_int_equal(safetensors_data(bridge_doc_safetensors(d)) % 8, 0);
	assert_int_equal(safetensors_count(bridge_doc_safetensors(d)), 4);
	e = entry(d, "m.w");
	assert_string_equal(e->dtype, "F32");
	assert_int_equal(e->ndim, 2);
	for (size_t i = 0; i < 48; i++)
		assert_int_equal(out.p[e->off + i], data_byte(0, i));
	e = entry(d, "m.t");
	for (size_t i = 0; i < 48; i++) /* element (i, k) of 4 x 3 is (k, i) of 3 x 4 */
		assert_int_equal(out.p[e->off + i], data_byte(0, (i / 4 % 3 * 4 + i / 12) * 4 + i % 4));
	e = entry(d, "m.w~2");
	assert_string_equal(e->dtype, "I64");
	assert_int_equal(e->off % 8, 0);
	e = entry(d, "b");
	assert_int_equal(e->len, 3);
	assert_string_equal(pair(d, "m.again"), "m.w");
	assert_string_equal(pair(d, "m.same"), "m.w");
	assert_string_equal(pair(d, "format"), "pt");
	assert_string_equal(pair(d, "epoch"), "12");
	assert_string_equal(pair(d, "qu"), "\"\n");
	bridge_doc_free(d);

	data_must_view(&f, "@bf16+safetensors", &out);
	d = data_open(&out);
	assert_string_equal(entry(d, "m.w")->dtype, "BF16");
	assert_int_equal(entry(d, "m.t")->len, 24);
	assert_string_equal(entry(d, "m.w~2")->dtype, "I64");
	assert_int_equal(out.p[entry(d, "m.t")->off + 1], 0x3f);
	bridge_doc_free(d);

	data_must_view(&out, "@fp32", &f); /* of a safetensors file */
	d = data_open(&f);
	assert_string_equal(entry(d, "m.w")->dtype, "F32");
	assert_string_equal(entry(d, "b")->dtype, "U8");
	assert_string_equal(pair(d, "m.again"), "m.w");
	bridge_doc_free(d);
	assert_int_equal(data_view(&out, "@safetensors", &f), -EINVAL);
	assert_int_equal(data_view(&out, "@cpu", &f), -EINVAL);
	byte_buf_release(&f);
	byte_buf_release(&out);
}

/* Tensors that are several, or none. */
static void odd(void **state)
{
	static const struct {
		const char *what;
		const uint8_t *p;
		size_t len;
		const char *name; /* that is there; NULL: none is */
		const char *pair; /* of the metadata, and its value; NULL: not looked at */
		const char *value;
	} cases[] = {
		{ "alone", DATA(P2 VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") "."), "tensor", NULL, NULL },
		{ "sparse", DATA(P2 "}" STR("\1", "s") "ctorch._utils\n_rebuild_sparse_tensor\nctorch.serialization\n_get_layout\n"
				STR("\x10", "torch.sparse_coo") "\x85R(" VECTOR(PID(LONGS, "1", "K\6"), "K\6")
				VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") "ctorch\nSize\nK\3\x85\x85R\x88t\x86Rs."), "s.indices", NULL, NULL },
		{ "quantized", DATA(P2 "}" STR("\1", "q") "ctorch._utils\n_rebuild_qtensor\n(" PID("ctorch\nQInt8Storage\n", "0",
				"K\x30") "K\0K\x30\x85K\1\x85(ctorch\nper_tensor_affine\nG\x3f\xe0\0\0\0\0\0\0K\3t\x89" OD "tRs."),
			"q.int_repr", "q.scale", "0.5" },
		{ "meta", DATA(P2 "}" STR("\1", "x") "ctorch._utils\n_rebuild_meta_tensor_no_storage\n(ctorch\nfloat32\nK\5\x85K\1\x85"
				"\x89tRs."), NULL, "skipped.x", "on the meta device" },
		{ "complex128", DATA(P2 "}" STR("\1", "z") VECTOR(PID("ctorch\nComplexDoubleStorage\n", "0", "K\3"), "K\3") "s."),
			"z.view_as_real", NULL, NULL },
		{ "bits", DATA(P2 "}" STR("\1", "b") "ctorch._utils\n_rebuild_tensor_v3\n(" PID("ctorch.storage\nUntypedStorage\n", "0",
				"K\x30") "K\0K\x18\x85K\1\x85\x89" OD "ctorch\nbits16\ntRs."), "b.bits", NULL, NULL },
		{ "packed", DATA(P2 "}" STR("\1", "q") "ctorch._utils\n_rebuild_qtensor\n(" PID("ctorch\nQUInt4x2Storage\n", "0",
				"K\x30") "K\0K\x30\x85K\1\x85(ctorch\nper_tensor_affine\nG\x3f\xe0\0\0\0\0\0\0K\3t\x89" OD "tRs."),
			NULL, "skipped.q", "quint4x2" },
		{ "wrapper", DATA(P2 "}" STR("\1", "w") "ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\n"
				"cm\nW\n(cm\nW\nctorch\nfloat32\nK\x0c\x85K\1\x85K\0NN\x89t}" STR("\5", "inner")
				VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") "stRs."), "w.inner", NULL, NULL },
		{ "no text", DATA(P2 "}(" STR("\2", "\xff\xfe") VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c")
				STR("\2", "\xfe\xff") VECTOR(PID(FLOAT, "1", "K\x0c"), "K\x0c") "u."), "\xef\xbf\xbd\xef\xbf\xbd~2", NULL, NULL },
		{ "its own word", DATA(P2 "}" STR("\x0c", "__metadata__") VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") "s."),
			"__metadata__~2", NULL, NULL },
		{ "in itself", DATA(P2 "]q\1(" VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") "h\1" "e."), "0", NULL, NULL },
		{ "empty", DATA(P2 "}" STR("\1", "e") V2(PID(FLOAT, "0", "K\x0c"), "K\0", "K\0K\3\x86", "K\3K\1\x86") "s."), "e", NULL, NULL },
	};
	struct byte_buf f = { 0 }, out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct bridge_doc *d;
		int rc;

		print_message("%s\n", cases[i].what);
		data_zip(&f, cases[i].p, cases[i].len, len48, 3);
		rc = data_view(&f, "@safetensors", &out);
		if (rc < 0)
			fail_msg("%s", ckpt_errmsg());
		d = data_open(&out);
		if (cases[i].name != NULL)
			assert_non_null(entry(d, cases[i].name));
		else
			assert_int_equal(safetensors_count(bridge_doc_safetensors(d)), 0);
		if (cases[i].pair != NULL)
			assert_string_equal(pair(d, cases[i].pair), cases[i].value);
		bridge_doc_free(d);
	}
	byte_buf_release(&f);
	byte_buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts),
		cmocka_unit_test(dict),
		cmocka_unit_test(from_legacy),
		cmocka_unit_test(tensors),
		cmocka_unit_test(odd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
