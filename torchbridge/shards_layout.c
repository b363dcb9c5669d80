/*
 * shards_layout.c: the tensors of a distributed checkpoint as one state dict, their bytes where the shards
 * have them.
 */
#include "runs_shards.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"

enum { PIECES_MAX = 1 << 20 };

/* The files that are open while a layout is made. */
struct source {
	char *path;
	const struct bridge_doc *doc;
};

struct layout {
	const struct bridge_files *files;
	struct source *source; /* of shards.file */
	struct runs_piece *piece;
	size_t pieces, piece_cap;
};

/* Where the elements of the tensor in an item begin: the item is a torch file of that one tensor. */
static int data_of(struct layout *l, uint32_t source, const struct shard_chunk *c, int dtype, uint64_t bytes,
		uint64_t *out)
{
	struct source *s = &l->source[source];
	struct runs_reader r = { l->files, s->path };
	const struct bridge_member *m = NULL;
	const struct torch_object *o;
	const struct torch_tensor *t;
	uint64_t off, len;
	size_t lo = 0, hi;
	int rc;

	if (s->doc == NULL) {
		rc = l->files->doc(l->files->arg, s->path, &s->doc);
		if (rc < 0)
			return ckpt_context(rc, "\"%s\"", s->path);
	}
	if (bridge_doc_torch(s->doc) != NULL && c->place->off == 0) { /* a file of one item */
		struct bridge_member one = { .off = 0,
			.torch = (struct torch_file *)(uintptr_t)bridge_doc_torch(s->doc) };

		o = torch_file_object(one.torch);
		t = torch_tensor_of(o, pickle_root(torch_file_graph(one.torch)));
		if (t == NULL || t->dtype != dtype || !torch_contiguous(o, t))
			return ckpt_fail(EBADMSG, "\"%s\" holds another tensor than .metadata says", s->path);
		rc = torch_file_tensor(one.torch, t, runs_read, &r, &off, &len);
		if (rc == 0 && len != bytes)
			rc = ckpt_fail(EBADMSG, "\"%s\" holds another tensor than .metadata says", s->path);
		*out = off;
		return rc;
	}
	hi = bridge_doc_members(s->doc);
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		m = bridge_doc_member(s->doc, mid);
		if (m->off < c->place->off)
			lo = mid + 1;
		else
			hi = mid;
	}
	m = lo < bridge_doc_members(s->doc) ? bridge_doc_member(s->doc, lo) : NULL;
	if (m == NULL || m->off != c->place->off || m->torch == NULL)
		return ckpt_fail(EBADMSG, "\"%s\" has no item where .metadata says", s->path);
	o = torch_file_object(m->torch);
	t = torch_tensor_of(o, pickle_root(torch_file_graph(m->torch)));
	if (t == NULL || t->dtype != dtype || !torch_contiguous(o, t))
		return ckpt_fail(EBADMSG, "\"%s\" holds another tensor than .metadata says", s->path);
	/* Offsets inside an item count from its beginning. */
	struct shard_window w = { &r, m->off };

	rc = torch_file_tensor(m->torch, t, shard_window_read, &w, &off, &len);
	if (rc == 0 && len != bytes)
		rc = ckpt_fail(EBADMSG, "\"%s\" holds another tensor than .metadata says", s->path);
	*out = m->off + off;
	return rc;
}

int64_t shard_window_read(void *arg, uint64_t off, void *buf, size_t len)
{
	const struct shard_window *w = arg;

	return runs_read(w->reader, w->off + off, buf, len);
}

static int piece(struct layout *l, uint32_t source, uint64_t off, uint64_t len)
{
	int rc;

	if (l->pieces == PIECES_MAX)
		return ckpt_fail(ENOTSUP, "tensors are cut into more than %d pieces", PIECES_MAX);
	rc = runs_grow(&l->piece, l->pieces, &l->piece_cap, sizeof *l->piece);
	if (rc == 0)
		l->piece[l->pieces++] = (struct runs_piece){ source, off, len };
	return rc;
}

static int by_offset(const void *a, const void *b)
{
	const struct shard_chunk *x = a, *y = b;

	return x->at[0] < y->at[0] ? -1 : x->at[0] > y->at[0];
}

