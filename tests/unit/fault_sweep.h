/*
 * fault_sweep.h: for test programs in which the Nth read, write, sync, allocation fails, for every N, once or for ever.
 *
 * A store with something in it is copied, a fault is armed, and a short workload runs on the copy, opening and closing
 * included.  Whatever fails must fail cleanly: with an error, without a crash or a leak.  An operation that failed has
 * not happened, or the store says that it has failed and takes no more changes.  Afterwards, the fault being gone, the store
 * must open, verify with all data, and show the tree as after one of the steps that it may show (crash_model.h).  After a
 * failed sync the power goes as well, and what that sync should have covered counts as lost.
 *
 * N goes 1, 2, 3 ... and then in growing strides until nothing fails any more.
 *
 *     test_faults... [SEED [STRIDE [TEST]]]      STRIDE: N grows by N / STRIDE + 1
 *
 * Each program includes it once, and is linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=ckpt_log.
 */
#ifndef FAULT_SWEEP_H
#define FAULT_SWEEP_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <sqlite3.h>

#include <cmocka.h>

#include "codec/ckpt_error.h"
#include "crash_model.h"

enum { MESSAGES = 5, STEPS_BEFORE = 25, STEPS = 18 };

static char base[200], dir[256];
static uint64_t seed = 1, stride = 6;
static unsigned complaints;

/* Real syncs of real files would only cost time. */
int fsync(int fd)
{
	(void)fd;
	return 0;
}

/* Thousands of failures are no news. */
void __wrap_ckpt_log(int level, const char *format, ...);
void __wrap_ckpt_log(int level, const char *format, ...)
{
	(void)level;
	(void)format;
}

/* --- memory --------------------------------------------------------------------------------------- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static bool no_memory(void)
{
	if (!fault_strikes(FAULT_ALLOC))
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return no_memory() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return no_memory() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return no_memory() ? NULL : __real_realloc(p, n);
}

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int n)
{
	return fault_strikes(FAULT_SQLITE_ALLOC) ? NULL : sqlite_memory.xMalloc(n);
}

static void *sqlite_realloc(void *p, int n)
{
	return fault_strikes(FAULT_SQLITE_ALLOC) ? NULL : sqlite_memory.xRealloc(p, n);
}

/* --- how full the disk is --------------------------------------------------------------------------- */

#define OTHERS ((uint64_t)128 << 20)

static struct disk *small; /* the one that statvfs() tells of; NULL: one of 1 TiB that is empty */
static uint64_t capacity;

/* What others have on the disk, and the store's reserve. */
static uint64_t beside(void)
{
	char file[300];
	struct stat st;

	snprintf(file, sizeof file, "%s/reserve", dir);
	return OTHERS + (stat(file, &st) == 0 ? (uint64_t)st.st_size : 0);
}

/* In place of libc's: the store is on the disk in memory, but for its reserve. */
int statvfs(const char *path, struct statvfs *out)
{
	uint64_t taken = small ? disk_used(small) + beside() : 0, total = small ? capacity : UINT64_C(1) << 40;

	(void)path;
	memset(out, 0, sizeof *out);
	out->f_bsize = out->f_frsize = 4096;
	out->f_blocks = total / 4096;
	out->f_bfree = out->f_bavail = taken < total ? (total - taken) / 4096 : 0;
	return 0;
}

/* --- the base ------------------------------------------------------------------------------------- */

static struct world before; /* what every run begins with; its store is closed */

static int make_base(void)
{
	struct disk *d = disk_new();

	disk_use(d);
	world_init(&before, dir, d, seed);
	if (world_open(&before))
		return -1;
	for (int i = 0; i < STEPS_BEFORE; i++)
		if (world_step(&before))
			return -1;
	return world_close(&before);
}

/* Runs begin with another store from here on, and do other things. */
static inline void use_seed(uint64_t other)
{
	disk_free(before.disk);
	world_release(&before);
	seed = other;
	assert_int_equal(make_base(), 0);
}

