/*
 * pickle_graph.c: reading a parsed graph.
 */
#include "codec/pickle_graph.h"

#include <stdlib.h>
#include <string.h>

#include "codec/byte_buf.h"
#include "pickle_internal.h"

void pickle_free(struct pickle *g)
{
	if (g == NULL)
		return;
	free(g->node);
	free(g->child);
	free(g->run);
	free(g->call);
	free(g->ends);
	free(g->global);
	free(g->frame);
	free(g);
}

uint32_t pickle_root(const struct pickle *g)
{
	return g->root;
}

uint32_t pickle_count(const struct pickle *g)
{
	return g->nodes;
}

unsigned pickle_protocol(const struct pickle *g)
{
	return g->protocol;
}

const uint8_t *pickle_bytes(const struct pickle *g, size_t *len)
{
	*len = g->len;
	return g->p;
}

size_t pickle_memory(const struct pickle *g)
{
	return g->memory;
}

const struct pickle_oddities *pickle_oddities(const struct pickle *g)
{
	return &g->odd;
}

const struct pickle_node *pickle_node(const struct pickle *g, uint32_t ref)
{
	return &g->node[ref];
}

uint32_t pickle_target(const struct pickle *g, uint32_t ref)
{
	const struct pickle_node *n = &g->node[ref];

	if (!pickle_is_alias(n))
		return ref;
	return n->kind == PICKLE_ALIAS ? n->a : g->child[n->a];
}

static const struct pickle_node *value(const struct pickle *g, uint32_t ref)
{
	return &g->node[pickle_target(g, ref)];
}

enum pickle_kind pickle_kind_of(const struct pickle *g, uint32_t ref)
{
	return (enum pickle_kind)value(g, ref)->kind;
}

/* The bytes that follow their length, of the opcode at p, which has been parsed once. */
static const uint8_t *counted(const uint8_t *p, size_t *len)
{
	switch ((enum pickle_arg)pickle_args[*p]) {
	case ARG_S1:
		*len = p[1];
		return p + 2;
	case ARG_S4:
		*len = byte_le32(p + 1);
		return p + 5;
	default: /* ARG_S8 */
		*len = (size_t)byte_le64(p + 1);
		return p + 9;
	}
}

const char *pickle_text(const struct pickle *g, uint32_t ref, size_t *len)
{
	const struct pickle_node *n = value(g, ref);

	switch (n->kind) {
	case PICKLE_STR:
	case PICKLE_STR8:
	case PICKLE_BYTES:
	case PICKLE_BYTEARRAY:
	case PICKLE_LONG:
		return (const char *)counted(g->p + n->pos, len);
	default:
		*len = 0;
		return NULL;
	}
}

bool pickle_same(const char *a, size_t a_len, const char *b, size_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

bool pickle_is_text(const struct pickle *g, uint32_t ref, const char *text)
{
	const struct pickle_node *n = value(g, ref);
	const uint8_t *p;
	size_t len;

	if (n->kind != PICKLE_STR && n->kind != PICKLE_STR8)
		return false;
	p = counted(g->p + n->pos, &len);
	return pickle_same((const char *)p, len, text, strlen(text));
}

bool pickle_decimal(const char *p, size_t len, int64_t *out)
{
	bool minus = len > 0 && p[0] == '-';
	int64_t v = 0; /* less than or equal to 0: the lowest number has no positive */

	for (size_t i = minus; i < len; i++) {
		int digit = p[i] - '0';

		if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
				__builtin_sub_overflow(v, digit, &v))
			return false;
	}
	if (len == (size_t)minus || (!minus && v == INT64_MIN))
		return false;
	*out = minus ? v : -v;
	return true;
}

/* The number that the opcode at p holds, which has been parsed once. */
static int64_t number_at(const uint8_t *p)
{
	const uint8_t *digits;
	uint64_t u = 0;
	int64_t v = 0;
	size_t len;

	switch (*p) {
	case 'K':
		return p[1];
	case 'M':
		return byte_le16(p + 1);
	case 'J':
		return (int32_t)byte_le32(p + 1);
	case 0x88:
		return 1;
	case 0x89:
		return 0;
	case 'I':
		digits = p + 1;
		len = (size_t)((const uint8_t *)rawmemchr(digits, '\n') - digits);
		pickle_decimal((const char *)digits, len, &v);
		return v;
	default: /* LONG1, LONG4: two's complement, little-endian */
		digits = counted(p, &len);
		for (size_t i = 0; i < len; i++)
			u |= (uint64_t)digits[i] << 8 * i;
		if (len > 0 && len < 8 && (digits[len - 1] & 0x80) != 0)
			u |= UINT64_MAX << 8 * len;
		return (int64_t)u;
	}
}

