/*
 * view_part.c: a part of a torch file as a torch zip of its own.
 *
 * The part is written out as a pickle of protocol 2 (pickle_write.h).  The storages that it mentions are
 * numbered as they are first met in that pickle and follow one another in that order, as torch.save writes
 * them, so that readers that reckon offsets instead of asking the directory find them, too:
 *
 *   archive/data.pkl  .format_version  .storage_alignment  byteorder  data/0 data/1 ..  version
 *   .data/serialization_id
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "bridge_view.h"
#include "codec/ckpt_error.h"
#include "codec/pickle_write.h"
#include "codec/torch_edit.h"
#include "view_internal.h"

#define NAME "archive/"

struct part {
	const struct torch_object *o;
	uint32_t *key;   /* of each storage of the file: its new number, or PICKLE_NIL */
	uint32_t *order; /* storages by their new numbers */
	uint32_t count;
};

static int meet(void *arg, uint32_t node)
{
	struct part *p = arg;
	const struct torch_mention *m;

	if (pickle_kind_of(torch_graph(p->o), node) != PICKLE_PERSID)
		return 0;
	m = torch_mention_of(p->o, node);
	if (m == NULL || p->key[m->storage] != PICKLE_NIL)
		return 0;
	p->key[m->storage] = p->count;
	p->order[p->count++] = m->storage;
	return 0;
}

static int write_pickle(const struct torch_file *f, const struct part *p, const uint32_t *refs, size_t n,
		bool dict, struct byte_buf *out)
{
	const struct pickle *g = torch_file_graph(f);
	struct pickle_edits *e;
	int rc = pickle_edits_new(g, &e);

	if (rc < 0)
		return rc;
	rc = torch_edit_keys(p->o, p->key, e);
	if (rc == 0 && torch_file_container(f) == TORCH_LEGACY)
		rc = torch_edit_ids(p->o, e);
	if (rc == 0)
		rc = dict ? pickle_write_dict(g, refs, n / 2, e, out) : pickle_write(g, refs[0], e, out);
	pickle_edits_free(e);
	return rc;
}

static int put_text(struct view_zip *z, const char *name, const char *text)
{
	return view_zip_bytes(z, name, strlen(name), text, strlen(text));
}

static int put_storage(struct view_zip *z, const struct torch_file *f, uint32_t storage, uint32_t number,
		codec_read_at read, void *arg)
{
	const struct torch_storage *s = torch_storage_at(torch_file_object(f), storage);
	const struct zip_entry *e = torch_file_storage_entry(f, storage);
	char name[32];
	uint64_t off;
	int n = snprintf(name, sizeof name, NAME "data/%u", number);
	int rc = torch_file_storage(f, storage, read, arg, &off);

	if (rc == 0)
		rc = view_zip_begin(z, name, (size_t)n, s->bytes);
	if (rc == 0)
		rc = bridge_layout_range(z->layout, 0, off, s->bytes);
	return rc < 0 ? rc : view_zip_end(z, e != NULL ? e->crc : 0);
}

/*
 * torch hashes names and checksums into 40 digits; nobody reads them, but two contents should not have the
 * same.
 */
static void serialization_id(const struct byte_buf *pickle, const struct zip_writer *w, char out[41])
{
	uint64_t a = XXH3_64bits(pickle->p, pickle->len), b = XXH3_64bits(w->directory.p, w->directory.len);

	snprintf(out, 41, "%020llu%020llu", (unsigned long long)a, (unsigned long long)b);
}

static int write_zip(const struct torch_file *f, const struct part *p, const struct byte_buf *pickle,
		codec_read_at read, void *arg, struct bridge_layout *l)
{
	struct view_zip z;
	char id[41];
	int rc;

	view_zip_init(&z, l, 0);
	rc = view_zip_bytes(&z, NAME "data.pkl", sizeof NAME "data.pkl" - 1, pickle->p, pickle->len);
	if (rc == 0)
		rc = put_text(&z, NAME ".format_version", "1");
	if (rc == 0)
		rc = put_text(&z, NAME ".storage_alignment", "64");
	if (rc == 0)
		rc = put_text(&z, NAME "byteorder", "little");
	for (uint32_t i = 0; rc == 0 && i < p->count; i++)
		rc = put_storage(&z, f, p->order[i], i, read, arg);
	if (rc == 0)
		rc = put_text(&z, NAME "version", "3\n");
	serialization_id(pickle, &z.w, id);
	if (rc == 0)
		rc = put_text(&z, NAME ".data/serialization_id", id);
	if (rc == 0)
		rc = view_zip_finish(&z);
	view_zip_release(&z);
	return rc;
}

/* refs: one value, or pairs of a new dict. */
static int make(const struct torch_file *f, const uint32_t *refs, size_t n, bool dict, codec_read_at read,
		void *arg, struct bridge_layout **out)
{
	struct part p = { .o = torch_file_object(f) };
	uint32_t storages = torch_storages(p.o);
	struct byte_buf pickle = { 0 };
	struct bridge_layout *l = NULL;
	int rc;

	p.key = malloc(((size_t)storages + 1) * sizeof *p.key);
	p.order = malloc(((size_t)storages + 1) * sizeof *p.order);
	if (p.key == NULL || p.order == NULL) {
		rc = ckpt_fail(ENOMEM, "out of memory for %u storages", storages);
		goto out;
	}
	for (uint32_t i = 0; i < storages; i++)
		p.key[i] = PICKLE_NIL;
	rc = pickle_reach(torch_file_graph(f), refs, n, meet, &p);
	if (rc == 0)
		rc = write_pickle(f, &p, refs, n, dict, &pickle);
	if (rc == 0)
		rc = bridge_layout_new(&l);
	if (rc == 0)
		rc = write_zip(f, &p, &pickle, read, arg, l);
out:
	free(p.key);
	free(p.order);
	byte_buf_release(&pickle);
	if (rc < 0) {
		bridge_layout_free(l);
		return rc;
	}
	*out = l;
	return 0;
}

int bridge_view_part(const struct torch_file *f, uint32_t ref, codec_read_at read, void *arg,
		struct bridge_layout **out)
{
	return make(f, &ref, 1, false, read, arg, out);
}

int bridge_view_parts(const struct torch_file *f, const uint32_t *pairs, size_t n, codec_read_at read,
		void *arg, struct bridge_layout **out)
{
	return make(f, pairs, 2 * n, true, read, arg, out);
}
