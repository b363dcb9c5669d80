"""Names, links and directories, call by call (20-posix.sh).  posix_names.py DIR: DIR is on the mount."""
import ctypes
import errno
import os
import socket
import stat
import sys

from posix_calls import EXCHANGE, NOREPLACE, call, clock_moves, get, libc, pattern, put, renameat2
from tap import Skip, check, equal, fails, run, test


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
    clock_moves()
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


@test("ctime of a file that is being written moves when it loses a name")
def _():
    put("a", b"x")
    with open("a", "r+b", buffering=0) as f:
        for lose in (lambda: os.unlink("b"), lambda: os.rename("c", "b"), lambda: os.unlink("a")):
            if os.path.exists("a"):
                put("c")
                if not os.path.exists("b"):
                    os.link("a", "b")
            f.write(b"more")
            before = os.fstat(f.fileno()).st_ctime_ns
            clock_moves()
            lose()
            check(os.fstat(f.fileno()).st_ctime_ns > before, "it stands still")


@test("a file made without a name (O_TMPFILE) goes, unless it gets one")
def _():
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640)
    except OSError as e:
        equal(e.errno, errno.EOPNOTSUPP)
        raise Skip("this kernel has no such request")
    data = pattern(300000)
    os.write(fd, data)
    equal((os.fstat(fd).st_nlink, os.listdir(".")), (0, []))
    call(libc.linkat, -100, b"/proc/self/fd/%d" % fd, -100, b"a", 0x400)
    equal(os.fstat(fd).st_nlink, 1)
    equal(get("a"), data)
    os.write(fd, b"more")
    os.close(fd)
    equal(get("a"), data + b"more")
    fd = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_EXCL)
    fails(errno.ENOENT, call, libc.linkat, -100, b"/proc/self/fd/%d" % fd, -100, b"b", 0x400)
    os.close(fd)
    equal(os.listdir("."), ["a"])


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


@test("names beginning with '@' in the root are refused, elsewhere they are names")
def _():
    put("@cpu", b"here")
    equal(get("@cpu"), b"here")
    root = os.path.abspath("../../..")
    try:
        put(os.path.join(root, "@cpu"))
    except OSError:
        pass
    else:
        raise AssertionError("created a name of a view")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
