/*
 * view_host.h: views of checkpoints, for their own files.
 *
 *   view_forms.c    @cpu, @cuda:1, @bf16, @auto, @summary, @json, @safetensors: the tree, each file seen another way
 *   view_tree.c     @tree: each file a directory
 *   view_runs.c     @runs: the tree as runs and experiences; view_scan.c keeps the scan,
 *                   view_scan_tree.c is what it looks at
 *
 *   view_content.c  a file's content in a view: what is known of it, and its layout
 *   doc_cache.c     files that were understood            fact_cache.c    what was found out, kept with the version
 *   view_cache.c    objects that are shared, and kept while there is room
 *   view_source.c   what a view is made of: a path of the tree, or of another view ("@cpu/@runs/...")
 *   view_names.c    names of the tree that were looked up, for as long as nothing changes
 *   view_access.c   who may see what was made of several files
 *   view_handles.c  files of views that are open
 *   view_host.c     all of it for one tree, from fs_open() to fs_close()
 *
 * Views show what is published: a file that is being written is seen as it was.  Permissions are those of
 * the source, without the right to write, so that the kernel's checks on the way through a view are the
 * ones on the way to the source.
 *
 * A path is looked at and then opened, and may be replaced in between: -ESTALE, and whoever asked begins
 * anew (fs_view.c).
 */
#ifndef VIEW_HOST_H
#define VIEW_HOST_H

#include "fs_internal.h"
#include "torchbridge/bridge_doc.h"
#include "torchbridge/bridge_layout.h"
#include "torchbridge/bridge_spec.h"

struct bridge_client;
struct bridge_tree;

/*
 * Raised when what a view shows of the same file changes in size, or what is kept of a file reads
 * differently: facts that an older program found out are not believed then.
 */
enum { VIEW_RULES = 3 };

/* --- view_host.c ------------------------------------------------------------------------------------- */

struct view_cache;
struct view_facts;
struct view_handles;
struct view_names;
struct view_scans;

struct view_host {
	struct view_cache *cache;
	struct view_facts *facts;
	struct view_names *names;
	struct view_scans *scans;
	struct view_handles *handles;
	struct bridge_client *bridge;
	pthread_mutex_t said;     /* one line in the log for a file: guards looking whether there was one */
	pthread_mutex_t large;    /* held while a file is understood that takes much memory: one at a time */
};

int view_host_new(struct view_host **out);
/* Also closes the files of views that are open; they may not be used any more. */
void view_host_free(struct view_host *h);
/* Gives back what nobody has asked for lately. About once a second. */
void view_host_tick(struct view_host *h);

/* A mark's rule with something more done to it: `what` is any text. Never 0. */
uint64_t view_rule(uint64_t rule, const char *what);

/* --- open files (view_handles.c) --------------------------------------------------------------------- */

struct view_handles *view_handles_new(void);
/* Frees the handles, too. */
void view_handles_free(struct view_handles *h);
/*
 * Notes the open file of a handle (f is its member), and puts itself between it and whoever reads and closes it.
 * -ENOMEM: it is still the caller's.
 */
int view_handles_add(struct view_handles *h, struct fs_view_file *f);

/* --- names (view_names.c) ---------------------------------------------------------------------------- */

struct view_names *view_names_new(void);
void view_names_free(struct view_names *n);
/* Grows whenever the tree changed, after the change and before whoever made it is answered. */
unsigned long long view_changes(struct fs *fs);
/* As store_lookup(). */
int view_name_lookup(struct fs *fs, uint64_t parent, const char *name, size_t len, struct store_attr *out);
int view_name_root(struct fs *fs, struct store_attr *out);

/* --- what is shared (view_cache.c) ------------------------------------------------------------------- */

enum view_what { VIEW_DOC, VIEW_LAYOUT, VIEW_TREE, VIEW_TEXT };

struct view_key {
	struct fs_mark mark;
	enum view_what what;
};

struct view_item; /* an object and its references */

