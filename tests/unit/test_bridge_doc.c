/*
 * test_bridge_doc.c: what kind of file is which, the parts of those that have several, what is refused and how much memory is
 * taken; and the names of views.
 */
#include "bridge_data.h"

#include <pthread.h>

#include "codec/npy_header.h"
#include "torchbridge/bridge_spec.h"

#define SAVED P2 "}" STR("\1", "w") VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c") "s."

static const size_t len48[] = { 48 };

static int open_it(struct byte_buf *f, struct bridge_doc **d)
{
	return bridge_doc_open(memory_read, f, f->len, 0, d);
}

static void torch(void **state)
{
	struct byte_buf f = { 0 };
	struct bridge_doc *d;
	const struct torch_places *p, *again;

	(void)state;
	data_zip(&f, DATA(SAVED), len48, 1);
	d = data_open(&f);
	assert_int_equal(bridge_doc_kind(d), BRIDGE_TORCH);
	assert_int_equal(bridge_doc_size(d), f.len);
	assert_int_equal(torch_tensors(torch_file_object(bridge_doc_torch(d))), 1);
	assert_null(bridge_doc_safetensors(d));
	assert_null(bridge_doc_npy(d));
	assert_int_equal(bridge_doc_places(d, &p), 0);
	assert_int_equal(bridge_doc_places(d, &again), 0);
	assert_ptr_equal(p, again);
	assert_int_equal(torch_place_count(p), 2);
	assert_true(bridge_doc_memory(d) > sizeof(SAVED) && bridge_doc_memory(d) < 1 << 20);
	bridge_doc_free(d);

	f.len = 0;
	byte_buf_put(&f, LEGACY_HEAD P2 "K\1." P2 "].", sizeof LEGACY_HEAD - 1 + 9);
	d = data_open(&f);
	assert_int_equal(torch_file_container(bridge_doc_torch(d)), TORCH_LEGACY);
	bridge_doc_free(d);

	f.len = 0;
	byte_buf_put(&f, P2 "}.", 4);
	d = data_open(&f);
	assert_int_equal(torch_file_container(bridge_doc_torch(d)), TORCH_PICKLE);
	bridge_doc_free(d);
	bridge_doc_free(NULL);
	byte_buf_release(&f);
}

/* A .npy with n float32. */
static void npy(struct byte_buf *f, uint64_t n)
{
	assert_int_equal(npy_write_header("<f4", false, &n, 1, f), 0);
	assert_int_equal(byte_buf_fill(f, 0, (size_t)n * 4), 0);
}

static void arrays(void **state)
{
	struct byte_buf f = { 0 }, a = { 0 };
	struct zip_writer w;
	struct bridge_doc *d;
	uint64_t one = 1;

	(void)state;
	npy(&f, 5);
	d = data_open(&f);
	assert_int_equal(bridge_doc_kind(d), BRIDGE_NPY);
	assert_int_equal(bridge_doc_npy(d)->count, 5);
	bridge_doc_free(d);
	f.len--;
	assert_int_equal(open_it(&f, &d), -EBADMSG);

	npy(&a, 3);
	f.len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "weights.npy", a.p, a.len);
	memory_record(&f, &w, "layer/bias.npy", a.p, a.len);
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	d = data_open(&f);
	assert_int_equal(bridge_doc_kind(d), BRIDGE_NPZ);
	assert_int_equal(bridge_doc_members(d), 2);
	assert_string_equal(bridge_doc_member(d, 0)->name, "weights");
	assert_string_equal(bridge_doc_member(d, 1)->name, "layer/bias");
	assert_int_equal(bridge_doc_member(d, 1)->npy.count, 3);
	assert_memory_equal(f.p + bridge_doc_member(d, 1)->off, a.p, a.len);
	bridge_doc_free(d);

	f.len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "weights.npy", a.p, a.len);
	memory_record(&f, &w, "readme.txt", "x", 1);
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	assert_int_equal(open_it(&f, &d), -EINVAL);

	/* Sound, and not gone into: as it is. Of numpy's objects, alone and in an .npz; and torch.export's. */
	f.len = 0;
	assert_int_equal(npy_write_header("|O8", false, &one, 1, &f), 0);
	assert_int_equal(open_it(&f, &d), -EINVAL);
	a.len = 0;
	byte_buf_put(&a, f.p, f.len);
	f.len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "objects.npy", a.p, a.len);
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	assert_int_equal(open_it(&f, &d), -EINVAL);
	f.len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "e/archive_format", "pt2", 3);
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	assert_int_equal(open_it(&f, &d), -EINVAL);

	f.len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(&f, &w, "weights.npy", "nothing", 7);
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	assert_int_equal(open_it(&f, &d), -EBADMSG);
	byte_buf_release(&f);
	byte_buf_release(&a);
}

