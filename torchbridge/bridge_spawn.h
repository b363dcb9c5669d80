/*
 * bridge_spawn.h: starting and ending the helper process of bridge_client.h.
 *
 * It is started with posix_spawn, which copies no memory and is safe with threads: its standard streams are
 * /dev/null, it has the two descriptors of bridge_wire.h and no others, no signal blocked or ignored, a
 * process group of its own (a ^C meant for the foreground program is not meant for it), and of the
 * environment only what tells the loader and CUDA their places.
 *
 * It is ended with SIGKILL.  One that does not go (asleep in a driver) is left to itself and waited for
 * later; when BRIDGE_DYING_MAX hang like this, no other is started.
 *
 * No locks: the owner has one.
 */
#ifndef BRIDGE_SPAWN_H
#define BRIDGE_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { BRIDGE_DYING_MAX = 4 };

struct bridge_helper {
	pid_t pid; /* 0: none */
	int socket;
	uint8_t *memory; /* BRIDGE_WIRE_MEMORY bytes, new with each helper: an ended one may still write its own */
	int status;      /* of the last one that ended, as waitpid(2) gives it */
	pid_t dying[BRIDGE_DYING_MAX];
};

void bridge_helper_init(struct bridge_helper *h);

/*
 * program: NULL to look for it.  device: the accelerator that it shall be able to use ("cuda:0"), or "".
 * -ENOSYS: there is none that can be executed; -EIO: too many hang; -ENOMEM, -EMFILE, ...
 */
int bridge_helper_spawn(struct bridge_helper *h, const char *program, const char *device);

/* Whether it has ended by itself. */
bool bridge_helper_gone(struct bridge_helper *h);

/* Ends it, if there is one, and frees what it had. Waits five seconds at most. */
void bridge_helper_kill(struct bridge_helper *h);

/*
 * How the last one ended, for a message: " with status 127", " by signal 9", or "". Valid until the next call
 * of a thread.
 */
const char *bridge_helper_how(const struct bridge_helper *h);

#endif
