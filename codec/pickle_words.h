/*
 * pickle_words.h: atoms of a pickle, and the memo of them, for the walk (pickle_walk.c) only.
 */
#ifndef PICKLE_WORDS_H
#define PICKLE_WORDS_H

#include "pickle_walk.h"

/* Kinds of a struct pickle_atom: a word is a text of the table below, a class and a type are what it names. */
enum pickle_atom_kind { A_OTHER, A_NONE, A_INT, A_TEXT, A_WORD, A_CLASS, A_TYPE };

/* The words of a persistent id; from W_CLASSES on the names of storage classes and of torch's dtypes. */
enum { W_STORAGE, W_MODULE, W_TORCH, W_TORCH_STORAGE, W_CLASSES };

struct pickle_word {
	const char *text;
	uint8_t atom; /* A_CLASS, A_TYPE */
	struct pickle_type type;
};
extern const struct pickle_word pickle_words[];

/* A string: A_TEXT or A_WORD. */
struct pickle_atom pickle_text_atom(const uint8_t *p, size_t len);

/* What a module and a name in it are: A_CLASS, A_TYPE or A_OTHER. */
struct pickle_atom pickle_global_atom(struct pickle_atom module, struct pickle_atom name);

/* Remembers what is on top of the stack under `index`, if it matters. PICKLE_ON or -ENOMEM. */
int pickle_memo_put(struct pickle_walk *w, uint64_t index);

/* What lies under `index`; A_OTHER where nothing is known of it. */
struct pickle_atom pickle_memo_get(const struct pickle_walk *w, uint64_t index);

#endif
