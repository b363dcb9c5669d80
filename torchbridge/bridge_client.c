/*
 * bridge_client.c: see bridge_client.h.  How the helper is started and ended is in bridge_spawn.c.
 */
#include "bridge_client.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "bridge_spawn.h"
#include "bridge_wire.h"
#include "codec/ckpt_error.h"

enum { DEFAULT_MS = 10000, START_MAX_MS = 120000, RETRY_MS = 30000 };

struct bridge_client {
	pthread_mutex_t lock; /* guards busy; the only lock */
	pthread_cond_t idle;  /* by CLOCK_MONOTONIC */
	bool busy;            /* a request is under way; who set it has all below to himself */
	char *program;        /* as given; NULL: looked for */
	struct bridge_helper helper;
	char device[BRIDGE_WIRE_DEVICE]; /* the accelerator that it was started for; "" none */
	bool ready;                      /* it has said hello */
	int64_t started_ms, used_ms;
	int64_t retry_ms; /* no start before; 0: at once */
	uint64_t next_id;
	struct bridge_devices devices;
	bool devices_known;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int bridge_client_new(const char *program, struct bridge_client **out)
{
	struct bridge_client *c = calloc(1, sizeof(*c));
	pthread_condattr_t monotonic;

	if (c == NULL)
		return ckpt_fail(ENOMEM, "bridge: out of memory");
	bridge_helper_init(&c->helper);
	if (program != NULL) {
		c->program = strdup(program);
		if (c->program == NULL) {
			free(c);
			return ckpt_fail(ENOMEM, "bridge: out of memory");
		}
	}
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&c->idle, &monotonic);
	pthread_condattr_destroy(&monotonic);
	*out = c;
	return 0;
}

void bridge_client_free(struct bridge_client *c)
{
	if (c == NULL)
		return;
	bridge_helper_kill(&c->helper);
	pthread_cond_destroy(&c->idle);
	pthread_mutex_destroy(&c->lock);
	free(c->program);
	free(c);
}

/*
 * The client is the caller's until end(); *deadline is when his time is over.  (Not a mutex held for as long with
 * pthread_mutex_clocklock(): thread sanitizers of today don't see that one.)
 */
static int begin(struct bridge_client *c, unsigned timeout_ms, int64_t *deadline)
{
	struct timespec t;
	bool mine;
	int rc = 0;

	*deadline = now_ms() + (timeout_ms > 0 ? timeout_ms : DEFAULT_MS);
	t.tv_sec = (time_t)(*deadline / 1000);
	t.tv_nsec = (long)(*deadline % 1000) * 1000000;
	pthread_mutex_lock(&c->lock);
	while (c->busy && rc == 0)
		rc = pthread_cond_timedwait(&c->idle, &c->lock, &t);
	mine = !c->busy;
	c->busy = true;
	pthread_mutex_unlock(&c->lock);
	return mine ? 0 : ckpt_fail(ETIMEDOUT, "bridge: busy with other requests");
}

static void end(struct bridge_client *c)
{
	pthread_mutex_lock(&c->lock);
	c->busy = false;
	pthread_cond_signal(&c->idle);
	pthread_mutex_unlock(&c->lock);
}

static void give_up(struct bridge_client *c)
{
	bridge_helper_kill(&c->helper);
	c->ready = false;
}

/* The next message, within the deadline. -ETIMEDOUT leaves the helper as it is; after -EIO it is gone. */
static int receive(struct bridge_client *c, int64_t deadline, struct bridge_wire_reply *r)
{
	struct pollfd pf = { .fd = c->helper.socket, .events = POLLIN };
	ssize_t n;

	for (;;) {
		int64_t left = deadline - now_ms();
		int k = poll(&pf, 1, left > 0 ? (int)left : 0);

		if (k > 0)
			break;
		if (k < 0 && errno == EINTR)
			continue;
		return ckpt_fail(ETIMEDOUT, "bridge: no answer in time");
	}
	n = recv(c->helper.socket, r, sizeof(*r), MSG_DONTWAIT | MSG_TRUNC);
	if (n == (ssize_t)sizeof(*r) && r->magic == BRIDGE_WIRE_MAGIC && r->version == BRIDGE_WIRE_VERSION &&
			memchr(r->text, '\0', sizeof(r->text)) != NULL && r->len <= BRIDGE_WIRE_AREA)
		return 0;
	give_up(c);
	if (n > 0)
		return ckpt_fail(EIO,
				"bridge: ckptfs-bridge speaks another version of the protocol, or nonsense");
	return ckpt_fail(EIO, "bridge: ckptfs-bridge ended%s", bridge_helper_how(&c->helper));
}

