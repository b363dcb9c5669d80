/*
 * fs_internal.h: the tree's inside, for the modules of fs/.
 *
 *   fs_table.c    which inodes are known, and the body of those that are open
 *   fs_inode.c    lookup, attributes            fs_name.c     names made, moved, removed
 *   fs_handle.c   open files                    fs_change.c   what each change of content passes
 *   fs_session.c  publish or abandon what was written          fs_dying.c    who closed
 *   fs_view.c     the names beginning with '@'  fs_dir.c, fs_xattr.c, fs_path.c
 *   view_host.h  views of checkpoints
 *
 * An inode that was merely looked up costs 48 bytes and its share of a hash table, since there may be a million; all that an
 * open file needs (locks, store_file, handles) is in its body, which lives from the first open to the last release, longer
 * only when what was written could not be published yet.
 *
 * References: the kernel's lookups, each open directory and the body count in inode.refs; handles, and whoever is
 * looking at a body, count in body.refs.  An inode without names is reaped when its last reference goes, never earlier:
 * fs_inode_orphaned() says that the last name went.
 *
 * Locks, in this order; none of them is held when the adapter is notified:
 *
 *   body.session   one decision about the body's session at a time: publish, abandon, opening and closing of the
 *                  store_file.  Held while the store works.
 *   body.gate      shared by whoever changes content; exclusive while a session is abandoned or revived, so that no write
 *                  lands between the two contents
 *   fs.names       shared by whoever gives or takes a name; exclusive where a name is removed only if it still means
 *                  the same inode
 *   shard.lock     short, never while the store works
 */
#ifndef FS_INTERNAL_H
#define FS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "codec/ckpt_error.h"
#include "codec/ckpt_wait.h"
#include "fs.h"
#include "fs_view_internal.h"
#include "store/store.h"
#include "store/store_file.h"
#include "store/store_history.h"
#include "store/store_tree.h"

/* --- who closed (fs_dying.c) ------------------------------------------------------------------------- */

enum fs_life {
	FS_ALIVE,
	FS_EXITING,
	FS_KILLED,
	FS_UNSEEN,  /* a kernel thread, or nobody: some process ends, not known which */
};

/* How processes are looked at; tests put their own functions here. */
struct fs_proc {
	/* What is becoming of the thread `pid`. */
	enum fs_life (*life)(pid_t pid);
	/* The process that a thread belongs to; 0: not known. */
	pid_t (*group)(pid_t pid);
};
extern const struct fs_proc fs_proc_linux;

/* --- inodes and bodies (fs_table.c) ------------------------------------------------------------------ */

struct fs_inode {
	uint64_t ino;
	uint64_t refs : 63;
	uint64_t orphan : 1;      /* its last name is gone */
	uint64_t cached;          /* version of the content that the kernel's page cache may hold; FS_NOT_CACHED */
	struct fs_inode *next;    /* in its slot */
	struct fs_body *body;
};
#define FS_NOT_CACHED UINT64_MAX

/* What becomes of a handle that outlived the session it wrote. */
enum fs_abandoned {
	FS_NOT_ABANDONED,
	FS_REVIVABLE,             /* the next write takes up what was set aside */
	FS_GONE,                  /* the file was new, and its name was removed */
};

struct fs_body {
	struct fs_inode *inode;
	uint64_t ino;

	/* shard.lock guards these.  `file` may also be read by who holds a reference that was taken while it was set. */
	struct fs_body *prev, *next;
	unsigned refs;
	unsigned writers;         /* handles that may write */
	struct fs_handle *handles;
	struct store_file *file;
	uint64_t version;         /* of the published content */
	uint64_t failed_off;      /* of `failed` */
	bool parked;              /* a reference of its own keeps a session that could not be published; tick tries again */

	pthread_mutex_t session;
	/* body.session guards these */
	uint64_t parent;          /* the name a new file was made under, until it is first published */
	char *name;               /* NULL: none */
	enum fs_life doomed;      /* how a writer died that left the decision to the other writers; FS_ALIVE: none did */
	int64_t not_before;       /* CLOCK_MONOTONIC ns: tick leaves the session alone until then */
	uint64_t seen_written;    /* bytes the session had at the last tick */

	pthread_rwlock_t gate;
	/* body.gate (changed under exclusive) guards these */
	enum fs_abandoned abandoned;
	unsigned epoch;           /* grows with each abandoned session */
	uint64_t torn;            /* version in the history that was set aside; 0 none */

	atomic_int failed;        /* errno of a write of this replacing session that was not made good; 0 none */
	atomic_bool outside;      /* this session has changes that did not come through the kernel */
	_Atomic int64_t read_at;  /* CLOCK_REALTIME ns of a read that atime does not tell yet; 0 none */
};

struct fs_shard {
	pthread_mutex_t lock;     /* guards the rest, the inodes and the parts of bodies marked so */
	struct fs_inode **slots;
	size_t nslots;            /* power of two */
	size_t count;
	struct fs_body *bodies;
	size_t nbodies;
};
enum { FS_SHARDS = 64 };

struct fs {
	struct store *store;
	bool torn_keep, noatime, readonly;
	struct fs_proc proc;
	struct timespec born;
	atomic_bool security;     /* some inode may have a security.* attribute */

	struct fs_shard shards[FS_SHARDS];
	atomic_ullong gone;       /* grows whenever an inode lost its last name */
	atomic_ullong published;  /* grows whenever a session was published, before its body may go */
	atomic_ullong changes;    /* grows with whatever else of the tree changed that views show: names, owners, times */
	pthread_rwlock_t names;

	pthread_rwlock_t notify_lock; /* guards the two below; shared while notify runs */
	fs_notify notify;
	void *notify_arg;

