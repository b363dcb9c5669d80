/*
 * runs_dict.c: a state dict written from a list of tensors, where there is no pickle that holds it.
 *
 * The zip is one as torch.save writes: archive/data.pkl, byteorder, data/0 .., version.  The pickle is
 * protocol 2 in the opcodes that torch's weights_only reader knows (torch/_weights_only_unpickler.py): an
 * OrderedDict of calls of _rebuild_tensor_v2, or _v3 for dtypes whose storages have no class of their own.
 */
#include "runs_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "codec/zip_write.h"

/* Memo numbers. */
enum { MEMO_DICT_CLASS, MEMO_V2, MEMO_V3, MEMO_UNTYPED, MEMO_STORAGE, MEMO_FIRST_DTYPE };

struct words {
	struct byte_buf *out;
	bool known[MEMO_FIRST_DTYPE + 2 * TORCH_DTYPES];
	int rc;
};

static void raw(struct words *w, const void *p, size_t len)
{
	if (w->rc == 0)
		w->rc = byte_buf_put(w->out, p, len);
}

static void integer(struct words *w, uint64_t v)
{
	uint8_t op[11];
	size_t n = v < 256 ? 1 : v < 65536 ? 2 : v <= INT32_MAX ? 4 : v <= INT64_MAX ? 8 : 9;

	op[0] = n == 1 ? 'K' : n == 2 ? 'M' : 'J';
	if (n > 4) {
		op[0] = 0x8a;
		op[1] = (uint8_t)n;
	}
	for (size_t i = 0; i < n; i++)
		op[(n > 4 ? 2 : 1) + i] = (uint8_t)(i < 8 ? v >> 8 * i : 0);
	raw(w, op, n + (n > 4 ? 2 : 1));
}

static void text(struct words *w, const char *p, size_t len)
{
	raw(w, "X", 1);
	if (w->rc == 0 && len > UINT32_MAX)
		w->rc = ckpt_fail(EFBIG, "a key of %zu bytes", len);
	if (w->rc == 0)
		w->rc = byte_buf_le(w->out, len, 4);
	raw(w, p, len);
}

/* A value that is written once and fetched ever after: true when it is to be written now. */
static bool first(struct words *w, unsigned memo)
{
	uint8_t get[2] = { 'h', (uint8_t)memo };

	if (!w->known[memo])
		return true;
	raw(w, get, 2);
	return false;
}

static void keep(struct words *w, unsigned memo)
{
	uint8_t put[2] = { 'q', (uint8_t)memo };

	raw(w, put, 2);
	w->known[memo] = true;
}

static void global(struct words *w, unsigned memo, const char *module, const char *name)
{
	if (!first(w, memo))
		return;
	raw(w, "c", 1);
	raw(w, module, strlen(module));
	raw(w, "\n", 1);
	raw(w, name, strlen(name));
	raw(w, "\n", 1);
	keep(w, memo);
}

static void tuple(struct words *w, const uint64_t *v, size_t n)
{
	raw(w, "(", 1);
	for (size_t i = 0; i < n; i++)
		integer(w, v[i]);
	raw(w, "t", 1);
}

static void tensor(struct words *w, const struct runs_tensor *t, const struct runs_storage *s)
{
	const struct torch_dtype_info *info = torch_dtype_info((enum torch_dtype)t->dtype);
	bool typed = info->storage != NULL;
	char number[12];

	text(w, t->key, t->key_len);
	global(w, typed ? MEMO_V2 : MEMO_V3, "torch._utils",
			typed ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3");
	raw(w, "((", 2);
	if (first(w, MEMO_STORAGE)) {
		text(w, "storage", 7);
		keep(w, MEMO_STORAGE);
	}
	if (typed)
		global(w, MEMO_FIRST_DTYPE + t->dtype, "torch", info->storage);
	else
		global(w, MEMO_UNTYPED, "torch.storage", "UntypedStorage");
	text(w, number, (size_t)snprintf(number, sizeof number, "%u", t->storage));
	text(w, s->location, s->location_len);
	integer(w, typed ? s->bytes / info->width : s->bytes);
	raw(w, "tQ", 2);
	integer(w, t->offset);
	tuple(w, t->size, t->ndim);
	tuple(w, t->stride, t->ndim);
	raw(w, "\x89", 1);
	global(w, MEMO_DICT_CLASS, "collections", "OrderedDict");
	raw(w, ")R", 2);
	if (!typed)
		global(w, MEMO_FIRST_DTYPE + TORCH_DTYPES + t->dtype, "torch", info->name);
	raw(w, "tR", 2);
}

static int pickle(const struct runs_tensor *t, size_t tensors, const struct runs_storage *s,
		struct byte_buf *out)
{
	struct words w = { .out = out };

	raw(&w, "\x80\2", 2);
	global(&w, MEMO_DICT_CLASS, "collections", "OrderedDict");
	raw(&w, ")R(", 3);
	for (size_t i = 0; i < tensors && w.rc == 0; i++)
		tensor(&w, &t[i], &s[t[i].storage]);
	raw(&w, "u.", 2);
	return w.rc;
}

/* Moves what was generated so far into the layout. */
static int flush(struct bridge_layout *l, struct byte_buf *b)
{
	int rc = bridge_layout_bytes(l, b->p, b->len);

	b->len = 0;
	return rc;
}

static int record(struct zip_writer *w, const char *name, const void *p, size_t len, struct byte_buf *b)
{
	uint64_t data;
	int rc = zip_write_header(w, name, strlen(name), len, b, &data);

	if (rc == 0)
		rc = byte_buf_put(b, p, len);
	return rc < 0 ? rc : zip_write_descriptor(w, zip_crc(0, p, len), b);
}

static int storage(struct zip_writer *w, size_t number, const struct runs_storage *s, struct byte_buf *b,
		struct bridge_layout *l)
{
	char name[40];
	uint64_t data;
	int rc;

	snprintf(name, sizeof name, "archive/data/%zu", number);
	rc = zip_write_header(w, name, strlen(name), s->bytes, b, &data);
	if (rc == 0)
		rc = flush(l, b);
	for (size_t i = 0; i < s->pieces && rc == 0; i++)
		rc = bridge_layout_range(l, s->piece[i].source, s->piece[i].off, s->piece[i].len);
	return rc < 0 ? rc : zip_write_descriptor(w, 0, b);
}

int runs_dict_layout(const struct runs_tensor *t, size_t tensors, const struct runs_storage *s,
		size_t storages, struct bridge_layout **out)
{
	struct byte_buf b = { 0 }, object = { 0 };
	struct bridge_layout *l;
	struct zip_writer w;
	int rc = bridge_layout_new(&l);

	if (rc < 0)
		return rc;
	zip_writer_init(&w, 0, 0);
	rc = pickle(t, tensors, s, &object);
	if (rc == 0)
		rc = record(&w, "archive/data.pkl", object.p, object.len, &b);
	if (rc == 0)
		rc = record(&w, "archive/byteorder", "little", 6, &b);
	for (size_t i = 0; i < storages && rc == 0; i++)
		rc = storage(&w, i, &s[i], &b, l);
	if (rc == 0)
		rc = record(&w, "archive/version", "3\n", 2, &b);
	if (rc == 0)
		rc = zip_write_end(&w, &b);
	if (rc == 0)
		rc = flush(l, &b);
	zip_writer_release(&w);
	byte_buf_release(&b);
	byte_buf_release(&object);
	if (rc < 0)
		bridge_layout_free(l);
	else
		*out = l;
	return rc;
}
