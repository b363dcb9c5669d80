/*
 * mount_options.c: a table of the words that -o knows.
 */
#include "mount_options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <syslog.h>
#include <unistd.h>

#include "codec/ckpt_error.h"

enum { MIB = 1 << 20, READAHEAD_KIB = 1024, READAHEAD_MAX_KIB = 65536, WORKERS_MAX = 256 };

/* --- values ---------------------------------------------------------------------------------------- */

/* A number and its unit, the rest of the text. */
static bool number(const char *text, uint64_t *out, const char **unit)
{
	char *end;
	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	unsigned long long v = strtoull(text, &end, 10);
	if (errno != 0)
		return false;
	*out = v;
	*unit = end;
	return true;
}

static bool plain(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	const char *unit;
	return number(text, out, &unit) && *unit == '\0' && *out >= min && *out <= max;
}

/* "65536", "64K", "64M", "1G", "1T", also with iB behind. */
static bool size_in_bytes(const char *text, uint64_t *out)
{
	static const char letters[] = "KMGT";
	const char *unit;
	uint64_t v;
	if (!number(text, &v, &unit))
		return false;
	if (*unit != '\0') {
		const char *letter = strchr(letters, toupper((unsigned char)*unit));
		if (letter == NULL || (strcmp(unit + 1, "") != 0 && strcasecmp(unit + 1, "iB") != 0))
			return false;
		unsigned shift = 10 * (unsigned)(letter - letters + 1);
		if (v > UINT64_MAX >> shift)
			return false;
		v <<= shift;
	}
	*out = v;
	return true;
}

/* "0", or a number with s, m, h, d or w. */
static bool duration(const char *text, int64_t *out)
{
	static const struct { char unit; uint64_t seconds; } units[] = {
		{ 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 7 * 86400 },
	};
	const char *unit;
	uint64_t v;
	if (!number(text, &v, &unit))
		return false;
	if (v == 0 && *unit == '\0') {
		*out = 0;
		return true;
	}
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (unit[0] != units[i].unit || unit[1] != '\0')
			continue;
		if (v > INT64_MAX / units[i].seconds)
			return false;
		*out = (int64_t)(v * units[i].seconds);
		return true;
	}
	return false;
}

/* --- what the words do ------------------------------------------------------------------------------ */

static bool set_ro(struct mount_options *m, const char *v)
{
	(void)v;
	m->readonly = true;
	return true;
}

static bool set_rw(struct mount_options *m, const char *v)
{
	(void)v;
	m->readonly = false;
	return true;
}

static bool set_dev(struct mount_options *m, const char *v)
{
	(void)v;
	m->dev = true;
	return true;
}

static bool set_suid(struct mount_options *m, const char *v)
{
	(void)v;
	m->suid = true;
	return true;
}

static bool set_noatime(struct mount_options *m, const char *v)
{
	(void)v;
	m->fs.noatime = true;
	return true;
}

static bool set_atime(struct mount_options *m, const char *v)
{
	(void)v;
	m->fs.noatime = false;
	return true;
}

static bool set_strictatime(struct mount_options *m, const char *v)
{
	ckpt_log(LOG_WARNING, "strictatime: access times are kept as with relatime");
	return set_atime(m, v);
}

static bool set_sync(struct mount_options *m, const char *v)
{
	(void)v;
	m->mount.sync = true;
	return true;
}

static bool set_async(struct mount_options *m, const char *v)
{
	(void)v;
	m->mount.sync = false;
	return true;
}

static bool set_dirsync(struct mount_options *m, const char *v)
{
	(void)v;
	m->mount.dirsync = true;
	return true;
}

static bool set_allow(struct mount_options *m, const char *v)
{
	(void)v;
	m->allow = true;
	return true;
}

static bool set_max_read(struct mount_options *m, const char *v)
{
	uint64_t n;
	if (!plain(v, 4096, UINT32_MAX, &n))
		return false;
	m->mount.max_read = (unsigned)n;
	return true;
}

