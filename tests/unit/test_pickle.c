/*
 * test_pickle.c: pickles written by hand, opcode by opcode: what graph they give, what is refused, that an edit
 * changes one place and no other, and that a part written out means what it meant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "codec/pickle_edit.h"
#include "codec/pickle_graph.h"
#include "codec/pickle_write.h"

/* A literal as bytes and length. */
#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1
#define P2 "\x80\2"
#define P4 "\x80\4"

static struct pickle *parse(const uint8_t *p, size_t len)
{
	struct pickle *g;
	size_t used;

	if (pickle_parse(p, len, NULL, &g, &used) != 0)
		fail_msg("%s", ckpt_errmsg());
	assert_int_equal(used, len);
	return g;
}

static void same_bytes(const struct byte_buf *b, const uint8_t *p, size_t len)
{
	if (b->len != len || memcmp(b->p, p, len) != 0) {
		for (size_t i = 0; i < b->len; i++)
			print_error("%02x ", b->p[i]);
		fail_msg("%zu bytes, and not the %zu expected", b->len, len);
	}
}

/* ---- the graph ------------------------------------------------------------------------------------------------- */

static void scalars(void **state)
{
	static const struct {
		const uint8_t *p;
		size_t len;
		int64_t want;
	} ints[] = {
		{ BYTES(P2 "K\xff."), 255 },
		{ BYTES(P2 "M\x01\x80."), 0x8001 },
		{ BYTES(P2 "J\xff\xff\xff\xff."), -1 },
		{ BYTES(P2 "\x8a\x00."), 0 },
		{ BYTES(P2 "\x8a\x01\x80."), -128 },
		{ BYTES(P2 "\x8a\x05\x00\x00\x00\x00\x01."), INT64_C(1) << 32 },
		{ BYTES(P2 "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f."), INT64_MAX },
		{ BYTES(P2 "\x8b\x02\x00\x00\x00\x00\xff."), -256 },
		{ BYTES("\x80\1I01\n."), 1 },
		{ BYTES("\x80\1I-17\n."), -17 },
		{ BYTES("I-9223372036854775808\n."), INT64_MIN },
		{ BYTES(P2 "\x88."), 1 },
		{ BYTES(P2 "\x89."), 0 },
	};
	struct pickle *g;
	size_t len;

	(void)state;
	for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
		int64_t v;

		g = parse(ints[i].p, ints[i].len);
		assert_true(pickle_int(g, pickle_root(g), &v));
		assert_true(v == ints[i].want);
		pickle_free(g);
	}
	g = parse(BYTES(P2 "G\x3f\xf8\0\0\0\0\0\0."));
	assert_int_equal(pickle_kind_of(g, pickle_root(g)), PICKLE_FLOAT);
	assert_true(pickle_float(g, pickle_root(g)) == 1.5);
	pickle_free(g);
	g = parse(BYTES(P2 "\x8a\x09\0\0\0\0\0\0\0\0\1."));
	assert_int_equal(pickle_kind_of(g, pickle_root(g)), PICKLE_LONG);
	assert_non_null(pickle_text(g, pickle_root(g), &len));
	assert_int_equal(len, 9);
	pickle_free(g);
	g = parse(BYTES(P2 "X\3\0\0\0a\0b."));
	assert_int_equal(pickle_kind_of(g, pickle_root(g)), PICKLE_STR);
	assert_memory_equal(pickle_text(g, pickle_root(g), &len), "a\0b", 3);
	pickle_free(g);
}

