/*
 * pickle_walk.c: the walk over a pickle's opcodes (CPython's Lib/pickletools.py has them all).
 *
 * To find persistent ids a pickle has to be read, but not understood.  The walk keeps the few values since
 * the last MARK, as long as nothing but plain values came after it, and of the memo the words of such a
 * tuple: 'storage' and the class are written out once and fetched by number ever after.  All other opcodes
 * are passed over with their arguments.  Whatever is written differently (a storage view of before torch 0.4,
 * a quantized 4-bit type, the text ids of protocol 0) is beyond this walk.
 *
 * Paths.  A storage's path is the chain of dict keys around it, hashed: it is the same in a file with more
 * epochs behind it and, for a bare state dict, the same as the name in a safetensors file.  It is taken from
 * the nesting of MARKs (each level remembers the last string or number pushed on it, which is the key of the
 * value that is being made) and of dicts with one item, which are written without a MARK:
 *
 *   }( X 'a' <value> X 'b' <value> u           } X 'a' <value> s
 *
 * An empty dict looks like the second form until its `s` never comes, and its level then stays until the MARK
 * around it is closed.  The paths inside are longer than need be, and the same each time: that is all they
 * are for.
 */
#include "pickle_walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "ckpt_error.h"
#include "pickle_words.h"

enum state { S_OP, S_ARG, S_TEXT, S_LINE, S_SKIP };

/* What follows an opcode. */
enum form {
	BAD = 0, /* not known, or of no use to anybody */
	NONE,
	ARG1,    /* so many bytes */
	ARG2,
	ARG4,
	ARG8,
	TEXT1,   /* so many bytes of a length, and a string */
	TEXT4,
	TEXT8,
	DATA1,   /* the same, and bytes that don't matter */
	DATA4,
	DATA8,
	LONG1,   /* a byte, and an integer as long as it says */
	LINE,    /* text up to a newline */
	LINES,   /* two of them */
};

static const uint8_t form[256] = {
	['('] = NONE, ['.'] = NONE, ['0'] = NONE, ['1'] = NONE, ['2'] = NONE, /* MARK STOP POP POP_MARK DUP */
	['N'] = NONE, ['Q'] = NONE, ['R'] = NONE, ['b'] = NONE, ['o'] = NONE, /* NONE BINPERSID REDUCE BUILD OBJ */
	['a'] = NONE, ['e'] = NONE, ['s'] = NONE, ['u'] = NONE, /* APPEND APPENDS SETITEM SETITEMS */
	['d'] = NONE, ['l'] = NONE, ['t'] = NONE, /* DICT LIST TUPLE */
	['}'] = NONE, [']'] = NONE, [')'] = NONE, /* EMPTY_DICT _LIST _TUPLE */
	[0x81] = NONE, [0x92] = NONE, [0x93] = NONE, [0x94] = NONE, /* NEWOBJ NEWOBJ_EX STACK_GLOBAL MEMOIZE */
	[0x85] = NONE, [0x86] = NONE, [0x87] = NONE, /* TUPLE1 TUPLE2 TUPLE3 */
	[0x88] = NONE, [0x89] = NONE, /* NEWTRUE NEWFALSE */
	[0x8f] = NONE, [0x90] = NONE, [0x91] = NONE, /* EMPTY_SET ADDITEMS FROZENSET */
	['K'] = ARG1, ['M'] = ARG2, ['J'] = ARG4, ['G'] = ARG8, /* BININT1 BININT2 BININT BINFLOAT */
	['q'] = ARG1, ['r'] = ARG4, ['h'] = ARG1, ['j'] = ARG4, /* BINPUT LONG_BINPUT BINGET LONG_BINGET */
	[0x80] = ARG1, [0x95] = ARG8, /* PROTO FRAME */
	[0x82] = ARG1, [0x83] = ARG2, [0x84] = ARG4, /* EXT1 EXT2 EXT4 */
	['U'] = TEXT1, ['T'] = TEXT4, /* SHORT_BINSTRING BINSTRING */
	[0x8c] = TEXT1, ['X'] = TEXT4, [0x8d] = TEXT8, /* SHORT_BINUNICODE BINUNICODE ..8 */
	['C'] = DATA1, ['B'] = DATA4, [0x8e] = DATA8, [0x96] = DATA8, /* SHORT_BINBYTES ..BYTES ..8 BYTEARRAY8 */
	[0x8a] = LONG1, [0x8b] = DATA4, /* LONG1 LONG4 */
	['I'] = LINE, ['L'] = LINE, ['F'] = LINE, /* INT LONG FLOAT: True at protocol 1 */
	['c'] = LINES, ['i'] = LINES, /* GLOBAL INST */
};

