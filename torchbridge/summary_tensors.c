/*
 * summary_tensors.c: the table of tensors in @summary, its headings and sums.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "summary_internal.h"

/* How a tensor's elements are called in the column of dtypes. */
static void dtype_text(const struct view_facts *f, char out[48])
{
	const char *mark = strcmp(f->kind, "ndarray") == 0   ? "numpy "
			   : strcmp(f->kind, "storage") == 0 ? "storage "
							     : "";
	const char *layout = strncmp(f->kind, "sparse_", 7) == 0 ? f->kind + 7
			     : strcmp(f->kind, "sparse") == 0 || strcmp(f->kind, "nested") == 0 ||
							     strcmp(f->kind, "wrapper") == 0
					     ? f->kind
					     : "";

	snprintf(out, 48, "%s%s%s%s", mark, f->dtype, *layout != '\0' ? " " : "", layout);
}

static int shape_text(const struct view_facts *f, struct byte_buf *out)
{
	int rc = 0;

	out->len = 0;
	if (f->ndim == 0)
		return byte_buf_text(out, strcmp(f->kind, "nested") == 0 ? "ragged" : "scalar");
	for (uint32_t i = 0; rc == 0 && i < f->ndim; i++)
		rc = byte_buf_format(out, i > 0 ? " x %llu" : "%llu", (unsigned long long)f->size[i]);
	return rc;
}

/* Of a row's path how much is said by the heading that it stands under. */
size_t summary_above(const struct view_row *row)
{
	return row->numbered ? row->group_len : row->parent_len;
}

/* The part of the path behind the heading. */
void summary_name(const struct view_row *row, const uint8_t **p, size_t *len)
{
	size_t skip = summary_above(row);

	if (skip > 0 && skip < row->path_len && row->path[skip] == '.')
		skip++;
	*p = row->path + skip;
	*len = row->path_len - skip;
}

/* Begins a line, under a new heading where the container is another one than before. */
int summary_begin(struct summary *s, const struct view_row *row, const char *mark)
{
	size_t len = summary_above(row);
	bool same = s->in_group && s->group.len == len && memcmp(s->group.p, row->path, len) == 0;
	int rc = 0;

	if (s->out->len - s->start > OUTPUT_MAX)
		return ckpt_fail(EFBIG, "its summary takes more than %zu bytes", OUTPUT_MAX);
	if (len > 0 && !same) {
		rc = byte_buf_text(s->out, "  ");
		if (rc == 0 && s->color)
			rc = byte_buf_text(s->out, "\x1b[36m");
		if (rc == 0)
			rc = view_fitted(row->path, len, LINE - 2, VIEW_CUT_MIDDLE, s->out);
		if (rc == 0)
			rc = byte_buf_text(s->out, s->color ? "\x1b[0m\n" : "\n");
		s->group.len = 0;
		if (rc == 0)
			rc = byte_buf_put(&s->group, row->path, len);
	}
	s->in_group = len > 0;
	return rc < 0 ? rc : byte_buf_text(s->out, len > 0 ? mark : mark + 2);
}

/*
 * ---- tensors
 * ----------------------------------------------------------------------------------------------------
 */

static void add_sum(struct sum *list, const char *name, const struct view_facts *f)
{
	size_t i = 0;

	while (i + 1 < SUMS && list[i].name[0] != '\0' && strcmp(list[i].name, name) != 0)
		i++;
	if (list[i].name[0] == '\0')
		snprintf(list[i].name, sizeof list[i].name, "%s", i + 1 < SUMS ? name : "others");
	list[i].tensors++;
	list[i].elements += f->count;
	list[i].bytes += f->bytes;
}

bool summary_is_tensor(const struct view_row *row)
{
	return row->kind <= ROW_NPY;
}

/* The first pass. */
static int measure(void *arg, const struct view_row *row)
{
	struct summary *s = arg;
	struct view_facts f;
	char dtype[48];
	int rc;

	if (!summary_is_tensor(row))
		return 0;
	view_facts(row, &f);
	dtype_text(&f, dtype);
	rc = shape_text(&f, &s->text);
	summary_widen(&s->dtype, strlen(dtype), 48);
	summary_widen(&s->shape, s->text.len, SHAPE_MOST);
	summary_widen(&s->device, strlen(f.device), DEVICE_MOST);
	if (row->first != PICKLE_NIL && row->o != NULL)
		return rc;
	add_sum(s->by_dtype, f.dtype, &f);
	add_sum(s->by_device, f.device[0] != '\0' ? f.device : "-", &f);
	s->all.tensors++;
	s->all.elements += f.count;
	s->all.bytes += f.bytes;
	return rc;
}

