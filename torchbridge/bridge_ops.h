/*
 * bridge_ops.h: what ckptfs-bridge does with libtorch.
 *
 * bridge_ops.cc is the only file of the house that includes libtorch's headers.  It takes requests whose
 * fields bridge_main.cc has checked, reads the first area and writes the second (bridge_wire.h), and lets no
 * exception out.
 */
#ifndef BRIDGE_OPS_H
#define BRIDGE_OPS_H

#include <cstdint>

#include "bridge_wire.h"

/* libtorch's version, and the devices of this machine, into a hello. */
void bridge_ops_devices(struct bridge_wire_reply *hello);

/*
 * Does each kind of work once, so that what libtorch loads, opens or starts at first use is there before the
 * cage is closed; with a device's name ("cuda:0") there too. False, and why in *r: no such device, or it does
 * not work.
 */
bool bridge_ops_warm(const char *device, uint8_t *in, uint8_t *out, struct bridge_wire_reply *r);

/* Carries out q; r->status, r->len and r->text are set. */
void bridge_ops_run(
		const struct bridge_wire_request *q, uint8_t *in, uint8_t *out, struct bridge_wire_reply *r);

#endif
