/*
 * view_json.c: a checkpoint as one JSON object (ckptfs-views(7) documents it; fields are added, never
 * changed).
 *
 *   { "file": "model.pt", "size": 4096,
 *     "kind": "torch", "container": "zip", "torch": ">=2.1", "byteorder": "little", "protocol": 2,
 *     "pickle_bytes": 900, "records": 12, "framework": "Lightning", "framework_version": "2.1", "epoch": 3,
 *     "tensors": [ {"name": "model.weight", "kind": "strided", "dtype": "float32", "shape": [2, 3],
 *                   "stride": [3, 1], "device": "cuda:0", "bytes": 24, "storage": "0", "offset": 0,
 *                   "requires_grad": true, "parameter": true, "shared_with": "model.first",
 *                   "same_as": "model.other", "parts": {"values": {...}}}, ... ],
 *     "values":  [ {"path": "epoch", "type": "int", "value": 3}, ... ],
 *     "globals": [ {"name": "os.system", "safe": false, "runs_code": true}, ... ],
 *     "totals":  {"tensors": 1, "elements": 6, "bytes": 24, "storages": 1, "storage_bytes": 24,
 *                 "values": 1} }
 *
 * One line a tensor, a value or a global, so that grep does too.  What is not known is absent.  "storage"
 * and "offset" (in elements) say where the data are; "shared_with" is the first tensor that uses the same
 * storage, "same_as" the first place of the very same tensor.  nan and the infinities are strings; so are
 * integers beyond 64 bits, complex numbers and dtypes. Strings longer than TEXT_MAX and lists longer than
 * ITEMS_MAX are cut: "cut" is then true; "length" is always the whole's. Bytes are hexadecimal.  Bytes of a
 * text that are no UTF-8 become U+FFFD.  Of values, no more than VALUES_BYTES are written; "values_omitted"
 * counts the rest; a long value that is met again is only "cut".  There are no
 * limits to "tensors" but OUTPUT_MAX (-EFBIG).
 */
#include "bridge_view.h"

#include <errno.h>
#include <string.h>

#include "codec/ckpt_error.h"
#include "json_put.h"
#include "name_escape.h"
#include "view_about.h"
#include "view_facts.h"
#include "view_globals.h"
#include "view_scalar.h"

enum {
	TEXT_MAX = 4096,
	BYTES_MAX = 256,
	ITEMS_MAX = 4096,
};
#define VALUES_BYTES ((size_t)16 << 20)
#define OUTPUT_MAX ((size_t)512 << 20)

struct json {
	struct byte_buf *out;
	size_t start;
	struct byte_buf text; /* a scalar under way */
	bool values;          /* this pass writes values, not tensors */
	bool in_list;         /* items are being written: long integers are not */
	uint64_t rows;        /* written in this pass */
	uint64_t omitted;
	size_t values_start;
	struct view_users users;
	uint64_t tensors, elements, bytes, value_rows;
};

/*
 * ---- values
 * ----------------------------------------------------------------------------------------------------
 */

static size_t cut_text(const uint8_t *p, size_t len, size_t most)
{
	if (len <= most)
		return len;
	while (most > 0 && (p[most] & 0xc0) == 0x80)
		most--;
	return most;
}

static int put_scalar(struct json *j, const struct torch_object *o, uint32_t ref)
{
	const struct pickle *g = torch_graph(o);
	enum torch_kind kind = torch_kind_of(o, ref);
	const char *p;
	size_t len;
	int64_t v;
	int rc;
	bool bare;

	if (kind == TORCH_IS_STR) {
		p = pickle_text(g, ref, &len);
		return json_put_string(p, cut_text((const uint8_t *)p, len, TEXT_MAX), j->out);
	}
	if (kind == TORCH_IS_NONE)
		return byte_buf_text(j->out, "null");
	if (j->in_list && view_is_long(o, ref))
		return byte_buf_text(j->out, "\"...\"");
	if (kind == TORCH_IS_BOOL)
		return byte_buf_text(j->out, pickle_int(g, ref, &v) && v != 0 ? "true" : "false");
	j->text.len = 0;
	rc = view_scalar(o, ref, &j->text);
	if (rc < 0)
		return rc;
	if (j->text.len > 0 && kind == TORCH_IS_SCALAR && (j->text.p[0] == 'T' || j->text.p[0] == 'F'))
		return byte_buf_text(j->out, j->text.p[0] == 'T' ? "true" : "false");
	/*
	 * Numbers of Python are numbers of JSON, but for nan, inf, complex and those that nobody reads
	 * exactly.
	 */
	bare = (kind == TORCH_IS_INT && pickle_int(g, ref, &v)) || kind == TORCH_IS_FLOAT ||
	       kind == TORCH_IS_SCALAR;
	for (size_t i = 0; bare && i < j->text.len; i++)
		bare = strchr("0123456789+-.e", j->text.p[i]) != NULL;
	if (bare)
		return byte_buf_put(j->out, j->text.p, j->text.len);
	return json_put_string(j->text.p, cut_text(j->text.p, j->text.len, TEXT_MAX), j->out);
}

