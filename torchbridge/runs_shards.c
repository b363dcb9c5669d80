/*
 * runs_shards.c: a distributed checkpoint (torch.distributed.checkpoint) as state dicts.
 *
 * Sources: torch/distributed/checkpoint/{metadata,filesystem,planner}.py, 1.13 to 2.13.  ".metadata" is a
 * pickle:
 *
 *   state_dict_metadata   {fqn: TensorStorageMetadata(properties, size, chunks[offsets, sizes]) | BytesStorageMetadata}
 *   planner_data          {fqn: path}, the keys that lead to the value: ("model", "layer.weight")
 *   storage_data          {MetadataIndex(fqn, offset): _StorageInfo(relative_path, offset, length)}
 *
 * Each item of a .distcp is a torch file of one tensor, in a file that may hold many.  The first key of a
 * path says which component a tensor belongs to; what is left of it, joined by '.', is its key in there.  A
 * tensor that was cut along its first dimension is its chunks one behind the other; one that was cut
 * otherwise is put together row by row, as long as that is no more than PIECES_MAX pieces.  What is no
 * tensor (an optimizer's param_groups) stays in the checkpoint: items of it are bytes that nothing here
 * writes anew.
 *
 * The size of a component follows from .metadata alone; the files it names are opened when it is read.
 */
#include "runs_shards.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum { TENSORS_MAX = 1 << 20, PATH_LEN = 1024 };

/* "dtype" of the properties: of the state that TensorProperties gives itself, or an attribute. */
static int dtype_of(const struct torch_object *o, uint32_t properties)
{
	const struct pickle *g = torch_graph(o);
	uint32_t ref = torch_lookup(o, properties, "dtype");
	struct pickle_fill fill;
	const struct pickle_global *name;
	int64_t number;

	if (ref == PICKLE_NIL && pickle_first_fill(g, properties, &fill))
		do {
			uint32_t n = 0;
			const uint32_t *child = fill.kind == PICKLE_FILL_STATE
								? pickle_children(g, fill.child[0], &n)
								: NULL;

			if (n > 0)
				ref = child[0];
		} while (ref == PICKLE_NIL && pickle_next_fill(g, &fill));
	if (ref == PICKLE_NIL || torch_kind_of(o, ref) != TORCH_IS_DTYPE)
		return -1;
	number = pickle_global_of(g, pickle_target(g, ref));
	if (number < 0)
		return -1;
	name = pickle_global_at(g, (uint32_t)number);
	return torch_dtype_of_name(name->name, name->name_len);
}

/* Numbers of a torch.Size, or of a tuple or list. -1: they are none, or too many. */
static int dims(const struct torch_object *o, uint32_t ref, uint64_t *out)
{
	struct torch_iter it;
	struct torch_item item;
	int n = 0;
	int64_t v;

	if (ref == PICKLE_NIL)
		return -1;
	torch_iter_init(o, ref, &it);
	while (torch_iter_next(&it, &item)) {
		if (item.relation == TORCH_ARG && torch_kind_of(o, item.value) == TORCH_IS_TUPLE) {
			torch_iter_init(o, item.value, &it);
			continue;
		}
		if (n == TORCH_DIMS_MAX || !pickle_int(torch_graph(o), item.value, &v) || v < 0)
			return -1;
		out[n++] = (uint64_t)v;
	}
	return n;
}

/* The key of a tensor within its component, and the first of its path. */
static int names(struct runs_arena *a, const struct torch_object *o, uint32_t planner, uint32_t fqn,
		struct shard_tensor *t)
{
	const struct pickle *g = torch_graph(o);
	char text[PATH_LEN];
	size_t len, n = 0, i = 0;
	const char *p = pickle_text(g, fqn, &len);
	uint32_t path = PICKLE_NIL;
	struct torch_iter it;
	struct torch_item item;

	if (p == NULL || len >= sizeof text)
		return ckpt_fail(ENOTSUP, "a tensor of a distributed checkpoint has no name");
	t->fqn = runs_text(a, p, len);
	if (t->fqn == NULL)
		return -ENOMEM;
	if (planner != PICKLE_NIL)
		path = torch_lookup(o, planner, t->fqn);
	t->key = t->fqn;
	t->head = "";
	if (path == PICKLE_NIL)
		return 0;
	torch_iter_init(o, path, &it);
	while (torch_iter_next(&it, &item)) {
		int64_t number;

		p = pickle_text(g, item.value, &len);
		if (i++ == 0 && p != NULL) {
			t->head = runs_text(a, p, len);
			if (t->head == NULL)
				return -ENOMEM;
			continue;
		}
		if (n > 0 && n + 1 < sizeof text)
			text[n++] = '.';
		if (p != NULL && n + len < sizeof text) {
			memcpy(text + n, p, len);
			n += len;
		} else if (p == NULL && pickle_int(g, item.value, &number)) {
			n += (size_t)snprintf(text + n, sizeof text - n, "%lld", (long long)number);
		}
		if (n >= sizeof text)
			return ckpt_fail(ENOTSUP, "a key of a distributed checkpoint is too long");
	}
	if (i < 2) {
		t->head = "";
		return 0;
	}
	t->key = runs_text(a, text, n);
	return t->key != NULL ? 0 : -ENOMEM;
}

