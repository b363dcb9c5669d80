/*
 * runs_words.c: names as words and numbers.
 *
 *   resnet_epoch-12_acc=0.93      resnet | epoch 12 | acc 0.93        number 12, metric acc, stem "resnet"
 *   epoch=3-step=40-val_loss=0.2  epoch 3 | step 40 | val_loss 0.2    number 3, step 40, metric val_loss
 *   checkpoint_3_1000             checkpoint 3 | 1000                 number 3, step 1000
 *   ppo_replay_buffer_500_steps   ppo | replay_buffer | 500 steps     number 500, component replay, stem "ppo"
 *
 * Words are apart by "-_.= ,()"; digits directly behind a word that counts ("epoch12") are a number too.
 */
#include "runs_words.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { WORDS_MAX = 64 };

enum what { WORD, INTEGER, DECIMAL };

struct word {
	uint8_t what, at, len, before; /* before: the separator, 0 at the head */
	bool used;
};

struct words {
	const char *name;
	struct word w[WORDS_MAX];
	size_t n;
};

/* What counts, and how well: the first kind that a name has is its number. */
static const struct {
	const char *word;
	uint8_t counter;
} counters[] = {
	{ "epoch", RUNS_COUNT_EPOCH },
	{ "epochs", RUNS_COUNT_EPOCH },
	{ "ep", RUNS_COUNT_EPOCH },
	{ "step", RUNS_COUNT_STEP },
	{ "steps", RUNS_COUNT_STEP },
	{ "iter", RUNS_COUNT_STEP },
	{ "iters", RUNS_COUNT_STEP },
	{ "iteration", RUNS_COUNT_STEP },
	{ "update", RUNS_COUNT_STEP },
	{ "updates", RUNS_COUNT_STEP },
	{ "task", RUNS_COUNT_TASK },
	{ "exp", RUNS_COUNT_TASK },
	{ "experience", RUNS_COUNT_TASK },
	{ "checkpoint", RUNS_COUNT_PLAIN },
	{ "ckpt", RUNS_COUNT_PLAIN },
};

/* Words that say nothing about which run it is. */
static const char *const generic[] = { "model", "models", "checkpoint", "ckpt", "chkpt", "net", "network",
	"state", "dict", "weights", "snapshot", "save", "saved", "params", "global", "epoch", "pytorch",
	"torch", "iter", "step", "hpc", "the" };

/* Words that say which component a file holds; of several words the longest name first. */
static const struct {
	const char *first, *second;
	uint8_t component;
	bool sure; /* also beside "model": rl_model_replay_buffer_500_steps, the default of Stable-Baselines3 */
} parts[] = {
	{ "replay", "buffer", RUNS_REPLAY, true },
	{ "rng", "state", RUNS_RNG, false },
	{ "optimizer", NULL, RUNS_OPTIMIZER, false },
	{ "optim", NULL, RUNS_OPTIMIZER, false },
	{ "scheduler", NULL, RUNS_SCHEDULER, false },
	{ "buffer", NULL, RUNS_REPLAY, false },
	{ "replay", NULL, RUNS_REPLAY, false },
	{ "rng", NULL, RUNS_RNG, false },
	{ "vecnormalize", NULL, RUNS_OTHER, true },
};

static bool is(const struct words *s, const struct word *w, const char *text)
{
	return w->what == WORD && w->len == strlen(text) && strncasecmp(s->name + w->at, text, w->len) == 0;
}

static int counter_of(const char *p, size_t len)
{
	for (size_t i = 0; i < sizeof counters / sizeof counters[0]; i++)
		if (strlen(counters[i].word) == len && strncasecmp(counters[i].word, p, len) == 0)
			return counters[i].counter;
	return RUNS_COUNT_NONE;
}

static int counts(const struct words *s, const struct word *w)
{
	return w->what == WORD ? counter_of(s->name + w->at, w->len) : RUNS_COUNT_NONE;
}

static bool is_generic(const struct words *s, const struct word *w)
{
	for (size_t i = 0; i < sizeof generic / sizeof generic[0]; i++)
		if (is(s, w, generic[i]))
			return true;
	return false;
}

