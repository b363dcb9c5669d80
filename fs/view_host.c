/*
 * view_host.c: what the views of one tree share.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/codec_hash.h"
#include "torchbridge/bridge_client.h"
#include "view_host.h"

enum { BRIDGE_IDLE_S = 60 };

int view_host_new(struct view_host **out)
{
	struct view_host *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return ckpt_fail(ENOMEM, "no memory for views");
	pthread_mutex_init(&h->large, NULL);
	pthread_mutex_init(&h->said, NULL);
	h->cache = view_cache_new();
	h->facts = view_facts_new();
	h->names = view_names_new();
	h->scans = view_scans_new();
	h->handles = view_handles_new();
	rc = h->cache && h->facts && h->names && h->scans && h->handles ? 0 : ckpt_fail(ENOMEM, "no memory for views");
	if (rc == 0)
		rc = bridge_client_new(NULL, &h->bridge);
	if (rc < 0) {
		view_host_free(h);
		return rc;
	}
	*out = h;
	return 0;
}

void view_host_free(struct view_host *h)
{
	if (!h)
		return;
	view_handles_free(h->handles);
	view_scans_free(h->scans);
	view_cache_free(h->cache);
	view_facts_free(h->facts);
	view_names_free(h->names);
	bridge_client_free(h->bridge);
	pthread_mutex_destroy(&h->said);
	pthread_mutex_destroy(&h->large);
	free(h);
}

void view_host_tick(struct view_host *h)
{
	view_cache_tick(h->cache);
	view_scans_tick(h->scans);
	bridge_client_reap(h->bridge, BRIDGE_IDLE_S);
}

uint64_t view_rule(uint64_t rule, const char *what)
{
	uint64_t x = rule * 0x9e3779b97f4a7c15u + (uint64_t)codec_check(what, strlen(what));

	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 31;
	return x ? x : 1;
}
