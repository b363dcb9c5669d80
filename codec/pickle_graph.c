/*
 * pickle_graph.c: reading a parsed graph.
 */
#include "codec/pickle_graph.h"

#include <stdlib.h>
#include <string.h>

#include "pickle_internal.h"

void pickle_free(struct pickle *g)
{
	if (g == NULL)
		return;
	free(g->node);
	free(g->child);
	free(g->run);
	free(g->call);
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
	return g->node[ref].kind == PICKLE_ALIAS ? g->node[ref].a : ref;
}

static const struct pickle_node *value(const struct pickle *g, uint32_t ref)
{
	return &g->node[pickle_target(g, ref)];
}

enum pickle_kind pickle_kind_of(const struct pickle *g, uint32_t ref)
{
	return (enum pickle_kind)value(g, ref)->kind;
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
		*len = n->b;
		return (const char *)g->p + n->a;
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

	return (n->kind == PICKLE_STR || n->kind == PICKLE_STR8) &&
	       pickle_same((const char *)g->p + n->a, n->b, text, strlen(text));
}

bool pickle_int(const struct pickle *g, uint32_t ref, int64_t *out)
{
	const struct pickle_node *n = value(g, ref);

	if (n->kind != PICKLE_INT && n->kind != PICKLE_BOOL)
		return false;
	*out = n->i;
	return true;
}

const uint32_t *pickle_children(const struct pickle *g, uint32_t ref, uint32_t *count)
{
	const struct pickle_node *n = value(g, ref);

	*count = 0;
	if (n->kind != PICKLE_TUPLE && n->kind != PICKLE_FROZENSET)
		return NULL;
	*count = n->b;
	return g->child + n->a;
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
	const struct pickle_node *n = value(g, ref);

	switch (n->kind) {
	case PICKLE_LIST:
	case PICKLE_DICT:
	case PICKLE_SET:
		return fill_at(g, n->a, fill);
	case PICKLE_REDUCE:
	case PICKLE_NEWOBJ:
	case PICKLE_NEWOBJ_EX:
	case PICKLE_PERSID:
		return fill_at(g, g->call[n->a].fill_head, fill);
	default:
		return false;
	}
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
