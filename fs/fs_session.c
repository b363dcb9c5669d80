/*
 * fs_session.c: what becomes of that which was written.
 *
 * A session (store_file.h) ends with close(2) of a descriptor: it is published.  Three things make this less simple.
 *
 * 1. The writer is dying.  A FLUSH also comes for each descriptor of a process that ends (fs_dying.c).  If the session made its
 *    content from nothing (a new file, O_TRUNC) and what is there is a container whose end is missing, or, for a killed
 *    process, nothing at all, then somebody died in the middle of a save: the session is abandoned.  The version before
 *    stands, a file that was new loses its name again, what was written is kept in the history, marked torn.  Everything else
 *    is published as at any close.  While another handle is open for writing the decision is left to the last of them.
 *
 * 2. The closer is a stranger.  A child forked in the middle of a save (a data loader, subprocess.run) has the descriptor too and
 *    closes it when it calls exec or ends.  That says nothing about the save, so it neither publishes nor abandons: only a
 *    process that wrote last through the handle, or, while it lives, the one that opened it, decides.
 *
 * 3. Space ran out.  A session that replaces the content and could not keep all of it is abandoned, and the caller gets the error;
 *    other sessions stand and are tried again, at every close, by tick when nobody has the file open any more ("parked"), and at
 *    the end.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "codec/codec_container.h"
#include "fs_internal.h"

#define NS_PER_S ((int64_t)1000000000)
#define TICK_REST (5 * NS_PER_S)          /* between two publishes of a session that is not small, or that failed */
enum {
	TICK_SMALL = 1 << 20,             /* below this a publish costs no sync (store_file.h) */
	TICK_STREAM = 16 << 20,           /* who writes more than this between two ticks is not writing a log */
	PATH_CAP = 8192,
};

/* What the adapter is to be told once no lock is held. */
struct news {
	bool changed;      /* data and attributes */
	uint64_t parent;
	char *name;        /* removed from parent; NULL: none */
};

static void tell(struct fs *fs, uint64_t ino, struct news *n)
{
	if (n->changed)
		fs_notify_change(fs, ino, NULL);
	if (n->name) {
		fs_notify_change(fs, n->parent, n->name);
		fs_notify_change(fs, n->parent, NULL);
		free(n->name);
	}
}

bool fs_no_room(int rc)
{
	return rc == -ENOSPC || rc == -EDQUOT || rc == -EIO;
}

static int64_t read_content(void *arg, uint64_t off, void *buf, size_t len)
{
	return store_file_read(arg, off, buf, len);
}

uint64_t fs_content_size(struct store_file *f)
{
	struct store_attr a = { 0 };

	store_file_stat(f, &a);
	return a.size;
}

/* enum codec_container of what is there now. What can't be read is not called torn. */
static enum codec_container container_of(struct fs_body *b)
{
	int state = codec_container_state(read_content, b->file, fs_content_size(b->file));

	return state < 0 ? CODEC_CONTAINER_NONE : (enum codec_container)state;
}

/* Was somebody who ends like this in the middle of a save? */
static bool cut_short(struct fs *fs, struct fs_body *b, const struct store_file_state *st, enum fs_life life)
{
	if (fs->torn_keep || life == FS_ALIVE || !(st->replacing || st->fresh))
		return false;
	if (life == FS_KILLED && (st->written == 0 || fs_content_size(b->file) == 0))
		return true;
	return container_of(b) == CODEC_CONTAINER_TORN;
}

/* --- ending a session; body.session is held ---------------------------------------------------------- */

