/*
 * runs_stats.c: statistics of the tensors of a model, for the report.
 */
#include "runs_report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "codec/codec_hash.h"
#include "runs_torch.h"

enum { BUFFER = 256 << 10, LEAST = 4096 };

struct source {
	uint64_t off;
	bool dense;
};

struct making {
	struct runs_stats *s;
	struct source *from;
	struct runs_reader *r;
};

static int add(struct making *m, const char *name, size_t len, int dtype, uint64_t count, uint64_t bytes,
		uint32_t ndim, const uint64_t *size, struct source from)
{
	struct runs_row *row;

	m->s->tensors++;
	m->s->numbers += count;
	m->s->bytes += bytes;
	if (m->s->rows == RUNS_ROWS_MAX)
		return 0;
	row = &m->s->row[m->s->rows];
	m->from[m->s->rows] = from;
	row->name = runs_text(&m->s->arena, name, len);
	row->dtype = (uint8_t)dtype;
	row->ndim = (uint8_t)ndim;
	row->bytes = bytes;
	memcpy(row->size, size, (ndim < RUNS_ROW_DIMS ? ndim : RUNS_ROW_DIMS) * sizeof *size);
	m->s->rows++;
	return row->name == NULL ? -ENOMEM : 0;
}

static int of_torch(struct making *m, const struct torch_file *f, const struct runs_fact *fact)
{
	const struct torch_object *o = torch_file_object(f);
	uint32_t ref = pickle_root(torch_file_graph(f));
	struct runs_arena a = { 0 };
	struct runs_named *x = NULL;
	size_t n = 0;
	int rc;

	for (size_t i = 0; i < fact->parts; i++)
		if (fact->part[i].component == RUNS_MODEL && fact->part[i].refs == 1 &&
				fact->part[i].ref[0] < pickle_count(torch_file_graph(f)))
			ref = fact->part[i].ref[0];
	rc = runs_model_tensors(f, ref, &a, &x, &n);
	for (size_t i = 0; i < n && rc == 0; i++) {
		const struct torch_tensor *t = torch_tensor_of(o, x[i].ref);
		uint64_t off = 0, len = 0,
			 bytes = t->count * torch_dtype_info((enum torch_dtype)t->dtype)->width;
		bool dense = t->kind == TORCH_STRIDED && t->count > 0 && torch_contiguous(o, t) &&
			     m->s->rows < RUNS_ROWS_MAX &&
			     torch_file_tensor(f, t, runs_read, m->r, &off, &len) == 0 && len == bytes;

		if (t->kind > TORCH_META) /* sparse and the like: their parts are no numbers of their own here */
			bytes = 0;
		rc = add(m, x[i].key, x[i].len, t->dtype, t->count, bytes, t->ndim, torch_size(o, t),
				(struct source){ off, dense });
	}
	free(x);
	runs_arena_release(&a);
	return rc;
}

static int of_safetensors(struct making *m, const struct safetensors *st)
{
	int rc = 0;

	for (size_t i = 0; i < safetensors_count(st) && rc == 0; i++) {
		const struct safetensors_entry *e = safetensors_at(st, i);
		uint64_t count = 1;
		int dtype = TORCH_UNTYPED;

		for (int k = 0; k < TORCH_UNTYPED; k++)
			if (torch_dtype_info((enum torch_dtype)k)->safetensors != NULL &&
					strcmp(torch_dtype_info((enum torch_dtype)k)->safetensors,
							e->dtype) == 0)
				dtype = k;
		for (uint32_t k = 0; k < e->ndim; k++)
			count *= safetensors_size(st, e)[k]; /* the header was checked */
		rc = add(m, e->name, e->name_len, dtype, count, e->len, e->ndim, safetensors_size(st, e),
				(struct source){ e->off, e->len > 0 });
	}
	return rc;
}

