/*
 * tree_build.c: making the directories of a document.
 *
 * The object is gone through by nodes, level by level: a directory's items are entered, and those that are
 * containers become directories further down the list.  A node is given a place the first time it comes up,
 * which is the shallowest one; each later time it is a link to there.  So the work and the memory are linear
 * in the graph, whatever it says about itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "bridge_tree_internal.h"
#include "view_scalar.h"

enum { COPIES_MAX = 4 }; /* of a copy of a copy of a tensor */

struct build {
	struct bridge_tree *t;
	uint32_t dir;  /* the one being filled */
	uint32_t *met; /* of each node of each part: its entry + 1 */
	size_t *base;  /* of each part: where its nodes begin in it */
};

static int room(void *p, size_t *cap, size_t need, size_t size)
{
	size_t more = *cap > 0 ? *cap + *cap / 2 : 64;
	void *now;

	if (need <= *cap)
		return 0;
	if (need > UINT32_MAX - 1)
		return ckpt_fail(EFBIG, "a tree of more than 2^32 names");
	more = more < need ? need : more;
	memcpy(&now, p, sizeof now);
	now = realloc(now, more * size);
	if (now == NULL)
		return ckpt_fail(ENOMEM, "out of memory for the names of a tree");
	memcpy(p, &now, sizeof now);
	*cap = more;
	return 0;
}

static int put_entry(struct build *b, unsigned relation, uint32_t key, enum tree_what what, uint32_t value,
		uint32_t at)
{
	struct bridge_tree *t = b->t;
	int rc = room(&t->entry, &t->entry_cap, (size_t)t->entries + 1, sizeof *t->entry);

	if (rc < 0)
		return rc;
	t->entry[t->entries++] = (struct tree_entry){
		.key = key, .value = value, .at = at, .relation = (uint8_t)relation, .what = (uint8_t)what
	};
	return 0;
}

/* A new directory of the entry that comes next. */
static int put_dir(struct build *b, enum tree_form form, uint32_t part, uint32_t node, unsigned relation,
		uint32_t key)
{
	struct bridge_tree *t = b->t;
	uint16_t depth = t->dirs > 0 ? t->dir[b->dir].depth + 1 : 0;
	int rc = room(&t->dir, &t->dir_cap, (size_t)t->dirs + 1, sizeof *t->dir);

	if (rc < 0)
		return rc;
	memset(&t->dir[t->dirs], 0, sizeof *t->dir);
	t->dir[t->dirs].entry = t->dirs > 0 ? t->entries : TREE_NONE;
	t->dir[t->dirs].part = part;
	t->dir[t->dirs].node = node;
	t->dir[t->dirs].depth = depth;
	t->dir[t->dirs].form = (uint8_t)form;
	atomic_init(&t->dir[t->dirs].names, NULL);
	t->dirs++;
	return t->dirs > 1 ? put_entry(b, relation, key, TREE_DIR, node, t->dirs - 1) : 0;
}

static int put_word(struct build *b, enum tree_word word, uint32_t node)
{
	return put_entry(b, TREE_BY_WORD, word, TREE_WORD, node, 0);
}

/*
 * ---- values
 * ----------------------------------------------------------------------------------------------------
 */

/* What a .npy can be of a tensor by itself. */
static bool plain_tensor(const struct torch_tensor *x)
{
	const struct torch_dtype_info *info = torch_dtype_info((enum torch_dtype)x->dtype);

	return x->storage != PICKLE_NIL && x->kind == TORCH_STRIDED && !info->packed;
}

static int put_tensor(
		struct build *b, uint32_t part, unsigned relation, uint32_t key, const struct torch_tensor *x)
{
	if (plain_tensor(x))
		return put_entry(b, relation, key, TREE_TENSOR, x->node, 0);
	return put_dir(b, DIR_TENSOR, part, x->node, relation, key);
}

static const uint32_t *arguments(const struct pickle *g, uint32_t node, uint32_t *n)
{
	const struct pickle_call *c = pickle_call(g, node);

	*n = 0;
	return c != NULL ? pickle_children(g, c->args, n) : NULL;
}

/*
 * A tensor of a device without storages is shown as the one on the CPU, or the array, that it was saved as.
 */