static bool separates(char c)
{
	return c != 0 && strchr("-_.= ,()", c) != NULL;
}

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static void split(struct words *s, const char *name, size_t len)
{
	size_t at = 0;
	uint8_t before = 0;

	s->name = name;
	s->n = 0;
	while (at < len && s->n < WORDS_MAX - 1) {
		struct word *w = &s->w[s->n];
		size_t end = at, head;

		if (separates(name[at]) &&
				!(name[at] == '-' && before == '=' && at + 1 < len && digit(name[at + 1]))) {
			before = (uint8_t)name[at++];
			continue;
		}
		*w = (struct word){ .at = (uint8_t)at, .before = before };
		if (name[end] == '-')
			end++;
		while (end < len && digit(name[end]))
			end++;
		if (end > at && end + 1 < len && name[end] == '.' && digit(name[end + 1]) &&
				(before == '=' || before == '_' || before == '-')) {
			for (end++; end < len && digit(name[end]); end++)
				;
			w->what = DECIMAL;
		} else {
			w->what = INTEGER;
		}
		if (end == at || (end < len && !separates(name[end]))) {
			w->what = WORD;
			while (end < len && !separates(name[end]))
				end++;
			for (head = end; head > at && digit(name[head - 1]); head--)
				;
			if (head < end && head > at && counter_of(name + at, head - at) != RUNS_COUNT_NONE) {
				w->len = (uint8_t)(head - at);
				s->n++;
				s->w[s->n] = (struct word){
					.what = INTEGER, .at = (uint8_t)head, .before = '='
				};
				w = &s->w[s->n];
				at = head;
			}
		}
		w->len = (uint8_t)(end - at);
		s->n++;
		at = end;
		before = 0;
	}
}

static int64_t integer(const struct words *s, const struct word *w)
{
	int64_t v = 0;

	if (w->what != INTEGER || w->len > 18 || s->name[w->at] == '-')
		return RUNS_NONE;
	for (size_t i = 0; i < w->len; i++)
		v = v * 10 + (s->name[w->at + i] - '0');
	return v;
}

/* A date, or the time behind one, or a name of a machine: nothing that counts up. */
static bool stamp(const struct words *s, size_t i)
{
	const struct word *w = &s->w[i];
	const char *p = s->name + w->at;
	bool date = w->len == 8 && (p[0] == '2' || p[0] == '1') && (p[1] == '0' || p[1] == '9') &&
		    p[4] <= '1';

	if (w->what != INTEGER)
		return false;
	if (date || w->len == 12 || w->len == 14)
		return true;
	return (w->len == 6 || w->len == 4) && i > 0 && s->w[i - 1].what == INTEGER && stamp(s, i - 1);
}

/* A number that is counted by `counter`: behind its word, or before it ("500_steps"). */
static bool counted(struct words *s, int counter, int64_t *out, size_t *at)
{
	for (size_t i = 0; i < s->n; i++) {
		struct word *w = &s->w[i];

		if (counts(s, w) != counter || w->used)
			continue;
		if (i + 1 < s->n && s->w[i + 1].what == INTEGER && !stamp(s, i + 1)) {
			*out = integer(s, &s->w[i + 1]);
			*at = i + 1;
			s->w[i + 1].used = true;
		} else if (i > 0 && s->w[i - 1].what == INTEGER && !stamp(s, i - 1)) {
			*out = integer(s, &s->w[i - 1]);
			*at = i;
			s->w[i - 1].used = true;
		} else {
			continue;
		}
		w->used = true;
		return *out != RUNS_NONE;
	}
	return false;
}

/* "val_loss=0.25", "acc_0.93": the words before a decimal number, joined, and its value. */
static void metric(struct words *s, struct runs_name *out)
{
	for (size_t i = 1; i < s->n; i++) {
		size_t first = i - 1, at, len;
		char text[32];

		if (s->w[i].used || (s->w[i].what != DECIMAL &&
						    !(s->w[i].what == INTEGER && s->w[i].before == '=')))
			continue;
		if (s->w[first].what != WORD || s->w[first].used || s->w[i].len >= sizeof text)
			continue;
		/* "-val_loss=": the words of one name are joined by '_'. */
		while (first > 0 && s->w[i].before == '=' && s->w[first].before == '_' &&
				s->w[first - 1].what == WORD && !s->w[first - 1].used)
			first--;
		at = s->w[first].at;
		len = s->w[i - 1].at + s->w[i - 1].len - at;
		for (size_t k = first; k <= i; k++)
			s->w[k].used = true;
		if (out->metric[0] != 0 || len >= sizeof out->metric)
			continue;
		memcpy(out->metric, s->name + at, len);
		memcpy(text, s->name + s->w[i].at, s->w[i].len);
		text[s->w[i].len] = 0;
		out->value = strtod(text, NULL);
	}
}

static void flags(struct words *s, struct runs_name *out)
{
	for (size_t i = 0; i < s->n; i++) {
		struct word *w = &s->w[i];
		bool best = is(s, w, "best"),
		     last = is(s, w, "last") || is(s, w, "latest") || is(s, w, "final");

		out->best |= best;
		out->last |= last;
		/* best_<metric>_epoch_3: what it is best at is no run's name. */
		if (best && i == 0)
			for (size_t k = 1; k < s->n && s->w[k].what == WORD && !s->w[k].used; k++)
				s->w[k].used = counts(s, &s->w[k]) == RUNS_COUNT_NONE;
		if (best || last)
			w->used = true;
		if (is(s, w, "recovery"))
			out->aside = true;
		if (i > 0 && i + 1 == s->n && w->what == WORD && w->len > 1 && s->name[w->at] == 'v' &&
				w->before == '-' && digit(s->name[w->at + 1]))
			out->aside = w->used = true;
	}
}

