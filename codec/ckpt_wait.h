/*
 * ckpt_wait.h: a thread tells that it is about to wait.
 *
 * Requests of the kernel are read by one thread at a time, which also answers those that are quickly answered: to wake another
 * thread for each costs more than most of them do.  A thread that comes to a place where it may wait, for the disk, for a lock that is held over
 * disk accesses, for a queue to have room, says so first, and whoever counts on it can let another one take
 * over (fs/fuse_loop.c).  For threads that set no hook it costs a look at a variable of the thread.
 */
#ifndef CKPT_WAIT_H
#define CKPT_WAIT_H

#include <pthread.h>

/* Called, if set, before this thread waits; possibly with locks held: it must not take any that is ever held across a call of ours. */
extern _Thread_local void (*ckpt_wait_hook)(void);

static inline void ckpt_will_wait(void)
{
	if (ckpt_wait_hook)
		ckpt_wait_hook();
}

/* As their namesakes, telling first when the lock is not free. */
static inline void ckpt_mutex_lock(pthread_mutex_t *m)
{
	if (pthread_mutex_trylock(m)) {
		ckpt_will_wait();
		pthread_mutex_lock(m);
	}
}

static inline void ckpt_rwlock_rdlock(pthread_rwlock_t *l)
{
	if (pthread_rwlock_tryrdlock(l)) {
		ckpt_will_wait();
		pthread_rwlock_rdlock(l);
	}
}

static inline void ckpt_rwlock_wrlock(pthread_rwlock_t *l)
{
	if (pthread_rwlock_trywrlock(l)) {
		ckpt_will_wait();
		pthread_rwlock_wrlock(l);
	}
}

static inline void ckpt_cond_wait(pthread_cond_t *c, pthread_mutex_t *m)
{
	ckpt_will_wait();
	pthread_cond_wait(c, m);
}

#endif
