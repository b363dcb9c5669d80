"""Opening, reading, writing, mapping, call by call (20-posix.sh).  posix_data.py DIR: DIR is on the mount."""
import errno
import fcntl
import mmap
import os
import sys

from posix_calls import KEEP_SIZE, MIB, PUNCH_HOLE, ZERO_RANGE, fallocate, get, pattern, put
from tap import check, equal, fails, run, test


@test("O_EXCL, O_TRUNC, O_DIRECTORY, O_NOFOLLOW")
def _():
    put("a", b"data")
    fails(errno.EEXIST, os.open, "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(os.open("a", os.O_WRONLY | os.O_TRUNC))
    equal(os.stat("a").st_size, 0)
    fails(errno.ENOTDIR, os.open, "a", os.O_RDONLY | os.O_DIRECTORY)
    os.symlink("a", "s")
    fails(errno.ELOOP, os.open, "s", os.O_RDONLY | os.O_NOFOLLOW)
    os.mkdir("d")
    fails(errno.EISDIR, os.open, "d", os.O_WRONLY)
    fails(errno.ENOENT, os.open, "nothing", os.O_RDONLY)


@test("O_TRUNC empties a file that is opened for reading only")
def _():
    put("a", pattern(100000))
    os.close(os.open("a", os.O_RDONLY | os.O_TRUNC))
    equal(os.stat("a").st_size, 0)
    equal(get("a"), b"")


@test("fcntl gives O_APPEND to an open file, and takes it away")
def _():
    for access in (os.O_WRONLY, os.O_RDWR):
        put("a", b"123")
        with os.fdopen(os.open("a", access), "wb", buffering=0) as f:
            fcntl.fcntl(f, fcntl.F_SETFL, os.O_APPEND)
            f.write(b"4")
            fcntl.fcntl(f, fcntl.F_SETFL, 0)
            os.pwrite(f.fileno(), b"I", 0)
        with os.fdopen(os.open("a", access | os.O_APPEND), "wb", buffering=0) as f:
            fcntl.fcntl(f, fcntl.F_SETFL, 0)
            os.pwrite(f.fileno(), b"II", 1)
            fcntl.fcntl(f, fcntl.F_SETFL, os.O_APPEND)
            f.write(b"5")
        equal(get("a"), b"III45")


@test("O_APPEND: every write lands at the end, from two descriptors")
def _():
    a = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    b = os.open("log", os.O_WRONLY | os.O_APPEND)
    want = b""
    for i in range(200):
        line = b"line %d\n" % i
        os.write(a if i % 2 else b, line)
        want += line
    os.pwrite(a, b"end", 0)  # Linux appends here too
    want += b"end"
    os.close(a)
    os.close(b)
    equal(get("log"), want)


@test("what one descriptor writes another reads at once")
def _():
    w = os.open("a", os.O_CREAT | os.O_WRONLY)
    r = os.open("a", os.O_RDONLY)
    data = pattern(3 * MIB)
    for off in range(0, len(data), 100000):
        os.write(w, data[off:off + 100000])
        equal(os.stat("a").st_size, min(off + 100000, len(data)))
        equal(os.pread(r, 50, off), data[off:off + 50])
    equal(os.pread(r, len(data), 0), data)
    os.close(w)
    os.close(r)


@test("random writes over a big file, before and after closing it")
def _():
    import random
    rnd = random.Random(7)
    model = bytearray(pattern(5 * MIB))
    put("a", model)
    for _ in range(3):
        with open("a", "r+b", buffering=0) as f:
            for _ in range(60):
                off = rnd.randrange(len(model) + 1000)
                data = pattern(rnd.choice([1, 7, 4096, 70000, 300000]), rnd.randrange(1, 1 << 30))
                f.seek(off)
                f.write(data)
                if off > len(model):
                    model += bytes(off - len(model))
                model[off:off + len(data)] = data
            f.seek(0)
            equal(f.read(), bytes(model))
        equal(get("a"), bytes(model))


@test("truncate both ways, in steps, and the bytes between are zero")
def _():
    model = bytearray(pattern(MIB + 12345))
    put("a", model)
    for size in (MIB, 2 * MIB, 65536, 65537, 0, 100, 3 * MIB + 1, 1):
        os.truncate("a", size)
        model = model[:size] + bytes(max(0, size - len(model)))
        equal(os.stat("a").st_size, size)
        equal(get("a"), bytes(model))
    with open("a", "r+b") as f:
        os.ftruncate(f.fileno(), 10)
        f.write(b"ab")
        f.flush()
        os.ftruncate(f.fileno(), 1)
        os.ftruncate(f.fileno(), 3)
    equal(get("a"), b"a\0\0")
    fails(errno.EINVAL, os.truncate, "a", -1)


@test("a truncated file that is written on has no old bytes behind the cut")
def _():
    put("a", b"S" * 400000)
    with open("a", "r+b", buffering=0) as f:
        f.truncate(1000)
        f.seek(200000)
        f.write(b"x")
        f.seek(0)
        equal(f.read(), b"S" * 1000 + bytes(199000) + b"x")
    equal(get("a"), b"S" * 1000 + bytes(199000) + b"x")


@test("a sparse file of a tebibyte: size, blocks, SEEK_DATA, SEEK_HOLE")
def _():
    size = 1 << 40
    with open("a", "wb", buffering=0) as f:
        f.truncate(size)
        os.pwrite(f.fileno(), b"middle", size // 2)
        os.pwrite(f.fileno(), b"end", size - 3)
    st = os.stat("a")
    equal(st.st_size, size)
    check(st.st_blocks * 512 <= 4 * MIB, "blocks: %d" % st.st_blocks)
    fd = os.open("a", os.O_RDONLY)
    data = os.lseek(fd, 0, os.SEEK_DATA)
    check(0 < data <= size // 2 and size // 2 - data <= MIB, "data at %d" % data)
    equal(os.lseek(fd, 0, os.SEEK_HOLE), 0)
    hole = os.lseek(fd, size // 2, os.SEEK_HOLE)
    check(size // 2 + 6 <= hole < size // 2 + MIB, "hole at %d" % hole)
    equal(os.lseek(fd, size - 2, os.SEEK_DATA), size - 2)
    equal(os.lseek(fd, size - 2, os.SEEK_HOLE), size)
    fails(errno.ENXIO, os.lseek, fd, size, os.SEEK_DATA)
    equal(os.pread(fd, 10, size // 2 - 2), b"\0\0middle\0\0")
    equal(os.pread(fd, 10, size - 3), b"end")
    os.close(fd)


@test("SEEK_DATA and SEEK_HOLE say the same before and after fsync")
def _():
    fd = os.open("a", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 4 * MIB)
    for i in range(4):
        os.pwrite(fd, b"x", i * MIB + 300000)

    def extents():
        at, out = 0, []
        try:
            while True:
                at = os.lseek(fd, at, os.SEEK_DATA)
                out.append((at, os.lseek(fd, at, os.SEEK_HOLE)))
                at = out[-1][1]
        except OSError as e:
            equal(e.errno, errno.ENXIO)
        return out

    before = extents()
    equal(len(before), 4)
    for i, (a, b) in enumerate(before):
        check(a <= i * MIB + 300000 < b and b - a <= 65536, "data from %d to %d" % (a, b))
    os.fsync(fd)
    equal(extents(), before)
    os.close(fd)


@test("fallocate: grow, keep size, punch, zero")
def _():
    model = bytearray(pattern(MIB))
    put("a", model)
    fd = os.open("a", os.O_RDWR)
    fallocate(fd, 0, MIB, 1000)
    model += bytes(1000)
    equal(os.fstat(fd).st_size, len(model))
    fallocate(fd, KEEP_SIZE, 0, 4 * MIB)
    equal(os.fstat(fd).st_size, len(model))
    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, 1000, 500000)
    model[1000:501000] = bytes(500000)
    fallocate(fd, ZERO_RANGE, 600000, 10)
    model[600000:600010] = bytes(10)
    fallocate(fd, ZERO_RANGE, len(model) - 5, 105)
    model[-5:] = bytes(5)
    model += bytes(100)
    fallocate(fd, ZERO_RANGE | KEEP_SIZE, len(model) - 5, 1000)
    model[-5:] = bytes(5)
    os.lseek(fd, 0, 0)
    equal(os.read(fd, 4 * MIB), bytes(model))
    os.close(fd)
    equal(get("a"), bytes(model))
    hole = os.open("a", os.O_RDONLY)
    check(os.lseek(hole, 300000, os.SEEK_HOLE) == 300000, "no hole where one was punched")
    os.close(hole)


@test("copy_file_range clones, whole and in part, over odd offsets")
def _():
    model = bytearray(pattern(4 * MIB + 777))
    put("a", model)
    a = os.open("a", os.O_RDONLY)
    b = os.open("b", os.O_CREAT | os.O_RDWR)
    n = 0
    while n < len(model):
        got = os.copy_file_range(a, b, len(model) - n)
        check(got > 0, "returned %d at %d" % (got, n))
        n += got
    equal(os.copy_file_range(a, b, 100), 0)
    equal(get("b"), bytes(model))
    target = bytearray(model)
    for off_in, off_out, count in ((100, 5, 70000), (MIB + 1, 4 * MIB, MIB), (4 * MIB, 10 * MIB, 5000)):
        got = os.copy_file_range(a, b, count, off_in, off_out)
        equal(got, min(count, len(model) - off_in))
        if off_out > len(target):
            target += bytes(off_out - len(target))
        target[off_out:off_out + got] = model[off_in:off_in + got]
    os.close(b)
    equal(get("b"), bytes(target))
    os.close(a)
    equal(get("a"), bytes(model))


@test("cp --reflink=auto, then either changes alone")
def _():
    import subprocess
    data = pattern(2 * MIB)
    put("a", data)
    subprocess.check_call(["cp", "a", "b"])
    with open("b", "r+b") as f:
        f.write(b"changed")
    equal(get("a"), data)
    equal(get("b"), b"changed" + data[7:])


@test("clone of what was written and not yet closed")
def _():
    with open("a", "w+b", buffering=0) as f:
        f.write(b"0123456789" * 30000)
        b = os.open("b", os.O_CREAT | os.O_WRONLY)
        equal(os.copy_file_range(f.fileno(), b, 300000, 0, 0), 300000)
        os.close(b)
    equal(get("b"), b"0123456789" * 30000)


@test("mmap: shared writes reach the file, private ones do not")
def _():
    data = pattern(3 * 65536)
    put("a", data)
    with open("a", "r+b") as f:
        with mmap.mmap(f.fileno(), 0) as m:
            equal(m[:], data)
            m[70000:70004] = b"ABCD"
            m.flush()
            equal(os.pread(f.fileno(), 4, 70000), b"ABCD")
        with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY) as m:
            m[0:4] = b"none"
    want = data[:70000] + b"ABCD" + data[70004:]
    equal(get("a"), want)


@test("mmap: written after the descriptor is closed")
def _():
    put("a", bytes(100000))
    fd = os.open("a", os.O_RDWR)
    m = mmap.mmap(fd, 100000)
    os.close(fd)
    m[50000:50005] = b"later"
    m.close()
    equal(get("a")[50000:50005], b"later")


@test("mmap: sees what write(2) writes, and the reverse")
def _():
    put("a", bytes(200000))
    with open("a", "r+b", buffering=0) as f, mmap.mmap(f.fileno(), 0) as m:
        w = os.open("a", os.O_WRONLY)
        os.pwrite(w, b"written", 100000)
        equal(m[100000:100007], b"written")
        m[5:8] = b"map"
        equal(os.pread(f.fileno(), 3, 5), b"map")
        os.close(w)


@test("one file through dup: close of one is not the end")
def _():
    a = os.open("a", os.O_CREAT | os.O_WRONLY)
    b = os.dup(a)
    os.write(a, b"one")
    os.close(a)
    equal(get("a"), b"one")
    os.write(b, b"two")
    os.close(b)
    equal(get("a"), b"onetwo")


@test("offsets and sizes at the limits")
def _():
    fd = os.open("a", os.O_CREAT | os.O_RDWR)
    fails(errno.EINVAL, os.pread, fd, 1, -1)
    equal(os.pread(fd, 10, 1 << 50), b"")
    os.pwrite(fd, b"x", (1 << 42) - 1)
    equal(os.fstat(fd).st_size, 1 << 42)
    os.close(fd)
    ro = os.open("a", os.O_RDONLY)
    fails(errno.EBADF, os.write, ro, b"x")
    os.close(ro)


@test("O_SYNC, O_DSYNC, O_DIRECT, fsync, fdatasync, fsync of a directory")
def _():
    for n, flag in enumerate((os.O_SYNC, os.O_DSYNC, os.O_DIRECT)):
        fd = os.open("f%d" % n, os.O_CREAT | os.O_RDWR | flag)
        m = mmap.mmap(-1, 8192)
        m[:] = pattern(8192)
        os.write(fd, m)
        os.close(fd)
        equal(get("f%d" % n), pattern(8192))
    fd = os.open("f", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x")
    os.fsync(fd)
    os.fdatasync(fd)
    os.close(fd)
    d = os.open(".", os.O_RDONLY)
    os.fsync(d)
    os.close(d)
    os.sync()


@test("locks: fcntl and flock, between processes")
def _():
    put("a")
    f = open("a", "r+b")
    g = open("a", "r+b")
    fcntl.flock(f, fcntl.LOCK_EX)
    fails(errno.EAGAIN, fcntl.flock, g, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(f, fcntl.LOCK_UN)
    fcntl.flock(g, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.lockf(f, fcntl.LOCK_EX)
    if os.fork() == 0:
        try:
            fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os._exit(1)
        except OSError:
            os._exit(0)
    equal(os.wait()[1], 0)
    f.close()
    g.close()


@test("a thousand open files at once")
def _():
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = min(2000, (hard if hard > 0 else 1 << 20) - 100)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, n + 100), hard))
    fds = []
    for i in range(n):
        fds.append(os.open("f%d" % i, os.O_CREAT | os.O_RDWR))
        os.write(fds[-1], b"%d" % i)
    for i, fd in enumerate(fds):
        equal(os.pread(fd, 100, 0), b"%d" % i)
        os.close(fd)
    equal(get("f%d" % (n - 1)), b"%d" % (n - 1))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
