/*
 * test_bridge_torch.c: ckptfs-bridge itself, with libtorch: it judges the statistics of bridge_math.h and the conversions of
 * bridge_dtype.h, and its cage is looked at from outside.  Where $CKPTFS_BRIDGE is not there all of this is skipped.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/ckpt_error.h"
#include "torchbridge/bridge_client.h"
#include "torchbridge/bridge_dtype.h"

enum { LONG = 240000, BYTES = 1 << 16 };

static struct bridge_client *client;
static uint64_t seed = 88172645463325252u;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

#define NEEDS_BRIDGE()                                                                                       \
	do {                                                                                                 \
		(void)state;                                                                                 \
		if (client == NULL)                                                                          \
			skip();                                                                              \
	} while (0)

static bool near(double a, double b)
{
	if (isnan(a) || isnan(b))
		return isnan(a) && isnan(b);
	return a == b || fabs(a - b) <= 1e-9 * (fabs(a) + fabs(b));
}

static void statistics(void **state)
{
	static uint8_t raw[BYTES];
	unsigned judged = 0;

	NEEDS_BRIDGE();
	for (int d = 0; d < TORCH_DTYPES; d++) {
		struct bridge_stats ours, its;
		uint64_t n = BYTES / torch_dtype_info((enum torch_dtype)d)->width;
		int rc;

		if (!bridge_math_knows((enum torch_dtype)d))
			continue;
		for (size_t i = 0; i < BYTES; i++)
			raw[i] = (uint8_t)rnd();
		/* Random bits of a double have the range of one: sums of them say nothing. */
		for (size_t i = 0; i < BYTES / 8 && (d == TORCH_FLOAT64 || d == TORCH_COMPLEX128); i++) {
			double v = i % 1000 == 7   ? NAN
				   : i % 1000 == 9 ? -INFINITY
						   : (double)(int64_t)rnd() * 0x1p-50;

			memcpy(raw + 8 * i, &v, 8);
		}
		rc = bridge_client_stats(client, LONG, (enum torch_dtype)d, raw, n, &its);
		if (rc == -ENOTSUP) /* an older libtorch */
			continue;
		assert_int_equal(rc, 0);
		bridge_stats_init(&ours);
		assert_int_equal(bridge_stats_add(&ours, (enum torch_dtype)d, raw, n), 0);
		bridge_stats_done(&ours);
		if (ours.count != its.count || ours.nans != its.nans || ours.infs != its.infs ||
				!near(ours.min, its.min) || !near(ours.max, its.max) ||
				!near(ours.std, its.std) ||
				fabs(ours.mean - its.mean) > 1e-9 * (fabs(its.mean) + its.std))
			fail_msg("%s: %g %g %g %g, libtorch %g %g %g %g",
					torch_dtype_info((enum torch_dtype)d)->name, ours.min, ours.max,
					ours.mean, ours.std, its.min, its.max, its.mean, its.std);
		judged++;
	}
	assert_true(judged >= 16);
}

/* Every 16-bit number, and floats of all exponents, between the four dtypes. */
static void conversions(void **state)
{
	static const enum torch_dtype t[] = { TORCH_FLOAT64, TORCH_FLOAT32, TORCH_FLOAT16, TORCH_BFLOAT16 };
	static uint8_t raw[65536 * 8], ours[65536 * 8], its[65536 * 8];

	NEEDS_BRIDGE();
	for (unsigned i = 0; i < 16; i++) {
		enum torch_dtype from = t[i / 4], to = t[i % 4];
		unsigned w = torch_dtype_info(from)->width, v = torch_dtype_info(to)->width;

		for (unsigned k = 0; k < 65536; k++) {
			double any = ldexp((double)(rnd() >> 11), (int)(rnd() % 400) - 250);
			float f = (float)any;
			uint16_t h = (uint16_t)k;

			memcpy(raw + w * k, w == 8 ? (void *)&any : w == 4 ? (void *)&f : (void *)&h, w);
		}
		assert_int_equal(bridge_client_convert(client, LONG, from, to, raw, 65536, 1, 0, its), 0);
		bridge_dtype_convert(from, to, raw, 65536, ours);
		for (unsigned k = 0; k < 65536; k++) {
			struct bridge_stats a, b;

			if (memcmp(ours + v * k, its + v * k, v) == 0)
				continue;
			/* A NaN is one whatever its payload. */
			bridge_stats_init(&a);
			bridge_stats_init(&b);
			bridge_stats_add(&a, to, ours + v * k, 1);
			bridge_stats_add(&b, to, its + v * k, 1);
			if (a.nans != 1 || b.nans != 1)
				fail_msg("%s to %s: number %u differs", torch_dtype_info(from)->name,
						torch_dtype_info(to)->name, k);
		}
	}
}

static void quantized(void **state)
{
	const int8_t q[5] = { -128, -1, 0, 3, 127 };
	int8_t back[5];
	float f[5];

	NEEDS_BRIDGE();
	assert_int_equal(bridge_client_convert(client, LONG, TORCH_QINT8, TORCH_FLOAT32, q, 5, 0.5, 3, f), 0);
	for (int i = 0; i < 5; i++)
		assert_true(f[i] == 0.5f * (float)(q[i] - 3));
	assert_int_equal(bridge_client_convert(client, LONG, TORCH_FLOAT32, TORCH_QINT8, f, 5, 0.5, 3, back),
			0);
	assert_memory_equal(q, back, 5);
}