/* Torch zips end to end. */
static void shards(void **state)
{
	struct byte_buf f = { 0 }, one = { 0 };
	struct bridge_doc *d;
	size_t second;

	(void)state;
	data_zip(&one, DATA(P2 "K\7."), NULL, 0);
	byte_buf_put(&f, one.p, one.len);
	second = f.len;
	data_zip(&one, DATA(SAVED), len48, 1);
	byte_buf_put(&f, one.p, one.len);
	byte_buf_put(&f, one.p, one.len);
	d = data_open(&f);
	assert_int_equal(bridge_doc_kind(d), BRIDGE_DISTCP);
	assert_int_equal(bridge_doc_members(d), 3);
	assert_string_equal(bridge_doc_member(d, 2)->name, "2");
	assert_int_equal(bridge_doc_member(d, 0)->off, 0);
	assert_int_equal(bridge_doc_member(d, 1)->off, second);
	assert_int_equal(bridge_doc_member(d, 2)->len, one.len);
	assert_int_equal(torch_tensors(torch_file_object(bridge_doc_member(d, 1)->torch)), 1);
	bridge_doc_free(d);
	f.len -= one.len;
	byte_buf_text(&f, "in between");
	byte_buf_put(&f, one.p, one.len);
	assert_true(open_it(&f, &d) < 0);
	byte_buf_release(&f);
	byte_buf_release(&one);
}

static void tensors(void **state)
{
	static const char text[] = "\x40\0\0\0\0\0\0\0{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}           12345678";
	struct byte_buf f = { 0 };
	struct bridge_doc *d;

	(void)state;
	byte_buf_put(&f, text, sizeof text - 1);
	f.p[0] = (uint8_t)(sizeof text - 1 - 16);
	d = data_open(&f);
	assert_int_equal(bridge_doc_kind(d), BRIDGE_SAFETENSOR);
	assert_int_equal(safetensors_count(bridge_doc_safetensors(d)), 1);
	bridge_doc_free(d);
	f.len--;
	assert_int_equal(open_it(&f, &d), -EBADMSG);
	byte_buf_release(&f);
}

/* What is nothing is told from little of it. */
static void others(void **state)
{
	static const char *const texts[] = { "", "a", "{\"metrics\": [1, 2, 3]}", "#!/bin/sh\necho\n", "\x89PNG\r\n\x1a\n01234567",
		"PK\5\6 an empty zip of nothing.." };
	struct byte_buf f = { 0 };
	struct bridge_doc *d;

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		f.len = 0;
		byte_buf_text(&f, texts[i]);
		assert_int_equal(bridge_doc_sniff(memory_read, &f, f.len), -EINVAL);
		assert_int_equal(open_it(&f, &d), -EINVAL);
	}
	byte_buf_release(&f);
}

/* A file cut off anywhere is refused, one with a byte changed is refused or understood; nothing else happens. */
static void damaged(void **state)
{
	struct byte_buf f = { 0 }, g = { 0 };
	struct bridge_doc *d;

	(void)state;
	data_zip(&f, DATA(SAVED), len48, 1);
	for (size_t n = 0; n < f.len; n++)
		assert_true(bridge_doc_open(memory_read, &f, n, 0, &d) < 0);
	byte_buf_put(&g, f.p, f.len);
	for (size_t i = 0; i < f.len; i++) {
		g.p[i] ^= 0x41;
		if (open_it(&g, &d) == 0)
			bridge_doc_free(d);
		g.p[i] ^= 0x41;
	}
	byte_buf_release(&f);
	byte_buf_release(&g);
}

/* Memory is bounded by what the caller says, before it is taken. */
static void memory(void **state)
{
	struct byte_buf f = { 0 }, p = { 0 };
	struct bridge_doc *d;
	struct zip_writer w;

	(void)state;
	/* Many values. */
	byte_buf_put(&p, P2 "](", 4);
	for (int i = 0; i < 20000; i++)
		byte_buf_put(&p, "K\1", 2);
	byte_buf_put(&p, "e.", 2);
	assert_int_equal(bridge_doc_open(memory_read, &p, p.len, 200000, &d), -EFBIG);
	assert_int_equal(bridge_doc_open(memory_read, &p, p.len, 4000000, &d), 0);
	assert_true(bridge_doc_memory(d) < 4000000);
	bridge_doc_free(d);

	/* One tuple of sizes for many tensors: a few bytes of pickle each, and 64 sizes and strides. */
	p.len = 0;
	byte_buf_put(&p, P2 "(", 3);
	for (int i = 0; i < 64; i++)
		byte_buf_put(&p, "K\1", 2);
	byte_buf_put(&p, DATA("tq\1" "0" "ctorch._utils\n_rebuild_meta_tensor_no_storage\nq\2" "0]("));
	for (int i = 0; i < 3000; i++)
		byte_buf_put(&p, DATA("h\2(ctorch\nfloat32\nh\1h\1\x89tR"));
	byte_buf_put(&p, "e.", 2);
	assert_int_equal(bridge_doc_open(memory_read, &p, p.len, 2000000, &d), -EFBIG);
	assert_int_equal(bridge_doc_open(memory_read, &p, p.len, 8000000, &d), 0);
	bridge_doc_free(d);

	/* Many entries. */
	zip_writer_init(&w, 0, 1);
	memory_record(&f, &w, "m/data.pkl", P2 "N.", 4);
	for (int i = 0; i < 4000; i++) {
		char name[32];

		snprintf(name, sizeof name, "m/data/%d", i);
		memory_record(&f, &w, name, "", 0);
	}
	zip_write_end(&w, &f);
	zip_writer_release(&w);
	assert_int_equal(bridge_doc_open(memory_read, &f, f.len, 400000, &d), -EFBIG);
	assert_int_equal(bridge_doc_open(memory_read, &f, f.len, 4000000, &d), 0);
	bridge_doc_free(d);
	byte_buf_release(&f);
	byte_buf_release(&p);
}

