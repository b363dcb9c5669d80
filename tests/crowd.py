"""64 processes on one mount (50-concurrent.sh).  crowd.py DIR SECONDS

Every 4 KiB block names its file's seed, generation and position and ends with a checksum, so that a reader can tell a
whole file of one generation (files that are replaced by rename), and a block that is where it belongs (files written in place).
"""
import fcntl
import os
import random
import struct
import sys
import time
import traceback
import zlib

BLOCK = 4096
HEAD = struct.Struct("<QQQQ")  # seed, generation, block, blocks
FILES = 10


def block(seed, generation, i, n):
    body = HEAD.pack(seed, generation, i, n)
    body += random.Random(seed * 1000003 + generation * 1009 + i % 8).randbytes(BLOCK - 4 - HEAD.size)
    return body + struct.pack("<I", zlib.crc32(body))


def parse(b, what):
    if len(b) != BLOCK or zlib.crc32(b[:-4]) != struct.unpack("<I", b[-4:])[0]:
        raise AssertionError("%s: a block of %d bytes is damaged: %r..." % (what, len(b), b[:48]))
    return HEAD.unpack(b[:HEAD.size])


def whole(seed, generation, n):
    return b"".join(block(seed, generation, i, n) for i in range(n))


def replacer(n, rnd):
    """A new whole file under a temporary name, renamed into place."""
    for generation in range(1 << 40):
        f = rnd.randrange(FILES)
        tmp = "tmp-%d" % n
        with open(tmp, "wb") as out:
            out.write(whole(f, generation * 100 + n, rnd.choice([1, 3, 16, 70, 300])))
        os.rename(tmp, "whole-%d" % f)
        yield


