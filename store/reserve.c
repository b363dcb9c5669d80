/*
 * reserve.c: the file `reserve` (reserve_internal.h).
 */
#include "reserve_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "codec/ckpt_error.h"

enum {
	GRAIN = 64 << 10,        /* it is a multiple of this */
	LEAST = 256 << 10,       /* less helps nobody */
};
static const int64_t FRESH_NS = 2000000000; /* how long what was given up may still be there */

static int64_t monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool reserve_disk(const char *dir, uint64_t *avail, uint64_t *total)
{
	struct statvfs st;

	if (statvfs(dir, &st) < 0 || st.f_blocks == 0)
		return false;
	uint64_t unit = st.f_frsize ? st.f_frsize : st.f_bsize;

	if (__builtin_mul_overflow((uint64_t)st.f_blocks, unit, total))
		*total = INT64_MAX;
	if (__builtin_mul_overflow((uint64_t)st.f_bavail, unit, avail) || *avail > INT64_MAX)
		*avail = INT64_MAX;
	return true;
}

void reserve_init(struct reserve *r, const char *dir, bool none)
{
	r->dir = dir;
	r->fd = -1;
	r->gone = false;
	r->given_ns = 0;
	atomic_store(&r->none, none);
	atomic_store(&r->short_of, none);
	pthread_mutex_init(&r->lock, NULL);
}

/* What the file holds for sure: its size, as far as there are blocks for it. Lock held. */
static uint64_t held(const struct reserve *r)
{
	struct stat st;

	if (fstat(r->fd, &st) < 0 || st.st_size < 0)
		return 0;
	uint64_t blocks = (uint64_t)st.st_blocks * 512, size = (uint64_t)st.st_size;

	return blocks < size ? 0 : size;
}

/* A file of `size` bytes, all of them on the disk. Lock held. */
static bool set_aside(struct reserve *r, uint64_t from, uint64_t size)
{
	if (size < from)
		return ftruncate(r->fd, (off_t)size) == 0;
	if (posix_fallocate(r->fd, 0, (off_t)size) == 0)
		return true;
	/* What was allocated before it failed would be missed elsewhere. */
	if (ftruncate(r->fd, (off_t)from) < 0)
		ckpt_log(LOG_WARNING, "store '%s': can't cut the file 'reserve': %s", r->dir, strerror(errno));
	return false;
}

/* What it should be on this disk, and what it can be: half of all that is free, the other half being for the work to come. */
static void sizes(const struct reserve *r, uint64_t has, uint64_t *want, uint64_t *can)
{
	uint64_t avail, total;

	*want = *can = RESERVE_OPEN;
	if (!reserve_disk(r->dir, &avail, &total))
		return;
	if (total / 16 < *want)
		*want = total / 16;
	*want -= *want % GRAIN;
	*can = (has + avail) / 2 < *want ? (has + avail) / 2 : *want;
	*can -= *can % GRAIN;
}

/* Without an inode left for it there is no reserve, for now. Lock held. */
static int open_file(struct reserve *r)
{
	char *path = NULL;

	if (asprintf(&path, "%s/reserve", r->dir) < 0)
		return ckpt_fail(ENOMEM, "no memory to open store '%s'", r->dir);
	r->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int err = errno;

	free(path);
	return r->fd < 0 ? ckpt_fail(err, "can't open '%s/reserve': %s", r->dir, strerror(err)) : 0;
}

/* Lock held. */
static int take(struct reserve *r)
{
	uint64_t want, can;
	int rc = r->fd < 0 ? open_file(r) : 0;

	if (rc)
		return rc;
	uint64_t has = held(r), least = r->gone ? RESERVE_CLOSED : LEAST;

	sizes(r, has, &want, &can);
	if (least > want)
		least = want;
	/* Once given up it is not taken back for a trifle, to be given up at the next write. */
	if ((has > want && set_aside(r, has, want)) || (can > has && can >= least && set_aside(r, has, can)))
		has = has > want ? want : can;
	if (has >= want)
		r->gone = false;
	atomic_store(&r->short_of, has < want);
	atomic_store(&r->none, has == 0 && want > 0);
	return 0;
}

int reserve_open(struct reserve *r)
{
	pthread_mutex_lock(&r->lock);
	int rc = take(r);

	pthread_mutex_unlock(&r->lock);
	/* The store opens and is short of space; the ticks try again. */
	return rc == -ENOSPC || rc == -EDQUOT ? 0 : rc;
}

bool reserve_give_up(struct reserve *r)
{
	int saved = errno;
	bool cut = false;

	pthread_mutex_lock(&r->lock);
	if (!atomic_load(&r->none)) {
		cut = ftruncate(r->fd, 0) == 0;
		atomic_store(&r->none, true);
		atomic_store(&r->short_of, true);
		r->gone = true;
		if (cut)
			r->given_ns = monotonic();
	}
	/* Both databases may meet the full disk at once: who comes second finds the room that the first one made. */
	bool won = r->given_ns && monotonic() - r->given_ns < FRESH_NS;

	pthread_mutex_unlock(&r->lock);
	if (cut) {
		/* Makes filesystems that hold freed blocks until their own commit hand them out.  A full disk may take its time. */
		fsync(r->fd);
		ckpt_log(LOG_WARNING, "store '%s': the disk is full, the reserve is in use", r->dir);
	}
	errno = saved;
	return won;
}

void reserve_tick(struct reserve *r)
{
	/* Whoever has the lock takes or gives up at this moment: neither is to be waited for. */
	if (!atomic_load(&r->short_of) || pthread_mutex_trylock(&r->lock))
		return;
	take(r);
	pthread_mutex_unlock(&r->lock);
}

void reserve_close(struct reserve *r, bool keep)
{
	if (r->fd >= 0) {
		if (!keep && held(r) > RESERVE_CLOSED && ftruncate(r->fd, RESERVE_CLOSED) < 0)
			ckpt_log(LOG_WARNING, "store '%s': can't cut the file 'reserve': %s", r->dir, strerror(errno));
		close(r->fd);
	}
	r->fd = -1;
	pthread_mutex_destroy(&r->lock);
}