/* Complex halves; float8 where libtorch has it, else it says so. */
static void others(void **state)
{
	const uint16_t c[4] = { 0x3c00, 0xc000, 0x0001, 0x7bff };
	const uint8_t e[4] = { 0x38, 0x7e, 0x01, 0x87 };
	float f[4];
	int rc;

	NEEDS_BRIDGE();
	assert_int_equal(bridge_client_convert(client, LONG, TORCH_COMPLEX32, TORCH_COMPLEX64, c, 2, 1, 0, f),
			0);
	assert_true(f[0] == 1 && f[1] == -2 && f[2] == 0x1p-24f && f[3] == 65504);
	rc = bridge_client_convert(client, LONG, TORCH_FLOAT8_E4M3FN, TORCH_FLOAT32, e, 4, 1, 0, f);
	if (rc == 0)
		assert_true(f[0] == 1 && f[1] == 448 && f[2] == 0x1p-9f && f[3] == -0x1.cp-7f);
	else
		assert_non_null(strstr(ckpt_errmsg(), "float8_e4m3fn"));
	assert_true(rc == 0 || rc == -ENOTSUP);
}

/* On the CPU, and on each kind of accelerator that is here. */
static void devices(void **state)
{
	static uint8_t raw[100003];
	struct bridge_devices d;
	char name[16];

	NEEDS_BRIDGE();
	for (size_t i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)rnd();
	assert_int_equal(bridge_client_devices(client, LONG, &d), 0);
	assert_true(strlen(d.torch) > 2);
	assert_int_equal(bridge_client_check(client, LONG, "cpu", TORCH_FLOAT32, raw, sizeof(raw) / 4), 1);
	assert_int_equal(bridge_client_check(client, LONG, "cpu", TORCH_BOOL, raw, sizeof(raw)), 1);
	snprintf(name, sizeof(name), "cuda:%u", d.cuda);
	assert_int_equal(bridge_client_check(client, LONG, name, TORCH_UINT8, raw, 8), -ENODEV);
	if (d.cuda > 0) {
		assert_int_equal(bridge_client_check(
						 client, LONG, "cuda:0", TORCH_FLOAT32, raw, sizeof(raw) / 4),
				1);
		assert_int_equal(bridge_client_check(client, LONG, "cuda:0", TORCH_BFLOAT16, raw,
						 sizeof(raw) / 2),
				1);
	}
	assert_int_equal(bridge_client_check(client, LONG, "warp", TORCH_UINT8, raw, 8), -EIO);
}

/* The number that /proc says after `field` of a child; -1 none. */
static long status_of(pid_t pid, const char *field)
{
	char path[64], line[256];
	long value = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, field, strlen(field)) == 0)
			value = strtol(line + strlen(field), NULL, 16);
	if (f != NULL)
		fclose(f);
	return value;
}

/* The only child that this program has. */
static pid_t child(void)
{
	char path[64];
	int pid = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	f = fopen(path, "re");
	if (f != NULL) {
		if (fscanf(f, "%d", &pid) != 1)
			pid = -1;
		fclose(f);
	}
	return pid;
}

static void cage(void **state)
{
	uint8_t x = 1, y = 0;
	pid_t pid;

	NEEDS_BRIDGE();
	assert_int_equal(bridge_client_convert(client, LONG, TORCH_UINT8, TORCH_UINT8, &x, 1, 1, 0, &y), 0);
	pid = child();
	if (pid < 0)
		skip(); /* a kernel without the list of children */
	assert_int_equal(status_of(pid, "Seccomp:"), 2);
	assert_int_equal(status_of(pid, "NoNewPrivs:"), 1);
	assert_int_equal(status_of(pid, "CapEff:"), 0);
	assert_int_equal(status_of(pid, "CapPrm:"), 0);
	/* Killed, it is started anew. */
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (bridge_client_convert(client, LONG, TORCH_UINT8, TORCH_UINT8, &x, 1, 1, 0, &y) != 0)
		assert_non_null(strstr(ckpt_errmsg(), "ended"));
	assert_true(child() != pid);
	/* Stopped, it costs its caller no more than the deadline. */
	pid = child();
	assert_int_equal(kill(pid, SIGSTOP), 0);
	while (bridge_client_convert(client, 50, TORCH_UINT8, TORCH_UINT8, &x, 1, 1, 0, &y) != -ETIMEDOUT)
		;
	assert_int_equal(bridge_client_convert(client, LONG, TORCH_UINT8, TORCH_UINT8, &x, 1, 1, 0, &y), 0);
	assert_int_equal(y, 1);
}

static int find_bridge(void **state)
{
	const char *path = getenv("CKPTFS_BRIDGE");

	(void)state;
	if (path == NULL || access(path, X_OK) != 0)
		return 0;
	return bridge_client_new(path, &client);
}

static int free_bridge(void **state)
{
	(void)state;
	bridge_client_free(client);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statistics),
		cmocka_unit_test(conversions),
		cmocka_unit_test(quantized),
		cmocka_unit_test(others),
		cmocka_unit_test(devices),
		cmocka_unit_test(cage),
	};

	return cmocka_run_group_tests(tests, find_bridge, free_bridge);
}
