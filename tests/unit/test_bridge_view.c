/*
 * test_bridge_view.c: files on other devices and in other dtypes: what moves, what stays, where the bytes lie.
 */
#include "bridge_data.h"

#include "torchbridge/bridge_dtype.h"

static const size_t len48[] = { 48, 48, 48 };

/* The location of the storage with that key in a torch file. */
static void location_is(struct byte_buf *f, const char *key, const char *want)
{
	struct bridge_doc *d = data_open(f);
	const struct torch_object *o = torch_file_object(bridge_doc_torch(d));
	uint32_t n = torch_storage_of_key(o, key, strlen(key));
	const struct torch_storage *s;

	assert_true(n != PICKLE_NIL);
	s = torch_storage_at(o, n);
	if (s->location_len != strlen(want) || memcmp(s->location, want, s->location_len) != 0)
		fail_msg("storage '%s' is on %.*s, not %s", key, (int)s->location_len, s->location, want);
	bridge_doc_free(d);
}

/* Tail view: the file up to its directory, then a new data.pkl; payloads where they were. */
static void device_zip(void **state)
{
	struct byte_buf f = { 0 }, out = { 0 }, back = { 0 };
	struct bridge_doc *d;
	const struct torch_file *t;
	uint64_t off, len;

	(void)state;
	data_zip(&f, DATA(P2 "}(" STR("\1", "w") VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") STR("\3", "cfg") CUDA0
			STR("\3", "dev") "ctorch\ndevice\n" STR("\4", "cuda") "K\3\x86Ru."), len48, 1);
	data_must_view(&f, "@cpu", &out);
	location_is(&out, "0", "cpu");
	d = data_open(&f);
	len = zip_directory(torch_file_zip(bridge_doc_torch(d)), &off);
	assert_memory_equal(out.p, f.p, (size_t)len);
	assert_int_equal(torch_file_storage(bridge_doc_torch(d), 0, memory_read, &f, &off), 0);
	bridge_doc_free(d);
	d = data_open(&out);
	t = bridge_doc_torch(d);
	assert_int_equal(torch_file_storage(t, 0, memory_read, &out, &len), 0);
	assert_int_equal(len, off);
	assert_int_equal(zip_count(torch_file_zip(t)), 7);
	assert_string_equal(zip_at(torch_file_zip(t), 0)->name, "m/data.pkl");
	/* The user's string stays, the object follows. */
	off = torch_lookup(torch_file_object(t), pickle_root(torch_file_graph(t)), "cfg");
	assert_true(pickle_is_text(torch_file_graph(t), (uint32_t)off, "cuda:0"));
	{
		char text[32];

		off = torch_lookup(torch_file_object(t), pickle_root(torch_file_graph(t)), "dev");
		assert_true(torch_device_text(torch_file_object(t), (uint32_t)off, text, sizeof text));
		assert_string_equal(text, "cpu");
	}
	bridge_doc_free(d);

	/* A view of a view; and one that would change nothing is the file. */
	data_must_view(&out, "@cuda:0", &back);
	location_is(&back, "0", "cuda:0");
	data_must_view(&out, "@cpu", &back);
	assert_int_equal(back.len, out.len);
	assert_memory_equal(back.p, out.p, out.len);
	data_must_view(&f, "@mps", &back);
	location_is(&back, "0", "mps");
	byte_buf_release(&f);
	byte_buf_release(&out);
	byte_buf_release(&back);
}

