/*
 * diff_pair.c: see diff_pair.h.
 */
#include "diff_pair.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "format.h"
#include "torchbridge/bridge_compare.h"
#include "torchbridge/name_escape.h"

enum { PIECE = 1 << 20, CELL = 40 };

struct told {
	struct cli *c;
	struct table *table; /* for people */
	json_t *changes;     /* for programs */
	uint64_t equal, differ;
};

/* ---- bytes ---- */

/* The same bytes: 1, 0, -errno. */
static int same_bytes(struct checkpoint *a, struct checkpoint *b)
{
	uint64_t size = (uint64_t)a->st.st_size;
	uint8_t *buf;
	int64_t n = 1, m = 1;
	int rc = 1;

	if (a->st.st_size != b->st.st_size)
		return 0;
	buf = malloc(2 * (size_t)PIECE);
	if (buf == NULL)
		return ckpt_fail(ENOMEM, "diff: out of memory");
	for (uint64_t off = 0; rc == 1 && n > 0; off += (uint64_t)n) {
		n = off < size ? checkpoint_same(a, off, b, off, size - off) : 0;
		if (n > 0)
			continue;
		n = n < 0 ? n : checkpoint_read(a, off, buf, PIECE);
		m = n < 0 ? 0 : checkpoint_read(b, off, buf + PIECE, PIECE);
		if (n < 0 || m < 0)
			rc = (int)(n < 0 ? n : m);
		else if (n != m || memcmp(buf, buf + PIECE, (size_t)n) != 0)
			rc = 0;
	}
	free(buf);
	return rc;
}

/* ---- for people ---- */

/* Text of a file's as a cell: nothing in it steers a terminal, and long values are cut. */
static int cell(struct table *t, const char *mark, const char *text, size_t most)
{
	struct byte_buf b = { 0 };
	int rc = byte_buf_text(&b, mark);

	rc = rc ? rc : name_visible(text, strlen(text), &b);
	if (rc == 0 && most > 0 && b.len > most) {
		b.len = most;
		/* Not in the middle of a character. */
		while (b.len > 0 && (b.p[b.len] & 0xc0) == 0x80)
			b.len--;
		rc = byte_buf_text(&b, "...");
	}
	rc = rc ? rc : byte_buf_put(&b, "", 1);
	rc = rc ? rc : table_cell(t, (const char *)b.p);
	byte_buf_release(&b);
	return rc;
}

static int what_cell(struct table *t, const struct bridge_difference *d)
{
	struct byte_buf b = { 0 };
	int rc;

	switch (d->change) {
	case BRIDGE_ONLY_A:
		rc = byte_buf_format(&b, "%s, only in the first", d->a);
		break;
	case BRIDGE_ONLY_B:
		rc = byte_buf_format(&b, "%s, only in the second", d->b);
		break;
	case BRIDGE_UNKNOWN:
		rc = byte_buf_format(&b, "%s, not compared", d->a);
		break;
	default:
		rc = strcmp(d->a, d->b) == 0 ? byte_buf_text(&b, d->a)
					     : byte_buf_format(&b, "%.*s -> %.*s", CELL, d->a, CELL, d->b);
	}
	rc = rc ? rc : byte_buf_put(&b, "", 1);
	rc = rc ? rc : cell(t, "", (const char *)b.p, d->distance != NULL ? CELL : 0);
	byte_buf_release(&b);
	return rc;
}

static int number_cell(struct table *t, double v)
{
	char b[FORMAT_LEN];

	snprintf(b, sizeof(b), "%.3g", v);
	return table_cell(t, b);
}

static int distance_cells(struct table *t, const struct bridge_distance *d)
{
	char b[FORMAT_LEN];
	int rc;

	if (d == NULL || d->unequal == 0) {
		rc = table_cell(t, d == NULL ? "" : "bits only");
		for (int i = 0; i < 3 && rc == 0; i++)
			rc = table_cell(t, "");
		return rc;
	}
	/* One of a million is not none of them. */
	if (d->unequal * 1000 < d->count)
		snprintf(b, sizeof(b), "%llu of %llu", (unsigned long long)d->unequal,
				(unsigned long long)d->count);
	else
		snprintf(b, sizeof(b), "%.1f %%", 100.0 * (double)d->unequal / (double)d->count);
	rc = table_cell(t, b);
	rc = rc ? rc : number_cell(t, d->max_abs);
	rc = rc ? rc : number_cell(t, d->max_rel);
	snprintf(b, sizeof(b), "%.6f", d->cosine);
	return rc ? rc : table_cell(t, b);
}

static int add_row(struct table *t, const struct bridge_difference *d)
{
	static const char *const mark[] = { "  ", "~ ", "- ", "+ ", "! ", "? " };
	int rc = cell(t, mark[d->change], d->path[0] != '\0' ? d->path : "(the object)", 0);

	rc = rc ? rc : what_cell(t, d);
	return rc ? rc : distance_cells(t, d->distance);
}

/* ---- for programs ---- */

