"""A disk that is full (80-full.sh).  full.py CKPTFS STORE MOUNTPOINT DISK: STORE lies on DISK, which is small."""
import errno
import fcntl
import os
import random
import subprocess
import sys
import time

from tap import check, equal, run, test

CKPTFS, STORE, MNT, DISK = sys.argv[1:]
MIB = 1 << 20
rnd = random.Random(3)


def ckptfs(*words):
    p = subprocess.run([CKPTFS, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(p.returncode == 0, "ckptfs %s: status %d: %s" % (" ".join(words), p.returncode, p.stdout))
    return p.stdout


def mount(*options):
    if os.path.ismount(MNT):  # a test before failed half way
        umount()
    ckptfs("mount", *options, STORE, MNT)


def umount():
    ckptfs("umount", MNT)


def put(path, data):
    """0, or the errno of open, write or close."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except OSError as e:
        return e.errno
    code = 0
    try:
        for off in range(0, len(data), MIB):
            if os.write(fd, data[off:off + MIB]) != len(data[off:off + MIB]):
                code = errno.ENOSPC
                break
    except OSError as e:
        code = e.errno
    try:
        os.close(fd)
    except OSError as e:
        code = code or e.errno
    return code


def get(path):
    with open(path, "rb") as f:
        return f.read()


def fill(leave=0):
    """Takes the disk's room away with a file beside the store."""
    path = os.path.join(DISK, "ballast")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        while True:
            v = os.statvfs(DISK)
            n = min(MIB, v.f_bavail * v.f_frsize - leave)
            if n <= 0:
                break
            os.write(fd, bytes(n))
    except OSError as e:
        equal(e.errno, errno.ENOSPC)
    os.close(fd)


def unfill():
    try:
        os.unlink(os.path.join(DISK, "ballast"))
    except FileNotFoundError:
        pass


def where(name):
    return os.path.join(MNT, name)


@test("writing until it is full: ENOSPC, and every file acknowledged before is whole")
def _():
    mount()
    kept = {}
    code = 0
    for i in range(200):
        data = rnd.randbytes(3 * MIB)
        code = put(where("f%d" % i), data)
        if code:
            break
        kept["f%d" % i] = data
    equal(code, errno.ENOSPC)
    check(len(kept) > 10, "only %d files fit" % len(kept))
    for name, data in kept.items():
        check(get(where(name)) == data, name)
    check("f%d" % len(kept) not in os.listdir(MNT) or get(where("f%d" % len(kept))) == b"", "a part of a new file is left")
    v = os.statvfs(MNT)
    check(v.f_bavail * v.f_frsize < 10 * MIB, "statvfs says %d MiB are free" % (v.f_bavail * v.f_frsize // MIB))
    umount()
    mount()
    for name, data in kept.items():
        check(get(where(name)) == data, name + " after a remount")
    umount()
    ckptfs("verify", "--data", STORE)


@test("removing files on the full disk works and gives room back")
def _():
    mount()
    names = sorted(n for n in os.listdir(MNT))
    for name in names[:len(names) // 2]:
        os.unlink(where(name))
    data = rnd.randbytes(3 * MIB)
    deadline = time.monotonic() + 120
    while (code := put(where("again"), data)) == errno.ENOSPC and time.monotonic() < deadline:
        time.sleep(0.3)
    equal(code, 0)
    check(get(where("again")) == data)
    for name in os.listdir(MNT):
        os.unlink(where(name))
    ckptfs("gc", MNT)
    umount()
    ckptfs("verify", "--data", STORE)


@test("a replacement that runs out of room leaves the old version, at every step")
def _():
    mount()
    old, new = rnd.randbytes(2 * MIB), rnd.randbytes(6 * MIB)
    failed = 0
    for leave in (0, 4096, 65536, MIB, 2 * MIB, 3 * MIB, 5 * MIB, 7 * MIB, 12 * MIB):
        unfill()
        equal(put(where("model.pth"), old), 0, "the old version")
        ckptfs("gc", MNT)
        fill(leave)
        code = put(where("model.pth"), new)
        check(code in (0, errno.ENOSPC), "%d bytes left: errno %s" % (leave, errno.errorcode.get(code, code)))
        now = get(where("model.pth"))
        check(now == (new if code == 0 else old), "%d bytes left: %s, but the content is neither (%d bytes)" % (
            leave, "success" if code == 0 else "ENOSPC", len(now)))
        failed += code != 0
    check(failed >= 3, "it failed %d times only" % failed)
    unfill()
    umount()
    ckptfs("verify", "--data", STORE)
    mount()
    umount()


@test("appends and writes in place keep what was acknowledged")
def _():
    mount()
    unfill()
    model = bytearray(rnd.randbytes(MIB))
    equal(put(where("log"), model), 0)
    fill(300000)
    fd = os.open(where("log"), os.O_RDWR)
    code = 0
    for i in range(3000):
        piece = rnd.randbytes(5000)
        off = len(model) if i % 2 else rnd.randrange(len(model))
        try:
            n = os.pwrite(fd, piece, off)
        except OSError as e:
            code = e.errno
            break
        model[off:off + n] = piece[:n]
    try:
        os.close(fd)
    except OSError as e:
        code = e.errno
    unfill()
    if code:
        equal(code, errno.ENOSPC)
    now = get(where("log"))
    if not code:
        check(now == bytes(model))
    umount()
    mount()
    check(get(where("log")) == now, "changed by a remount")
    umount()
    ckptfs("verify", "--data", STORE)


@test("full to the last byte: reading, mounting, names and removing still work")
def _():
    unfill()
    mount()
    data = rnd.randbytes(2 * MIB)
    equal(put(where("a"), data), 0)
    for i in range(50):
        equal(put(where("n%d" % i), b"x" * 100), 0)
    umount()
    fill()
    mount()
    check(get(where("a")) == data)
    for i in range(25):
        os.unlink(where("n%d" % i))
    os.chmod(where("a"), 0o600)
    try:
        os.rename(where("a"), where("b"))  # a new name may find no room, as rename(2) allows; nothing changes then
        name = "b"
    except OSError as e:
        equal(e.errno, errno.ENOSPC)
        name = "a"
    check(get(where(name)) == data)
    left = sorted(os.listdir(MNT))
    umount()
    mount()
    check(get(where(name)) == data)
    equal(os.stat(where(name)).st_mode & 0o777, 0o600)
    equal(sorted(os.listdir(MNT)), left)
    umount()
    unfill()
    ckptfs("verify", "--data", STORE)


@test("the daemon is killed on a full disk: it mounts again, nothing is lost")
def _():
    unfill()
    mount()
    data = rnd.randbytes(2 * MIB)
    equal(put(where("k"), data), 0)
    fill(100000)
    put(where("too much"), rnd.randbytes(5 * MIB))
    with open(os.path.join(STORE, "lock")) as f:
        pid = int(f.read().split()[0])
    os.kill(pid, 9)
    with open(os.path.join(STORE, "lock")) as f:
        fcntl.flock(f, fcntl.LOCK_EX)  # given when all of its threads have ended
    fill()
    mount()
    check(get(where("k")) == data)
    umount()
    unfill()
    ckptfs("verify", "--data", STORE)


@test("many middling files fill it, through a mount and without: each can be removed, and room comes back")
def _():
    unfill()
    mount()
    code, n = 0, 0
    while not code and n < 2000:
        code = put(where("m%d" % n), rnd.randbytes(200000))
        n += 1
    equal(code, errno.ENOSPC)
    for name in os.listdir(MNT):
        os.unlink(where(name))
    data = rnd.randbytes(3 * MIB)
    deadline = time.monotonic() + 120
    while (code := put(where("again"), data)) == errno.ENOSPC and time.monotonic() < deadline:
        time.sleep(0.3)
    equal(code, 0)
    umount()
    many = os.path.join(os.path.dirname(MNT), "many")
    os.mkdir(many)
    for i in range(550):
        with open(os.path.join(many, "i%d" % i), "wb") as f:
            f.write(rnd.randbytes(200000))
    p = subprocess.run([CKPTFS, "import", many, STORE + ":"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    equal(p.returncode, 3, p.stdout)
    check("no space left" in p.stdout.lower(), p.stdout)
    ckptfs("rm", "-r", STORE + ":many")
    ckptfs("gc", STORE)
    ckptfs("cp", os.path.join(many, "i0"), STORE + ":small")
    ckptfs("verify", "--data", STORE)


if __name__ == "__main__":
    base = os.path.join(os.path.dirname(MNT), "full")
    os.mkdir(base)
    sys.exit(run(base))