static int set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");
	sqlite3_mem_methods m;

	(void)state;
	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory) != SQLITE_OK)
		return -1;
	m = sqlite_memory;
	m.xMalloc = sqlite_malloc;
	m.xRealloc = sqlite_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &m) != SQLITE_OK || fault_vfs_register() != 0)
		return -1;
	snprintf(base, sizeof base, "%s/ckptfs-fault-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(base))
		return -1;
	snprintf(dir, sizeof dir, "%s/s.ckptfs", base);
	return make_base();
}

static int tear_down(void **state)
{
	char cmd[300];

	(void)state;
	disk_free(before.disk);
	world_release(&before);
	snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
	return system(cmd) == 0 ? 0 : -1;
}

/* --- a run with one fault ------------------------------------------------------------------------- */

static void complain(const char *what, const struct fault_plan *p, const struct world *w, const char *wrong)
{
	if (complaints++ < MESSAGES)
		print_error("seed %llu, %s, the %lluth fails (%llu times): %s: %s\n", (unsigned long long)seed, what,
				(unsigned long long)p->first, (unsigned long long)p->times, w->doing ? w->doing : "open", wrong);
}

/*
 * The workload, until it is through or nothing more can be done.  Short of space once is what the reserve is for: but for
 * opening, before it is there, nothing may fail then.
 */
static const char *work(struct world *w, bool reserved)
{
	const char *why = NULL;
	int rc = world_open(w);

	if (rc)
		return NULL;
	for (int i = 0; i < STEPS; i++) {
		size_t steps = w->nsteps;

		rc = world_step(w);
		if (rc && reserved && strcmp(w->doing, "open") != 0)
			return "it fails, in spite of the reserve";
		if (!w->s)
			break;
		if (rc && w->nsteps > steps && !world_settle(w, rc == -ENOSPC, &why))
			break;
	}
	world_close(w);
	return why;
}

/* Returns how many faults there were. */
static uint64_t run(const char *what, const struct fault_plan *p)
{
	struct disk *d = disk_copy(before.disk), *after;
	struct world w;
	size_t lo, hi, events;
	const char *wrong;

	disk_use(d);
	world_fork(&w, &before, d, seed * 1000 + 17);
	fault_arm(p);
	wrong = work(&w, p->full && p->times == 1);
	if (wrong)
		world_close(&w);
	uint64_t n = fault_disarm();

	if (wrong) {
		complain(what, p, &w, wrong);
	} else {
		events = disk_events(d);
		after = disk_copy(d);
		world_range(&w, events, false, &lo, &hi);
		wrong = world_check(&w, after, lo, hi, true);
		if (wrong)
			complain(what, p, &w, wrong);
		disk_free(after);
	}
	if (!wrong && p->kind == FAULT_SYNC) {
		struct replay *r = replay_on(before.disk, d);

		after = replay_cut(r, events, CUT_TORN, p->first);
		world_range(&w, events, true, &lo, &hi);
		wrong = world_check(&w, after, lo, hi, false);
		if (wrong)
			complain("and the power goes", p, &w, wrong);
		disk_free(after);
		replay_free(r);
	}
	world_release(&w);
	disk_free(d);
	return n;
}

static void sweep(const char *what, enum fault_kind kind, bool full, uint64_t times)
{
	struct fault_plan p = { .kind = kind, .first = 1, .times = times, .full = full };
	unsigned runs = 0;

	while (run(what, &p) > 0) {
		runs++;
		p.first += p.first / stride + 1;
	}
	print_message("# %s, %s: %u runs, up to the %lluth\n", what, times ? times > 1 ? "some" : "once" : "for ever", runs,
			(unsigned long long)p.first);
}

static void both(const char *what, enum fault_kind kind, bool full)
{
	complaints = 0;
	sweep(what, kind, full, 1);
	sweep(what, kind, full, 0);
	assert_int_equal(complaints, 0);
}

static void sweep_arguments(int argc, char **argv)
{
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		stride = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		cmocka_set_test_filter(argv[3]);
}

#endif
