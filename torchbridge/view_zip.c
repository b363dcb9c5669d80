/*
 * view_zip.c: torch zips with records of other lengths.
 *
 * Every record behind one that changed its length lies elsewhere, so all local headers are written anew, by
 * the formulas that torch's reader computes offsets by (zip_write.h); the data between them are ranges of the
 * file. The checksum of what is converted when it is read is not known before, and is 0: torch does not ask,
 * and writes 0 itself where its user has turned checksums off.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "codec/read_window.h"
#include "view_internal.h"

void view_zip_init(struct view_zip *z, struct bridge_layout *l, uint64_t align)
{
	*z = (struct view_zip){ .layout = l };
	zip_writer_init(&z->w, 0, align);
}

void view_zip_release(struct view_zip *z)
{
	zip_writer_release(&z->w);
	byte_buf_release(&z->tmp);
}

/* What the writer has written goes into the layout. */
static int flush(struct view_zip *z, int rc)
{
	if (rc == 0)
		rc = bridge_layout_bytes(z->layout, z->tmp.p, z->tmp.len);
	z->tmp.len = 0;
	return rc;
}

int view_zip_begin(struct view_zip *z, const char *name, size_t name_len, uint64_t size)
{
	uint64_t data;

	return flush(z, zip_write_header(&z->w, name, name_len, size, &z->tmp, &data));
}

int view_zip_end(struct view_zip *z, uint32_t crc)
{
	return flush(z, zip_write_descriptor(&z->w, crc, &z->tmp));
}

int view_zip_bytes(struct view_zip *z, const char *name, size_t name_len, const void *p, size_t len)
{
	int rc = view_zip_begin(z, name, name_len, len);

	if (rc == 0)
		rc = bridge_layout_bytes(z->layout, p, len);
	return rc < 0 ? rc : view_zip_end(z, zip_crc(0, p, len));
}

int view_zip_copy(struct view_zip *z, const struct zip *from, const struct zip_entry *e, codec_read_at read,
		void *arg)
{
	uint64_t off, data;
	int rc = zip_data(from, e, read, arg, &off);

	if (rc == 0)
		rc = flush(z, zip_write_header_as(&z->w, e->name, e->name_len, e->method, e->size,
					      e->raw_size, &z->tmp, &data));
	if (rc == 0)
		rc = bridge_layout_range(z->layout, 0, off, e->size);
	return rc < 0 ? rc : view_zip_end(z, e->crc);
}

int view_zip_finish(struct view_zip *z)
{
	int rc = zip_write_end(&z->w, &z->tmp); /* which takes the directory over: it may be long */

	return rc < 0 ? rc : bridge_layout_take(z->layout, &z->tmp);
}

/* What .storage_alignment says, or 64. */
static int alignment(const struct torch_file *f, codec_read_at read, void *arg, uint64_t *out)
{
	const struct zip_entry *e = torch_file_record(f, ".storage_alignment");
	char text[8] = "";
	uint64_t off, n = 0;
	int rc;

	*out = 64;
	if (e == NULL || e->method != ZIP_STORED || e->size == 0 || e->size >= sizeof text)
		return 0;
	rc = zip_data(torch_file_zip(f), e, read, arg, &off);
	if (rc == 0)
		rc = zip_read_full(read, arg, off, text, (size_t)e->size);
	if (rc < 0)
		return rc;
	for (const char *c = text; *c != '\0'; c++) {
		if (*c < '0' || *c > '9')
			return 0;
		n = n * 10 + (uint64_t)(*c - '0');
	}
	if (n > 0)
		*out = n;
	return 0;
}

/* A storage in its new dtype. */
static int put_storage(struct view_zip *z, const struct torch_file *f, uint32_t number, enum torch_dtype to,
		codec_read_at read, void *arg)
{
	const struct torch_storage *s = torch_storage_at(torch_file_object(f), number);
	const struct zip_entry *e = torch_file_storage_entry(f, number);
	uint64_t off;
	int rc = torch_file_storage(f, number, read, arg, &off);

	if (rc == 0)
		rc = view_zip_begin(z, e->name, e->name_len, s->count * torch_dtype_info(to)->width);
	if (rc == 0)
		rc = bridge_layout_convert(z->layout, 0, off, s->count, s->dtype, to);
	return rc < 0 ? rc : view_zip_end(z, 0);
}

