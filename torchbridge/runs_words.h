/*
 * runs_words.h: names of files as words and numbers, for layouts that have no form of their own.
 */
#ifndef RUNS_WORDS_H
#define RUNS_WORDS_H

#include "runs_internal.h"

/* A file's name without its suffix: number, step, best, last, stem, metric, component. */
void runs_words_file(const char *name, size_t len, struct runs_name *out);
/* A directory's: false unless it is nothing but a count ("checkpoint-500", "epoch_3"), or best, or last. */
bool runs_words_directory(const char *name, size_t len, struct runs_name *out);

#endif
