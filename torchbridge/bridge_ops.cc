/*
 * bridge_ops.cc: see bridge_ops.h.
 *
 * Written for libtorch 1.13 (Debian 12) to 2.13: what came between is asked for by the headers that brought it.
 */
#include "bridge_ops.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <new>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/version.h>

extern "C" {
#include "codec/torch_dtype.h"
}

namespace
{

constexpr int none = -1;

/* The dtype under which libtorch holds the elements: of quantized ones the integers. None: this libtorch has it not. */
int scalar_type(uint32_t dtype)
{
	switch (dtype) {
	case TORCH_FLOAT64:
		return static_cast<int>(at::kDouble);
	case TORCH_FLOAT32:
		return static_cast<int>(at::kFloat);
	case TORCH_FLOAT16:
		return static_cast<int>(at::kHalf);
	case TORCH_BFLOAT16:
		return static_cast<int>(at::kBFloat16);
	case TORCH_COMPLEX32:
		return static_cast<int>(at::kComplexHalf);
	case TORCH_COMPLEX64:
		return static_cast<int>(at::kComplexFloat);
	case TORCH_COMPLEX128:
		return static_cast<int>(at::kComplexDouble);
	case TORCH_INT8:
	case TORCH_QINT8:
		return static_cast<int>(at::kChar);
	case TORCH_INT16:
		return static_cast<int>(at::kShort);
	case TORCH_INT32:
	case TORCH_QINT32:
		return static_cast<int>(at::kInt);
	case TORCH_INT64:
		return static_cast<int>(at::kLong);
	case TORCH_UINT8:
	case TORCH_QUINT8:
		return static_cast<int>(at::kByte);
	case TORCH_BOOL:
		return static_cast<int>(at::kBool);
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
	case TORCH_UINT16:
		return static_cast<int>(at::ScalarType::UInt16);
	case TORCH_UINT32:
		return static_cast<int>(at::ScalarType::UInt32);
	case TORCH_UINT64:
		return static_cast<int>(at::ScalarType::UInt64);
#endif
#if __has_include(<c10/util/Float8_e4m3fn.h>)
	case TORCH_FLOAT8_E4M3FN:
		return static_cast<int>(at::ScalarType::Float8_e4m3fn);
	case TORCH_FLOAT8_E5M2:
		return static_cast<int>(at::ScalarType::Float8_e5m2);
#endif
#if __has_include(<c10/util/Float8_e4m3fnuz.h>)
	case TORCH_FLOAT8_E4M3FNUZ:
		return static_cast<int>(at::ScalarType::Float8_e4m3fnuz);
	case TORCH_FLOAT8_E5M2FNUZ:
		return static_cast<int>(at::ScalarType::Float8_e5m2fnuz);
#endif
#if __has_include(<c10/util/Float8_e8m0fnu.h>)
	case TORCH_FLOAT8_E8M0FNU:
		return static_cast<int>(at::ScalarType::Float8_e8m0fnu);
#endif
	default:
		return none;
	}
}

bool is_quantized(uint32_t dtype)
{
	return torch_dtype_info(static_cast<enum torch_dtype>(dtype))->quantized;
}

at::ScalarType quantized_type(uint32_t dtype)
{
	return dtype == TORCH_QINT8 ? at::kQInt8 : dtype == TORCH_QUINT8 ? at::kQUInt8 : at::kQInt32;
}

bool fail(struct bridge_wire_reply *r, int err, const char *what)
{
	r->status = -err;
	r->len = 0;
	/* The first line: what follows is where in libtorch's sources. */
	snprintf(r->text, sizeof r->text, "%.*s", static_cast<int>(strcspn(what, "\n")), what);
	return false;
}

/* The bytes in the first area as a tensor, without a copy. A bool's byte may be any number: not zero is true. */
at::Tensor load(uint8_t *in, uint32_t dtype, uint64_t count)
{
	const at::ScalarType type =
			dtype == TORCH_BOOL ? at::kByte : static_cast<at::ScalarType>(scalar_type(dtype));
	at::Tensor t = at::from_blob(in, { static_cast<int64_t>(count) }, at::TensorOptions().dtype(type));

	return dtype == TORCH_BOOL ? t.ne(0) : t;
}

void store(const at::Tensor &t, uint8_t *out, struct bridge_wire_reply *r)
{
	const at::Tensor flat = t.contiguous();
	const size_t len = static_cast<size_t>(flat.numel()) * flat.element_size();

	if (len > BRIDGE_WIRE_AREA) {
		fail(r, EIO, "the result is too long");
		return;
	}
	if (len > 0)
		memcpy(out, flat.data_ptr(), len);
	r->len = len;
}

void convert(const struct bridge_wire_request *q, uint8_t *in, uint8_t *out, struct bridge_wire_reply *r)
{
	at::Tensor t = load(in, q->from, q->count);

	if (is_quantized(q->from))
		t = at::_make_per_tensor_quantized_tensor(t, q->scale, q->zero_point).dequantize();
	if (is_quantized(q->to))
		t = at::quantize_per_tensor(t.to(at::kFloat), q->scale, q->zero_point, quantized_type(q->to))
				    .int_repr();
	else
		t = t.to(static_cast<at::ScalarType>(scalar_type(q->to)));
	store(t, out, r);
}

void stats(const struct bridge_wire_request *q, uint8_t *in, uint8_t *out, struct bridge_wire_reply *r)
{
	at::Tensor t = load(in, q->from, q->count), f;
	struct bridge_wire_stats s = {};

	if (t.is_complex())
		t = at::view_as_real(t.to(at::kComplexDouble)).flatten();
	t = t.to(at::kDouble);
	s.count = static_cast<double>(t.numel());
	s.nans = t.isnan().sum().item<double>();
	s.infs = t.isinf().sum().item<double>();
	f = t.masked_select(t.isfinite());
	s.min = s.max = s.mean = s.std = NAN;
	if (f.numel() > 0) {
		s.min = f.min().item<double>();
		s.max = f.max().item<double>();
		s.mean = f.mean().item<double>();
	}
	if (f.numel() > 1)
		s.std = f.std(true).item<double>();
	memcpy(out, &s, sizeof s);
	r->len = sizeof s;
}

/* How many devices of that type there are; 0 where this libtorch knows none. */
uint32_t devices(at::DeviceType type)
{
	return c10::impl::hasDeviceGuardImpl(type)
			       ? static_cast<uint32_t>(c10::impl::VirtualGuardImpl(type).deviceCount())
			       : 0;
}

bool is_here(const at::Device &d)
{
	const uint32_t index = d.has_index() ? static_cast<uint32_t>(d.index()) : 0;

	return d.is_cpu() || index < devices(d.type());
}

void check(const struct bridge_wire_request *q, uint8_t *in, uint8_t *out, struct bridge_wire_reply *r)
{
	const at::Device device(std::string(q->device));

	if (!is_here(device)) {
		fail(r, ENODEV, "no such device on this machine");
		return;
	}
	if (q->from == TORCH_BOOL)
		store(load(in, TORCH_UINT8, q->count).to(device, false, true).to(at::kCPU), out, r);
	else
		store(load(in, q->from, q->count).to(device, false, true).to(at::kCPU), out, r);
}

} // namespace

