/*
 * runs_module.c: the tensors of a model, be it a state dict or a whole nn.Module that was pickled.
 *
 * A module's state dict is what torch.nn.Module.state_dict() would give (torch/nn/modules/module.py): its
 * parameters, then its buffers but those of _non_persistent_buffers_set, then its children's, each name
 * joined to its parent's with '.'.  A Parameter counts as the tensor in it.
 */
#include "runs_torch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "codec/codec_hash.h"

enum { DEPTH_MAX = 64, TENSORS_MAX = 1 << 20, NAME_LEN = 1024 };

bool runs_is_module(const struct torch_object *o, uint32_t ref)
{
	uint32_t modules, parameters;

	if (torch_kind_of(o, ref) != TORCH_IS_OBJECT)
		return false;
	modules = torch_lookup(o, ref, "_modules");
	parameters = torch_lookup(o, ref, "_parameters");
	return modules != PICKLE_NIL && parameters != PICKLE_NIL &&
	       torch_kind_of(o, modules) == TORCH_IS_DICT && torch_kind_of(o, parameters) == TORCH_IS_DICT;
}

struct list {
	struct runs_arena *arena;
	struct runs_named *item;
	size_t n, cap;
	size_t seen; /* values gone through: a shared module is gone through each time */
};

/* Every tensor right under a dict. */
static int take(struct list *l, const struct torch_object *o, uint32_t dict, const char *prefix,
		uint32_t skip)
{
	struct torch_iter it;
	struct torch_item item;
	char name[NAME_LEN];
	size_t base = strlen(prefix);

	memcpy(name, prefix, base);
	torch_iter_init(o, dict, &it);
	while (torch_iter_next(&it, &item)) {
		const char *key;
		size_t len;
		bool skipped = false;
		int rc;

		if (l->n >= TENSORS_MAX || l->seen++ >= 4 * TENSORS_MAX)
			return ckpt_fail(EFBIG, "a model of more than %d tensors", TENSORS_MAX);
		if (item.relation != TORCH_KEY || torch_kind_of(o, item.value) != TORCH_IS_TENSOR)
			continue;
		key = pickle_text(torch_graph(o), item.key, &len);
		if (key == NULL || base + len >= sizeof name)
			return ckpt_fail(ENOTSUP, "a tensor of a model has no name, or a long one");
		if (skip != PICKLE_NIL) {
			struct torch_iter in;
			struct torch_item member;
			size_t n;

			for (torch_iter_init(o, skip, &in); !skipped && torch_iter_next(&in, &member);) {
				const char *m = pickle_text(torch_graph(o), member.value, &n);

				skipped = m != NULL && n == len && memcmp(m, key, n) == 0;
			}
		}
		if (skipped)
			continue;
		rc = runs_grow(&l->item, l->n, &l->cap, sizeof *l->item);
		if (rc < 0)
			return rc;
		memcpy(name + base, key, len);
		l->item[l->n].key = runs_text(l->arena, name, base + len);
		l->item[l->n].len = base + len;
		l->item[l->n].ref = item.value;
		if (l->item[l->n].key == NULL)
			return -ENOMEM;
		l->n++;
	}
	return 0;
}

struct level {
	struct torch_iter it; /* of _modules */
	size_t len;           /* of the prefix */
};

static int own(struct list *l, const struct torch_object *o, uint32_t module, const char *prefix)
{
	uint32_t buffers = torch_lookup(o, module, "_buffers");
	int rc = take(l, o, torch_lookup(o, module, "_parameters"), prefix, PICKLE_NIL);

	if (rc == 0 && buffers != PICKLE_NIL)
		rc = take(l, o, buffers, prefix, torch_lookup(o, module, "_non_persistent_buffers_set"));
	return rc;
}

