#!/usr/bin/env python3
"""hostile.py make DIR | ask MOUNT DIR: files made to hurt who opens them, and what the views of a mount do with them.

make: writes them below DIR, with the standard library alone; what some would execute touches $HOSTILE_EXECUTED.  Names tell what must happen: bad-* can't be shown by any view of a
file, good-* can, the others may be either.

ask: reads each through every view while others use the mount.  The only answers are bytes and EIO; a view of any size costs no more
than what is read of it.  TAP.
"""
import errno
import os
import pickle
import struct
import sys
import threading
import time
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "fuzz"))
from seeds import (Call, DATA, Global, ORDERED, REBUILD, Storage, checkpoint, dumps, legacy, npy, npz, safetensors,  # noqa: E402
                   tensor, torch_zip)

VIEWS = "@cpu", "@cuda:1", "@bf16", "@cpu+fp16", "@summary", "@json", "@safetensors", "@tree"
READ = 1 << 20  # of each file of a view
TOUCH = "touch " + os.environ.get("HOSTILE_EXECUTED", "executed")


def put(path, *parts):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        for p in parts:
            f.write(p)


# ---- pickles -------------------------------------------------------------------------------------------------------

def pickles():
    double = b"(lp0\n" + b"".join(b"(g%d\ng%d\nlp%d\n" % (i, i, i + 1) for i in range(60)) + b"."
    yield "good-sharing.pkl", double
    yield "good-depth.pkl", b"\x80\2" + b"]" * 300000 + b"a" * 299999 + b"."
    yield "bad-marks.pkl", b"\x80\2" + b"(" * 1000000 + b"."
    yield "memo.pkl", b"\x80\2Nr\xff\xff\xff\x7f."
    yield "bad-memo-get.pkl", b"\x80\2}q\0X\1\0\0\0aj\xff\xff\xff\x7fs."
    yield "bad-long4.pkl", b"\x80\2}X\1\0\0\0a\x8b\xff\xff\xff\x7f1s."
    yield "bad-long4-negative.pkl", b"\x80\2}X\1\0\0\0a\x8b\xff\xff\xff\xff1s."
    yield "bad-text8.pkl", b"\x80\4}\x8d" + struct.pack("<Q", (1 << 63) - 1) + b"aNs."
    yield "bad-bytes8.pkl", b"\x80\4}\x8e" + b"\xff" * 8 + b"aNs."
    yield "bad-frame.pkl", b"\x80\4\x95" + b"\xff" * 8 + b"}."
    yield "appends.pkl", b"\x80\2}X\1\0\0\0a]" + b"Na" * 400000 + b"s."
    yield "equal-keys.pkl", b"\x80\2}(" + b"K\1N" * 200000 + b"u."
    yield "keys.pkl", b"\x80\2}(" + b"".join(b"X\6\0\0\0%06dN" % i for i in range(30000)) + b"u."
    yield "long-int.pkl", b"\x80\2}X\1\0\0\0a\x8b\0\0\x10\0" + b"\x7f" * (1 << 20) + b"s."
    yield "long-text-int.pkl", b"}(Va\nL" + b"9" * 1000000 + b"L\nu."
    yield "itself.pkl", b"\x80\2]q\0h\0a."
    yield "set-of-lists.pkl", b"\x80\4\x8f(]\x94h\0\x90."
    yield "cycle-by-state.pkl", b"\x80\2ca\nB\n)\x81q\0}X\1\0\0\0ah\0sb."
    yield "system.pkl", b"cos\nsystem\n(V" + TOUCH.encode() + b"\ntR."
    yield "reduce.pkl", b"\x80\2" + b"c__builtin__\neval\n(X\1\0\0\0atR" * 50000 + b"0" * 49999 + b"."
    yield "extension.pkl", b"\x80\2\x82\1."
    yield "bad-persistent.pkl", b"\x80\2}X\1\0\0\0aNQs"


# ---- tensors that lie ----------------------------------------------------------------------------------------------

def one(offset, size, stride, count=12, kind="FloatStorage", key="0", **more):
    return dict({"t": tensor(Storage(kind, key, "cuda:0", count), offset, size, stride)}, **more)


