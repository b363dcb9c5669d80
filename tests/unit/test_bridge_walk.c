/*
 * test_bridge_walk.c: @json and @summary of small files made here: what they say, that JSON is JSON and that
 * text is 80 columns of printable characters, whatever the file holds.
 */
#include "bridge_data.h"

#include <jansson.h>

#include "torchbridge/name_escape.h"
#include "torchbridge/view_globals.h"

#define VECTOR12 VECTOR(PID(FLOAT, "0", "K\x0c"), "K\x0c")

typedef int (*view_fn)(const struct bridge_doc *d, const struct bridge_text *how, codec_read_at read,
		void *arg, struct byte_buf *out);

/* A view of a torch zip with the pickle p and a storage of 48 bytes, as text; the caller frees it. */
static char *view_of(view_fn view, const uint8_t *p, size_t len, const char *name)
{
	static const size_t sizes[] = { 48 };
	struct bridge_text how = { name, 0 };
	struct byte_buf f = { 0 }, out = { 0 };
	struct bridge_doc *d;

	data_zip(&f, p, len, sizes, 1);
	if (bridge_doc_open(memory_read, &f, f.len, 0, &d) != 0 || view(d, &how, memory_read, &f, &out) != 0)
		fail_msg("%s", ckpt_errmsg());
	assert_int_equal(byte_buf_put(&out, "", 1), 0);
	bridge_doc_free(d);
	byte_buf_release(&f);
	return (char *)out.p;
}

static json_t *json_of(const uint8_t *p, size_t len)
{
	char *text = view_of(bridge_view_json, p, len, "m.pt");
	json_error_t e;
	json_t *doc = json_loads(text, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &e);

	if (doc == NULL)
		fail_msg("line %d: %s\n%s", e.line, e.text, text);
	free(text);
	return doc;
}

static const char *text_in(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	return json_is_string(v) ? json_string_value(v) : "(none)";
}

static json_int_t number_in(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	return json_is_integer(v) ? json_integer_value(v) : -1;
}

/* ---- @json ----------------------------------------------------------------------------------------------- */

static void a_file(void **state)
{
	json_t *doc = json_of(DATA(P2 "}(" STR("\5", "epoch") "K\3" STR("\5", "model") "}" STR(
			       "\3", "a.w") V2(PID(FLOAT, "0", "K\x0c"), "K\1", "K\2K\3\x86",
			       "K\4K\1\x86") "s" STR("\4", "tied") VECTOR12 "u.")),
	       *t;

	(void)state;
	assert_string_equal(text_in(doc, "file"), "m.pt");
	assert_string_equal(text_in(doc, "kind"), "torch");
	assert_string_equal(text_in(doc, "container"), "zip");
	assert_int_equal(number_in(doc, "protocol"), 2);
	assert_int_equal(number_in(doc, "epoch"), 3);
	assert_int_equal(json_array_size(json_object_get(doc, "tensors")), 2);
	t = json_array_get(json_object_get(doc, "tensors"), 0);
	assert_string_equal(text_in(t, "name"), "model.a.w");
	assert_string_equal(text_in(t, "dtype"), "float32");
	assert_string_equal(text_in(t, "device"), "cuda:0");
	assert_string_equal(text_in(t, "storage"), "0");
	assert_int_equal(number_in(t, "offset"), 1);
	assert_int_equal(number_in(t, "bytes"), 24);
	assert_int_equal(json_integer_value(json_array_get(json_object_get(t, "shape"), 1)), 3);
	assert_int_equal(json_integer_value(json_array_get(json_object_get(t, "stride"), 0)), 4);
	assert_true(json_is_false(json_object_get(t, "requires_grad")));
	assert_string_equal(text_in(t, "shared_with"), "(none)");
	t = json_array_get(json_object_get(doc, "tensors"), 1);
	assert_string_equal(text_in(t, "shared_with"), "model.a.w");
	assert_int_equal(number_in(json_object_get(doc, "totals"), "storage_bytes"), 48);
	json_decref(doc);
}

