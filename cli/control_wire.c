/*
 * control_wire.c: messages on the control socket, put together and taken apart.  See control.h for the protocol.
 *
 * On the wire a message is a header of 16 bytes, little-endian:
 *
 *   0   4   "CKFS"
 *   4   2   protocol version
 *   6   2   kind
 *   8   4   length of the body
 *   12  4   0
 *
 * and the body: u32 and u64 little-endian, texts as u32 length + bytes + NUL (length 0xffffffff: NULL).
 */
#include "control.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/ckpt_error.h"

struct control_header {
	uint8_t magic[4];
	uint16_t version, kind;
	uint32_t len, zero;
};
_Static_assert(sizeof(struct control_header) == 16, "the header's layout never changes");

static const uint8_t magic[4] = { 'C', 'K', 'F', 'S' };
enum { NULL_TEXT = -1, FDS_MAX = 8 };

void control_msg_init(struct control_msg *m)
{
	*m = (struct control_msg){ 0 };
}

void control_msg_release(struct control_msg *m)
{
	free(m->p);
	control_msg_init(m);
}

/* --- writing -------------------------------------------------------------------------------------- */

static void put(struct control_msg *m, const void *p, size_t n)
{
	if (m->error != 0)
		return;
	if (n > CONTROL_MAX || m->len > CONTROL_MAX - n) {
		m->error = -EMSGSIZE;
		return;
	}
	if (m->len + n > m->cap) {
		size_t cap = m->cap ? m->cap : 1024;
		uint8_t *grown;

		while (cap < m->len + n)
			cap *= 2;
		grown = realloc(m->p, cap);
		if (grown == NULL) {
			m->error = -ENOMEM;
			return;
		}
		m->p = grown;
		m->cap = cap;
	}
	memcpy(m->p + m->len, p, n);
	m->len += n;
}

void control_put_u32(struct control_msg *m, uint32_t v)
{
	v = htole32(v);
	put(m, &v, sizeof(v));
}

void control_put_u64(struct control_msg *m, uint64_t v)
{
	v = htole64(v);
	put(m, &v, sizeof(v));
}

void control_put_text(struct control_msg *m, const char *s)
{
	size_t n = s != NULL ? strlen(s) : 0;

	if (s == NULL) {
		control_put_u32(m, (uint32_t)NULL_TEXT);
		return;
	}
	if (n > CONTROL_MAX) {
		m->error = m->error != 0 ? m->error : -EMSGSIZE;
		return;
	}
	control_put_u32(m, (uint32_t)n);
	put(m, s, n + 1);
}

/* --- reading -------------------------------------------------------------------------------------- */

static const void *take(struct control_msg *m, size_t n)
{
	const void *p = m->p + m->at;

	if (m->error != 0)
		return NULL;
	if (n > m->len - m->at) {
		m->error = -EPROTO;
		return NULL;
	}
	m->at += n;
	return p;
}

uint32_t control_get_u32(struct control_msg *m)
{
	const void *p = take(m, 4);
	uint32_t v = 0;

	if (p != NULL)
		memcpy(&v, p, 4);
	return le32toh(v);
}

uint64_t control_get_u64(struct control_msg *m)
{
	const void *p = take(m, 8);
	uint64_t v = 0;

	if (p != NULL)
		memcpy(&v, p, 8);
	return le64toh(v);
}

const char *control_get_text(struct control_msg *m)
{
	uint32_t n = control_get_u32(m);
	const char *s;

	if (m->error != 0 || n == (uint32_t)NULL_TEXT)
		return NULL;
	s = take(m, (size_t)n + 1);
	if (s != NULL && (s[n] != '\0' || strlen(s) != n)) {
		m->error = -EPROTO;
		return NULL;
	}
	return s;
}

/* --- the socket ----------------------------------------------------------------------------------- */