	struct fs_views *views;
	struct view_host *host;       /* what views of checkpoints share */
};

/* Drops the tree as a crash would (tests). */
void fs_crash(struct fs *fs);

int fs_table_init(struct fs *fs);
void fs_table_release(struct fs *fs);

/* One more reference to an inode. -ENOMEM. */
int fs_inode_ref(struct fs *fs, uint64_t ino);
/* n fewer; an orphan without any is reaped. */
void fs_inode_unref(struct fs *fs, uint64_t ino, uint64_t n);
/* The last name of an inode is gone: it is reaped now or with its last reference. */
void fs_inode_orphaned(struct fs *fs, uint64_t ino);
/* It is to have a name again: true when it had none. The caller has a reference. */
bool fs_inode_named(struct fs *fs, uint64_t ino);
bool fs_inode_is_orphan(struct fs *fs, uint64_t ino);
/* The reference is taken after the inode was found by a name; true when it was not reaped in between.  seen: fs->gone
 * as it was before the name was looked at. */
bool fs_inode_still(struct fs *fs, uint64_t ino, unsigned long long seen);

/* The body of an inode with its store_file open, and a reference. */
int fs_body_open(struct fs *fs, uint64_t ino, struct fs_body **out);
/* The same if there is one and its store_file is open, else NULL. */
struct fs_body *fs_body_hold(struct fs *fs, uint64_t ino);
/* One more reference for somebody who has one. */
struct fs_body *fs_body_again(struct fs *fs, struct fs_body *b);
/* Gives a reference back; closes the store_file with the last one. */
void fs_body_put(struct fs *fs, struct fs_body *b);
struct fs_shard *fs_shard_of(struct fs *fs, uint64_t ino);

#define FS_SECURITY_PREFIX "security."

/* --- attributes (fs_inode.c) ------------------------------------------------------------------------- */

/*
 * *out from the store's attributes and what an open session says beyond them.  seen: fs->published as it was before the attributes
 * were read; those of a file whose session may have ended since then are read again, for the kernel keeps what it is told.
 */
void fs_entry_fill(struct fs *fs, const struct store_attr *a, unsigned long long seen, struct fs_entry *out);
/* relatime: is this atime to be replaced by `now` (ns since the epoch)? */
bool fs_atime_due(const struct store_attr *a, int64_t now);
/* Writes atime if it is due. */
void fs_atime_apply(struct fs *fs, uint64_t ino, int64_t when);
int64_t fs_realtime(void);
int64_t fs_monotonic(void);
/* -EPERM for a name that is kept for views. */
int fs_name_allowed(uint64_t parent, const char *name);
/* ctime of an inode moved in the store: a session that is open on it must not put it back, nor hide it. */
void fs_ctime_moved(struct fs *fs, uint64_t ino);
/* Removes a name if it leads to this inode, else -ENOENT. No names lock may be held. */
int fs_name_remove(struct fs *fs, uint64_t parent, const char *name, uint64_t ino);

/* --- handles (fs_handle.c) --------------------------------------------------------------------------- */

struct fs_handle {
	struct fs_body *body;     /* NULL: of a view */
	struct fs_view_file view;
	int flags;
	bool writable;            /* or opened with O_TRUNC */
	atomic_bool append;
	bool keep_cache;
	pid_t opener;
	_Atomic pid_t writer;     /* thread of the last write(2); the opener before any */
	unsigned epoch;           /* body.epoch at open */
	atomic_bool was_read;
	bool doomed;              /* its process is dying. shard.lock */
	struct fs_handle *prev, *next; /* of its body. shard.lock */
};

/* --- changes (fs_change.c) --------------------------------------------------------------------------- */

/*
 * Around every change of content.  Begin takes the gate (exclusive when asked) and revives an abandoned session; on
 * failure nothing is held.  h is NULL when the change comes by path.
 */
int fs_change_begin(struct fs *fs, const struct fs_caller *c, struct fs_body *b, struct fs_handle *h, bool exclusive);
void fs_change_end(struct fs_body *b);
/* Remembers that a write at off failed, or was made good. */
void fs_change_result(struct fs *fs, struct fs_body *b, uint64_t off, int rc);

/* --- sessions (fs_session.c) ------------------------------------------------------------------------- */

/* Publishes what there is, if there is something. -errno: the session stands. Session lock not held. */
int fs_session_publish(struct fs *fs, struct fs_body *b, bool durable);
/* The same for an inode that may have a body. */
int fs_session_publish_ino(struct fs *fs, uint64_t ino);
/* close(2) of a descriptor. */
int fs_session_flush(struct fs *fs, const struct fs_caller *c, struct fs_handle *h);
/* The last handle that could write is gone. */
void fs_session_settle(struct fs *fs, struct fs_body *b);
/* Once a second: sessions that are open for long, and parked ones. */
void fs_session_tick(struct fs *fs);
/* The end of everything: publishes or abandons each session. */
void fs_session_finish(struct fs *fs);
/* Takes a path truncation back that could not be published. Session lock not held. */
void fs_session_undo(struct fs *fs, struct fs_body *b);

/* Bytes of the content, session included. */
uint64_t fs_content_size(struct store_file *f);
/* Is this the error of a full or broken disk? */
bool fs_no_room(int rc);

/* Tells the adapter; no lock held. name NULL: data and attributes of ino. */
void fs_notify_change(struct fs *fs, uint64_t ino, const char *name);
/* The same when `c` did not come through the kernel.  Called after every change; counts them (fs.changes). */
void fs_notify_outside(struct fs *fs, const struct fs_caller *c, uint64_t ino, const char *name);

#endif