/* Every opcode that is read, in one pickle: what stands at the end is a tuple of all. */
static void all_opcodes(void **state)
{
	static const char all[] = P4 "\x95\1\0\0\0\0\0\0\0"
		"("
		"N" "\x88" "\x89" "J\1\0\0\0" "K\1" "M\1\0" "\x8a\1\1" "\x8b\1\0\0\0\1" "G\0\0\0\0\0\0\0\0" "I5\n"
		"X\1\0\0\0a" "\x8c\1b" "\x8d\1\0\0\0\0\0\0\0c" "U\1d" "T\1\0\0\0e"
		"C\1f" "B\1\0\0\0g" "\x8e\1\0\0\0\0\0\0\0h" "\x96\1\0\0\0\0\0\0\0i"
		")" "]" "}" "\x8f"
		"K\1\x85" "K\1K\2\x86" "K\1K\2K\3\x87" "(K\1K\2K\3K\4t"
		"(K\1l" "(K\1K\2d" "(K\1\x91"
		"]K\1a" "](K\1K\2e" "}K\1K\2s" "}(K\1K\2K\3K\4u" "\x8f(K\1K\2\x90"
		"cm\nn\n" "\x8c\1m\x8c\1n\x93"
		"cm\nf\n)R" "cm\nc\n)\x81" "cm\nc\n)}\x92" "cm\nc\n)\x81}b"
		"(X\7\0\0\0storaget\x51"
		"K\7q\5" "K\7r\6\0\0\0" "K\7\x94" "h\5" "j\6\0\0\0" "2" "0" "(K\1K\2" "1" "(0"
		"t.";
	struct pickle *g = parse(BYTES(all));
	uint32_t n;

	(void)state;
	assert_non_null(pickle_children(g, pickle_root(g), &n));
	assert_int_equal(n, 47);
	assert_int_equal(pickle_protocol(g), 4);
	assert_int_equal(pickle_globals(g), 3);
	pickle_free(g);
}

/* Sharing is one node, a fetch is an alias; a list may hold itself. */
static void sharing(void **state)
{
	struct pickle *g = parse(BYTES(P2 "]q\0(h\0X\1\0\0\0aq\1h\1e."));
	struct pickle_fill f;

	(void)state;
	assert_true(pickle_first_fill(g, pickle_root(g), &f));
	assert_int_equal(f.kind, PICKLE_FILL_APPEND);
	assert_int_equal(f.count, 3);
	assert_int_equal(pickle_target(g, f.child[0]), pickle_root(g));
	assert_int_equal(pickle_node(g, f.child[2])->kind, PICKLE_ALIAS);
	assert_int_equal(pickle_target(g, f.child[2]), f.child[1]);
	assert_true(pickle_node(g, f.child[1])->shared);
	assert_false(pickle_next_fill(g, &f));
	pickle_free(g);
}

/* Fills keep their order: items, then the state; one at a time is one run. */
static void fills(void **state)
{
	struct pickle *g = parse(BYTES(P2 "ccollections\nOrderedDict\n)RX\1\0\0\0aK\1sX\1\0\0\0bK\2s}b."));
	struct pickle_fill f;

	(void)state;
	assert_true(pickle_is_global(g, pickle_call(g, pickle_root(g))->callable, "collections", "OrderedDict"));
	assert_true(pickle_first_fill(g, pickle_root(g), &f));
	assert_int_equal(f.kind, PICKLE_FILL_ITEMS);
	assert_int_equal(f.count, 4);
	assert_true(pickle_next_fill(g, &f));
	assert_int_equal(f.kind, PICKLE_FILL_STATE);
	assert_int_equal(f.count, 1);
	assert_false(pickle_next_fill(g, &f));
	pickle_free(g);
}

