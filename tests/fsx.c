/*
 * fsx.c: one file on a mount against an array in memory.
 *
 *     fsx [-n STEPS] [-s SEED] [-r REMOUNT_COMMAND] FILE
 *
 * Random reads, writes, mapped reads and writes (shared and private), truncations, holes, clones, appends, fsyncs and
 * reopenings in random modes; what is read is compared with the model at each step.  The idea is that of Apple's and SGI's fsx (the
 * filesystem exerciser); the code is not.  Exit status 1 and the last steps on the first difference.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX = 3 << 20, LOG = 24 };

static uint8_t model[MAX], buf[MAX];
static size_t size;
static uint64_t state;
static const char *path;
static int fd;
static char steps[LOG][120];
static unsigned long nstep;

static uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void note(const char *op, uint64_t a, uint64_t b)
{
	snprintf(steps[nstep % LOG], sizeof(steps[0]), "%lu: %s %llu %llu (size %zu)", nstep, op, (unsigned long long)a,
			(unsigned long long)b, size);
	nstep++;
}

static void die(const char *what)
{
	unsigned long i;

	fprintf(stderr, "fsx: %s: %s\n", what, strerror(errno));
	for (i = nstep > LOG ? nstep - LOG : 0; i < nstep; i++)
		fprintf(stderr, "  %s\n", steps[i % LOG]);
	exit(1);
}

static void compare(const uint8_t *got, size_t off, size_t len, const char *how)
{
	char line[160];

	for (size_t i = 0; i < len; i++) {
		if (got[i] == model[off + i])
			continue;
		snprintf(line, sizeof(line), "%s: byte %zu is %02x, not %02x (range %zu+%zu)", how, off + i, got[i],
				model[off + i], off, len);
		errno = 0;
		die(line);
	}
}

static size_t length(void)
{
	switch (rnd() % 5) {
	case 0:
		return rnd() % 100 + 1;
	case 1:
		return 4096;
	case 2:
		return rnd() % 70000 + 1;
	case 3:
		return rnd() % 400000 + 1;
	default:
		return rnd() % 9000 + 1;
	}
}

static void fill(uint8_t *p, size_t n)
{
	uint64_t v = rnd();

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(v + i * (v >> 32) / 7);
}

static void grow(size_t end)
{
	if (end > size)
		size = end;
}

static void reopen(void)
{
	static const int modes[] = { O_RDWR, O_RDWR, O_RDWR | O_DIRECT, O_RDWR | O_SYNC };
	struct stat st;

	if (close(fd))
		die("close");
	fd = open(path, modes[rnd() % 4]);
	if (fd < 0)
		die("open");
	if (fstat(fd, &st) || (size_t)st.st_size != size)
		die("size after reopening");
}

static void map(bool shared, bool write)
{
	size_t len = length(), off, page = (size_t)sysconf(_SC_PAGESIZE), start;
	uint8_t *p;

	if (!size)
		return;
	off = rnd() % size;
	if (len > size - off)
		len = size - off;
	start = off & ~(page - 1);
	note(write ? shared ? "mapwrite" : "private write" : "mapread", off, len);
	p = mmap(NULL, off - start + len, PROT_READ | (write ? PROT_WRITE : 0), shared ? MAP_SHARED : MAP_PRIVATE, fd,
			(off_t)start);
	if (p == MAP_FAILED)
		die("mmap");
	if (write) {
		fill(buf, len);
		memcpy(p + (off - start), buf, len);
		if (shared) {
			memcpy(model + off, buf, len);
			if (rnd() % 2 && msync(p, off - start + len, MS_SYNC))
				die("msync");
		}
	} else {
		compare(p + (off - start), off, len, "mapped");
	}
	if (munmap(p, off - start + len))
		die("munmap");
}

static void step(void)
{
	size_t off = rnd() % (size + 20000), len = length();
	ssize_t n;
	int other;

	if (off + len > MAX)
		return;
	switch (rnd() % 16) {
	case 0: case 1: case 2:
		note("write", off, len);
		fill(buf, len);
		if (pwrite(fd, buf, len, (off_t)off) != (ssize_t)len)
			die("write");
		memcpy(model + off, buf, len);
		grow(off + len);
		break;
	case 3: case 4: case 5:
		note("read", off, len);
		n = pread(fd, buf, len, (off_t)off);
		if (n < 0 || (size_t)n != (off >= size ? 0 : size - off < len ? size - off : len))
			die("read");
		compare(buf, off, (size_t)n, "read");
		break;
	case 6:
		map(true, true);
		break;
	case 7:
		map(rnd() % 2, false);
		break;
	case 8:
		map(false, true);
		break;
	case 9:
		if (rnd() % 2)
			off = rnd() % (size + 1);
		note("truncate", off, 0);
		if (ftruncate(fd, (off_t)off))
			die("truncate");
		if (off < size)
			memset(model + off, 0, size - off);
		size = off;
		break;
	case 10:
		note("punch", off, len);
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len))
			die("punch");
		if (off < size)
			memset(model + off, 0, size - off < len ? size - off : len);
		break;
	case 11:
		note("zero", off, len);
		if (fallocate(fd, FALLOC_FL_ZERO_RANGE, (off_t)off, (off_t)len))
			die("zero range");
		memset(model + off, 0, len);
		grow(off + len);
		break;
	case 12: {
		off_t in, out;

		if (!size)
			return;
		in = (off_t)(rnd() % size);
		out = (off_t)(rnd() % (MAX - 400001));
		if (len > size - (size_t)in)
			len = size - (size_t)in;
		if (in < out + (off_t)len && out < in + (off_t)len)
			return;
		note("clone", (uint64_t)in, (uint64_t)out);
		memcpy(buf, model + in, len);
		memset(buf + len, 0, 1);
		for (size_t done = 0; done < len; done += (size_t)n) {
			n = copy_file_range(fd, &in, fd, &out, len - done, 0);
			if (n <= 0)
				die("copy_file_range");
		}
		out -= (off_t)len;
		if ((size_t)out > size)
			memset(model + size, 0, (size_t)out - size);
		memcpy(model + out, buf, len);
		grow((size_t)out + len);
		break;
	}
	case 13: /* another descriptor appends, write-only */
		if (size + len > MAX)
			return;
		note("append", size, len);
		fill(buf, len);
		other = open(path, O_WRONLY | O_APPEND);
		if (other < 0 || write(other, buf, len) != (ssize_t)len || close(other))
			die("append");
		memcpy(model + size, buf, len);
		size += len;
		break;
	case 14:
		note("fsync", 0, 0);
		if (fsync(fd))
			die("fsync");
		break;
	default:
		note("reopen", 0, 0);
		reopen();
	}
}

int main(int argc, char **argv)
{
	unsigned long n = 2000, seed = 1, i;
	const char *remount = NULL;
	int c;

	while ((c = getopt(argc, argv, "n:s:r:")) != -1) {
		if (c == 'n')
			n = strtoul(optarg, NULL, 0);
		else if (c == 's')
			seed = strtoul(optarg, NULL, 0);
		else if (c == 'r')
			remount = optarg;
		else
			return 2;
	}
	if (optind + 1 != argc)
		return 2;
	path = argv[optind];
	state = seed * 0x9e3779b97f4a7c15u + 1;
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		die("open");
	for (i = 0; i < n; i++) {
		step();
		if (remount && i % 200 == 199) {
			note("remount", 0, 0);
			if (close(fd) || system(remount))
				die("remount");
			fd = open(path, O_RDWR);
			if (fd < 0)
				die("open");
		}
	}
	for (size_t off = 0; off < size; off += (size_t)c) {
		c = (int)pread(fd, buf, MAX, (off_t)off);
		if (c <= 0)
			die("last read");
		compare(buf, off, (size_t)c, "at the end");
	}
	if (close(fd) || unlink(path))
		die("close");
	printf("fsx: %lu steps, seed %lu: equal\n", n, seed);
	return 0;
}
