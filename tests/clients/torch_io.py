"""torch.save and torch.load in every form, on a directory DIR (argument).  torch 1.13 and 2.x."""
import io
import os
import sys
from collections import OrderedDict

import torch

DIR = sys.argv[1]
NEW = tuple(int(x) for x in torch.__version__.split("+")[0].split(".")[:2] if x.isdigit()) >= (2, 1)


def at(name):
    return os.path.join(DIR, name)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride() and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b


def make(seed):
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(2000, 300, generator=g)
    return OrderedDict([
        ("weights", torch.randn(1000, 1000, generator=g)),
        ("half", torch.randn(500, 500, generator=g).half()),
        ("bf16", torch.randn(100, 7, generator=g).bfloat16()),
        ("ints", torch.randint(-5, 5, (333,), generator=g)),
        ("bools", torch.rand(77, generator=g) > 0.5),
        ("view", base[10:20, ::3]), ("base", base), ("transposed", base.t()),
        ("scalar", torch.tensor(3.5)), ("empty", torch.empty(0, 4)),
        ("nested", {"step": 7, "lr": 1e-3, "betas": (0.9, 0.999), "name": "adam", "none": None}),
        ("rng", torch.get_rng_state()),
    ])


def load(path, **kw):
    return torch.load(path, **kw)


c = make(1)
plain = io.BytesIO()
torch.save(c, plain)

# To a path, to a file object, legacy; each read back plainly and from a file object.
torch.save(c, at("path.pth"))
with open(at("object.pth"), "wb") as f:
    torch.save(c, f)
torch.save(c, at("legacy.pth"), _use_new_zipfile_serialization=False)
with open(at("legacy-object.pth"), "wb") as f:
    torch.save(c, f, _use_new_zipfile_serialization=False)
for name in ("path.pth", "object.pth", "legacy.pth", "legacy-object.pth"):
    assert same(load(at(name)), c), name
    with open(at(name), "rb") as f:
        assert same(load(f), c), name
    if NEW:
        assert same(load(at(name), map_location="cpu", weights_only=True), c), name + " weights_only"
tensors = OrderedDict((k, v) for k, v in c.items() if isinstance(v, torch.Tensor))  # 1.13 allows no floats there
torch.save(tensors, at("weights.pth"))
assert same(load(at("weights.pth"), weights_only=True), tensors), "weights_only"
with open(at("object.pth"), "rb") as f:
    raw = f.read()
assert len(raw) > 4000000 and raw[:2] == b"PK" and raw[-22:-18] == b"PK\5\6", "the bytes of the file"
if NEW:
    for name in ("path.pth", "object.pth"):
        mapped = load(at(name), mmap=True)
        assert same(mapped, c), name + " mmap"
        mapped["weights"].add_(1)  # private: the file must not change
        del mapped
        assert same(load(at(name)), c), name + " changed through a private mapping"

# The bytes are those that a local directory gets.
torch.save(c, at("again.pth"))
local = os.path.join(os.environ["TMPDIR"], "again.pth")
torch.save(c, local)
with open(local, "rb") as a, open(at("again.pth"), "rb") as b:
    assert a.read() == b.read(), "bytes differ from those in a local directory"
os.unlink(local)

# Replacing, many times; two tensors appended to one file object.
for k in range(10):
    torch.save(make(k), at("replaced.pth"))
    assert same(load(at("replaced.pth")), make(k)), k
with open(at("two.pth"), "wb") as f:
    torch.save(c["weights"], f, _use_new_zipfile_serialization=False)
    torch.save(c["half"], f, _use_new_zipfile_serialization=False)
with open(at("two.pth"), "rb") as f:
    assert torch.equal(torch.load(f), c["weights"]) and torch.equal(torch.load(f), c["half"])

# A storage mapped from a file, shared and written.
t = torch.arange(100000, dtype=torch.float32)
with open(at("storage.bin"), "wb") as f:
    f.write(bytes(t.numel() * 4))
s = torch.from_file(at("storage.bin"), shared=True, size=100000, dtype=torch.float32)
s.copy_(t * 2)
del s
assert torch.equal(torch.from_file(at("storage.bin"), size=100000, dtype=torch.float32), t * 2), "from_file"

# TorchScript
m = torch.jit.script(torch.nn.Linear(30, 20))
m.save(at("script.pt"))
x = torch.randn(2, 30)
assert torch.equal(torch.jit.load(at("script.pt"))(x), m(x)), "TorchScript"
print("torch", torch.__version__)