static int publish(struct fs *fs, struct fs_body *b, bool durable, struct news *news)
{
	struct fs_shard *sh = fs_shard_of(fs, b->ino);
	struct store_attr after = { .version = FS_NOT_CACHED }; /* stays so when the next session has begun already */
	struct store_file_state st;
	bool outside;
	int rc, failed;

	store_file_state(b->file, &st);
	failed = atomic_load(&b->failed);
	if (failed != 0 && st.replacing)
		return ckpt_fail(failed, "a write to this file failed before");
	outside = atomic_exchange(&b->outside, false);
	rc = store_file_publish(b->file, durable);
	if (rc < 0) {
		if (outside)
			atomic_store(&b->outside, true);
		return rc;
	}
	atomic_fetch_add(&fs->published, 1);
	store_file_stat(b->file, &after);
	atomic_store(&b->failed, 0);
	free(b->name);
	b->name = NULL;
	b->doomed = FS_ALIVE;
	b->seen_written = 0;
	news->changed = news->changed || outside;

	/* What came through the kernel is in its page cache already, under the new version. */
	pthread_mutex_lock(&sh->lock);
	if (outside || b->version == FS_NOT_CACHED || b->inode->cached != b->version)
		b->inode->cached = FS_NOT_CACHED;
	else
		b->inode->cached = after.version;
	b->version = after.version;
	pthread_mutex_unlock(&sh->lock);
	return 0;
}

struct torn_search {
	uint64_t ino;
	struct store_past found;
	bool any;
};

static int newest_torn(void *arg, const struct store_past *p)
{
	struct torn_search *t = arg;

	if (p->how == STORE_TORN && p->attr.ino == t->ino) {
		t->found = *p;
		t->any = true;
	}
	return 0;
}

/* Takes the name of a new file away, if it still is its name. */
static void remove_name(struct fs *fs, struct fs_body *b, struct news *news)
{
	int rc;

	if (!b->name)
		return;
	rc = fs_name_remove(fs, b->parent, b->name, b->ino);
	if (rc == 0) {
		news->parent = b->parent;
		news->name = b->name;
		b->name = NULL;
	} else if (rc != -ENOENT) {
		ckpt_log(LOG_ERR, "'%s' could not be removed: %s", b->name, ckpt_errmsg());
	}
}

/* One line that says what happened, and where the bytes are. */
static void log_abandoned(const char *why, const char *path, uint64_t ino, bool fresh, const struct torn_search *torn)
{
	char name[FS_HISTORY_NAME_MAX];
	const char *fate = fresh ? "it was new and does not appear" : "the version before stands";

	if (torn->any) {
		fs_history_name(&torn->found, path, strlen(path), name);
		ckpt_log(LOG_WARNING, "'%s': %s; %s, what was written is @history/%s/%s", path, why, fate, path, name);
	} else if (path[0] != '\0') {
		ckpt_log(LOG_WARNING, "'%s': %s; %s", path, why, fate);
	} else {
		ckpt_log(LOG_WARNING, "inode %llu: %s; %s", (unsigned long long)ino, why, fate);
	}
}

