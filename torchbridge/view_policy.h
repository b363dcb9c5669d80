/*
 * view_policy.h: which parts of a training's state are not like the rest (bridge_view.h has the rules).
 *
 *   rng      a 1-D uint8 tensor below a key like rng_state, random_states or torch_manual_seed, or as long as
 *            a state of a generator: 5056 (mt19937, torch.get_rng_state()), 16 (CUDA), 808, 816 (old CUDA)
 *   step     one number under "step", below "state", of an optimizer that is neither capturable nor fused
 *            (param_groups)
 *   replay   what lies below a key with "replay" in it, "buffer" or "..._buffer", but an optimizer's own
 *            (momentum_buffer)
 *   scale    scales and zero points of a quantized tensor
 *
 * Keys are those of dicts and names of attributes, without regard to case.  A tensor is what it is by where
 * the object first mentions it; a storage, by all of its tensors.
 */
#ifndef VIEW_POLICY_H
#define VIEW_POLICY_H

#include "bridge_doc.h"

enum {
	VIEW_RNG = 1,
	VIEW_STEP = 2,
	VIEW_REPLAY = 4,
	VIEW_SCALE = 8,
	VIEW_MOVING_STEP = 16, /* a step, of an optimizer that has it on its device */
};

/* *out: for each storage of a torch file what it holds, as bits; the caller frees it. */
int view_policy(const struct bridge_doc *d, uint8_t **out);

#endif
