/*
 * view_globals.c: names of classes and functions that are safe to import, and such that are not.
 */
#include "view_globals.h"

#include <string.h>

#include "codec/torch_dtype.h"

struct known {
	const char *module, *name; /* name NULL: all of the module and of those below it */
};

static const struct known safe[] = {
	{ "collections", "OrderedDict" },
	{ "collections", "Counter" },
	{ "torch.nn.parameter", "Parameter" },
	{ "torch.serialization", "_get_layout" },
	{ "torch", "Size" },
	{ "torch", "Tensor" },
	{ "torch", "device" },
	{ "_codecs", "encode" },
	{ "builtins", "bytearray" },
	{ "builtins", "set" },
	{ "builtins", "complex" },
	{ "torch", "per_tensor_affine" },
	{ "torch", "per_tensor_symmetric" },
	{ "torch", "per_channel_affine" },
	{ "torch", "per_channel_symmetric" },
	{ "torch", "per_channel_affine_float_qparams" },
	{ "torch._utils", "_rebuild_parameter" },
	{ "torch._utils", "_rebuild_parameter_with_state" },
	{ "torch._utils", "_rebuild_qtensor" },
	{ "torch._utils", "_rebuild_tensor" },
	{ "torch._utils", "_rebuild_tensor_v2" },
	{ "torch._utils", "_rebuild_tensor_v3" },
	{ "torch._utils", "_rebuild_sparse_tensor" },
	{ "torch._utils", "_rebuild_meta_tensor_no_storage" },
	{ "torch._utils", "_rebuild_nested_tensor" },
	{ "torch._utils", "_rebuild_wrapper_subclass" },
	{ "torch._utils", "_rebuild_device_tensor_from_numpy" },
	{ "torch._utils", "_rebuild_device_tensor_from_cpu_tensor" },
	{ "torch._tensor", "_rebuild_from_type_v2" },
	{ "torch.storage", "TypedStorage" },
	{ "torch.storage", "UntypedStorage" },
};

static const struct known runs[] = {
	{ "os", NULL },
	{ "posix", NULL },
	{ "nt", NULL },
	{ "sys", NULL },
	{ "subprocess", NULL },
	{ "socket", NULL },
	{ "shutil", NULL },
	{ "runpy", NULL },
	{ "pty", NULL },
	{ "pickle", NULL },
	{ "_pickle", NULL },
	{ "ctypes", NULL },
	{ "importlib", NULL },
	{ "asyncio", NULL },
	{ "multiprocessing", NULL },
	{ "webbrowser", NULL },
	{ "urllib", NULL },
	{ "http", NULL },
	{ "requests", NULL },
	{ "code", NULL },
	{ "codeop", NULL },
	{ "bdb", NULL },
	{ "pdb", NULL },
	{ "timeit", NULL },
	{ "operator", NULL },
	{ "_operator", NULL },
	{ "functools", "partial" },
	{ "types", "FunctionType" },
	{ "types", "CodeType" },
	{ "builtins", "eval" },
	{ "builtins", "exec" },
	{ "builtins", "compile" },
	{ "builtins", "open" },
	{ "builtins", "getattr" },
	{ "builtins", "setattr" },
	{ "builtins", "__import__" },
	{ "builtins", "globals" },
	{ "builtins", "input" },
	{ "builtins", "breakpoint" },
	{ "torch", "load" },
	{ "torch.serialization", "load" },
	{ "torch.hub", NULL },
	{ "dill._dill", "_create_function" },
	{ "dill._dill", "_create_code" },
	{ "dill._dill", "_import_module" },
	{ "cloudpickle", NULL },
};

static bool is(const char *p, size_t len, const char *text)
{
	return strlen(text) == len && memcmp(p, text, len) == 0;
}

/* The module or one below it. */
static bool within(const char *p, size_t len, const char *module)
{
	size_t n = strlen(module);

	return len >= n && memcmp(p, module, n) == 0 && (len == n || p[n] == '.');
}

static bool listed(const struct known *list, size_t count, const char *module, size_t module_len,
		const char *name, size_t name_len)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i].name == NULL ? within(module, module_len, list[i].module)
					 : is(name, name_len, list[i].name) &&
								is(module, module_len, list[i].module))
			return true;
	}
	return false;
}

/*
 * torch._tensor_classes and _storage_classes: "FloatTensor", "FloatStorage". Those of sparse tensors have no
 * bool and complex.
 */
static bool is_typed(const char *name, size_t len, bool storages, bool cuda, bool sparse)
{
	static const char *const type[] = { "BFloat16", "Byte", "Char", "Double", "Float", "Half", "Int",
		"Long", "Short", "Bool", "ComplexDouble", "ComplexFloat", "QInt32", "QInt8", "QUInt2x4",
		"QUInt4x2", "QUInt8" };

	for (size_t i = 0; i < (sparse ? 9 : cuda ? 12 : sizeof type / sizeof type[0]); i++) {
		size_t n = strlen(type[i]);

		if (len <= n || memcmp(name, type[i], n) != 0)
			continue;
		if (storages && is(name + n, len - n, "Storage"))
			return true;
		if (i < 10 && is(name + n, len - n, "Tensor")) /* complex and quantized ones have no class */
			return true;
	}
	return false;
}

/* int1 .. int7 and uint1 .. uint7, which torch_dtype_of_name() does not know since none can be saved. */
static bool is_small_int(const char *name, size_t len)
{
	if (len > 0 && *name == 'u') {
		name++;
		len--;
	}
	return len == 4 && memcmp(name, "int", 3) == 0 && name[3] >= '1' && name[3] <= '7';
}

static bool is_dtype(const char *name, size_t len)
{
	int dtype = torch_dtype_of_name(name, len);

	/* Only under its own name: "float" and the other old names are not listed. */
	return is_small_int(name, len) ||
	       (dtype >= 0 && is(name, len, torch_dtype_info((enum torch_dtype)dtype)->name));
}

enum view_trust view_global_trust(const struct pickle_global *g)
{
	const char *module = g->module, *name = g->name;
	size_t module_len = g->module_len, len = g->name_len;
	bool torch = is(module, module_len, "torch"), cuda = is(module, module_len, "torch.cuda");
	bool sparse = is(module, module_len, "torch.sparse") || is(module, module_len, "torch.cuda.sparse");

	if (is(module, module_len, "__builtin__")) { /* as protocol 2 writes it */
		module = "builtins";
		module_len = strlen(module);
	}
	if (listed(safe, sizeof safe / sizeof safe[0], module, module_len, name, len) ||
			(torch && is_dtype(name, len)) ||
			((torch || cuda || sparse) && is_typed(name, len, torch || cuda, cuda, sparse)))
		return VIEW_SAFE;
	return listed(runs, sizeof runs / sizeof runs[0], module, module_len, name, len) ? VIEW_RUNS
											 : VIEW_OUTSIDE;
}

const char *view_trust_name(enum view_trust trust)
{
	return trust == VIEW_SAFE ? "safe" : trust == VIEW_OUTSIDE ? "outside" : "runs code";
}
