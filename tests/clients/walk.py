#!/usr/bin/env python3
"""walk.py DIR: files of torch's own, seen through @tree, @json and @summary of the mount that DIR is in.

What torch.load() says is the truth: every tensor bit for bit, every number and string, names, shapes, strides and sharing.
"""
import argparse
import collections
import json
import math
import os
import random
import re
import subprocess
import sys
import unicodedata

import numpy as np
import torch

DIR = os.path.abspath(sys.argv[1])
ROOT, SUB = os.path.split(DIR)
NEW = not torch.__version__.startswith("1.")
NAMES = ["float64", "float32", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool", "complex64", "complex128"]
if NEW:
    NAMES += ["uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]
checks = 0


def equal(what, got, want):
    global checks
    checks += 1
    if got != want and not (isinstance(got, float) and math.isnan(got) and math.isnan(want)):
        raise SystemExit("%s\n  is       %r\n  expected %r" % (what, got, want))


def view(spec, name, *inside):
    return os.path.join(ROOT, spec, SUB, name, *inside)


def training():
    """A model and its optimizer after two steps."""
    net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.BatchNorm1d(7), torch.nn.Linear(7, 3))
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(2):
        opt.zero_grad()
        net(torch.randn(4, 5)).sum().backward()
        opt.step()
    return net, opt


def everything():
    net, opt = training()
    base, shared, loop = torch.arange(24.0).reshape(4, 6), torch.randn(3, 3), [1, 2]
    loop.append(loop)
    tensors = {n: (torch.randn(3, 4) * 3).abs().to(getattr(torch, n)) for n in NAMES}
    tensors["special"] = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 1e-45, 3.4e38])
    return {
        "model": net.state_dict(), "optimizer": opt.state_dict(), "epoch": 3, "global_step": 120, "lr": 1e-3,
        "tensors": tensors, "loss": [0.5, 1e-5, 1e22, -0.0, math.nan, math.inf, 0.1 + 0.2, 5e-324, 123456789012345680.0],
        "words": {"none": None, "yes": True, "no": False, "big": 2**200, "small": -2**70, "long": 2**63 - 1,
                  "text": "hello\n\x1b[31mred", "empty": "", "euro": "\u20ac", "bytes": b"\x00\xff12", "complex": 1 + 2j,
                  "device": torch.device("cuda", 1), "dtype": torch.float16, "size": torch.Size([2, 3])},
        "views": {"t": base.t(), "column": base[:, 1], "slice": base[1:3, ::2], "expanded": torch.ones(1).expand(5),
                  "empty": torch.zeros(0, 3), "scalar": torch.tensor(3.5), "base": base, "permuted": torch.randn(2, 3, 4).permute(2, 0, 1),
                  "conj": torch.randn(3, dtype=torch.complex64).conj(), "neg": torch.randn(3, dtype=torch.complex64).conj().imag},
        "shared": [shared, shared, {"again": shared}], "loop": loop, "parameter": torch.nn.Parameter(torch.randn(2)),
        "arrays": {"c": np.arange(6, dtype=np.int16).reshape(2, 3), "f": np.asfortranarray(np.random.rand(3, 4)),
                   "text": np.array(["ab", "c"]), "scalar": np.float32(0.1), "int": np.int64(-5), "bool": np.bool_(True),
                   "empty": np.zeros((0, 2))},
        "namespace": argparse.Namespace(lr=0.1, name="x", nested={"deep": [1, (2, {"x": torch.ones(2)})]}),
        "rng": [torch.get_rng_state(), random.getstate()], "set": {1, 2}, "deque": collections.deque([1, "a"]),
        "keys": {1: "int", "1": "text", "a/b": 1, ".": 2, "..": 3, "...": 4, "%": 5, "\x1b": 6, "": 7, "x" * 300: 8, "x" * 301: 9,
                 (1, "k"): 10, 2.5: 11, None: 12, "\u00fc": 13, "\x85": 14, "a%b": 15},
        "sparse": torch.eye(3).to_sparse(), "csr": torch.eye(3).to_sparse_csr(),
        "quantized": torch.quantize_per_tensor(torch.randn(2, 3), 0.1, 3, torch.quint8),
        "channels": torch.quantize_per_channel(torch.randn(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([1, 2]), 0, torch.qint8),
        "meta": torch.empty(2, 3, device="meta"),
    }


# ---- @tree ----


def escaped(key):
    """The name of a key, or None where it is one of those that share a name or do not fit."""
    if isinstance(key, str):
        if key == "":
            return "%"
        out = ""
        for i, c in enumerate(key):
            odd = c in "/%" or unicodedata.category(c) in ("Cc", "Cs") or (i == 0 and key in (".", ".."))
            out += "".join("%%%02X" % b for b in c.encode()) if odd else c
        return out if len(out.encode()) <= 230 else None
    return repr(key)


def raw(tensor):
    """The bytes of a tensor's elements in row-major order."""
    tensor = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if tensor.numel() == 0:
        return b""
    try:
        return tensor.numpy().tobytes()
    except TypeError:
        return tensor.view({1: torch.uint8, 2: torch.int16}[tensor.element_size()]).numpy().tobytes()


def descr(dtype):
    name = str(dtype).replace("torch.", "")
    if name == "bfloat16":
        return np.dtype("V2")
    return np.dtype("V1") if name.startswith("float8") else np.dtype(name)


def read(path):
    with open(path, "rb") as f:
        data = f.read()
    equal(path + ": its size", os.stat(path).st_size, len(data))
    return data


def array(path, shape, dtype, data):
    got = np.load(path)
    equal(path + ": shape", got.shape, tuple(shape))
    equal(path + ": dtype", got.dtype, dtype)
    equal(path + ": bytes", got.tobytes(), data)
    equal(path + ": its size", len(read(path)), os.path.getsize(path))


def tensor_at(path, t):
    if t.is_quantized:
        array(path + "/values.npy", t.shape, t.int_repr().numpy().dtype, t.int_repr().numpy().tobytes())
        if t.qscheme() == torch.per_tensor_affine:
            equal(path + "/scale", read(path + "/scale"), (repr(t.q_scale()) + "\n").encode())
            equal(path + "/zero_point", read(path + "/zero_point"), b"%d\n" % t.q_zero_point())
        else:
            scales = t.q_per_channel_scales()
            array(path + "/scale.npy", scales.shape, scales.numpy().dtype, raw(scales))
            equal(path + "/axis", read(path + "/axis"), b"%d\n" % t.q_per_channel_axis())
    elif t.layout == torch.sparse_coo:
        array(path + "/indices.npy", t._indices().shape, np.dtype("int64"), raw(t._indices()))
        array(path + "/values.npy", t._values().shape, descr(t.dtype), raw(t._values()))
        equal(path + "/layout", read(path + "/layout"), b"torch.sparse_coo\n")
    elif t.layout == torch.sparse_csr:
        array(path + "/crow_indices.npy", t.crow_indices().shape, np.dtype("int64"), raw(t.crow_indices()))
        array(path + "/col_indices.npy", t.col_indices().shape, np.dtype("int64"), raw(t.col_indices()))
    elif t.device.type == "meta":
        equal(path + "/size", read(path + "/size"), ("torch.Size(%s)\n" % list(t.shape)).encode())
        equal(path + "/device", read(path + "/device"), b"meta\n")
    else:
        array(path + ".npy", t.shape, descr(t.dtype), raw(t))


def text_of(value):
    if isinstance(value, str):
        return value.encode() + b"\n"
    if isinstance(value, bytes):
        return value
    if isinstance(value, np.generic):
        value = value.item() if not isinstance(value, np.float32) else str(value)
    return (str(value) + "\n").encode()


def same_tree(path, value, seen):
    """The value at a path of a tree; a container or tensor met again may be a link to its first place."""
    if isinstance(value, torch.Tensor):
        return tensor_at(path, value)
    if isinstance(value, np.ndarray):
        return array(path + ".npy", value.shape, value.dtype, value.tobytes())
    if isinstance(value, argparse.Namespace):
        equal(path + "/%class", read(path + "/%class"), b"argparse.Namespace\n")
        value = vars(value)
    if isinstance(value, (dict, list, tuple, set, collections.deque)) and not isinstance(value, torch.Size):
        where = os.path.realpath(path)
        if id(value) in seen:
            return equal(path + ": the same place", where, seen[id(value)])
        seen[id(value)] = where
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            name = escaped(key)
            if name is not None and not (isinstance(value, dict) and isinstance(key, str) and key == "1" and 1 in value):
                same_tree(os.path.join(path, name), item, seen)
        if isinstance(value, dict):
            twins = sum(escaped(k) is None for k in value) + (1 in value and "1" in value)
            equal(path + ": names that end in a number", len([n for n in os.listdir(path) if "%~" in n]), twins)
        return None
    return equal(path, read(path), text_of(value))


def tree(name, value):
    path = view("@tree", name)
    if isinstance(value, torch.Tensor):
        equal(path, os.listdir(path), ["tensor.npy"])
        return tensor_at(path + "/tensor", value)
    same_tree(path, value, {})
    found = subprocess.run(["find", path, "-ls"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return equal(path + ": find", (found.returncode, found.stderr), (0, b""))


def converted(name, value, dtype, spec):
    for key, t in value["tensors"].items():
        want = t.to(dtype) if t.dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16) else t
        nans = torch.isnan(want) if want.dtype == dtype else None
        path = view(spec, name, "tensors", key + ".npy")
        got = np.load(path)
        equal(path + ": dtype", got.dtype, descr(want.dtype))
        if nans is None:
            equal(path, got.tobytes(), raw(want))
            continue
        width, keep = want.element_size(), (~nans).reshape(-1).numpy()
        unsigned = np.dtype("u%d" % width)
        equal(path, np.frombuffer(got.tobytes(), unsigned)[keep].tobytes(), np.frombuffer(raw(want), unsigned)[keep].tobytes())
    step = value["optimizer"]["state"][0]["step"]
    equal(spec + ": a step stays", np.load(view(spec, name, "optimizer", "state", "0", "step.npy")).tobytes(), raw(step))
    slice_ = value["views"]["slice"]
    equal(spec + ": a slice", np.load(view(spec, name, "views", "slice.npy")).tobytes(), raw(slice_.to(dtype)))


# ---- @json and @summary ----


def flat(value, path=(), seen=None):
    """(path, value) of all tensors, arrays and scalars, each container once."""
    seen = set() if seen is None else seen
    if isinstance(value, argparse.Namespace):
        value = vars(value)
    if isinstance(value, (dict, list, tuple, set, collections.deque)) and not isinstance(value, torch.Size):
        if id(value) in seen and len(value) > 0:
            return
        seen.add(id(value))
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(item, path + (str(key),), seen)
    else:
        yield ".".join(path), value


def json_value(value):
    if isinstance(value, np.float32):
        return float(str(value))
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -2**63 <= value < 2**63 else str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, (bool, str)) else str(value)


def as_json(name, value):
    with open(view("@json", name), "rb") as f:
        text = f.read()
    subprocess.run(["jq", "-e", ".tensors | length"], input=text, stdout=subprocess.DEVNULL, check=True) if have_jq() else None
    doc = json.loads(text.decode())
    equal(name + ": size", doc["size"], os.path.getsize(os.path.join(DIR, name)))
    tensors = {t["name"]: t for t in doc["tensors"]}
    values = {}
    for row in doc["values"]:
        if row["type"] in ("list", "tuple", "set", "dict") and "value" in row:
            values.update({"%s.%d" % (row["path"], i): v for i, v in enumerate(row["value"])})
        elif "value" in row:
            values.setdefault(row["path"], row["value"])
    for path, item in flat(value):
        if isinstance(item, torch.Tensor):
            row = tensors[path]
            equal(path + ": dtype", row["dtype"], str(item.dtype).replace("torch.", ""))
            equal(path + ": shape", row["shape"], list(item.shape))
            equal(path + ": requires_grad", row["requires_grad"], item.requires_grad)
            if "stride" in row:
                equal(path + ": stride", row["stride"], list(item.stride()))
                equal(path + ": offset", row["offset"], item.storage_offset())
                equal(path + ": bytes", row["bytes"], item.numel() * item.element_size())
            equal(path + ": device", row["device"], str(item.device))
        elif isinstance(item, np.ndarray):
            equal(path + ": shape", tensors[path]["shape"], list(item.shape))
            equal(path + ": bytes", tensors[path]["bytes"], item.nbytes)
        elif not path.startswith("keys.1"):
            equal(path, values[path], json_value(item))
    return doc


def have_jq():
    return subprocess.run(["sh", "-c", "command -v jq"], stdout=subprocess.DEVNULL).returncode == 0


def columns(line):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def summary(name, doc):
    with open(view("@summary", name), "rb") as f:
        text = f.read().decode()
    equal(name + ": no controls", re.findall(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text), [])
    equal(name + ": at most 80 columns", [line for line in text.split("\n") if columns(line) > 80], [])
    equal(name + ": all tensors are counted", "TENSORS  %d " % doc["totals"]["tensors"] in text.replace(",", ""), True)
    for g in doc["globals"]:
        if not g["safe"]:
            equal(name + ": " + g["name"] + " is marked", "! " + g["name"][:70] in text, True)


# ---- the files ----


class Command:
    def __reduce__(self):
        return os.system, ("echo this must never run >&2",)


def main():
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    value = everything()
    old = {k: v for k, v in value.items() if k != "tensors"}
    old["tensors"] = {k: v for k, v in value["tensors"].items() if k in NAMES[:12]}
    files = {"all.pt": value, "tensor.pt": torch.randn(3, 2), "list.pt": [torch.ones(2), {"a": 1}], "model.pt": value["model"]}
    for name, what in files.items():
        torch.save(what, os.path.join(DIR, name))
    torch.save(value, os.path.join(DIR, "all4.pt"), pickle_protocol=4)
    torch.save(old, os.path.join(DIR, "legacy.pt"), _use_new_zipfile_serialization=False)
    torch.save({"w": torch.ones(2), "x": Command()}, os.path.join(DIR, "command.pt"))
    np.save(os.path.join(DIR, "x.npy"), value["arrays"]["f"])
    np.savez(os.path.join(DIR, "x.npz"), **{k: value["arrays"][k] for k in ("c", "f")})
    for name in list(files) + ["all4.pt", "legacy.pt"]:
        what = torch.load(os.path.join(DIR, name), **({"weights_only": False} if NEW else {}))
        tree(name, what)
        summary(name, as_json(name, what))
    converted("all.pt", value, torch.bfloat16, "@bf16+tree")
    converted("all.pt", value, torch.float32, "@fp32+tree")
    for path, a in ((("x.npy", "tensor.npy"), "f"), (("x.npz", "c.npy"), "c"), (("x.npz", "f.npy"), "f")):
        a = value["arrays"][a]
        array(view("@tree", *path), a.shape, a.dtype, a.tobytes())
    equal("a link", os.readlink(view("@tree", "all.pt", "shared", "2", "again.npy")), "../0.npy")
    with open(view("@json", "command.pt")) as f:
        marked = [g["name"] for g in json.load(f)["globals"] if not g["safe"]]
    equal("globals outside the list", marked, ["posix.system"])
    if NEW:
        from torch._weights_only_unpickler import _get_allowed_globals
        with open(view("@json", "all.pt")) as f:
            for g in json.load(f)["globals"]:
                name = g["name"].replace("__builtin__.", "builtins.")
                equal(name + ": safe", g["safe"], name in _get_allowed_globals())
    print("%d checks" % checks)


main()
