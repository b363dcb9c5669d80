/*
 * pickle_walk.h: a walk over the opcodes of one pickle, as its bytes come by, for the storages that it names.
 *
 * torch names a storage by a persistent id:
 *
 *   MARK 'storage' torch.FloatStorage '17' 'cpu' 1000 TUPLE BINPERSID            in a zip
 *   MARK 'storage' torch.FloatStorage '94605243475008' 'cpu' 1000 None ...       in a legacy file
 *
 * Nothing is built and nothing executed.  What a caller is told are these ids, what is known of the tensor
 * around them, and short strings.  The walk is a struct that the caller owns; its memory is bounded (some 12
 * MiB for a pickle with hundreds of thousands of strings, a few KiB for most), and its work linear in the
 * bytes that it is told.
 */
#ifndef PICKLE_WALK_H
#define PICKLE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec_chunk.h"
#include "record_name.h"

/* How a step ends, or -errno. PICKLE_BEYOND: written in a way that is not understood here. */
enum { PICKLE_ENDS = 0, PICKLE_ON = 1, PICKLE_BEYOND = 2 };

/* An element: its bytes, and the numbers in it. uint8 is CODEC_PIXELS here, which its shape may prove wrong. */
struct pickle_type {
	uint32_t item;
	struct codec_hint hint;
};

struct pickle_storage {
	uint64_t key;   /* hash of the name that the id gives it: XXH3-64 of the text */
	uint64_t path;  /* hash of the dict keys that lead to it, see pickle_path() */
	uint64_t bytes;
	struct record_name name; /* with paths */
	struct pickle_type type;
};

struct pickle_events {
	/* A storage; told each time it is referred to. NULL: an id is not to be expected here. */
	int (*storage)(void *arg, const struct pickle_storage *s);
	/* The tensor around the last storage, in C order: the last two of its dimensions. May be NULL. */
	void (*shape)(void *arg, unsigned dims, uint64_t last, uint64_t before);
	/* The last storage had no type of its own (UntypedStorage); its tensor has this one. May be NULL. */
	void (*type)(void *arg, const struct pickle_type *t);
	/* A string: its hash; NULL where it is too long for a name or a word of torch's own. May be NULL. */
	int (*string)(void *arg, const uint64_t *key);
	void *arg;
	unsigned id_len; /* values of a storage's id: 5 or 6 */
	bool paths;      /* follow dict keys; without, .path is 0 and hardly anything is kept of the memo */
	bool lenient;    /* an id that is not understood is passed over; else it is PICKLE_BEYOND */
};

enum {
	PICKLE_TEXT_MAX = 256, /* bytes of a string or line that may matter */
	PICKLE_RUN_MAX = 8,    /* values kept since the last MARK; an id has six */
	PICKLE_LEVELS = 64,    /* of nesting, that paths are told apart by */
};

/* A value of the pickle, as far as it matters. */
struct pickle_atom {
	uint8_t kind;
	uint8_t word; /* of A_WORD and A_CLASS: index of pickle_walk.c's table */
	uint32_t rest; /* of A_TEXT, A_WORD: record_name_rest() */
	uint64_t v;   /* A_INT: the number; A_TEXT, A_WORD: hash of the text */
};

/* The last string or number on a level, hashed; 0 none. */
struct pickle_key {
	uint64_t hash;
	uint32_t rest; /* record_name_rest() */
};

struct pickle_walk {
	const struct pickle_events *events; /* borrowed */

	/* Where in an opcode the walk is. */
	uint8_t state, op, lines;
	bool stopped;
	uint64_t want; /* bytes until something happens */
	size_t have;
	uint8_t buf[PICKLE_TEXT_MAX];
	struct pickle_atom module; /* GLOBAL's first line */

	struct pickle_atom run[PICKLE_RUN_MAX];
	size_t run_len;  /* values since the last MARK; may exceed PICKLE_RUN_MAX */
	bool run_plain;  /* nothing else has happened since */
	bool tuple;      /* the run has just become a tuple */
	struct pickle_atom last; /* on top of the stack */

	/* The memo's words and, for paths, strings: open addressing by index + 1. Owned. */
	struct pickle_memo {
		uint64_t index; /* 0: free */
		struct pickle_atom a;
	} *memo;
	size_t memo_len, memo_room;
	uint64_t memoized; /* the number MEMOIZE gives next */

	/* Nesting: MARKs, and dicts that are filled one by one. */
	struct {
		uint64_t above; /* path of what encloses it */
		struct pickle_key key;
		bool dict;      /* opened by EMPTY_DICT, not by a MARK */
	} level[PICKLE_LEVELS];
	struct pickle_key was[2]; /* the top level's key before the last one, and before that */
	size_t depth;    /* of them, at least 1 */
	uint64_t deeper; /* MARKs that found no room */
	bool fresh;      /* the top level is a dict made just now */

	/* The tensor around the last id: which of its tuples comes next, and what is known by then. */
	uint8_t part;
	bool untyped;
	unsigned dims;
	uint64_t dim[2];
	uint64_t ints[3]; /* the last integers, the latest first */
};

/* Gets ready for a pickle's first byte. Borrows events. */
void pickle_walk_init(struct pickle_walk *w, const struct pickle_events *events);
void pickle_walk_release(struct pickle_walk *w);

/*
 * Tells the walk the next n bytes and in *used how many of them belong to the pickle.  PICKLE_ENDS: all n,
 * and it goes on behind them; PICKLE_ON: it has ended with STOP; PICKLE_BEYOND; what an event answered other
 * than PICKLE_ON; -ENOMEM.  Only after PICKLE_ENDS may it be called again.
 */
int pickle_walk_feed(struct pickle_walk *w, const uint8_t *p, size_t n, size_t *used);

/* How many of the next bytes, at least 1, can't reach beyond STOP. */
uint64_t pickle_walk_span(const struct pickle_walk *w);

/* Of the next bytes, how many don't matter; and leaves out n of them. */
uint64_t pickle_walk_skips(const struct pickle_walk *w);
void pickle_walk_skip(struct pickle_walk *w, uint64_t n);

/* The path `above` lengthened by one key. The root's path is 0. */
uint64_t pickle_path(uint64_t above, uint64_t key);

#endif
