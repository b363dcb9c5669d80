/*
 * container_pickle.c: the walk over a pickle's opcodes (CPython's Lib/pickletools.py has them all).
 *
 * torch names a storage by a persistent id:
 *
 *   MARK 'storage' torch.FloatStorage '94605243475008' 'cpu' 1000 None TUPLE BINPERSID
 *
 * To find these, a pickle has to be read, but not understood.  The walk keeps the few values since the last
 * MARK, as long as nothing but plain values came after it, and those entries of the memo that hold a word of such
 * a tuple: 'storage' and the class are written out once and fetched by number ever after.  All other
 * opcodes are skipped with their arguments.  Whatever is written differently (a storage view of before torch
 * 0.4, a quantized 4-bit type, the text ids of protocol 0) is beyond this walk.
 */
#include "container_pickle.h"

#include <stdbool.h>
#include <string.h>
#include <xxhash.h>

enum {
	TEXT_MAX = 64,  /* bytes of a string that may matter */
	RUN_MAX = 8,    /* values kept since the last MARK; an id has six */
	MEMO_MAX = 64,  /* words kept of the memo: there are not even 30 of them */
	LINE_LEN = 256, /* of a text argument */
};

enum atom_kind { A_OTHER, A_NONE, A_INT, A_TEXT, A_WORD, A_CLASS };

/* A value of the pickle, as far as it matters. */
struct atom {
	enum atom_kind kind;
	uint64_t v; /* A_INT: the number; A_TEXT: its hash; A_WORD: index in `words`; A_CLASS: bytes of an element */
};

/* The words of a persistent id. width: of the elements of a storage class; 0 is no class. */
enum { W_STORAGE, W_MODULE, W_TORCH, W_TORCH_STORAGE };
static const struct word {
	const char *text;
	unsigned width;
} words[] = {
	[W_STORAGE] = { "storage", 0 },
	[W_MODULE] = { "module", 0 },
	[W_TORCH] = { "torch", 0 },
	[W_TORCH_STORAGE] = { "torch.storage", 0 },
	{ "DoubleStorage", 8 },
	{ "FloatStorage", 4 },
	{ "HalfStorage", 2 },
	{ "BFloat16Storage", 2 },
	{ "LongStorage", 8 },
	{ "IntStorage", 4 },
	{ "ShortStorage", 2 },
	{ "CharStorage", 1 },
	{ "ByteStorage", 1 },
	{ "BoolStorage", 1 },
	{ "ComplexFloatStorage", 8 },
	{ "ComplexDoubleStorage", 16 },
	{ "QInt8Storage", 1 },
	{ "QUInt8Storage", 1 },
	{ "QInt32Storage", 4 },
	{ "UntypedStorage", 1 },
};
enum { WORDS = sizeof words / sizeof words[0] };

struct walk {
	struct container_src *s;
	uint64_t pos;
	const struct pickle_events *events;

	struct atom run[RUN_MAX];
	size_t run_len;  /* values since the last MARK; may exceed RUN_MAX */
	bool run_plain;  /* nothing else has happened since */
	bool tuple;      /* the run has just become a tuple */
	struct atom last; /* on top of the stack */

	struct {
		uint64_t index;
		struct atom a;
	} memo[MEMO_MAX];
	size_t memo_len;
	uint64_t memoized; /* the number MEMOIZE gives next */
};

/* Reads n bytes at the walk's place. */
static int get(struct walk *w, void *buf, size_t n)
{
	int rc = container_read(w->s, w->pos, buf, n);

	if (rc == 1)
		w->pos += n;
	return rc;
}

static int skip(struct walk *w, uint64_t n)
{
	if (n > w->s->size - w->pos)
		return PICKLE_ENDS;
	w->pos += n;
	return PICKLE_ON;
}

/* A little-endian number of n <= 8 bytes. */
static int get_number(struct walk *w, size_t n, uint64_t *out)
{
	uint8_t b[8] = { 0 };
	int rc = get(w, b, n);

	if (rc == 1)
		*out = container_le64(b);
	return rc;
}

/* A text argument without its newline. */
static int get_line(struct walk *w, char line[LINE_LEN], size_t *len)
{
	for (*len = 0; *len < LINE_LEN; ++*len) {
		int rc = get(w, line + *len, 1);

		if (rc <= 0)
			return rc;
		if (line[*len] == '\n')
			return PICKLE_ON;
	}
	return PICKLE_BEYOND;
}

static struct atom text_atom(const char *p, size_t len)
{
	struct atom a = { A_TEXT, XXH3_64bits(p, len) };

	for (size_t i = 0; i < WORDS; i++)
		if (len == strlen(words[i].text) && memcmp(p, words[i].text, len) == 0)
			a = (struct atom){ A_WORD, i };
	return a;
}

static struct atom global_atom(struct atom module, struct atom name)
{
	struct atom a = { A_OTHER, 0 };

	if (module.kind == A_WORD && (module.v == W_TORCH || module.v == W_TORCH_STORAGE) && name.kind == A_WORD &&
	    words[name.v].width > 0)
		a = (struct atom){ A_CLASS, words[name.v].width };
	return a;
}

