"""What a local Linux filesystem does, call by call (20-posix.sh).  posix.py DIR: DIR is on the mount."""
import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat
import sys
import time

from tap import Skip, check, equal, fails, run, test

libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 0x10
MIB = 1 << 20


def call(fn, *args):
    ctypes.set_errno(0)
    if fn(*args) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def renameat2(a, b, flags):
    call(libc.renameat2, -100, os.fsencode(a), -100, os.fsencode(b), flags)


def fallocate(fd, mode, off, length):
    call(libc.fallocate, fd, mode, ctypes.c_int64(off), ctypes.c_int64(length))


def put(path, data=b"x", mode="wb"):
    with open(path, mode) as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def pattern(n, seed=1):
    """n bytes that repeat nowhere near."""
    out = bytearray()
    x = seed * 2654435761 % (1 << 64) or 1
    while len(out) < n:
        x ^= x << 13 & 0xffffffffffffffff
        x ^= x >> 7
        x ^= x << 17 & 0xffffffffffffffff
        out += x.to_bytes(8, "little") * (1 if n < 65536 else 4)
    return bytes(out[:n])


def as_nobody(fn):
    """Runs fn in a child with uid and gid 65534; an exception there fails here."""
    if os.getuid() != 0:
        raise Skip("needs root")
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        message = b""
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            fn()
        except BaseException as e:
            message = repr(e).encode()
        os.write(w, message)
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        message = f.read()
    os.waitpid(pid, 0)
    check(not message, message.decode())


# ---- names ------------------------------------------------------------------------------------------------------

@test("rename replaces a file")
def _():
    put("a", b"one")
    put("b", b"two")
    ino = os.stat("a").st_ino
    os.rename("a", "b")
    equal(get("b"), b"one")
    equal(os.stat("b").st_ino, ino)
    fails(errno.ENOENT, os.stat, "a")


@test("rename of two names of one file does nothing")
def _():
    put("a")
    os.link("a", "b")
    os.rename("a", "b")
    equal(sorted(os.listdir(".")), ["a", "b"])


@test("rename onto directories: empty, full, of another type")
def _():
    os.makedirs("d")
    os.makedirs("empty")
    os.makedirs("full/x")
    put("f")
    fails(errno.ENOTEMPTY, os.rename, "d", "full")
    fails(errno.EISDIR, os.rename, "f", "d")
    fails(errno.ENOTDIR, os.rename, "d", "f")
    os.rename("d", "empty")
    fails(errno.EINVAL, os.rename, "full", "full/x/y")
    equal(os.stat(".").st_nlink, 4)


@test("rename of a directory into another moves '..' and link counts")
def _():
    os.makedirs("a/d")
    os.makedirs("b")
    os.rename("a/d", "b/d")
    equal((os.stat("a").st_nlink, os.stat("b").st_nlink), (2, 3))
    equal(os.stat("b/d/..").st_ino, os.stat("b").st_ino)


@test("RENAME_NOREPLACE")
def _():
    put("a", b"one")
    put("b", b"two")
    fails(errno.EEXIST, renameat2, "a", "b", NOREPLACE)
    renameat2("a", "c", NOREPLACE)
    equal((get("b"), get("c")), (b"two", b"one"))


@test("RENAME_EXCHANGE, also of a file and a directory")
def _():
    put("a", b"one")
    put("b", b"two")
    renameat2("a", "b", EXCHANGE)
    equal((get("a"), get("b")), (b"two", b"one"))
    os.makedirs("d/e")
    renameat2("a", "d", EXCHANGE)
    equal(get("d"), b"two")
    equal(os.listdir("a"), ["e"])
    fails(errno.ENOENT, renameat2, "a", "nowhere", EXCHANGE)


@test("rename flags that do not exist: EINVAL")
def _():
    put("a")
    fails(errno.EINVAL, renameat2, "a", "b", NOREPLACE | EXCHANGE)


