/*
 * loop_pace.c: the rules; what they are for stands in loop_pace.h.
 */
#include "loop_pace.h"

static unsigned needed(const struct loop_pace *p)
{
	return p->needed == 0 ? LOOP_PACE_QUICK_MIN : p->needed;
}

static bool worth_it(const struct loop_pace *p, int64_t now)
{
	return p->quick >= needed(p) && now >= p->rest_until;
}

void loop_pace_arrived(struct loop_pace *p, int64_t now)
{
	int64_t gap = now - p->answered;

	if (gap <= LOOP_PACE_WATCH_NS && worth_it(p, now))
		p->needed = LOOP_PACE_QUICK_MIN;
	if (gap > LOOP_PACE_GAP_NS)
		p->quick = 0;
	else if (p->quick < LOOP_PACE_QUICK_MAX)
		p->quick++;
}

void loop_pace_answered(struct loop_pace *p, int64_t now)
{
	p->answered = now;
}

int64_t loop_pace_watch_until(const struct loop_pace *p, int64_t now)
{
	return worth_it(p, now) ? now + LOOP_PACE_WATCH_NS : now;
}

bool loop_pace_crowded(struct loop_pace *p, int64_t before, int64_t now)
{
	if (now - before < LOOP_PACE_CROWD_NS)
		return false;
	if (p->rest == 0 || now - p->rest_until > p->rest)
		p->rest = LOOP_PACE_REST_MIN_NS;
	else if (p->rest < LOOP_PACE_REST_MAX_NS)
		p->rest *= 2;
	p->rest_until = now + p->rest;
	return true;
}

void loop_pace_in_vain(struct loop_pace *p)
{
	p->quick = 0;
	p->needed = needed(p) < LOOP_PACE_QUICK_MAX ? needed(p) * 2 : LOOP_PACE_QUICK_MAX;
}
