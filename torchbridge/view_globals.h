/*
 * view_globals.h: what loading a pickle would import, judged by torch's own list.
 *
 * torch.load(weights_only=True) takes the globals of _get_allowed_globals() in
 * torch/_weights_only_unpickler.py (2.13) and no others, besides those a program adds itself.  The rest is
 * for the plain unpickler, which imports and calls whatever it is told; of these, some are known to be the
 * means of those who write pickles to hurt (the lists of the unpickler's blocked modules and of pickle
 * scanners).
 */
#ifndef VIEW_GLOBALS_H
#define VIEW_GLOBALS_H

#include "codec/pickle_graph.h"

enum view_trust {
	VIEW_SAFE,    /* on torch's list */
	VIEW_OUTSIDE, /* not on it: weights_only refuses the file */
	VIEW_RUNS,    /* runs commands or code, opens files or connections */
};
enum view_trust view_global_trust(const struct pickle_global *g);

/* "safe", "outside", "runs code" */
const char *view_trust_name(enum view_trust trust);

#endif
