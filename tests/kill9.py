"""A mixed workload with a manifest outside the mount, and its check after a crash (40-kill9.sh).

    kill9.py work DIR MANIFEST SEED [CKPTFS]      until the mount dies
    kill9.py check DIR MANIFEST

Workers are processes, each with files of its own: four do what programs do to files, one writes and removes many small ones
(which are pooled, and pools thinned), one saves the checkpoints of a training over those before the last few (differences,
and bases that nobody names any more).  With CKPTFS a further one collects garbage and recompresses meanwhile.  Before an operation that names a promise it writes what it is about to do
("+ ..."), after it was acknowledged that it is done ("= ..."): a line each, in one write(2) to MANIFEST/log opened with
O_APPEND, which no daemon's death can touch.  A content is told by its seed and length, so that it can be made again.

The promise after kill -9: content that close(2) or fsync(2) acknowledged is there; of an operation that was under way either the
old or the new state is there, never a mix.  Names: a rename is acknowledged by itself; a new name, a removal, a directory within
a second or with the next close or fsync, so those may be missing only when nothing was acknowledged after them.
"""
import errno
import array
import functools
import json
import os
import random
import signal
import struct
import subprocess
import sys
import zlib

SIZES = [0, 1, 100, 3000, 20000, 70000, 300000, 1 << 20, 4 << 20]
PLAIN, SMALL, TRAIN = 4, 4, 5  # workers below PLAIN; the number of the one with small files, of the one that trains
FLOATS = 1 << 16


def names_of(worker):
    return ["w%d-%d" % (worker, i) for i in range({SMALL: 150, TRAIN: 4}.get(worker, 12))]


