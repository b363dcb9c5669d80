/*
 * layout_stripe.c: the stripes.
 *
 * A stripe belongs to a tensor from the first piece that is read of it on; it is filled when a second piece follows the
 * first.  While it is filled no lock is held, and whoever wants bytes that will be in it waits for them.
 */
#include "layout_stripe.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ckpt_wait.h"

enum { NEAR = 1 << 20 }; /* requests of one reader may overtake one another by that */

static struct stripe {
	const void *layout; /* NULL: nobody's */
	size_t number;
	uint64_t next;       /* where its reader goes on */
	uint64_t begin, end; /* what is in `bytes`, or will be */
	uint8_t *bytes;      /* STRIPE_MAX */
	bool filling;
	uint64_t used;
} stripes[STRIPES];
static uint64_t uses;
/* Guards all of them, but for the bytes of one that is being filled; a leaf. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t filled = PTHREAD_COND_INITIALIZER;

static void drop(struct stripe *s)
{
	free(s->bytes);
	*s = (struct stripe){ 0 };
}

/* The tensor's stripe, or the one that it may have now; NULL: all are being filled. */
static struct stripe *stripe_for(const struct stripe_of *of)
{
	struct stripe *oldest = NULL;

	for (int i = 0; i < STRIPES; i++) {
		struct stripe *s = &stripes[i];

		if (s->layout == of->layout && s->number == of->number)
			return s;
		if (!s->filling && (oldest == NULL || s->used < oldest->used))
			oldest = s;
	}
	if (oldest != NULL) {
		drop(oldest);
		oldest->layout = of->layout;
		oldest->number = of->number;
		oldest->next = UINT64_MAX / 2; /* nobody reads on from there */
	}
	return oldest;
}

static bool has(const struct stripe *s, uint64_t off)
{
	return off >= s->begin && off < s->end;
}

/* Fills a stripe from the block on that `off` is in. The lock is held, and not while it is filled. */
static int fill(struct stripe *s, const struct stripe_of *of, uint64_t off)
{
	uint64_t begin = off - off % of->block, len = STRIPE_MAX - STRIPE_MAX % of->block;
	uint8_t *bytes = s->bytes;
	int rc = -1;

	s->begin = begin;
	s->end = of->size - begin < len ? of->size : begin + len;
	s->filling = true;
	pthread_mutex_unlock(&lock);
	if (bytes == NULL)
		bytes = malloc(STRIPE_MAX);
	if (bytes != NULL)
		rc = of->make(of->arg, begin, bytes, (size_t)(s->end - begin));
	ckpt_mutex_lock(&lock);
	s->bytes = bytes;
	s->filling = false;
	if (rc < 0)
		s->begin = s->end = 0;
	pthread_cond_broadcast(&filled);
	return rc;
}

/*
 * Copies what a stripe has of [off, off + len), filling it if that is worth it: how many bytes; 0: it has none of
 * them.
 */
static size_t copy(const struct stripe_of *of, uint64_t off, uint8_t *dst, size_t len)
{
	struct stripe *s;
	size_t n = 0;

	ckpt_mutex_lock(&lock);
	s = stripe_for(of);
	while (s != NULL && s->filling && has(s, off)) {
		ckpt_cond_wait(&filled, &lock);
		s = stripe_for(of);
	}
	if (s == NULL || s->filling)
		goto out;
	s->used = ++uses;
	if (!has(s, off) && off + NEAR >= s->next && off <= s->next + NEAR && fill(s, of, off) < 0)
		goto out; /* whoever reads without it will see why */
	s->next = off + len;
	if (has(s, off)) {
		n = s->end - off < len ? (size_t)(s->end - off) : len;
		memcpy(dst, s->bytes + (off - s->begin), n);
		if (off + n == of->size)
			drop(s);
	}
out:
	pthread_mutex_unlock(&lock);
	return n;
}

int stripe_read(const struct stripe_of *of, uint64_t off, uint8_t *dst, size_t len)
{
	while (len > 0) {
		size_t n = copy(of, off, dst, len);

		if (n == 0)
			return of->make(of->arg, off, dst, len);
		off += n;
		dst += n;
		len -= n;
	}
	return 0;
}

void stripe_forget(const void *layout)
{
	ckpt_mutex_lock(&lock);
	for (int i = 0; i < STRIPES; i++)
		if (stripes[i].layout == layout)
			drop(&stripes[i]);
	pthread_mutex_unlock(&lock);
}
