/*
 * test_bridge_tree.c: checkpoints as directories: names, sizes, contents and links of small files made here.
 */
#include "bridge_data.h"

#include "torchbridge/bridge_tree.h"

#define ALL PID(FLOAT, "0", "K\x0c")
#define MATRIX V2(ALL, "K\0", "K\3K\4\x86", "K\4K\1\x86")

/* A torch zip with the pickle p and a storage "0" of the floats 0 .. 11. */
static void build(struct byte_buf *f, const uint8_t *p, size_t n)
{
	float numbers[12];
	struct zip_writer w;

	for (int i = 0; i < 12; i++)
		numbers[i] = (float)i;
	f->len = 0;
	zip_writer_init(&w, 0, 0);
	memory_record(f, &w, "m/data.pkl", p, n);
	memory_record(f, &w, "m/data/0", numbers, sizeof numbers);
	memory_record(f, &w, "m/version", "3\n", 2);
	assert_int_equal(zip_write_end(&w, f), 0);
	zip_writer_release(&w);
}

struct seen {
	struct byte_buf file;
	struct bridge_doc *doc;
	struct bridge_tree *tree;
};

static void look(struct seen *s, int dtype)
{
	if (bridge_doc_open(memory_read, &s->file, s->file.len, 0, &s->doc) != 0 ||
			bridge_tree_new(s->doc, dtype, &s->tree) != 0)
		fail_msg("%s", ckpt_errmsg());
}

static void leave(struct seen *s)
{
	bridge_tree_free(s->tree);
	bridge_doc_free(s->doc);
	byte_buf_release(&s->file);
	memset(s, 0, sizeof *s);
}

static int64_t read_source(void *arg, uint32_t source, uint64_t off, void *buf, size_t len)
{
	assert_int_equal(source, 0);
	return memory_read(arg, off, buf, len);
}

/* The whole of a file, terminated; the caller frees it. Its size is the one find() tells. */
static char *content(struct seen *s, const char *path, size_t *len)
{
	struct bridge_sources src = { read_source, &s->file };
	struct bridge_node node;
	struct bridge_layout *l;
	char *p;

	if (bridge_tree_find(s->tree, path, memory_read, &s->file, &node) != 0 ||
			bridge_tree_open(s->tree, path, memory_read, &s->file, &l) != 0)
		fail_msg("%s: %s", path, ckpt_errmsg());
	assert_int_equal(node.type, S_IFREG);
	assert_int_equal(bridge_layout_size(l), node.size);
	p = calloc(1, node.size + 1);
	assert_non_null(p);
	assert_int_equal(bridge_layout_read(l, &src, 0, p, node.size), node.size);
	bridge_layout_free(l);
	*len = node.size;
	return p;
}

static void must_say(struct seen *s, const char *path, const char *want, size_t want_len)
{
	size_t len;
	char *p = content(s, path, &len);

	if (len != want_len || memcmp(p, want, len) != 0)
		fail_msg("%s: is '%s', not '%s'", path, p, want);
	free(p);
}

/* A .npy of floats. */
static void must_hold(struct seen *s, const char *path, const char *head, const float *want, size_t n)
{
	size_t len;
	char *p = content(s, path, &len);

	if (strncmp(p + 10, head, strlen(head)) != 0)
		fail_msg("%s: %.100s", path, p + 10);
	assert_int_equal(len, 128 + n * sizeof *want);
	assert_memory_equal(p + 128, want, n * sizeof *want);
	free(p);
}

static int add_name(void *arg, const char *name, size_t len, mode_t type)
{
	int rc = byte_buf_put(arg, name, len);

	return rc < 0 ? rc : byte_buf_text(arg, S_ISDIR(type) ? "/ " : S_ISLNK(type) ? "@ " : " ");
}

static void must_list(struct seen *s, const char *path, const char *want)
{
	struct byte_buf names = { 0 };

	assert_int_equal(bridge_tree_list(s->tree, path, add_name, &names), 0);
	assert_int_equal(byte_buf_put(&names, "", 1), 0);
	assert_string_equal((char *)names.p, want);
	byte_buf_release(&names);
}

