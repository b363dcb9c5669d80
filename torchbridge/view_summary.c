/*
 * view_summary.c: a checkpoint as a table for people, 80 columns wide.
 *
 *   heading      file, size; framework, container; epoch and step
 *   TENSORS      a table, in the order of the object, under the paths of their containers; containers with a number for a
 *                name (an optimizer's states) stand under the one that they are in; then sums by dtype and by device
 *   VALUES       what else the object holds
 *   GLOBALS      what loading it would import, and what of it torch would refuse
 *
 * The document is gone through twice for the tensors (widths of columns and sums come first) and once for the values, so
 * memory is the text itself.
 */
#include "bridge_view.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "view_about.h"
#include "view_facts.h"
#include "view_globals.h"
#include "view_lines.h"
#include "view_scalar.h"

enum {
	LINE = 80,
	NAME_MIN = 20,
	SHAPE_MIN = 5,
	SHAPE_MAX = 20,
	DEVICE_MAX = 10,
	SIZE_WIDTH = 9,
	VALUE_NAME_MAX = 36,
	SUMS = 40,
	ITEMS_MAX = 64, /* of a list that are looked at: more never fit a line */
};
#define VALUES_BYTES ((size_t)16 << 20)
#define OUTPUT_MAX ((size_t)512 << 20)

/* Tensors of one dtype, or on one device. */
struct sum {
	char name[VIEW_DEVICE_MAX];
	uint64_t tensors, elements, bytes;
};

struct summary {
	struct byte_buf *out;
	size_t start;
	int color;
	size_t name, dtype, shape, device; /* widths */
	struct sum by_dtype[SUMS], by_device[SUMS];
	struct sum all;
	uint64_t shared, values, omitted;
	size_t values_start;
	struct view_users users;
	struct byte_buf group; /* the path that rows stand under now */
	bool in_group;
	struct byte_buf text;
};

/* ---- rows ------------------------------------------------------------------------------------------------------ */

/* How a tensor's elements are called in the column of dtypes. */
static void dtype_text(const struct view_facts *f, char out[48])
{
	const char *mark = strcmp(f->kind, "ndarray") == 0 ? "numpy "
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
static size_t heading_len(const struct view_row *row)
{
	return row->numbered ? row->group_len : row->parent_len;
}

/* The part of the path behind the heading. */
static void short_name(const struct view_row *row, const uint8_t **p, size_t *len)
{
	size_t skip = heading_len(row);

	if (skip > 0 && skip < row->path_len && row->path[skip] == '.')
		skip++;
	*p = row->path + skip;
	*len = row->path_len - skip;
}

/* Begins a line, under a new heading where the container is another one than before. */
static int begin_row(struct summary *s, const struct view_row *row, const char *mark)
{
	size_t len = heading_len(row);
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

/* ---- tensors --------------------------------------------------------------------------------------------------- */

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

static void widen(size_t *width, size_t len, size_t most)
{
	if (len > *width)
		*width = len < most ? len : most;
}

static bool is_tensor(const struct view_row *row)
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

	if (!is_tensor(row)) {
		s->values++;
		return 0;
	}
	view_facts(row, &f);
	dtype_text(&f, dtype);
	rc = shape_text(&f, &s->text);
	widen(&s->dtype, strlen(dtype), 48);
	widen(&s->shape, s->text.len, SHAPE_MAX);
	widen(&s->device, strlen(f.device), DEVICE_MAX);
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

	if (!is_tensor(row))
		return 0;
	view_facts(row, &f);
	rc = is_shared(s, row, &f, &shared);
	s->shared += shared;
	if (rc == 0)
		rc = begin_row(s, row, shared ? "  = " : "    ");
	short_name(row, &name, &len);
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
	return rc < 0 ? rc : byte_buf_format(s->out, " %*s\n", SIZE_WIDTH, view_size_text(f.bytes, size));
}

static int print_sums(struct summary *s, const struct sum *list)
{
	char elements[VIEW_NUMBER_MAX], tensors[VIEW_NUMBER_MAX], size[VIEW_NUMBER_MAX];
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < SUMS && list[i].name[0] != '\0'; i++)
		rc = byte_buf_format(s->out, "  %-18s %12s tensor%s %20s element%s %*s\n", list[i].name,
				view_count_text(list[i].tensors, tensors), list[i].tensors == 1 ? " " : "s",
				view_count_text(list[i].elements, elements), list[i].elements == 1 ? " " : "s", SIZE_WIDTH,
				view_size_text(list[i].bytes, size));
	return rc;
}

static int heading(struct summary *s, const char *text)
{
	int rc = byte_buf_text(s->out, "\n");

	s->in_group = false;
	return rc < 0 ? rc : view_colored(s->color, VIEW_BOLD, text, s->out);
}