static void *ask(void *arg)
{
	const struct torch_places *p = NULL;

	return bridge_doc_places(arg, &p) == 0 ? (void *)p : NULL;
}

/* Several threads that want the places first get the same. */
static void threads(void **state)
{
	struct byte_buf f = { 0 };
	struct bridge_doc *d;
	pthread_t t[4];
	void *p[4];

	(void)state;
	data_zip(&f, DATA(SAVED), len48, 1);
	d = data_open(&f);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&t[i], NULL, ask, d), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], &p[i]);
	for (int i = 0; i < 4; i++)
		assert_true(p[i] != NULL && p[i] == p[0]);
	bridge_doc_free(d);
	byte_buf_release(&f);
}

static void specs(void **state)
{
	static const struct {
		const char *name;
		enum bridge_form form;
		const char *device;
		int dtype;
	} good[] = {
		{ "@cpu", BRIDGE_FILE, "cpu", -1 }, { "@cuda", BRIDGE_FILE, "cuda:0", -1 }, { "@cuda:3", BRIDGE_FILE, "cuda:3", -1 },
		{ "@mps", BRIDGE_FILE, "mps", -1 }, { "@xpu:12", BRIDGE_FILE, "xpu:12", -1 }, { "@meta", BRIDGE_FILE, "meta", -1 },
		{ "@auto", BRIDGE_FILE, "auto", -1 }, { "@fp32", BRIDGE_FILE, "", TORCH_FLOAT32 },
		{ "@fp16", BRIDGE_FILE, "", TORCH_FLOAT16 }, { "@cpu+bf16", BRIDGE_FILE, "cpu", TORCH_BFLOAT16 },
		{ "@bf16+cuda:1", BRIDGE_FILE, "cuda:1", TORCH_BFLOAT16 }, { "@summary", BRIDGE_SUMMARY, "", -1 },
		{ "@json", BRIDGE_JSON, "", -1 }, { "@tree", BRIDGE_TREE, "", -1 }, { "@tree+fp32", BRIDGE_TREE, "", TORCH_FLOAT32 },
		{ "@bf16+safetensors", BRIDGE_SAFETENSORS, "", TORCH_BFLOAT16 }, { "@runs", BRIDGE_RUNS, "", -1 },
	};
	static const char *const bad[] = { "cpu", "@", "", "@cpu:0", "@CPU", "@cuda:", "@cuda:01", "@cuda:128", "@cuda:-1", "@cuda:1x",
		"@cuda0", "@cpu+cuda", "@fp32+fp16", "@cpu+", "@+cpu", "@cpu++bf16", "@summary+cpu", "@json+bf16", "@runs+fp32",
		"@tree+json", "@fp8", "@history", "@mps:0", "@auto+auto", "@cuda:1:2", "@safetensors+cpu" };
	struct bridge_spec s;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		if (!bridge_spec_parse(good[i].name, &s))
			fail_msg("%s", good[i].name);
		assert_int_equal(s.form, good[i].form);
		assert_string_equal(s.device, good[i].device);
		assert_int_equal(s.dtype, good[i].dtype);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		s.dtype = 77;
		if (bridge_spec_parse(bad[i], &s))
			fail_msg("%s", bad[i]);
		assert_int_equal(s.dtype, 77);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torch),
		cmocka_unit_test(arrays),
		cmocka_unit_test(shards),
		cmocka_unit_test(tensors),
		cmocka_unit_test(others),
		cmocka_unit_test(damaged),
		cmocka_unit_test(memory),
		cmocka_unit_test(threads),
		cmocka_unit_test(specs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