/* Where each (fqn, offset) lies: sorted by name and offset for looking up. */
static int by_place(const void *a, const void *b)
{
	const struct shard_place *x = a, *y = b;
	int c = strcmp(x->fqn, y->fqn);

	if (c != 0 || x->ndim != y->ndim)
		return c != 0 ? c : (int)x->ndim - (int)y->ndim;
	for (uint32_t i = 0; i < x->ndim; i++)
		if (x->at[i] != y->at[i])
			return x->at[i] < y->at[i] ? -1 : 1;
	return 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp((*(struct shard_place *const *)a)->path, (*(struct shard_place *const *)b)->path);
}

/* Numbers the files that the places lie in, by name. */
static int number_files(struct shards *s)
{
	struct shard_place **sorted = calloc(s->places + 1, sizeof(*sorted));
	size_t cap = 0;
	int rc = sorted == NULL ? ckpt_fail(ENOMEM, "out of memory for %zu items", s->places) : 0;

	for (size_t i = 0; i < s->places && rc == 0; i++)
		sorted[i] = &s->place[i];
	if (rc == 0 && s->places > 1)
		qsort(sorted, s->places, sizeof(*sorted), by_path);
	for (size_t i = 0; i < s->places && rc == 0; i++) {
		struct shard_place *p = sorted[i];
		uint64_t end;

		if (__builtin_add_overflow(p->off, p->len, &end)) {
			rc = ckpt_fail(EBADMSG, "an item lies beyond the end of \"%s\"", p->path);
			break;
		}
		if (i == 0 || strcmp(p->path, sorted[i - 1]->path) != 0) {
			rc = runs_grow(&s->file, s->files, &cap, sizeof *s->file);
			if (rc < 0)
				break;
			s->file[s->files++] = (struct shard_file){ p->path, 0 };
		}
		p->file = (uint32_t)(s->files - 1);
		if (end > s->file[p->file].size)
			s->file[p->file].size = end;
	}
	free(sorted);
	return rc;
}

static int places(struct runs_arena *a, const struct torch_object *o, uint32_t storage, struct shards *s)
{
	const struct pickle *g = torch_graph(o);
	struct torch_iter it;
	struct torch_item item;
	size_t cap = 0;
	int rc = 0;

	torch_iter_init(o, storage, &it);
	while (rc == 0 && torch_iter_next(&it, &item)) {
		uint32_t fqn, at, path, off, length;
		uint64_t offset[TORCH_DIMS_MAX];
		struct shard_place *p;
		const char *text;
		int64_t v, w;
		size_t len;
		int n;

		if (item.relation != TORCH_KEY || s->places >= TENSORS_MAX)
			continue;
		fqn = torch_lookup(o, item.key, "fqn");
		at = torch_lookup(o, item.key, "offset");
		path = torch_lookup(o, item.value, "relative_path");
		off = torch_lookup(o, item.value, "offset");
		length = torch_lookup(o, item.value, "length");
		n = at == PICKLE_NIL || torch_kind_of(o, at) == TORCH_IS_NONE ? 0 : dims(o, at, offset);
		if (fqn == PICKLE_NIL || path == PICKLE_NIL || off == PICKLE_NIL || length == PICKLE_NIL ||
				n < 0 || !pickle_int(g, off, &v) || !pickle_int(g, length, &w) || v < 0 ||
				w < 0)
			return ckpt_fail(EBADMSG, "storage_data names no place in a file");
		rc = runs_grow(&s->place, s->places, &cap, sizeof *p);
		if (rc < 0)
			return rc;
		p = &s->place[s->places];
		text = pickle_text(g, fqn, &len);
		p->fqn = text != NULL ? runs_text(a, text, len) : "";
		text = pickle_text(g, path, &len);
		if (text == NULL || len == 0 || memchr(text, '/', len) != NULL || text[0] == '.')
			return ckpt_fail(EBADMSG, "storage_data names a file outside its directory");
		p->path = runs_text(a, text, len);
		p->at = runs_alloc(a, (size_t)n, sizeof *p->at);
		if (p->fqn == NULL || p->path == NULL || p->at == NULL)
			return -ENOMEM;
		memcpy(p->at, offset, (size_t)n * sizeof *p->at);
		p->ndim = (uint32_t)n;
		p->off = (uint64_t)v;
		p->len = (uint64_t)w;
		s->places++;
	}
	if (s->places > 0)
		qsort(s->place, s->places, sizeof *s->place, by_place);
	return rc < 0 ? rc : number_files(s);
}

static int chunks(struct runs_arena *a, const struct torch_object *o, uint32_t list, const struct shards *s,
		struct shard_tensor *t)
{
	struct torch_iter it;
	struct torch_item item;
	size_t n = 0;