static void push(struct walk *w, struct atom a)
{
	if (w->run_len < RUN_MAX)
		w->run[w->run_len] = a;
	w->run_len++;
	w->last = a;
	w->tuple = false;
}

/* Something happened that the walk does not follow. */
static void blur(struct walk *w)
{
	w->run_plain = false;
	w->tuple = false;
	w->last = (struct atom){ A_OTHER, 0 };
}

static void memo_put(struct walk *w, uint64_t index)
{
	size_t i;

	w->memoized++;
	for (i = 0; i < w->memo_len && w->memo[i].index != index; i++)
		;
	if (w->last.kind == A_WORD || w->last.kind == A_CLASS) {
		if (i == MEMO_MAX)
			return; /* then fetching it gives an unknown value */
		if (i == w->memo_len)
			w->memo_len++;
		w->memo[i].index = index;
		w->memo[i].a = w->last;
	} else if (i < w->memo_len) {
		w->memo[i] = w->memo[--w->memo_len];
	}
}

static void memo_get(struct walk *w, uint64_t index)
{
	struct atom a = { A_OTHER, 0 };

	for (size_t i = 0; i < w->memo_len; i++)
		if (w->memo[i].index == index)
			a = w->memo[i].a;
	push(w, a);
}

/* BINPERSID: the tuple before it must be one that is known. ('module', ...) is source code kept beside a class. */
static int persistent_id(struct walk *w)
{
	const struct atom *t = w->run;
	uint64_t bytes;

	if (!w->tuple || w->events->storage == NULL || t[0].kind != A_WORD)
		return PICKLE_BEYOND;
	blur(w);
	if (t[0].v == W_MODULE && w->run_len == 4)
		return PICKLE_ON;
	if (t[0].v != W_STORAGE || w->run_len != 6 || t[1].kind != A_CLASS || t[2].kind != A_TEXT ||
	    t[4].kind != A_INT || t[5].kind != A_NONE || __builtin_mul_overflow(t[4].v, t[1].v, &bytes))
		return PICKLE_BEYOND;
	return w->events->storage(w->events->arg, t[2].v, bytes);
}

/* A string of `len` bytes follows. */
static int string(struct walk *w, uint64_t len)
{
	char text[TEXT_MAX];
	struct atom a = { A_OTHER, 0 };
	int rc;

	if (len <= sizeof text) {
		rc = get(w, text, (size_t)len);
		if (rc == PICKLE_ON)
			a = text_atom(text, (size_t)len);
	} else {
		rc = skip(w, len);
	}
	if (rc != PICKLE_ON)
		return rc;
	push(w, a);
	if (w->events->string == NULL)
		return PICKLE_ON;
	return w->events->string(w->events->arg, a.kind == A_TEXT ? &a.v : NULL);
}

/* An argument of `width` bytes, the length of what follows it and does not matter. */
static int skip_counted(struct walk *w, size_t width)
{
	uint64_t n;
	int rc = get_number(w, width, &n);

	if (rc != PICKLE_ON)
		return rc;
	blur(w);
	return skip(w, n);
}

static int counted_string(struct walk *w, size_t width)
{
	uint64_t n;
	int rc = get_number(w, width, &n);

	return rc == PICKLE_ON ? string(w, n) : rc;
}

/* An integer of `width` bytes, where `sign` is the sign bit's mask or 0. Negative ones are no number of elements. */
static int integer(struct walk *w, size_t width, uint64_t sign)
{
	uint64_t v = 0;
	int rc = get_number(w, width, &v);

	if (rc == PICKLE_ON)
		push(w, v & sign ? (struct atom){ A_OTHER, 0 } : (struct atom){ A_INT, v });
	return rc;
}

static int skip_lines(struct walk *w, int lines)
{
	char line[LINE_LEN];
	size_t len;
	int rc = PICKLE_ON;

	while (rc == PICKLE_ON && lines-- > 0)
		rc = get_line(w, line, &len);
	blur(w);
	return rc;
}

static int global(struct walk *w)
{
	char module[LINE_LEN], name[LINE_LEN];
	size_t module_len, name_len;
	int rc = get_line(w, module, &module_len);

	if (rc == PICKLE_ON)
		rc = get_line(w, name, &name_len);
	if (rc == PICKLE_ON)
		push(w, global_atom(text_atom(module, module_len), text_atom(name, name_len)));
	return rc;
}

/* STACK_GLOBAL takes module and name, both just pushed, and leaves the class. */
static void stack_global(struct walk *w)
{
	struct atom a;

	if (!w->run_plain || w->run_len < 2 || w->run_len > RUN_MAX) {
		blur(w);
		return;
	}
	a = global_atom(w->run[w->run_len - 2], w->run[w->run_len - 1]);
	w->run_len -= 2;
	push(w, a);
}