/* The new bytes of a record, or NULL. */
static struct byte_buf *change_of(const struct zip_change *changes, size_t n, const struct zip_entry *e)
{
	for (size_t i = 0; i < n; i++)
		if (changes[i].entry == e)
			return changes[i].bytes;
	return NULL;
}

/* The same record with other bytes, whose memory the layout takes over. */
static int put_change(struct view_zip *z, const struct zip_entry *e, struct byte_buf *bytes)
{
	uint32_t crc = zip_crc(0, bytes->p, bytes->len);
	int rc = view_zip_begin(z, e->name, e->name_len, bytes->len);

	if (rc == 0)
		rc = bridge_layout_take(z->layout, bytes);
	return rc < 0 ? rc : view_zip_end(z, crc);
}

int view_zip_converted(const struct torch_file *f, const uint8_t *to, const struct zip_change *changes,
		size_t n, codec_read_at read, void *arg, struct bridge_layout *l)
{
	const struct torch_object *o = torch_file_object(f);
	const struct zip *from = torch_file_zip(f);
	size_t entries = zip_count(from);
	uint32_t *storage = malloc(entries * sizeof *storage); /* of each entry */
	struct read_window *w = NULL;
	struct view_zip z;
	uint64_t align, directory;
	int rc;

	if (storage == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a zip of %zu entries", entries);
	for (size_t i = 0; i < entries; i++)
		storage[i] = PICKLE_NIL;
	for (uint32_t i = 0; i < torch_storages(o); i++)
		storage[torch_file_storage_entry(f, i) - zip_at(from, 0)] = i;
	rc = alignment(f, read, arg, &align);
	view_zip_init(&z, l, rc == 0 ? align : 0);
	zip_directory(from, &directory);
	if (rc == 0)
		rc = byte_buf_reserve(&z.w.directory, (size_t)directory);
	if (rc == 0)
		rc = bridge_layout_reserve(l, 2 * entries);
	if (rc == 0)
		rc = read_window_new(read, arg, &w);
	for (size_t i = 0; rc == 0 && i < entries; i++) {
		const struct zip_entry *e = zip_at(from, i);
		struct byte_buf *now = change_of(changes, n, e);
		uint32_t s = storage[i];

		if (now != NULL)
			rc = put_change(&z, e, now);
		else if (s != PICKLE_NIL && to[s] != torch_storage_at(o, s)->dtype)
			rc = put_storage(&z, f, s, (enum torch_dtype)to[s], read_window_read, w);
		else
			rc = view_zip_copy(&z, from, e, read_window_read, w);
	}
	if (rc == 0)
		rc = view_zip_finish(&z);
	free(w);
	view_zip_release(&z);
	free(storage);
	return rc;
}

struct place {
	uint64_t off;
	uint32_t storage;
};

static int by_offset(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->off < y->off ? -1 : x->off > y->off;
}

int view_legacy_converted(const struct torch_file *f, const uint8_t *to, const struct byte_buf *pickle,
		codec_read_at read, void *arg, struct bridge_layout *l)
{
	const struct torch_object *o = torch_file_object(f);
	uint32_t n = torch_storages(o);
	struct place *place = malloc(((size_t)n + 1) * sizeof *place);
	uint64_t len, at = torch_file_pickle(f, &len), done = at + len;
	int rc = 0;

	if (place == NULL)
		return ckpt_fail(ENOMEM, "out of memory for %u storages", n);
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		place[i].storage = i;
		rc = torch_file_storage(f, i, read, arg, &place[i].off);
	}
	if (rc == 0) {
		qsort(place, n, sizeof *place, by_offset);
		rc = bridge_layout_range(l, 0, 0, at);
	}
	if (rc == 0)
		rc = bridge_layout_bytes(l, pickle->p, pickle->len);
	/* Between the storages lie their counts of elements, which stay. */
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		const struct torch_storage *s = torch_storage_at(o, place[i].storage);

		rc = bridge_layout_range(l, 0, done, place[i].off - done);
		if (rc == 0)
			rc = bridge_layout_convert(l, 0, place[i].off, s->count, s->dtype,
					(enum torch_dtype)to[place[i].storage]);
		done = place[i].off + s->bytes;
	}
	if (rc == 0)
		rc = bridge_layout_range(l, 0, done, torch_file_size(f) - done);
	free(place);
	return rc;
}
