/*
 * runs_split.c: the bytes of a component that is a part of a file.
 */
#include "runs_internal.h"

#include <errno.h>
#include <string.h>

#include "bridge_view.h"
#include "codec/ckpt_error.h"

static int text(const struct torch_file *f, const struct runs_part *p, struct runs_reader *r,
		struct bridge_layout **out)
{
	struct byte_buf b = { 0 };
	struct bridge_layout *l;
	int rc = runs_value_json(f, r, p->ref, p->refs, &b);

	if (rc == 0)
		rc = bridge_layout_new(&l);
	if (rc == 0) {
		rc = bridge_layout_bytes(l, b.p, b.len);
		if (rc < 0)
			bridge_layout_free(l);
		else
			*out = l;
	}
	byte_buf_release(&b);
	return rc;
}

static int range(const struct runs_part *p, struct bridge_layout **out)
{
	struct bridge_layout *l;
	int rc = bridge_layout_new(&l);

	if (rc < 0)
		return rc;
	rc = bridge_layout_range(
			l, 0, p->ref[0] | (uint64_t)p->ref[1] << 32, p->ref[2] | (uint64_t)p->ref[3] << 32);
	if (rc < 0)
		bridge_layout_free(l);
	else
		*out = l;
	return rc;
}

/* Whether the values that a remembered part names are there at all. */
static bool in_range(const struct torch_file *f, const struct runs_part *p)
{
	if (p->how == RUNS_RANGE)
		return p->refs == 4;
	for (uint32_t i = 0; i < p->refs; i++)
		if (f == NULL || p->ref[i] >= pickle_count(torch_file_graph(f)))
			return false;
	return p->refs > 0 && (p->refs == 1 || p->refs % 2 == 0);
}

int runs_part_layout(const struct torch_file *f, const struct runs_part *p, struct runs_reader *r,
		struct bridge_layout **out)
{
	if (!in_range(f, p))
		return ckpt_fail(ESTALE, "\"%s\" is no part of \"%s\"", p->name, r->path);
	switch (p->how) {
	case RUNS_PART:
		return bridge_view_part(f, p->ref[0], runs_read, r, out);
	case RUNS_PAIRS:
		return bridge_view_parts(f, p->ref, p->refs / 2, runs_read, r, out);
	case RUNS_TEXT:
		return text(f, p, r, out);
	case RUNS_MODULE:
		return runs_module_layout(f, p->ref[0], r, out);
	case RUNS_RANGE:
		return range(p, out);
	default:
		return ckpt_fail(EINVAL, "\"%s\" is no part of \"%s\"", p->name, r->path);
	}
}