/* {"k": value}: its row, compactly. */
static void values(void **state)
{
	static const struct {
		const uint8_t *p;
		size_t len;
		const char *want;
	} cases[] = {
		{ DATA("N"), "{\"path\":\"k\",\"type\":\"None\",\"value\":null}" },
		{ DATA("\x88"), "{\"path\":\"k\",\"type\":\"bool\",\"value\":true}" },
		{ DATA("K\7"), "{\"path\":\"k\",\"type\":\"int\",\"value\":7}" },
		{ DATA("\x8a\x09\0\0\0\0\0\0\0\0\1"),
				"{\"path\":\"k\",\"type\":\"int\",\"value\":\"18446744073709551616\"}" },
		{ DATA("G\x3f\xe0\0\0\0\0\0\0"), "{\"path\":\"k\",\"type\":\"float\",\"value\":0.5}" },
		{ DATA("G\x7f\xf8\0\0\0\0\0\0"), "{\"path\":\"k\",\"type\":\"float\",\"value\":\"nan\"}" },
		{ DATA("G\xff\xf0\0\0\0\0\0\0"), "{\"path\":\"k\",\"type\":\"float\",\"value\":\"-inf\"}" },
		{ DATA(STR("\3", "a\"\x1b")),
				"{\"path\":\"k\",\"type\":\"str\",\"value\":\"a\\\"\\u001B\"}" },
		{ DATA(STR("\3", "\xed\xb2\x80")), "{\"path\":\"k\",\"type\":\"str\",\"value\":"
						   "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}" },
		{ DATA(STR("\2", "\0z")), "{\"path\":\"k\",\"type\":\"str\",\"value\":\"\\u0000z\"}" },
		{ DATA("C\2\0\xff"), "{\"path\":\"k\",\"type\":\"bytes\",\"length\":2,\"value\":\"00ff\"}" },
		{ DATA("K\1K\2\x86"), "{\"path\":\"k\",\"type\":\"tuple\",\"value\":[1,2],\"length\":2}" },
		{ DATA("}"), "{\"path\":\"k\",\"type\":\"dict\",\"value\":{},\"length\":0}" },
		{ DATA("ctorch\ndtype\n"), "{\"path\":\"k\",\"type\":\"global\",\"value\":\"torch.dtype\"}" },
		{ DATA("cx\nY\n)R"), "{\"path\":\"k\",\"type\":\"object\",\"class\":\"x.Y\"}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct byte_buf p = { 0 };
		json_t *doc;
		char *row;

		byte_buf_put(&p, DATA(P2 "}" STR("\1", "k")));
		byte_buf_put(&p, cases[i].p, cases[i].len);
		byte_buf_text(&p, "s.");
		doc = json_of(p.p, p.len);
		row = json_dumps(json_array_get(json_object_get(doc, "values"), 0), JSON_COMPACT);
		assert_non_null(row);
		assert_string_equal(row, cases[i].want);
		free(row);
		json_decref(doc);
		byte_buf_release(&p);
	}
}

static void long_texts_are_cut(void **state)
{
	struct byte_buf p = { 0 };
	json_t *doc, *row;

	(void)state;
	byte_buf_put(&p, DATA(P2 "}" STR("\1", "k") "X\0\0\1\0"));
	byte_buf_fill(&p, 'x', 65536);
	byte_buf_text(&p, "s.");
	doc = json_of(p.p, p.len);
	row = json_array_get(json_object_get(doc, "values"), 0);
	assert_int_equal(number_in(row, "length"), 65536);
	assert_true(json_is_true(json_object_get(row, "cut")));
	assert_int_equal(strlen(text_in(row, "value")), 4096);
	json_decref(doc);
	byte_buf_release(&p);
}

/* A cycle, and sixty tuples of two times the one before. */
static void references(void **state)
{
	struct byte_buf p = { 0 };
	json_t *doc, *row;

	(void)state;
	doc = json_of(DATA(P2 "}q\0" STR("\1", "l") "]q\1(h\1}" STR("\1", "x") "K\1ses."));
	row = json_array_get(json_object_get(doc, "values"), 0);
	assert_string_equal(text_in(row, "path"), "l.0");
	assert_string_equal(text_in(row, "type"), "reference");
	assert_string_equal(text_in(row, "to"), "l");
	json_decref(doc);
	byte_buf_put(&p, DATA(P2 "}q\0"));
	for (int i = 0; i < 60; i++) {
		const uint8_t pair[] = { 'h', (uint8_t)i, 'h', (uint8_t)i, 0x86, 'q', (uint8_t)(i + 1) };

		byte_buf_put(&p, pair, sizeof pair);
	}
	byte_buf_text(&p, ".");
	doc = json_of(p.p, p.len);
	assert_int_equal(json_array_size(json_object_get(doc, "values")), 61);
	json_decref(doc);
	byte_buf_release(&p);
}

static void globals(void **state)
{
	static const struct {
		const char *module, *name;
		enum view_trust want;
	} cases[] = {
		{ "collections", "OrderedDict", VIEW_SAFE },
		{ "collections", "defaultdict", VIEW_OUTSIDE },
		{ "torch", "FloatStorage", VIEW_SAFE },
		{ "torch", "float16", VIEW_SAFE },
		{ "torch", "uint3", VIEW_SAFE },
		{ "torch", "load", VIEW_RUNS },
		{ "torch", "ops", VIEW_OUTSIDE },
		{ "torch.cuda", "FloatStorage", VIEW_SAFE },
		{ "torch.cuda", "QInt8Storage", VIEW_OUTSIDE },
		{ "torch.sparse", "FloatTensor", VIEW_SAFE },
		{ "__builtin__", "set", VIEW_SAFE },
		{ "__builtin__", "eval", VIEW_RUNS },
		{ "builtins", "frozenset", VIEW_OUTSIDE },
		{ "os", "system", VIEW_RUNS },
		{ "os.path", "join", VIEW_RUNS },
		{ "osx", "system", VIEW_OUTSIDE },
		{ "numpy", "dtype", VIEW_OUTSIDE },
	};
	json_t *doc = json_of(DATA(P2 "cposix\nsystem\n(" STR("\2", "ls") "tR.")), *g;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pickle_global x = { cases[i].module, cases[i].name, (uint32_t)strlen(cases[i].module),
			(uint32_t)strlen(cases[i].name), 0 };

		if (view_global_trust(&x) != cases[i].want)
			fail_msg("%s.%s", cases[i].module, cases[i].name);
	}
	g = json_array_get(json_object_get(doc, "globals"), 0);
	assert_string_equal(text_in(g, "name"), "posix.system");
	assert_true(json_is_false(json_object_get(g, "safe")));
	assert_true(json_is_true(json_object_get(g, "runs_code")));
	json_decref(doc);
}