def truncater(n, rnd):
    """Replaces its own file with O_TRUNC and reads it back."""
    for generation in range(1 << 40):
        data = whole(n, generation, rnd.choice([1, 20, 200]))
        with open("own-%d" % n, "wb") as f:
            f.write(data)
        with open("own-%d" % n, "rb") as f:
            got = f.read()
        if got != data:
            wrong = [o // BLOCK for o in range(0, max(len(got), len(data)), BLOCK) if got[o:o + BLOCK] != data[o:o + BLOCK]]
            held = [HEAD.unpack_from(got, i * BLOCK) if len(got) >= (i + 1) * BLOCK else None for i in wrong[:2]]
            raise AssertionError("own-%d, generation %d: read %d bytes, %d were written; wrong blocks %s... hold %s" % (
                n, generation, len(got), len(data), wrong[:5], held))
        yield


def inplace(n, rnd):
    """Single blocks in place, in files that others write too."""
    for generation in range(1 << 40):
        f = rnd.randrange(4)
        fd = os.open("place-%d" % f, os.O_RDWR if rnd.random() < 0.5 else os.O_WRONLY)
        for _ in range(rnd.randrange(1, 6)):
            i = rnd.randrange(256)
            fcntl.lockf(fd, fcntl.LOCK_EX, BLOCK, i * BLOCK)  # no local filesystem keeps a read from meeting a write
            os.pwrite(fd, block(f, generation * 100 + n, i, 256), i * BLOCK)
            fcntl.lockf(fd, fcntl.LOCK_UN, BLOCK, i * BLOCK)
        os.close(fd)
        yield


def reader(n, rnd):
    while True:
        if rnd.random() < 0.6:
            f = rnd.randrange(FILES)
            try:
                with open("whole-%d" % f, "rb") as h:
                    size = os.fstat(h.fileno()).st_size
                    data = h.read()
            except FileNotFoundError:
                continue
            if len(data) != size or len(data) % BLOCK:
                raise AssertionError("whole-%d: read %d, fstat said %d" % (f, len(data), size))
            seen = [parse(data[o:o + BLOCK], "whole-%d" % f) for o in range(0, len(data), BLOCK)]
            if not seen or any(s != (seen[0][0], seen[0][1], i, len(seen)) for i, s in enumerate(seen)):
                raise AssertionError("whole-%d is a mix: %s" % (f, sorted(set(seen))[:5]))
        else:
            f = rnd.randrange(4)
            with open("place-%d" % f, "rb", buffering=0) as h:
                for _ in range(20):
                    i = rnd.randrange(256)
                    fcntl.lockf(h, fcntl.LOCK_SH, BLOCK, i * BLOCK)
                    b = os.pread(h.fileno(), BLOCK, i * BLOCK)
                    fcntl.lockf(h, fcntl.LOCK_UN, BLOCK, i * BLOCK)
                    s = parse(b, "place-%d block %d" % (f, i))
                    if (s[0], s[2]) != (f, i):
                        raise AssertionError("place-%d block %d holds %s" % (f, i, s))
        yield


def renamer(n, rnd):
    """A file that wanders between directories; it is always somewhere, whole."""
    for d in ("dir-a", "dir-b", "dir-c"):
        try:
            os.mkdir(d)
        except FileExistsError:
            pass
    data = whole(n, 1, 5)
    here = "dir-a/wander-%d" % n
    with open(here, "wb") as f:
        f.write(data)
    while True:
        there = "dir-%s/wander-%d%s" % (rnd.choice("abc"), n, rnd.choice(["", "-x"]))
        os.rename(here, there)
        here = there
        with open(here, "rb") as f:
            if f.read() != data:
                raise AssertionError("%s changed on its way" % here)
        yield


def appender(n, rnd):
    """Four processes append lines to one log."""
    k = 0
    while True:
        with open("log", "ab", buffering=0) as f:
            for _ in range(rnd.randrange(1, 5)):
                f.write(b"%02d %08d %s\n" % (n, k, b"x" * 52))
                k += 1
        yield


def lister(n, rnd):
    fixed = ["place-%d" % i for i in range(4)]  # there all the time, as others come and go
    while True:
        names = os.listdir(".")
        for name in fixed:
            if names.count(name) != 1:
                raise AssertionError("%s is listed %d times" % (name, names.count(name)))
        for name in rnd.sample(names, min(10, len(names))):
            try:
                end = time.monotonic() + 60
                while os.lstat(name).st_nlink == 0:  # a rename over it has been made, but its process has not got to run yet
                    if time.monotonic() > end:
                        raise AssertionError("%s has no links" % name)
                    time.sleep(0.001)
            except FileNotFoundError:
                continue
        yield


ROLES = [(reader, 20), (replacer, 14), (truncater, 6), (inplace, 8), (renamer, 8), (appender, 4), (lister, 4)]


def main(base, seconds):
    os.chdir(base)
    for f in range(4):
        with open("place-%d" % f, "wb") as h:
            h.write(whole(f, 0, 256))
    seed = int(os.environ.get("SEED", time.time_ns() % 1000000))
    print("# SEED=%d" % seed)
    children = []
    n = 0
    end = time.monotonic() + seconds
    for role, count in ROLES:
        for _ in range(count):
            n += 1
            r, w = os.pipe()
            pid = os.fork()
            if pid == 0:
                status, text, rounds = 0, "", 0
                try:
                    for _ in role(n, random.Random(seed + n)):
                        rounds += 1
                        if time.monotonic() > end:
                            break
                except BaseException:
                    status, text = 1, traceback.format_exc()
                os.write(w, ("%d\n%s" % (rounds, text)).encode()[:60000])
                os._exit(status)
            os.close(w)
            children.append((role.__name__, pid, r))
    result = {}
    for name, pid, r in children:
        with os.fdopen(r) as f:
            rounds, _, text = f.read().partition("\n")
        os.waitpid(pid, 0)
        e = result.setdefault(name, [0, 0, []])
        e[0] += 1
        e[1] += int(rounds or 0)
        if text or not rounds:
            e[2].append(text or "died")
    bad = 0
    for i, (name, (count, rounds, errors)) in enumerate(result.items(), 1):
        ok = not errors and rounds >= count
        bad |= not ok
        print("%s %d - %d of kind %s, %d rounds" % ("ok" if ok else "not ok", i, count, name, rounds))
        for text in errors[:2]:
            for line in text.splitlines():
                print("#   " + line)

    lines = open("log", "rb").read().split(b"\n")
    per = {}
    good = lines[-1] == b""
    for line in lines[:-1]:
        good &= len(line) == 64
        k, i = line.split()[:2]
        good &= per.get(k, -1) + 1 == int(i)
        per[k] = int(i)
    print("%s - the log has every line once, whole, in order (%d lines)" % ("ok 90" if good else "not ok 90", len(lines) - 1))
    wander = sum(len([x for x in os.listdir(d) if x.startswith("wander")]) for d in ("dir-a", "dir-b", "dir-c"))
    print("%s - every wandering file is in one place (%d)" % ("ok 91" if wander == 8 else "not ok 91", wander))
    bare = [x for x in os.listdir(".") if os.lstat(x).st_nlink == 0]
    print("%s - every name has its file, now that all is quiet %s" % ("not ok 92" if bare else "ok 92", bare[:5]))
    return 1 if bad or bare or not good or wander != 8 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