void bridge_ops_devices(struct bridge_wire_reply *hello)
{
	try {
		hello->cuda_built = c10::impl::hasDeviceGuardImpl(at::DeviceType::CUDA);
		hello->cuda = devices(at::DeviceType::CUDA);
		hello->xpu = devices(at::DeviceType::XPU);
		hello->mps = devices(at::DeviceType::MPS);
	} catch (const std::exception &) {
		/* A driver that does not match counts as no devices, as it does in Python. */
	}
	snprintf(hello->text, sizeof hello->text, "%s", TORCH_VERSION);
}

void bridge_ops_run(
		const struct bridge_wire_request *q, uint8_t *in, uint8_t *out, struct bridge_wire_reply *r)
{
	const uint32_t lacks = scalar_type(q->from) == none ? q->from : q->to;

	r->status = 0;
	r->len = 0;
	if (scalar_type(lacks) == none) {
		char text[sizeof r->text];

		snprintf(text, sizeof text, "libtorch %s has no %s", TORCH_VERSION,
				torch_dtype_info(static_cast<enum torch_dtype>(lacks))->name);
		fail(r, ENOTSUP, text);
		return;
	}
	if (q->op == BRIDGE_WIRE_CONVERT && is_quantized(q->from) && is_quantized(q->to)) {
		fail(r, ENOTSUP, "from one quantized dtype to another");
		return;
	}
	try {
		const c10::NoGradGuard no_grad;

		if (q->op == BRIDGE_WIRE_CONVERT)
			convert(q, in, out, r);
		else if (q->op == BRIDGE_WIRE_STATS)
			stats(q, in, out, r);
		else
			check(q, in, out, r);
	} catch (const c10::Error &e) {
		fail(r, q->op == BRIDGE_WIRE_CHECK ? EIO : ENOTSUP, e.what_without_backtrace());
	} catch (const std::bad_alloc &) {
		fail(r, ENOMEM, "out of memory");
	} catch (const std::exception &e) {
		fail(r, EIO, e.what());
	}
}

bool bridge_ops_warm(const char *device, uint8_t *in, uint8_t *out, struct bridge_wire_reply *r)
{
	struct bridge_wire_request q = {};

	/* One thread: pieces are small, and what they take is memory's time. */
	at::set_num_threads(1);
	memset(in, 0, BRIDGE_WIRE_AREA);
	q.scale = 1;
	q.count = 4096;
	for (uint32_t d = 0; d < TORCH_DTYPES; d++) {
		q.from = d;
		q.to = TORCH_FLOAT32;
		if (scalar_type(d) == none)
			continue;
		q.op = BRIDGE_WIRE_CONVERT;
		bridge_ops_run(&q, in, out, r);
		q.from = TORCH_FLOAT32;
		q.to = d;
		bridge_ops_run(&q, in, out, r);
	}
	q.from = q.to = TORCH_FLOAT32;
	q.op = BRIDGE_WIRE_STATS;
	bridge_ops_run(&q, in, out, r);
	if (device[0] == '\0')
		return true;
	/* A whole area, which libtorch's allocator then keeps: later ones need nothing new of the driver. */
	q.op = BRIDGE_WIRE_CHECK;
	q.from = q.to = TORCH_UINT8;
	q.count = BRIDGE_WIRE_AREA;
	snprintf(q.device, sizeof q.device, "%s", device);
	bridge_ops_run(&q, in, out, r);
	return r->status == 0;
}