def tensors():
    yield "bad-count", one(0, (4,), (1,), 1 << 63)
    yield "bad-count-negative", one(0, (4,), (1,), -1)
    yield "bad-count-bits", one(0, (4,), (1,), 1 << 62, "DoubleStorage")
    yield "size-2^62", one(0, (1 << 62,), (1,))
    yield "size-product", one(0, (1 << 32, 1 << 32), (0, 0))
    yield "size-negative", one(0, (-3,), (1,))
    yield "stride-negative", one(11, (12,), (-1,))
    yield "stride-2^62", one(0, (3,), (1 << 62,))
    yield "stride-too-few", one(0, (3, 4), (1,))
    yield "offset-2^63", one(1 << 63, (1,), (1,))
    yield "offset-negative", one(-1, (1,), (1,))
    yield "expanded-2^40", one(0, (1 << 40,), (0,))
    yield "expanded-2^61", one(0, (1 << 61,), (0,))
    yield "dims", one(0, (1,) * 100000, (0,) * 100000)
    yield "empty-2^63", one(0, (0, (1 << 63) - 1, (1 << 63) - 1), (0, 0, 0))
    yield "no-record", one(0, (4,), (1,), key="9")
    yield "record-up", one(0, (4,), (1,), key="../../etc/passwd")
    yield "overlap", one(0, (2, 2), (1, 1))
    w = Storage("FloatStorage", "0", "cpu", 12)
    yield "views-of-one", {"%d" % i: tensor(w, 0, (12,), (1,)) for i in range(2000)}
    yield "expanded-many", {"%d" % i: tensor(w, 0, (1 << 30, 1 << 10), (0, 0)) for i in range(2000)}
    yield "two-dtypes", {"a": tensor(w, 0, (12,), (1,)), "b": tensor(Storage("HalfStorage", "0", "cpu", 24), 0, (24,), (1,))}
    yield "system", {"run": Call(Global("os", "system"), (TOUCH,)), "t": one(0, (12,), (1,))}


def keys():
    odd = ["..", ".", "", "/", "a/../../b", "/etc/passwd", "a\nb", "\x1b[31mred\x1b]0;title\x07", "a\0b", "%", "%2f", "\u202e" + "abc",
           "\ud800", "x" * (1 << 20), "a" * 300, "a" * 299 + "b", 1, "1", (1, 2), None, True, 1.5, b"\xff\xfe", "<script>", "a,\"b\""]
    w = Storage("FloatStorage", "0", "cpu", 12)
    return {k: tensor(w, 0, (12,), (1,)) for k in odd}


# ---- zips that lie -------------------------------------------------------------------------------------------------

def central(data, name):
    """Where the directory's entry of a name begins, and its local header."""
    at = data.index(b"PK\1\2")
    while data[at:at + 4] == b"PK\1\2":
        n, extra, comment = struct.unpack_from("<HHH", data, at + 28)
        if data[at + 46:at + 46 + n].endswith(name):
            return at, struct.unpack_from("<I", data, at + 42)[0]
        at += 46 + n + extra + comment
    raise KeyError(name)


def patched(data, at, fmt, *values):
    out = bytearray(data)
    struct.pack_into(fmt, out, at, *values)
    return bytes(out)


def zips(good):
    end = good.rindex(b"PK\5\6")
    d, local = central(good, b"data/0")
    p, plocal = central(good, b"data.pkl")
    yield "bad-directory-offset", patched(good, end + 16, "<I", 0xfffffff0)
    yield "bad-directory-size", patched(good, end + 12, "<I", 0x7fffffff)
    yield "bad-entries", patched(good, end + 8, "<HH", 60000, 60000)
    yield "directory-at-0", patched(good, end + 16, "<I", 0)
    yield "record-size", patched(good, d + 20, "<II", 0x7fffffff, 0x7fffffff)
    yield "record-offset", patched(good, d + 42, "<I", 0x7ffffff0)
    yield "record-elsewhere", patched(good, d + 42, "<I", plocal)
    yield "record-deflated", patched(good, d + 10, "<H", 8)
    yield "local-name", patched(good, local + 26, "<HH", 65535, 65535)
    yield "local-sizes", patched(good, local + 18, "<II", 0xffffffff, 0xffffffff)
    yield "bad-pickle-size", patched(good, p + 20, "<II", 0x7fffffff, 0x7fffffff)
    yield "bad-pickle-zip64", patched(good, p + 20, "<II", 0xffffffff, 0xffffffff)
    zip64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 62, 1 << 62, 1 << 63, 1 << 63)
    zip64 += struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    tail = patched(good[end:], 8, "<HHII", 0xffff, 0xffff, 0xffffffff, 0xffffffff)
    yield "bad-zip64", good[:end] + zip64 + tail
    yield "bad-zip64-elsewhere", good[:end] + patched(zip64, 56 + 8, "<Q", 1 << 63) + tail
    yield "names", torch_zip(one(0, (12,), (1,)), dict(DATA, **{"../../x": b"1", "/abs": b"2", "a\x1b[2J\n": b"3", "": b"4"}))
    yield "same-name", torch_zip(one(0, (12,), (1,)), DATA, extra=[("data/0", bytes(48)), ("data.pkl", b"\x80\2N.")])