/* ---- @summary -------------------------------------------------------------------------------------------- */

/* Lines of at most 80 columns, nothing that a terminal acts upon. */
static void must_be_fit_for_people(const char *text)
{
	for (const char *p = text; *p != '\0';) {
		size_t len = strcspn(p, "\n");

		if (name_columns(p, len) > 80)
			fail_msg("%zu columns: %.*s", name_columns(p, len), (int)len, p);
		for (size_t i = 0; i < len;) {
			size_t n = name_sequence((const uint8_t *)p + i, len - i);

			assert_true(n > 0 && !name_control((const uint8_t *)p + i, n));
			i += n;
		}
		p += len + (p[len] != '\0');
	}
}

static void a_summary(void **state)
{
	char *text = view_of(bridge_view_summary,
			DATA(P2 "}(" STR("\5", "epoch") "K\3" STR("\5", "model") "}" STR("\1", "w") V2(
					PID(FLOAT, "0", "K\x0c"), "K\1", "K\2K\3\x86",
					"K\4K\1\x86") "s" STR("\4", "tied") VECTOR12 "u."),
			"m.pt");

	(void)state;
	must_be_fit_for_people(text);
	assert_non_null(strstr(text, "m.pt "));
	assert_non_null(strstr(text, "\nepoch 3\n"));
	assert_non_null(strstr(text, "\nTENSORS  2, of 18 elements, 72 B\n  model\n    w "));
	assert_non_null(strstr(text, " float32  2 x 3  cuda:0      24 B\n= tied "));
	assert_non_null(strstr(text, "weights_only=True loads it"));
	free(text);
}

