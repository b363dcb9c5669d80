/*
 * torch_places.c: a walk from the root to every tensor and container, each met once.
 *
 * Nodes are marked when they are met, so a graph of any sharing takes as many steps as it has places in
 * containers.  The stack holds one iterator a level, and levels are bounded.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "codec/torch_object.h"
#include "torch_internal.h"

struct torch_places {
	const struct torch_object *o; /* borrowed */
	struct torch_place *place;
	uint32_t count;
	size_t cap;
	bool cut;
};

struct level {
	struct torch_iter it;
	uint32_t place;
};

static bool has_place(enum torch_kind kind)
{
	switch (kind) {
	case TORCH_IS_TENSOR:
	case TORCH_IS_STORAGE:
	case TORCH_IS_ARRAY:
	case TORCH_IS_DICT:
	case TORCH_IS_LIST:
	case TORCH_IS_TUPLE:
	case TORCH_IS_SET:
	case TORCH_IS_OBJECT:
		return true;
	default:
		return false;
	}
}

/* Enters a value that has not been met: 1; 0 when it has, or has no place; -errno. */
static int enter(struct torch_places *p, uint8_t *met, const struct torch_item *item, uint32_t parent,
		unsigned depth)
{
	uint32_t node = pickle_target(torch_graph(p->o), item->value);
	enum torch_kind kind;
	int rc;

	if ((met[node / 8] >> node % 8 & 1) != 0)
		return 0;
	kind = torch_kind_of(p->o, node);
	if (!has_place(kind))
		return 0;
	met[node / 8] |= (uint8_t)(1 << node % 8);
	rc = torch_room(&p->place, &p->cap, (size_t)p->count + 1, sizeof *p->place);
	if (rc < 0)
		return rc;
	p->place[p->count++] = (struct torch_place){ node, parent, item->key, (uint8_t)item->relation,
		(uint8_t)kind, (uint16_t)depth };
	return 1;
}

static int walk(struct torch_places *p, uint8_t *met, struct level *stack)
{
	struct torch_item item = { TORCH_STATE, 0, pickle_root(torch_graph(p->o)) };
	unsigned depth = 0;
	int rc = enter(p, met, &item, PICKLE_NIL, 0);

	if (rc == 1) {
		torch_iter_init(p->o, item.value, &stack[0].it);
		stack[0].place = 0;
		depth = 1;
	}
	while (rc >= 0 && depth > 0) {
		struct level *top = &stack[depth - 1];

		if (!torch_iter_next(&top->it, &item)) {
			depth--;
			continue;
		}
		rc = enter(p, met, &item, top->place, depth);
		if (rc != 1)
			continue;
		if (depth == TORCH_DEPTH_MAX) {
			p->cut = true;
			continue;
		}
		torch_iter_init(p->o, item.value, &stack[depth].it);
		stack[depth].place = p->count - 1;
		depth++;
	}
	return rc < 0 ? rc : 0;
}

int torch_places_new(const struct torch_object *o, struct torch_places **out)
{
	struct torch_places *p = calloc(1, sizeof *p);
	uint8_t *met = calloc(pickle_count(torch_graph(o)) / 8 + 1, 1);
	struct level *stack = calloc(TORCH_DEPTH_MAX, sizeof *stack);
	int rc;

	if (p == NULL || met == NULL || stack == NULL) {
		rc = ckpt_fail(ENOMEM, "out of memory for the places of an object");
	} else {
		p->o = o;
		rc = walk(p, met, stack);
	}
	free(stack);
	free(met);
	if (rc < 0) {
		torch_places_free(p);
		return rc;
	}
	*out = p;
	return 0;
}

void torch_places_free(struct torch_places *p)
{
	if (p == NULL)
		return;
	free(p->place);
	free(p);
}

size_t torch_places_memory(const struct torch_places *p)
{
	return sizeof *p + p->cap * sizeof *p->place;
}

uint32_t torch_place_count(const struct torch_places *p)
{
	return p->count;
}

const struct torch_place *torch_place_at(const struct torch_places *p, uint32_t number)
{
	return &p->place[number];
}

bool torch_places_cut(const struct torch_places *p)
{
	return p->cut;
}

/* An optimizer object keeps its state by parameter: the storage's key tells one from the other. */
static int put_odd_key(const struct torch_object *o, uint32_t key, struct byte_buf *out)
{
	const struct torch_tensor *t = torch_tensor_of(o, key);
	const struct torch_storage *s;

	if (t == NULL || t->storage == PICKLE_NIL)
		return byte_buf_text(out, t != NULL ? "<tensor>" : "<object>");
	s = torch_storage_at(o, t->storage);
	return byte_buf_format(out, "<tensor %.*s>", (int)(s->key_len & 0xff), s->key);
}

static int put_key(const struct torch_object *o, uint8_t relation, uint32_t key, struct byte_buf *out)
{
	const struct pickle *g = torch_graph(o);
	const char *text;
	int64_t v;
	size_t len;

	switch (relation) {
	case TORCH_INDEX:
		return byte_buf_format(out, "%u", key);
	case TORCH_ARG:
		return byte_buf_format(out, "args.%u", key);
	case TORCH_STATE:
		return byte_buf_text(out, "state");
	default:
		break;
	}
	switch (pickle_kind_of(g, key)) {
	case PICKLE_STR:
	case PICKLE_STR8:
		text = pickle_text(g, key, &len);
		return byte_buf_put(out, text, len);
	case PICKLE_INT:
		pickle_int(g, key, &v);
		return byte_buf_format(out, "%lld", (long long)v);
	case PICKLE_BOOL:
		pickle_int(g, key, &v);
		return byte_buf_text(out, v != 0 ? "True" : "False");
	case PICKLE_NONE:
		return byte_buf_text(out, "None");
	case PICKLE_FLOAT:
		return byte_buf_format(out, "%.17g", pickle_float(g, key));
	case PICKLE_TUPLE:
		return byte_buf_text(out, "<tuple>");
	default:
		return put_odd_key(o, key, out);
	}
}

int torch_place_path(const struct torch_places *p, uint32_t number, struct byte_buf *out)
{
	uint32_t chain[TORCH_DEPTH_MAX + 1];
	size_t n = 0;
	int rc = 0;

	for (uint32_t i = number; p->place[i].parent != PICKLE_NIL; i = p->place[i].parent)
		chain[n++] = i;
	for (size_t i = n; rc == 0 && i-- > 0;) {
		if (i + 1 < n)
			rc = byte_buf_put(out, ".", 1);
		if (rc == 0)
			rc = put_key(p->o, p->place[chain[i]].relation, p->place[chain[i]].key, out);
	}
	return rc;
}
