/*
 * file_jobs.c: chunks of a file on their way into the store.
 *
 * A file's extents name a job until its chunk has an id.  Jobs are harvested in the order in which they were handed over, as
 * they are done, and all of them before the file is published.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "file_internal.h"

/* Puts a failed job's bytes into the pipeline again: what was acknowledged gets a second chance. */
static int resubmit(struct store_file *f, struct pending *p)
{
	struct chunk_job *old = p->job, *j;
	uint8_t *raw = malloc(old->len);
	size_t i;
	int rc;

	if (!raw)
		return ckpt_fail(ENOMEM, "no memory to store a chunk");
	memcpy(raw, old->raw, old->len);
	j = chunk_job_new(raw, old->len);
	if (!j) {
		free(raw);
		return ckpt_fail(ENOMEM, "no memory to store a chunk");
	}
	j->hint = old->hint;
	j->record = old->record;
	j->record_off = old->record_off;
	rc = chunk_submit(f->s, j);
	if (rc) {
		chunk_job_unref(j);
		return rc;
	}
	for (i = extents_find(&f->ext, p->off); i < f->ext.n && f->ext.v[i].off < p->off + old->len; i++) {
		if (f->ext.v[i].job == old) {
			chunk_job_ref(j);
			chunk_job_unref(old);
			f->ext.v[i].job = j;
		}
	}
	p->job = j;
	chunk_job_unref(old);
	return 0;
}

int file_harvest(struct store_file *f, bool wait)
{
	bool again = false;
	int rc;

	while (f->pend_head < f->npend) {
		struct pending *p = &f->pend[f->pend_head];
		struct chunk_job *j = p->job;

		if (!wait && !atomic_load_explicit(&j->done, memory_order_acquire))
			return 0;
		rc = chunk_wait(f->s, j);
		if (rc) {
			if (f->replacing && !f->error)
				f->error = -rc;
			if (!wait)
				return 0;
			if (again || f->replacing)
				return rc;
			again = true;
			rc = resubmit(f, p);
			if (rc)
				return rc;
			continue;
		}
		again = false;
		rc = extents_settle(f->s, &f->ext, p->off, j->len, j);
		if (rc)
			return rc;
		if (j->batch) {
			if (!f->batch_lo || j->batch < f->batch_lo)
				f->batch_lo = j->batch;
			if (j->batch > f->batch_hi)
				f->batch_hi = j->batch;
		}
		chunk_unpin(f->s, j->id);
		chunk_job_unref(j);
		f->pend_head++;
	}
	f->pend_head = f->npend = 0;
	return 0;
}

int file_spill(struct store_file *f)
{
	int rc;

	if (f->ext.n < EXTENTS_MAX)
		return 0;
	rc = file_harvest(f, true);
	return rc ? rc : file_to_draft(f);
}

int file_tidy(struct store_file *f)
{
	int rc = file_harvest(f, false);

	return rc ? rc : file_spill(f);
}

int file_submit(struct store_file *f, uint64_t off, uint8_t *raw, uint32_t len, const struct codec_cut *cut)
{
	struct extent e = { .off = off, .len = len };
	struct chunk_job *j;
	int rc;

	if (f->npend == f->cap_pend) {
		size_t live = f->npend - f->pend_head, cap;
		struct pending *p;

		if (f->pend_head >= 64 && f->pend_head >= live) {
			memmove(f->pend, f->pend + f->pend_head, live * sizeof(*f->pend));
			f->pend_head = 0;
			f->npend = live;
		} else {
			cap = f->cap_pend ? f->cap_pend * 2 : 16;
			p = realloc(f->pend, cap * sizeof(*p));
			if (!p)
				goto nomem;
			f->pend = p;
			f->cap_pend = cap;
		}
	}
	j = chunk_job_new(raw, len);
	if (!j)
		goto nomem;
	if (cut) {
		j->hint = cut->hint;
		j->record = cut->record;
		j->record_off = cut->record_off;
		j->predecessor = record_predecessor(f, cut, off, len);
	}
	e.job = j;
	rc = extents_put(f->s, &f->ext, &e);
	if (rc)
		goto fail;
	rc = chunk_submit(f->s, j);
	if (rc) {
		/* The extent keeps the job, whose bytes are still read; it never gets an id, so the session can't be published. */
		if (!f->error)
			f->error = -rc;
		chunk_job_unref(j);
		return rc;
	}
	f->pend[f->npend++] = (struct pending){ .job = j, .off = off };
	return 0;

nomem:
	free(raw);
	rc = ckpt_fail(ENOMEM, "no memory to store a chunk");
	goto lost;
fail:
	chunk_job_unref(j);
lost:
	/* These bytes were acknowledged and are gone: the session must not become a version. */
	if (!f->error)
		f->error = -rc;
	return rc;
}
