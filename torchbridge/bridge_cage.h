/*
 * bridge_cage.h: what ckptfs-bridge gives up before it sees a byte of a user's.
 *
 *   on entering   all capabilities, new privileges, core dumps, being traced; pipes that break do not kill
 *   on closing    memory beyond what it has and BRIDGE_CAGE_MEMORY more; growing files; and all system calls but those that
 *                 computing takes: memory (never executable), threads of its own, time, the descriptors that are open
 *
 * So once closed it opens no file, makes no socket, starts no program, traces and signals nobody.  What is
 * refused fails with EPERM, so that a library that asks for more than it needs goes on without it.  What a
 * device's driver needs is opened before the cage is closed; then ioctl stays allowed, on what is open.
 *
 * Functions return NULL, or what failed.
 */
#ifndef BRIDGE_CAGE_H
#define BRIDGE_CAGE_H

enum { BRIDGE_CAGE_MEMORY_MB = 1024, BRIDGE_CAGE_CPU_S = 60 };

/* First thing in main(), before there are threads. */
const char *bridge_cage_enter(void);

/*
 * For good, and for all threads. device: an accelerator is in use, whose address space has no bound that
 * means anything.
 */
const char *bridge_cage_close(bool device);

/*
 * A request begins: it has BRIDGE_CAGE_CPU_S seconds of the processors, should nobody be there any more to
 * end it.
 */
void bridge_cage_request(void);

#endif