static uint32_t what_is_copied(const struct torch_object *o, uint32_t ref)
{
	const struct torch_tensor *x = torch_tensor_of(o, ref);
	uint32_t n;

	for (int i = 0; i < COPIES_MAX && x != NULL && x->kind == TORCH_COPY; i++) {
		const uint32_t *a = arguments(torch_graph(o), x->node, &n);

		if (n == 0)
			break;
		ref = a[0];
		x = torch_tensor_of(o, ref);
	}
	return pickle_target(torch_graph(o), ref);
}

static bool is_shared(enum torch_kind kind)
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

static int put_value(struct build *b, uint32_t part, unsigned relation, uint32_t key, uint32_t ref)
{
	const struct torch_object *o = b->t->part[part].o;
	uint32_t node = what_is_copied(o, ref), *met = &b->met[b->base[part] + node];
	enum torch_kind kind = torch_kind_of(o, node);
	struct torch_array a;
	uint64_t bytes;

	if (is_shared(kind) || view_is_long(o, node)) {
		if (*met != 0)
			return put_entry(b, relation, key, TREE_LINK, node, *met - 1);
		*met = b->t->entries + 1;
	}
	switch (kind) {
	case TORCH_IS_STR:
	case TORCH_IS_BYTES:
		return put_entry(b, relation, key, TREE_VALUE, node, 0);
	case TORCH_IS_TENSOR:
		return put_tensor(b, part, relation, key, torch_tensor_of(o, node));
	case TORCH_IS_STORAGE:
		return put_entry(b, relation, key, TREE_STORAGE, node, 0);
	case TORCH_IS_DICT:
	case TORCH_IS_LIST:
	case TORCH_IS_TUPLE:
	case TORCH_IS_SET:
	case TORCH_IS_OBJECT:
		if (b->t->dir[b->dir].depth + 1 >= TORCH_DEPTH_MAX)
			return put_entry(b, relation, key, TREE_OPAQUE, node, 0);
		return put_dir(b, DIR_ITEMS, part, node, relation, key);
	default:
		break;
	}
	if (view_is_scalar(o, node))
		return put_entry(b, relation, key, TREE_VALUE, node, 0);
	if ((kind == TORCH_IS_ARRAY || kind == TORCH_IS_SCALAR) && tree_array(o, node, &a, &bytes))
		return put_entry(b, relation, key, TREE_ARRAY, node, 0);
	return put_entry(b, relation, key, TREE_OPAQUE, node, 0);
}

/*
 * ---- directories
 * -----------------------------------------------------------------------------------------------
 */

static int fill_items(struct build *b, uint32_t part, uint32_t node)
{
	const struct torch_object *o = b->t->part[part].o;
	struct torch_iter it;
	struct torch_item item;
	int rc = 0;

	if (torch_kind_of(o, node) == TORCH_IS_OBJECT && torch_class_of(o, node) >= 0)
		rc = put_word(b, WORD_CLASS, node);
	torch_iter_init(o, node, &it);
	while (rc == 0 && torch_iter_next(&it, &item))
		rc = put_value(b, part, item.relation, item.key, item.value);
	return rc;
}

const char *tree_layout(const struct torch_object *o, uint32_t node, size_t *len)
{
	const struct pickle *g = torch_graph(o);
	uint32_t n;
	const uint32_t *a = arguments(g, node, &n);

	/* A Parameter of a sparse tensor is around it. */
	for (int i = 0; i < COPIES_MAX && n > 0 && torch_tensor_of(o, a[0]) != NULL; i++)
		a = arguments(g, a[0], &n);
	if (n == 0)
		return NULL;
	a = arguments(g, a[0], &n);
	return n == 1 ? pickle_text(g, a[0], len) : NULL;
}

static bool ends_with(const char *p, size_t len, const char *end)
{
	size_t n = strlen(end);

	return p != NULL && len >= n && memcmp(p + len - n, end, n) == 0;
}

/* The names that torch has for the index tensors of a compressed layout. */
static void index_words(const struct torch_object *o, uint32_t node, enum tree_word word[2])
{
	size_t len = 0;
	const char *layout = tree_layout(o, node, &len);
	bool by_column = ends_with(layout, len, "_csc") || ends_with(layout, len, "_bsc");

	word[0] = by_column ? WORD_CCOL : WORD_CROW;
	word[1] = by_column ? WORD_ROW : WORD_COL;
}

/* The state of a _rebuild_from_type_v2: what a subclass keeps beside the tensor; PICKLE_NIL: none. */
static uint32_t state_of(const struct torch_object *o, uint32_t node)
{
	uint32_t n;
	const uint32_t *a = arguments(torch_graph(o), node, &n);

	return n == 4 ? pickle_target(torch_graph(o), a[3]) : PICKLE_NIL;
}

