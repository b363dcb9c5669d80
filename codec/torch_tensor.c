/*
 * torch_tensor.c: the calls that make tensors (torch/_utils.py).
 *
 *   what                                          arguments
 *   _rebuild_tensor_v2                            storage, offset, size, stride, requires_grad, hooks[, metadata]
 *   _rebuild_tensor_v3                            the same with dtype before the metadata; the storage is untyped
 *   _rebuild_parameter[_with_state]               tensor, requires_grad, hooks[, state]
 *   _rebuild_qtensor                              storage, offset, size, stride, quantizer, requires_grad, hooks
 *   _rebuild_sparse_tensor, _rebuild_sparse_csr_  layout, (indices.., values, size)
 *   _rebuild_meta_tensor_no_storage               dtype, size, stride, requires_grad
 *   _rebuild_nested_tensor                        buffer, sizes, strides, offsets
 *   _rebuild_device_tensor_from_*, _xla_          tensor or array, dtype, device, requires_grad
 *   _rebuild_wrapper_subclass                     class, dtype, size, stride, offset, layout, device, requires_grad
 *   _rebuild_from_type_v2                         one of the above, type, its arguments, state
 *
 * A tensor that pickle.dump() wrote has _load_from_bytes(bytes) for a storage. It is an object like any other.
 */
#include <errno.h>

#include "codec/ckpt_error.h"
#include "torch_internal.h"

enum { WRAPPED_MAX = 4, METADATA_MAX = 16 };

/* The non-negative numbers of a tuple, appended to the dims. */
static int take_dims(struct torch_object *o, uint32_t node, uint32_t ref, uint32_t *ndim)
{
	const uint32_t *c;
	int rc;

	if (!torch_sequence(o, ref, &c, ndim))
		return torch_bad(o, node, "its size or stride is no tuple");
	if (*ndim > TORCH_DIMS_MAX)
		return torch_bad(o, node, "too many dimensions");
	rc = torch_room(&o->dims, &o->dims_cap, (size_t)o->dims_len + *ndim, sizeof *o->dims);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < *ndim; i++) {
		int64_t v;

		if (!pickle_int(o->g, c[i], &v))
			return torch_bad(o, node, "its size or stride is no number");
		if (v < 0)
			return torch_bad(o, node, "its size or stride is negative");
		o->dims[o->dims_len + i] = (uint64_t)v;
	}
	o->dims_len += *ndim;
	return 0;
}

static int count_elements(const struct torch_object *o, uint32_t node, struct torch_tensor *t)
{
	uint64_t n = 1;
	bool zero = false, over = false;

	for (uint32_t i = 0; i < t->ndim; i++) {
		uint64_t d = o->dims[t->dims + i];

		zero |= d == 0;
		over |= d != 0 && __builtin_mul_overflow(n, d, &n);
	}
	if (!zero && (over || n > INT64_MAX / 16))
		return torch_bad(o, node, "more elements than can be");
	t->count = zero ? 0 : n;
	return 0;
}

static int take_size(struct torch_object *o, uint32_t node, uint32_t ref, struct torch_tensor *t)
{
	uint32_t ndim;
	int rc;

	if (o->dims_len > UINT32_MAX - 2 * TORCH_DIMS_MAX)
		return ckpt_fail(EFBIG, "more dimensions than can be counted");
	t->dims = o->dims_len;
	rc = take_dims(o, node, ref, &ndim);
	if (rc < 0)
		return rc;
	t->ndim = (uint8_t)ndim;
	return count_elements(o, node, t);
}

/* Whether the last element lies inside the storage. */
static int check_bounds(const struct torch_object *o, uint32_t node, const struct torch_tensor *t)
{
	const struct torch_dtype_info *info = torch_dtype_info((enum torch_dtype)t->dtype);
	const uint64_t *size = o->dims + t->dims, *stride = size + t->ndim;
	const struct torch_storage *s = &o->storage[t->storage];
	uint64_t last = t->offset, end;

	if (info->packed)
		return 0;
	for (uint32_t i = 0; t->count > 0 && i < t->ndim; i++) {
		uint64_t reach;

		if (__builtin_mul_overflow(size[i] - 1, stride[i], &reach) ||
				__builtin_add_overflow(last, reach, &last))
			return torch_bad(o, node, "its last element lies outside all bounds");
	}
	if (t->count == 0)
		return 0;
	if (__builtin_add_overflow(last, 1, &end) || __builtin_mul_overflow(end, info->width, &end) ||
			end > s->bytes)
		return torch_bad(o, node, "its last element lies outside its storage");
	return 0;
}

/* (storage, offset, size, stride): what all tensors with a storage begin with. dtype < 0: the storage's. */
static int take_strided(
		struct torch_object *o, uint32_t node, const uint32_t *a, int dtype, struct torch_tensor *t)
{
	const struct torch_mention *m = torch_mention_of(o, a[0]);
	uint32_t ndim;
	int64_t offset;
	int rc;

