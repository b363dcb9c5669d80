/*
 * mount_options.h: the words after -o.
 *
 * Three kinds: those of mount(8) and the kernel, which are passed on; those that mount(8), fstab(5) and
 * systemd keep for themselves, which are ignored; and ours.  Anything else is refused, with the nearest word
 * that there is: a misspelt `history=` must not pass for a choice. mount.fuse.ckptfs(8) tells what each means.
 */
#ifndef MOUNT_OPTIONS_H
#define MOUNT_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "fs/fs.h"
#include "fs/fs_mount.h"

struct mount_options {
	struct fs_options fs;          /* for fs_open(); mountpoint is the caller's to set */
	struct fs_mount_options mount; /* for fs_mount_serve(); strings point into this struct */
	char *words;                   /* for the kernel, comma separated; NULL: none */
	char *fsname;                  /* NULL: not given */
	bool readonly;
	bool dev, suid;                /* said something about it, either way */
	bool allow;                    /* allow_other or allow_root */
	bool remount;
};

/* The defaults. */
void mount_options_init(struct mount_options *m);
void mount_options_release(struct mount_options *m);

/*
 * Takes one -o argument: words separated by commas ("\," is a comma in a word); later ones win. -EINVAL: the
 * message says which word is wrong and why; -ENOMEM.
 */
int mount_options_parse(struct mount_options *m, const char *text);

/* All effective settings in one line, as -o words. Caller frees; NULL: no memory. */
char *mount_options_text(const struct mount_options *m);

#endif