/* LONG1: only what fits 64 bits is a number of elements. */
static int long1(struct walk *w)
{
	uint64_t n;
	int rc = get_number(w, 1, &n);

	if (rc != PICKLE_ON)
		return rc;
	if (n >= 1 && n <= 8)
		return integer(w, (size_t)n, UINT64_C(1) << (8 * n - 1));
	blur(w);
	return skip(w, n);
}

/* One opcode and its argument. *stop: it was STOP. */
static int step(struct walk *w, bool *stop)
{
	uint64_t n;
	uint8_t op;
	int rc = get(w, &op, 1);

	if (rc != PICKLE_ON)
		return rc;
	switch (op) {
	/* What a persistent id is made of. */
	case '(': /* MARK */
		w->run_len = 0;
		w->run_plain = true;
		w->tuple = false;
		return PICKLE_ON;
	case 't': /* TUPLE */
		rc = w->run_plain && w->run_len <= RUN_MAX;
		blur(w);
		w->tuple = rc;
		return PICKLE_ON;
	case 'Q': /* BINPERSID */
		return persistent_id(w);
	case 'N': /* NONE */
		push(w, (struct atom){ A_NONE, 0 });
		return PICKLE_ON;
	case 'X': /* BINUNICODE */
	case 'T': /* BINSTRING */
		return counted_string(w, 4);
	case 0x8c: /* SHORT_BINUNICODE */
	case 'U':  /* SHORT_BINSTRING */
		return counted_string(w, 1);
	case 0x8d: /* BINUNICODE8 */
		return counted_string(w, 8);
	case 'J': /* BININT */
		return integer(w, 4, 0x80000000);
	case 'K': /* BININT1 */
		return integer(w, 1, 0);
	case 'M': /* BININT2 */
		return integer(w, 2, 0);
	case 0x8a: /* LONG1 */
		return long1(w);
	case 'c': /* GLOBAL */
		return global(w);
	case 0x93: /* STACK_GLOBAL */
		stack_global(w);
		return PICKLE_ON;

	/* The memo; it leaves the stack as it is. */
	case 'q': /* BINPUT */
	case 'r': /* LONG_BINPUT */
		rc = get_number(w, op == 'q' ? 1 : 4, &n);
		if (rc == PICKLE_ON)
			memo_put(w, n);
		return rc;
	case 0x94: /* MEMOIZE */
		memo_put(w, w->memoized);
		return PICKLE_ON;
	case 'h': /* BINGET */
	case 'j': /* LONG_BINGET */
		rc = get_number(w, op == 'h' ? 1 : 4, &n);
		if (rc == PICKLE_ON)
			memo_get(w, n);
		return rc;

	case '.': /* STOP */
		*stop = true;
		return PICKLE_ON;
	case 0x80: /* PROTO */
		return skip(w, 1);
	case 0x95: /* FRAME */
		return skip(w, 8);

	/* All others, by their arguments. */
	case 0x82: /* EXT1 */
		blur(w);
		return skip(w, 1);
	case 0x83: /* EXT2 */
		blur(w);
		return skip(w, 2);
	case 0x84: /* EXT4 */
		blur(w);
		return skip(w, 4);
	case 'G': /* BINFLOAT */
		blur(w);
		return skip(w, 8);
	case 'C': /* SHORT_BINBYTES */
		return skip_counted(w, 1);
	case 'B':  /* BINBYTES */
	case 0x8b: /* LONG4 */
		return skip_counted(w, 4);
	case 0x8e: /* BINBYTES8 */
	case 0x96: /* BYTEARRAY8 */
		return skip_counted(w, 8);
	case 'I': /* INT: True and False at protocol 1 */
	case 'L': /* LONG */
	case 'F': /* FLOAT */
		return skip_lines(w, 1);
	case 'i': /* INST */
		return skip_lines(w, 2);
	case '0': case '1': case '2':                     /* POP POP_MARK DUP */
	case 'a': case 'e': case 'b': case 'd': case 'l': /* APPEND APPENDS BUILD DICT LIST */
	case 's': case 'u': case 'o': case 'R':           /* SETITEM SETITEMS OBJ REDUCE */
	case '}': case ']': case ')':                     /* EMPTY_DICT EMPTY_LIST EMPTY_TUPLE */
	case 0x81: case 0x92:                             /* NEWOBJ NEWOBJ_EX */
	case 0x85: case 0x86: case 0x87:                  /* TUPLE1 TUPLE2 TUPLE3 */
	case 0x88: case 0x89:                             /* NEWTRUE NEWFALSE */
	case 0x8f: case 0x90: case 0x91:                  /* EMPTY_SET ADDITEMS FROZENSET */
		blur(w);
		return PICKLE_ON;
	}
	return PICKLE_BEYOND;
}

int container_pickle(struct container_src *s, uint64_t *pos, uint64_t read_max, const struct pickle_events *events)
{
	struct walk w = { .s = s, .pos = *pos, .events = events };
	bool stop = false;

	while (!stop) {
		int rc = s->spent > read_max ? PICKLE_BEYOND : step(&w, &stop);

		if (rc != PICKLE_ON)
			return rc;
	}
	*pos = w.pos;
	return PICKLE_ON;
}