	if (m == NULL)
		return torch_bad(o, node, "its storage is none");
	if (!pickle_int(o->g, a[1], &offset) || offset < 0)
		return torch_bad(o, node, "its storage offset is no place");
	t->storage = m->storage;
	if (dtype < 0) /* the first mention may be of another class than this one */
		dtype = o->dtype[pickle_global_of(o->g, m->dtype_ref)];
	if (dtype == TORCH_UNTYPED)
		return torch_bad(o, node, "it has no element type");
	t->dtype = (uint8_t)dtype;
	t->offset = (uint64_t)offset;
	rc = take_size(o, node, a[2], t);
	if (rc == 0)
		rc = take_dims(o, node, a[3], &ndim);
	if (rc == 0 && ndim != t->ndim)
		rc = torch_bad(o, node, "it has more sizes than strides, or fewer");
	return rc < 0 ? rc : check_bounds(o, node, t);
}

static bool truth(const struct torch_object *o, uint32_t ref)
{
	int64_t v;

	return pickle_int(o->g, ref, &v) && v != 0;
}

/* {'conj': True}, {'neg': True}: the bytes are those before conjugation or negation. */
static int take_metadata(const struct torch_object *o, uint32_t node, uint32_t ref, struct torch_tensor *t)
{
	struct pickle_fill f;

	if (pickle_kind_of(o->g, ref) != PICKLE_DICT || !pickle_first_fill(o->g, ref, &f))
		return 0;
	if (f.count > 2 * METADATA_MAX || f.next != PICKLE_NIL)
		return torch_bad(o, node, "its metadata are no conj and neg");
	for (uint32_t i = 0; i + 1 < f.count; i += 2) {
		if (pickle_is_text(o->g, f.child[i], "conj"))
			t->conj = truth(o, f.child[i + 1]);
		if (pickle_is_text(o->g, f.child[i], "neg"))
			t->neg = truth(o, f.child[i + 1]);
	}
	return 0;
}

/* A dtype argument; -1 when it is none. */
static int dtype_of(const struct torch_object *o, uint32_t ref)
{
	return torch_known_of(o, ref) == KNOWN_DTYPE ? o->dtype[pickle_global_of(o->g, ref)] : -1;
}

/* (layout, (indices, values, size[, is_coalesced])) or (layout, (compressed, plain, values, size)). */
static int take_sparse(
		struct torch_object *o, uint32_t node, uint32_t layout, uint32_t data, struct torch_tensor *t)
{
	const struct torch_tensor *values;
	const uint32_t *c, *layout_args;
	uint32_t n, layout_n, parts;

	c = pickle_children(o->g, data, &n);
	if (torch_call_of(o, layout, &layout_args, &layout_n) != KNOWN_LAYOUT || layout_n != 1 || c == NULL)
		return torch_bad(o, node, "its layout is none");
	t->kind = pickle_is_text(o->g, layout_args[0], "torch.sparse_coo") ? TORCH_COO : TORCH_COMPRESSED;
	parts = t->kind == TORCH_COO ? 2 : 3;
	if (n < parts + 1 || n > parts + 2)
		return torch_bad(o, node, "it is not written as sparse tensors are");
	for (uint32_t i = 0; i < parts; i++) {
		values = torch_tensor_of(o, c[i]);
		if (values == NULL)
			return torch_bad(o, node, "a part of it is no tensor");
		t->part[i] = values->node;
		t->dtype = values->dtype;
	}
	return take_size(o, node, c[parts], t);
}

/* A tensor that holds others, in a way that is not gone into. */
static void take_parts(const struct torch_object *o, const uint32_t *a, uint32_t n, struct torch_tensor *t)
{
	uint32_t parts = 0;

	for (uint32_t i = 0; i < n && parts < 4; i++) {
		const struct torch_tensor *x = torch_tensor_of(o, a[i]);

		if (x == NULL)
			continue;
		if (parts == 0)
			t->dtype = x->dtype;
		t->part[parts++] = x->node;
	}
}

/* (scheme, scale, zero point) or (scheme, scales, zero points, axis). */
static void take_quantizer(const struct torch_object *o, uint32_t ref, struct torch_tensor *t)
{
	uint32_t n;
	const uint32_t *c = pickle_children(o->g, ref, &n);

	for (uint32_t i = 0; i < n && i < 4; i++)
		t->part[i] = pickle_target(o->g, c[i]);
}

/*
 * Reads the call of a known function with these arguments into *t: 1; 0 when it makes no tensor; -errno.
 * Called again with what a _rebuild_from_type_v2 wraps.
 */