def content(seed, size):
    rnd = random.Random(seed)
    half = rnd.randbytes(size // 2)
    return (half + bytes(size // 8) + half)[:size].ljust(size, b"t")


def small(seed):
    rnd = random.Random(seed)
    lines = ['{"step": %d, "loss": %.6f}\n' % (i, rnd.random()) for i in range(rnd.randrange(200))]
    return "".join(lines).encode()


@functools.lru_cache(maxsize=2)
def weights(seed):
    rnd = random.Random(seed)
    return [rnd.gauss(0, 0.05) for _ in range(FLOATS)]


def checkpoint(seed, step):
    """Of one training, whose weights move a little at each step."""
    move = random.Random(seed + step).uniform(0.5, 2) * 1e-4 * step
    data = array.array("f", [w + move * ((i * 7 & 15) - 7.5) for i, w in enumerate(weights(seed))]).tobytes()
    head = json.dumps({"w": {"dtype": "F32", "shape": [FLOATS], "data_offsets": [0, len(data)]}}).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data


MAKERS = {"put": content, "small": small, "ckpt": checkpoint}


@functools.lru_cache(maxsize=1000)
def made(ops):
    """The content that these lines of the log make, one after the other."""
    for kind, _, *args in ops:
        n = [int(x) for x in args]
        if kind in MAKERS:
            data = MAKERS[kind](*n)
        elif kind == "add":
            data += content(n[0], n[1])
        else:
            data = data[:n[2]] + content(n[0], n[1]) + data[n[2] + n[1]:]
    return data


class Gone(Exception):
    pass


def put(path, data, sync=False):
    with open(path, "wb", buffering=0) as f:
        for off in range(0, len(data), 200000):
            f.write(data[off:off + 200000])
        if sync:
            os.fsync(f.fileno())


def keep_house(ckptfs, base):
    """Until the mount dies.  What the commands say is of no matter: they may be cut off at any moment."""
    for k in range(1000000):
        if not os.path.ismount(os.path.dirname(base)):
            return
        subprocess.run([ckptfs, "recompress" if k % 3 == 2 else "gc", os.path.dirname(base)], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def work(base, manifest, seed, ckptfs=None):
    log = os.open(os.path.join(manifest, "log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def worker(n):
        rnd = random.Random(seed * 100 + n)
        known = {}  # name -> ("f", seed, size) of what was acknowledged

        def note(*words):
            os.write(log, (" ".join(str(w) for w in words) + "\n").encode())

        def step(k):
            op = rnd.choices(["new", "replace", "rename", "unlink", "append", "over", "fsync", "torch"],
                             [4, 4, 3, 2, 3, 2, 2, 2])[0]
            name = "w%d-%d" % (n, rnd.randrange(12))
            path = os.path.join(base, name)
            tag = "%d.%d.%d" % (seed, n, k)
            s, size = rnd.randrange(1 << 30), rnd.choice(SIZES)
            have = known.get(name)
            if op in ("new", "replace", "fsync") or not have:
                note("+", tag, "put", name, s, size)
                put(path, content(s, size), op == "fsync")
                note("=", tag)
                known[name] = (s, size)
            elif op == "torch":
                note("+", tag, "put", name, s, size)
                with open(path + ".tmp", "wb", buffering=0) as f:
                    f.write(content(s, size))
                os.rename(path + ".tmp", path)
                note("=", tag)
                known[name] = (s, size)
            elif op == "rename":
                other = "w%d-%d" % (n, rnd.randrange(12))
                if other == name:
                    return
                note("+", tag, "mv", name, other)
                os.rename(path, os.path.join(base, other))
                note("=", tag)
                known[other] = known.pop(name)
            elif op == "unlink":
                note("+", tag, "rm", name)
                os.unlink(path)
                note("=", tag)
                del known[name]
            elif op == "append" and len(have) == 2:
                note("+", tag, "add", name, s, 777)
                with open(path, "ab", buffering=0) as f:
                    f.write(content(s, 777))
                note("=", tag)
                known[name] = (s, -1)
            elif op == "over" and have[1] > 10000:
                off = rnd.randrange(have[1] - 5000)
                note("+", tag, "over", name, s, 3000, off)
                with open(path, "r+b", buffering=0) as f:
                    f.seek(off)
                    f.write(content(s, 3000))
                note("=", tag)

        def step_small(k):
            name = rnd.choice(names_of(n))
            tag = "%d.%d.%d" % (seed, n, k)
            if name in known and rnd.random() < 0.4:
                note("+", tag, "rm", name)
                os.unlink(os.path.join(base, name))
                del known[name]
            else:
                s = rnd.randrange(1 << 30)
                note("+", tag, "small", name, s)
                put(os.path.join(base, name), small(s), rnd.random() < 0.05)
                known[name] = (s,)
            note("=", tag)

        def step_train(k):
            name = names_of(n)[k % 4]
            tag = "%d.%d.%d" % (seed, n, k)
            note("+", tag, "ckpt", name, seed, k)
            put(os.path.join(base, name), checkpoint(seed, k))
            note("=", tag)

        try:
            for k in range(1000000):
                {SMALL: step_small, TRAIN: step_train}.get(n, step)(k)
        except OSError as e:
            gone = e.errno == errno.ENOENT and not os.path.exists(base)  # unmounted by now
            if e.errno not in (errno.ENOTCONN, errno.ECONNABORTED) and not gone:
                raise
            note("!", "%d.%d" % (seed, n))
            raise Gone(e)

    # A round begins with what the last one left, whatever that was.
    for name in os.listdir(base):
        os.unlink(os.path.join(base, name))
    os.close(os.open(os.path.join(base, "synced"), os.O_CREAT | os.O_WRONLY))
    fd = os.open(base, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    os.truncate(log, 0)

    children = []
    for n in range(TRAIN + 1):
        pid = os.fork()
        if pid == 0:
            try:
                worker(n)
            except Gone:
                os._exit(7)
            except BaseException:
                import traceback
                traceback.print_exc()
            os._exit(1)
        children.append(pid)
    house = os.fork() if ckptfs else None
    if house == 0:
        keep_house(ckptfs, base)
        os._exit(0)
    bad = [s for s in (os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in children) if s != 7]
    if house:
        os.waitpid(house, 0)
    print("workers ended with %s" % bad if bad else "lost the mount")


def check(base, manifest):
    with open(os.path.join(manifest, "log")) as f:
        lines = f.read().split("\n")[:-1]

    # Replay. Each worker's operations are in order, its files its own.
    by_worker = {}
    for line in lines:
        w = line.split()
        if w[0] == "!":
            continue
        worker = w[1].split(".")[1]
        by_worker.setdefault(worker, []).append(w)

    acknowledged = 0
    for worker, ops in by_worker.items():
        now = {}      # name -> what made its content, after everything that was acknowledged
        loose = []    # earlier states that a crash may bring back: removals not yet followed by a promise

        for i, w in enumerate(ops):
            if w[0] != "+":
                continue
            done = i + 1 < len(ops) and ops[i + 1][0] == "="
            acknowledged += done
            kind, name = w[2], w[3]
            before = dict(now)
            if kind in MAKERS:
                now[name] = (tuple(w[2:]),)
            elif kind == "mv":
                now[w[4]] = now.pop(name)
            elif kind == "rm":
                now.pop(name)
            else:
                now[name] += (tuple(w[2:]),)
            if done and kind != "rm":
                loose = []           # a close or a rename commits what came before it
            elif done:
                loose.append(before)
            if not done:
                loose.append(before)
        allowed = [{name: made(ops) for name, ops in state.items()} for state in [now] + loose]
        names = names_of(int(worker))
        got = {}
        for name in names:
            try:
                with open(os.path.join(base, name), "rb") as f:
                    got[name] = f.read()
            except FileNotFoundError:
                pass
        if got not in allowed:
            for name in sorted(names):
                ok = [a.get(name) for a in allowed]
                if got.get(name) not in ok:
                    g = got.get(name)
                    print("%s: %s, expected %s" % (name, show(g), " or ".join(sorted({show(x) for x in ok}))))
                    if g is not None and ok[0] is not None:
                        print("  first difference at %s" % next(
                            (i for i, (x, y) in enumerate(zip(g, ok[0])) if x != y), min(len(g), len(ok[0]))))
            print("worker %s: the state is none that a crash may leave; its last lines:" % worker)
            for w in ops[-8:]:
                print("  " + " ".join(w))
            return 1
    print("%d acknowledged operations" % acknowledged)
    return 0 if acknowledged else 1


def show(data):
    return "nothing" if data is None else "%d bytes (crc %08x)" % (len(data), zlib.crc32(data))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1] == "work":
        work(sys.argv[2], sys.argv[3], int(sys.argv[4]), *sys.argv[5:])
    else:
        sys.exit(check(sys.argv[2], sys.argv[3]))