static int measure(struct making *m)
{
	uint64_t total = 0;
	uint8_t *buf = malloc(BUFFER);
	int rc = 0;

	if (buf == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a buffer");
	for (size_t i = 0; i < m->s->rows; i++)
		total += m->s->row[i].bytes;
	for (size_t i = 0; i < m->s->rows && rc == 0; i++) {
		struct runs_row *row = &m->s->row[i];
		uint64_t width = torch_dtype_info((enum torch_dtype)row->dtype)->width, share = row->bytes;

		bridge_stats_init(&row->stats);
		row->known = m->from[i].dense && bridge_math_knows((enum torch_dtype)row->dtype);
		if (!row->known)
			continue;
		if (total > BRIDGE_REPORT_READ)
			share = (uint64_t)((double)row->bytes / (double)total *
						(BRIDGE_REPORT_READ - (double)LEAST * RUNS_ROWS_MAX)) +
				LEAST;
		share = share > row->bytes ? row->bytes : share;
		share -= share % width;
		while (row->read < share && rc == 0) {
			size_t n = share - row->read < BUFFER ? (size_t)(share - row->read) : BUFFER;

			if (zip_read_full(runs_read, m->r, m->from[i].off + row->read, buf, n) < 0)
				break;
			rc = bridge_stats_add(&row->stats, (enum torch_dtype)row->dtype, buf, n / width);
			row->read += n;
		}
		bridge_stats_done(&row->stats);
		row->known = row->read > 0;
	}
	free(buf);
	return rc;
}

/*
 * ---- remembered
 * ------------------------------------------------------------------------------------------------------
 */

/*
 * "RS1", the row structs as they are but for the name's pointer, the names: read back by this build of the
 * program only.
 */
struct head {
	char magic[4];
	uint32_t row_size;
	uint64_t rows, tensors, numbers, bytes;
};

static void remember(const struct bridge_runs *r, const struct runs_file *f, const char *key,
		const struct runs_stats *s)
{
	struct head h = { "RS1", sizeof(struct runs_row), s->rows, s->tensors, s->numbers, s->bytes };
	struct byte_buf b = { 0 };
	int rc = byte_buf_put(&b, &h, sizeof h);

	for (size_t i = 0; i < s->rows && rc == 0; i++) {
		struct runs_row row;

		memcpy(&row, &s->row[i], sizeof row);
		row.name = NULL;
		rc = byte_buf_put(&b, &row, sizeof row);
	}
	for (size_t i = 0; i < s->rows && rc == 0; i++)
		rc = byte_buf_put(&b, s->row[i].name, strlen(s->row[i].name) + 1);
	if (rc == 0)
		r->files.remember(r->files.arg, f->path, key, b.p, b.len);
	byte_buf_release(&b);
}

static bool recall(
		const struct bridge_runs *r, const struct runs_file *f, const char *key, struct runs_stats *s)
{
	const char *name, *end;
	struct head h;
	uint8_t *p;
	size_t len;
	bool good = false;

	if (r->files.recall(r->files.arg, f->path, key, &p, &len) < 0)
		return false;
	if (len < sizeof h)
		goto done;
	memcpy(&h, p, sizeof h);
	if (memcmp(h.magic, "RS1", 4) != 0 || h.row_size != sizeof(struct runs_row) ||
			h.rows > RUNS_ROWS_MAX || len - sizeof h < h.rows * sizeof(struct runs_row))
		goto done;
	memcpy(s->row, p + sizeof h, h.rows * sizeof(struct runs_row));
	name = (const char *)p + sizeof h + h.rows * sizeof(struct runs_row);
	end = (const char *)p + len;
	for (s->rows = 0; s->rows < h.rows; s->rows++) {
		struct runs_row *row = &s->row[s->rows];
		size_t n = strnlen(name, (size_t)(end - name));

		if (name + n >= end || row->ndim > TORCH_DIMS_MAX || row->dtype > TORCH_UNTYPED)
			goto done;
		row->name = runs_text(&s->arena, name, n);
		if (row->name == NULL)
			goto done;
		name += n + 1;
	}
	s->tensors = h.tensors;
	s->numbers = h.numbers;
	s->bytes = h.bytes;
	good = true;
done:
	if (!good)
		s->rows = 0;
	free(p);
	return good;
}

int runs_stats_of(const struct bridge_runs *r, const struct runs_file *f, struct runs_stats *out)
{
	struct source from[RUNS_ROWS_MAX];
	struct runs_reader reader = { &r->files, f->path };
	struct making m = { out, from, &reader };
	const struct bridge_doc *d;
	char key[32];
	int rc;

	*out = (struct runs_stats){ .rows = 0 };
	out->row = runs_alloc(&out->arena, RUNS_ROWS_MAX, sizeof *out->row);
	if (out->row == NULL)
		return -ENOMEM;
	snprintf(key, sizeof key, "runs.%d.stats", BRIDGE_FACTS);
	if (recall(r, f, key, out))
		return 0;
	rc = r->files.doc(r->files.arg, f->path, &d);
	if (rc < 0)
		return rc == -ENOMEM ? rc : 0;
	if (bridge_doc_torch(d) != NULL)
		rc = of_torch(&m, bridge_doc_torch(d), f->fact);
	else if (bridge_doc_safetensors(d) != NULL)
		rc = of_safetensors(&m, bridge_doc_safetensors(d));
	r->files.put(r->files.arg, d);
	if (rc == 0)
		rc = measure(&m);
	if (rc == 0)
		remember(r, f, key, out);
	else if (rc != -ENOMEM) /* no page fails for want of statistics */
		rc = (out->rows = 0);
	if (rc < 0)
		runs_stats_release(out);
	return rc;
}

void runs_stats_release(struct runs_stats *s)
{
	runs_arena_release(&s->arena);
	s->rows = 0;
}