static void refused(void **state)
{
	static const struct {
		const uint8_t *p;
		size_t len;
		int want;
	} cases[] = {
		{ BYTES(""), -EBADMSG },
		{ BYTES(P2), -EBADMSG },
		{ BYTES(P2 "."), -EBADMSG },                      /* nothing on the stack */
		{ BYTES(P2 "(."), -EBADMSG },
		{ BYTES(P2 "R."), -EBADMSG },
		{ BYTES(P2 "K\1(R."), -EBADMSG },                 /* below the mark */
		{ BYTES(P2 "t."), -EBADMSG },                     /* no mark */
		{ BYTES(P2 "h\0."), -EBADMSG },                   /* never set */
		{ BYTES(P2 "q\0."), -EBADMSG },
		{ BYTES(P2 "Nr\xff\xff\xff\x7f."), -EBADMSG },    /* beyond the pickle's length */
		{ BYTES(P2 "X\xff\xff\xff\xff."), -EBADMSG },     /* ends in its argument */
		{ BYTES(P2 "X\2\0\0\0a."), -EBADMSG },
		{ BYTES(P2 "\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), -EBADMSG },
		{ BYTES(P2 "ca\nb"), -EBADMSG },
		{ BYTES(P4 "\x95\xff\0\0\0\0\0\0\0N."), -EBADMSG }, /* a frame longer than the pickle */
		{ BYTES(P2 "NNa."), -EBADMSG },                   /* items for no container: CVE-2026-24747 */
		{ BYTES(P2 "NNNs."), -EBADMSG },
		{ BYTES(P2 "]NNs."), -EBADMSG },
		{ BYTES(P2 "]}b."), -EBADMSG },
		{ BYTES(P2 "}(Nu."), -EBADMSG },                  /* a key without a value */
		{ BYTES(P2 "(Nd."), -EBADMSG },
		{ BYTES(P4 "NN\x93."), -EBADMSG },                /* a global that no strings name */
		{ BYTES("I1x\n."), -EBADMSG },
		{ BYTES("I99999999999999999999\n."), -EBADMSG },
		{ BYTES(P2 "\xff."), -EBADMSG },
		{ BYTES("\x80\6N."), -ENOTSUP },
		{ BYTES(P2 "\x82\1."), -ENOTSUP },                /* EXT1, EXT2, EXT4 */
		{ BYTES(P2 "\x83\1\0."), -ENOTSUP },
		{ BYTES(P2 "\x84\1\0\0\0."), -ENOTSUP },
		{ BYTES("\x80\5\x97."), -ENOTSUP },               /* NEXT_BUFFER, READONLY_BUFFER */
		{ BYTES("\x80\5N\x98."), -ENOTSUP },
		{ BYTES("(ia\nb\n."), -ENOTSUP },                 /* INST, OBJ */
		{ BYTES("(N\x6f."), -ENOTSUP },
		{ BYTES("P0\n."), -ENOTSUP },                     /* the text of protocol 0 */
		{ BYTES("S'a'\n."), -ENOTSUP },
		{ BYTES("Va\n."), -ENOTSUP },
		{ BYTES("L1L\n."), -ENOTSUP },
		{ BYTES("F1.0\n."), -ENOTSUP },
		{ BYTES("Np0\n."), -ENOTSUP },
		{ BYTES("g0\n."), -ENOTSUP },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pickle *g;
		int rc = pickle_parse(cases[i].p, cases[i].len, NULL, &g, NULL);

		if (rc != cases[i].want)
			fail_msg("case %zu: %d (%s)", i, rc, ckpt_errmsg());
	}
}

/* A class is a name, whatever it is the name of; and what a scanner wants to know is told. */
static void inert(void **state)
{
	struct pickle *g = parse(BYTES(P2 "cposix\nsystem\nX\4\0\0\0true\x85R0" P2 "NN."));
	const struct pickle_oddities *odd = pickle_oddities(g);

	(void)state;
	assert_int_equal(pickle_globals(g), 1);
	assert_memory_equal(pickle_global_at(g, 0)->module, "posix", 5);
	assert_int_equal(odd->protos, 2);
	assert_true(odd->proto_late);
	assert_int_equal(odd->thrown_away, 1);
	assert_int_equal(odd->left, 1);
	pickle_free(g);
}

static void limits(void **state)
{
	struct pickle_limits l = pickle_limits_default;
	enum { N = 300000 };
	uint8_t *p = malloc(2 * N + 8);
	struct pickle *g;

	(void)state;
	assert_non_null(p);
	memset(p, '(', 2 * N); /* marks */
	assert_int_equal(pickle_parse(p, 2 * N, NULL, &g, NULL), -EFBIG);

	memset(p, 0x85, 2 * N); /* a tuple in a tuple in a tuple ... */
	p[0] = 'N';
	p[2 * N] = '.';
	assert_int_equal(pickle_parse(p, 2 * N + 1, NULL, &g, NULL), 0);
	pickle_free(g);
	l.ops = N;
	assert_int_equal(pickle_parse(p, 2 * N + 1, &l, &g, NULL), -EFBIG);
	l = pickle_limits_default;
	l.memory = 1 << 20;
	assert_int_equal(pickle_parse(p, 2 * N + 1, &l, &g, NULL), -EFBIG);
	l = pickle_limits_default;
	l.bytes = N;
	assert_int_equal(pickle_parse(p, 2 * N + 1, &l, &g, NULL), -EFBIG);
	free(p);
}

/* 2^60 paths through 60 tuples are 60 tuples. */
static void shared_a_billion_times(void **state)
{
	struct byte_buf b = { 0 }, out = { 0 };
	struct pickle *g;

	(void)state;
	byte_buf_text(&b, P2 "N");
	for (int i = 0; i < 60; i++) {
		byte_buf_text(&b, "2\x86q");
		byte_buf_le(&b, (uint64_t)i, 1);
	}
	byte_buf_text(&b, ".");
	g = parse(b.p, b.len);
	assert_true(pickle_count(g) < 200);
	assert_int_equal(pickle_write(g, pickle_root(g), NULL, &out), 0);
	assert_true(out.len < 400);
	pickle_free(g);
	byte_buf_release(&b);
	byte_buf_release(&out);
}

/* ---- editing --------------------------------------------------------------------------------------------------- */

/* The raw places of the elements of the tuple at the root. */
static const uint32_t *elements(const struct pickle *g)
{
	uint32_t n;

	return pickle_children(g, pickle_root(g), &n);
}

/* One string, memoized and fetched; each place edited or not. */
static void edit_text(void **state)
{
	static const char both[] = P2 "X\3\0\0\0cpuq\0h\0\x86.";
	static const struct {
		bool first, second;
		const uint8_t *want;
		size_t len;
	} cases[] = {
		{ false, false, BYTES(both) },
		{ true, true, BYTES(P2 "X\6\0\0\0cuda:1q\0h\0\x86.") },
		{ true, false, BYTES(P2 "X\6\0\0\0cuda:1q\0X\3\0\0\0cpu\x86.") },
		{ false, true, BYTES(P2 "X\3\0\0\0cpuq\0X\6\0\0\0cuda:1\x86.") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pickle *g = parse(BYTES(both));
		struct pickle_edits *e;
		struct byte_buf out = { 0 };

		assert_int_equal(pickle_edits_new(g, &e), 0);
		if (cases[i].second)
			assert_int_equal(pickle_edit_text(e, elements(g)[1], "cuda:1", 6), 0);
		if (cases[i].first)
			assert_int_equal(pickle_edit_text(e, elements(g)[0], "cuda:1", 6), 0);
		assert_int_equal(pickle_edits_apply(e, &out), 0);
		same_bytes(&out, cases[i].want, cases[i].len);
		byte_buf_release(&out);
		pickle_edits_free(e);
		pickle_free(g);
	}
}

/* Frames go, MEMOIZE stays in step, a STACK_GLOBAL becomes a GLOBAL. */
static void edit_protocol_4(void **state)
{
	struct pickle *g = parse(BYTES(P4 "\x95\x18\0\0\0\0\0\0\0\x8c\5torch\x94\x8c\1F\x94\x93\x94\x8c\3cpu\x94h\2\x87."));
	struct pickle_edits *e;
	struct byte_buf out = { 0 };

	(void)state;
	assert_int_equal(pickle_edits_new(g, &e), 0);
	assert_int_equal(pickle_edit_global(e, elements(g)[0], "torch", "H"), 0);
	assert_int_equal(pickle_edit_text(e, elements(g)[1], "mps", 3), 0);
	assert_int_equal(pickle_edits_apply(e, &out), 0);
	same_bytes(&out, BYTES(P4 "\x8c\5torch\x94\x8c\1F\x94" "00ctorch\nH\n\x94X\3\0\0\0mps\x94"
			"ctorch\nF\n\x87."));
	byte_buf_release(&out);
	pickle_edits_free(e);
	pickle_free(g);
}

static void edit_tuple(void **state)
{
	struct pickle *g = parse(BYTES(P2 "ctorch\ndevice\nX\4\0\0\0cudaK\1\x86R."));
	const struct pickle_call *c = pickle_call(g, pickle_root(g));
	struct pickle_edits *e;
	struct byte_buf out = { 0 };
	uint32_t n;

	(void)state;
	assert_int_equal(pickle_edits_new(g, &e), 0);
	assert_int_equal(pickle_edit_text(e, pickle_children(g, c->args, &n)[0], "cpu", 3), 0);
	assert_int_equal(pickle_edit_shorten(e, c->args, 1), 0);
	assert_int_equal(pickle_edits_apply(e, &out), 0);
	same_bytes(&out, BYTES(P2 "ctorch\ndevice\nX\3\0\0\0cpu\x85R."));
	out.len = 0;
	assert_int_equal(pickle_write(g, pickle_root(g), e, &out), 0);
	same_bytes(&out, BYTES(P2 "ctorch\ndevice\nX\3\0\0\0cpu\x85R."));
	byte_buf_release(&out);
	pickle_edits_free(e);
	pickle_free(g);

	g = parse(BYTES(P2 "NK\1q\0\x86."));
	assert_int_equal(pickle_edits_new(g, &e), 0);
	assert_int_equal(pickle_edit_shorten(e, pickle_root(g), 1), -ENOTSUP); /* memoized */
	assert_int_equal(pickle_edit_text(e, pickle_root(g), "", 0), -EINVAL);
	assert_int_equal(pickle_edit_global(e, pickle_root(g), "a", "b"), -EINVAL);
	pickle_edits_free(e);
	pickle_free(g);
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static void write_parts(void **state)
{
	static const struct {
		const uint8_t *p;
		size_t len;
		const uint8_t *want;
		size_t want_len;
	} cases[] = {
		{ BYTES(P4 "K\x05."), BYTES(P2 "K\5.") },
		{ BYTES(P2 "J\5\0\0\0."), BYTES(P2 "K\5.") },
		{ BYTES(P2 "\x8a\4\0\0\0\x80."), BYTES(P2 "J\0\0\0\x80.") },
		{ BYTES(P2 "\x8a\5\0\0\0\x80\xff."), BYTES(P2 "J\0\0\0\x80.") },
		{ BYTES(P2 "\x8a\5\0\0\0\x80\0."), BYTES(P2 "\x8a\5\0\0\0\x80\0.") },
		{ BYTES(P2 "\x8a\x08\0\0\0\0\0\0\0\x80."), BYTES(P2 "\x8a\x08\0\0\0\0\0\0\0\x80.") },
		{ BYTES(P4 "\x8c\1a\x94\x8c\1b\x94\x86\x94."), BYTES(P2 "X\1\0\0\0aX\1\0\0\0b\x86.") },
		{ BYTES(P4 "\x8c\1a\x94h\0\x86."), BYTES(P2 "X\1\0\0\0aq\0h\0\x86.") },
		{ BYTES(P4 "C\2\x7f\xff."), BYTES(P2 "c_codecs\nencode\nX\3\0\0\0\x7f\xc3\xbfX\6\0\0\0latin1\x86R.") },
		{ BYTES(P4 "C\0."), BYTES(P2 "c__builtin__\nbytes\n)R.") },
		{ BYTES("\x80\5\x96\1\0\0\0\0\0\0\0a."),
			BYTES(P2 "c__builtin__\nbytearray\nc_codecs\nencode\nX\1\0\0\0aX\6\0\0\0latin1\x86R\x85R.") },
		{ BYTES(P4 "\x8f(K\1K\2\x90."), BYTES(P2 "c__builtin__\nset\n](K\1K\2e\x85R.") },
		{ BYTES(P4 "(K\1\x91."), BYTES(P2 "c__builtin__\nfrozenset\n](K\1e\x85R.") },
		{ BYTES(P4 "\x8c\1m\x8c\3A.B\x93."),
			BYTES(P2 "c__builtin__\ngetattr\ncm\nA\nX\1\0\0\0B\x86R.") },
		{ BYTES(P4 "cm\nc\n)}\x92."), BYTES(P2 "ccopyreg\n__newobj_ex__\ncm\nc\n)}\x87R.") },
		{ BYTES(P2 "]q\0h\0a."), BYTES(P2 "]q\0h\0a.") },
		{ BYTES(P2 "cm\nc\n)\x81q\0}X\1\0\0\0ah\0sb."), BYTES(P2 "cm\nc\n)\x81q\0}X\1\0\0\0ah\0sb.") },
		{ BYTES(P2 "(K\1K\2K\3K\4t."), BYTES(P2 "(K\1K\2K\3K\4t.") },
		{ BYTES(P2 "(NNd."), BYTES(P2 "}NNs.") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pickle *g = parse(cases[i].p, cases[i].len);
		struct byte_buf out = { 0 };

		if (pickle_write(g, pickle_root(g), NULL, &out) != 0)
			fail_msg("case %zu: %s", i, ckpt_errmsg());
		same_bytes(&out, cases[i].want, cases[i].want_len);
		byte_buf_release(&out);
		pickle_free(g);
	}
}

/* A list of many items comes in batches, and reads back the same. */
static void write_batches(void **state)
{
	struct byte_buf b = { 0 }, out = { 0 };
	struct pickle *g, *again;
	struct pickle_fill f;
	uint32_t n = 0;

	(void)state;
	byte_buf_text(&b, P2 "](");
	for (int i = 0; i < 2500; i++)
		byte_buf_text(&b, "K\1");
	byte_buf_text(&b, "e.");
	g = parse(b.p, b.len);
	assert_int_equal(pickle_write(g, pickle_root(g), NULL, &out), 0);
	again = parse(out.p, out.len);
	for (bool on = pickle_first_fill(again, pickle_root(again), &f); on; on = pickle_next_fill(again, &f))
		n += f.count;
	assert_int_equal(n, 2500);
	assert_int_equal(out.len, 2 + 1 + 3 * 2 + 2500 * 2 + 1);
	pickle_free(g);
	pickle_free(again);
	byte_buf_release(&b);
	byte_buf_release(&out);
}

static void write_dict(void **state)
{
	struct pickle *g = parse(BYTES(P2 "X\1\0\0\0aq\0K\1h\0\x87."));
	uint32_t pairs[] = { elements(g)[0], elements(g)[1], elements(g)[2], elements(g)[0] };
	struct byte_buf out = { 0 };

	(void)state;
	assert_int_equal(pickle_write_dict(g, pairs, 2, NULL, &out), 0);
	same_bytes(&out, BYTES(P2 "}X\1\0\0\0aq\0K\1sh\0h\0s."));
	byte_buf_release(&out);
	pickle_free(g);
}

static void write_refused(void **state)
{
	static const struct {
		const uint8_t *p;
		size_t len;
	} cases[] = {
		{ BYTES(P2 "]q\0\x85q\1" "0h\0h\1a0h\1.") },                      /* a tuple in a list in it */
		{ BYTES(P2 "cm\nf\n)Rq\0cm\nset\nh\0\x85R0h\0.") },               /* finished by a call */
		{ BYTES(P4 "cm\nS\n)R(K\1\x90.") },                              /* a set subclass */
		{ BYTES(P4 "\x8c\3m\nx\x8c\1n\x93.") },                          /* a name on two lines */
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct pickle *g = parse(cases[i].p, cases[i].len);
		struct byte_buf out = { 0 };
		int rc = pickle_write(g, pickle_root(g), NULL, &out);

		if (rc != -ENOTSUP || out.len != 0)
			fail_msg("case %zu: %d", i, rc);
		byte_buf_release(&out);
		pickle_free(g);
	}
}

static int note(void *arg, uint32_t node)
{
	uint32_t *count = arg;

	(void)node;
	++*count;
	return 0;
}

static void reach(void **state)
{
	struct pickle *g = parse(BYTES(P2 "X\1\0\0\0aq\0h\0h\0\x87."));
	uint32_t root = pickle_root(g), count = 0;

	(void)state;
	assert_int_equal(pickle_reach(g, &root, 1, note, &count), 0);
	assert_int_equal(count, 2); /* the tuple, the string */
	pickle_free(g);
}

/* Bytes changed at random: nothing but an answer. */
static void noise(void **state)
{
	static const char good[] = P2 "}q\0(X\1\0\0\0aq\1ctorch._utils\n_rebuild_tensor_v2\nq\2((X\7\0\0\0storageq\3"
		"ctorch\nFloatStorage\nq\4X\1\0\0\0" "0q\5X\3\0\0\0cpuq\6K\4tq\7QK\0K\2K\2\x86q\x08K\2K\1\x86q\x09\x89"
		"ccollections\nOrderedDict\nq\x0a)Rq\x0btq\x0cRq\x0dX\1\0\0\0b]q\x0e(K\1K\2eu.";
	uint64_t x = 88172645463325252u;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		uint8_t b[sizeof good - 1];
		struct pickle *g;
		struct byte_buf out = { 0 };

		memcpy(b, good, sizeof b);
		for (int k = 0; k < 3; k++) {
			x ^= x << 13;
			x ^= x >> 7;
			x ^= x << 17;
			b[x % sizeof b] = (uint8_t)(x >> 32);
		}
		if (pickle_parse(b, sizeof b, NULL, &g, NULL) < 0)
			continue;
		pickle_write(g, pickle_root(g), NULL, &out);
		byte_buf_release(&out);
		pickle_free(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scalars),
		cmocka_unit_test(all_opcodes),
		cmocka_unit_test(sharing),
		cmocka_unit_test(fills),
		cmocka_unit_test(refused),
		cmocka_unit_test(inert),
		cmocka_unit_test(limits),
		cmocka_unit_test(shared_a_billion_times),
		cmocka_unit_test(edit_text),
		cmocka_unit_test(edit_protocol_4),
		cmocka_unit_test(edit_tuple),
		cmocka_unit_test(write_parts),
		cmocka_unit_test(write_batches),
		cmocka_unit_test(write_dict),
		cmocka_unit_test(write_refused),
		cmocka_unit_test(reach),
		cmocka_unit_test(noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