static int print_tensors(struct summary *s, const struct bridge_doc *d)
{
	char tensors[VIEW_NUMBER_MAX], size[VIEW_NUMBER_MAX];
	int rc = heading(s, "TENSORS");

	if (rc == 0)
		rc = byte_buf_format(s->out, "  %s, %s\n", view_count_text(s->all.tensors, tensors),
				view_size_text(s->all.bytes, size));
	if (rc < 0 || s->all.tensors == 0)
		return rc;
	rc = view_rows(d, print_tensor, s);
	if (rc == 0 && s->shared > 0)
		rc = byte_buf_text(s->out, "  = stands on the bytes of a tensor above it\n");
	if (rc == 0)
		rc = byte_buf_text(s->out, "\n");
	if (rc == 0)
		rc = print_sums(s, s->by_dtype);
	return rc < 0 ? rc : print_sums(s, s->by_device);
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

static int put_scalar(struct summary *s, const struct torch_object *o, uint32_t ref)
{
	size_t len;
	const char *p;
	int rc;

	if (torch_kind_of(o, ref) != TORCH_IS_STR)
		return view_scalar(o, ref, &s->text);
	p = pickle_text(torch_graph(o), ref, &len);
	rc = byte_buf_put(&s->text, "'", 1);
	if (rc == 0)
		rc = byte_buf_put(&s->text, p, len < LINE * 4 ? len : LINE * 4);
	return rc < 0 || len > LINE * 4 ? rc : byte_buf_put(&s->text, "'", 1);
}

static int put_sequence(struct summary *s, const struct torch_object *o, uint32_t node)
{
	static const char *const pair[] = { [TORCH_IS_LIST] = "[]", [TORCH_IS_TUPLE] = "()", [TORCH_IS_SET] = "{}",
		[TORCH_IS_DICT] = "{}" };
	enum torch_kind kind = torch_kind_of(o, node);
	struct torch_iter it;
	struct torch_item item;
	uint64_t n = 0;
	int rc = byte_buf_put(&s->text, pair[kind], 1);

	torch_iter_init(o, node, &it);
	while (rc == 0 && torch_iter_next(&it, &item)) {
		if (n++ >= ITEMS_MAX || s->text.len > LINE)
			continue;
		if (n > 1)
			rc = byte_buf_text(&s->text, ", ");
		if (rc == 0)
			rc = put_scalar(s, o, item.value);
	}
	if (rc == 0)
		rc = byte_buf_put(&s->text, pair[kind] + 1, 1);
	if (rc < 0 || s->text.len <= LINE / 2 || n < 3)
		return rc;
	/* How many there are is said in front, since the end is cut. */
	s->text.len = s->text.len < LINE * 2 ? s->text.len : LINE * 2;
	rc = byte_buf_reserve(&s->text, 32);
	if (rc == 0) {
		char front[32];
		int len = snprintf(front, sizeof front, "%llu: ", (unsigned long long)n);

		memmove(s->text.p + len, s->text.p, s->text.len);
		memcpy(s->text.p, front, (size_t)len);
		s->text.len += (size_t)len;
	}
	return rc;
}

static int put_class(struct summary *s, const struct view_row *row)
{
	int rc = byte_buf_put(&s->text, "<", 1);

	if (rc == 0)
		rc = view_class(row->o, row->node, &s->text);
	if (rc == 0 && row->kind == ROW_DEEP)
		rc = byte_buf_text(&s->text, ", too deep to be shown");
	return rc < 0 ? rc : byte_buf_put(&s->text, ">", 1);
}

static int put_value(struct summary *s, const struct view_row *row)
{
	struct byte_buf data = { 0 };
	int rc;

	s->text.len = 0;
	switch (row->kind) {
	case ROW_VALUE:
		if (torch_kind_of(row->o, row->node) != TORCH_IS_BYTES)
			return put_scalar(s, row->o, row->node);
		rc = torch_bytes(row->o, row->node, &data);
		if (rc == -EINVAL)
			return put_class(s, row);
		if (rc == 0)
			rc = byte_buf_format(&s->text, "%zu bytes", data.len);
		for (size_t i = 0; rc == 0 && i < data.len && i < 16; i++)
			rc = byte_buf_format(&s->text, i > 0 ? " %02x" : ": %02x", data.p[i]);
		byte_buf_release(&data);
		return rc;
	case ROW_PAIR:
		return byte_buf_put(&s->text, row->pair->value,
				row->pair->value_len < LINE * 4 ? row->pair->value_len : LINE * 4);
	case ROW_SEQUENCE:
		return put_sequence(s, row->o, row->node);
	case ROW_REFERENCE:
		rc = byte_buf_text(&s->text, "is ");
		if (rc == 0 && row->first != PICKLE_NIL)
			rc = view_first_path(row, row->first, &s->text);
		return rc < 0 || s->text.len > 3 ? rc : byte_buf_text(&s->text, "the whole");
	default:
		return put_class(s, row);
	}
}

static int measure_value(void *arg, const struct view_row *row)
{
	struct summary *s = arg;
	const uint8_t *name;
	size_t len;

	if (is_tensor(row))
		return 0;
	short_name(row, &name, &len);
	widen(&s->name, len + (heading_len(row) > 0 ? 4 : 2), VALUE_NAME_MAX);
	return 0;
}

static int print_value(void *arg, const struct view_row *row)
{
	struct summary *s = arg;
	const uint8_t *name;
	size_t len, width;
	int rc;

	if (is_tensor(row))
		return 0;
	if (s->out->len - s->values_start > VALUES_BYTES) {
		s->omitted++;
		return 0;
	}
	rc = begin_row(s, row, "    ");
	short_name(row, &name, &len);
	width = s->name - (s->in_group ? 4 : 2);
	if (rc == 0)
		rc = len > 0 || row->path_len > 0 ? view_cell(name, len, width, false, VIEW_CUT_MIDDLE, s->out)
						  : view_cell("(the value)", 11, width, false, VIEW_CUT_END, s->out);
	if (rc == 0)
		rc = byte_buf_text(s->out, "  ");
	if (rc == 0)
		rc = put_value(s, row);
	if (rc == 0)
		rc = view_fitted(s->text.p, s->text.len, LINE - s->name - 2, VIEW_CUT_END, s->out);
	return rc < 0 ? rc : byte_buf_text(s->out, "\n");
}

static int print_values(struct summary *s, const struct bridge_doc *d)
{
	char count[VIEW_NUMBER_MAX];
	int rc;

	if (s->values == 0)
		return 0;
	rc = heading(s, "VALUES");
	if (rc == 0)
		rc = byte_buf_format(s->out, "  %s\n", view_count_text(s->values, count));
	s->name = 16;
	s->values_start = s->out->len;
	if (rc == 0)
		rc = view_rows(d, measure_value, s);
	if (rc == 0)
		rc = view_rows(d, print_value, s);
	if (rc == 0 && s->omitted > 0)
		rc = byte_buf_format(s->out, "  and %s more\n", view_count_text(s->omitted, count));
	return rc;
}

/* ---- globals --------------------------------------------------------------------------------------------------- */

/* A word of a paragraph, indented by 4. */
static int put_word(struct summary *s, size_t *column, const char *after)
{
	size_t len = s->text.len + strlen(after);
	int rc = 0;

	if (*column + 1 + len > LINE && *column > 4) {
		rc = byte_buf_text(s->out, "\n");
		*column = 0;
	}
	if (rc == 0)
		rc = byte_buf_text(s->out, *column == 0 ? "    " : " ");
	*column = (*column == 0 ? 4 : *column + 1) + len;
	if (rc == 0)
		rc = view_fitted(s->text.p, s->text.len, LINE - 8, VIEW_CUT_MIDDLE, s->out);
	return rc < 0 ? rc : byte_buf_text(s->out, after);
}

/* One pass over the globals, for those of one trust. */
static int print_trust(struct summary *s, const struct pickle *g, enum view_trust trust, uint64_t *seen)
{
	size_t column = 0;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < pickle_globals(g); i++) {
		const struct pickle_global *x = pickle_global_at(g, i);

		if (view_global_trust(x) != trust)
			continue;
		(*seen)++;
		s->text.len = 0;
		rc = view_global(x, &s->text);
		if (rc == 0 && trust == VIEW_SAFE) {
			rc = put_word(s, &column, "");
			continue;
		}
		if (rc == 0)
			rc = view_colored(s->color, trust == VIEW_RUNS ? VIEW_RED : VIEW_YELLOW,
					trust == VIEW_RUNS ? " !! " : "  ! ", s->out);
		if (rc == 0)
			rc = view_fitted(s->text.p, s->text.len, LINE - 4, VIEW_CUT_MIDDLE, s->out);
		if (rc == 0)
			rc = byte_buf_text(s->out, "\n");
	}
	return rc < 0 || column == 0 ? rc : byte_buf_text(s->out, "\n");
}