/* Whether the chunks are slices along the first dimension, one behind the other, and all there is. */
static bool slices(struct shard_tensor *t)
{
	uint64_t next = 0;

	if (t->ndim == 0 || t->count == 0)
		return t->chunks == 1 || t->count == 0;
	qsort(t->chunk, t->chunks, sizeof *t->chunk, by_offset);
	for (size_t i = 0; i < t->chunks; i++) {
		const struct shard_chunk *c = &t->chunk[i];

		if (c->size[0] == 0)
			continue;
		if (c->at[0] != next)
			return false;
		for (uint32_t k = 1; k < t->ndim; k++)
			if (c->at[k] != 0 || c->size[k] != t->size[k])
				return false;
		next += c->size[0];
	}
	return next == t->size[0];
}

static uint64_t chunk_bytes(const struct shard_tensor *t, const struct shard_chunk *c)
{
	uint64_t n = torch_dtype_info((enum torch_dtype)t->dtype)->width;

	for (uint32_t i = 0; i < t->ndim; i++)
		n *= c->size[i]; /* no more than the tensor's, which was checked */
	return n;
}

/*
 * Chunks of any form: the runs of elements that lie together both in the tensor and in a chunk, in the
 * tensor's order.
 */
struct run {
	uint64_t at, off, len; /* at: in the tensor */
	uint32_t source;
};

static int by_run(const void *a, const void *b)
{
	const struct run *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

static int cut_run(const struct shard_tensor *t, const struct shard_chunk *c, uint32_t source, uint64_t data,
		struct run **run, size_t *n, size_t *cap)
{
	uint64_t width = torch_dtype_info((enum torch_dtype)t->dtype)->width, index[TORCH_DIMS_MAX] = { 0 };
	uint32_t inner = t->ndim; /* dimensions from here on lie together */
	uint64_t len = width, done = 0, all = chunk_bytes(t, c);

	while (inner > 0) {
		inner--;
		len *= c->size[inner];
		if (c->size[inner] != t->size[inner])
			break;
	}
	while (done < all) {
		uint64_t at = 0;
		int rc;

		if (*n == PIECES_MAX)
			return ckpt_fail(ENOTSUP, "tensors are cut into more than %d pieces", PIECES_MAX);
		for (uint32_t i = 0; i < t->ndim; i++)
			at += (c->at[i] + index[i]) * t->stride[i] * width;
		rc = runs_grow(run, *n, cap, sizeof **run);
		if (rc < 0)
			return rc;
		(*run)[(*n)++] = (struct run){ at, data + done, len, source };
		done += len;
		for (uint32_t i = inner; i-- > 0;) {
			if (++index[i] < c->size[i])
				break;
			index[i] = 0;
		}
	}
	return 0;
}

static int put_together(
		struct layout *l, const struct shard_tensor *t, const uint32_t *source, const uint64_t *data)
{
	struct run *run = NULL;
	size_t n = 0, cap = 0;
	uint64_t next = 0;
	int rc = 0;

	for (size_t i = 0; i < t->chunks && rc == 0; i++)
		rc = cut_run(t, &t->chunk[i], source[i], data[i], &run, &n, &cap);
	if (rc == 0 && n > 0)
		qsort(run, n, sizeof *run, by_run);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (run[i].at != next)
			rc = ckpt_fail(EBADMSG, "the chunks of \"%s\" overlap or leave gaps", t->fqn);
		else
			rc = piece(l, run[i].source, run[i].off, run[i].len);
		next += run[i].len;
	}
	if (rc == 0 && next != t->bytes)
		rc = ckpt_fail(EBADMSG, "the chunks of \"%s\" are not all of it", t->fqn);
	free(run);
	return rc;
}

static int tensor(struct layout *l, struct shard_tensor *t, bool real)
{
	uint32_t *source;
	uint64_t *data;
	bool plain = slices(t);
	int rc = 0;

	if (!real)
		return piece(l, 0, 0, t->bytes);
	source = calloc(t->chunks + 1, sizeof *source);
	data = calloc(t->chunks + 1, sizeof *data);
	if (source == NULL || data == NULL)
		rc = ckpt_fail(ENOMEM, "out of memory for a tensor's chunks");
	for (size_t i = 0; i < t->chunks && rc == 0; i++) {
		uint64_t bytes = chunk_bytes(t, &t->chunk[i]);

		source[i] = t->chunk[i].place->file;
		if (bytes > 0)
			rc = data_of(l, source[i], &t->chunk[i], t->dtype, bytes, &data[i]);
		if (rc == 0 && plain && bytes > 0)
			rc = piece(l, source[i], data[i], bytes);
	}
	if (rc == 0 && !plain)
		rc = put_together(l, t, source, data);
	free(source);
	free(data);
	return rc;
}