static int start(struct bridge_client *c, const char *device)
{
	int rc;

	if (c->retry_ms != 0 && now_ms() < c->retry_ms)
		return ckpt_fail(ENOSYS, "bridge: ckptfs-bridge does not start (run `ckptfs-bridge "
					 "--version` to see why)");
	snprintf(c->device, sizeof(c->device), "%s", device);
	rc = bridge_helper_spawn(&c->helper, c->program, device);
	c->started_ms = now_ms();
	return rc;
}

/* Makes sure that a helper is there, can use the device ("": any can do what is asked), and has said hello. */
static int get_ready(struct bridge_client *c, int64_t deadline, const char *device)
{
	struct bridge_wire_reply r;
	int rc;

	/* One that died since its last request did no harm to this one. */
	if (c->helper.pid > 0 && c->ready && bridge_helper_gone(&c->helper))
		give_up(c);
	if (c->helper.pid > 0 && device[0] != '\0' && strcmp(device, c->device) != 0)
		give_up(c);
	if (c->ready)
		return 0;
	if (c->helper.pid <= 0) {
		rc = start(c, device);
		if (rc != 0)
			return rc;
	}
	rc = receive(c, deadline, &r);
	if (rc == -ETIMEDOUT) {
		if (now_ms() - c->started_ms > START_MAX_MS) {
			give_up(c);
			c->retry_ms = now_ms() + RETRY_MS;
		}
		return ckpt_context(rc, "bridge: starting");
	}
	if (rc == 0 && (r.op != BRIDGE_WIRE_HELLO || r.status != 0)) {
		give_up(c);
		rc = ckpt_fail(EIO, "bridge: ckptfs-bridge did not greet: %s", r.text);
	}
	if (rc != 0) {
		c->retry_ms = now_ms() + RETRY_MS;
		return ckpt_context(-ENOSYS, "bridge: ckptfs-bridge does not start (run `ckptfs-bridge "
					     "--version` to see why)");
	}
	c->ready = true;
	c->retry_ms = 0;
	c->devices = (struct bridge_devices){
		.cuda = r.cuda, .xpu = r.xpu, .mps = r.mps != 0, .cuda_known = r.cuda_built != 0
	};
	snprintf(c->devices.torch, sizeof(c->devices.torch), "%.63s", r.text);
	c->devices_known = true;
	return 0;
}