static int put_type(struct json *j, const struct torch_object *o, uint32_t ref)
{
	int rc = json_put_key("type", j->out);

	j->text.len = 0;
	if (rc == 0)
		rc = view_class(o, ref, &j->text);
	return rc < 0 ? rc : json_put_string(j->text.p, j->text.len, j->out);
}

static int put_cut(struct json *j, uint64_t length, bool cut)
{
	int rc = json_put_number("length", length, j->out);

	if (rc == 0 && cut)
		rc = json_put_key("cut", j->out);
	return rc < 0 || !cut ? rc : byte_buf_text(j->out, "true");
}

static int put_bytes(struct json *j, const struct torch_object *o, uint32_t ref)
{
	struct byte_buf data = { 0 };
	int rc = torch_bytes(o, ref, &data);

	if (rc == -EINVAL) { /* written in a way that is not known */
		rc = 0;
		goto release;
	}
	if (rc == 0)
		rc = put_cut(j, data.len, data.len > BYTES_MAX);
	if (rc == 0)
		rc = json_put_key("value", j->out);
	if (rc == 0)
		rc = byte_buf_put(j->out, "\"", 1);
	for (size_t i = 0; rc == 0 && i < data.len && i < BYTES_MAX; i++)
		rc = byte_buf_format(j->out, "%02x", data.p[i]);
	if (rc == 0)
		rc = byte_buf_put(j->out, "\"", 1);
release:
	byte_buf_release(&data);
	return rc;
}

static int put_value(struct json *j, const struct torch_object *o, uint32_t ref)
{
	enum torch_kind kind = torch_kind_of(o, ref);
	size_t len = 0;
	int rc = put_type(j, o, ref);

	if (rc == 0 && kind == TORCH_IS_BYTES)
		return put_bytes(j, o, ref);
	if (kind == TORCH_IS_STR)
		pickle_text(torch_graph(o), ref, &len);
	if (rc == 0 && len > TEXT_MAX)
		rc = put_cut(j, len, true);
	if (rc == 0)
		rc = json_put_key("value", j->out);
	return rc < 0 ? rc : put_scalar(j, o, ref);
}

static int put_sequence(struct json *j, const struct torch_object *o, uint32_t node)
{
	bool dict = torch_kind_of(o, node) == TORCH_IS_DICT;
	struct torch_iter it;
	struct torch_item item;
	uint64_t n = 0;
	int rc = put_type(j, o, node);

	if (rc == 0)
		rc = json_put_key("value", j->out);
	if (rc == 0)
		rc = byte_buf_text(j->out, dict ? "{" : "[");
	j->in_list = true;
	torch_iter_init(o, node, &it);
	while (rc == 0 && torch_iter_next(&it, &item)) {
		if (n++ >= ITEMS_MAX || j->out->len - j->values_start > VALUES_BYTES)
			continue;
		if (n > 1)
			rc = byte_buf_text(j->out, ", ");
		if (rc == 0)
			rc = put_scalar(j, o, item.value);
	}
	j->in_list = false;
	if (rc == 0)
		rc = byte_buf_text(j->out, dict ? "}" : "]");
	return rc < 0 ? rc : put_cut(j, n, n > ITEMS_MAX);
}