static int walk(struct list *l, const struct torch_object *o, uint32_t root)
{
	struct level *stack = calloc(DEPTH_MAX, sizeof *stack);
	char prefix[NAME_LEN] = "";
	size_t depth = 1;
	int rc;

	if (stack == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a model");
	torch_iter_init(o, torch_lookup(o, root, "_modules"), &stack[0].it);
	rc = own(l, o, root, prefix);
	while (depth > 0 && rc == 0) {
		struct level *at = &stack[depth - 1];
		struct torch_item item;
		const char *key;
		size_t len;

		if (!torch_iter_next(&at->it, &item)) {
			depth--;
			continue;
		}
		if (l->seen++ >= 4 * TENSORS_MAX) {
			rc = ckpt_fail(EFBIG, "a model of too many modules");
			break;
		}
		if (item.relation != TORCH_KEY || !runs_is_module(o, item.value))
			continue;
		key = pickle_text(torch_graph(o), item.key, &len);
		if (key == NULL || at->len + len + 2 > sizeof prefix || depth == DEPTH_MAX) {
			rc = ckpt_fail(ENOTSUP, "modules nested deeper than names can tell");
			break;
		}
		memcpy(prefix + at->len, key, len);
		len += at->len;
		prefix[len++] = '.';
		prefix[len] = 0;
		torch_iter_init(o, torch_lookup(o, item.value, "_modules"), &stack[depth].it);
		stack[depth++].len = len;
		rc = own(l, o, item.value, prefix);
	}
	free(stack);
	return rc;
}

int runs_model_tensors(const struct torch_file *f, uint32_t ref, struct runs_arena *a,
		struct runs_named **out, size_t *count)
{
	const struct torch_object *o = torch_file_object(f);
	struct list l = { .arena = a };
	int rc = runs_is_module(o, ref) ? walk(&l, o, ref) : take(&l, o, ref, "", PICKLE_NIL);

	if (rc < 0) {
		free(l.item);
		return rc;
	}
	*out = l.item;
	*count = l.n;
	return 0;
}

uint64_t runs_model_shape(const struct torch_file *f, uint32_t ref)
{
	const struct torch_object *o = torch_file_object(f);
	struct runs_arena arena = { 0 };
	struct runs_named *x;
	uint64_t hash = 0;
	size_t n;

	if (runs_model_tensors(f, ref, &arena, &x, &n) < 0) {
		runs_arena_release(&arena);
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		const struct torch_tensor *t = torch_tensor_of(o, x[i].ref);

		hash = hash * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)codec_check(x[i].key, x[i].len) +
		       t->dtype;
		hash += t->kind == TORCH_META
					? 0
					: (uint64_t)codec_check(torch_size(o, t), t->ndim * sizeof(uint64_t));
	}
	free(x);
	runs_arena_release(&arena);
	return n > 0 ? hash | 1 : 0;
}

/*
 * ---- written out
 * ---------------------------------------------------------------------------------------------------
 */

struct making {
	struct runs_tensor *t;
	struct runs_storage *s;
	struct runs_piece *piece; /* one of each storage */
	uint32_t *number;         /* of each of the file's storages; PICKLE_NIL: not used yet */
	size_t storages;
};

static int add(struct making *m, size_t i, const struct torch_file *f, const struct runs_named *x,
		struct runs_reader *r)
{
	const struct torch_object *o = torch_file_object(f);
	const struct torch_tensor *t = torch_tensor_of(o, x->ref);
	const struct torch_storage *s;
	uint64_t off;
	int rc;

	/* A Parameter that was made from another tensor tells of the same storage. */
	if (t->kind != TORCH_STRIDED || t->storage == PICKLE_NIL || t->conj || t->neg ||
			torch_dtype_info((enum torch_dtype)t->dtype)->packed)
		return ckpt_fail(ENOTSUP, "tensor \"%s\" is of a kind that no state dict is written of",
				x->key);
	s = torch_storage_at(o, t->storage);
	if (m->number[t->storage] == PICKLE_NIL) {
		rc = torch_file_storage(f, t->storage, runs_read, r, &off);
		if (rc < 0)
			return rc;
		m->piece[m->storages] = (struct runs_piece){ 0, off, s->bytes };
		m->s[m->storages] = (struct runs_storage){ .location = s->location,
			.location_len = s->location_len,
			.bytes = s->bytes,
			.piece = &m->piece[m->storages],
			.pieces = 1 };
		m->number[t->storage] = (uint32_t)m->storages++;
	}
	m->t[i] = (struct runs_tensor){ .key = x->key,
		.key_len = x->len,
		.dtype = t->dtype,
		.ndim = t->ndim,
		.size = torch_size(o, t),
		.stride = torch_stride(o, t),
		.offset = t->offset,
		.storage = m->number[t->storage] };
	return 0;
}

int runs_module_layout(
		const struct torch_file *f, uint32_t ref, struct runs_reader *r, struct bridge_layout **out)
{
	uint32_t all = torch_storages(torch_file_object(f));
	struct runs_arena arena = { 0 };
	struct runs_named *x = NULL;
	struct making m = { 0 };
	size_t n = 0;
	int rc = runs_model_tensors(f, ref, &arena, &x, &n);

	if (rc == 0 && n == 0)
		rc = ckpt_fail(ENOTSUP, "a model without tensors");
	if (rc < 0)
		goto done;
	m.t = runs_alloc(&arena, n, sizeof *m.t);
	m.s = runs_alloc(&arena, all, sizeof *m.s);
	m.piece = runs_alloc(&arena, all, sizeof *m.piece);
	m.number = runs_alloc(&arena, all, sizeof *m.number);
	if (m.t == NULL || m.s == NULL || m.piece == NULL || m.number == NULL) {
		rc = -ENOMEM;
		goto done;
	}
	memset(m.number, 0xff, all * sizeof *m.number);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add(&m, i, f, &x[i], r);
	if (rc == 0)
		rc = runs_dict_layout(m.t, n, m.s, m.storages, out);
done:
	free(x);
	runs_arena_release(&arena);
	return rc;
}