static void component(struct words *s, struct runs_name *out)
{
	bool all = false; /* model_optim_rng: all of them */

	for (size_t i = 0; i < s->n; i++)
		all |= is(s, &s->w[i], "model");
	for (size_t i = 0; i < s->n; i++)
		for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) {
			if (s->w[i].used || (all && !parts[k].sure) || !is(s, &s->w[i], parts[k].first))
				continue;
			if (parts[k].second != NULL &&
					(i + 1 == s->n || !is(s, &s->w[i + 1], parts[k].second)))
				continue;
			s->w[i].used = true;
			if (parts[k].second != NULL)
				s->w[i + 1].used = true;
			out->role = RUNS_COMPONENT;
			out->component = parts[k].component;
			return;
		}
}

/* What is left, without generic words at its end; nothing, if it is all generic. */
static void stem(struct words *s, struct runs_name *out)
{
	size_t end = s->n;
	bool any = false;

	for (size_t i = 0; i < s->n; i++)
		any |= !s->w[i].used && !is_generic(s, &s->w[i]);
	while (end > 0 && (s->w[end - 1].used || is_generic(s, &s->w[end - 1])))
		end--;
	for (size_t i = 0; any && i < end; i++) {
		const struct word *w = &s->w[i];

		if (w->used || out->stem_len + w->len + 2u > sizeof out->stem)
			continue;
		if (out->stem_len > 0)
			out->stem[out->stem_len++] =
					w->before != 0 && w->before != '=' ? (char)w->before : '_';
		memcpy(out->stem + out->stem_len, s->name + w->at, w->len);
		out->stem_len += w->len;
	}
	out->stem[out->stem_len] = 0;
}

void runs_words_file(const char *name, size_t len, struct runs_name *out)
{
	static const uint8_t order[] = { RUNS_COUNT_EPOCH, RUNS_COUNT_STEP, RUNS_COUNT_TASK,
		RUNS_COUNT_PLAIN };
	struct words s;
	size_t at = 0;

	split(&s, name, len);
	/* hpc_ckpt_1 counts requeues; the file says which epoch. */
	for (size_t i = 0; i < sizeof order && !(len > 9 && memcmp(name, "hpc_ckpt_", 9) == 0); i++) {
		int64_t v;

		if (out->counter != RUNS_COUNT_NONE &&
				!(out->counter == RUNS_COUNT_EPOCH && order[i] == RUNS_COUNT_STEP))
			continue;
		if (!counted(&s, order[i], &v, &at))
			continue;
		if (out->counter == RUNS_COUNT_NONE) {
			out->counter = order[i];
			out->number = v;
		}
		if (order[i] == RUNS_COUNT_STEP)
			out->step = v;
	}
	/* fairseq: checkpoint_<epoch>_<updates>. */
	if (out->counter == RUNS_COUNT_PLAIN && at + 2 == s.n && at == 1 && s.w[at + 1].what == INTEGER &&
			!stamp(&s, at + 1)) {
		out->counter = RUNS_COUNT_EPOCH;
		out->step = integer(&s, &s.w[at + 1]);
		s.w[at + 1].used = true;
	}
	flags(&s, out);
	metric(&s, out);
	if (out->counter == RUNS_COUNT_NONE && s.n > 0 && s.w[s.n - 1].what == INTEGER &&
			!s.w[s.n - 1].used && !stamp(&s, s.n - 1) &&
			!(len > 9 && memcmp(name, "hpc_ckpt_", 9) == 0)) {
		out->number = integer(&s, &s.w[s.n - 1]);
		out->counter = out->number != RUNS_NONE ? RUNS_COUNT_PLAIN : RUNS_COUNT_NONE;
		s.w[s.n - 1].used = out->number != RUNS_NONE;
	}
	component(&s, out);
	stem(&s, out);
}

bool runs_words_directory(const char *name, size_t len, struct runs_name *out)
{
	struct words s;

	runs_words_file(name, len, out);
	split(&s, name, len);
	if (out->role == RUNS_COMPONENT || out->stem_len > 0 || out->aside)
		return false;
	if (out->number == RUNS_NONE)
		return out->best || out->last;
	/* A plain number needs a word that counts: run_3 and model_3 are no experiences. */
	if (out->counter == RUNS_COUNT_PLAIN)
		return s.n == 2 && counts(&s, &s.w[0]) == RUNS_COUNT_PLAIN;
	return true;
}