/* What a run keeps on the CPU. Storages: 0 moves, 1 is what the case is about. */
#define BESIDE(items) P2 "}(" STR("\1", "w") VECTOR(PID_ON(FLOAT, "0", CPU, "K\x0c"), "K\x0c") items "u."
#define ONE(pid) V2(pid, "K\0", ")", ")")
static void policy(void **state)
{
	static const struct {
		const char *what;
		const uint8_t *p;
		size_t len;
		size_t bytes;
		const char *want;
	} cases[] = {
		{ "a tensor", DATA(BESIDE(STR("\1", "x") VECTOR(PID_ON(BYTE, "1", CPU, "K\x30"), "K\x30"))), 48, "cuda:1" },
		{ "rng", DATA(BESIDE(STR("\x09", "rng_state") VECTOR(PID_ON(BYTE, "1", CPU, "K\x30"), "K\x30"))), 48, "cpu" },
		{ "RNG", DATA(BESIDE(STR("\x0e", "CUDA_RNG_state") "]" VECTOR(PID_ON(BYTE, "1", CPU, "K\x30"), "K\x30") "a")),
			48, "cpu" },
		{ "rng of floats", DATA(BESIDE(STR("\3", "rng") VECTOR(PID_ON(FLOAT, "1", CPU, "K\x0c"), "K\x0c"))), 48, "cuda:1" },
		{ "wrangle", DATA(BESIDE(STR("\7", "wrangle") VECTOR(PID_ON(BYTE, "1", CPU, "K\x30"), "K\x30"))), 48, "cuda:1" },
		{ "random_states", DATA(BESIDE(STR("\x0d", "random_states") "}" STR("\1", "a") VECTOR(PID_ON(BYTE, "1", CPU, "K\x30"),
				"K\x30") "s")), 48, "cpu" },
		{ "5056 bytes", DATA(BESIDE(STR("\1", "x") VECTOR(PID_ON(BYTE, "1", CPU, "M\xc0\x13"), "M\xc0\x13"))), 5056, "cpu" },
		{ "16 bytes", DATA(BESIDE(STR("\1", "x") VECTOR(PID_ON(BYTE, "1", CPU, "K\x10"), "K\x10"))), 16, "cpu" },
		{ "replay", DATA(BESIDE(STR("\x0d", "replay_buffer") VECTOR(PID_ON(FLOAT, "1", CPU, "K\x0c"), "K\x0c"))), 48, "cpu" },
		{ "buffer", DATA(BESIDE(STR("\6", "buffer") "}" STR("\1", "x") VECTOR(PID_ON(FLOAT, "1", CPU, "K\x0c"), "K\x0c") "s")),
			48, "cpu" },
		{ "_buffers", DATA(BESIDE(STR("\x08", "_buffers") "}" STR("\1", "x") VECTOR(PID_ON(FLOAT, "1", CPU, "K\x0c"),
				"K\x0c") "s")), 48, "cuda:1" },
		{ "momentum", DATA(BESIDE(STR("\x09", "optimizer") "}(" STR("\5", "state") "}K\0}" STR("\x0f", "momentum_buffer")
				ONE(PID_ON(FLOAT, "1", CPU, "K\x0c")) "ss" STR("\x0c", "param_groups") "]u")), 48, "cuda:1" },
		{ "a buffer in a state", DATA(BESIDE(STR("\5", "state") "}K\0}" STR("\x09", "my_buffer")
				ONE(PID_ON(FLOAT, "1", CPU, "K\x0c")) "ss")), 48, "cpu" },
		{ "step", DATA(BESIDE(STR("\x09", "optimizer") "}(" STR("\5", "state") "}K\0}" STR("\4", "step")
				ONE(PID_ON(FLOAT, "1", CPU, "K\x0c")) "ss" STR("\x0c", "param_groups") "]}" STR("\x0a", "capturable")
				"\x89sau")), 48, "cpu" },
		{ "capturable", DATA(BESIDE(STR("\x09", "optimizer") "}(" STR("\5", "state") "}K\0}" STR("\4", "step")
				ONE(PID_ON(FLOAT, "1", CPU, "K\x0c")) "ss" STR("\x0c", "param_groups") "]}" STR("\x0a", "capturable")
				"\x88sau")), 48, "cuda:1" },
		{ "a step elsewhere", DATA(BESIDE(STR("\4", "step") ONE(PID_ON(FLOAT, "1", CPU, "K\x0c")))), 48, "cuda:1" },
	};
	struct byte_buf f = { 0 }, out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		size_t len[] = { 48, cases[i].bytes };

		print_message("%s\n", cases[i].what);
		data_zip(&f, cases[i].p, cases[i].len, len, 2);
		data_must_view(&f, "@cuda:1", &out);
		location_is(&out, "0", "cuda:1");
		location_is(&out, "1", cases[i].want);
		data_must_view(&out, "@cpu", &f); /* and back: to the CPU goes everything */
		location_is(&f, "0", "cpu");
		location_is(&f, "1", "cpu");
	}
	byte_buf_release(&f);
	byte_buf_release(&out);
}