/* Whether its bytes are those of a tensor before it. */
static int is_shared(struct summary *s, const struct view_row *row, const struct view_facts *f, bool *out)
{
	uint32_t user = PICKLE_NIL;
	int rc = row->o != NULL ? view_users_find(&s->users, row, f->storage, &user) : 0;

	*out = user != PICKLE_NIL || (row->o != NULL && row->first != PICKLE_NIL);
	return rc;
}

static int print_tensor(void *arg, const struct view_row *row)
{
	struct summary *s = arg;
	struct view_facts f;
	char dtype[48], size[VIEW_NUMBER_MAX];
	const uint8_t *name;
	size_t len;
	bool shared;
	int rc;

	if (!summary_is_tensor(row))
		return 0;
	view_facts(row, &f);
	rc = is_shared(s, row, &f, &shared);
	s->shared += shared;
	if (rc == 0)
		rc = summary_begin(s, row, shared ? "  = " : "    ");
	summary_name(row, &name, &len);
	if (rc == 0)
		rc = view_cell(name, len, s->name + (s->in_group ? 0 : 2), false, VIEW_CUT_MIDDLE, s->out);
	dtype_text(&f, dtype);
	if (rc == 0)
		rc = byte_buf_format(s->out, "  %-*s  ", (int)s->dtype, dtype);
	if (rc == 0)
		rc = shape_text(&f, &s->text);
	if (rc == 0)
		rc = view_cell(s->text.p, s->text.len, s->shape, false, VIEW_CUT_MIDDLE, s->out);
	if (rc == 0)
		rc = byte_buf_text(s->out, "  ");
	if (rc == 0)
		rc = view_cell(f.device, strlen(f.device), s->device, false, VIEW_CUT_MIDDLE, s->out);
	return rc < 0 ? rc : byte_buf_format(s->out, " %*s\n", SIZE_COLUMN, view_size_text(f.bytes, size));
}

static int print_sums(struct summary *s, const struct sum *list, const char *before)
{
	char elements[VIEW_NUMBER_MAX], tensors[VIEW_NUMBER_MAX], size[VIEW_NUMBER_MAX];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < SUMS && list[i].name[0] != '\0'; i++)
		rc = byte_buf_format(s->out, "  %s%-*s %12s tensor%s %18s element%s %*s\n", before,
				(int)(18 - strlen(before)), list[i].name,
				view_count_text(list[i].tensors, tensors), list[i].tensors == 1 ? " " : "s",
				view_count_text(list[i].elements, elements),
				list[i].elements == 1 ? " " : "s", SIZE_COLUMN,
				view_size_text(list[i].bytes, size));
	return rc;
}

int summary_heading(struct summary *s, const char *text)
{
	int rc = byte_buf_text(s->out, "\n");

	s->in_group = false;
	return rc < 0 ? rc : view_colored(s->color, VIEW_BOLD, text, s->out);
}

/* Widths of the columns: four spaces, the name, and three columns with what is between them. */
static void place_columns(struct summary *s)
{
	size_t rest = 4 + 2 + s->dtype + 2 + s->shape + 2 + s->device + 1 + SIZE_COLUMN, over;

	if (rest > LINE - NAME_MIN) {
		over = rest - (LINE - NAME_MIN);
		over = s->shape > over + SHAPE_MIN ? over : s->shape - SHAPE_MIN;
		s->shape -= over;
		rest -= over;
	}
	s->name = rest < LINE - 8 ? LINE - rest : 8;
}

int summary_tensors(struct summary *s, const struct bridge_doc *d)
{
	char tensors[VIEW_NUMBER_MAX], elements[VIEW_NUMBER_MAX], size[VIEW_NUMBER_MAX];
	int rc = view_rows(d, measure, s);

	if (rc == 0)
		rc = summary_heading(s, "TENSORS");
	place_columns(s);
	if (rc == 0)
		rc = byte_buf_format(s->out, "  %s, of %s elements, %s\n",
				view_count_text(s->all.tensors, tensors),
				view_count_text(s->all.elements, elements),
				view_size_text(s->all.bytes, size));
	if (rc < 0 || s->all.tensors == 0)
		return rc;
	rc = view_rows(d, print_tensor, s);
	if (rc == 0 && s->shared > 0)
		rc = byte_buf_text(s->out, "  = stands on the bytes of a tensor above it\n");
	if (rc == 0)
		rc = byte_buf_text(s->out, "\n");
	if (rc == 0)
		rc = print_sums(s, s->by_dtype, "");
	return rc < 0 ? rc : print_sums(s, s->by_device, "on ");
}