def members(n):
    """An .npz of n members that are one: a directory that names the same local header again and again."""
    body = npy("<f4", "(1,)", bytes(4))
    local = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 0, 0, 33, 0, len(body), len(body), 5, 0) + b"a.npy" + body
    entries = b"".join(struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, len(body), len(body), 10, 0, 0, 0, 0, 0,
                                   0) + b"%06d.npy" % i for i in range(n))
    end = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, n, n, len(entries), len(local))
    end += struct.pack("<4sIQI", b"PK\6\7", 0, len(local) + len(entries), 1)
    end += struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xffff, 0xffff, 0xffffffff, 0xffffffff, 0)
    return local, entries, end


# ---- the rest ------------------------------------------------------------------------------------------------------

def heads():
    yield "length.safetensors", struct.pack("<Q", 1 << 63) + b"{}"
    yield "bad-offsets.safetensors", safetensors({}).replace(b"{}", b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,18446744073709551615]}}')
    yield "spaces.safetensors", struct.pack("<Q", 40 << 20) + b"{}".ljust(40 << 20)
    text = b'{"a":{"dtype":"F32","shape":[4611686018427387904,4,0],"data_offsets":[0,0]}}'
    yield "product.safetensors", struct.pack("<Q", len(text)) + text
    text = b'{"a":' + b"[" * 100000
    yield "bad-depth.safetensors", struct.pack("<Q", len(text)) + text
    many = {"t%05d" % i: ("U8", [1], b"x") for i in range(20000)}
    yield "good-many.safetensors", safetensors(many)
    yield "good-names.safetensors", safetensors({k: ("U8", [1], b"x") for k in ("..", "/", "a/../b", "a\x1b[2J", "x" * 100000)})
    yield "shape.npy", npy("<f4", "(1099511627776, 1099511627776)", b"")
    yield "dims.npy", npy("<f4", "(%s)" % ("1," * 10000), bytes(4), major=2)
    yield "short.npy", npy("<f4", "(1000000000,)", b"1234")
    yield "object.npy", npy("|O", "(1,)", b"cos\nsystem\n(V" + TOUCH.encode() + b"\ntR.")
    deep = "(" * 100000
    yield "nested.npy", npy("<f4", deep, b"", major=2)


