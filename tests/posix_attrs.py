"""Times, modes, owners, extended attributes, call by call (20-posix.sh).  posix_attrs.py DIR: DIR is on the mount."""
import ctypes
import errno
import os
import stat
import sys
import time

from posix_calls import KEEP_SIZE, MIB, as_nobody, call, clock_moves, fallocate, get, libc, pattern, put
from tap import Skip, check, equal, fails, run, test


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
    now = time.clock_gettime_ns(5)  # CLOCK_REALTIME_COARSE
    os.utime("a")
    check(now <= os.stat("a").st_mtime_ns <= time.time_ns(), "utime(NULL) is not now")


@test("times that no row can hold become the nearest that one can")
def _():
    put("a")
    os.utime("a", (1 << 40, -(1 << 40)))
    st = os.stat("a")
    check(st.st_atime > 9e9 and st.st_mtime < -2e9, "%d and %d" % (st.st_atime, st.st_mtime))


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
    clock_moves()
    with open("a", "r+b") as f:
        f.write(b"y")
    b = os.stat("a")
    check(b.st_mtime_ns > a.st_mtime_ns and b.st_ctime_ns > a.st_ctime_ns, "they stand still")
    get("a")
    os.close(os.open("a", os.O_RDWR))
    c = os.stat("a")
    equal((c.st_mtime_ns, c.st_ctime_ns), (b.st_mtime_ns, b.st_ctime_ns))
    clock_moves()
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
        clock_moves()
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


@test("atime of a directory moves when it is listed; mtime with a fallocate that changes nothing")
def _():
    os.mkdir("d")
    os.utime("d", ns=(5, 10**18))
    os.listdir("d")
    check(os.stat("d").st_atime_ns > 10**18, "it stands still")
    put("a", b"x" * 100)
    os.utime("a", ns=(5, 5))
    fd = os.open("a", os.O_RDWR)
    fallocate(fd, KEEP_SIZE, 0, 50)
    check(os.fstat(fd).st_mtime_ns > 5, "mtime stands still")
    os.close(fd)


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


@test("xattrs: a prefix alone is no name")
def _():
    put("a")
    fails(errno.EINVAL, os.setxattr, "a", "user.", b"x")
    fails(errno.EINVAL, os.getxattr, "a", "user.")


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


@test("setgid without execution goes too, unless the user is in the group")
def _():
    def change():
        with open("w", "r+b") as f:
            f.write(b"x")
        with open("o", "ab", buffering=0) as f:
            f.write(b"x")
        os.truncate("t", 5)
        os.close(os.open("u", os.O_WRONLY | os.O_TRUNC))
    for owner, group, mode in ((0, 0, 0o666), (0, 65534, 0o2666)):
        for name in "wotu":
            put(name, b"text")
            os.chmod(name, 0o666)
            if os.getuid() == 0:
                os.chown(name, owner, group)
            os.chmod(name, 0o2666)
        as_nobody(change)
        for name in "wotu":
            equal(oct(stat.S_IMODE(os.stat(name).st_mode)), oct(mode), name)


@test("privileges that a file gets while it is open go with the next write")
def _():
    put("a")
    os.chmod("a", 0o777)

    def change():
        for access in (os.O_WRONLY, os.O_RDWR):
            with os.fdopen(os.open("a", access), "wb", buffering=0) as f:
                os.write(w, b".")
                equal(os.read(r2, 1), b".")
                f.write(b"x")
            os.write(w, b".")
            equal(os.read(r2, 1), b".")

    if os.getuid() != 0:
        raise Skip("needs root")
    r, w = os.pipe()
    r2, w2 = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(w)
        for _ in range(2):
            os.read(r, 1)
            os.chmod("a", 0o6777)
            os.write(w2, b".")
            os.read(r, 1)
            if stat.S_IMODE(os.stat("a").st_mode) != 0o777:
                os._exit(1)
            os.write(w2, b".")
        os._exit(0)
    os.close(w2)
    as_nobody(change)
    os.close(w)
    equal(os.waitpid(pid, 0)[1], 0)
    for fd in (r, r2):
        os.close(fd)
    for flags in (os.O_WRONLY, os.O_RDWR):
        os.setxattr("a", "security.capability", bytes.fromhex("0100000201000000000000000000000000000000"))
        fd = os.open("a", flags)
        os.write(fd, b"x")
        os.close(fd)
        fails(errno.ENODATA, os.getxattr, "a", "security.capability")


@test("chown to nobody in particular: nothing but ctime moves")
def _():
    put("a")
    before = os.stat("a")
    clock_moves()
    os.chown("a", -1, -1)
    st = os.stat("a")
    for name in ("st_mode", "st_uid", "st_gid", "st_mtime_ns"):
        equal(getattr(st, name), getattr(before, name), name)
    check(st.st_ctime_ns > before.st_ctime_ns, "ctime stands still")


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


if __name__ == "__main__":
    sys.exit(run(sys.argv[1]))