static int fill_parts(struct build *b, uint32_t part, const struct torch_tensor *x,
		const enum tree_word *word, size_t n)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++)
		if (x->part[i] != PICKLE_NIL)
			rc = put_value(b, part, TREE_BY_WORD, word[i], x->part[i]);
	return rc;
}

static int fill_tensor(struct build *b, uint32_t part, uint32_t node)
{
	static const enum tree_word quantized[] = { WORD_QSCHEME, WORD_SCALE, WORD_ZERO_POINT, WORD_AXIS };
	static const enum tree_word nested[] = { WORD_BUFFER, WORD_SIZES, WORD_STRIDES, WORD_OFFSETS };
	const struct torch_object *o = b->t->part[part].o;
	const struct torch_tensor *x = torch_tensor_of(o, node);
	enum tree_word word[3] = { WORD_INDICES, WORD_VALUES, WORD_VALUES };
	bool packed = torch_dtype_info((enum torch_dtype)x->dtype)->packed;
	uint32_t state = PICKLE_NIL;
	int rc = put_word(b, WORD_DTYPE, node);

	if (rc == 0 && x->kind != TORCH_NESTED)
		rc = put_word(b, WORD_SIZE, node);
	if (rc < 0)
		return rc;
	switch (x->kind) {
	case TORCH_STRIDED: /* packed: elements that no .npy has */
		return put_entry(b, TREE_BY_WORD, WORD_STORAGE, TREE_STORAGE, node, 0);
	case TORCH_QUANTIZED:
		rc = put_entry(b, TREE_BY_WORD, packed ? WORD_STORAGE : WORD_VALUES,
				packed ? TREE_STORAGE : TREE_TENSOR, node, 0);
		return rc < 0 ? rc : fill_parts(b, part, x, quantized, 4);
	case TORCH_META:
		return put_word(b, WORD_DEVICE, node);
	case TORCH_COO:
		rc = put_word(b, WORD_LAYOUT, node);
		return rc < 0 ? rc : fill_parts(b, part, x, word, 2);
	case TORCH_COMPRESSED:
		index_words(o, node, word);
		rc = put_word(b, WORD_LAYOUT, node);
		return rc < 0 ? rc : fill_parts(b, part, x, word, 3);
	case TORCH_NESTED:
		return fill_parts(b, part, x, nested, 4);
	default: /* TORCH_WRAPPER: its data are in its state */
		state = state_of(o, node);
		rc = put_word(b, WORD_CLASS, node);
		return rc < 0 || state == PICKLE_NIL ? rc
						     : put_value(b, part, TREE_BY_WORD, WORD_STATE, state);
	}
}

static int fill_members(struct build *b)
{
	const struct bridge_doc *d = b->t->doc;
	size_t n = bridge_doc_members(d);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct bridge_member *m = bridge_doc_member(d, i);
		uint32_t number = (uint32_t)i;

		if (m->torch != NULL)
			rc = put_value(b, number, TREE_BY_MEMBER, number,
					pickle_root(torch_file_graph(m->torch)));
		else
			rc = put_entry(b, TREE_BY_MEMBER, number, TREE_NPY, number, 0);
	}
	return rc;
}

static int fill_flat(struct build *b)
{
	const struct safetensors *s = bridge_doc_safetensors(b->t->doc);
	int rc = 0;

	if (safetensors_pairs(s) > 0)
		rc = put_dir(b, DIR_PAIRS, 0, 0, TREE_BY_WORD, WORD_METADATA);
	for (size_t i = 0; rc == 0 && i < safetensors_count(s); i++)
		rc = put_entry(b, TREE_BY_ENTRY, (uint32_t)i, TREE_ENTRY, (uint32_t)i, 0);
	return rc;
}

static int fill_pairs(struct build *b)
{
	size_t n = safetensors_pairs(bridge_doc_safetensors(b->t->doc));
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = put_entry(b, TREE_BY_PAIR, (uint32_t)i, TREE_PAIR, (uint32_t)i, 0);
	return rc;
}

