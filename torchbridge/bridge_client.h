/*
 * bridge_client.h: the helper process `ckptfs-bridge`, which has libtorch.
 *
 * It is started on demand, gets tensor bytes through shared memory (memfd), answers within a deadline or is
 * killed and started anew, and is reaped when idle.  The daemon never links libtorch, never crashes with it,
 * never forks with it in its memory.  Only validated (bytes, dtype, counts) reach it; it opens no file of a
 * user's.  Its cage: no network, no new privileges, seccomp, prlimit (bridge_cage.h).  What is said on the
 * wire: bridge_wire.h.
 *
 *   none --spawn--> starting --hello--> ready <--request, reply--
 *     ^                |                  |
 *     +---- it died, was killed for a deadline or a bad word, or was idle
 *
 * It is started without a context on any accelerator, which costs seconds and memory; only a check on one
 * starts it anew, for that one.  A start may take longer than a caller waits (a CUDA build reads gigabytes):
 * that caller gets -ETIMEDOUT and the start goes on for the next one, for two minutes.  A helper that ends
 * before its hello is not tried again for 30 s.  Tensors of any size are passed through the areas in pieces,
 * so memory is bounded.
 *
 * Without the program, or where it can't start, calls fail with -ENOSYS and a message that says how to get
 * it.
 */
#ifndef BRIDGE_CLIENT_H
#define BRIDGE_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bridge_math.h"
#include "codec/torch_dtype.h"

struct bridge_client;

/*
 * `program`: path of ckptfs-bridge; NULL: $CKPTFS_BRIDGE, beside this program, then $PATH. Starts nothing
 * yet. -ENOMEM.
 */
int bridge_client_new(const char *program, struct bridge_client **out);
/* Kills the helper. No call may be under way. */
void bridge_client_free(struct bridge_client *c);

/*
 * Each call: any thread, blocks at most `timeout_ms` (0: 10 s), the wait for other threads' calls included;
 * one at a time is served.  -ETIMEDOUT; -ENOSYS; -EIO: it died or said nonsense; -EINVAL, -ENOTSUP: it does
 * not do this; -ENOMEM.
 */

struct bridge_devices {
	unsigned cuda, xpu; /* how many */
	bool mps;
	bool cuda_known; /* this libtorch was built with CUDA; without, cuda is 0 whatever the machine has */
	char torch[64];  /* version of libtorch */
};
/* Remembered for the life of the client after the first answer. */
int bridge_client_devices(struct bridge_client *c, unsigned timeout_ms, struct bridge_devices *out);

/*
 * A tensor of `count` elements at p to another dtype, through libtorch's own conversion (float8, quantized
 * with scale and zero point, complex halves: what bridge_dtype.h does not do itself). dst has room for count
 * elements of `to`. From a quantized dtype its numbers are converted, to one they are quantized; scale and
 * zero_point count only there. -ENOTSUP: bits and packed dtypes, quantized to quantized, and dtypes that this
 * libtorch does not have.
 */
int bridge_client_convert(struct bridge_client *c, unsigned timeout_ms, enum torch_dtype from,
		enum torch_dtype to, const void *p, uint64_t count, double scale, int64_t zero_point,
		void *dst);

/*
 * Loads the bytes as a tensor on `device` and reads them back: 1 equal, 0 not; for checks on a machine that
 * has it. -ENODEV: no such device here.
 */
int bridge_client_check(struct bridge_client *c, unsigned timeout_ms, const char *device,
		enum torch_dtype dtype, const void *p, uint64_t count);

/*
 * libtorch's word on a tensor's statistics, done; what bridge_math.h is judged by. -EFBIG: more than fits an
 * area (8 MiB).
 */
int bridge_client_stats(struct bridge_client *c, unsigned timeout_ms, enum torch_dtype dtype, const void *p,
		uint64_t count, struct bridge_stats *out);

/*
 * Kills an idle helper (no request for `idle_s` seconds). Called now and then by the owner; does not wait for
 * a busy one.
 */
void bridge_client_reap(struct bridge_client *c, unsigned idle_s);

/*
 * The device that "auto" means on this machine, for a file saved on `was` ("cuda:3", or "" when on the CPU):
 * "cuda:0", "cpu". Where /dev has no device of NVIDIA's it is "cpu", and nothing is started; else the helper
 * says how many there are, or, if there is no helper that could know, /dev does.
 */
void bridge_client_auto(struct bridge_client *c, const char *was, char *out, size_t room);
/* The rule alone: on a machine with `cuda` devices. */
void bridge_auto_device(unsigned cuda, const char *was, char *out, size_t room);

#endif