struct view_cache *view_cache_new(void);
void view_cache_free(struct view_cache *c);
void view_cache_tick(struct view_cache *c);
/* Drops the large objects that nobody uses: another needs their room. */
void view_cache_spare(struct view_cache *c);

/*
 * The object of a key, with a reference.  Where there is none it is made: `make` is called without locks
 * held, once for however many ask meanwhile; they wait, and get its error when it fails, which is not
 * kept.  *memory: bytes it takes.  `drop` frees it.  Without `make` what is not there is -EAGAIN.
 */
int view_cache_get(struct view_cache *c, const struct view_key *k,
		int (*make)(void *arg, void **object, size_t *memory), void *arg, void (*drop)(void *object),
		struct view_item **out);
void *view_item_object(const struct view_item *i);
/* NULL is fine. */
void view_item_put(struct view_cache *c, struct view_item *i);

/* --- what was found out (fact_cache.c) --------------------------------------------------------------- */

enum view_verdict {
	VIEW_SAME = 1,   /* the view does not apply: the file as it is */
	VIEW_MADE = 2,   /* it does, and has `size` bytes */
	VIEW_BAD = 3,    /* the file can't be understood */
};
enum { VIEW_TEXT_MAX = 160 };
struct view_fact {
	enum view_verdict verdict;
	uint64_t size;
	char text[VIEW_TEXT_MAX]; /* why VIEW_BAD; of the fact "doc" the device it was saved on, "" for the CPU */
};

struct view_facts *view_facts_new(void);
void view_facts_free(struct view_facts *f);
/* What is known of a content under a name ("cpu+1"), here or with its version. -ENOENT without a message. */
int view_fact_get(struct fs *fs, const struct fs_mark *m, const char *name, struct view_fact *out);
/* Remembered as long as there is room. The version is held by the caller, or is of the history. */
void view_fact_put(struct fs *fs, const struct fs_mark *m, const char *name, const struct view_fact *fact);

/* --- sources (view_source.c) ------------------------------------------------------------------------- */

struct view_source {
	struct stat st;       /* as a view shows it: no right to write. st_ino 0: of another view */
	struct fs_mark mark;  /* of a regular file */
};
/*
 * What a path leads to, links not followed.  *used (may be NULL: then the whole path must be there): how
 * much of the path leads to a file, where more follows it: the rest, behind a '/', is inside it.  -ENOENT,
 * -ENOTDIR, -EAGAIN (quick).
 */
int view_source_find(struct fs *fs, const char *path, bool quick, size_t *used, struct view_source *out);
/* The same of what a file of the tree is known to be. */
void view_source_of(const struct store_attr *a, struct view_source *out);
/* Of a directory. */
int view_source_list(struct fs *fs, const char *path, fs_view_emit emit, void *arg);
/* Of a link. */
ssize_t view_source_readlink(struct fs *fs, const char *path, char *buf, size_t cap);

/*
 * The bytes of a source.  Opened at the first read, or when asked to; the version is held from then on.
 * -ESTALE: it is no longer what was found.  Once it is open any number of threads may read.
 */
struct view_input {
	struct fs *fs;
	char *path;              /* for messages, and of another view: to open it. Owned */
	struct view_source src;
	bool open;
	struct fs_view_file file;
};
int view_input_init(struct view_input *in, struct fs *fs, const char *path, size_t len,
		const struct view_source *src);
void view_input_release(struct view_input *in);
int view_input_open(struct view_input *in);
/* A codec_read_at; arg: the input. */
int64_t view_input_read(void *arg, uint64_t off, void *buf, size_t len);
/* Makes *out the file of the input as it is, and takes it over; on failure it is left to be released. */
int view_input_pass(struct view_input *in, struct fs_view_file *out);

/* --- documents (doc_cache.c) ------------------------------------------------------------------------- */

/*
 * What the file is: a fact.  VIEW_MADE: a document, its device told; else VIEW_SAME or VIEW_BAD, of which
 * the log has a line.  Opens the file when nothing is known yet, or with `quick` fails with -EAGAIN.
 */
