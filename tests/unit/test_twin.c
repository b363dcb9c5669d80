/*
 * test_twin.c: of a tensor whose name, type and shape another one of the same file shares, the cutter says where that
 * one begins; of others nothing.
 */
#include "tests/unit/cut_torch.h"

#include "codec/record_name.h"

#include <xxhash.h>

/* --- names --------------------------------------------------------------------------------------- */

static struct record_name name_of(const char *key, const char *around)
{
	return record_name_of(XXH3_64bits(key, strlen(key)), record_name_rest(key, strlen(key)),
			XXH3_64bits(around, strlen(around)));
}

static bool alike(struct record_name a, struct record_name b)
{
	return a.whole == b.whole || (a.rest != 0 && (a.rest == b.rest || a.rest == b.whole)) ||
	       (b.rest != 0 && b.rest == a.whole);
}

static void names(void **state)
{
	static const struct {
		const char *a, *around_a, *b, *around_b;
		bool alike;
	} cases[] = {
		{ "layers.0.weight", "state_dict", "layers.0.weight", "ema", true },
		{ "student.layers.0.weight", "", "teacher.layers.0.weight", "", true },
		{ "layers.0.weight", "model", "module.layers.0.weight", "ema", true },
		{ "ema_model.fc.weight", "", "fc.weight", "", true },
		{ "layers.0.weight", "", "layers.1.weight", "", false },
		{ "layers.0.weight", "", "layers.0.bias", "", false },
		{ "q.weight", "", "k.weight", "", false },
		{ "weight", "student", "weight", "teacher", false },
		{ "exp_avg", "0", "exp_avg", "1", false },
		{ "exp_avg", "0", "exp_avg", "0", true },
		{ "", "", ".", "", false },
		{ "a.", "x", "a.", "y", true },
		{ "..", "", "...", "", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct record_name a = name_of(cases[i].a, cases[i].around_a);
		struct record_name b = name_of(cases[i].b, cases[i].around_b);

		assert_int_not_equal(a.whole, 0);
		if (alike(a, b) != cases[i].alike || alike(b, a) != cases[i].alike)
			fail_msg("%s in %s and %s in %s", cases[i].a, cases[i].around_a, cases[i].b, cases[i].around_b);
	}
}

/* --- files --------------------------------------------------------------------------------------- */

enum { NONE = -1 };

/* A tensor of a file: what it is (an index of tensors[]), what it is called, and which of the file is its twin. */
struct row {
	size_t like;
	const char *dict, *key;
	int twin;
};

static const struct row network[] = {
	{ 1, "model", "layer1.weight", NONE },
	{ 4, "model", "layer2.weight", NONE },
	{ 0, "model", "layer2.bias", NONE }, /* tiny: has no chunks of its own */
	{ 7, "model", "layer3.weight", NONE },
	{ 1, "ema", "layer1.weight", 0 },
	{ 4, "ema", "module.layer2.weight", 1 },
	{ 0, "ema", "layer2.bias", NONE },
	{ 5, "ema", "layer3.weight", NONE }, /* another shape */
	{ 1, "swa", "layer1.weight", 0 },    /* the first one, not the one before */
	{ 9, "swa", "layer2.weight", NONE },
	{ 4, "swa", "layer9.weight", NONE },
};
enum { ROWS = sizeof network / sizeof network[0] };

static size_t start_of[ROWS];

static void add_row_payload(size_t k)
{
	add_payload(network[k].like);
	start_of[k] = file.at[network[k].like];
}

/* Every chunk of every tensor says what it should. */
static void check_rows(void)
{
	cut_in_all_ways();
	for (size_t k = 0; k < ROWS; k++) {
		size_t n = bytes_of(network[k].like), seen = 0;
		uint64_t want = network[k].twin == NONE ? 0 : start_of[network[k].twin];

		if (n < CODEC_CUT_OWN)
			continue;
		for (size_t i = 0; i < said.n; i++) {
			const struct chunk *c = &said.v[i];

			if (c->off < start_of[k] || c->off >= start_of[k] + n)
				continue;
			seen++;
			assert_int_equal(c->cut.record_off, c->off - start_of[k]);
			if (c->cut.twin != want)
				fail_msg("%s of %s: twin at %zu, not %zu", network[k].key, network[k].dict,
						(size_t)c->cut.twin, (size_t)want);
			if (want != 0)
				assert_non_null(chunk_at(want + c->cut.record_off));
		}
		assert_true(seen > 0);
	}
	/* and nothing else does */
	for (size_t i = 0; i < said.n; i++)
		assert_true(said.v[i].cut.twin <= said.v[i].off &&
				(said.v[i].cut.twin == 0 || said.v[i].cut.hint.width != 0));
}

/* {"model": {...}, "ema": {...}, ...}, as torch pickles it. */
static void add_dicts(bool legacy)
{
	char key[20];

	ADD("\x80\2}q\0(");
	for (size_t k = 0; k < ROWS; k++) {
		if (k == 0 || strcmp(network[k].dict, network[k - 1].dict) != 0) {
			if (k > 0)
				ADD("u");
			add_string(network[k].dict);
			ADD("}q\1(");
		}
		add_string(network[k].key);
		snprintf(key, sizeof key, "%zu", 100 + k);
		add_tensor(network[k].like, key, numel(network[k].like), legacy, k == 0);
	}
	ADD("uu.");
}

static void in_a_torch_zip(void **state)
{
	char name[40];

	(void)state;
	for (int sizes = DESCRIBED; sizes <= DESCRIBED64; sizes++) {
		new_file();
		zip_start = 0;
		begin_member("archive", "/data.pkl", (enum sizes)sizes, 0, 0);
		add_dicts(false);
		end_member((enum sizes)sizes);
		for (size_t k = 0; k < ROWS; k++) {
			snprintf(name, sizeof name, "/data/%zu", 100 + k);
			begin_member("archive", name, (enum sizes)sizes, 0, bytes_of(network[k].like));
			add_row_payload(k);
			end_member((enum sizes)sizes);
		}
		add_directory("");
		check_rows();
	}
}

static void in_a_legacy_file(void **state)
{
	char key[20];

	(void)state;
	new_file();
	ADD("\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\2M\xe9\3.\x80\2}q\0.");
	add_dicts(true);
	ADD("\x80\2]q\0(");
	for (size_t k = 0; k < ROWS; k++) {
		snprintf(key, sizeof key, "%zu", 100 + k);
		add_string(key);
	}
	ADD("e.");
	for (size_t k = 0; k < ROWS; k++) {
		add_le(numel(network[k].like), 8);
		add_row_payload(k);
	}
	check_rows();
}

/* There the dict is the first part of the name. */
static void in_safetensors(void **state)
{
	static char head[8000];
	size_t n = 1, off = 0;

	(void)state;
	strcpy(head, "{");
	for (size_t k = 0; k < ROWS; k++) {
		const struct tensor *t = &tensors[network[k].like];
		const char *key = network[k].key, *module = "module.";

		if (strncmp(key, module, strlen(module)) == 0)
			key += strlen(module);
		n += (size_t)snprintf(head + n, sizeof head - n, "%s\"%s.%s\":{\"dtype\":\"%s\",\"shape\":[",
				k > 0 ? "," : "", network[k].dict, key, t->safe);
		for (unsigned d = 0; d < dims_of(network[k].like); d++)
			n += (size_t)snprintf(head + n, sizeof head - n, "%s%u", d > 0 ? "," : "", t->shape[d]);
		n += (size_t)snprintf(head + n, sizeof head - n, "],\"data_offsets\":[%zu,%zu]}", off,
				off + bytes_of(network[k].like));
		off += bytes_of(network[k].like);
	}
	snprintf(head + n, sizeof head - n, "}");
	new_file();
	add_le(strlen(head), 8);
	add_text(head);
	for (size_t k = 0; k < ROWS; k++)
		add_row_payload(k);
	check_rows();
}

/* Optimizer state: the same key in many dicts, all of one shape; and a thousand names. */
static void many(void **state)
{
	enum { TENSORS_HERE = 1200, ELEMENTS = 768 };
	static char head[TENSORS_HERE * 100];
	static const uint8_t zeros[4 * ELEMENTS];
	size_t n = 1, half = TENSORS_HERE / 2, first;

	(void)state;
	strcpy(head, "{");
	for (size_t k = 0; k < TENSORS_HERE; k++)
		n += (size_t)snprintf(head + n, sizeof head - n,
				"%s\"%s.%zu.weight\":{\"dtype\":\"F32\",\"shape\":[%d],\"data_offsets\":[%zu,%zu]}",
				k > 0 ? "," : "", k < half ? "model" : "ema", k % half, ELEMENTS, k * sizeof zeros,
				(k + 1) * sizeof zeros);
	snprintf(head + n, sizeof head - n, "}");
	new_file();
	add_le(strlen(head), 8);
	add_text(head);
	first = file.len;
	for (size_t k = 0; k < TENSORS_HERE; k++)
		add(zeros, sizeof zeros);
	{
		struct codec_cutter *c;
		struct codec_cut cut;
		size_t off = 0, seen = 0;

		assert_int_equal(codec_cutter_new(0, &c), 0);
		while (off < file.len) {
			off += codec_cut_feed(c, file.b + off, file.len - off, &cut);
			if (!cut.end || off <= first)
				continue;
			assert_int_equal(cut.twin, seen < half ? 0 : first + (seen - half) * sizeof zeros);
			seen++;
		}
		assert_int_equal(seen, TENSORS_HERE);
		codec_cutter_free(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(in_a_torch_zip),
		cmocka_unit_test(in_a_legacy_file),
		cmocka_unit_test(in_safetensors),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