static bool belongs(const struct shard_tensor *t, const char *head)
{
	return strcmp(t->head, head) == 0;
}

int shards_layout(struct shards *s, const char *head, const struct bridge_files *files, const char *dir,
		struct bridge_layout **out)
{
	struct runs_arena a = { 0 };
	struct layout l = { .files = files, .source = runs_alloc(&a, s->files, sizeof *l.source) };
	struct runs_tensor *t = runs_alloc(&a, s->tensors, sizeof *t);
	struct runs_storage *store = runs_alloc(&a, s->tensors, sizeof *store);
	size_t *from = runs_alloc(&a, s->tensors, sizeof *from), n = 0;
	int rc = t == NULL || store == NULL || from == NULL || l.source == NULL ? -ENOMEM : 0;

	for (size_t i = 0; i < s->files && rc == 0 && dir != NULL; i++) {
		l.source[i].path = runs_join(&a, dir, s->file[i].name);
		rc = l.source[i].path == NULL ? -ENOMEM : 0;
	}
	for (size_t i = 0; i < s->tensors && rc == 0; i++) {
		struct shard_tensor *x = &s->tensor[i];

		if (!belongs(x, head))
			continue;
		from[n] = l.pieces;
		rc = tensor(&l, x, dir != NULL);
		t[n] = (struct runs_tensor){ .key = x->key,
			.key_len = strlen(x->key),
			.dtype = x->dtype,
			.ndim = (uint8_t)x->ndim,
			.size = x->size,
			.stride = x->stride,
			.storage = (uint32_t)n };
		store[n] = (struct runs_storage){
			.location = "cpu", .location_len = 3, .bytes = x->bytes, .pieces = l.pieces - from[n]
		};
		n++;
	}
	for (size_t i = 0; i < n; i++)
		store[i].piece = l.piece + from[i];
	if (rc == 0)
		rc = runs_dict_layout(t, n, store, n, out);
	for (size_t i = 0; l.source != NULL && i < s->files; i++)
		if (l.source[i].doc != NULL)
			files->put(files->arg, l.source[i].doc);
	free(l.piece);
	runs_arena_release(&a);
	return rc;
}

/*
 * ---- as a fact
 * -------------------------------------------------------------------------------------------------------
 */

int runs_facts_shards(struct runs_making *m, const struct torch_file *f, struct runs_reader *r)
{
	struct shards s;
	int rc = shards_open(f, m->arena, &s);

	(void)r;
	m->fact.kind = RUNS_IS_SHARDS;
	m->fact.framework = RUNS_DCP;
	if (rc < 0)
		return rc == -ENOTSUP || rc == -EINVAL ? 0 : rc;
	rc = 0;
	for (size_t i = 0; i < s.files && rc == 0; i++)
		rc = runs_add_need(m, s.file[i].name, strlen(s.file[i].name), s.file[i].size);
	for (size_t i = 0; i < s.tensors && rc == 0; i++) {
		const char *head = s.tensor[i].head;
		int c = head[0] == 0 ? RUNS_MODEL : runs_key_component(head, strlen(head));
		struct bridge_layout *l;
		char name[32];
		struct runs_part p = { .how = RUNS_SHARDS, .from = head, .name = name };
		bool seen = false;

		c = c < 0 ? RUNS_OTHER : c;
		for (size_t k = 0; k < m->fact.parts; k++)
			seen |= m->fact.part[k].component == c;
		if (seen)
			continue;
		rc = shards_layout(&s, head, NULL, NULL, &l);
		if (rc < 0)
			break;
		p.component = (uint8_t)c;
		p.size = bridge_layout_size(l);
		bridge_layout_free(l);
		snprintf(name, sizeof name, "%s.pt", runs_component_name((enum runs_component)c));
		rc = runs_add_part(m, &p);
	}
	shards_release(&s);
	return rc;
}
