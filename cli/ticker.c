/*
 * ticker.c: see ticker.h.
 */
#include "ticker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "codec/ckpt_error.h"
#include "store/store.h"

struct ticker {
	struct store *s;
	pthread_t thread;
	pthread_mutex_t lock; /* guards stop; not held while the store works */
	pthread_cond_t wake;
	bool stop;
};

static void *tick(void *arg)
{
	struct ticker *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		while (!t->stop && pthread_cond_timedwait(&t->wake, &t->lock, &until) != ETIMEDOUT)
			;
		if (t->stop)
			break;
		pthread_mutex_unlock(&t->lock);
		store_tick(t->s);
		pthread_mutex_lock(&t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void ticker_free(struct ticker *t)
{
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

int ticker_start(struct store *s, struct ticker **out)
{
	struct ticker *t = calloc(1, sizeof(*t));
	pthread_condattr_t attr;
	int e;

	if (t == NULL)
		return ckpt_fail(ENOMEM, "housekeeping: out of memory");
	t->s = s;
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &attr);
	pthread_condattr_destroy(&attr);
	e = pthread_create(&t->thread, NULL, tick, t);
	if (e != 0) {
		ticker_free(t);
		return ckpt_fail(e, "housekeeping: no thread: %s", strerror(e));
	}
	*out = t;
	return 0;
}

void ticker_stop(struct ticker *t)
{
	if (t == NULL)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	pthread_join(t->thread, NULL);
	ticker_free(t);
}
