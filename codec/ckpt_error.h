/*
 * ckpt_error.h: how a failure is told.
 *
 * Every function of the house that can fail returns 0 (or a count) on success and -errno on failure.
 * Where the failure is first seen, a message for people is left in a buffer of the calling thread: lower
 * case, what failed first, the subject quoted, no full stop.  Callers further up may leave it as it is or
 * put a context before it; whoever talks to a person prints it.  A function that returns success leaves the
 * buffer alone.
 */
#ifndef CKPT_ERROR_H
#define CKPT_ERROR_H

/*
 * Sets this thread's message from a printf format and returns -err, so that the place of failure reads
 * `return ckpt_fail(EIO, "chunk %llu: payload damaged", id)`.  err is a positive errno.
 */
int ckpt_fail(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before this thread's message and returns rc (a negative errno) unchanged. */
int ckpt_context(int rc, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* This thread's last message; never NULL.  Valid until the thread's next ckpt_fail() or ckpt_context(). */
const char *ckpt_errmsg(void);

/*
 * A line for the log: stderr in the foreground, syslog (ident "ckptfs", LOG_DAEMON) once
 * ckpt_log_to_syslog() was called.  level is one of syslog(3)'s (LOG_ERR, LOG_WARNING, LOG_INFO).
 */
void ckpt_log(int level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ckpt_log_to_syslog(void);

#endif
