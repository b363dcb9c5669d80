/*
 * view_rows.c: going through a document.
 */
#include "view_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "view_scalar.h"

struct level {
	struct torch_iter it;
	size_t path_len; /* of the container */
	size_t group_len;
	bool numbered;
};

struct walk {
	int (*emit)(void *arg, const struct view_row *row);
	void *arg;
	struct byte_buf path;
	struct level *stack;
	unsigned depth;
	uint32_t *place; /* of each node: number + 1 of its place */
	uint8_t *met;    /* a bit a node */
	struct view_row row;
};

uint32_t view_tensor_state(const struct torch_object *o, uint32_t node)
{
	const struct pickle *g = torch_graph(o);
	const struct pickle_call *c = pickle_call(g, node);
	const struct torch_tensor *x = torch_tensor_of(o, node);
	uint32_t n = 0, state;
	const uint32_t *a = c != NULL ? pickle_children(g, c->args, &n) : NULL;

	/*
	 * _rebuild_from_type_v2(function, type, arguments, state), _rebuild_parameter_with_state(tensor, ..,
	 * .., state)
	 */
	if (x == NULL || n != 4 || (x->kind == TORCH_NESTED && torch_tensor_of(o, a[3]) != NULL) ||
			x->kind == TORCH_COPY)
		return PICKLE_NIL;
	state = pickle_target(g, a[3]);
	return torch_kind_of(o, state) == TORCH_IS_DICT || torch_kind_of(o, state) == TORCH_IS_TUPLE
			       ? state
			       : PICKLE_NIL;
}

/* Whether a container holds nothing but scalars (in no order of keys), or nothing at all. */
static bool is_sequence(const struct torch_object *o, uint32_t node, enum torch_kind kind)
{
	struct torch_iter it;
	struct torch_item item;

	torch_iter_init(o, node, &it);
	if (kind == TORCH_IS_OBJECT)
		return false;
	while (torch_iter_next(&it, &item))
		if (kind == TORCH_IS_DICT || item.relation != TORCH_INDEX ||
				!(view_is_scalar(o, item.value) ||
						torch_kind_of(o, item.value) == TORCH_IS_STR))
			return false;
	return true;
}

static int push(struct walk *w, uint32_t node, bool numbered)
{
	struct level *top;

	if (w->depth == TORCH_DEPTH_MAX) {
		w->row.kind = ROW_DEEP;
		return w->emit(w->arg, &w->row);
	}
	top = &w->stack[w->depth++];
	torch_iter_init(w->row.o, node, &top->it);
	top->path_len = w->path.len;
	top->group_len = w->row.parent_len;
	top->numbered = numbered;
	return 0;
}

static int give(struct walk *w, enum view_row_kind kind)
{
	w->row.kind = kind;
	return w->emit(w->arg, &w->row);
}

/* A value that the path leads to: a row, or a level, or both. */
static int enter(struct walk *w, uint32_t ref, bool numbered)
{
	const struct torch_object *o = w->row.o;
	uint32_t node = pickle_target(torch_graph(o), ref), state;
	enum torch_kind kind = torch_kind_of(o, node);
	bool again = (w->met[node / 8] >> node % 8 & 1) != 0;
	int rc;

	w->row.node = node;
	w->row.path = w->path.p;
	w->row.path_len = w->path.len;
	w->row.again = again;
	w->row.first = again && w->place[node] != 0 ? w->place[node] - 1 : PICKLE_NIL;
	w->met[node / 8] |= (uint8_t)(1 << node % 8);
	switch (kind) {
	case TORCH_IS_TENSOR:
		rc = give(w, ROW_TENSOR);
		state = again ? PICKLE_NIL : view_tensor_state(o, node);
		return rc != 0 || state == PICKLE_NIL ? rc : push(w, state, false);
	case TORCH_IS_STORAGE:
		return give(w, ROW_STORAGE);
	case TORCH_IS_ARRAY:
		return give(w, ROW_ARRAY);
	case TORCH_IS_DICT:
	case TORCH_IS_LIST:
	case TORCH_IS_TUPLE:
	case TORCH_IS_SET:
	case TORCH_IS_OBJECT:
		if (again)
			return give(w, ROW_REFERENCE);
		if (is_sequence(o, node, kind))
			return give(w, ROW_SEQUENCE);
		rc = kind == TORCH_IS_OBJECT ? give(w, ROW_OBJECT) : 0;
		return rc != 0 ? rc : push(w, node, numbered);
	case TORCH_IS_OTHER:
		return give(w, ROW_OTHER);
	case TORCH_IS_SCALAR:
	case TORCH_IS_COMPLEX:
		return give(w, view_is_scalar(o, node)    ? ROW_VALUE
				: kind == TORCH_IS_SCALAR ? ROW_ARRAY
							  : ROW_OTHER);
	default:
		return give(w, ROW_VALUE);
	}
}