static bool set_fsname(struct mount_options *m, const char *v)
{
	if (v[0] == '\0')
		return false;
	free(m->fsname);
	m->fsname = strdup(v);
	m->mount.fsname = m->fsname;
	return m->fsname != NULL;
}

/* Always so: `umount`, `df` and the cleaning of dead mounts know ours by it. */
static bool set_subtype(struct mount_options *m, const char *v)
{
	(void)m;
	return strcmp(v, "ckptfs") == 0;
}

static bool set_remount(struct mount_options *m, const char *v)
{
	(void)v;
	m->remount = true;
	return true;
}

static bool set_history(struct mount_options *m, const char *v)
{
	return duration(v, &m->fs.store.history_seconds);
}

static bool set_torn(struct mount_options *m, const char *v)
{
	m->fs.torn_keep = strcmp(v, "keep") == 0;
	return m->fs.torn_keep || strcmp(v, "abort") == 0;
}

static const char *const efforts[] = { [CODEC_FAST] = "fast", [CODEC_DEFAULT] = "default", [CODEC_MAX] = "max" };

static bool set_compress(struct mount_options *m, const char *v)
{
	for (size_t i = 0; i < sizeof(efforts) / sizeof(efforts[0]); i++) {
		if (strcmp(v, efforts[i]) == 0) {
			m->fs.store.effort = (enum codec_effort)i;
			return true;
		}
	}
	return false;
}

static bool set_bytes(const char *v, size_t *out)
{
	uint64_t n;
	if (!size_in_bytes(v, &n) || n < MIB || n > SIZE_MAX / 2)
		return false;
	*out = (size_t)n;
	return true;
}

static bool set_cache(struct mount_options *m, const char *v)
{
	return set_bytes(v, &m->fs.store.cache_bytes);
}

static bool set_dirty(struct mount_options *m, const char *v)
{
	return set_bytes(v, &m->fs.store.dirty_bytes);
}

static bool set_workers(struct mount_options *m, const char *v)
{
	uint64_t n;
	if (!plain(v, 0, WORKERS_MAX, &n))
		return false;
	m->fs.store.workers = (unsigned)n;
	return true;
}

static bool set_readahead(struct mount_options *m, const char *v)
{
	uint64_t n;
	if (!plain(v, 0, READAHEAD_MAX_KIB, &n))
		return false;
	m->mount.readahead_kib = (unsigned)n;
	return true;
}

static bool set_max_threads(struct mount_options *m, const char *v)
{
	uint64_t n;
	if (!plain(v, 1, FS_MOUNT_THREADS_MAX, &n))
		return false;
	m->mount.max_threads = (unsigned)n;
	return true;
}

/* --- the table -------------------------------------------------------------------------------------- */

enum word_kind {
	PASS,   /* to libfuse and the kernel, after set() */
	KEEP,   /* ours; only set() */
	IGNORE  /* somebody else's */
};

struct word {
	const char *name;
	enum word_kind kind;
	const char *value; /* what a value looks like; NULL: takes none */
	bool (*set)(struct mount_options *m, const char *value);
};

/*
 * Words that FUSE has no flag for (atime behaviour is ours, not the kernel's) are KEEP, or libfuse would
 * refuse them; so is ro: the mount is read-only when the store is (fs_mount.c).
 */
