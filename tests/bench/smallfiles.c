/*
 * smallfiles.c: many small calls in a loop, and how many seconds they took together.
 *
 *     smallfiles create DIR PREFIX N SEED    N files of 2 to 4 KiB of JSON: open, write, close
 *     smallfiles stat DIR PREFIX N TIMES     every one, TIMES over
 *     smallfiles unlink | mkdir | rmdir DIR PREFIX N
 *     smallfiles rename DIR PREFIX N TO      PREFIX00000 to TO00000, and so on
 *     smallfiles readdir DIR TIMES           every name, TIMES over
 *     smallfiles reopen FILE N               N times: open for appending, a line, close
 *     smallfiles append FILE N               N lines through one handle
 *     smallfiles pread FILE SPAN N SEED      N reads of 4 KiB at random places of the first SPAN bytes
 *
 * Directories are entered before the clock starts, so how deep they lie is not measured.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { NAME_SIZE = 64, FILE_MIN = 2048, FILE_MAX = 4096, PAGE = 4096 };

static void die(const char *what)
{
	fprintf(stderr, "smallfiles: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t noise(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static const char *name_of(char *buf, const char *prefix, long i)
{
	snprintf(buf, NAME_SIZE, "%.32s%05ld", prefix, i);
	return buf;
}

/* Metrics of a training run; no two alike. */
static size_t make_json(char *to, size_t cap, uint64_t *seed)
{
	size_t want = FILE_MIN + noise(seed) % (FILE_MAX - FILE_MIN);
	size_t n = (size_t)snprintf(
			to, cap, "{\"run\": \"%016llx\", \"metrics\": [", (unsigned long long)noise(seed));
	for (unsigned epoch = 0; n + 128 < want; epoch++) {
		uint64_t u = noise(seed);
		n += (size_t)snprintf(to + n, cap - n,
				"%s\n  {\"epoch\": %u, \"loss\": 0.%06llu, \"accuracy\": 0.%04llu}",
				epoch > 0 ? "," : "", epoch, (unsigned long long)(u % 1000000),
				(unsigned long long)(u >> 40) % 10000);
	}
	return n + (size_t)snprintf(to + n, cap - n, "\n]}\n");
}

static double create(const char *prefix, long count, uint64_t seed)
{
	char name[NAME_SIZE], *text = malloc((size_t)count * FILE_MAX), *at = text;
	size_t *len = malloc((size_t)count * sizeof(*len));
	if (text == NULL || len == NULL)
		die("memory");
	for (long i = 0; i < count; at += len[i++])
		len[i] = make_json(at, FILE_MAX, &seed);
	at = text;
	double start = now();
	for (long i = 0; i < count; at += len[i++]) {
		int fd = open(name_of(name, prefix, i), O_WRONLY | O_CREAT | O_TRUNC, 0666);
		if (fd < 0 || write(fd, at, len[i]) != (ssize_t)len[i] || close(fd) != 0)
			die(name);
	}
	double took = now() - start;
	free(len);
	free(text);
	return took;
}

enum verb { UNLINK, MKDIR, RMDIR, RENAME, VERBS };
static const char *const verbs[VERBS] = { "unlink", "mkdir", "rmdir", "rename" };

static double each(enum verb verb, const char *prefix, long count, const char *to)
{
	char name[NAME_SIZE], name2[NAME_SIZE];
	double start = now();
	for (long i = 0; i < count; i++) {
		int rc = -1;
		name_of(name, prefix, i);
		switch (verb) {
		case UNLINK:
			rc = unlink(name);
			break;
		case MKDIR:
			rc = mkdir(name, 0777);
			break;
		case RMDIR:
			rc = rmdir(name);
			break;
		case RENAME:
			rc = rename(name, name_of(name2, to, i));
			break;
		case VERBS:
			break;
		}
		if (rc != 0)
			die(name);
	}
	return now() - start;
}

static double stat_all(const char *prefix, long count, long times)
{
	char name[NAME_SIZE];
	struct stat st;
	double start = now();
	for (long i = 0; i < count * times; i++)
		if (stat(name_of(name, prefix, i % count), &st) != 0)
			die(name);
	return now() - start;
}

static double list(long times)
{
	long seen = -1;
	double start = now();
	for (long t = 0; t < times; t++) {
		long n = 0;
		DIR *d = opendir(".");
		if (d == NULL)
			die("opendir");
		while (readdir(d) != NULL)
			n++;
		closedir(d);
		if (seen >= 0 && n != seen)
			die("the directory changed");
		seen = n;
	}
	return now() - start;
}

static double append(const char *path, long count, int reopen)
{
	static const char line[] =
			"step 001234 loss 0.123456 accuracy 0.9876 lr 0.000100 time 12.34 memory 1234 MB\n";
	int fd = -1;
	double start = now();
	for (long i = 0; i < count; i++) {
		if (fd < 0)
			fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0666);
		if (fd < 0 || write(fd, line, sizeof(line) - 1) != (ssize_t)sizeof(line) - 1)
			die(path);
		if (reopen) {
			if (close(fd) != 0)
				die(path);
			fd = -1;
		}
	}
	if (fd >= 0 && close(fd) != 0)
		die(path);
	return now() - start;
}

static double read_pages(const char *path, uint64_t span, long count, uint64_t seed)
{
	static char page[PAGE];
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		die(path);
	double start = now();
	for (long i = 0; i < count; i++)
		if (pread(fd, page, PAGE, (off_t)(noise(&seed) % (span / PAGE) * PAGE)) != PAGE)
			die(path);
	double took = now() - start;
	close(fd);
	return took;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 3 ? argv[1] : "";
	double took = -1;
	if ((strcmp(verb, "reopen") == 0 || strcmp(verb, "append") == 0) && argc == 4) {
		took = append(argv[2], atol(argv[3]), verb[0] == 'r');
	} else if (strcmp(verb, "pread") == 0 && argc == 6) {
		took = read_pages(argv[2], strtoull(argv[3], NULL, 10), atol(argv[4]),
				strtoull(argv[5], NULL, 10));
	} else if (argc > 3) {
		if (chdir(argv[2]) != 0)
			die(argv[2]);
		if (strcmp(verb, "readdir") == 0 && argc == 4)
			took = list(atol(argv[3]));
		else if (strcmp(verb, "create") == 0 && argc == 6)
			took = create(argv[3], atol(argv[4]), strtoull(argv[5], NULL, 10));
		for (int v = 0; v < VERBS; v++)
			if (strcmp(verb, verbs[v]) == 0 && argc == 5 + (v == RENAME))
				took = each((enum verb)v, argv[3], atol(argv[4]), argv[5]);
		if (strcmp(verb, "stat") == 0 && argc == 6)
			took = stat_all(argv[3], atol(argv[4]), atol(argv[5]));
	}
	if (took < 0) {
		fprintf(stderr, "smallfiles: usage is at the head of smallfiles.c\n");
		return 2;
	}
	printf("%.9f\n", took);
	return 0;
}