def make(top):
    good = torch_zip(checkpoint(), DATA)
    put(top + "/good.pt", torch_zip(one(0, (12,), (1,)), DATA))
    for name, data in pickles():
        put(top + "/" + name, data)
    for name, value in tensors():
        put("%s/%s.pt" % (top, name), torch_zip(value, DATA))
        put("%s/legacy-%s.pt" % (top, name), legacy(value, {"0": DATA["0"]}))
    put(top + "/good-keys.pt", torch_zip(keys(), DATA))
    for name, data in zips(good):
        put("%s/%s.pt" % (top, name), data)
    for name, data in heads():
        put(top + "/" + name, data)
    put(top + "/good-members.npz", *members(50000))
    put(top + "/overlap.npz", *members(10))
    put(top + "/good-many.distcp", *[torch_zip(one(0, (12,), (1,)), {"0": DATA["0"]})] * 3000)
    put(top + "/distcp-cut.distcp", *[torch_zip(one(0, (12,), (1,)), DATA)] * 300, good[:len(good) // 2])
    whole = {"zip.pt": good, "legacy.pt": legacy(checkpoint(), DATA), "npz.npz": npz({"a": npy("<f4", "(3,)", bytes(12))}),
             "safe.safetensors": safetensors({"a": ("F32", [4], bytes(16)), "b": ("I64", [2], bytes(16))}),
             "distcp.distcp": good + good, "pickle.pkl": dumps(checkpoint())}
    for name, data in whole.items():
        for i in range(12):
            put("%s/cut/%d-%s" % (top, i, name), data[:len(data) * i // 12 + (i == 11) * (len(data) // 12 - 1)])
    # as a run: names that @runs looks at
    put(top + "/run/epoch-1.pth", torch_zip({"epoch": (1 << 63) - 1, "model": one(0, (1 << 40,), (0,))["t"], "val_acc": [0.5] * 1000}, DATA))
    put(top + "/run/epoch-2.pth", good[:1000])
    put(top + "/run/epoch-99999999999999999999.pth", good)
    put(top + "/run/checkpoint-5/trainer_state.json", b'{"log_history":[' + b"[" * 100000)
    put(top + "/run/checkpoint-6/trainer_state.json", b'{"best_model_checkpoint":"../../../x","log_history":[' + b",".join(
        b'{"step":%d,"m%d":1}' % (i, i % 4096) for i in range(50000)) + b"]}")
    put(top + "/run/metrics.csv", b"step," + b",".join(b"c%d" % i for i in range(1000)) + b"\n" + b"1,2\n" * 100000)


# ---- asking --------------------------------------------------------------------------------------------------------

class Others(threading.Thread):
    """Somebody else, who reads a good file all the while."""

    def __init__(self, mount, top):
        super().__init__(daemon=True)
        self.paths = ["%s/%s/good.pt" % (mount, top), "%s/@json/%s/good.pt" % (mount, top)]
        self.over, self.worst, self.n = False, 0, 0

    def run(self):
        while not self.over:
            begin = time.monotonic()
            for p in self.paths:
                assert len(open(p, "rb").read()) > 0
                os.stat(p)
            self.worst = max(self.worst, time.monotonic() - begin)
            self.n += 1
            time.sleep(0.01)


def read_some(path):
    """Its beginning, its end, and a piece of the middle."""
    fd = os.open(path, os.O_RDONLY)
    try:
        size, n = os.fstat(fd).st_size, 0
        for off in {0, size // 2, max(size - 4096, 0)}:
            n += len(os.pread(fd, READ if off == 0 else 4096, off))
        assert n > 0 or size == 0, size
    finally:
        os.close(fd)


def walk(path, budget=150):
    """A tree, in breadth."""
    queue, n = [path], 0
    while queue and n < budget:
        p = queue.pop(0)
        n += 1
        if os.path.islink(p):
            assert ".." in os.readlink(p) or "/" not in os.readlink(p)
        elif os.path.isdir(p):
            queue += [p + "/" + e for e in os.listdir(p)[:budget]]
        else:
            read_some(p)


def ask(mount, top):
    number, failed = 0, 0
    others = Others(mount, top)
    others.start()
    names = sorted(os.path.join(d, f)[len(mount) + len(top) + 2:] for d, _, files in os.walk("%s/%s" % (mount, top)) for f in files)
    slowest = (0, "")
    for name in names:
        wrong = []
        raw = "%s/%s/%s" % (mount, top, name)
        if len(open(raw, "rb").read()) != os.stat(raw).st_size:
            wrong.append("itself is not served")
        for view in VIEWS:
            path = "%s/%s/%s/%s" % (mount, view, top, name)
            begin = time.monotonic()
            answer = "bytes"
            try:
                if view == "@safetensors" and not os.path.exists(path + ".safetensors"):
                    os.stat(path)
                walk(path + ".safetensors" if view == "@safetensors" and os.path.exists(path + ".safetensors") else path)
            except OSError as e:
                answer = errno.errorcode[e.errno]
            took = time.monotonic() - begin
            slowest = max(slowest, (took, view + "/" + name))
            if "-v" in sys.argv:
                print("# %6.2f s %-12s %s %s" % (took, view, name, answer), flush=True)
            last = os.path.basename(name)
            if answer not in ("bytes", "EIO") or last.startswith("bad-") and answer != "EIO" or \
                    last.startswith("good") and view in ("@summary", "@json", "@tree") and answer != "bytes":
                wrong.append("%s: %s" % (view, answer))
        number += 1
        failed += bool(wrong)
        print("%sok %d - %s%s" % ("not " if wrong else "", number, name, "".join("\n# " + w for w in wrong)), flush=True)
    runs = 0
    for d, dirs, files in os.walk(mount + "/@runs/" + top):
        for f in files:
            try:
                read_some(os.path.join(d, f))
                runs += 1
            except OSError as e:
                if e.errno not in (errno.EIO, errno.EFBIG):
                    failed += 1
                    print("not ok %d - @runs: %s: %s" % (number + 1, f, e))
    print("ok %d - @runs of them: %d files" % (number + 1, runs))
    others.over = True
    others.join(60)
    good = others.n > 0 and not others.is_alive()
    print("%sok %d - others are served meanwhile" % ("" if good else "not ", number + 2))
    print("# slowest: %.1f s %s; others: %d times, at worst %.1f s" % (slowest + (others.n, others.worst)))
    return failed > 0 or not good


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        sys.exit(ask(*[a for a in sys.argv[2:] if a != "-v"]))
