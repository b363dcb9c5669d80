/*
 * torch_names.c: the classes and functions that are known by name.
 */
#include "torch_internal.h"

#include <string.h>

#include "pickle_internal.h"
#include "torch_names.h"

/* By module and name. */
static const struct {
	const char *module, *name;
	enum torch_known known;
} table[] = {
	{ "torch._utils", "_rebuild_tensor", KNOWN_TENSOR },
	{ "torch._utils", "_rebuild_tensor_v2", KNOWN_TENSOR_V2 },
	{ "torch._utils", "_rebuild_tensor_v3", KNOWN_TENSOR_V3 },
	{ "torch._utils", "_rebuild_parameter", KNOWN_PARAMETER },
	{ "torch._utils", "_rebuild_parameter_with_state", KNOWN_PARAMETER },
	{ "torch._utils", "_rebuild_qtensor", KNOWN_QTENSOR },
	{ "torch._utils", "_rebuild_sparse_tensor", KNOWN_SPARSE },
	{ "torch._utils", "_rebuild_sparse_csr_tensor", KNOWN_SPARSE_CSR },
	{ "torch._utils", "_rebuild_meta_tensor_no_storage", KNOWN_META },
	{ "torch._utils", "_rebuild_nested_tensor", KNOWN_NESTED },
	{ "torch._utils", "_rebuild_wrapper_subclass", KNOWN_WRAPPER },
	{ "torch._utils", "_rebuild_device_tensor_from_numpy", KNOWN_DEVICE_NUMPY },
	{ "torch._utils", "_rebuild_xla_tensor", KNOWN_DEVICE_NUMPY },
	{ "torch._utils", "_rebuild_device_tensor_from_cpu_tensor", KNOWN_DEVICE_CPU },
	{ "torch._tensor", "_rebuild_from_type_v2", KNOWN_FROM_TYPE },
	{ "torch", "Size", KNOWN_SIZE },
	{ "torch", "device", KNOWN_DEVICE },
	{ "avalanche.checkpointing.checkpoint_internals", "_recreate_pytorch_device", KNOWN_DEVICE },
	{ "torch.serialization", "_get_layout", KNOWN_LAYOUT },
	{ "collections", "OrderedDict", KNOWN_ORDERED_DICT },
	{ "collections", "defaultdict", KNOWN_DEFAULT_DICT },
	{ "collections", "Counter", KNOWN_COUNTER },
	{ "collections", "deque", KNOWN_DEQUE },
	{ "_codecs", "encode", KNOWN_ENCODE },
	{ "numpy.core.multiarray", "_reconstruct", KNOWN_NP_RECONSTRUCT },
	{ "numpy._core.multiarray", "_reconstruct", KNOWN_NP_RECONSTRUCT },
	{ "numpy.core.multiarray", "scalar", KNOWN_NP_SCALAR },
	{ "numpy._core.multiarray", "scalar", KNOWN_NP_SCALAR },
	{ "numpy.core.numeric", "_frombuffer", KNOWN_NP_FROMBUFFER },
	{ "numpy._core.numeric", "_frombuffer", KNOWN_NP_FROMBUFFER },
	{ "numpy", "dtype", KNOWN_NP_DTYPE },
	{ "torch.storage", "_load_from_bytes", KNOWN_LOAD_BYTES },
};

/* Of the module "builtins", or "__builtin__" as protocol 2 has it. */
static const struct {
	const char *name;
	enum torch_known known;
} builtins[] = {
	{ "dict", KNOWN_DICT },
	{ "list", KNOWN_LIST },
	{ "set", KNOWN_SET },
	{ "frozenset", KNOWN_SET },
	{ "bytes", KNOWN_BYTES },
	{ "bytearray", KNOWN_BYTEARRAY },
	{ "complex", KNOWN_COMPLEX },
};

static bool is(const char *p, size_t len, const char *what)
{
	return pickle_same(p, len, what, strlen(what));
}

enum torch_known torch_known_name(const struct pickle_global *what, uint8_t *dtype)
{
	const char *m = what->module, *n = what->name;
	size_t mlen = what->module_len, nlen = what->name_len;
	bool torch = is(m, mlen, "torch");
	int d;

	*dtype = TORCH_UNTYPED;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
		if (is(n, nlen, table[i].name) && is(m, mlen, table[i].module))
			return table[i].known;
	if (is(m, mlen, "__builtin__") || is(m, mlen, "builtins"))
		for (size_t i = 0; i < sizeof builtins / sizeof builtins[0]; i++)
			if (is(n, nlen, builtins[i].name))
				return builtins[i].known;
	if (torch || is(m, mlen, "torch.storage") || is(m, mlen, "torch.cuda")) {
		d = torch_dtype_of_storage(n, nlen);
		if (d < 0 && is(n, nlen, "_UntypedStorage")) /* 1.11, 1.12 */
			d = TORCH_UNTYPED;
		if (d >= 0) {
			*dtype = (uint8_t)d;
			return KNOWN_STORAGE;
		}
	}
	d = torch ? torch_dtype_of_name(n, nlen) : -1;
	if (d < 0)
		return KNOWN_NOT;
	*dtype = (uint8_t)d;
	return KNOWN_DTYPE;
}