static int value_row(struct json *j, const struct view_row *row)
{
	int rc = json_put_key("path", j->out);

	if (rc == 0)
		rc = json_put_string(row->path, row->path_len, j->out);
	if (rc < 0)
		return rc;
	switch (row->kind) {
	case ROW_VALUE:
		if (!row->again || !view_is_long(row->o, row->node))
			return put_value(j, row->o, row->node);
		rc = put_type(j, row->o, row->node); /* its value stands where it was met first */
		if (rc == 0)
			rc = json_put_key("cut", j->out);
		return rc < 0 ? rc : byte_buf_text(j->out, "true");
	case ROW_SEQUENCE:
		return put_sequence(j, row->o, row->node);
	case ROW_PAIR:
		rc = json_put_member("type", "str", j->out);
		if (rc == 0)
			rc = json_put_key("value", j->out);
		return rc < 0 ? rc
			      : json_put_string(row->pair->value,
						cut_text((const uint8_t *)row->pair->value,
								row->pair->value_len, TEXT_MAX),
						j->out);
	case ROW_REFERENCE:
		rc = json_put_member("type", "reference", j->out);
		if (rc == 0)
			rc = json_put_key("to", j->out);
		j->text.len = 0;
		if (rc == 0 && row->first != PICKLE_NIL)
			rc = view_first_path(row, row->first, &j->text);
		return rc < 0 ? rc : json_put_string(j->text.p, j->text.len, j->out);
	case ROW_OBJECT:
		rc = json_put_member("type", "object", j->out);
		if (rc == 0)
			rc = json_put_key("class", j->out);
		j->text.len = 0;
		if (rc == 0)
			rc = view_class(row->o, row->node, &j->text);
		return rc < 0 ? rc : json_put_string(j->text.p, j->text.len, j->out);
	default: /* ROW_DEEP, ROW_OTHER */
		rc = put_type(j, row->o, row->node);
		return rc < 0 || row->kind != ROW_DEEP ? rc : json_put_member("too", "deep", j->out);
	}
}

/*
 * ---- tensors
 * ---------------------------------------------------------------------------------------------------
 */

static int put_shape(const struct view_facts *f, struct byte_buf *out)
{
	int rc = json_put_member("dtype", f->dtype, out);

	if (rc == 0)
		rc = json_put_key("shape", out);
	if (rc == 0)
		rc = json_put_numbers(f->size, f->ndim, out);
	if (rc == 0 && f->stride != NULL)
		rc = json_put_key("stride", out);
	if (rc == 0 && f->stride != NULL)
		rc = json_put_numbers(f->stride, f->ndim, out);
	if (rc == 0 && f->device[0] != '\0')
		rc = json_put_member("device", f->device, out);
	return rc < 0 ? rc : json_put_number("bytes", f->bytes, out);
}

static int put_storage(struct json *j, const struct view_row *row, const struct view_facts *f)
{
	const struct torch_storage *s = torch_storage_at(row->o, f->storage);
	int rc = json_put_key("storage", j->out);

	if (rc == 0)
		rc = json_put_string(s->key, cut_text((const uint8_t *)s->key, s->key_len, TEXT_MAX), j->out);
	if (rc == 0)
		rc = json_put_number("offset", f->offset, j->out);
	return rc;
}

static int put_first(struct json *j, const struct view_row *row, const char *key, uint32_t place)
{
	int rc = json_put_key(key, j->out);

	j->text.len = 0;
	if (rc == 0)
		rc = view_first_path(row, place, &j->text);
	return rc < 0 ? rc : json_put_string(j->text.p, j->text.len, j->out);
}

static int put_sharing(struct json *j, const struct view_row *row, const struct view_facts *f)
{
	uint32_t user;
	int rc;

	if (row->first != PICKLE_NIL)
		return put_first(j, row, "same_as", row->first);
	rc = view_users_find(&j->users, row, f->storage, &user);
	return rc < 0 || user == PICKLE_NIL ? rc : put_first(j, row, "shared_with", user);
}

/* Parts of sparse, nested and quantized tensors that are tensors themselves. */
static int put_parts(struct json *j, const struct view_row *row, const struct torch_tensor *x)
{
	static const char *const name[][4] = {
		[TORCH_QUANTIZED] = { "scheme", "scale", "zero_point", "axis" },
		[TORCH_COO] = { "indices", "values" },
		[TORCH_COMPRESSED] = { "compressed_indices", "plain_indices", "values" },
		[TORCH_NESTED] = { "buffer", "sizes", "strides", "offsets" },
	};
	bool any = false;
	int rc = 0;

	if (x->kind != TORCH_QUANTIZED && x->kind != TORCH_COO && x->kind != TORCH_COMPRESSED &&
			x->kind != TORCH_NESTED)
		return 0;
	for (int i = 0; rc == 0 && i < 4; i++) {
		struct view_row part = *row;
		struct view_facts f;

		if (x->part[i] == PICKLE_NIL || name[x->kind][i] == NULL)
			continue;
		if (!any)
			rc = json_put_key("parts", j->out);
		if (rc == 0 && !any)
			rc = byte_buf_text(j->out, "{");
		any = true;
		if (rc == 0)
			rc = json_put_key(name[x->kind][i], j->out);
		if (rc < 0)
			break;
		part.node = x->part[i];
		if (torch_tensor_of(row->o, part.node) == NULL) {
			rc = view_is_scalar(row->o, part.node) ? put_scalar(j, row->o, part.node)
							       : byte_buf_text(j->out, "null");
			continue;
		}
		rc = byte_buf_text(j->out, "{");
		if (rc == 0 && view_facts(&part, &f))
			rc = put_shape(&f, j->out);
		if (rc == 0 && f.storage != PICKLE_NIL)
			rc = put_storage(j, &part, &f);
		if (rc == 0)
			rc = byte_buf_text(j->out, "}");
	}
	return rc < 0 || !any ? rc : byte_buf_text(j->out, "}");
}

