"""Files with every kind of tensor and container that torch writes, for views.py.

SAMPLES is a list of (name, function that makes the object, options).  Tensors whose attribute `on` is set are saved as
being on that device: torch asks location_tag() for it, which is replaced here; no accelerator is needed.
"""
import argparse
import collections
import datetime
import random

import numpy as np
import torch
from torch import nn

VERSION = tuple(int(x) for x in torch.__version__.split("+")[0].split(".")[:2])
NEW = VERSION >= (2, 1)

_tag = torch.serialization.location_tag
_on = {}  # data_ptr of a storage -> device


def on(device, *tensors):
    """Says that the storages of these tensors are on a device; the first of them is returned."""
    for t in tensors:
        _on[storage_of(t).data_ptr()] = (device, t)  # kept alive: an address is not used again
    return tensors[0]


def storage_of(t):
    return t.untyped_storage() if hasattr(t, "untyped_storage") else t.storage()


def location_tag(storage):
    return _on[storage.data_ptr()][0] if storage.data_ptr() in _on else _tag(storage)


torch.serialization.location_tag = location_tag


def floats(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def odd_floats(dtype):
    """Numbers at which conversions differ: ties, subnormals, the ends of ranges, nan."""
    bits = torch.arange(0, 1 << 16, dtype=torch.int32)
    if dtype in (torch.float16, torch.bfloat16):
        return bits.to(torch.int16).view(dtype)
    g = torch.Generator().manual_seed(7)
    if dtype == torch.float32:
        low = torch.randint(0, 1 << 16, (1 << 16,), generator=g, dtype=torch.int32)
        for i, v in enumerate((0x7FFF, 0x8000, 0x8001, 0xFFFF, 0, 0x1000, 0x0FFF, 0x1001, 0x3000)):
            low[i::23] = v
        return ((bits << 16) | low).view(torch.float32)
    wide = odd_floats(torch.float32).double()
    near = torch.randint(-3, 4, wide.shape, generator=g).double()
    return wide * (1 + near * 2.0 ** -40)


def scalars():
    return {"epoch": 3, "lr": 1e-3, "name": "adam", "none": None, "flag": True, "big": 2 ** 80, "neg": -2 ** 40,
            "tuple": (1, "two", [3.0]), "bytes": b"\0\xff", "unicode": "\u00e9\u4e2d", "inf": float("inf"),
            "complex": 1 + 2j, "set": {1, 2}, "device": "cuda:0"}


def dtypes():
    names = ["float64", "float32", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool",
             "complex64", "complex128"]
    out = collections.OrderedDict()
    for n in names:
        d = getattr(torch, n)
        out[n] = (floats(5, 7) * 40).to(d) if not d.is_complex else torch.complex(floats(3), floats(3, seed=2)).to(d)
    return out


def new_dtypes():
    out = collections.OrderedDict()
    for n in ("uint16", "uint32", "uint64"):
        out[n] = torch.arange(6).to(getattr(torch, n))
    for n in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"):
        if hasattr(torch, n):
            out[n] = torch.arange(1, 9).to(torch.uint8).view(getattr(torch, n))
    out["complex32"] = torch.complex(floats(3), floats(3)).to(torch.complex32)
    out["f32"] = floats(4, 4)
    return out


def views():
    base = floats(20, 30)
    wide = floats(6, 8, 5)
    return {"base": base, "slice": base[3:9, ::2], "t": base.t(), "row": base[4], "col": base[:, 5],
            "expand": floats(4, 1).expand(4, 1000), "zero": torch.tensor(2.5).expand(3, 3),
            "permuted": wide.permute(2, 0, 1), "strided": torch.as_strided(base, (5, 5), (7, 3), 2),
            "overlap": torch.as_strided(base, (10, 4), (1, 1)), "last": base.view(-1)[-1:], "scalar": base[0, 0],
            "empty": base[:0], "emptier": torch.empty(0, 3), "half": base.half().t()}


def shared():
    w = floats(50, 8)
    same = floats(9)
    return {"encoder": w, "decoder": w.view(50, 8), "again": w, "flat": w.view(-1), "list": [same, same, (same,)]}


def model():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(30, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 4))


def trained(device=None, capturable=False):
    m = model()
    opt = torch.optim.Adam(m.parameters(), lr=1e-3)
    for _ in range(2):
        m(floats(16, 30)).sum().backward()
        opt.step()
    if device:
        on(device, *m.state_dict().values(), *(t for s in opt.state.values() for k, t in s.items()
                                               if k != "step" or capturable))
    if capturable:
        for g in opt.param_groups:
            g["capturable"] = True
    return m, opt


def training(device=None, capturable=False):
    m, opt = trained(device, capturable)
    out = {"model": m.state_dict(), "optimizer": opt.state_dict(), "epoch": 2, "args": {"device": "cuda:0", "cpu": "cpu"},
           "where": torch.device(device or "cpu"),
           "buffer": {"examples": torch.arange(60, dtype=torch.uint8).view(5, 12), "logits": floats(5, 4)},
           "rng": {"torch": torch.get_rng_state(), "cuda": [torch.arange(16, dtype=torch.uint8)],
                   "numpy": np.random.RandomState(1).get_state(), "python": random.Random(1).getstate()}}
    return out