	if (list == PICKLE_NIL)
		return ckpt_fail(EBADMSG, "a tensor has no chunks");
	for (torch_iter_init(o, list, &it); torch_iter_next(&it, &item);)
		n++;
	t->chunk = runs_alloc(a, n, sizeof *t->chunk);
	if (t->chunk == NULL)
		return -ENOMEM;
	for (torch_iter_init(o, list, &it); torch_iter_next(&it, &item);) {
		struct shard_chunk *c = &t->chunk[t->chunks++];
		uint64_t at[TORCH_DIMS_MAX], size[TORCH_DIMS_MAX];
		int k = dims(o, torch_lookup(o, item.value, "offsets"), at);
		struct shard_place key = { .fqn = t->fqn, .at = at, .ndim = t->ndim };

		if (k != (int)t->ndim || dims(o, torch_lookup(o, item.value, "sizes"), size) != k)
			return ckpt_fail(EBADMSG, "a chunk of \"%s\" has other dimensions", t->fqn);
		for (int i = 0; i < k; i++)
			if (size[i] > t->size[i] || at[i] > t->size[i] - size[i])
				return ckpt_fail(EBADMSG, "a chunk of \"%s\" lies outside it", t->fqn);
		c->place = s->places > 0 ? bsearch(&key, s->place, s->places, sizeof key, by_place) : NULL;
		key.ndim = 0;
		if (c->place == NULL && n == 1 && s->places > 0)
			c->place = bsearch(&key, s->place, s->places, sizeof key, by_place);
		if (c->place == NULL)
			return ckpt_fail(EBADMSG, "a chunk of \"%s\" lies nowhere", t->fqn);
		c->at = runs_alloc(a, t->ndim, sizeof *c->at);
		c->size = runs_alloc(a, t->ndim, sizeof *c->size);
		if (c->at == NULL || c->size == NULL)
			return -ENOMEM;
		memcpy(c->at, at, t->ndim * sizeof *at);
		memcpy(c->size, size, t->ndim * sizeof *size);
	}
	return 0;
}

int shards_open(const struct torch_file *f, struct runs_arena *a, struct shards *out)
{
	const struct torch_object *o = torch_file_object(f);
	uint32_t root = pickle_root(torch_file_graph(f));
	uint32_t state = torch_lookup(o, root, "state_dict_metadata"),
		 storage = torch_lookup(o, root, "storage_data");
	uint32_t planner = torch_lookup(o, root, "planner_data");
	struct torch_iter it;
	struct torch_item item;
	size_t cap = 0;
	int rc;

	*out = (struct shards){ 0 };
	if (state == PICKLE_NIL || storage == PICKLE_NIL || torch_kind_of(o, state) != TORCH_IS_DICT ||
			torch_kind_of(o, storage) != TORCH_IS_DICT)
		return ckpt_fail(EINVAL, "no metadata of a distributed checkpoint");
	if (planner != PICKLE_NIL && torch_kind_of(o, planner) != TORCH_IS_DICT)
		planner = PICKLE_NIL;
	rc = places(a, o, storage, out);
	torch_iter_init(o, state, &it);
	while (rc == 0 && torch_iter_next(&it, &item)) {
		uint32_t properties = torch_lookup(o, item.value, "properties");
		struct shard_tensor *t;
		uint64_t size[TORCH_DIMS_MAX];
		int dtype, n;

		if (item.relation != TORCH_KEY || properties == PICKLE_NIL || out->tensors >= TENSORS_MAX)
			continue;
		dtype = dtype_of(o, properties);
		n = dims(o, torch_lookup(o, item.value, "size"), size);
		if (dtype < 0 || n < 0 || torch_dtype_info((enum torch_dtype)dtype)->packed) {
			rc = ckpt_fail(ENOTSUP, "a tensor of a distributed checkpoint is of no kind that is "
						"known here");
			break;
		}
		rc = runs_grow(&out->tensor, out->tensors, &cap, sizeof *t);
		if (rc < 0)
			break;
		t = &out->tensor[out->tensors++];
		memset(t, 0, sizeof *t);
		t->dtype = (uint8_t)dtype;
		t->ndim = (uint32_t)n;
		t->size = runs_alloc(a, t->ndim, sizeof *t->size);
		t->stride = runs_alloc(a, t->ndim, sizeof *t->stride);
		if (t->size == NULL || t->stride == NULL) {
			rc = -ENOMEM;
			break;
		}
		memcpy(t->size, size, t->ndim * sizeof *size);
		t->count = 1;
		for (uint32_t i = t->ndim; i-- > 0;) {
			t->stride[i] = t->count;
			if (__builtin_mul_overflow(t->count, t->size[i], &t->count))
				rc = ckpt_fail(EBADMSG, "a tensor's size overflows");
		}
		if (rc == 0 && __builtin_mul_overflow(t->count,
					       torch_dtype_info((enum torch_dtype)dtype)->width, &t->bytes))
			rc = ckpt_fail(EBADMSG, "a tensor's size overflows");
		if (rc == 0)
			rc = names(a, o, planner, item.key, t);
		if (rc == 0)
			rc = chunks(a, o, torch_lookup(o, item.value, "chunks"), out, t);
	}
	if (rc < 0)
		shards_release(out);
	return rc;
}

void shards_release(struct shards *s)
{
	free(s->tensor);
	free(s->place);
	free(s->file);
	*s = (struct shards){ 0 };
}