static int tensor_row(struct json *j, const struct view_row *row)
{
	const struct torch_tensor *x = row->kind == ROW_TENSOR ? torch_tensor_of(row->o, row->node) : NULL;
	struct view_facts f;
	int rc = json_put_key("name", j->out);

	if (rc == 0)
		rc = json_put_string(row->path, row->path_len, j->out);
	view_facts(row, &f);
	if (rc == 0)
		rc = json_put_member("kind", f.kind, j->out);
	if (rc == 0)
		rc = put_shape(&f, j->out);
	if (rc == 0 && f.storage != PICKLE_NIL)
		rc = put_storage(j, row, &f);
	if (rc == 0 && x != NULL)
		rc = json_put_key("requires_grad", j->out);
	if (rc == 0 && x != NULL)
		rc = byte_buf_text(j->out, f.requires_grad ? "true" : "false");
	if (rc == 0 && f.parameter)
		rc = json_put_key("parameter", j->out);
	if (rc == 0 && f.parameter)
		rc = byte_buf_text(j->out, "true");
	if (rc == 0 && x != NULL &&
			(x->conj || x->neg)) /* torch's marks: the bytes in the file are those before */
		rc = json_put_key(x->conj ? "conj" : "neg", j->out);
	if (rc == 0 && x != NULL && (x->conj || x->neg))
		rc = byte_buf_text(j->out, "true");
	if (rc == 0 && row->o != NULL)
		rc = put_sharing(j, row, &f);
	if (rc == 0 && x != NULL)
		rc = put_parts(j, row, x);
	if (row->first == PICKLE_NIL || row->o == NULL) {
		j->tensors++;
		j->elements += f.count;
		j->bytes += f.bytes;
	}
	return rc;
}

/*
 * ---- the whole
 * -------------------------------------------------------------------------------------------------
 */

static bool is_tensor(const struct view_row *row)
{
	return row->kind <= ROW_NPY;
}

static int put_row(void *arg, const struct view_row *row)
{
	struct json *j = arg;
	int rc;

	if (is_tensor(row) == j->values)
		return 0;
	if (j->values && j->out->len - j->values_start > VALUES_BYTES) {
		j->omitted++;
		return 0;
	}
	if (j->out->len - j->start > OUTPUT_MAX)
		return ckpt_fail(EFBIG, "its description takes more than %zu bytes", OUTPUT_MAX);
	rc = byte_buf_text(j->out, j->rows++ > 0 ? ",\n    {" : "\n    {");
	if (rc == 0)
		rc = j->values ? value_row(j, row) : tensor_row(j, row);
	return rc < 0 ? rc : byte_buf_text(j->out, "}");
}

static int put_list(struct json *j, const struct bridge_doc *d, const char *key, bool values)
{
	int rc = byte_buf_format(j->out, ",\n  \"%s\": [", key);

	j->values = values;
	j->rows = 0;
	j->values_start = j->out->len;
	if (rc == 0)
		rc = view_rows(d, put_row, j);
	if (values)
		j->value_rows = j->rows + j->omitted;
	return rc < 0 ? rc : byte_buf_text(j->out, j->rows > 0 ? "\n  ]" : "]");
}

static int put_global(struct json *j, const struct pickle_global *g)
{
	enum view_trust trust = view_global_trust(g);
	int rc = byte_buf_text(j->out, j->rows++ > 0 ? ",\n    {\"name\": " : "\n    {\"name\": ");

	j->text.len = 0;
	if (rc == 0)
		rc = view_global(g, &j->text);
	if (rc == 0)
		rc = json_put_string(j->text.p, cut_text(j->text.p, j->text.len, TEXT_MAX), j->out);
	if (rc == 0)
		rc = byte_buf_format(j->out, ", \"safe\": %s%s}", trust == VIEW_SAFE ? "true" : "false",
				trust == VIEW_RUNS ? ", \"runs_code\": true" : "");
	return rc;
}