/* A file of a run on accelerators: those move, the CPU's stay. */
static void mixed(void **state)
{
	struct byte_buf f = { 0 }, out = { 0 };

	(void)state;
	data_zip(&f, DATA(P2 "](" VECTOR(PID_ON(FLOAT, "0", STR("\6", "cuda:3"), "K\x0c"), "K\x0c")
			VECTOR(PID_ON(FLOAT, "1", CPU, "K\x0c"), "K\x0c")
			VECTOR(PID_ON(FLOAT, "2", STR("\4", "meta"), "K\x0c"), "K\x0c") "e."), len48, 3);
	data_must_view(&f, "@cuda:1", &out);
	location_is(&out, "0", "cuda:1");
	location_is(&out, "1", "cpu");
	location_is(&out, "2", "meta");
	data_must_view(&f, "@cpu", &out);
	location_is(&out, "0", "cpu");
	location_is(&out, "2", "meta");
	byte_buf_release(&f);
	byte_buf_release(&out);
}

/* Records of other lengths: everything behind them lies elsewhere, in order, aligned. */
static void dtype_zip(void **state)
{
	struct byte_buf f = { 0 }, out = { 0 };
	struct bridge_doc *d;
	const struct torch_file *t;
	const struct zip *z;
	uint16_t want[12];
	uint64_t off, was = 0;

	(void)state;
	data_zip(&f, DATA(P2 "](" VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") VECTOR(PID(LONGS, "1", "K\6"), "K\6")
			VECTOR(PID(DOUBLE, "2", "K\6"), "K\6") "e."), len48, 3);
	data_must_view(&f, "@cpu+bf16", &out);
	d = data_open(&f);
	assert_int_equal(torch_file_storage(bridge_doc_torch(d), 0, memory_read, &f, &off), 0);
	bridge_dtype_convert(TORCH_FLOAT32, TORCH_BFLOAT16, f.p + off, 12, want);
	bridge_doc_free(d);
	d = data_open(&out);
	t = bridge_doc_torch(d);
	z = torch_file_zip(t);
	assert_int_equal(torch_storage_at(torch_file_object(t), 0)->dtype, TORCH_BFLOAT16);
	assert_int_equal(torch_storage_at(torch_file_object(t), 1)->dtype, TORCH_INT64);
	assert_int_equal(torch_storage_at(torch_file_object(t), 2)->dtype, TORCH_BFLOAT16);
	assert_int_equal(torch_storage_at(torch_file_object(t), 2)->bytes, 12);
	assert_int_equal(zip_count(z), 9);
	for (size_t i = 0; i < zip_count(z); i++) {
		assert_int_equal(zip_data(z, zip_at(z, i), memory_read, &out, &off), 0);
		assert_int_equal(off % 64, 0);
		assert_true(off > was);
		was = off;
	}
	assert_int_equal(torch_file_storage(t, 0, memory_read, &out, &off), 0);
	assert_memory_equal(out.p + off, want, sizeof want);
	assert_int_equal(torch_file_storage(t, 1, memory_read, &out, &off), 0);
	for (size_t i = 0; i < 48; i++)
		assert_int_equal(out.p[off + i], data_byte(1, i));
	assert_int_equal(torch_file_storage_entry(t, 0)->crc, 0);
	assert_true(torch_file_storage_entry(t, 1)->crc != 0);
	location_is(&out, "0", "cpu");
	bridge_doc_free(d);
	data_must_view(&out, "@bf16", &f); /* already */
	assert_int_equal(f.len, out.len);
	byte_buf_release(&f);
	byte_buf_release(&out);
}

