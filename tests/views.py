#!/usr/bin/env python3
"""views.py: what 66-views.sh needs of a program: files as torch.save writes them, made without torch, and readers that try
what a shell can't.

    views.py make DIR              a directory of checkpoints
    views.py model FILE EPOCH      one of them
    views.py ranges FILE           reads at many offsets, and through a mapping, against the whole
    views.py held VIEW FILE NEW    opens VIEW, has FILE replaced by NEW, reads on; then VIEW must show the new file
    views.py writing VIEW FILE     writes to FILE without closing it: VIEW shows what was before
    views.py hostile DIR           files that lie
"""
import io
import json
import mmap
import os
import pickle
import random
import struct
import sys
import types
import zipfile


def fake_torch():
    """Modules that pickle can name. Nothing of torch is run, here as little as in ckptfs."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    class FloatStorage:
        pass

    def _rebuild_tensor_v2(*args):
        return args

    FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    torch.FloatStorage, utils._rebuild_tensor_v2, torch._utils = FloatStorage, _rebuild_tensor_v2, utils
    sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
    return torch


torch = fake_torch()


class Storage:
    def __init__(self, key, count):
        self.key, self.count = key, count


class Tensor:
    def __init__(self, storage, shape):
        self.storage, self.shape = storage, shape

    def __reduce__(self):
        stride, n = [], 1
        for d in reversed(self.shape):
            stride.insert(0, n)
            n *= d
        return torch._utils._rebuild_tensor_v2, (self.storage, 0, tuple(self.shape), tuple(stride), False, {})


class Pickler(pickle.Pickler):
    device = "cuda:0"

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return "storage", torch.FloatStorage, obj.key, self.device, obj.count
        return None


def save(path, obj, records):
    p = io.BytesIO()
    Pickler(p, 2).dump(obj)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr("m/data.pkl", p.getvalue())
        z.writestr("m/byteorder", "little")
        for key, data in records.items():
            z.writestr("m/data/" + key, data)
        z.writestr("m/version", "3\n")


def model(path, epoch, n=100000):
    epoch = int(epoch)
    rnd = random.Random(epoch)
    data = {"0": rnd.randbytes(n * 4), "1": rnd.randbytes(40)}
    obj = {"model": {"layer.weight": Tensor(Storage("0", n), (n // 100, 100)), "layer.bias": Tensor(Storage("1", 10), (10,))},
           "epoch": epoch, "lr": 0.5, "name": "a run"}
    save(path, obj, data)


def make(top):
    for epoch in 1, 2, 3:
        d = f"{top}/run/{epoch}"
        os.makedirs(d)
        model(f"{d}/model.pt", epoch)
        with open(f"{d}/metrics.json", "w") as f:
            json.dump({"acc": epoch / 10}, f)
    os.symlink("3", f"{top}/run/last")
    os.mkdir(f"{top}/run/links")
    os.symlink("../3/model.pt", f"{top}/run/links/link.pt")
    open(f"{top}/run/links/empty.pt", "w").close()


def ranges(path):
    whole = open(path, "rb").read()
    assert len(whole) == os.stat(path).st_size, (len(whole), os.stat(path).st_size)
    rnd = random.Random(1)
    fd = os.open(path, os.O_RDONLY)
    with mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ) as m:
        for _ in range(300):
            off = rnd.randrange(len(whole) + 100)
            n = rnd.choice((1, 7, 4096, 70000))
            assert os.pread(fd, n, off) == whole[off:off + n], off
            assert m[off:off + n] == whole[off:off + n], off
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buf = mmap.mmap(-1, 1 << 16)
    for off in range(0, len(whole), 3 << 16):
        n = os.preadv(direct, [buf], off)
        assert buf[:n] == whole[off:off + n], off


def held(view, path, new):
    before = open(view, "rb").read()
    fd = os.open(view, os.O_RDONLY)
    assert os.read(fd, 1000) == before[:1000]
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    with open(new, "rb") as src, open(path + ".tmp", "wb") as dst:
        dst.write(src.read())
    os.rename(path + ".tmp", path)
    assert os.stat(view).st_ino != os.fstat(fd).st_ino
    assert os.fstat(fd).st_size == len(before)
    rest = b""
    while len(b := os.read(fd, 1 << 16)):
        rest += b
    assert before[1000:] == rest
    now = open(view, "rb").read()
    assert now != before and len(now) == os.stat(view).st_size


def writing(view, path):
    before, old = open(view, "rb").read(), open(path, "rb").read()
    with open(path, "wb") as f:
        f.write(old[:len(old) // 2])
        f.flush()
        assert open(view, "rb").read() == before
        f.write(old[len(old) // 2:] )
        f.flush()
        assert open(view, "rb").read() == before
    assert open(view, "rb").read() == before  # equal bytes, another version


class Evil:
    def __reduce__(self):
        return os.system, ("touch %s" % os.environ["VIEWS_EXECUTED"],)


def hostile(top):
    os.mkdir(top)
    model(f"{top}/good.pt", 1, 1000)
    good = open(f"{top}/good.pt", "rb").read()

    def put(name, data):
        with open(f"{top}/{name}", "wb") as f:
            f.write(data)

    put("cut.pt", good[:len(good) // 2])
    put("tail.pt", good[:-30])
    put("offset.pt", good.replace(struct.pack("<H", 0x4b50) + b"\1\2", b"PK\1\3"))
    put("bomb.pkl", b"\x80\2" + b"(" * 3000000 + b".")
    put("deep.pkl", b"\x80\2" + b"]" * 2000000 + b"a" * 1999999 + b".")
    put("count.pkl", b"\x80\4\x8e" + struct.pack("<Q", 1 << 60) + b"x.")
    put("header.safetensors", struct.pack("<Q", 90000) + b"{" * 100000)
    put("size.npy", b"\x93NUMPY\1\0" + struct.pack("<H", 60) + b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999,)}")
    save(f"{top}/long.pt", {"w": Tensor(Storage("0", 1 << 40), (1 << 20, 1 << 20))}, {"0": b"abcd"})
    save(f"{top}/runs_nothing.pt", {"x": Evil()}, {})


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