@test("unlink of an open file: it lives on, fstat shows no links")
def _():
    data = pattern(300000)
    put("a", data)
    with open("a", "r+b") as f:
        os.unlink("a")
        equal(os.fstat(f.fileno()).st_nlink, 0)
        equal(f.read(), data)
        f.write(b"more")
        f.flush()
        f.seek(0)
        equal(f.read(), data + b"more")
        os.ftruncate(f.fileno(), 10)
        os.fchmod(f.fileno(), 0o600)
        equal(os.fstat(f.fileno()).st_size, 10)
    equal(os.listdir("."), [])


@test("rename over an open file: its holder keeps the old content")
def _():
    put("a", b"old" * 50000)
    put("b", b"new")
    with open("a", "rb") as f:
        os.rename("b", "a")
        equal(f.read(), b"old" * 50000)
        equal(os.fstat(f.fileno()).st_nlink, 0)
    equal(get("a"), b"new")


@test("unlink and rmdir of the wrong thing")
def _():
    os.mkdir("d")
    put("f")
    fails(errno.EISDIR, os.unlink, "d")
    fails(errno.ENOTDIR, os.rmdir, "f")
    put("d/x")
    fails(errno.ENOTEMPTY, os.rmdir, "d")
    fails(errno.ENOENT, os.unlink, "nothing")
    fails(errno.ENOTDIR, os.stat, "f/x")
    fails(errno.EEXIST, os.mkdir, "d")