/* Keys, texts, devices, classes and the file's own name that would drive a terminal, or are far too long. */
static void hostile_texts(void **state)
{
	static const char *const nasty[] = { "\x1b[2J\x1b]0;x\a", "a\r\nb\tc", "\xff\xfe\x80",
		"\xe2\x80\xae"
		"abc",
		"\xc2\x9b"
		"31m" };

	(void)state;
	for (size_t i = 0; i < sizeof nasty / sizeof nasty[0]; i++)
		for (int repeat = 1; repeat <= 4000; repeat += 3999) {
			struct byte_buf p = { 0 }, word = { 0 };
			char *text;
			json_t *doc;

			for (int k = 0; k < repeat; k++)
				byte_buf_text(&word, nasty[i]);
			byte_buf_put(&p, DATA(P2 "}("));
			for (int k = 0; k < 2; k++) { /* a key and its text; a key and a tensor */
				byte_buf_put(&p, "X", 1);
				byte_buf_le(&p, word.len, 4);
				byte_buf_put(&p, word.p, word.len);
				if (k == 0) {
					byte_buf_put(&p, "X", 1);
					byte_buf_le(&p, word.len, 4);
					byte_buf_put(&p, word.p, word.len);
				} else {
					byte_buf_put(&p, DATA(VECTOR12));
				}
			}
			byte_buf_text(&p, "u.");
			byte_buf_put(&word, "", 1);
			text = view_of(bridge_view_summary, p.p, p.len, (char *)word.p);
			must_be_fit_for_people(text);
			free(text);
			doc = json_of(p.p, p.len);
			json_decref(doc);
			byte_buf_release(&p);
			byte_buf_release(&word);
		}
}

static void marks(void **state)
{
	char *text = view_of(bridge_view_summary,
			DATA(P2 "}(" STR("\1", "x") "cposix\nsystem\n(" STR("\2", "ls") "tR" STR(
					"\1", "y") "cargparse\nNamespace\n)\x81u."),
			"m.pt");

	(void)state;
	must_be_fit_for_people(text);
	assert_non_null(strstr(text, "\n !! posix.system\n"));
	assert_non_null(strstr(text, "\n  ! argparse.Namespace\n"));
	assert_non_null(strstr(text, "load it only if you trust its writer"));
	assert_non_null(strstr(text, "weights_only=True refuses"));
	free(text);
}

static void too_deep(void **state)
{
	struct byte_buf p = { 0 };
	char *text;

	(void)state;
	byte_buf_put(&p, DATA(P2));
	for (int i = 0; i < 5000; i++)
		byte_buf_text(&p, "]");
	byte_buf_put(&p, DATA("}" STR("\1", "k") "Ns"));
	byte_buf_fill(&p, 'a', 5000);
	byte_buf_text(&p, ".");
	text = view_of(bridge_view_summary, p.p, p.len, "m.pt");
	must_be_fit_for_people(text);
	assert_non_null(strstr(text, "too deep"));
	free(text);
	byte_buf_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file),
		cmocka_unit_test(values),
		cmocka_unit_test(long_texts_are_cut),
		cmocka_unit_test(references),
		cmocka_unit_test(globals),
		cmocka_unit_test(a_summary),
		cmocka_unit_test(hostile_texts),
		cmocka_unit_test(marks),
		cmocka_unit_test(too_deep),
	};

	return cmocka_run_group_tests_name("walk", tests, NULL, NULL);
}