static uint64_t le(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

uint64_t pickle_path(uint64_t above, uint64_t key)
{
	uint64_t both[2] = { above, key };

	return key == 0 ? above : XXH3_64bits(both, sizeof both);
}

/* --- nesting ------------------------------------------------------------------------------------- */

static void open_level(struct pickle_walk *w, bool dict)
{
	uint64_t above = pickle_path(w->level[w->depth - 1].above, w->level[w->depth - 1].key.hash);

	if (w->depth == PICKLE_LEVELS) {
		w->deeper += !dict;
		return;
	}
	w->level[w->depth].above = above;
	w->level[w->depth].key = (struct pickle_key){ 0, 0 };
	w->level[w->depth].dict = dict;
	w->depth++;
	w->fresh = dict;
}

/* A MARK; the one behind a new dict is that dict's. */
static void open_mark(struct pickle_walk *w, bool fresh)
{
	if (fresh)
		w->level[w->depth - 1].dict = false;
	else
		open_level(w, false);
}

/* What takes all values down to the last MARK. */
static void close_mark(struct pickle_walk *w)
{
	if (w->deeper > 0) {
		w->deeper--;
		return;
	}
	while (w->depth > 1 && w->level[w->depth - 1].dict)
		w->depth--;
	if (w->depth > 1)
		w->depth--;
}

static void close_dict(struct pickle_walk *w)
{
	if (w->deeper == 0 && w->level[w->depth - 1].dict)
		w->depth--;
}

/* --- values -------------------------------------------------------------------------------------- */

static void push(struct pickle_walk *w, struct pickle_atom a)
{
	if (w->run_len < PICKLE_RUN_MAX)
		w->run[w->run_len] = a;
	w->run_len++;
	w->last = a;
	w->tuple = false;
	if (a.kind == A_INT) {
		w->ints[2] = w->ints[1];
		w->ints[1] = w->ints[0];
		w->ints[0] = a.v;
	}
	if (w->events->paths && w->deeper == 0 && (a.kind == A_TEXT || a.kind == A_WORD || a.kind == A_INT)) {
		struct pickle_key *key = &w->level[w->depth - 1].key;

		w->was[1] = w->was[0];
		w->was[0] = *key;
		key->hash = a.kind == A_INT ? XXH3_64bits(&a.v, sizeof a.v) : a.v;
		key->rest = a.rest;
	}
}

/* Something happened that the walk does not follow. */
static void blur(struct pickle_walk *w)
{
	w->run_plain = false;
	w->tuple = false;
	w->last = (struct pickle_atom){ A_OTHER, 0, 0, 0 };
}

/* --- a storage and its tensor -------------------------------------------------------------------- */

/* In which of a tensor's arguments the walk is. */
enum { P_NONE, P_SIZE, P_STRIDE };

/* The nearest key around what is being made, with the one around that. */
static struct record_name nearest_name(const struct pickle_walk *w)
{
	const struct pickle_key none = { 0, 0 }, *found[2] = { &none, &none };
	unsigned n = 0;

	for (size_t i = w->depth; i-- > 0 && n < 2;)
		if (w->level[i].key.hash != 0)
			found[n++] = &w->level[i].key;
	if (n == 0)
		return (struct record_name){ 0, 0 };
	return record_name_of(found[0]->hash, found[0]->rest, found[1]->hash);
}

/* BINPERSID takes a tuple, which must be one that is known. ('module', ...) is source code beside a class. */
static int persistent_id(struct pickle_walk *w)
{
	const struct pickle_atom *t = w->run;
	int odd = w->events->lenient ? PICKLE_ON : PICKLE_BEYOND;
	struct pickle_storage s = { 0 };
	bool tuple = w->tuple;

	blur(w);
	w->part = P_NONE;
	w->untyped = false;
	if (!tuple || w->events->storage == NULL || t[0].kind != A_WORD)
		return odd;
	if (t[0].word == W_MODULE && w->run_len == 4)
		return PICKLE_ON;
	if (t[0].word != W_STORAGE || w->run_len != w->events->id_len || t[1].kind != A_CLASS ||
	    t[2].kind != A_TEXT || t[4].kind != A_INT || (w->run_len > 5 && t[5].kind != A_NONE))
		return odd;
	s.type = pickle_words[t[1].word].type;
	if (__builtin_mul_overflow(t[4].v, s.type.item, &s.bytes))
		return odd;
	s.key = t[2].v;
	if (w->events->paths) {
		s.path = pickle_path(w->level[w->depth - 1].above, w->level[w->depth - 1].key.hash);
		s.name = nearest_name(w);
	}
	w->part = P_SIZE;
	w->untyped = s.type.hint.width == 0;
	return w->events->storage(w->events->arg, &s);
}

/*
 * A tuple of n values, the last two of which are given: behind an id come offset, sizes and strides.  Sizes
 * are told when the last stride is 1, so that `last` is what lies side by side.
 */
static void tensor_tuple(struct pickle_walk *w, size_t n, bool ints, uint64_t last, uint64_t before)
{
	if (w->part == P_NONE)
		return;
	if (!ints || n == 0) {
		w->part = P_NONE;
	} else if (w->part == P_SIZE) {
		w->dims = (unsigned)n;
		w->dim[0] = last;
		w->dim[1] = n > 1 ? before : 1;
		w->part = P_STRIDE;
	} else {
		if (n == w->dims && last == 1 && w->events->shape != NULL)
			w->events->shape(w->events->arg, w->dims, w->dim[0], w->dim[1]);
		w->part = P_NONE;
	}
}

/* TUPLE: the run since the MARK becomes one. */
static void tuple(struct pickle_walk *w)
{
	size_t n = w->run_len;
	bool plain = w->run_plain && n <= PICKLE_RUN_MAX, ints = plain && n > 0;

	for (size_t i = 0; ints && i < n; i++)
		ints = w->run[i].kind == A_INT;
	tensor_tuple(w, n, ints, w->ints[0], w->ints[1]);
	blur(w);
	w->tuple = plain;
}

/* --- opcodes ------------------------------------------------------------------------------------- */

static void global(struct pickle_walk *w, struct pickle_atom a)
{
	push(w, a);
	if (a.kind == A_TYPE && w->untyped) {
		w->untyped = false;
		if (w->events->type != NULL)
			w->events->type(w->events->arg, &pickle_words[a.word].type);
	}
}

/* STACK_GLOBAL takes module and name, both just pushed, and leaves the class. They were no keys. */
static void stack_global(struct pickle_walk *w)
{
	struct pickle_atom a;

	if (w->deeper == 0)
		w->level[w->depth - 1].key = w->was[1];
	if (!w->run_plain || w->run_len < 2 || w->run_len > PICKLE_RUN_MAX) {
		blur(w);
		return;
	}
	a = pickle_global_atom(w->run[w->run_len - 2], w->run[w->run_len - 1]);
	w->run_len -= 2;
	global(w, a);
}

/* A little-endian integer of n <= 8 bytes with a sign, or without. Negative ones are no number of elements. */
static void integer(struct pickle_walk *w, size_t n, bool is_signed)
{
	uint64_t v = le(w->buf, n);

	if (is_signed && v >> (8 * n - 1) != 0)
		push(w, (struct pickle_atom){ A_OTHER, 0, 0, 0 });
	else
		push(w, (struct pickle_atom){ A_INT, 0, 0, v });
}

/* A string has been read, or passed over because it is too long to matter. */
static int string(struct pickle_walk *w, bool read)
{
	struct pickle_atom a = { A_OTHER, 0, 0, 0 };

	if (read)
		a = pickle_text_atom(w->buf, w->have);
	push(w, a);
	if (w->events->string == NULL)
		return PICKLE_ON;
	return w->events->string(w->events->arg, a.kind == A_TEXT ? &a.v : NULL);
}

static void expect(struct pickle_walk *w, enum state state, uint64_t want)
{
	w->state = (uint8_t)state;
	w->want = want;
	w->have = 0;
}

static void skip(struct pickle_walk *w, uint64_t n)
{
	if (n > 0)
		expect(w, S_SKIP, n);
}

/* An opcode without argument. */
static int act(struct pickle_walk *w, bool fresh)
{
	switch (w->op) {
	case '(': /* MARK */
		open_mark(w, fresh);
		w->run_len = 0;
		w->run_plain = true;
		w->tuple = false;
		return PICKLE_ON;
	case 't': /* TUPLE */
		close_mark(w);
		tuple(w);
		return PICKLE_ON;
	case 'Q': /* BINPERSID */
		return persistent_id(w);
	case 'N': /* NONE */
		push(w, (struct pickle_atom){ A_NONE, 0, 0, 0 });
		return PICKLE_ON;
	case 0x93: /* STACK_GLOBAL */
		stack_global(w);
		return PICKLE_ON;
	case 0x94: /* MEMOIZE */
		return pickle_memo_put(w, w->memoized);
	case '.': /* STOP */
		w->stopped = true;
		return PICKLE_ON;
	case ')':  /* EMPTY_TUPLE */
	case 0x85: /* TUPLE1 */
	case 0x86: /* TUPLE2 */
	case 0x87: /* TUPLE3 */
		tensor_tuple(w, w->op == ')' ? 0 : w->op - 0x84u, true, w->ints[0], w->ints[1]);
		break;
	case '}': /* EMPTY_DICT */
		open_level(w, true);
		break;
	case 's': /* SETITEM */
		close_dict(w);
		break;
	case '1': case 'd': case 'e': case 'l': case 'o': /* POP_MARK DICT APPENDS LIST OBJ */
	case 'u': case 0x90: case 0x91:                   /* SETITEMS ADDITEMS FROZENSET */
		close_mark(w);
		break;
	}
	blur(w);
	return PICKLE_ON;
}

static int start_text(struct pickle_walk *w, uint64_t len)
{
	if (len > PICKLE_TEXT_MAX) {
		skip(w, len);
		return string(w, false);
	}
	expect(w, S_TEXT, len);
	if (len > 0)
		return PICKLE_ON;
	w->state = S_OP;
	return string(w, true);
}

/* The argument of fixed size has been read. */
static int argument(struct pickle_walk *w)
{
	size_t n = w->have;

	w->state = S_OP;
	switch (w->op) {
	case 'K': case 'M': /* BININT1 BININT2 */
		integer(w, n, false);
		return PICKLE_ON;
	case 'J': /* BININT */
		integer(w, n, true);
		return PICKLE_ON;
	case 'q': case 'r': /* BINPUT LONG_BINPUT: the memo leaves the stack as it is */
		return pickle_memo_put(w, le(w->buf, n));
	case 'h': case 'j': /* BINGET LONG_BINGET */
		push(w, pickle_memo_get(w, le(w->buf, n)));
		return PICKLE_ON;
	case 0x80: case 0x95: /* PROTO FRAME */
		return PICKLE_ON;
	case 0x8a: /* LONG1: first its length; only what fits 64 bits is a number of elements */
		n = w->buf[0];
		if (n >= 1 && n <= 8) {
			expect(w, S_ARG, n);
			w->op = 'J';
			return PICKLE_ON;
		}
		blur(w);
		skip(w, n);
		return PICKLE_ON;
	}
	switch (form[w->op]) {
	case TEXT1: case TEXT4: case TEXT8:
		return start_text(w, le(w->buf, n));
	case DATA1: case DATA4: case DATA8:
		blur(w);
		skip(w, le(w->buf, n));
		return PICKLE_ON;
	}
	blur(w);
	return PICKLE_ON;
}

/* A line has been read. */
static int line(struct pickle_walk *w)
{
	struct pickle_atom a = pickle_text_atom(w->buf, w->have);

	if (--w->lines > 0) {
		w->module = a;
		expect(w, S_LINE, 1);
		return PICKLE_ON;
	}
	w->state = S_OP;
	if (w->op == 'c') {
		global(w, pickle_global_atom(w->module, a));
		return PICKLE_ON;
	}
	if (w->op == 'i')
		close_mark(w);
	blur(w);
	return PICKLE_ON;
}

static int opcode(struct pickle_walk *w)
{
	static const uint8_t length[] = {
		[ARG1] = 1, [ARG2] = 2, [ARG4] = 4, [ARG8] = 8, [TEXT1] = 1, [TEXT4] = 4, [TEXT8] = 8,
		[DATA1] = 1, [DATA4] = 4, [DATA8] = 8, [LONG1] = 1,
	};
	uint8_t f = form[w->op];
	bool fresh = w->fresh;

	/* The memo and frames leave the stack as it is. */
	if (w->op != 'q' && w->op != 'r' && w->op != 0x94 && w->op != 0x95)
		w->fresh = false;
	switch (f) {
	case BAD:
		return PICKLE_BEYOND;
	case NONE:
		return act(w, fresh);
	case LINE:
	case LINES:
		w->lines = f == LINE ? 1 : 2;
		expect(w, S_LINE, 1);
		return PICKLE_ON;
	}
	expect(w, S_ARG, length[f]);
	return PICKLE_ON;
}

void pickle_walk_init(struct pickle_walk *w, const struct pickle_events *events)
{
	memset(w, 0, sizeof *w);
	w->events = events;
	w->depth = 1;
}

void pickle_walk_release(struct pickle_walk *w)
{
	free(w->memo);
	w->memo = NULL;
	w->memo_len = w->memo_room = 0;
}

int pickle_walk_feed(struct pickle_walk *w, const uint8_t *p, size_t n, size_t *used)
{
	size_t at = 0;
	int rc = PICKLE_ON;

	while (at < n && rc == PICKLE_ON && !w->stopped) {
		size_t k = w->want < n - at ? (size_t)w->want : n - at;

		switch (w->state) {
		case S_OP:
			w->op = p[at++];
			rc = opcode(w);
			break;
		case S_ARG:
		case S_TEXT:
			memcpy(w->buf + w->have, p + at, k);
			w->have += k;
			w->want -= k;
			at += k;
			if (w->want > 0)
				break;
			if (w->state == S_ARG) {
				rc = argument(w);
			} else {
				w->state = S_OP;
				rc = string(w, true);
			}
			break;
		case S_LINE:
			if (p[at] == '\n')
				rc = line(w);
			else if (w->have == sizeof w->buf)
				rc = PICKLE_BEYOND;
			else
				w->buf[w->have++] = p[at];
			at++;
			break;
		case S_SKIP:
			at += k;
			pickle_walk_skip(w, k);
			break;
		}
	}
	*used = at;
	if (rc != PICKLE_ON)
		return rc;
	return w->stopped ? PICKLE_ON : PICKLE_ENDS;
}

uint64_t pickle_walk_span(const struct pickle_walk *w)
{
	return w->state == S_OP ? 1 : w->want;
}

uint64_t pickle_walk_skips(const struct pickle_walk *w)
{
	return w->state == S_SKIP ? w->want : 0;
}

void pickle_walk_skip(struct pickle_walk *w, uint64_t n)
{
	w->want -= n;
	if (w->want == 0)
		w->state = S_OP;
}