/* JSON has no infinity and no NaN. */
static json_t *real(double v)
{
	return isfinite(v) ? json_real(v) : json_null();
}

static json_t *row_json(const struct bridge_difference *d)
{
	static const char *const word[] = { "equal", "differs", "only_a", "only_b", "other_shape",
		"not_compared" };
	const struct bridge_distance *x = d->distance;
	json_t *o = json_object();
	int bad = format_json_text(o, "path", d->path, strlen(d->path));

	bad |= json_object_set_new(o, "change", json_string(word[d->change]));
	if (d->a != NULL)
		bad |= format_json_text(o, "a", d->a, strlen(d->a));
	if (d->b != NULL)
		bad |= format_json_text(o, "b", d->b, strlen(d->b));
	if (x != NULL)
		bad |= json_object_set_new(o, "distance",
				json_pack("{s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "count",
						(json_int_t)x->count, "unequal", (json_int_t)x->unequal,
						"nans", (json_int_t)x->nans, "max_abs", real(x->max_abs),
						"max_rel", real(x->max_rel), "cosine", real(x->cosine), "rms",
						real(x->rms)));
	if (bad) {
		json_decref(o);
		return NULL;
	}
	return o;
}

/* ---- both ---- */

static int tell(void *arg, const struct bridge_difference *d)
{
	struct told *t = arg;

	if (cli_stopped(t->c))
		return ckpt_fail(ECANCELED, "cancelled");
	if (d->change == BRIDGE_EQUAL) {
		t->equal++;
		return 0;
	}
	t->differ++;
	if (t->changes == NULL)
		return add_row(t->table, d);
	return json_array_append_new(t->changes, row_json(d)) != 0 ? ckpt_fail(ENOMEM, "diff: out of memory")
								   : 0;
}

static void print_title(struct cli *c, const struct diff_pair *p)
{
	if (p->title == NULL)
		return;
	fputs(c->colour ? "\033[1m" : "", c->out);
	format_name(c->out, p->title, strlen(p->title), c->out_tty);
	fputs(c->colour ? "\033[0m\n" : "\n", c->out);
}

static int tell_tensors(struct cli *c, struct diff_pair *p, json_t **out)
{
	static const char *const words[] = { "path", "what", "changed", "max abs", "max rel", "cosine" };
	const struct bridge_side a = {
		.doc = p->a.doc, .read = checkpoint_read, .arg = &p->a, .same = checkpoint_same
	};
	const struct bridge_side b = { .doc = p->b.doc, .read = checkpoint_read, .arg = &p->b };
	struct told t = { .c = c, .table = table_new("llrrrr"), .changes = p->json ? json_array() : NULL };
	int rc = t.table == NULL || (p->json && t.changes == NULL) ? ckpt_fail(ENOMEM, "diff: out of memory")
								   : 0;

	for (int i = 0; i < 6 && rc == 0; i++)
		rc = table_cell(t.table, words[i]);
	rc = rc ? rc : bridge_compare(&a, &b, tell, &t);
	if (rc == 0 && t.differ > 0) {
		if (p->json) {
			*out = json_pack("{s:I, s:I, s:O}", "equal", (json_int_t)t.equal, "different",
					(json_int_t)t.differ, "changes", t.changes);
			rc = *out == NULL ? ckpt_fail(ENOMEM, "diff: out of memory") : 0;
		} else {
			print_title(c, p);
			table_print(t.table, c->out, true, c->colour);
			fprintf(c->out, "%llu of %llu differ\n", (unsigned long long)t.differ,
					(unsigned long long)t.differ + t.equal);
		}
	}
	table_free(t.table);
	json_decref(t.changes);
	return rc ? rc : t.differ > 0;
}

static int tell_bytes(struct cli *c, const struct diff_pair *p, json_t **out)
{
	char x[FORMAT_LEN], y[FORMAT_LEN];

	if (p->json) {
		*out = json_pack("{s:s, s:I, s:I}", "change", "bytes", "size_a", (json_int_t)p->a.st.st_size,
				"size_b", (json_int_t)p->b.st.st_size);
		return *out == NULL ? ckpt_fail(ENOMEM, "diff: out of memory") : 1;
	}
	print_title(c, p);
	fprintf(c->out, "bytes differ: %s, %s\n", format_bytes((uint64_t)p->a.st.st_size, x),
			format_bytes((uint64_t)p->b.st.st_size, y));
	return 1;
}

/* Whether both are understood: 1; 0 when one is no checkpoint. */
static int understand_both(struct diff_pair *p)
{
	int rc = checkpoint_understand(&p->a);

	rc = rc ? rc : checkpoint_understand(&p->b);
	return rc == 0 ? 1 : rc == -EINVAL ? 0 : rc;
}

int diff_pair(struct cli *c, struct diff_pair *p, json_t **out)
{
	int rc = same_bytes(&p->a, &p->b);

	*out = NULL;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	rc = understand_both(p);
	if (rc < 0)
		return rc;
	return rc == 1 ? tell_tensors(c, p, out) : tell_bytes(c, p, out);
}
