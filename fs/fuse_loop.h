/*
 * fuse_loop.h: the threads that read and answer the kernel's requests.
 */
#ifndef FUSE_LOOP_H
#define FUSE_LOOP_H

struct fuse_session;
struct fuse_loop;

/* A loop for a mounted session with at most max_threads threads. -ENOMEM. */
int fuse_loop_new(struct fuse_session *se, unsigned max_threads, struct fuse_loop **out);
/* Serves until the session is exited or unmounted; returns 0 or -errno when the device failed or no thread could be started. */
int fuse_loop_run(struct fuse_loop *l);
/* Interrupts the thread that reads with SIGUSR1, so that it sees a session that was exited. To be repeated: it may not have begun to read. */
void fuse_loop_interrupt(struct fuse_loop *l);
void fuse_loop_free(struct fuse_loop *l);

#endif
