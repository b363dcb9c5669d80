"""A save is killed (30-torn.sh).  torn.py DIR HISTORY: DIR on the mount, HISTORY the same directory under @history.

A child writes a torch-like zip up to a given byte, says so, and waits; the parent kills it there.
"""
import io
import os
import random
import signal
import struct
import sys
import threading
import time
import zipfile

from tap import check, equal, run, test

MIB = 1 << 20


def torch_zip(seed, tensors=6, size=MIB):
    """The bytes torch.save makes: stored members, 64-byte aligned in effect, an end record."""
    rnd = random.Random(seed)
    b = io.BytesIO()
    with zipfile.ZipFile(b, "w", zipfile.ZIP_STORED) as z:
        z.writestr("archive/data.pkl", rnd.randbytes(2000))
        for i in range(tensors):
            z.writestr("archive/data/%d" % i, rnd.randbytes(size))
        z.writestr("archive/version", "3\n")
    return b.getvalue()


def safetensors(seed, size=3 * MIB):
    head = ('{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + random.Random(seed).randbytes(size)


OLD = torch_zip(1)
NEW = torch_zip(2)
POINTS = [1, 4, 100, 2000, 65536, MIB, 3 * MIB + 17, len(NEW) - 5000, len(NEW) - 22, len(NEW) - 1]


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def killed(write, sig):
    """Runs write(announce) in a child; kills it with sig once it has announced.  announce() never returns."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)

        def announce():
            os.write(w, b"x")
            while True:
                time.sleep(100)
        try:
            write(announce)
        finally:
            os._exit(3)
    os.close(w)
    equal(os.read(r, 1), b"x", "the child")
    os.kill(pid, sig)
    status = os.waitpid(pid, 0)[1]
    os.close(r)
    equal((os.WIFSIGNALED(status), os.WTERMSIG(status)), (True, sig))


def to_path(path, data, upto, piece=300000):
    """torch.save to a path: write(2) of growing pieces."""
    def write(announce):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for off in range(0, upto, piece):
            os.write(fd, data[off:min(off + piece, upto)])
        announce()
    return write


def to_object(path, data, upto):
    """torch.save to a file object: through Python's buffer."""
    def write(announce):
        f = open(path, "wb")
        for off in range(0, upto, 5000):
            f.write(data[off:min(off + 5000, upto)])
        f.flush()
        announce()
    return write


def threads(path, data, upto):
    """The save is one thread of several, which are busy with other files when the signal comes."""
    def write(announce):
        def other(i):
            while True:
                put("%s.other%d" % (path, i), data[:200000])
        for i in range(3):
            threading.Thread(target=other, args=(i,), daemon=True).start()
        t = threading.Thread(target=to_path(path, data, upto), args=(announce,))
        t.start()
        t.join()
    return write


def history(name):
    """Versions of a file under @history, as paths; empty when it has none."""
    out = []
    top = os.path.join(HISTORY, name)
    if os.path.isdir(top):
        out = [os.path.join(top, n) for n in sorted(os.listdir(top))]
    return out


def eventually(condition, what):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(what)


def each(name, how, old, sig):
    for upto in POINTS:
        path = os.path.join(DIR, "%s-%d.pth" % (name, upto))
        if old:
            put(path, OLD)
            ino = os.stat(path).st_ino
        killed(how(path, NEW, upto), sig)
        if old:
            check(get(path) == OLD, "killed at %d: the old version is not what stands" % upto)
            equal((os.stat(path).st_size, os.stat(path).st_ino), (len(OLD), ino))
        else:
            check(not os.path.exists(path), "killed at %d: a new file appeared" % upto)
            check(os.path.basename(path) not in os.listdir(DIR), "killed at %d: it is listed" % upto)
        # the path is as usable as before
        put(path, NEW)
        check(get(path) == NEW, "saving again after a kill at %d" % upto)
        os.unlink(path)


for _how in (to_path, to_object, threads):
    for _old in (True, False):
        for _sig in (signal.SIGKILL, signal.SIGTERM):
            def _one(how=_how, old=_old, sig=_sig):
                each("%s-%s-%s" % (how.__name__, "old" if old else "new", sig.name), how, old, sig)
            test("%s, %s, %s at %d points" % (_how.__name__.replace("_", " "),
                 "over an old version" if _old else "new file", _sig.name, len(POINTS)))(_one)


@test("the torn bytes are in @history, and are those that were written")
def _():
    for old in (True, False):
        name = "kept-%d.pth" % old
        path = os.path.join(DIR, name)
        if old:
            put(path, OLD)
        killed(to_path(path, NEW, 3 * MIB), signal.SIGKILL)
        eventually(lambda: history(name), "nothing of %s in @history" % name)
        torn = [p for p in history(name) if "torn" in p]
        check(torn, "none is marked torn: %s" % history(name))
        equal(get(torn[-1]) == NEW[:3 * MIB], True)


@test("a short safetensors file")
def _():
    for size in (9, MIB, 3 * MIB - 1):
        path = os.path.join(DIR, "m%d.safetensors" % size)
        put(path, safetensors(1))
        killed(to_path(path, safetensors(2), size), signal.SIGKILL)
        check(get(path) == safetensors(1), "killed at %d: the old version is not what stands" % size)


@test("a whole file stays whole when its writer dies before closing it")
def _():
    path = os.path.join(DIR, "whole.pth")
    put(path, OLD)
    killed(to_path(path, NEW, len(NEW)), signal.SIGKILL)
    check(get(path) == NEW, "the complete new version is lost")


@test("a writer killed at random moments while it writes: old or new, nothing between")
def _():
    path = os.path.join(DIR, "random.pth")
    put(path, OLD)
    rnd = random.Random(5)
    outcomes = set()
    for _ in range(25):
        pid = os.fork()
        if pid == 0:
            while True:
                for data in (NEW, OLD):
                    put(path, data)
        time.sleep(rnd.uniform(0.005, 0.15))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        data = get(path)
        check(data in (OLD, NEW), "a mix or a part: %d bytes" % len(data))
        outcomes.add(data == OLD)


@test("saved to a temporary name and renamed: killed before the rename")
def _():
    path = os.path.join(DIR, "renamed.pth")
    put(path, OLD)

    def write(announce):
        put(path + ".tmp", NEW)
        fd = os.open(path + ".tmp2", os.O_WRONLY | os.O_CREAT)
        os.write(fd, NEW[:MIB])
        announce()
    killed(write, signal.SIGKILL)
    check(get(path) == OLD)
    check(get(path + ".tmp") == NEW)
    check(not os.path.exists(path + ".tmp2"))


@test("what is no known container is kept as far as it was written")
def _():
    path = os.path.join(DIR, "log.txt")
    put(path, b"old\n")
    killed(to_path(path, b"line\n" * 1000, 1234), signal.SIGKILL)
    equal(get(path), (b"line\n" * 1000)[:1234])
    killed(lambda announce: (open(path, "ab", buffering=0).write(b"more"), announce()), signal.SIGKILL)
    equal(get(path), (b"line\n" * 1000)[:1234] + b"more")


@test("an ordinary close of a torn container keeps it: what was written is what is read")
def _():
    path = os.path.join(DIR, "odd.pth")
    put(path, OLD)
    put(path, NEW[:MIB])
    check(get(path) == NEW[:MIB])


@test("an exit without close keeps what is no torn container")
def _():
    path = os.path.join(DIR, "exit.txt")
    pid = os.fork()
    if pid == 0:
        os.write(os.open(path, os.O_WRONLY | os.O_CREAT), b"text" * 1000)
        os._exit(0)
    os.waitpid(pid, 0)
    equal(get(path), b"text" * 1000)


@test("another process still reads the old version through its descriptor")
def _():
    path = os.path.join(DIR, "reader.pth")
    put(path, OLD)
    killed(to_path(path, NEW, 2 * MIB), signal.SIGKILL)
    with open(path, "rb") as f:
        check(f.read() == OLD)
        killed(to_path(path, NEW, 2 * MIB), signal.SIGTERM)
        f.seek(0)
        check(f.read() == OLD)


@test("appending in place to a container keeps every acknowledged write")
def _():
    path = os.path.join(DIR, "grown.zip")
    put(path, OLD)
    killed(lambda announce: (open(path, "ab", buffering=0).write(b"tail"), announce()), signal.SIGKILL)
    data = get(path)
    check(data in (OLD, OLD + b"tail"), "%d bytes" % len(data))


if __name__ == "__main__":
    if sys.argv[1] == "--keep":
        target = os.path.join(sys.argv[2], "keep.pth")
        put(target, OLD)
        killed(to_path(target, NEW, 2 * MIB), signal.SIGKILL)
        check(get(target) == NEW[:2 * MIB], "not what the killed writer wrote")
        sys.exit(0)
    DIR, HISTORY = sys.argv[1:]
    sys.exit(run(DIR))
