/*
 * pickle_op.c: opcodes and their arguments (CPython's Lib/pickletools.py).
 */
#include "pickle_internal.h"

#include <errno.h>
#include <string.h>

#include "codec/byte_buf.h"
#include "codec/ckpt_error.h"

const uint8_t pickle_args[256] = {
	[0x80] = ARG_U1,   /* PROTO */
	[0x95] = ARG_U8,   /* FRAME */
	['.'] = ARG_NONE,  /* STOP */
	['('] = ARG_NONE,  /* MARK */
	['0'] = ARG_NONE,  /* POP */
	['1'] = ARG_NONE,  /* POP_MARK */
	['2'] = ARG_NONE,  /* DUP */
	['N'] = ARG_NONE,  /* NONE */
	[0x88] = ARG_NONE, /* NEWTRUE */
	[0x89] = ARG_NONE, /* NEWFALSE */
	['I'] = ARG_LINE,  /* INT */
	['J'] = ARG_I4,    /* BININT */
	['K'] = ARG_U1,    /* BININT1 */
	['M'] = ARG_U2,    /* BININT2 */
	[0x8a] = ARG_S1,   /* LONG1 */
	[0x8b] = ARG_S4,   /* LONG4 */
	['G'] = ARG_F8,    /* BINFLOAT */
	['X'] = ARG_S4,    /* BINUNICODE */
	[0x8c] = ARG_S1,   /* SHORT_BINUNICODE */
	[0x8d] = ARG_S8,   /* BINUNICODE8 */
	['T'] = ARG_S4,    /* BINSTRING */
	['U'] = ARG_S1,    /* SHORT_BINSTRING */
	['B'] = ARG_S4,    /* BINBYTES */
	['C'] = ARG_S1,    /* SHORT_BINBYTES */
	[0x8e] = ARG_S8,   /* BINBYTES8 */
	[0x96] = ARG_S8,   /* BYTEARRAY8 */
	[')'] = ARG_NONE,  /* EMPTY_TUPLE */
	[']'] = ARG_NONE,  /* EMPTY_LIST */
	['}'] = ARG_NONE,  /* EMPTY_DICT */
	[0x8f] = ARG_NONE, /* EMPTY_SET */
	['t'] = ARG_NONE,  /* TUPLE */
	[0x85] = ARG_NONE, /* TUPLE1 */
	[0x86] = ARG_NONE, /* TUPLE2 */
	[0x87] = ARG_NONE, /* TUPLE3 */
	['l'] = ARG_NONE,  /* LIST */
	['d'] = ARG_NONE,  /* DICT */
	[0x91] = ARG_NONE, /* FROZENSET */
	['a'] = ARG_NONE,  /* APPEND */
	['e'] = ARG_NONE,  /* APPENDS */
	['s'] = ARG_NONE,  /* SETITEM */
	['u'] = ARG_NONE,  /* SETITEMS */
	[0x90] = ARG_NONE, /* ADDITEMS */
	['c'] = ARG_LINES, /* GLOBAL */
	[0x93] = ARG_NONE, /* STACK_GLOBAL */
	['R'] = ARG_NONE,  /* REDUCE */
	['b'] = ARG_NONE,  /* BUILD */
	[0x81] = ARG_NONE, /* NEWOBJ */
	[0x92] = ARG_NONE, /* NEWOBJ_EX */
	['Q'] = ARG_NONE,  /* BINPERSID */
	['q'] = ARG_U1,    /* BINPUT */
	['r'] = ARG_U4,    /* LONG_BINPUT */
	[0x94] = ARG_NONE, /* MEMOIZE */
	['h'] = ARG_U1,    /* BINGET */
	['j'] = ARG_U4,    /* LONG_BINGET */
};

static int cut_short(const struct pickle_op *op)
{
	return ckpt_fail(EBADMSG, "pickle ends inside the opcode at byte %u", op->pos);
}

/* Why an opcode is none of ours. */
static int refused(const struct pickle_op *op)
{
	static const struct {
		uint8_t op;
		const char *name;
	} known[] = {
		{ 0x82, "EXT1" },
		{ 0x83, "EXT2" },
		{ 0x84, "EXT4" },
		{ 0x97, "NEXT_BUFFER" },
		{ 0x98, "READONLY_BUFFER" },
		{ 'i', "INST" },
		{ 'o', "OBJ" },
		{ 'P', "PERSID" },
		{ 'L', "LONG" },
		{ 'F', "FLOAT" },
		{ 'S', "STRING" },
		{ 'V', "UNICODE" },
		{ 'g', "GET" },
		{ 'p', "PUT" },
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (known[i].op == op->op)
			return ckpt_fail(ENOTSUP, "pickle uses the opcode %s at byte %u", known[i].name,
					op->pos);
	return ckpt_fail(EBADMSG, "pickle has no opcode 0x%02x, at byte %u", op->op, op->pos);
}

/* A line from *pos on. */
static int line(const uint8_t *p, size_t len, struct pickle_op *op, size_t *pos, uint32_t *text, uint32_t *n)
{
	const uint8_t *end = memchr(p + *pos, '\n', len - *pos);

	if (end == NULL)
		return cut_short(op);
	*text = (uint32_t)*pos;
	*n = (uint32_t)(end - p - (ptrdiff_t)*pos);
	*pos = (size_t)(end - p) + 1;
	return 0;
}

int pickle_take(const uint8_t *p, size_t len, size_t pos, struct pickle_op *out)
{
	static const uint8_t widths[] = {
		[ARG_U1] = 1,
		[ARG_U2] = 2,
		[ARG_U4] = 4,
		[ARG_I4] = 4,
		[ARG_U8] = 8,
		[ARG_F8] = 8,
		[ARG_S1] = 1,
		[ARG_S4] = 4,
		[ARG_S8] = 8,
		[ARG_LINE] = 0,
		[ARG_LINES] = 0,
	};
	enum pickle_arg arg;
	size_t width;
	int rc = 0;

	out->pos = (uint32_t)pos;
	if (pos >= len)
		return ckpt_fail(EBADMSG, "pickle ends without STOP after %zu bytes", len);
	out->op = p[pos++];
	arg = (enum pickle_arg)pickle_args[out->op];
	if (arg == ARG_BAD)
		return refused(out);
	if (arg == ARG_NONE) {
		out->next = (uint32_t)pos;
		return 0;
	}
	width = widths[arg];
	if (width > len - pos)
		return cut_short(out);
	switch (width) {
	case 0:
		out->n = 0;
		break;
	case 1:
		out->n = p[pos];
		break;
	case 2:
		out->n = byte_le16(p + pos);
		break;
	case 4:
		out->n = byte_le32(p + pos);
		break;
	default:
		out->n = byte_le64(p + pos);
		break;
	}
	pos += width;
	switch (arg) {
	case ARG_S1:
	case ARG_S4:
	case ARG_S8:
		if (out->n > len - pos)
			return cut_short(out);
		out->text = (uint32_t)pos;
		out->len = (uint32_t)out->n;
		pos += out->len;
		break;
	case ARG_LINE:
	case ARG_LINES:
		rc = line(p, len, out, &pos, &out->text, &out->len);
		if (rc == 0 && arg == ARG_LINES)
			rc = line(p, len, out, &pos, &out->text2, &out->len2);
		break;
	default:
		break;
	}
	out->next = (uint32_t)pos;
	return rc;
}
