/*
 * view_facts.h: what a row of a document (view_rows.h) is, for those who print it.
 */
#ifndef VIEW_FACTS_H
#define VIEW_FACTS_H

#include "view_rows.h"

enum { VIEW_DTYPE_MAX = 32, VIEW_DEVICE_MAX = 64 };

/* A tensor, storage, array: any row that has a shape. */
struct view_facts {
	const char *kind; /* "strided", "quantized", "sparse_coo", "sparse_csr", ..., "ndarray", "storage" */
	char dtype[VIEW_DTYPE_MAX];   /* torch's name, or a numpy descr */
	char device[VIEW_DEVICE_MAX]; /* as torch's location, "meta"; printable ASCII */
	uint32_t ndim;
	const uint64_t *size, *stride; /* of the document or of `own`; stride NULL where there is none */
	uint64_t own[TORCH_DIMS_MAX];
	uint64_t count, bytes; /* elements; bytes that they take (of a sparse tensor: its parts) */
	bool parameter, requires_grad;
	uint32_t storage; /* number; PICKLE_NIL */
	uint64_t offset;  /* in it, in elements */
};

/* False for rows without a shape. */
bool view_facts(const struct view_row *row, struct view_facts *out);

/*
 * Which tensor uses a storage first.  A zeroed struct to begin with; given all rows of a document in order,
 * it is made anew where another object of its begins.
 */
struct view_users {
	uint32_t *user; /* of each storage: its place + 1 */
	const struct torch_file *of;
};
/*
 * *place: the first tensor on the row's storage, PICKLE_NIL when that is the row's own, or there is none.
 * -ENOMEM.
 */
int view_users_find(struct view_users *u, const struct view_row *row, uint32_t storage, uint32_t *place);
void view_users_release(struct view_users *u);

/* Appends the path of the place that row->first (or another) is, as rows have it. */
int view_first_path(const struct view_row *row, uint32_t place, struct byte_buf *out);

#endif
