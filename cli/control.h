/*
 * control.h: commands on a store that is mounted.
 *
 * One process has a store open.  While it is mounted that process listens on the unix socket STORE/control, and a subcommand
 * that needs the store sends itself there: its words, its umask, and as descriptors (SCM_RIGHTS) its standard streams and
 * working directory.  The owner runs the same function on them in a thread, so output, progress bar and messages are the same,
 * and answers with the exit status.
 *
 *   client                                    owner
 *   connect, header + request + 4 fds  --->   SO_PEERCRED: its own euid or root, else refused with a reason
 *                                             runs the subcommand; writes to the client's descriptors
 *                                      <---   header + exit status, or header + refusal in words
 *   gone (Ctrl-C, killed): POLLRDHUP   --->   cli.cancel; the command cleans up and ends
 *
 * Every message is `struct control_header` (fixed width, little-endian) and `len` bytes.  Strings and lists are counted and
 * bounded: CONTROL_MAX for a message, so a broken peer costs at most that much memory.  Both sides compare
 * CONTROL_VERSION first; when it differs, the answer says so in words.  The layout of the header never changes.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <stddef.h>
#include <stdint.h>

struct cli;
struct fs;
struct target;
struct control_server;

enum { CONTROL_VERSION = 1, CONTROL_MAX = 8 << 20, CONTROL_CLIENTS = 32, CONTROL_FDS = 4 };

/*
 * Starts to listen on STORE/control (mode 0600; a socket left by a crash is replaced: the caller owns the store's lock) and to
 * serve clients in threads of its own, until control_server_stop().  mountpoint is told to clients.  fs is borrowed.
 * Does not need the mount to be up: call it before, so that no client finds an owner without an ear.
 */
int control_server_start(struct fs *fs, const char *mountpoint, struct control_server **out);

/*
 * Stops listening, cancels the commands under way, waits for them and removes the socket.  To be called before fs_close(). NULL is fine.
 */
void control_server_stop(struct control_server *s);

/*
 * Carries out c's command in the owner of `store` (a path).  Returns 0 with the exit status in *status; -ENOENT or -ECONNREFUSED
 * when nobody listens there; other -errno with a message (refused, versions differ, owner died).
 */
int control_run(struct cli *c, const char *store, const struct target *targets, size_t ntargets,
		unsigned need, int *status);

/*
 * A request's body:   u32 need (enum cli_need), umask, flags (CONTROL_COLOUR)
 *                     u32 argc, argc texts
 *                     u32 targets, each: u32 in_store, text, text path
 *                     u32 steps of the time zone (0: the owner's own), each: u64 from, u32 offset
 * with four descriptors: standard input, output, error, working directory.
 * A status is u32; a refusal a text.
 */
enum { CONTROL_COLOUR = 1 };
enum { CONTROL_WORDS_MAX = 1 << 17, CONTROL_STEPS_MAX = 1024 };

/* --- the wire (control_wire.c), shared by both sides ------------------------------------------------ */

enum control_kind { CONTROL_REQUEST = 1, CONTROL_STATUS = 2, CONTROL_REFUSED = 3 };

/* A growing message, or one being read. */
struct control_msg {
	uint8_t *p;
	size_t len, cap; /* len: written, or available to read */
	size_t at;       /* read so far */
	int error;       /* sticky: 0 or -errno (-ENOMEM, -EMSGSIZE writing; -EPROTO reading) */
};
void control_msg_init(struct control_msg *m);
void control_msg_release(struct control_msg *m);
void control_put_u32(struct control_msg *m, uint32_t v);
void control_put_u64(struct control_msg *m, uint64_t v);
void control_put_text(struct control_msg *m, const char *s); /* NULL is kept as NULL */
uint32_t control_get_u32(struct control_msg *m);
uint64_t control_get_u64(struct control_msg *m);
/* A string inside the message, terminated, without NULs within; NULL for NULL or after an error. */
const char *control_get_text(struct control_msg *m);

/* Sends a message with nfds descriptors on its first byte. -EPIPE and the like. */
int control_send(int sock, enum control_kind kind, const struct control_msg *m, const int *fds, size_t nfds);
/*
 * Receives one.  fds gets up to *nfds descriptors, caller closes; others are closed here.  -EPROTONOSUPPORT: the other side
 * speaks another version; -EPROTO; -ECONNRESET: it went away.  *kind and *m are set on success.
 */
int control_receive(int sock, enum control_kind *kind, struct control_msg *m, int *fds, size_t *nfds);

#endif