def mixed():
    """Saved by a run on two devices."""
    return {"a": on("cuda:0", floats(8, 8)), "b": on("cuda:3", floats(8)), "c": floats(4), "dev": torch.device("cuda", 3),
            "cpu": torch.device("cpu"), "config": {"device": "cuda:0"}}


def other_devices():
    return {"mps": on("mps", floats(3)), "xpu": on("xpu:1", floats(5)), "cpu": floats(2)}


def parameters():
    p = nn.Parameter(floats(4, 5))
    frozen = nn.Parameter(floats(3), requires_grad=False)
    marked = nn.Parameter(floats(2))
    marked.note = "kept"
    plain = floats(6)
    plain.requires_grad_(True)
    tagged = floats(7)
    tagged.meaning = {"a": 1}
    return {"p": p, "frozen": frozen, "marked": marked, "plain": plain, "tagged": tagged}


def conjugated():
    z = torch.complex(floats(4, 3), floats(4, 3, seed=2))
    return {"z": z, "conj": z.conj(), "imag": torch.complex(floats(5), floats(5, seed=3)).conj().imag,
            "both": torch.complex(floats(2, 2), floats(2, 2)).conj().t()}


def quantized():
    x = floats(6, 4)
    return {"tensor": torch.quantize_per_tensor(x, 0.1, 3, torch.quint8),
            "signed": torch.quantize_per_tensor(x, 0.05, 0, torch.qint8),
            "wide": torch.quantize_per_tensor(x, 0.001, 0, torch.qint32),
            "channel": torch.quantize_per_channel(x, torch.rand(6, dtype=torch.float64) + 0.1,
                                                  torch.zeros(6, dtype=torch.int64), 0, torch.qint8), "x": x}


def sparse():
    return {"coo": floats(6, 5).relu().to_sparse(), "csr": floats(6, 5).relu().to_sparse_csr(), "plain": floats(3)}


def more_sparse():
    x = floats(8, 8).relu()
    return {"csc": x.to_sparse_csc(), "bsr": x.to_sparse_bsr((2, 2)), "bsc": x.to_sparse_bsc((2, 2))}


def meta():
    return {"meta": torch.empty(3, 4, device="meta"), "real": floats(2, 2)}


def containers():
    loop = [1, floats(2)]
    loop.append(loop)
    dd = collections.defaultdict(list)
    dd["k"].append(floats(3))
    deep = floats(1)
    for _ in range(40):
        deep = {"n": deep}
    return {"loop": loop, "dd": dd, "od": collections.OrderedDict(a=floats(2)), "deque": collections.deque([floats(2), 1]),
            "counter": collections.Counter("aab"), "ns": argparse.Namespace(lr=0.1, device="cpu", t=floats(2)),
            "date": datetime.date(2020, 1, 2), "frozen": frozenset([1]), "size": torch.Size([1, 2]), "dtype": torch.float32,
            "deep": deep, 5: floats(2), (1, 2): floats(1), "a.b": floats(1), "a": {"b": floats(2)}, "": floats(3),
            "sl/ash": floats(1), 'qu"ote\n': floats(1), "np": np.arange(6.0).reshape(2, 3), "npf": np.float32(2.5)}


def storages():
    t = floats(6)
    s = t.storage() if not NEW else torch.storage.TypedStorage(wrap_storage=t.untyped_storage(), dtype=t.dtype, _internal=True)
    return {"storage": s, "tensor": t}


def nested():
    return {"n": torch.nested.nested_tensor([floats(2, 3), floats(4, 3)]), "t": floats(2)}


def generator():
    g = torch.Generator()
    g.manual_seed(5)
    return {"g": g, "t": floats(3), "dev": torch.device("cpu")}


def many():
    return collections.OrderedDict(("layer.%d.weight" % i, floats(3, i % 7 + 1, seed=i)) for i in range(600))


def numbers():
    return {"f64": odd_floats(torch.float64), "f32": odd_floats(torch.float32), "f16": odd_floats(torch.float16),
            "bf16": odd_floats(torch.bfloat16)}


class Script(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(5, 6)
        self.register_buffer("count", torch.arange(3))

    def forward(self, x):
        return self.lin(x) * 2


SAMPLES = [
    ("scalars", scalars, {}), ("dtypes", dtypes, {}), ("views", views, {}), ("shared", shared, {}),
    ("state_dict", lambda: model().state_dict(), {}), ("training_cpu", training, {}),
    ("training_cuda", lambda: training("cuda:0"), {}), ("capturable", lambda: training(capturable=True), {}),
    ("mixed", mixed, {}), ("other_devices", other_devices, {}), ("parameters", parameters, {}),
    ("conjugated", conjugated, {}), ("quantized", quantized, {}), ("sparse", sparse, {}),
    ("containers", containers, {}), ("storages", storages, {}), ("many", many, {}), ("numbers", numbers, {}),
    ("tensor", lambda: floats(11, 3), {}), ("cuda_tensor", lambda: on("cuda:1", floats(11, 3)), {}),
    ("module", model, {}), ("optimizer", lambda: trained()[1], {}), ("empty", dict, {}), ("none", lambda: None, {}),
]
if NEW:
    SAMPLES += [("new_dtypes", new_dtypes, {"zip": True}), ("meta", meta, {"zip": True}), ("nested", nested, {"zip": True}),
                ("generator", generator, {"zip": True}), ("more_sparse", more_sparse, {})]