static bool is_number(const struct torch_object *o, const struct torch_item *item)
{
	return item->relation == TORCH_INDEX ||
	       (item->relation == TORCH_KEY && torch_kind_of(o, item->key) == TORCH_IS_INT);
}

static int walk_object(struct walk *w, uint32_t root)
{
	struct torch_item item;
	int rc = enter(w, root, false);

	while (rc == 0 && w->depth > 0) {
		struct level *top = &w->stack[w->depth - 1];

		if (!torch_iter_next(&top->it, &item)) {
			w->depth--;
			continue;
		}
		w->path.len = top->path_len;
		w->row.parent_len = top->path_len;
		w->row.group_len = top->group_len;
		w->row.numbered = top->numbered;
		w->row.attribute = item.relation == TORCH_ATTR;
		rc = view_path_add(w->row.o, &item, 0, &w->path);
		if (rc == 0)
			rc = enter(w, item.value, is_number(w->row.o, &item));
	}
	return rc;
}

/* One object of torch's, its paths beginning with `prefix`. */
static int rows_of_object(struct walk *w, const struct torch_file *f, const struct torch_places *places)
{
	const struct torch_object *o = torch_file_object(f);
	size_t nodes = pickle_count(torch_graph(o));
	int rc;

	w->row.file = f;
	w->row.o = o;
	w->row.places = places;
	w->row.parent_len = w->row.group_len = 0;
	w->row.numbered = false;
	w->depth = 0;
	w->place = calloc(nodes + 1, sizeof *w->place);
	w->met = calloc(nodes / 8 + 1, 1);
	if (w->place == NULL || w->met == NULL) {
		rc = ckpt_fail(ENOMEM, "out of memory for the rows of %zu values", nodes);
	} else {
		for (uint32_t i = 0; i < torch_place_count(places); i++)
			w->place[torch_place_at(places, i)->node] = i + 1;
		rc = walk_object(w, pickle_root(torch_graph(o)));
	}
	free(w->place);
	free(w->met);
	return rc;
}

static int rows_of_members(struct walk *w, const struct bridge_doc *d)
{
	size_t n = bridge_doc_members(d);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct bridge_member *m = bridge_doc_member(d, i);
		struct torch_places *places;

		w->path.len = 0;
		rc = byte_buf_text(&w->path, m->name);
		if (rc < 0)
			break;
		w->row.member = m->torch != NULL ? m->name : NULL;
		w->row.path = w->path.p;
		w->row.path_len = w->path.len;
		if (m->torch == NULL) {
			w->row.npy = &m->npy;
			rc = give(w, ROW_NPY);
			continue;
		}
		rc = torch_places_new(torch_file_object(m->torch), &places);
		if (rc == 0) {
			rc = rows_of_object(w, m->torch, places);
			torch_places_free(places);
		}
	}
	return rc;
}

static int rows_of_safetensors(struct walk *w, const struct safetensors *s)
{
	int rc = 0;

	w->row.set = s;
	for (size_t i = 0; rc == 0 && i < safetensors_pairs(s); i++) {
		w->row.pair = safetensors_pair_at(s, i);
		w->path.len = 0;
		rc = byte_buf_text(&w->path, "__metadata__.");
		if (rc == 0)
			rc = byte_buf_put(&w->path, w->row.pair->key, w->row.pair->key_len);
		w->row.path = w->path.p;
		w->row.path_len = w->path.len;
		if (rc == 0)
			rc = give(w, ROW_PAIR);
	}
	for (size_t i = 0; rc == 0 && i < safetensors_count(s); i++) {
		w->row.entry = safetensors_at(s, i);
		w->row.path = (const uint8_t *)w->row.entry->name;
		w->row.path_len = w->row.entry->name_len;
		rc = give(w, ROW_ENTRY);
	}
	return rc;
}

int view_rows(const struct bridge_doc *d, int (*emit)(void *arg, const struct view_row *row), void *arg)
{
	struct walk w = { .emit = emit, .arg = arg };
	const struct torch_places *places;
	int rc = byte_buf_reserve(&w.path, 1);

	if (rc < 0)
		return rc;
	w.row.path = w.path.p;
	w.row.first = PICKLE_NIL;
	w.stack = calloc(TORCH_DEPTH_MAX, sizeof *w.stack);
	if (w.stack == NULL)
		rc = ckpt_fail(ENOMEM, "out of memory for the rows of a file");
	else if (bridge_doc_safetensors(d) != NULL)
		rc = rows_of_safetensors(&w, bridge_doc_safetensors(d));
	else if (bridge_doc_npy(d) != NULL) {
		w.row.npy = bridge_doc_npy(d);
		rc = give(&w, ROW_NPY);
	} else if (bridge_doc_torch(d) != NULL) {
		rc = bridge_doc_places(d, &places);
		if (rc == 0)
			rc = rows_of_object(&w, bridge_doc_torch(d), places);
	} else {
		rc = rows_of_members(&w, d);
	}
	free(w.stack);
	byte_buf_release(&w.path);
	return rc;
}