@test("a removed directory that is somebody's current one")
def _():
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY)
    os.rmdir("d")
    equal(os.listdir(fd), [])
    fails(errno.ENOENT, os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(fd)


@test("names: 255 bytes, 256, any byte")
def _():
    put("n" * 255)
    fails(errno.ENAMETOOLONG, put, "n" * 256)
    odd = bytes(b for b in range(1, 256) if b != 0x2f)[:200]
    for name in (odd, b"\xff\xfe", b"\n", b" ", b"...", b"-rf", "été".encode()):
        put(name, name)
        equal(get(name), name)
    equal(set(os.listdir(b".")) >= {odd, b"\xff\xfe", b"\n", b" ", b"...", b"-rf"}, True)


@test("hard links: one inode, its count, ctime; none to directories")
def _():
    put("a", b"x")
    before = os.stat("a")
    time.sleep(0.01)
    os.link("a", "b")
    st = os.stat("b")
    equal((st.st_ino, st.st_nlink), (before.st_ino, 2))
    check(st.st_ctime_ns > before.st_ctime_ns, "ctime stands still")
    put("b", b"longer")
    equal(get("a"), b"longer")
    os.unlink("a")
    equal((get("b"), os.stat("b").st_nlink), (b"longer", 1))
    os.mkdir("d")
    fails(errno.EPERM, os.link, "d", "e")
    fails(errno.EEXIST, os.link, "b", "d")


@test("symbolic links: 4095 bytes, dangling, loops, to directories")
def _():
    os.symlink("t" * 4095, "long")
    equal(os.readlink("long"), "t" * 4095)
    equal(os.lstat("long").st_size, 4095)
    fails(errno.ENAMETOOLONG, os.symlink, "t" * 4096, "longer")
    os.symlink("loop", "loop")
    fails(errno.ELOOP, os.stat, "loop")
    os.mkdir("d")
    put("d/f", b"x")
    os.symlink("d", "s")
    equal(get("s/f"), b"x")
    fails(errno.EINVAL, os.readlink, "d/f")


@test("fifos and sockets work")
def _():
    os.mkfifo("p", 0o640)
    st = os.stat("p")
    equal((stat.S_ISFIFO(st.st_mode), stat.S_IMODE(st.st_mode)), (True, 0o640))
    r = os.open("p", os.O_RDONLY | os.O_NONBLOCK)
    w = os.open("p", os.O_WRONLY)
    os.write(w, b"through")
    equal(os.read(r, 100), b"through")
    os.close(r)
    os.close(w)
    with socket.socket(socket.AF_UNIX) as s, socket.socket(socket.AF_UNIX) as c:
        s.bind("sock")
        s.listen()
        c.connect("sock")
        equal(stat.S_ISSOCK(os.stat("sock").st_mode), True)


@test("a directory lists . and .., every entry once, with its type and stable numbers")
def _():
    os.mkdir("d")
    names = {"f%04d" % i for i in range(3000)}
    for n in names:
        put("d/" + n, b"")
    with os.scandir("d") as it:
        seen = [(e.name, e.inode()) for e in it]
    equal(len(seen), 3000)
    equal({n for n, _ in seen}, names)
    for n, ino in seen[:50]:
        equal(os.stat("d/" + n).st_ino, ino)
    raw = ctypes.create_string_buffer(1 << 16)
    fd = os.open("d", os.O_RDONLY)
    got = libc.syscall(217, fd, raw, len(raw)) if os.uname().machine == "x86_64" else 0
    os.close(fd)
    if got > 0:
        check(b"\0.\0" in raw.raw[:got] and b"\0..\0" in raw.raw[:got] or b"\x04.\0" in raw.raw[:got], "no . and ..")


@test("a directory that changes while it is read: what stays is seen exactly once")
def _():
    os.mkdir("d")
    for i in range(4000):
        put("d/stay%04d" % i, b"")
        if i % 4 == 0:
            put("d/go%04d" % i, b"")
    seen = []
    with os.scandir("d") as it:
        for i, e in enumerate(it):
            seen.append(e.name)
            if i % 7 == 0 and i < 7000:
                try:
                    os.unlink("d/go%04d" % (i * 4 // 7))
                except FileNotFoundError:
                    pass
                put("d/new%04d" % i, b"")
    stay = sorted(n for n in seen if n.startswith("stay"))
    equal(len(stay), 4000)
    equal(len(set(stay)), 4000)
    equal(len(set(seen)), len(seen))


@test("rm -r of a big directory while it is listed")
def _():
    os.mkdir("d")
    for i in range(2500):
        put("d/%d" % i, b"")
    with os.scandir("d") as it:
        for e in it:
            os.unlink(e.path)
    equal(os.listdir("d"), [])
    os.rmdir("d")


# ---- opening, reading, writing ----------------------------------------------------------------------------------

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


# ---- attributes -------------------------------------------------------------------------------------------------

@test("utimensat: nanoseconds, before 1970 and far ahead, UTIME_OMIT")
def _():
    put("a")
    for t in (1, 1234567890123456789, -1000000001, 4 * 10**18 + 1):
        os.utime("a", ns=(t, t + 5))
        st = os.stat("a")
        equal((st.st_atime_ns, st.st_mtime_ns), (t, t + 5))

    class Ts(ctypes.Structure):
        _fields_ = [("s", ctypes.c_long), ("n", ctypes.c_long)]
    before = os.stat("a")
    call(libc.utimensat, -100, b"a", (Ts * 2)(Ts(0, (1 << 30) - 2), Ts(77, 7)), 0)
    st = os.stat("a")
    equal((st.st_atime_ns, st.st_mtime_ns), (before.st_atime_ns, 77 * 10**9 + 7))
    now = time.time_ns()
    os.utime("a")
    check(abs(os.stat("a").st_mtime_ns - now) < 2 * 10**9, "utime(NULL) is not now")


@test("a symlink's own times and owner")
def _():
    os.symlink("nowhere", "s")
    os.utime("s", ns=(11, 22), follow_symlinks=False)
    st = os.lstat("s")
    equal((st.st_atime_ns, st.st_mtime_ns), (11, 22))


@test("mtime and ctime move with writes, and stay when nothing happens")
def _():
    put("a", b"x")
    a = os.stat("a")
    time.sleep(0.02)
    with open("a", "r+b") as f:
        f.write(b"y")
    b = os.stat("a")
    check(b.st_mtime_ns > a.st_mtime_ns and b.st_ctime_ns > a.st_ctime_ns, "they stand still")
    get("a")
    os.close(os.open("a", os.O_RDWR))
    c = os.stat("a")
    equal((c.st_mtime_ns, c.st_ctime_ns), (b.st_mtime_ns, b.st_ctime_ns))
    time.sleep(0.02)
    os.chmod("a", 0o600)
    d = os.stat("a")
    equal(d.st_mtime_ns, c.st_mtime_ns)
    check(d.st_ctime_ns > c.st_ctime_ns, "chmod leaves ctime")
    w = os.open("a", os.O_WRONLY)
    os.write(w, b"z")
    os.utime("a", ns=(5, 6))
    os.close(w)
    equal(os.stat("a").st_mtime_ns, 6, "utime on an open file, after close")


@test("a directory's mtime moves with its entries")
def _():
    os.mkdir("d")
    for act in (lambda: put("d/a"), lambda: os.rename("d/a", "d/b"), lambda: os.link("d/b", "d/c"),
                lambda: os.unlink("d/b"), lambda: os.mkdir("d/e"), lambda: os.rmdir("d/e")):
        before = os.stat("d")
        time.sleep(0.02)
        act()
        after = os.stat("d")
        check(after.st_mtime_ns > before.st_mtime_ns and after.st_ctime_ns > before.st_ctime_ns, "stands still")


@test("atime: a read moves it when it was older than mtime")
def _():
    put("a", b"x" * 5000)
    os.utime("a", ns=(1000, 2000))
    get("a")
    equal(os.stat("a").st_mtime_ns, 2000)
    check(os.stat("a").st_atime_ns > 2000, "atime %d" % os.stat("a").st_atime_ns)


@test("chmod: all twelve bits; umask; mkdir and open modes")
def _():
    put("a")
    for mode in (0o0, 0o777, 0o4755, 0o2755, 0o1644, 0o7777):
        os.chmod("a", mode)
        equal(stat.S_IMODE(os.stat("a").st_mode), mode)
    old = os.umask(0o027)
    try:
        os.close(os.open("b", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir("d", 0o777)
    finally:
        os.umask(old)
    equal(stat.S_IMODE(os.stat("b").st_mode), 0o640)
    equal(stat.S_IMODE(os.stat("d").st_mode), 0o750)
    fd = os.open("ro", os.O_CREAT | os.O_WRONLY, 0o444)
    os.write(fd, b"still writable here")
    os.close(fd)
    equal(get("ro"), b"still writable here")


@test("st_blocks, st_size, st_blksize, statvfs make sense")
def _():
    put("a", pattern(MIB))
    st = os.stat("a")
    check(st.st_blocks * 512 >= MIB, "blocks %d" % st.st_blocks)
    check(st.st_blksize >= 4096, "blksize %d" % st.st_blksize)
    v = os.statvfs(".")
    check(v.f_blocks > 0 and 0 < v.f_bavail <= v.f_bfree <= v.f_blocks and v.f_files > 0, repr(v))
    equal(v.f_namemax, 255)


@test("xattrs: user.*, sizes, flags, list, remove")
def _():
    put("a")
    os.setxattr("a", "user.one", b"1")
    os.setxattr("a", "user.two", bytes(range(256)) * 200)
    os.setxattr("a", "user.empty", b"")
    equal(sorted(x for x in os.listxattr("a") if x.startswith("user.")), ["user.empty", "user.one", "user.two"])
    equal(os.getxattr("a", "user.two"), bytes(range(256)) * 200)
    equal(os.getxattr("a", "user.empty"), b"")
    fails(errno.EEXIST, os.setxattr, "a", "user.one", b"2", os.XATTR_CREATE)
    fails(errno.ENODATA, os.setxattr, "a", "user.three", b"2", os.XATTR_REPLACE)
    os.setxattr("a", "user.one", b"22", os.XATTR_REPLACE)
    equal(os.getxattr("a", "user.one"), b"22")
    small = ctypes.create_string_buffer(1)
    fails(errno.ERANGE, lambda: call(libc.getxattr, b"a", b"user.one", small, 1))
    os.removexattr("a", "user.one")
    fails(errno.ENODATA, os.getxattr, "a", "user.one")
    fails(errno.ENODATA, os.removexattr, "a", "user.one")
    os.setxattr("a", "user." + "n" * 250, b"x")
    os.mkdir("d")
    os.setxattr("d", "user.d", b"on a directory")
    equal(os.getxattr("d", "user.d"), b"on a directory")


@test("xattrs: trusted.* for root; POSIX ACLs kept or refused clearly")
def _():
    put("a")
    if os.getuid() == 0:
        os.setxattr("a", "trusted.t", b"x")
        equal(os.getxattr("a", "trusted.t"), b"x")
    acl = bytes.fromhex("02000000" "01000600ffffffff" "04000400ffffffff" "20000400ffffffff")
    try:
        os.setxattr("a", "system.posix_acl_access", acl)
    except OSError as e:
        equal(e.errno, errno.EOPNOTSUPP)


@test("sticky directories, permissions, supplementary denial (as nobody)")
def _():
    os.mkdir("tmp")
    os.chmod("tmp", 0o1777)
    put("tmp/roots")
    os.chmod("tmp/roots", 0o644)
    os.mkdir("closed", 0o700)
    put("secret", b"x")
    os.chmod("secret", 0o600)
    os.chmod(".", 0o755)

    def nobody():
        fails(errno.EPERM, os.unlink, "tmp/roots")
        fails(errno.EPERM, os.rename, "tmp/roots", "tmp/mine")
        fails(errno.EACCES, os.open, "tmp/roots", os.O_WRONLY)
        fails(errno.EACCES, os.open, "secret", os.O_RDONLY)
        fails(errno.EACCES, os.listdir, "closed")
        fails(errno.EACCES, put, "new")
        put("tmp/own", b"mine")
        st = os.stat("tmp/own")
        equal((st.st_uid, st.st_gid), (65534, 65534))
        fails(errno.EPERM, os.chown, "tmp/own", 0, 0)
        fails(errno.EPERM, os.chmod, "secret", 0o777)
        os.unlink("tmp/own")
    as_nobody(nobody)


@test("setgid directories hand on their group, and the bit to directories")
def _():
    if os.getuid() != 0:
        raise Skip("needs root")
    os.mkdir("d")
    os.chown("d", 0, 12345)
    os.chmod("d", 0o2775)
    put("d/f")
    os.mkdir("d/e")
    equal(os.stat("d/f").st_gid, 12345)
    equal((os.stat("d/e").st_gid, bool(os.stat("d/e").st_mode & stat.S_ISGID)), (12345, True))


@test("chown; a write and a chown by a user take setuid and setgid away")
def _():
    if os.getuid() != 0:
        raise Skip("needs root")
    put("a")
    os.chown("a", 65534, 65534)
    os.chmod("a", 0o6777)
    equal((os.stat("a").st_uid, os.stat("a").st_gid), (65534, 65534))
    os.chmod(".", 0o755)

    def nobody():
        fd = os.open("a", os.O_WRONLY)
        os.write(fd, b"new")
        os.close(fd)
    as_nobody(nobody)
    equal(stat.S_IMODE(os.stat("a").st_mode) & 0o6000, 0)
    os.chown("a", 1, -1)
    equal((os.stat("a").st_uid, os.stat("a").st_gid), (1, 65534))


@test("device nodes (root, -o dev)")
def _():
    if os.getuid() != 0:
        raise Skip("needs root")
    os.mknod("null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod("blk", 0o600 | stat.S_IFBLK, os.makedev(7, 300))
    equal(os.stat("null").st_rdev, os.makedev(1, 3))
    equal(os.stat("blk").st_rdev, os.makedev(7, 300))
    put("null", b"gone")
    equal(os.stat("null").st_size, 0)


@test("names beginning with '@' in the root are refused, elsewhere they are names")
def _():
    put("@cpu", b"here")
    equal(get("@cpu"), b"here")
    root = os.path.dirname(os.path.dirname(os.getcwd()))
    try:
        put(os.path.join(root, "@cpu"))
    except OSError:
        pass
    else:
        raise AssertionError("created a name of a view")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