static const struct word table[] = {
	{ "ro", KEEP, NULL, set_ro },
	{ "rw", KEEP, NULL, set_rw },
	{ "dev", PASS, NULL, set_dev },
	{ "nodev", PASS, NULL, set_dev },
	{ "suid", PASS, NULL, set_suid },
	{ "nosuid", PASS, NULL, set_suid },
	{ "exec", PASS, NULL, NULL },
	{ "noexec", PASS, NULL, NULL },
	{ "atime", PASS, NULL, set_atime },
	{ "noatime", PASS, NULL, set_noatime },
	{ "diratime", KEEP, NULL, NULL },
	{ "nodiratime", KEEP, NULL, NULL },
	{ "relatime", KEEP, NULL, set_atime },
	{ "norelatime", KEEP, NULL, NULL },
	{ "strictatime", KEEP, NULL, set_strictatime },
	{ "nostrictatime", KEEP, NULL, NULL },
	{ "sync", PASS, NULL, set_sync },
	{ "async", PASS, NULL, set_async },
	{ "dirsync", PASS, NULL, set_dirsync },
	{ "allow_other", PASS, NULL, set_allow },
	{ "allow_root", PASS, NULL, set_allow },
	{ "default_permissions", KEEP, NULL, NULL },
	{ "max_read", KEEP, "a number of bytes from 4096", set_max_read },
	{ "fsname", KEEP, "a name", set_fsname },
	{ "subtype", KEEP, "ckptfs, always", set_subtype },
	{ "remount", KEEP, NULL, set_remount },

	{ "history", KEEP, "0, or a time like 30m, 24h, 7d", set_history },
	{ "torn", KEEP, "keep or abort", set_torn },
	{ "compress", KEEP, "fast, default or max", set_compress },
	{ "cache", KEEP, "a size from 1M like 64M, 1G", set_cache },
	{ "dirty", KEEP, "a size from 1M like 64M, 1G", set_dirty },
	{ "workers", KEEP, "a number to 256; 0 is one a core, at most 8", set_workers },
	{ "readahead", KEEP, "KiB, 0 to 65536; 0 leaves the kernel's default", set_readahead },
	{ "max_threads", KEEP, "a number from 1 to 1000", set_max_threads },

	{ "defaults", IGNORE, NULL, NULL },
	{ "auto", IGNORE, NULL, NULL },
	{ "noauto", IGNORE, NULL, NULL },
	{ "user", IGNORE, "a user's name", NULL },
	{ "nouser", IGNORE, NULL, NULL },
	{ "users", IGNORE, NULL, NULL },
	{ "nousers", IGNORE, NULL, NULL },
	{ "owner", IGNORE, NULL, NULL },
	{ "noowner", IGNORE, NULL, NULL },
	{ "group", IGNORE, NULL, NULL },
	{ "nogroup", IGNORE, NULL, NULL },
	{ "nofail", IGNORE, NULL, NULL },
	{ "_netdev", IGNORE, NULL, NULL },
	{ "comment", IGNORE, "anything", NULL },
};
enum { WORDS = sizeof(table) / sizeof(table[0]) };

/* Edit distance where a transposition ("hsitory") counts as one step; of the first 24 letters. */
static unsigned distance(const char *a, size_t n, const char *b)
{
	enum { MAX = 24 };
	unsigned rows[3][MAX + 1];
	size_t m = strlen(b);
	if (n > MAX)
		n = MAX;
	if (m > MAX)
		m = MAX;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *now = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
		now[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned best = last[j - 1] + (a[i - 1] != b[j - 1]);
			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			now[j] = best;
		}
	}
	return rows[n % 3][m];
}

static int refuse_unknown(const char *word, size_t name_len)
{
	const struct word *nearest = NULL;
	unsigned best = (unsigned)(name_len < 9 ? name_len : 9) / 3 + 1; /* further away is no slip of the finger */
	for (size_t i = 0; i < WORDS; i++) {
		unsigned d = distance(word, name_len, table[i].name);
		if (d < best && d < strlen(table[i].name)) {
			best = d;
			nearest = &table[i];
		}
	}
	if (nearest == NULL)
		return ckpt_fail(EINVAL, "unknown mount option '%s'", word);
	return ckpt_fail(EINVAL, "unknown mount option '%s'; did you mean '%s%s'?", word, nearest->name,
			nearest->value != NULL ? "=" : "");
}

