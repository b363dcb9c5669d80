/*
 * bridge_main.cc: ckptfs-bridge, the helper process with libtorch.
 *
 *   ckptfs-bridge [DEVICE]     started by ckptfs, with the descriptors of bridge_wire.h
 *   ckptfs-bridge --version    which libtorch, which devices; to see that it starts
 *
 * Order matters: give up privileges; look at the descriptors; let libtorch load and start all that it ever will; close the
 * cage; say hello; only then comes the first byte of a user's.  A request with a wrong field ends the process: its client
 * is no client of ours.
 */
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bridge_cage.h"
#include "bridge_ops.h"
#include "bridge_wire.h"
extern "C" {
#include "codec/torch_dtype.h"
}

namespace
{

enum { BAD_CLIENT = 3 };

/* "cpu", "cuda", "cuda:1": letters, and perhaps a number. */
bool is_device(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz");

	if (n == 0 || strnlen(s, BRIDGE_WIRE_DEVICE) == BRIDGE_WIRE_DEVICE)
		return false;
	if (s[n] == '\0')
		return true;
	return s[n] == ':' && s[n + 1] != '\0' && strspn(s + n + 1, "0123456789") == strlen(s + n + 1) &&
	       strlen(s + n + 1) <= 3;
}

/* Of whole bytes, so that counts say how long it is. */
bool is_dtype(uint32_t d)
{
	return d < TORCH_DTYPES && !torch_dtype_info(static_cast<enum torch_dtype>(d))->packed;
}

bool is_sound(const struct bridge_wire_request *q)
{
	if (q->magic != BRIDGE_WIRE_MAGIC || q->version != BRIDGE_WIRE_VERSION ||
			q->op <= BRIDGE_WIRE_HELLO || q->op >= BRIDGE_WIRE_OPS || !is_dtype(q->from) ||
			!is_dtype(q->to))
		return false;
	if (q->op != BRIDGE_WIRE_CONVERT && q->from != q->to)
		return false;
	if (q->op == BRIDGE_WIRE_CHECK && !is_device(q->device))
		return false;
	/* Zero points are of the integers that they are added to. */
	if (!std::isfinite(q->scale) || q->scale < 0 || q->zero_point < INT32_MIN ||
			q->zero_point > INT32_MAX)
		return false;
	return q->count <= BRIDGE_WIRE_AREA / torch_dtype_info(static_cast<enum torch_dtype>(q->from))
							       ->width &&
	       q->count <= BRIDGE_WIRE_AREA / torch_dtype_info(static_cast<enum torch_dtype>(q->to))->width;
}

bool say(struct bridge_wire_reply *r)
{
	ssize_t n;

	r->magic = BRIDGE_WIRE_MAGIC;
	r->version = BRIDGE_WIRE_VERSION;
	do
		n = write(BRIDGE_WIRE_SOCKET, r, sizeof *r);
	while (n < 0 && errno == EINTR);
	return n == static_cast<ssize_t>(sizeof *r);
}

/* The shared memory, or NULL when there is none of the right kind. */
uint8_t *map(void)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW;
	struct stat st;
	void *p;

	if (fstat(BRIDGE_WIRE_SOCKET, &st) != 0 || !S_ISSOCK(st.st_mode))
		return nullptr;
	if (fstat(BRIDGE_WIRE_MEMFD, &st) != 0 || st.st_size != BRIDGE_WIRE_MEMORY)
		return nullptr;
	if ((fcntl(BRIDGE_WIRE_MEMFD, F_GET_SEALS) & seals) != seals)
		return nullptr;
	p = mmap(nullptr, BRIDGE_WIRE_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, BRIDGE_WIRE_MEMFD, 0);
	return p == MAP_FAILED ? nullptr : static_cast<uint8_t *>(p);
}

int serve(uint8_t *in, uint8_t *out)
{
	for (;;) {
		struct bridge_wire_request q = {};
		struct bridge_wire_reply r = {};
		ssize_t n = read(BRIDGE_WIRE_SOCKET, &q, sizeof q);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			return 0;
		if (n != static_cast<ssize_t>(sizeof q) || !is_sound(&q))
			return BAD_CLIENT;
		bridge_cage_request();
		r.op = q.op;
		r.id = q.id;
		bridge_ops_run(&q, in, out, &r);
		if (!say(&r))
			return 0;
	}
}

int version(void)
{
	struct bridge_wire_reply r = {};

	bridge_ops_devices(&r);
	printf("ckptfs-bridge %s, protocol %d\nlibtorch %s, %s CUDA\n", CKPTFS_VERSION, BRIDGE_WIRE_VERSION,
			r.text, r.cuda_built ? "with" : "without");
	printf("devices: cuda %u, xpu %u, mps %u\n", r.cuda, r.xpu, r.mps);
	return fflush(stdout) == 0 ? 0 : 1;
}

int usage(void)
{
	fputs("ckptfs-bridge is started by ckptfs; by hand: ckptfs-bridge --version\n", stderr);
	return 2;
}

} // namespace

int main(int argc, char **argv)
{
	const char *device = argc > 1 ? argv[1] : "";
	struct bridge_wire_reply hello = {};
	const char *failed;
	uint8_t *memory;

	if (argc == 2 && strcmp(device, "--version") == 0)
		return version();
	memory = map();
	if (argc > 2 || memory == nullptr || (device[0] != '\0' && !is_device(device)))
		return usage();
	failed = bridge_cage_enter();
	if (failed == nullptr) {
		bridge_ops_devices(&hello);
		if (!bridge_ops_warm(device, memory, memory + BRIDGE_WIRE_AREA, &hello))
			device = "";
		/* A device that does not work is told to who asks for it. */
		hello.status = 0;
		bridge_ops_devices(&hello);
		failed = bridge_cage_close(device[0] != '\0');
	}
	hello.op = BRIDGE_WIRE_HELLO;
	hello.len = 0;
	if (failed != nullptr) {
		hello.status = -EIO;
		snprintf(hello.text, sizeof hello.text, "its cage can't be closed: %s", failed);
	}
	if (!say(&hello) || failed != nullptr)
		return 1;
	_exit(serve(memory, memory + BRIDGE_WIRE_AREA));
}