static int put_globals(struct json *j, const struct bridge_doc *d)
{
	const struct torch_file *f = bridge_doc_torch(d);
	size_t n = f != NULL ? 1 : bridge_doc_members(d);
	int rc = byte_buf_text(j->out, ",\n  \"globals\": [");

	j->rows = 0;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		const struct torch_file *part = f != NULL ? f : bridge_doc_member(d, i)->torch;
		const struct pickle *g = part != NULL ? torch_file_graph(part) : NULL;

		for (uint32_t k = 0; rc == 0 && g != NULL && k < pickle_globals(g); k++)
			rc = put_global(j, pickle_global_at(g, k));
	}
	return rc < 0 ? rc : byte_buf_text(j->out, j->rows > 0 ? "\n  ]" : "]");
}

static int put_totals(struct json *j, const struct bridge_doc *d)
{
	const struct torch_file *f = bridge_doc_torch(d);
	uint64_t storages = 0, bytes = 0;
	int rc = byte_buf_text(j->out, ",\n  \"totals\": {");

	for (uint32_t i = 0; f != NULL && i < torch_storages(torch_file_object(f)); i++) {
		storages++;
		bytes += torch_storage_at(torch_file_object(f), i)->bytes;
	}
	if (rc == 0)
		rc = json_put_number("tensors", j->tensors, j->out);
	if (rc == 0)
		rc = json_put_number("elements", j->elements, j->out);
	if (rc == 0)
		rc = json_put_number("bytes", j->bytes, j->out);
	if (rc == 0 && f != NULL)
		rc = json_put_number("storages", storages, j->out);
	if (rc == 0 && f != NULL)
		rc = json_put_number("storage_bytes", bytes, j->out);
	if (rc == 0)
		rc = json_put_number("values", j->value_rows, j->out);
	return rc < 0 ? rc : byte_buf_text(j->out, "}");
}

static int put_head(struct json *j, const struct bridge_doc *d, const struct bridge_text *how)
{
	struct view_about a;
	int rc = byte_buf_text(j->out, "{\n  \"file\": ");

	view_about(d, &a);
	if (rc == 0)
		rc = json_put_string(how->name, strlen(how->name), j->out);
	if (rc == 0)
		rc = json_put_number("size", bridge_doc_size(d), j->out);
	if (rc == 0)
		rc = byte_buf_text(j->out, ",\n  \"kind\": ");
	if (rc == 0)
		rc = json_put_text(a.kind, j->out);
	if (rc == 0 && a.container != NULL)
		rc = json_put_member("container", a.container, j->out);
	if (rc == 0 && a.torch != NULL)
		rc = json_put_member("torch", a.torch, j->out);
	if (rc == 0 && a.byteorder != NULL)
		rc = json_put_member("byteorder", a.byteorder, j->out);
	if (rc == 0 && a.protocol > 0)
		rc = json_put_number("protocol", a.protocol, j->out);
	if (rc == 0 && a.protocol > 0)
		rc = json_put_number("pickle_bytes", a.pickle_bytes, j->out);
	if (rc == 0 && a.records > 0)
		rc = json_put_number("records", a.records, j->out);
	if (rc == 0 && a.framework != NULL)
		rc = json_put_member("framework", a.framework, j->out);
	if (rc == 0 && a.version[0] != '\0')
		rc = json_put_member("framework_version", a.version, j->out);
	for (unsigned i = 0; rc == 0 && i < a.counters; i++) {
		rc = json_put_key(a.counter[i].name, j->out);
		if (rc == 0)
			rc = byte_buf_format(j->out, "%lld", (long long)a.counter[i].value);
	}
	return rc;
}

int bridge_view_json(const struct bridge_doc *d, const struct bridge_text *how, codec_read_at read, void *arg,
		struct byte_buf *out)
{
	struct json j = { .out = out, .start = out->len };
	int rc = put_head(&j, d, how);

	(void)read; /* the document knows all of it */
	(void)arg;
	if (rc == 0)
		rc = put_list(&j, d, "tensors", false);
	if (rc == 0)
		rc = put_list(&j, d, "values", true);
	if (rc == 0 && j.omitted > 0)
		rc = byte_buf_format(out, ",\n  \"values_omitted\": %llu", (unsigned long long)j.omitted);
	if (rc == 0)
		rc = put_globals(&j, d);
	if (rc == 0)
		rc = put_totals(&j, d);
	if (rc == 0)
		rc = byte_buf_text(out, "\n}\n");
	if (rc < 0)
		out->len = j.start;
	view_users_release(&j.users);
	byte_buf_release(&j.text);
	return rc;
}
