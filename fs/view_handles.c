/*
 * view_handles.c: files of views that are open.
 *
 * Whoever opened a file of a view closes it; but a tree may be closed while some are open still (the kernel
 * ends a connection without closing what was open through it), and what they hold, versions and layouts, must
 * be given back before the store goes.  So each one is noted here, and what is left is closed with the tree.
 */
#include <errno.h>
#include <stdlib.h>

#include "view_host.h"

struct opened {
	struct opened *prev, *next;
	struct view_handles *all;
	struct fs_view_file file;  /* as the view opened it */
	struct fs_handle *handle;  /* that it is in */
};

struct view_handles {
	pthread_mutex_t lock;      /* guards the list; a leaf */
	struct opened *first;
};

struct view_handles *view_handles_new(void)
{
	struct view_handles *h = calloc(1, sizeof(*h));

	if (h)
		pthread_mutex_init(&h->lock, NULL);
	return h;
}

static ssize_t opened_read(struct fs_view_file *f, uint64_t off, void *buf, size_t len)
{
	struct opened *o = f->state;

	return o->file.read(&o->file, off, buf, len);
}

static void opened_close(struct fs_view_file *f)
{
	struct opened *o = f->state;

	pthread_mutex_lock(&o->all->lock);
	*(o->prev ? &o->prev->next : &o->all->first) = o->next;
	if (o->next)
		o->next->prev = o->prev;
	pthread_mutex_unlock(&o->all->lock);
	o->file.close(&o->file);
	free(o);
}

int view_handles_add(struct view_handles *h, struct fs_view_file *f)
{
	struct opened *o = malloc(sizeof(*o));

	if (!o)
		return ckpt_fail(ENOMEM, "no memory for an open file of a view");
	*o = (struct opened){ .all = h, .file = *f };
	o->handle = (struct fs_handle *)((char *)f - offsetof(struct fs_handle, view));
	f->read = opened_read;
	f->close = opened_close;
	f->state = o;
	pthread_mutex_lock(&h->lock);
	o->next = h->first;
	if (o->next)
		o->next->prev = o;
	h->first = o;
	pthread_mutex_unlock(&h->lock);
	return 0;
}

void view_handles_free(struct view_handles *h)
{
	if (!h)
		return;
	while (h->first) {
		struct fs_handle *handle = h->first->handle;

		opened_close(&handle->view);
		free(handle);
	}
	pthread_mutex_destroy(&h->lock);
	free(h);
}