/* A file that is one value: a tensor, an array or a number. */
static int fill_root(struct build *b)
{
	const struct torch_file *f = bridge_doc_torch(b->t->doc);
	uint32_t root;
	enum torch_kind kind;

	if (f == NULL)
		return put_entry(b, TREE_BY_WORD, WORD_TENSOR, TREE_NPY, 0, 0);
	root = pickle_root(torch_file_graph(f));
	kind = torch_kind_of(torch_file_object(f), root);
	return put_value(b, 0, TREE_BY_WORD,
			kind == TORCH_IS_TENSOR || kind == TORCH_IS_ARRAY ? WORD_TENSOR
			: kind == TORCH_IS_STORAGE                        ? WORD_STORAGE
									  : WORD_VALUE,
			root);
}

static int fill(struct build *b, enum tree_form form, uint32_t part, uint32_t node)
{
	switch (form) {
	case DIR_ITEMS:
		return fill_items(b, part, node);
	case DIR_TENSOR:
		return fill_tensor(b, part, node);
	case DIR_MEMBERS:
		return fill_members(b);
	case DIR_FLAT:
		return fill_flat(b);
	case DIR_PAIRS:
		return fill_pairs(b);
	case DIR_ROOT:
		return fill_root(b);
	}
	return 0;
}

/*
 * ---- documents
 * -------------------------------------------------------------------------------------------------
 */

static int root_dir(struct build *b)
{
	const struct bridge_doc *d = b->t->doc;
	const struct torch_file *f = bridge_doc_torch(d);
	uint32_t node;

	switch (bridge_doc_kind(d)) {
	case BRIDGE_SAFETENSOR:
		return put_dir(b, DIR_FLAT, 0, 0, 0, 0);
	case BRIDGE_NPZ:
	case BRIDGE_DISTCP:
		return put_dir(b, DIR_MEMBERS, 0, 0, 0, 0);
	case BRIDGE_NPY:
		return put_dir(b, DIR_ROOT, 0, 0, 0, 0);
	case BRIDGE_TORCH:
		break;
	}
	node = pickle_target(torch_file_graph(f), pickle_root(torch_file_graph(f)));
	switch (torch_kind_of(torch_file_object(f), node)) {
	case TORCH_IS_DICT:
	case TORCH_IS_LIST:
	case TORCH_IS_TUPLE:
	case TORCH_IS_SET:
	case TORCH_IS_OBJECT:
		b->met[b->base[0] + node] = TREE_ROOT + 1;
		return put_dir(b, DIR_ITEMS, 0, node, 0, 0);
	default:
		return put_dir(b, DIR_ROOT, 0, 0, 0, 0);
	}
}

static int find_parts(struct bridge_tree *t)
{
	const struct torch_file *f = bridge_doc_torch(t->doc);
	bool row = bridge_doc_kind(t->doc) == BRIDGE_DISTCP;
	size_t n = row ? bridge_doc_members(t->doc) : 1;

	t->part = calloc(n + 1, sizeof *t->part);
	if (t->part == NULL)
		return ckpt_fail(ENOMEM, "out of memory for %zu parts", n);
	t->parts = (uint32_t)(row || f != NULL ? n : 0);
	for (uint32_t i = 0; i < t->parts; i++) {
		const struct bridge_member *m = row ? bridge_doc_member(t->doc, i) : NULL;

		t->part[i].file = row ? m->torch : f;
		t->part[i].off = row ? m->off : 0;
		t->part[i].o = torch_file_object(t->part[i].file);
	}
	return 0;
}

int tree_build(struct bridge_tree *t)
{
	struct build b = { .t = t };
	size_t nodes = 0;
	int rc = find_parts(t);

	if (rc < 0)
		return rc;
	b.base = calloc((size_t)t->parts + 1, sizeof *b.base);
	for (uint32_t i = 0; b.base != NULL && i < t->parts; i++) {
		b.base[i] = nodes;
		nodes += pickle_count(torch_graph(t->part[i].o));
	}
	b.met = calloc(nodes + 1, sizeof *b.met);
	if (b.base == NULL || b.met == NULL)
		rc = ckpt_fail(ENOMEM, "out of memory for the tree of %zu values", nodes);
	else
		rc = root_dir(&b);
	for (b.dir = 0; rc == 0 && b.dir < t->dirs; b.dir++) {
		t->dir[b.dir].first = t->entries;
		rc = fill(&b, (enum tree_form)t->dir[b.dir].form, t->dir[b.dir].part, t->dir[b.dir].node);
		t->dir[b.dir].count = t->entries - t->dir[b.dir].first;
	}
	free(b.base);
	free(b.met);
	return rc;
}