int view_doc_fact(struct view_input *in, bool quick, struct view_fact *out);
/* The document, with a reference; its errors are those of bridge_doc.h, and -ESTALE. */
int view_doc_get(struct view_input *in, const struct bridge_doc **doc, struct view_item **out);

/* Errors that say something about the file, for good. */
bool view_is_verdict(int rc);
/* Remembers a fact of the input; opens it, so that the version is held. -ESTALE. */
int view_learn(struct view_input *in, const char *name, const struct view_fact *fact);
/*
 * The same for VIEW_BAD, with this thread's message.  The log gets a line, once for a version, whichever view met it
 * first.
 */
int view_learn_bad(struct view_input *in, const char *name, struct view_fact *out);
/* Fails with -EIO for a fact that is VIEW_BAD. */
int view_refuse(const struct view_input *in, const struct view_fact *bad);

/* --- contents (view_content.c) ----------------------------------------------------------------------- */

/* A file as a view shows it. `name`: the last name of its path, which texts have in their heading. */
struct view_content {
	struct view_input *in;
	struct bridge_spec spec;
	const char *name;
	/* by view_content_init() */
	char key[BRIDGE_DEVICE_MAX + 64]; /* of the fact */
	struct fs_mark mark;              /* of what it shows, where the view applies */
};
/* Settles "auto". -EAGAIN: that takes opening the file, and quick was asked for. */
int view_content_init(struct view_content *c, struct view_input *in, const struct bridge_spec *spec,
		const char *name, bool quick);
/* Whether the view applies, and the size. VIEW_BAD is a verdict and no failure. */
int view_content_fact(struct view_content *c, bool quick, struct view_fact *out);
/* Opens it. -EIO: VIEW_BAD. Takes the input over on success. */
int view_content_open(struct view_content *c, struct fs_view_file *out);

/* A layout over n inputs (its sources 0, 1, ..) as an open file; takes them and the layout over on success. */
int view_layout_open(struct fs *fs, struct view_input *in, size_t n, struct view_item *layout,
		const struct fs_mark *mark, struct fs_view_file *out);
/* --- permissions (view_access.c) --------------------------------------------------------------------- */

/* Who may read something that was made of several files: everybody who may read each of them, or fewer. */
struct view_access {
	uid_t uid;
	gid_t gid;
	mode_t mode;     /* 0444 or less */
	bool any;        /* something was met */
};
/* Also asks for `perm` (4 to read, 1 to go through) on something with these attributes. */
void view_access_meet(struct view_access *a, uid_t uid, gid_t gid, mode_t mode, unsigned perm);
/* Also asks for the way to a path of the tree, and for `perm` on what it leads to; *last (may be NULL) gets that. */
int view_access_path(struct fs *fs, struct view_access *a, const char *path, unsigned perm,
		struct view_source *last);

/* --- the tree as runs (view_scan.c, view_scan_tree.c) ---------------------------------------------------- */

struct bridge_files;
struct bridge_runs;
struct runs_files;

struct view_scans *view_scans_new(void);
void view_scans_free(struct view_scans *s);
void view_scans_tick(struct view_scans *s);

/* A scan of the tree; does not change but for the references. */
struct runs_scan {
	struct bridge_runs *runs;
	struct runs_files *files;   /* what it was made of, and its components will be */
	uint64_t number;            /* of the scan, from 1 */
	unsigned long long seen;    /* changes of the tree when it began */
	int64_t took, done;         /* CLOCK_MONOTONIC ns */
	unsigned refs;              /* lock of the scans */
};
/* The present one, or one that is hardly older (view_scan.c). With a reference. */
int view_scan_get(struct fs *fs, struct runs_scan **out);
void view_scan_put(struct fs *fs, struct runs_scan *s);
/* A file is not what it was when it was scanned: who asks now gets another scan. */
void view_scan_wrong(struct fs *fs, const struct runs_scan *s);

/* The tree as torchbridge wants to see it. */
int runs_files_new(struct fs *fs, struct runs_files **out, struct bridge_files *calls);
void runs_files_free(struct runs_files *f);

#endif
