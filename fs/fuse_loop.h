/*
 * fuse_loop.h: the threads that read and answer the kernel's requests.
 */
#ifndef FUSE_LOOP_H
#define FUSE_LOOP_H

struct fuse_session;
struct fuse_loop;
struct fuse_buf;

/* A loop for a mounted session with at most max_threads threads. -ENOMEM. */
int fuse_loop_new(struct fuse_session *se, unsigned max_threads, struct fuse_loop **out);
/* Serves until the session is exited or unmounted; returns 0 or -errno when the device failed or no thread could be started. */
int fuse_loop_run(struct fuse_loop *l);
/* Interrupts the thread that reads with SIGUSR1, so that it sees a session that was exited. To be repeated: it may not have begun to read. */
void fuse_loop_interrupt(struct fuse_loop *l);
/*
 * For a thread that serves a request and has answered it: what it does next can go on beside other requests.  If one waits
 * already, somebody else is woken to take it.
 */
void fuse_loop_beside(void);
void fuse_loop_free(struct fuse_loop *l);

/* Makes a request that libfuse knows of the one for O_TMPFILE (fuse_tmpfile.c). */
void fuse_tmpfile_to_create(struct fuse_buf *request);

#endif