static int abandon(struct fs *fs, struct fs_body *b, const char *why, bool keep, struct news *news)
{
	struct fs_shard *sh = fs_shard_of(fs, b->ino);
	struct torn_search torn = { .ino = b->ino };
	struct store_file_state st;
	char path[PATH_CAP];
	bool something;
	ssize_t len;
	int rc;

	len = store_pathof(fs->store, b->ino, path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';

	ckpt_rwlock_wrlock(&b->gate);
	store_file_state(b->file, &st);
	something = fs_content_size(b->file) > 0 && st.written > 0;
	keep = keep && something;
	rc = store_file_abort(b->file, keep);
	if (rc < 0 && keep) {
		ckpt_log(LOG_WARNING, "'%s': what was written can't be kept: %s", path, ckpt_errmsg());
		keep = false;
		rc = store_file_abort(b->file, false);
	}
	if (rc < 0) {
		pthread_rwlock_unlock(&b->gate);
		ckpt_log(LOG_ERR, "'%s': %s; the session could not be ended: %s", path, why, ckpt_errmsg());
		return rc;
	}
	if (keep && path[0] != '\0')
		store_history_of(fs->store, path, strlen(path), newest_torn, &torn);
	if (st.fresh)
		remove_name(fs, b, news);
	/* What was not kept can't be taken up: going on in the middle would make a file that nobody wrote. */
	b->abandoned = st.fresh || (something && !torn.any) ? FS_GONE : FS_REVIVABLE;
	b->torn = torn.any ? torn.found.version : 0;
	b->epoch++;
	pthread_rwlock_unlock(&b->gate);

	b->doomed = FS_ALIVE;
	b->seen_written = 0;
	atomic_store(&b->failed, 0);
	atomic_store(&b->outside, false);
	news->changed = true;
	pthread_mutex_lock(&sh->lock);
	b->inode->cached = FS_NOT_CACHED;
	pthread_mutex_unlock(&sh->lock);
	log_abandoned(why, path, b->ino, st.fresh, &torn);
	return 0;
}

/* Publishes; where that fails for want of room or a broken disk, a session that replaces the content is abandoned. */
static int finish(struct fs *fs, struct fs_body *b, struct news *news)
{
	struct store_file_state st;
	int rc = publish(fs, b, false, news);

	if (!fs_no_room(rc))
		return rc;
	store_file_state(b->file, &st);
	if (st.replacing) {
		char why[256];

		snprintf(why, sizeof(why), "could not be saved (%s)", ckpt_errmsg());
		abandon(fs, b, why, rc == -EIO, news);
		return ckpt_fail(-rc, "%s", why);
	}
	return rc;
}

static int abandon_dead(struct fs *fs, struct fs_body *b, enum fs_life life, pid_t pid, struct news *news)
{
	const char *how = life == FS_KILLED ? "was killed" : "ended";
	char why[96];

	if (pid > 0)
		snprintf(why, sizeof(why), "its writer (pid %ld) %s in the middle of a save", (long)pid, how);
	else
		snprintf(why, sizeof(why), "its writer %s in the middle of a save", how);
	return abandon(fs, b, why, true, news);
}

/* --- close ------------------------------------------------------------------------------------------- */

/* Does this closer decide about the session? If so *life says how it closes. */
static bool decides(struct fs *fs, const struct fs_caller *c, struct fs_handle *h, enum fs_life *life)
{
	pid_t writer = atomic_load(&h->writer);
	pid_t closer_group, writer_group;

	*life = FS_ALIVE;
	if (!c || !c->kernel)
		return true;
	*life = fs->proc.life(c->pid);
	if (*life == FS_UNSEEN) {
		*life = writer > 0 ? fs->proc.life(writer) : FS_EXITING;
		if (*life == FS_ALIVE)
			return false;
		if (*life == FS_UNSEEN)
			*life = FS_EXITING;
		return true;
	}
	if (c->pid == writer || (*life == FS_ALIVE && c->pid == h->opener))
		return true;
	writer_group = fs->proc.group(writer);
	closer_group = fs->proc.group(c->pid);
	if (writer_group == 0 || closer_group == 0 || writer_group == closer_group)
		return true;
	return *life == FS_ALIVE && closer_group == fs->proc.group(h->opener);
}

/* Marks the handle as one that nobody writes through any more; true when another one is open for writing. */
static bool doom(struct fs *fs, struct fs_handle *h)
{
	struct fs_shard *sh = fs_shard_of(fs, h->body->ino);
	bool others = false;

	pthread_mutex_lock(&sh->lock);
	h->doomed = true;
	for (const struct fs_handle *o = h->body->handles; o; o = o->next)
		others = others || (o->writable && !o->doomed);
	pthread_mutex_unlock(&sh->lock);
	return others;
}

int fs_session_flush(struct fs *fs, const struct fs_caller *c, struct fs_handle *h)
{
	struct fs_body *b = h->body;
	struct store_file_state st;
	struct news news = { 0 };
	enum fs_life life = FS_ALIVE;
	bool asked;
	int rc = 0;

	store_file_state(b->file, &st);
	if ((!st.dirty && !st.fresh) || fs_inode_is_orphan(fs, b->ino))
		return 0;
	/* Who wrote last decides, and how it ends matters to content made from nothing only (1). */
	asked = st.replacing || st.fresh || !c || c->pid <= 0 || c->pid != atomic_load(&h->writer);
	if (asked && !decides(fs, c, h, &life))
		return 0;

	ckpt_mutex_lock(&b->session);
	store_file_state(b->file, &st);
	if (!asked && (st.replacing || st.fresh))
		life = fs->proc.life(c->pid);
	if (!st.dirty && !st.fresh) {
		/* somebody else's close was faster */
	} else if (cut_short(fs, b, &st, life)) {
		if (doom(fs, h))
			b->doomed = life;
		else
			rc = abandon_dead(fs, b, life, atomic_load(&h->writer), &news);
	} else {
		rc = finish(fs, b, &news);
	}
	pthread_mutex_unlock(&b->session);
	tell(fs, b->ino, &news);
	return rc;
}

int fs_session_publish(struct fs *fs, struct fs_body *b, bool durable)
{
	struct store_file_state st;
	struct news news = { 0 };
	int rc = 0;

	ckpt_mutex_lock(&b->session);
	store_file_state(b->file, &st);
	if ((st.dirty || st.fresh) && !fs_inode_is_orphan(fs, b->ino))
		rc = publish(fs, b, durable, &news);
	else if (durable)
		rc = store_commit(fs->store, true);
	pthread_mutex_unlock(&b->session);
	tell(fs, b->ino, &news);
	return rc;
}

int fs_session_publish_ino(struct fs *fs, uint64_t ino)
{
	struct fs_body *b = fs_body_hold(fs, ino);
	int rc;

	if (!b)
		return 0;
	rc = fs_session_publish(fs, b, false);
	fs_body_put(fs, b);
	return rc;
}

void fs_session_undo(struct fs *fs, struct fs_body *b)
{
	struct news news = { 0 };

	ckpt_mutex_lock(&b->session);
	if (store_file_abort(b->file, false) < 0)
		ckpt_log(LOG_ERR, "inode %llu: a truncation that failed could not be undone: %s",
				(unsigned long long)b->ino, ckpt_errmsg());
	pthread_mutex_unlock(&b->session);
	news.changed = true;
	tell(fs, b->ino, &news);
}

/* --- parked sessions --------------------------------------------------------------------------------- */

static void park(struct fs *fs, struct fs_body *b)
{
	struct fs_shard *sh = fs_shard_of(fs, b->ino);

	pthread_mutex_lock(&sh->lock);
	if (!b->parked) {
		b->parked = true;
		b->refs++;
	}
	pthread_mutex_unlock(&sh->lock);
	b->not_before = fs_monotonic() + TICK_REST;
}

/* The caller has a reference of its own. */
static void unpark(struct fs *fs, struct fs_body *b)
{
	struct fs_shard *sh = fs_shard_of(fs, b->ino);

	pthread_mutex_lock(&sh->lock);
	if (b->parked) {
		b->parked = false;
		b->refs--;
	}
	pthread_mutex_unlock(&sh->lock);
}

void fs_session_settle(struct fs *fs, struct fs_body *b)
{
	struct store_file_state st;
	struct news news = { 0 };
	int rc = 0;

	store_file_state(b->file, &st);
	if ((!st.dirty && !st.fresh) || fs_inode_is_orphan(fs, b->ino))
		return;
	ckpt_mutex_lock(&b->session);
	store_file_state(b->file, &st);
	if (!st.dirty && !st.fresh) {
		/* somebody else's close was faster */
	} else if (cut_short(fs, b, &st, b->doomed)) {
		rc = abandon_dead(fs, b, b->doomed, 0, &news);
	} else {
		rc = finish(fs, b, &news);
		if (rc < 0)
			ckpt_log(LOG_ERR, "inode %llu: what was written last is not saved: %s", (unsigned long long)b->ino,
					ckpt_errmsg());
	}
	store_file_state(b->file, &st);
	if (rc < 0 && st.dirty)
		park(fs, b);
	pthread_mutex_unlock(&b->session);
	tell(fs, b->ino, &news);
}

/* --- time -------------------------------------------------------------------------------------------- */

/* A log that stays open is published now and then, so that a crash costs its last lines only. Session lock held. */
static void tick_log(struct fs *fs, struct fs_body *b, const struct store_file_state *st, int64_t now, struct news *news)
{
	uint64_t grown = st->written >= b->seen_written ? st->written - b->seen_written : st->written;
	bool small = st->written < TICK_SMALL;
	int rc;

	b->seen_written = st->written;
	if (!st->dirty || !(st->fresh || (st->appended && !st->replacing)) || now - st->since < NS_PER_S)
		return;
	if (now < b->not_before || grown > TICK_STREAM || container_of(b) == CODEC_CONTAINER_TORN)
		return;
	rc = publish(fs, b, false, news);
	b->not_before = small && rc == 0 ? 0 : now + TICK_REST;
	if (rc < 0)
		ckpt_log(LOG_WARNING, "inode %llu: not saved yet: %s", (unsigned long long)b->ino, ckpt_errmsg());
}

static void tick_body(struct fs *fs, struct fs_body *b, bool parked)
{
	struct store_file_state st;
	struct news news = { 0 };
	int64_t now = fs_monotonic();
	bool orphan = fs_inode_is_orphan(fs, b->ino);

	/* Whoever has the lock is about to publish it anyway. */
	if (pthread_mutex_trylock(&b->session) != 0)
		return;
	store_file_state(b->file, &st);
	if (parked) {
		bool done = orphan || (!st.dirty && !st.fresh);

		if (!done && now >= b->not_before) {
			done = publish(fs, b, false, &news) == 0;
			b->not_before = now + TICK_REST;
			if (done)
				ckpt_log(LOG_NOTICE, "inode %llu: saved at last", (unsigned long long)b->ino);
		}
		if (done)
			unpark(fs, b);
	} else if (!orphan) {
		tick_log(fs, b, &st, now, &news);
	}
	pthread_mutex_unlock(&b->session);
	tell(fs, b->ino, &news);
}

void fs_hold(struct fs *fs, struct fs_handle *h, bool hold)
{
	(void)fs;
	ckpt_mutex_lock(&h->body->session);
	h->body->not_before = hold ? INT64_MAX : 0;
	pthread_mutex_unlock(&h->body->session);
}

void fs_session_tick(struct fs *fs)
{
	for (size_t i = 0; i < FS_SHARDS; i++) {
		struct fs_shard *sh = &fs->shards[i];
		struct { struct fs_body *body; bool parked; } *held = NULL;
		size_t n = 0;

		pthread_mutex_lock(&sh->lock);
		if (sh->nbodies > 0)
			held = calloc(sh->nbodies, sizeof(*held));
		for (struct fs_body *b = held ? sh->bodies : NULL; b; b = b->next) {
			if (!b->file || (b->writers == 0 && !b->parked))
				continue;
			b->refs++;
			held[n].body = b;
			held[n++].parked = b->parked && b->writers == 0;
		}
		pthread_mutex_unlock(&sh->lock);
		for (size_t k = 0; k < n; k++) {
			tick_body(fs, held[k].body, held[k].parked);
			fs_body_put(fs, held[k].body);
		}
		free(held);
	}
}

/* Nobody else uses the tree any more. */
void fs_session_finish(struct fs *fs)
{
	for (size_t i = 0; i < FS_SHARDS; i++) {
		for (struct fs_body *b = fs->shards[i].bodies; b; b = b->next) {
			struct store_file_state st;
			struct news news = { 0 };

			if (!b->file || b->inode->orphan)
				continue;
			ckpt_mutex_lock(&b->session);
			store_file_state(b->file, &st);
			if (!st.dirty && !st.fresh)
				; /* nothing to decide */
			else if (cut_short(fs, b, &st, FS_EXITING))
				abandon(fs, b, "the store was closed in the middle of a save", true, &news);
			else if (finish(fs, b, &news) < 0)
				ckpt_log(LOG_ERR, "inode %llu: what was written last is lost: %s", (unsigned long long)b->ino,
						ckpt_errmsg());
			pthread_mutex_unlock(&b->session);
			tell(fs, b->ino, &news);
		}
	}
}
