/*
 * summary_values.c: the values in @summary, a line each.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "summary_internal.h"
#include "view_scalar.h"

static int put_scalar(struct summary *s, const struct torch_object *o, uint32_t ref)
{
	size_t len;
	const char *p;
	int rc;

	if (view_is_long(o, ref))
		return byte_buf_text(&s->text, "<int, a long one>");
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
	static const char *const pair[] = {
		[TORCH_IS_LIST] = "[]", [TORCH_IS_TUPLE] = "()", [TORCH_IS_SET] = "{}", [TORCH_IS_DICT] = "{}"
	};
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
		rc = row->again && view_is_long(row->o, row->node) ? -EINVAL
								   : torch_bytes(row->o, row->node, &data);
		if (rc == -EINVAL) {
			byte_buf_release(&data);
			return put_class(s, row);
		}
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

/* Empty attributes (a module has a dozen dicts of hooks) say nothing to people. */
static bool is_shown(const struct view_row *row)
{
	struct torch_iter it;
	struct torch_item item;

	if (summary_is_tensor(row))
		return false;
	if (row->kind != ROW_SEQUENCE || !row->attribute)
		return true;
	torch_iter_init(row->o, row->node, &it);
	return torch_iter_next(&it, &item);
}

static int measure_value(void *arg, const struct view_row *row)
{
	struct summary *s = arg;
	const uint8_t *name;
	size_t len;

	if (!is_shown(row))
		return 0;
	s->values++;
	summary_name(row, &name, &len);
	summary_widen(&s->name, len + (summary_above(row) > 0 ? 4 : 2), VALUE_NAME_MAX);
	return 0;
}

static int print_value(void *arg, const struct view_row *row)
{
	struct summary *s = arg;
	const uint8_t *name;
	size_t len, width;
	int rc;

	if (!is_shown(row))
		return 0;
	if (s->out->len - s->values_start > VALUES_BYTES) {
		s->omitted++;
		return 0;
	}
	rc = summary_begin(s, row, "    ");
	summary_name(row, &name, &len);
	width = s->name - (s->in_group ? 4 : 2);
	if (rc == 0)
		rc = len > 0 || row->path_len > 0
				     ? view_cell(name, len, width, false, VIEW_CUT_MIDDLE, s->out)
				     : view_cell("(the value)", 11, width, false, VIEW_CUT_END, s->out);
	if (rc == 0)
		rc = byte_buf_text(s->out, "  ");
	if (rc == 0)
		rc = put_value(s, row);
	if (rc == 0)
		rc = view_fitted(s->text.p, s->text.len, LINE - s->name - 2, VIEW_CUT_END, s->out);
	return rc < 0 ? rc : byte_buf_text(s->out, "\n");
}

int summary_values(struct summary *s, const struct bridge_doc *d)
{
	char count[VIEW_NUMBER_MAX];
	int rc;

	s->name = 16;
	rc = view_rows(d, measure_value, s);
	if (rc < 0 || s->values == 0)
		return rc;
	rc = summary_heading(s, "VALUES");
	if (rc == 0)
		rc = byte_buf_format(s->out, "  %s\n", view_count_text(s->values, count));
	s->values_start = s->out->len;
	if (rc == 0)
		rc = view_rows(d, print_value, s);
	if (rc == 0 && s->omitted > 0)
		rc = byte_buf_format(s->out, "  and %s more\n", view_count_text(s->omitted, count));
	return rc;
}
