/*
 * stream.c: writes and reads large files as cp(1) does, and says how many seconds it took.
 *
 *     stream write SIZE SEED CHANGED SYNC FILE...    one process a file, all started together; ends with the last
 *     stream read FILE
 *
 * The data is what a checkpoint is made of: fp32 numbers around zero, whose mantissas are noise.  It is made in memory
 * before the clock starts, so that neither a disk nor a generator is measured.  It follows from SEED and the file's
 * place in the list: the same numbers give the same bytes.  CHANGED is a percentage: so much of it, in tensors of 4 MiB,
 * differs from what CHANGED 0 gives.  SYNC 1 ends with fsync(2) before close(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	BLOCK = 128 << 10, /* what cp of coreutils 9.1 reads and writes at once */
	TENSOR = 4 << 20,
	FILES_MAX = 64
};

static void die(const char *what)
{
	fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* SplitMix64, Steele, Lea and Flood 2014. */
static uint64_t noise(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Weights: two dice make the size, 32 bits more the mantissa. */
static void fill_tensor(float *to, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t u = noise(&seed);
		int dice = (int)(u & 0xffff) + (int)(u >> 16 & 0xffff) - 0xffff;
		to[i] = (float)((dice + (double)(u >> 32) / 4294967296.0) * 1e-6);
	}
}

static uint8_t *make_data(size_t size, uint64_t seed, unsigned changed)
{
	uint8_t *data = malloc(size);
	if (data == NULL)
		die("memory");
	unsigned credit = 50;
	for (size_t at = 0; at < size; at += TENSOR) {
		size_t n = size - at < TENSOR ? size - at : TENSOR;
		uint64_t s = (seed << 32) + at / TENSOR;
		credit += changed;
		if (credit >= 100) {
			credit -= 100;
			s += (uint64_t)1 << 63;
		}
		noise(&s);
		fill_tensor((float *)(void *)(data + at), n / sizeof(float), s);
	}
	return data;
}

static void write_file(const char *path, const uint8_t *data, size_t size, int sync)
{
	static uint8_t block[BLOCK];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	if (fd < 0)
		die(path);
	for (size_t at = 0; at < size;) {
		size_t n = size - at < BLOCK ? size - at : BLOCK;
		memcpy(block, data + at, n); /* cp's read */
		ssize_t done = write(fd, block, n);
		if (done < 0)
			die(path);
		at += (size_t)done;
	}
	if (sync && fsync(fd) != 0)
		die(path);
	if (close(fd) != 0)
		die(path);
}

/* A child makes its data, says so on `ready`, and starts when the last end of `go` is closed. */
static pid_t start_writer(const char *path, size_t size, uint64_t seed, unsigned changed, int sync, int ready,
		const int go[2])
{
	pid_t pid = fork();
	if (pid < 0)
		die("fork");
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	char byte = 0;
	close(go[1]);
	uint8_t *data = make_data(size, seed, changed);
	if (write(ready, "", 1) != 1 || read(go[0], &byte, 1) != 0)
		die("waiting for the start");
	write_file(path, data, size, sync);
	_exit(0);
}

static double write_files(size_t size, uint64_t seed, unsigned changed, int sync, char *const *paths, int n)
{
	int ready[2], go[2];
	pid_t child[FILES_MAX];
	if (n > FILES_MAX || pipe(ready) != 0 || pipe(go) != 0)
		die("starting");
	for (int i = 0; i < n; i++)
		child[i] = start_writer(
				paths[i], size, seed + (uint64_t)i * 1000003, changed, sync, ready[1], go);
	close(ready[1]);
	for (int i = 0; i < n; i++) {
		char byte;
		if (read(ready[0], &byte, 1) != 1)
			die("a writer ended early");
	}
	double start = now();
	close(go[1]);
	int bad = 0;
	for (int i = 0; i < n; i++) {
		int status;
		if (waitpid(child[i], &status, 0) < 0 || status != 0)
			bad = 1;
	}
	double took = now() - start;
	if (bad)
		exit(1);
	return took;
}

static double read_file(const char *path)
{
	static uint8_t block[BLOCK];
	double start = now();
	ssize_t n;
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		die(path);
	while ((n = read(fd, block, BLOCK)) > 0)
		;
	if (n < 0)
		die(path);
	close(fd);
	return now() - start;
}

int main(int argc, char **argv)
{
	double took;
	if (argc >= 7 && strcmp(argv[1], "write") == 0)
		took = write_files(strtoull(argv[2], NULL, 10), strtoull(argv[3], NULL, 10),
				(unsigned)strtoul(argv[4], NULL, 10), argv[5][0] == '1', argv + 6, argc - 6);
	else if (argc == 3 && strcmp(argv[1], "read") == 0)
		took = read_file(argv[2]);
	else {
		fprintf(stderr, "usage: stream write SIZE SEED CHANGED SYNC FILE... | stream read FILE\n");
		return 2;
	}
	printf("%.9f\n", took);
	return 0;
}