static void must_lead(struct seen *s, const char *path, const char *want)
{
	struct byte_buf link = { 0 };
	struct bridge_node node;

	assert_int_equal(bridge_tree_find(s->tree, path, memory_read, &s->file, &node), 0);
	assert_int_equal(node.type, S_IFLNK);
	assert_int_equal(bridge_tree_link(s->tree, path, &link), 0);
	assert_int_equal(node.size, link.len);
	assert_int_equal(byte_buf_put(&link, "", 1), 0);
	assert_string_equal((char *)link.p, want);
	byte_buf_release(&link);
}

static int found(struct seen *s, const char *path)
{
	struct bridge_node node;

	return bridge_tree_find(s->tree, path, memory_read, &s->file, &node);
}

/* What a value becomes: {"k": value}, seen as the file k. */
static void scalars(void **state)
{
	static const struct {
		const uint8_t *p;
		size_t len;
		const char *want;
	} cases[] = {
		{ DATA("N"), "None\n" },
		{ DATA("\x88"), "True\n" },
		{ DATA("J\xff\xff\xff\xff"), "-1\n" },
		{ DATA("\x8a\x09\0\0\0\0\0\0\0\0\1"), "18446744073709551616\n" },
		{ DATA("\x8a\x09\0\0\0\0\0\0\0\0\xff"), "-18446744073709551616\n" },
		{ DATA("G\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1\n" },
		{ DATA("G\x3f\xf0\0\0\0\0\0\0"), "1.0\n" },
		{ DATA("G\x43\x41\xc3\x79\x37\xe0\x80\0"), "1e+16\n" },
		{ DATA("G\0\0\0\0\0\0\0\1"), "5e-324\n" },
		{ DATA("G\x80\0\0\0\0\0\0\0"), "-0.0\n" },
		{ DATA("G\x7f\xf8\0\0\0\0\0\0"), "nan\n" },
		{ DATA("G\xff\xf0\0\0\0\0\0\0"), "-inf\n" },
		{ DATA(STR("\3", "a\nb")), "a\nb\n" },
		{ DATA(STR("\0", "")), "\n" },
		{ DATA("ctorch\nfloat16\n"), "torch.float16\n" },
		{ DATA("ctorch\ndevice\n(" STR("\4", "cuda") "K\1tR"), "cuda:1\n" },
		{ DATA("ctorch\nSize\n((K\2K\3ttR"), "torch.Size([2, 3])\n" },
		{ DATA("c__builtin__\ncomplex\n(G\x3f\xf0\0\0\0\0\0\0G\xbf\xe0\0\0\0\0\0\0tR"),
				"(1-0.5j)\n" },
		{ DATA("c__builtin__\ncomplex\n(G\0\0\0\0\0\0\0\0G\x40\0\0\0\0\0\0\0tR"), "2j\n" },
		{ DATA("cos\nsystem\n"), "os.system\n" },
		{ DATA(STR("\1", "x") "Q"), "<persistent id>\n" },
		{ DATA("C\3\0\xff!"), NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct seen s = { 0 };
		struct byte_buf p = { 0 };

		byte_buf_put(&p, DATA(P2 "}" STR("\1", "k")));
		byte_buf_put(&p, cases[i].p, cases[i].len);
		byte_buf_text(&p, "s.");
		build(&s.file, p.p, p.len);
		look(&s, -1);
		must_say(&s, "k", cases[i].want != NULL ? cases[i].want : "\0\xff!",
				cases[i].want != NULL ? strlen(cases[i].want) : 3);
		leave(&s);
		byte_buf_release(&p);
	}
}

/* Keys as names, and each found again by its name. */
static void names(void **state)
{
	static const struct {
		const uint8_t *p;
		size_t len;
		const char *want;
	} cases[] = {
		{ DATA(STR("\3", "a.b")), "a.b" },
		{ DATA(STR("\3", "a/b")), "a%2Fb" },
		{ DATA(STR("\3", "a%b")), "a%25b" },
		{ DATA(STR("\1", ".")), "%2E" },
		{ DATA(STR("\2", "..")), "%2E." },
		{ DATA(STR("\3", "...")), "..." },
		{ DATA(STR("\0", "")), "%" },
		{ DATA(STR("\2", "\0\x1b")), "%00%1B" },
		{ DATA(STR("\2", "\xc2\x85")), "%C2%85" },
		{ DATA(STR("\2", "\xc3\xbc")), "\xc3\xbc" },
		{ DATA(STR("\3", "\xed\xb2\x80")), "%ED%B2%80" },
		{ DATA("K\7"), "7" },
		{ DATA("N"), "None" },
		{ DATA("(" STR("\1", "a") "K\1t"), "('a', 1)" },
		{ DATA("K\1\x85"), "(1,)" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct seen s = { 0 };
		struct byte_buf p = { 0 }, want = { 0 };

		byte_buf_put(&p, DATA(P2 "}"));
		byte_buf_put(&p, cases[i].p, cases[i].len);
		byte_buf_text(&p, "K\1s.");
		build(&s.file, p.p, p.len);
		look(&s, -1);
		byte_buf_text(&want, cases[i].want);
		byte_buf_put(&want, " ", 2);
		must_list(&s, "", (char *)want.p);
		must_say(&s, cases[i].want, "1\n", 2);
		leave(&s);
		byte_buf_release(&p);
		byte_buf_release(&want);
	}
}

static void twins_and_long_names(void **state)
{
	struct seen s = { 0 };
	struct byte_buf p = { 0 }, name = { 0 };
	char list[1024];

	(void)state;
	byte_buf_put(&p, DATA(P2 "}(K\1K\5" STR("\1", "1") "K\6" STR("\1", "1") "K\7X\x2c\1\0\0"));
	byte_buf_fill(&p, 'x', 300);
	byte_buf_text(&p, "K\x08u.");
	build(&s.file, p.p, p.len);
	look(&s, -1);
	byte_buf_fill(&name, 'x', 239);
	byte_buf_put(&name, "%~3", 4);
	snprintf(list, sizeof list, "1 1%%~1 1%%~2 %s ", (char *)name.p);
	must_list(&s, "", list);
	must_say(&s, "1", "5\n", 2);
	must_say(&s, "1%~1", "6\n", 2);
	must_say(&s, "1%~2", "7\n", 2);
	must_say(&s, (char *)name.p, "8\n", 2);
	assert_int_equal(found(&s, "1%~0"), -ENOENT);
	assert_int_equal(found(&s, "1%~9"), -ENOENT);
	assert_int_equal(found(&s, "x"), -ENOENT);
	assert_int_equal(found(&s, "1/x"), -ENOTDIR);
	leave(&s);
	byte_buf_release(&p);
	byte_buf_release(&name);
}

static void tensors(void **state)
{
	static const float all[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 }, column[] = { 1, 5, 9 },
			   three[] = { 2, 2, 2 };
	struct seen s = { 0 };

	(void)state;
	build(&s.file, DATA(P2 "}(" STR("\1", "a") MATRIX STR("\1", "t") V2(
				       ALL, "K\0", "K\4K\3\x86", "K\1K\4\x86") STR("\1", "c") V2(ALL, "K\1",
				       "K\3\x85", "K\4\x85") STR("\1", "e") V2(ALL, "K\2", "K\3\x85",
				       "K\0\x85") STR("\1", "s") V2(ALL, "K\5", ")", ")") STR("\1", "0")
						       V2(ALL, "K\0", "K\0K\3\x86", "K\3K\1\x86") "u."));
	look(&s, -1);
	must_list(&s, "", "a.npy t.npy c.npy e.npy s.npy 0.npy ");
	must_hold(&s, "a.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }", all, 12);
	/* By columns: the same bytes. */
	must_hold(&s, "t.npy", "{'descr': '<f4', 'fortran_order': True, 'shape': (4, 3), }", all, 12);
	must_hold(&s, "c.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", column, 3);
	must_hold(&s, "e.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", three, 3);
	must_hold(&s, "s.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (), }", all + 5, 1);
	must_hold(&s, "0.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 3), }", all, 0);
	leave(&s);
}

static void another_dtype(void **state)
{
	struct seen s = { 0 };
	size_t len;
	char *p;

	(void)state;
	build(&s.file, DATA(P2 "}" STR("\1", "c") V2(ALL, "K\1", "K\3\x85", "K\4\x85") "s."));
	look(&s, TORCH_BFLOAT16);
	p = content(&s, "c.npy", &len);
	assert_int_equal(len, 128 + 6);
	assert_memory_equal(p + 10, "{'descr': '<V2'", 15);
	assert_memory_equal(p + 128, "\x80\x3f\xa0\x40\x10\x41", 6); /* 1, 5, 9 */
	free(p);
	leave(&s);
}

static void sharing_and_cycles(void **state)
{
	struct seen s = { 0 };

	(void)state;
	/* {"l": [itself], "a": t, "d": {"again": t, "up": the root}} */
	build(&s.file, DATA(P2 "}q\0(" STR("\1", "l") "]q\1h\1a" STR("\1", "a") MATRIX
				       "q\2" STR("\1", "d") "}(" STR("\5", "again") "h\2" STR(
						       "\2", "up") "h\0u" STR("\1", "b") "h\2u."));
	look(&s, -1);
	must_list(&s, "", "l/ a.npy d/ b.npy@ ");
	must_lead(&s, "l/0", "../l");
	must_list(&s, "d", "again.npy@ up@ ");
	must_lead(&s, "d/again.npy", "../a.npy");
	must_lead(&s, "d/up", "..");
	must_lead(&s, "b.npy", "a.npy");
	assert_int_equal(found(&s, "l/0/0"), -ENOTDIR);
	leave(&s);
}

/* A file that is no container has one entry. */
/* Long bytes and integers are met once; short ones are files wherever they are. */
static void long_values(void **state)
{
	struct seen s = { 0 };
	struct byte_buf p = { 0 };

	(void)state;
	byte_buf_put(&p, DATA(P2 "}(" STR("\1", "a") "c_codecs\nencode\nX\0\x20\0\0"));
	byte_buf_fill(&p, 'b', 0x2000);
	byte_buf_put(&p, DATA(STR("\6", "latin1") "\x86Rq\1" STR("\1", "b") "h\1" STR("\1", "i") "\x8b\0\x20\0\0"));
	byte_buf_fill(&p, 7, 0x2000);
	byte_buf_put(&p, DATA("q\2" STR("\1", "j") "h\2" STR("\1", "k")
			"c_codecs\nencode\n" STR("\2", "xy") STR("\6", "latin1") "\x86Rq\3" STR("\1", "l") "h\3u."));
	build(&s.file, p.p, p.len);
	look(&s, -1);
	must_lead(&s, "b", "a");
	must_lead(&s, "j", "i");
	must_say(&s, "k", "xy", 2);
	must_say(&s, "l", "xy", 2);
	leave(&s);
	byte_buf_release(&p);
}

static void roots(void **state)
{
	static const float all[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };
	struct seen s = { 0 };

	(void)state;
	build(&s.file, DATA(P2 MATRIX "."));
	look(&s, -1);
	must_list(&s, "", "tensor.npy ");
	must_hold(&s, "tensor.npy", "{'descr': '<f4'", all, 12);
	leave(&s);
	build(&s.file, DATA(P2 "K\7."));
	look(&s, -1);
	must_list(&s, "/", "value ");
	must_say(&s, "/value", "7\n", 2);
	assert_int_equal(bridge_tree_list(s.tree, "value", add_name, NULL), -ENOTDIR);
	leave(&s);
}

static void objects(void **state)
{
	struct seen s = { 0 };

	(void)state;
	build(&s.file, DATA(P2 "cargparse\nNamespace\n)\x81}" STR("\2", "lr") "K\1sb."));
	look(&s, -1);
	must_list(&s, "", "%class lr ");
	must_say(&s, "%class", "argparse.Namespace\n", 19);
	leave(&s);
	build(&s.file, DATA(P2 "cos\nsystem\n(" STR("\2", "ls") "tR."));
	look(&s, -1);
	must_list(&s, "", "%class args.0 ");
	must_say(&s, "args.0", "ls\n", 3);
	leave(&s);
}

/* Sixty tuples of two times the one before: 2^60 paths, and 61 directories. */
static void no_path_twice(void **state)
{
	struct seen s = { 0 };
	struct byte_buf p = { 0 };

	(void)state;
	byte_buf_put(&p, DATA(P2 "]q\0"));
	for (int i = 0; i < 60; i++)
		byte_buf_format(&p, "h%ch%c\x86q%c", i, i, i + 1);
	byte_buf_text(&p, ".");
	/* A format can't write the NUL of the first two. */
	p.p[6] = p.p[8] = 0;
	build(&s.file, p.p, p.len);
	look(&s, -1);
	must_list(&s, "", "0/ 1@ ");
	must_lead(&s, "0/0/1", "0");
	assert_true(bridge_tree_memory(s.tree) < 65536);
	leave(&s);
	byte_buf_release(&p);
}

/* What lies too deep is said to, and costs no stack. */
static void deep(void **state)
{
	enum { DEPTH = 5000 };
	struct seen s = { 0 };
	struct byte_buf p = { 0 }, path = { 0 };

	(void)state;
	byte_buf_put(&p, DATA(P2));
	for (int i = 0; i < DEPTH; i++)
		byte_buf_text(&p, "]");
	for (int i = 1; i < DEPTH; i++)
		byte_buf_text(&p, "a");
	byte_buf_text(&p, ".");
	build(&s.file, p.p, p.len);
	look(&s, -1);
	for (int i = 0; i < TORCH_DEPTH_MAX; i++)
		byte_buf_text(&path, "0/");
	path.p[path.len - 1] = '\0';
	must_say(&s, (char *)path.p, "<list>\n", 7);
	leave(&s);
	byte_buf_release(&p);
	byte_buf_release(&path);
}

static void other_files(void **state)
{
	static const uint64_t size[] = { 2 };
	static const char header[] =
			"{\"__metadata__\":{\"k\":\"v\"},\"a/b\":{\"dtype\":\"BF16\",\"shape\":[2],"
			"\"data_offsets\":[0,4]}}";
	struct seen s = { 0 };
	size_t len;
	char *p;

	(void)state;
	byte_buf_le(&s.file, sizeof header - 1, 8);
	byte_buf_text(&s.file, header);
	byte_buf_put(&s.file, "\x80\x3f\0\x40", 4);
	look(&s, TORCH_FLOAT32);
	must_list(&s, "", "__metadata__/ a%2Fb.npy ");
	must_say(&s, "__metadata__/k", "v\n", 2);
	must_hold(&s, "a%2Fb.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
			(const float[]){ 1, 2 }, 2);
	leave(&s);
	npy_write_header("<i2", false, size, 1, &s.file);
	byte_buf_put(&s.file, "\1\0\2\0", 4);
	look(&s, -1);
	must_list(&s, "", "tensor.npy ");
	p = content(&s, "tensor.npy", &len);
	assert_int_equal(len, s.file.len);
	assert_memory_equal(p, s.file.p, len);
	free(p);
	leave(&s);
}

/* A directory of many names: each is found, in a time that does not depend on their number. */
static void many(void **state)
{
	enum { MANY = 20000 };
	struct seen s = { 0 };
	struct byte_buf p = { 0 };
	char name[16];

	(void)state;
	byte_buf_put(&p, DATA(P2 "}("));
	for (int i = 0; i < MANY; i++) {
		int n = snprintf(name, sizeof name, "key%05d", i);

		byte_buf_put(&p, "X\x08\0\0\0", 5);
		byte_buf_put(&p, name, (size_t)n);
		byte_buf_text(&p, "N");
	}
	byte_buf_text(&p, "u.");
	build(&s.file, p.p, p.len);
	look(&s, -1);
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "key%05d", i);
		assert_int_equal(found(&s, name), 0);
	}
	assert_int_equal(found(&s, "key20000"), -ENOENT);
	leave(&s);
	byte_buf_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars),
		cmocka_unit_test(names),
		cmocka_unit_test(twins_and_long_names),
		cmocka_unit_test(tensors),
		cmocka_unit_test(another_dtype),
		cmocka_unit_test(sharing_and_cycles),
		cmocka_unit_test(long_values),
		cmocka_unit_test(roots),
		cmocka_unit_test(objects),
		cmocka_unit_test(no_path_twice),
		cmocka_unit_test(deep),
		cmocka_unit_test(other_files),
		cmocka_unit_test(many),
	};

	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
