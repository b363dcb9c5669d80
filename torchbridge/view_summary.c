/*
 * view_summary.c: a checkpoint as a table for people, 80 columns wide.
 *
 *   heading      file, size; framework, container; epoch and step
 *   TENSORS      a table, in the order of the object, under the paths of their containers; containers with a
 *                number for a name (an optimizer's states) stand under the one that they are in; then sums by
 *                dtype and by device
 *   VALUES       what else the object holds
 *   GLOBALS      what loading it would import, and what of it torch would refuse
 *
 * The document is gone through twice for the tensors (widths of columns and sums come first) and once for
 * the values, so memory is the text itself.
 */
#include "bridge_view.h"

#include <string.h>

#include "summary_internal.h"
#include "view_about.h"
#include "view_globals.h"
#include "view_scalar.h"

/*
 * ---- globals
 * ----------------------------------------------------------------------------------------------------
 */

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
	int rc = summary_heading(s, "GLOBALS");

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
		rc = byte_buf_text(
				s->out, "  All of them are on torch's list: weights_only=True loads it.\n");
	if (rc == 0 && outside > 0)
		rc = byte_buf_text(s->out, "  !  not on torch's list: weights_only=True refuses the file "
					   "unless allowed\n");
	if (rc == 0 && runs > 0)
		rc = view_colored(s->color, VIEW_RED,
				" !!  can run code, commands or connections: load it only if you trust its "
				"writer\n",
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

/*
 * ---- the whole
 * --------------------------------------------------------------------------------------------------
 */

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
		rc = view_cell(how->name, strlen(how->name), LINE - SIZE_COLUMN - 2, false, VIEW_CUT_MIDDLE,
				s->out);
	if (rc == 0 && s->color)
		rc = byte_buf_text(s->out, "\x1b[0m");
	if (rc == 0)
		rc = byte_buf_format(
				s->out, "  %*s\n", SIZE_COLUMN, view_size_text(bridge_doc_size(d), size));
	if (rc == 0 && a.framework != NULL)
		rc = byte_buf_format(
				s->out, "%s%s%s, ", a.framework, a.version[0] != '\0' ? " " : "", a.version);
	if (rc == 0)
		rc = put_container(&a, s->out);
	for (unsigned i = 0; rc == 0 && i < a.counters; i++)
		rc = byte_buf_format(s->out, "%s%s %lld", i == 0 ? "\n" : ", ", a.counter[i].name,
				(long long)a.counter[i].value);
	return rc < 0 ? rc : byte_buf_text(s->out, "\n");
}

int bridge_view_summary(const struct bridge_doc *d, const struct bridge_text *how, codec_read_at read,
		void *arg, struct byte_buf *out)
{
	struct summary s = { .out = out,
		.start = out->len,
		.color = how->color,
		.dtype = 5,
		.shape = SHAPE_MIN,
		.device = 3 };
	int rc = print_head(&s, d, how);

	(void)read; /* the document knows all of it */
	(void)arg;
	if (rc == 0)
		rc = summary_tensors(&s, d);
	if (rc == 0)
		rc = summary_values(&s, d);
	if (rc == 0)
		rc = print_globals(&s, d);
	if (rc < 0)
		out->len = s.start;
	view_users_release(&s.users);
	byte_buf_release(&s.group);
	byte_buf_release(&s.text);
	return rc;
}
