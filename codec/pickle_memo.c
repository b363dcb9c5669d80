/*
 * pickle_memo.c: what a walk keeps of a pickle's memo: words, and for paths all short strings.
 */
#include "pickle_words.h"

#include <errno.h>
#include <stdlib.h>

#include "ckpt_error.h"

enum {
	MEMO_FIRST = 64,
	MEMO_MAX = 1 << 18, /* entries kept; fetching one that was not gives an unknown value */
	MEMO_PROBES = 64,   /* places looked at; only numbers that are made to collide need as many */
};

/* The place of `index` in the memo, or the free one where it belongs, or NULL. */
static struct pickle_memo *memo_find(const struct pickle_walk *w, uint64_t index)
{
	size_t i = (size_t)(index * UINT64_C(0x9e3779b97f4a7c15) >> 32);

	for (unsigned probe = 0; w->memo_room > 0 && probe < MEMO_PROBES; probe++, i++) {
		struct pickle_memo *m = &w->memo[i & (w->memo_room - 1)];

		if (m->index == 0 || m->index == index + 1)
			return m;
	}
	return NULL;
}

static int memo_grow(struct pickle_walk *w)
{
	size_t room = w->memo_room > 0 ? w->memo_room * 2 : MEMO_FIRST, old = w->memo_room;
	struct pickle_memo *was = w->memo, *more = calloc(room, sizeof *more);

	if (more == NULL)
		return ckpt_fail(ENOMEM, "out of memory for a pickle's memo");
	w->memo = more;
	w->memo_room = room;
	for (size_t i = 0; i < old; i++) {
		struct pickle_memo *m = was[i].index != 0 ? memo_find(w, was[i].index - 1) : NULL;

		if (m != NULL)
			*m = was[i];
	}
	free(was);
	return PICKLE_ON;
}

int pickle_memo_put(struct pickle_walk *w, uint64_t index)
{
	bool keep = w->last.kind == A_WORD || w->last.kind == A_CLASS || w->last.kind == A_TYPE ||
		(w->last.kind == A_TEXT && w->events->paths);
	struct pickle_memo *m;
	int rc;

	w->memoized++;
	m = memo_find(w, index);
	if (m != NULL && m->index != 0) {
		m->a = keep ? w->last : (struct pickle_atom){ A_OTHER, 0, 0, 0 };
		return PICKLE_ON;
	}
	if (!keep || w->memo_len >= MEMO_MAX)
		return PICKLE_ON;
	if (w->memo_len >= w->memo_room / 2) {
		rc = memo_grow(w);
		if (rc != PICKLE_ON)
			return rc;
	}
	m = memo_find(w, index);
	if (m == NULL)
		return PICKLE_ON;
	m->index = index + 1;
	m->a = w->last;
	w->memo_len++;
	return PICKLE_ON;
}

struct pickle_atom pickle_memo_get(const struct pickle_walk *w, uint64_t index)
{
	const struct pickle_memo *m = memo_find(w, index);

	return m != NULL ? m->a : (struct pickle_atom){ A_OTHER, 0, 0, 0 }; /* a free place holds A_OTHER, too */
}