int control_send(int sock, enum control_kind kind, const struct control_msg *m, const int *fds, size_t nfds)
{
	struct control_header h = { .version = htole16(CONTROL_VERSION), .kind = htole16((uint16_t)kind) };
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} u;
	struct iovec iov[2] = { { &h, sizeof(h) }, { m->p, m->len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	size_t left = sizeof(h) + m->len;

	if (m->error != 0)
		return ckpt_fail(-m->error, "control message: %s", strerror(-m->error));
	if (nfds > FDS_MAX)
		return ckpt_fail(EINVAL, "control message: %zu descriptors", nfds);
	memcpy(h.magic, magic, sizeof(magic));
	h.len = htole32((uint32_t)m->len);
	if (nfds > 0) {
		struct cmsghdr *cm;

		memset(&u, 0, sizeof(u));
		msg.msg_control = u.buf;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cm = CMSG_FIRSTHDR(&msg);
		cm->cmsg_level = SOL_SOCKET;
		cm->cmsg_type = SCM_RIGHTS;
		cm->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(cm), fds, nfds * sizeof(int));
	}
	while (left > 0) {
		ssize_t k = sendmsg(sock, &msg, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return ckpt_fail(errno, "control socket: %s", strerror(errno));
		left -= (size_t)k;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
		for (int i = 0; i < 2 && k > 0; i++) {
			size_t step = (size_t)k < iov[i].iov_len ? (size_t)k : iov[i].iov_len;

			iov[i].iov_base = (uint8_t *)iov[i].iov_base + step;
			iov[i].iov_len -= step;
			k -= (ssize_t)step;
		}
	}
	return 0;
}

/* Descriptors that came along: the first `room` are kept in fds, others closed. */
static size_t take_fds(struct msghdr *msg, int *fds, size_t have, size_t room)
{
	for (struct cmsghdr *cm = CMSG_FIRSTHDR(msg); cm != NULL; cm = CMSG_NXTHDR(msg, cm)) {
		size_t n;

		if (cm->cmsg_level != SOL_SOCKET || cm->cmsg_type != SCM_RIGHTS)
			continue;
		n = (cm->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cm) + i * sizeof(int), sizeof(fd));
			if (have < room)
				fds[have++] = fd;
			else
				close(fd);
		}
	}
	return have;
}

/* Reads exactly n bytes, with the descriptors that come with them. */
static int receive_all(int sock, void *p, size_t n, int *fds, size_t *have, size_t room)
{
	union {
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} u;
	size_t done = 0;

	while (done < n) {
		struct iovec iov = { (uint8_t *)p + done, n - done };
		struct msghdr msg = { .msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = u.buf,
			.msg_controllen = sizeof(u.buf) };
		ssize_t k = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return ckpt_fail(errno, "control socket: %s", strerror(errno));
		*have = take_fds(&msg, fds, *have, room);
		if (k == 0)
			return ckpt_fail(ECONNRESET, "control socket: the other side went away");
		done += (size_t)k;
	}
	return 0;
}

int control_receive(int sock, enum control_kind *kind, struct control_msg *m, int *fds, size_t *nfds)
{
	struct control_header h;
	size_t have = 0, room = nfds != NULL ? *nfds : 0;
	uint32_t len;
	int rc;

	control_msg_init(m);
	rc = receive_all(sock, &h, sizeof(h), fds, &have, room);
	if (rc != 0)
		goto fail;
	if (memcmp(h.magic, magic, sizeof(magic)) != 0) {
		rc = ckpt_fail(EPROTO, "control socket: not the ckptfs protocol");
		goto fail;
	}
	len = le32toh(h.len);
	if (le16toh(h.version) != CONTROL_VERSION) {
		rc = ckpt_fail(EPROTONOSUPPORT,
				"control socket: the other side speaks version %u of the protocol, this "
				"program %u",
				le16toh(h.version), CONTROL_VERSION);
		goto fail;
	}
	if (len > CONTROL_MAX || h.zero != 0) {
		rc = ckpt_fail(EPROTO, "control socket: message of %lu bytes", (unsigned long)len);
		goto fail;
	}
	m->p = malloc(len > 0 ? len : 1);
	if (m->p == NULL) {
		rc = ckpt_fail(ENOMEM, "control socket: out of memory");
		goto fail;
	}
	m->cap = m->len = len;
	rc = receive_all(sock, m->p, len, fds, &have, room);
	if (rc != 0)
		goto fail;
	*kind = (enum control_kind)le16toh(h.kind);
	if (nfds != NULL)
		*nfds = have;
	return 0;
fail:
	while (have > 0)
		close(fds[--have]);
	control_msg_release(m);
	return rc;
}