static int pass_on(struct mount_options *m, const char *word)
{
	char *words;
	if (asprintf(&words, "%s%s%s", m->words != NULL ? m->words : "", m->words != NULL ? "," : "", word) < 0)
		return ckpt_fail(ENOMEM, "mount options: out of memory");
	free(m->words);
	m->words = words;
	m->mount.mount_opts = words;
	return 0;
}

static int take_word(struct mount_options *m, const char *word)
{
	if (strncasecmp(word, "x-", 2) == 0)
		return 0; /* x-systemd.automount and the like */
	size_t len = strcspn(word, "=");
	const char *value = word[len] == '=' ? word + len + 1 : NULL;
	const struct word *w = NULL;
	for (size_t i = 0; i < WORDS && w == NULL; i++)
		if (strncmp(table[i].name, word, len) == 0 && table[i].name[len] == '\0')
			w = &table[i];
	if (w == NULL)
		return refuse_unknown(word, len);
	if (w->kind == IGNORE)
		return 0;
	if (value != NULL && w->value == NULL)
		return ckpt_fail(EINVAL, "mount option '%s': '%s' takes no value", word, w->name);
	if (value == NULL && w->value != NULL)
		return ckpt_fail(EINVAL, "mount option '%s' needs a value: %s", word, w->value);
	if (w->set != NULL && !w->set(m, value))
		return ckpt_fail(EINVAL, "mount option '%s': want %s", word, w->value != NULL ? w->value : "memory");
	return w->kind == PASS ? pass_on(m, word) : 0;
}

void mount_options_init(struct mount_options *m)
{
	*m = (struct mount_options){
		.fs = { .store = { .create = true, .effort = CODEC_DEFAULT, .cache_bytes = 64 * MIB,
			.dirty_bytes = 64 * MIB, .history_seconds = 86400 } },
		.mount = { .readahead_kib = READAHEAD_KIB, .max_threads = FS_MOUNT_THREADS },
	};
}

void mount_options_release(struct mount_options *m)
{
	free(m->words);
	free(m->fsname);
}

int mount_options_parse(struct mount_options *m, const char *text)
{
	char *word = malloc(strlen(text) + 1);
	if (word == NULL)
		return ckpt_fail(ENOMEM, "mount options: out of memory");
	int rc = 0;
	for (const char *p = text; rc == 0 && *p != '\0';) {
		size_t len = 0;
		for (; *p != '\0' && *p != ','; p++) {
			if (*p == '\\' && (p[1] == ',' || p[1] == '\\'))
				p++;
			word[len++] = *p;
		}
		word[len] = '\0';
		if (*p == ',')
			p++;
		if (len > 0)
			rc = take_word(m, word);
	}
	free(word);
	m->fs.store.readonly = m->readonly;
	m->fs.store.create = !m->readonly;
	return rc;
}

char *mount_options_text(const struct mount_options *m)
{
	const struct store_options *s = &m->fs.store;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	if (f == NULL)
		return NULL;
	fprintf(f, "%s,default_permissions%s", m->readonly ? "ro" : "rw", m->fs.noatime ? "" : ",relatime");
	if (m->words != NULL)
		fprintf(f, ",%s", m->words);
	if (m->mount.max_read > 0)
		fprintf(f, ",max_read=%u", m->mount.max_read);
	if (m->fsname != NULL)
		fprintf(f, ",fsname=%s", m->fsname);
	fprintf(f, ",history=%" PRId64 "s,torn=%s,compress=%s,cache=%zuM,dirty=%zuM", s->history_seconds,
			m->fs.torn_keep ? "keep" : "abort", efforts[s->effort], s->cache_bytes / MIB,
			s->dirty_bytes / MIB);
	if (s->workers > 0)
		fprintf(f, ",workers=%u", s->workers);
	else
		fprintf(f, ",workers=auto");
	fprintf(f, ",readahead=%u,max_threads=%u", m->mount.readahead_kib, m->mount.max_threads);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