bool pickle_int(const struct pickle *g, uint32_t ref, int64_t *out)
{
	const struct pickle_node *n = value(g, ref);

	if (n->kind != PICKLE_INT && n->kind != PICKLE_BOOL)
		return false;
	*out = number_at(g->p + n->pos);
	return true;
}

double pickle_float(const struct pickle *g, uint32_t ref)
{
	const struct pickle_node *n = value(g, ref);
	uint64_t bits;
	double f = 0;

	if (n->kind == PICKLE_FLOAT) {
		bits = __builtin_bswap64(byte_le64(g->p + n->pos + 1));
		memcpy(&f, &bits, sizeof f);
	}
	return f;
}

const uint32_t *pickle_children(const struct pickle *g, uint32_t ref, uint32_t *count)
{
	const struct pickle_node *n = value(g, ref);

	*count = 0;
	if (n->kind != PICKLE_TUPLE && n->kind != PICKLE_FROZENSET)
		return NULL;
	*count = g->child[n->a] & ~PICKLE_SEEN;
	return g->child + n->a + 1;
}

const struct pickle_call *pickle_call(const struct pickle *g, uint32_t ref)
{
	const struct pickle_node *n = value(g, ref);

	switch (n->kind) {
	case PICKLE_REDUCE:
	case PICKLE_NEWOBJ:
	case PICKLE_NEWOBJ_EX:
		return &g->call[n->a];
	default:
		return NULL;
	}
}

uint32_t pickle_persid(const struct pickle *g, uint32_t ref)
{
	const struct pickle_node *n = value(g, ref);

	return n->kind == PICKLE_PERSID ? g->call[n->a].args : PICKLE_NIL;
}

/* The ends of a value's fills; NULL where it has none. */
static const struct pickle_ends *ends_of(const struct pickle *g, uint32_t ref)
{
	const struct pickle_node *n = value(g, ref);
	uint32_t at = 0;

	switch (n->kind) {
	case PICKLE_LIST:
	case PICKLE_DICT:
	case PICKLE_SET:
		at = n->a;
		break;
	case PICKLE_REDUCE:
	case PICKLE_NEWOBJ:
	case PICKLE_NEWOBJ_EX:
	case PICKLE_PERSID:
		at = g->call[n->a].ends;
		break;
	default:
		break;
	}
	return at > 0 ? &g->ends[at - 1] : NULL;
}

static bool fill_at(const struct pickle *g, uint32_t run, struct pickle_fill *fill)
{
	const struct pickle_run *r;

	if (run == PICKLE_NIL)
		return false;
	r = &g->run[run];
	fill->kind = (enum pickle_fill_kind)r->kind;
	fill->count = r->count;
	fill->child = g->child + r->first;
	fill->next = r->next;
	return true;
}

bool pickle_first_fill(const struct pickle *g, uint32_t ref, struct pickle_fill *fill)
{
	const struct pickle_ends *ends = ends_of(g, ref);

	return ends != NULL && fill_at(g, ends->head, fill);
}

bool pickle_next_fill(const struct pickle *g, struct pickle_fill *fill)
{
	return fill_at(g, fill->next, fill);
}

uint32_t pickle_globals(const struct pickle *g)
{
	return g->globals;
}

const struct pickle_global *pickle_global_at(const struct pickle *g, uint32_t number)
{
	return &g->global[number];
}

int64_t pickle_global_of(const struct pickle *g, uint32_t ref)
{
	const struct pickle_node *n = value(g, ref);

	return n->kind == PICKLE_GLOBAL ? (int64_t)n->a : -1;
}

bool pickle_is_global(const struct pickle *g, uint32_t ref, const char *module, const char *name)
{
	int64_t number = pickle_global_of(g, ref);
	const struct pickle_global *what;

	if (number < 0)
		return false;
	what = &g->global[number];
	return pickle_same(what->module, what->module_len, module, strlen(module)) &&
	       pickle_same(what->name, what->name_len, name, strlen(name));
}