/* Sends a request and gets its reply, whose status is returned. Any other end than a reply in time ends the helper. */
static int ask(struct bridge_client *c, int64_t deadline, struct bridge_wire_request *q, uint64_t expect)
{
	struct bridge_wire_reply r;
	int rc;

	q->magic = BRIDGE_WIRE_MAGIC;
	q->version = BRIDGE_WIRE_VERSION;
	q->id = ++c->next_id;
	/* One small message to a peer that has read all others: it never waits for room. */
	if (send(c->helper.socket, q, sizeof(*q), MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof(*q)) {
		give_up(c);
		return ckpt_fail(EIO, "bridge: ckptfs-bridge ended%s", bridge_helper_how(&c->helper));
	}
	rc = receive(c, deadline, &r);
	if (rc == -ETIMEDOUT)
		give_up(c);
	if (rc != 0)
		return rc;
	if (r.op != q->op || r.id != q->id || (r.status == 0 && r.len != expect) || r.status > 0) {
		give_up(c);
		return ckpt_fail(EIO, "bridge: ckptfs-bridge answered what was not asked");
	}
	c->used_ms = now_ms();
	switch (r.status) {
	case 0:
		return 0;
	case -EINVAL:
	case -ENOTSUP:
	case -ENOMEM:
	case -ENODEV:
		return ckpt_fail(-r.status, "bridge: %s", r.text);
	default:
		return ckpt_fail(EIO, "bridge: %s", r.text);
	}
}

int bridge_client_devices(struct bridge_client *c, unsigned timeout_ms, struct bridge_devices *out)
{
	int64_t deadline;
	int rc = begin(c, timeout_ms, &deadline);

	if (rc != 0)
		return rc;
	if (!c->devices_known) {
		rc = get_ready(c, deadline, "");
		c->used_ms = now_ms();
	}
	if (rc == 0)
		*out = c->devices;
	end(c);
	return rc;
}

/* ---- tensors ---- */

static bool dtype_fits(enum torch_dtype d)
{
	return d >= 0 && d < TORCH_DTYPES && bridge_math_knows(d);
}

static int not_passed(enum torch_dtype d)
{
	if (d < 0 || d >= TORCH_DTYPES)
		return ckpt_fail(EINVAL, "bridge: no dtype %d", (int)d);
	return ckpt_fail(ENOTSUP, "bridge: %s has no numbers to pass", torch_dtype_info(d)->name);
}

int bridge_client_convert(struct bridge_client *c, unsigned timeout_ms, enum torch_dtype from,
		enum torch_dtype to, const void *p, uint64_t count, double scale, int64_t zero_point,
		void *dst)
{
	const uint8_t *in = p;
	uint8_t *to_p = dst;
	size_t in_width, out_width, piece;
	int64_t deadline;
	int rc;

	if (!dtype_fits(from) || !dtype_fits(to))
		return not_passed(dtype_fits(from) ? to : from);
	if ((torch_dtype_info(from)->quantized || torch_dtype_info(to)->quantized) &&
			!(isfinite(scale) && scale > 0))
		return ckpt_fail(EINVAL, "bridge: %g is no scale", scale);
	in_width = torch_dtype_info(from)->width;
	out_width = torch_dtype_info(to)->width;
	piece = BRIDGE_WIRE_AREA / (in_width > out_width ? in_width : out_width);
	rc = begin(c, timeout_ms, &deadline);
	if (rc != 0)
		return rc;
	while (count > 0 && rc == 0) {
		size_t n = count < piece ? (size_t)count : piece;
		struct bridge_wire_request q = { .op = BRIDGE_WIRE_CONVERT,
			.from = from,
			.to = to,
			.count = n,
			.scale = scale,
			.zero_point = zero_point };

		rc = get_ready(c, deadline, "");
		if (rc == 0) {
			memcpy(c->helper.memory, in, n * in_width);
			rc = ask(c, deadline, &q, n * out_width);
		}
		if (rc == 0) {
			memcpy(to_p, c->helper.memory + BRIDGE_WIRE_AREA, n * out_width);
			in += n * in_width;
			to_p += n * out_width;
			count -= n;
		}
	}
	end(c);
	return rc;
}

/* One piece to the device and back: 1 the same, 0 not, or -errno. */
static int check_piece(struct bridge_client *c, int64_t deadline, const char *device, enum torch_dtype dtype,
		const uint8_t *p, size_t n)
{
	struct bridge_wire_request q = {
		.op = BRIDGE_WIRE_CHECK, .from = dtype, .to = dtype, .count = n, .scale = 1
	};
	size_t bytes = n * torch_dtype_info(dtype)->width;
	int rc = get_ready(c, deadline, strcmp(device, "cpu") == 0 ? "" : device);

	if (rc != 0)
		return rc;
	memcpy(q.device, device, strlen(device) + 1);
	memcpy(c->helper.memory, p, bytes);
	/* What was there before is no answer. */
	memset(c->helper.memory + BRIDGE_WIRE_AREA, 0x5a, bytes);
	rc = ask(c, deadline, &q, bytes);
	return rc != 0 ? rc : memcmp(c->helper.memory + BRIDGE_WIRE_AREA, p, bytes) == 0;
}

int bridge_client_check(struct bridge_client *c, unsigned timeout_ms, const char *device,
		enum torch_dtype dtype, const void *p, uint64_t count)
{
	const uint8_t *at = p;
	size_t width;
	int64_t deadline;
	int rc;

	if (!dtype_fits(dtype))
		return not_passed(dtype);
	if (strlen(device) >= BRIDGE_WIRE_DEVICE)
		return ckpt_fail(EINVAL, "bridge: no device '%s'", device);
	width = torch_dtype_info(dtype)->width;
	rc = begin(c, timeout_ms, &deadline);
	if (rc != 0)
		return rc;
	/* No elements: the device is asked all the same. */
	do {
		size_t n = count < BRIDGE_WIRE_AREA / width ? (size_t)count : BRIDGE_WIRE_AREA / width;

		rc = check_piece(c, deadline, device, dtype, at, n);
		at += n * width;
		count -= n;
	} while (count > 0 && rc == 1);
	end(c);
	return rc;
}

int bridge_client_stats(struct bridge_client *c, unsigned timeout_ms, enum torch_dtype dtype, const void *p,
		uint64_t count, struct bridge_stats *out)
{
	struct bridge_wire_request q = {
		.op = BRIDGE_WIRE_STATS, .from = dtype, .to = dtype, .count = count, .scale = 1
	};
	struct bridge_wire_stats s;
	int64_t deadline;
	int rc;

	if (!dtype_fits(dtype))
		return not_passed(dtype);
	if (count > BRIDGE_WIRE_AREA / torch_dtype_info(dtype)->width)
		return ckpt_fail(EFBIG, "bridge: statistics of more than %d bytes at once",
				(int)BRIDGE_WIRE_AREA);
	rc = begin(c, timeout_ms, &deadline);
	if (rc != 0)
		return rc;
	rc = get_ready(c, deadline, "");
	if (rc == 0) {
		memcpy(c->helper.memory, p, count * torch_dtype_info(dtype)->width);
		rc = ask(c, deadline, &q, sizeof(s));
	}
	if (rc == 0) {
		memcpy(&s, c->helper.memory + BRIDGE_WIRE_AREA, sizeof(s));
		/* Counts of at most 2^24, if it is honest; a double that is none must not be made an integer. */
		if (s.count >= 0 && s.count <= 0x1p32 && s.nans >= 0 && s.nans <= s.count && s.infs >= 0 &&
				s.infs <= s.count)
			*out = (struct bridge_stats){ .count = (uint64_t)s.count,
				.nans = (uint64_t)s.nans,
				.infs = (uint64_t)s.infs,
				.min = s.min,
				.max = s.max,
				.mean = s.mean,
				.std = s.std };
		else
			rc = ckpt_fail(EIO, "bridge: ckptfs-bridge counted nonsense");
	}
	end(c);
	return rc;
}

void bridge_client_reap(struct bridge_client *c, unsigned idle_s)
{
	bool mine;

	pthread_mutex_lock(&c->lock);
	mine = !c->busy;
	c->busy = true;
	pthread_mutex_unlock(&c->lock);
	if (!mine)
		return;
	if (c->ready && now_ms() - c->used_ms >= (int64_t)idle_s * 1000)
		give_up(c);
	/* Whoever had it started may not have waited, and nobody came since. */
	if (c->helper.pid != 0 && !c->ready && now_ms() - c->started_ms > START_MAX_MS)
		give_up(c);
	end(c);
}

/* ---- @auto ---- */

void bridge_auto_device(unsigned cuda, const char *was, char *out, size_t room)
{
	unsigned long index = 0;

	if (strncmp(was, "cuda:", 5) == 0 && isdigit((unsigned char)was[5]))
		index = strtoul(was + 5, NULL, 10);
	if (cuda == 0)
		snprintf(out, room, "cpu");
	else
		snprintf(out, room, "cuda:%lu", index < cuda ? index : 0);
}

/* /dev/nvidia0, /dev/nvidia1, .. */
static unsigned nvidia_devices(void)
{
	DIR *d = opendir("/dev");
	const struct dirent *e;
	unsigned n = 0;

	while (d != NULL && (e = readdir(d)) != NULL)
		n += strncmp(e->d_name, "nvidia", 6) == 0 && isdigit((unsigned char)e->d_name[6]);
	if (d != NULL)
		closedir(d);
	return n;
}

void bridge_client_auto(struct bridge_client *c, const char *was, char *out, size_t room)
{
	unsigned cuda = nvidia_devices();
	struct bridge_devices d;

	if (cuda > 0 && bridge_client_devices(c, 0, &d) == 0 && d.cuda_known)
		cuda = d.cuda;
	bridge_auto_device(cuda, was, out, room);
}