static int take_call(struct torch_object *o, uint32_t node, enum torch_known known, const uint32_t *a,
		uint32_t n, struct torch_tensor *t)
{
	static const uint8_t least[] = {
		[KNOWN_TENSOR] = 4,
		[KNOWN_TENSOR_V2] = 6,
		[KNOWN_TENSOR_V3] = 7,
		[KNOWN_PARAMETER] = 3,
		[KNOWN_QTENSOR] = 7,
		[KNOWN_SPARSE] = 2,
		[KNOWN_SPARSE_CSR] = 2,
		[KNOWN_META] = 4,
		[KNOWN_NESTED] = 4,
		[KNOWN_FROM_TYPE] = 4,
		[KNOWN_WRAPPER] = 8,
		[KNOWN_DEVICE_NUMPY] = 4,
		[KNOWN_DEVICE_CPU] = 4,
	};
	const struct torch_tensor *inner;
	int rc = 0, dtype;

	if (known < KNOWN_TENSOR || known > KNOWN_DEVICE_CPU)
		return 0;
	if (n < least[known])
		return torch_bad(o, node, "too few arguments");
	switch (known) {
	case KNOWN_TENSOR:
	case KNOWN_TENSOR_V2:
		rc = take_strided(o, node, a, -1, t);
		t->requires_grad = n > 4 && truth(o, a[4]);
		if (rc == 0 && n > 6)
			rc = take_metadata(o, node, a[6], t);
		break;
	case KNOWN_TENSOR_V3:
		dtype = dtype_of(o, a[6]);
		if (dtype < 0)
			return torch_bad(o, node, "its dtype is not known");
		rc = take_strided(o, node, a, dtype, t);
		t->requires_grad = truth(o, a[4]);
		if (rc == 0 && n > 7)
			rc = take_metadata(o, node, a[7], t);
		break;
	case KNOWN_QTENSOR:
		t->kind = TORCH_QUANTIZED;
		rc = take_strided(o, node, a, -1, t);
		take_quantizer(o, a[4], t);
		t->requires_grad = truth(o, a[5]);
		break;
	case KNOWN_PARAMETER:
		inner = torch_tensor_of(o, a[0]);
		if (inner == NULL)
			return 0; /* of a class whose making is not known */
		*t = *inner;
		t->node = node;
		t->requires_grad = truth(o, a[1]);
		t->parameter = true;
		break;
	case KNOWN_SPARSE:
	case KNOWN_SPARSE_CSR:
		rc = take_sparse(o, node, a[0], a[1], t);
		break;
	case KNOWN_META:
		t->kind = TORCH_META;
		dtype = dtype_of(o, a[0]);
		if (dtype < 0)
			return torch_bad(o, node, "its dtype is not known");
		t->dtype = (uint8_t)dtype;
		rc = take_size(o, node, a[1], t);
		t->requires_grad = truth(o, a[3]);
		break;
	case KNOWN_NESTED:
		t->kind = TORCH_NESTED;
		take_parts(o, a, n, t);
		break;
	case KNOWN_WRAPPER:
		t->kind = TORCH_WRAPPER;
		dtype = dtype_of(o, a[1]);
		t->dtype = dtype < 0 ? TORCH_UNTYPED : (uint8_t)dtype;
		rc = take_size(o, node, a[2], t);
		t->requires_grad = truth(o, a[7]);
		break;
	default: /* KNOWN_DEVICE_NUMPY, KNOWN_DEVICE_CPU */
		t->kind = TORCH_COPY;
		take_parts(o, a, 1, t);
		dtype = dtype_of(o, a[1]);
		if (dtype >= 0)
			t->dtype = (uint8_t)dtype;
		inner = torch_tensor_of(o, a[0]);
		if (inner != NULL) {
			t->ndim = inner->ndim;
			t->dims = inner->dims;
			t->count = inner->count;
		}
		t->requires_grad = truth(o, a[3]);
		break;
	}
	return rc < 0 ? rc : 1;
}

/* Whether these arguments begin with a storage that is pickled inside, which is not gone into. */
static bool inside(const struct torch_object *o, enum torch_known known, const uint32_t *a, uint32_t n)
{
	const uint32_t *args;
	uint32_t count;

	if (n == 0 || (known != KNOWN_TENSOR && known != KNOWN_TENSOR_V2 && known != KNOWN_TENSOR_V3 &&
					known != KNOWN_QTENSOR))
		return false;
	return torch_call_of(o, a[0], &args, &count) == KNOWN_LOAD_BYTES;
}

int torch_take_tensor(struct torch_object *o, uint32_t node)
{
	struct torch_tensor t = {
		.node = node,
		.dtype = TORCH_UNTYPED,
		.storage = PICKLE_NIL,
		.part = { PICKLE_NIL, PICKLE_NIL, PICKLE_NIL, PICKLE_NIL },
	};
	const uint32_t *a;
	uint32_t n;
	enum torch_known known = torch_call_of(o, node, &a, &n);
	int rc;

	if (pickle_kind_of(o->g, node) != PICKLE_REDUCE)
		return 0;
	for (int i = 0; known == KNOWN_FROM_TYPE && i < WRAPPED_MAX; i++) {
		if (n < 4)
			return torch_bad(o, node, "too few arguments");
		known = torch_known_of(o, a[0]);
		a = pickle_children(o->g, a[2], &n);
	}
	if (inside(o, known, a, n))
		return 0;
	rc = take_call(o, node, known, a, n, &t);
	if (rc <= 0)
		return rc;
	rc = torch_room(&o->tensor, &o->tensor_cap, (size_t)o->tensors + 1, sizeof *o->tensor);
	if (rc == 0)
		o->tensor[o->tensors++] = t;
	return rc;
}
