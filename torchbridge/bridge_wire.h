/*
 * bridge_wire.h: what bridge_client.c and ckptfs-bridge say to one another.  C and C++.
 *
 * The helper is started with two descriptors and nothing else of its parent's:
 *
 *   3   a SOCK_SEQPACKET socket: messages of a fixed size, which arrive whole or not at all
 *   4   a memfd of BRIDGE_WIRE_MEMORY bytes, sealed against growing and shrinking: two areas, the first for what goes to the
 *       helper, the second for what comes back
 *
 *   helper                           client
 *   hello (what it found)    ->
 *                            <-      request    its bytes lie in the first area
 *   reply to it              ->                 its bytes lie in the second
 *
 * One request at a time.  Each side checks every field of what it gets, and gives up on the other (the helper
 * exits, the client kills it) when one is not as it must be.  End of file on the socket ends the helper.
 *
 * Numbers have the machine's order: both sides run on it, and are of one build or of two with the same
 * BRIDGE_WIRE_VERSION.
 */
#ifndef BRIDGE_WIRE_H
#define BRIDGE_WIRE_H

#include <stdint.h>

#define BRIDGE_WIRE_MAGIC UINT32_C(0x6b627274)

enum {
	BRIDGE_WIRE_VERSION = 1, /* raised with any change here, or in enum torch_dtype */
	BRIDGE_WIRE_SOCKET = 3,
	BRIDGE_WIRE_MEMFD = 4,
	BRIDGE_WIRE_AREA = 8 << 20, /* bytes of one area */
	BRIDGE_WIRE_MEMORY = 2 * BRIDGE_WIRE_AREA,
	BRIDGE_WIRE_DEVICE = 16, /* of a device's name, terminated */
};

enum bridge_wire_op {
	BRIDGE_WIRE_HELLO = 1,
	BRIDGE_WIRE_CONVERT, /* `count` elements of `from` to `to` */
	BRIDGE_WIRE_CHECK,   /* to `device` and back; from == to */
	BRIDGE_WIRE_STATS,   /* eight doubles come back: struct bridge_wire_stats */
	BRIDGE_WIRE_OPS,
};

struct bridge_wire_request {
	uint32_t magic;
	uint16_t version, op;
	uint64_t id;       /* the reply has the same */
	uint32_t from, to; /* enum torch_dtype, of numbers with whole bytes */
	uint64_t count;    /* elements; so many of both dtypes fit an area */
	double scale;      /* of a quantized dtype; finite, > 0 */
	int64_t zero_point;
	char device[BRIDGE_WIRE_DEVICE]; /* CHECK: "cpu", "cuda:0" */
};

struct bridge_wire_reply {
	uint32_t magic;
	uint16_t version, op;
	uint64_t id;
	int32_t status;          /* 0 or -errno, which is one of -EINVAL, -ENOTSUP, -ENOMEM, -ENODEV, -EIO */
	uint32_t cuda, xpu, mps; /* HELLO: how many there are */
	uint32_t cuda_built;     /* HELLO: whether this libtorch could know one */
	uint64_t len;            /* bytes in the second area */
	char text[128];          /* HELLO: libtorch's version; else why it failed; terminated */
};

struct bridge_wire_stats {
	double count, nans, infs, min, max, mean, std, unused;
};

#endif