/* What a dtype view leaves, and what it refuses. */
static void exempt(void **state)
{
	static const struct {
		const char *what;
		const uint8_t *p;
		size_t len;
		int want; /* enum torch_dtype of storage 0, or -errno */
	} cases[] = {
		{ "float", DATA(P2 VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") "."), TORCH_FLOAT16 },
		{ "step", DATA(P2 "}" STR("\5", "state") "}K\0}" STR("\4", "step") ONE(PID(FLOAT, "0", "K\x0c")) "sss."), TORCH_FLOAT32 },
		{ "a scale", DATA(P2 "ctorch._utils\n_rebuild_qtensor\n(" PID("ctorch\nQInt8Storage\n", "1", "K\x30")
				"K\0K\x30\x85K\1\x85(ctorch\nper_channel_affine\n" VECTOR(PID(DOUBLE, "0", "K\6"), "K\6")
				VECTOR(PID(LONGS, "2", "K\6"), "K\6") "K\0t\x89" OD "tR."), TORCH_FLOAT64 },
		{ "a bare storage", DATA(P2 PID(FLOAT, "0", "K\x0c") "."), TORCH_FLOAT32 },
		{ "two classes", DATA(P2 "](" VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") VECTOR(PID(LONGS, "0", "K\6"), "K\6") "e."),
			-ENOTSUP },
		{ "classes and untyped", DATA(P2 "](" VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c")
				PID("ctorch.storage\nUntypedStorage\n", "0", "K\x30") "e."), -ENOTSUP },
		{ "inside a byte string", DATA(P2 "ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\nC\3abc\x85RK\0K\1\x85K\1\x85\x89"
				OD "tR."), -ENOTSUP },
		{ "float of untyped", DATA(P2 "ctorch._utils\n_rebuild_tensor_v3\n(" PID("ctorch.storage\nUntypedStorage\n", "0",
				"K\x30") "K\0K\x0c\x85K\1\x85\x89" OD "ctorch\nfloat32\ntR."), -ENOTSUP },
	};
	struct byte_buf f = { 0 }, out = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int rc;

		print_message("%s\n", cases[i].what);
		data_zip(&f, cases[i].p, cases[i].len, len48, 3);
		rc = data_view(&f, "@fp16", &out);
		if (cases[i].want < 0) {
			assert_int_equal(rc, cases[i].want);
		} else {
			struct bridge_doc *d = (assert_int_equal(rc, 0), data_open(&out));
			const struct torch_object *o = torch_file_object(bridge_doc_torch(d));

			assert_int_equal(torch_storage_at(o, torch_storage_of_key(o, "0", 1))->dtype, cases[i].want);
			bridge_doc_free(d);
		}
	}
	byte_buf_release(&f);
	byte_buf_release(&out);
}

static void legacy(void **state)
{
	static const char data[] = LEGACY_HEAD P2 "](" VECTOR(LEGACY_PID(FLOAT, "7", CUDA0, "K\2"), "K\2")
			VECTOR(LEGACY_PID(LONGS, "8", CUDA0, "K\1"), "K\1") "e." P2 "](" STR("\1", "7") STR("\1", "8") "e."
			"\2\0\0\0\0\0\0\0" "\0\0\x80\x3f\0\0\0\xc0" "\1\0\0\0\0\0\0\0" "abcdefgh";
	struct byte_buf f = { 0 }, out = { 0 };
	struct bridge_doc *d;
	uint64_t off;

	(void)state;
	byte_buf_put(&f, data, sizeof data - 1);
	data_must_view(&f, "@cpu", &out);
	location_is(&out, "7", "cpu");
	location_is(&out, "8", "cpu");
	assert_memory_equal(out.p + out.len - 32, f.p + f.len - 32, 32);
	data_must_view(&f, "@cpu+fp16", &out);
	d = data_open(&out);
	assert_int_equal(torch_file_container(bridge_doc_torch(d)), TORCH_LEGACY);
	assert_int_equal(torch_file_storage(bridge_doc_torch(d), 0, memory_read, &out, &off), 0);
	assert_memory_equal(out.p + off, "\0\x3c\0\xc0", 4);
	assert_int_equal(torch_file_storage(bridge_doc_torch(d), 1, memory_read, &out, &off), 0);
	assert_memory_equal(out.p + off, "abcdefgh", 8);
	bridge_doc_free(d);
	byte_buf_release(&f);
	byte_buf_release(&out);
}

/* TorchScript: its constants follow too, and what is compressed is copied as it is. */
static void script(void **state)
{
	struct byte_buf f = { 0 }, out = { 0 };
	struct zip_writer w;
	struct bridge_doc *d;
	const struct torch_file *t;
	const struct zip_entry *e;
	uint8_t data[48] = { 0 };
	uint64_t at;

	(void)state;
	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "s/data/0", data, 48);
	memory_record(&f, &w, "s/data.pkl", DATA(P2 VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") "."));
	assert_int_equal(zip_write_header_as(&w, "s/code/m.py", 11, ZIP_DEFLATED, 4, 9, &f, &at), 0);
	byte_buf_put(&f, "\3\0\1\2", 4);
	assert_int_equal(zip_write_descriptor(&w, 77, &f), 0);
	memory_record(&f, &w, "s/constants/0", data, 48);
	memory_record(&f, &w, "s/constants.pkl", DATA(P2 VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") "\x85."));
	memory_record(&f, &w, "s/version", "3\n", 2);
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	for (int i = 0; i < 2; i++) {
		data_must_view(&f, i == 0 ? "@cpu" : "@bf16+cpu", &out);
		location_is(&out, "0", "cpu");
		d = data_open(&out);
		t = bridge_doc_torch(d);
		assert_int_equal(torch_file_container(t), TORCH_SCRIPT);
		e = torch_file_record(t, "code/m.py");
		assert_int_equal(e->method, ZIP_DEFLATED);
		assert_int_equal(e->size, 4);
		assert_int_equal(e->raw_size, 9);
		assert_int_equal(e->crc, 77);
		assert_int_equal(zip_data(torch_file_zip(t), e, memory_read, &out, &at), 0);
		assert_memory_equal(out.p + at, "\3\0\1\2", 4);
		e = torch_file_record(t, "constants.pkl");
		assert_int_equal(zip_data(torch_file_zip(t), e, memory_read, &out, &at), 0);
		assert_true(memmem(out.p + at, (size_t)e->size, "cuda", 4) == NULL);
		assert_true(memmem(out.p + at, (size_t)e->size, "FloatStorage", 12) != NULL);
		assert_int_equal(torch_file_record(t, "data/0")->size, i == 0 ? 48 : 24);
		assert_int_equal(torch_file_record(t, "constants/0")->size, 48);
		bridge_doc_free(d);
	}
	byte_buf_release(&f);
	byte_buf_release(&out);
}

/* Files that views of devices and dtypes do not apply to. */
static void others(void **state)
{
	struct byte_buf f = { 0 }, out = { 0 }, one = { 0 };
	uint64_t n = 3;

	(void)state;
	npy_write_header("<f4", false, &n, 1, &f);
	byte_buf_fill(&f, 0, 12);
	assert_int_equal(data_view(&f, "@cpu", &out), -EINVAL);
	assert_int_equal(data_view(&f, "@bf16", &out), -EINVAL);
	data_zip(&one, DATA(P2 "K\1."), NULL, 0);
	f.len = 0;
	byte_buf_put(&f, one.p, one.len);
	byte_buf_put(&f, one.p, one.len);
	assert_int_equal(data_view(&f, "@cpu", &out), -EINVAL);
	assert_int_equal(data_view(&f, "@bf16", &out), -ENOTSUP);
	f.len = 0;
	byte_buf_put(&f, DATA(P2 "ctorch\ndevice\n" STR("\4", "cuda") "K\1\x86R."));
	data_must_view(&f, "@cpu", &out);
	assert_true(data_has(&out, "cpu") && !data_has(&out, "cuda"));
	byte_buf_release(&f);
	byte_buf_release(&one);
	byte_buf_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(device_zip),
		cmocka_unit_test(policy),
		cmocka_unit_test(mixed),
		cmocka_unit_test(dtype_zip),
		cmocka_unit_test(exempt),
		cmocka_unit_test(legacy),
		cmocka_unit_test(script),
		cmocka_unit_test(others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
