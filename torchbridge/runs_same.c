/*
 * runs_same.c: whether two files hold equal models.
 *
 * Asked only where a file is called best and others have tensors of the same names and shapes.  A model has
 * a digest of its bytes in the order of its tensors, remembered with its file: of all of them up to
 * READ_MAX; of larger ones of pieces of 4 KiB, evenly spread, and of each tensor's beginning and end:
 * training changes all of a tensor or none of it.
 */
#include "runs_torch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "codec/codec_hash.h"

#define READ_MAX (UINT64_C(64) << 20)

enum { PIECE = 4096, BUFFER = 256 << 10, RANGES_MAX = 1 << 20 };

struct range {
	uint64_t off, len;
};

struct ranges {
	struct range *at;
	size_t n, cap;
	uint64_t total;
};

static int add(struct ranges *s, uint64_t off, uint64_t len)
{
	int rc;

	if (len == 0)
		return 0;
	if (s->n == RANGES_MAX)
		return ckpt_fail(EFBIG, "a model of more than %d tensors", RANGES_MAX);
	rc = runs_grow(&s->at, s->n, &s->cap, sizeof *s->at);
	if (rc < 0)
		return rc;
	s->at[s->n++] = (struct range){ off, len };
	s->total += len;
	return 0;
}

/* The value that is the model, by the file's fact. */
static uint32_t model_of(const struct torch_file *f, const struct runs_fact *fact)
{
	for (size_t i = 0; i < fact->parts; i++) {
		const struct runs_part *p = &fact->part[i];

		if (p->component == RUNS_MODEL && (p->how == RUNS_PART || p->how == RUNS_MODULE) &&
				p->refs == 1 && p->ref[0] < pickle_count(torch_file_graph(f)))
			return p->ref[0];
	}
	return pickle_root(torch_file_graph(f));
}

static int of_torch(struct ranges *s, const struct torch_file *f, const struct runs_fact *fact,
		struct runs_reader *r)
{
	const struct torch_object *o = torch_file_object(f);
	struct runs_arena a = { 0 };
	struct runs_named *x = NULL;
	size_t n = 0;
	int rc = runs_model_tensors(f, model_of(f, fact), &a, &x, &n);

	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct torch_tensor *t = torch_tensor_of(o, x[i].ref);
		uint64_t off, len;

		if (t->kind != TORCH_STRIDED) {
			rc = ckpt_fail(ENOTSUP, "\"%s\" has bytes of another kind", x[i].key);
			break;
		}
		if (t->count == 0)
			continue;
		rc = torch_file_tensor(f, t, runs_read, r, &off, &len);
		if (rc == 0)
			rc = add(s, off, len);
	}
	free(x);
	runs_arena_release(&a);
	return rc;
}

static int of_document(struct ranges *s, const struct bridge_doc *d, const struct runs_fact *fact,
		struct runs_reader *r)
{
	const struct safetensors *st = bridge_doc_safetensors(d);
	int rc = 0;

	if (bridge_doc_torch(d) != NULL)
		return of_torch(s, bridge_doc_torch(d), fact, r);
	if (st == NULL)
		return ckpt_fail(ENOTSUP, "\"%s\" holds no model that can be compared", r->path);
	for (size_t i = 0; i < safetensors_count(st) && rc == 0; i++)
		rc = add(s, safetensors_at(st, i)->off, safetensors_at(st, i)->len);
	return rc;
}

static int hash_range(uint64_t *hash, struct runs_reader *r, uint64_t off, uint64_t len, uint8_t *buf)
{
	while (len > 0) {
		size_t n = len < BUFFER ? (size_t)len : BUFFER;
		int rc = zip_read_full(runs_read, r, off, buf, n);

		if (rc < 0)
			return rc;
		*hash = *hash * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)codec_check(buf, n);
		off += n;
		len -= n;
	}
	return 0;
}

static int digest(const struct ranges *s, struct runs_reader *r, uint64_t *out)
{
	uint64_t hash = s->total, step = s->total > READ_MAX ? s->total / (READ_MAX / PIECE) : 0;
	uint8_t *buf = malloc(BUFFER);
	int rc = 0;

	if (buf == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a buffer");
	for (size_t i = 0; i < s->n && rc == 0; i++) {
		const struct range *x = &s->at[i];

		if (step == 0 || x->len <= 2 * PIECE) {
			rc = hash_range(&hash, r, x->off, x->len, buf);
			continue;
		}
		for (uint64_t at = 0; at < x->len - PIECE && rc == 0; at += step > PIECE ? step : PIECE)
			rc = hash_range(&hash, r, x->off + at, PIECE, buf);
		if (rc == 0)
			rc = hash_range(&hash, r, x->off + x->len - PIECE, PIECE, buf);
	}
	free(buf);
	*out = hash;
	return rc;
}

/* 1 and the digest; 0: it has none (sparse tensors, a file that went away). */
static int digest_of(struct bridge_runs *r, const struct runs_file *f, uint64_t *out)
{
	struct runs_reader reader = { &r->files, f->path };
	const struct bridge_doc *d;
	struct ranges s = { 0 };
	uint8_t *p, bytes[8];
	char key[48];
	size_t len;
	int rc;

	snprintf(key, sizeof key, "runs.%d.digest.%s", BRIDGE_FACTS,
			runs_component_name((enum runs_component)f->said->component));
	if (r->files.recall(r->files.arg, f->path, key, &p, &len) == 0) {
		bool good = len == 8;

		if (good)
			*out = byte_le64(p);
		free(p);
		if (good)
			return 1;
	}
	rc = r->files.doc(r->files.arg, f->path, &d);
	if (rc == 0) {
		rc = of_document(&s, d, f->fact, &reader);
		r->files.put(r->files.arg, d);
	}
	if (rc == 0 && s.n > 0)
		rc = digest(&s, &reader, out);
	else if (rc == 0)
		rc = -ENOTSUP;
	free(s.at);
	if (rc < 0)
		return rc == -ENOMEM ? rc : 0;
	for (size_t i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(*out >> 8 * i);
	r->files.remember(r->files.arg, f->path, key, bytes, sizeof bytes);
	return 1;
}

int runs_same_model(struct bridge_runs *r, const struct runs_file *a, const struct runs_file *b)
{
	uint64_t x, y;
	int rc = digest_of(r, a, &x);

	if (rc == 1)
		rc = digest_of(r, b, &y);
	return rc == 1 ? x == y : rc;
}