static int print_globals_of(struct summary *s, const struct pickle *g)
{
	uint64_t runs = 0, outside = 0, safe = 0;
	int rc = heading(s, "GLOBALS");

	if (rc == 0)
		rc = byte_buf_text(s->out, "  what torch.load imports for this file\n");
	if (rc == 0)
		rc = print_trust(s, g, VIEW_RUNS, &runs);
	if (rc == 0)
		rc = print_trust(s, g, VIEW_OUTSIDE, &outside);
	if (rc == 0)
		rc = print_trust(s, g, VIEW_SAFE, &safe);
	if (rc == 0)
		rc = byte_buf_text(s->out, "\n");
	if (rc == 0 && runs + outside == 0)
		rc = byte_buf_text(s->out, "  All of them are on torch's list: weights_only=True loads it.\n");
	if (rc == 0 && outside > 0)
		rc = byte_buf_text(s->out, "  !  not on torch's list: weights_only=True refuses the file unless allowed\n");
	if (rc == 0 && runs > 0)
		rc = view_colored(s->color, VIEW_RED,
				" !!  can run code, commands or connections: load it only if you trust its writer\n",
				s->out);
	return rc;
}

static int print_globals(struct summary *s, const struct bridge_doc *d)
{
	const struct torch_file *f = bridge_doc_torch(d);

	if (f == NULL || pickle_globals(torch_file_graph(f)) == 0)
		return 0;
	return print_globals_of(s, torch_file_graph(f));
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

static int put_container(const struct view_about *a, struct byte_buf *out)
{
	int rc;

	if (a->container == NULL)
		rc = byte_buf_text(out, a->kind);
	else
		rc = byte_buf_format(out, "torch %s", a->container);
	if (rc == 0 && a->torch != NULL)
		rc = byte_buf_format(out, " (torch %s)", a->torch);
	if (rc == 0 && a->protocol > 0)
		rc = byte_buf_format(out, ", pickle protocol %u", a->protocol);
	if (rc == 0 && a->records > 0)
		rc = byte_buf_format(out, ", %llu records", (unsigned long long)a->records);
	return rc;
}

static int print_head(struct summary *s, const struct bridge_doc *d, const struct bridge_text *how)
{
	struct view_about a;
	char size[VIEW_NUMBER_MAX];
	int rc = s->color ? byte_buf_text(s->out, "\x1b[1m") : 0;

	view_about(d, &a);
	if (rc == 0)
		rc = view_cell(how->name, strlen(how->name), LINE - SIZE_WIDTH - 2, false, VIEW_CUT_MIDDLE, s->out);
	if (rc == 0 && s->color)
		rc = byte_buf_text(s->out, "\x1b[0m");
	if (rc == 0)
		rc = byte_buf_format(s->out, "  %*s\n", SIZE_WIDTH, view_size_text(bridge_doc_size(d), size));
	if (rc == 0 && a.framework != NULL)
		rc = byte_buf_format(s->out, "%s%s%s, ", a.framework, a.version[0] != '\0' ? " " : "", a.version);
	if (rc == 0)
		rc = put_container(&a, s->out);
	for (unsigned i = 0; rc == 0 && i < a.counters; i++)
		rc = byte_buf_format(s->out, "%s%s %lld", i == 0 ? "\n" : ", ", a.counter[i].name,
				(long long)a.counter[i].value);
	return rc < 0 ? rc : byte_buf_text(s->out, "\n");
}

int bridge_view_summary(const struct bridge_doc *d, const struct bridge_text *how, codec_read_at read, void *arg,
		struct byte_buf *out)
{
	struct summary s = { .out = out, .start = out->len, .color = how->color, .dtype = 5, .shape = SHAPE_MIN,
		.device = 3 };
	size_t rest;
	int rc = print_head(&s, d, how);

	(void)read; /* the document knows all of it */
	(void)arg;
	if (rc == 0)
		rc = view_rows(d, measure, &s);
	/* Four spaces, the name, and three columns with what is between them. */
	rest = 4 + 2 + s.dtype + 2 + s.shape + 2 + s.device + 1 + SIZE_WIDTH;
	if (rest > LINE - NAME_MIN) {
		size_t over = rest - (LINE - NAME_MIN);

		s.shape = s.shape > over + SHAPE_MIN ? s.shape - over : SHAPE_MIN;
		rest = 4 + 2 + s.dtype + 2 + s.shape + 2 + s.device + 1 + SIZE_WIDTH;
	}
	s.name = rest < LINE - 8 ? LINE - rest : 8;
	if (rc == 0)
		rc = print_tensors(&s, d);
	if (rc == 0)
		rc = print_values(&s, d);
	if (rc == 0)
		rc = print_globals(&s, d);
	if (rc < 0)
		out->len = s.start;
	view_users_release(&s.users);
	byte_buf_release(&s.group);
	byte_buf_release(&s.text);
	return rc;
}
