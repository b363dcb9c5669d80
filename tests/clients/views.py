"""@cpu, @cuda:N, @bf16, .. and @safetensors of every file of views_corpus.py, loaded by torch through the mount and compared
bit for bit with what torch makes of the file itself.  DIR (argument) is on a mount.  torch 1.13 and 2.x."""
import collections
import hashlib
import os
import pickle
import sys
import warnings

import numpy as np
import torch

import views_corpus as corpus
from views_corpus import NEW, floats, on, storage_of

warnings.filterwarnings("ignore")
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
checks = failed = 0


def through(view, path):
    """The path of a file in a view of the mount it is on."""
    root = os.path.dirname(path)
    while not os.path.ismount(root):
        root = os.path.dirname(root)
    return os.path.join(root, "@" + view, os.path.relpath(path, root))


def check(what, good):
    global checks, failed
    checks += 1
    if not good:
        failed += 1
        print("not ok:", what)
    return good


# What was on an accelerator is loaded here, and remembered where it should have gone.
places = {}


def elsewhere(storage, location):
    if location != "cpu":
        places[storage.data_ptr()] = location
        return storage


torch.serialization.register_package(1, lambda s: None, elsewhere)


def load(path, where=None, **kw):
    places.clear()
    if NEW:
        kw.setdefault("weights_only", False)
    x = torch.load(path, map_location=where, **kw)
    return x


def place(t):
    return places.get(storage_of(t).data_ptr(), "cpu")


# ---- comparing ------------------------------------------------------------------------------------------------------

def bits(t):
    """A tensor's elements as comparable numbers: nan are all alike."""
    t = t.detach().resolve_conj().resolve_neg().contiguous()
    if t.dtype in FLOATS:
        t = torch.where(t.isnan(), torch.full_like(t, float("nan")), t)
    raw = t.reshape(-1)
    return bytes(raw.view(torch.uint8).numpy()) if t.dtype != torch.bool else bytes(raw.numpy())


def parts(t):
    """The plain tensors that one is made of."""
    if t.is_quantized:
        if t.qscheme() == torch.per_tensor_affine:
            return [t.int_repr(), torch.tensor(t.q_scale()), torch.tensor(t.q_zero_point())]
        return [t.int_repr(), t.q_per_channel_scales(), t.q_per_channel_zero_points()]
    if getattr(t, "is_nested", False):
        return list(t.unbind())
    if t.layout == torch.sparse_coo:
        return [t._indices(), t._values()]
    if t.layout in (torch.sparse_csr, getattr(torch, "sparse_bsr", 0)):
        return [t.crow_indices(), t.col_indices(), t.values()]
    if t.layout != torch.strided:
        return [t.ccol_indices(), t.row_indices(), t.values()]
    return None


def same_tensor(a, b, dtype=None, exempt=False):
    """Whether b is a, its floats having become `dtype`."""
    if type(a) is not type(b) or a.requires_grad != b.requires_grad or a.layout != b.layout:
        return False
    pa, pb = parts(a), parts(b)
    if not getattr(a, "is_nested", False) and a.shape != b.shape:
        return False
    if pa is not None:
        keep = exempt or a.is_quantized
        return len(pa) == len(pb) and all(same_tensor(x, y, dtype, keep) for x, y in zip(pa, pb))
    if dtype is not None and not exempt and a.dtype in FLOATS:
        if a.stride() != b.stride():
            return False
        return b.dtype == dtype and (b.device.type == "meta" or bits(a.detach().to(dtype)) == bits(b))
    if a.dtype != b.dtype or a.stride() != b.stride() or a.is_conj() != b.is_conj() or a.is_neg() != b.is_neg():
        return False
    return a.device.type == "meta" or bits(a) == bits(b)


def same(a, b, dtype=None, path=(), seen=None, twins=None):
    """Whether two objects are alike: values, types, and which of their tensors share storages. '' or where they differ."""
    seen = {} if seen is None else seen
    twins = {} if twins is None else twins
    if id(a) in seen:
        return "" if seen[id(a)][1] is b else "%s: sharing" % (path,)
    if not isinstance(a, (int, float, str, bytes, type(None), bool, complex)):
        seen[id(a)] = (a, b)
    if isinstance(a, torch.Tensor):
        exempt = path[-1:] == ("step",) and a.numel() == 1
        if not same_tensor(a, b, dtype, exempt):
            return "%s: %s %s" % (path, a, b)
        if not getattr(a, "is_nested", False) and parts(a) is None and a.numel() > 0 and a.device.type != "meta":
            sa, sb = storage_of(a).data_ptr(), storage_of(b).data_ptr()
            if twins.setdefault(sa, sb) != sb:
                return "%s: storages" % (path,)
        return same(vars(a), vars(b), dtype, path + ("vars",), seen, twins) if hasattr(a, "__dict__") else ""
    if type(a) is not type(b):
        return "%s: %s %s" % (path, type(a), type(b))
    if isinstance(a, dict):
        if len(a) != len(b):
            return "%s: length" % (path,)
        for (ka, va), (kb, vb) in zip(a.items(), b.items()):
            why = (same(ka, kb, dtype, path + ("key",), seen, twins) or
                   same(va, vb, dtype, path + (ka if isinstance(ka, str) else "?",), seen, twins))
            if why:
                return why
        return same(vars(a), vars(b), dtype, path + ("vars",), seen, twins) if hasattr(a, "__dict__") else ""
    if isinstance(a, (list, tuple, collections.deque)):
        if len(a) != len(b):
            return "%s: length" % (path,)
        for i, (x, y) in enumerate(zip(a, b)):
            why = same(x, y, dtype, path + (i,), seen, twins)
            if why:
                return why
        return ""
    if isinstance(a, np.ndarray):
        return "" if a.dtype == b.dtype and a.tobytes() == b.tobytes() else "%s: array" % (path,)
    if isinstance(a, torch.Generator):
        return "" if torch.equal(a.get_state(), b.get_state()) else "%s: generator" % (path,)
    if type(a).__name__ in ("TypedStorage", "_TypedStorage", "FloatStorage"):
        want = torch.tensor(list(a), dtype=a.dtype).to(dtype or a.dtype)  # a tensor looks into it, which is converted
        return "" if b.dtype == want.dtype and list(b) == want.tolist() else "%s: storage" % (path,)
    if isinstance(a, torch.device):
        return ""
    if hasattr(a, "__dict__") and not isinstance(a, type):
        return same(vars(a), vars(b), dtype, path + ("vars",), seen, twins)
    return "" if a == b or a != a else "%s: %r %r" % (path, a, b)


def ways(path, zipped):
    """The ways of loading that the file itself allows: (name, options)."""
    out = [("plain", {})]
    try:
        load(path, "cpu", weights_only=True)
        out.append(("weights_only", {"weights_only": True}))
    except Exception:
        pass
    if NEW and zipped:
        out.append(("mmap", {"mmap": True}))
    return out


# ---- the checks -----------------------------------------------------------------------------------------------------

def devices(what, path, zipped):
    for name, kw in ways(path, zipped):
        want = load(path, "cpu", **kw)
        got = load(through("cpu", path), **kw)
        check("%s @cpu %s: all on the cpu" % (what, name), not places)
        why = same(want, got)
        check("%s @cpu %s: %s" % (what, name, why), not why)
        got = load(through("cuda:2", path), **kw)
        check("%s @cuda:2 %s: nowhere else" % (what, name), set(places.values()) <= {"cuda:2"})
        why = same(want, got)
        check("%s @cuda:2 %s: %s" % (what, name, why), not why)
    back = through("cpu", path)
    check("%s: size is known" % what, os.stat(back).st_size == len(open(back, "rb").read()))


def dtype_views(what, path, zipped):
    want = load(path, "cpu")
    for view, dtype in DTYPES.items():
        for name, kw in ways(path, zipped):
            got = load(through(view if name != "plain" else "cpu+" + view, path), "cpu", **kw)
            why = same(want, got, dtype)
            check("%s @%s %s: %s" % (what, view, name, why[:300]), not why)


def random_reads(what, path):
    """Any range, in any order, is the same as the whole."""
    p = through("bf16", path)
    whole = open(p, "rb").read()
    seed = int(hashlib.sha256(what.encode()).hexdigest()[:8], 16)
    with open(p, "rb", buffering=0) as f:
        for _ in range(40):
            seed = seed * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
            off = (seed >> 16) % (len(whole) + 1)
            f.seek(off)
            n = (seed >> 8) % 5000
            if f.read(n) != whole[off:off + n]:
                return check("%s: a range at %d" % (what, off), False)
    return check(what, True)


def rules():
    """What moves, and what stays."""
    def of(name, view):
        return load(through(view, at(name + ".pt")))

    x = of("training_cpu", "cuda:1")
    check("the model moves", all(place(t) == "cuda:1" for t in x["model"].values()))
    for s in x["optimizer"]["state"].values():
        check("step stays", not isinstance(s["step"], torch.Tensor) or place(s["step"]) == "cpu")
        check("moments move", place(s["exp_avg"]) == "cuda:1" and place(s["exp_avg_sq"]) == "cuda:1")
    check("replay stays", place(x["buffer"]["examples"]) == "cpu" and place(x["buffer"]["logits"]) == "cpu")
    check("rng stays", place(x["rng"]["torch"]) == "cpu" and place(x["rng"]["cuda"][0]) == "cpu")
    check("device objects follow", x["where"] == torch.device("cuda:1"))
    check("strings stay", x["args"] == {"device": "cuda:0", "cpu": "cpu"})
    x = of("capturable", "cuda:1")
    for s in x["optimizer"]["state"].values():
        check("a capturable step moves", not isinstance(s["step"], torch.Tensor) or place(s["step"]) == "cuda:1")
    x = of("training_cuda", "cuda:1")
    check("what was there moves", all(place(t) == "cuda:1" for t in x["model"].values()))
    check("what was kept on the cpu stays", place(x["buffer"]["logits"]) == "cpu" and place(x["rng"]["torch"]) == "cpu")
    x = of("training_cuda", "cpu")
    check("device objects follow to the cpu", x["where"] == torch.device("cpu") and not places)
    x = of("mixed", "xpu:1")
    check("of several devices", (place(x["a"]), place(x["b"]), place(x["c"])) == ("xpu:1", "xpu:1", "cpu"))
    check("of several devices, objects", x["dev"] == torch.device("xpu", 1) and x["cpu"] == torch.device("cpu"))
    check("config is the user's", x["config"] == {"device": "cuda:0"})
    x = of("mixed", "mps")
    check("to mps", place(x["a"]) == "mps")
    check("there already", open(through("cpu", at("views.pt")), "rb").read() == open(at("views.pt"), "rb").read())


def script():
    m = torch.jit.script(corpus.Script()).eval()
    x = floats(3, 5)
    path = at("script.pt")
    torch.jit.save(m, path)
    traced = torch.jit.trace(lambda t: t + torch.ones(5) * 3, x)
    torch.jit.save(traced, at("traced.pt"))
    for view in ("cpu", "cuda:0", "fp32"):
        p = through(view, path)
        check("script @%s" % view, torch.equal(torch.jit.load(p, map_location="cpu")(x), m(x)))
        check("traced @%s" % view, torch.equal(torch.jit.load(through(view, at("traced.pt")), map_location="cpu")(x), traced(x)))
    for view, dtype in DTYPES.items():
        want = torch.jit.load(path, map_location="cpu").to(dtype).state_dict()
        got = torch.jit.load(through(view, path), map_location="cpu").state_dict()
        why = same(want, got)
        check("script @%s %s" % (view, why), not why)
    raw = open(through("cuda:0", path), "rb").read()
    check("script names the device", b"cuda:0" in raw)


def safetensors():
    from safetensors import safe_open
    from safetensors.numpy import load_file as load_numpy
    from safetensors.torch import load_file

    def of(name, view="safetensors"):
        return load_file(through(view, at(name + ".pt") + ".safetensors"))

    def pairs(name):
        with safe_open(through("safetensors", at(name + ".pt") + ".safetensors"), "pt") as f:
            return f.metadata()

    for name in ("state_dict", "many"):
        want = load(at(name + ".pt"), "cpu")
        got = of(name)
        check("safetensors %s" % name, set(got) == set(want) and all(torch.equal(got[k], want[k]) for k in want))
        got = of(name, "bf16+safetensors")
        check("safetensors bf16 %s" % name, all(same_tensor(want[k], got[k], torch.bfloat16) for k in want))
        got = load_numpy(through("safetensors", at(name + ".pt") + ".safetensors"))
        check("safetensors numpy %s" % name, all(np.array_equal(got[k], want[k].numpy()) for k in want))
    want, got = load(at("views.pt"), "cpu"), of("views")
    check("safetensors views", set(got) == set(want) and
          all(torch.equal(got[k], want[k]) and got[k].is_contiguous() for k in want))
    got = of("views", "fp16+safetensors")
    check("safetensors views fp16", all(torch.equal(got[k], want[k].half()) for k in want))
    got, meta = of("shared"), pairs("shared")
    check("safetensors shared", set(got) == {"encoder", "flat", "decoder", "list.0"} - {"decoder"} and
          meta["decoder"] == "encoder" and meta["again"] == "encoder" and meta["list.1"] == "list.0" and
          meta["list.2.0"] == "list.0" and meta["format"] == "pt")
    got, want = of("training_cpu"), load(at("training_cpu.pt"), "cpu")
    check("safetensors nested names", torch.equal(got["model.0.weight"], want["model"]["0.weight"]) and
          torch.equal(got["optimizer.state.0.exp_avg"], want["optimizer"]["state"][0]["exp_avg"]))
    check("safetensors scalars", pairs("training_cpu")["epoch"] == "2")
    got = of("containers")
    check("safetensors names made unique", got["a.b"].numel() == 1 and got["a.b~2"].numel() == 2)
    want, got = load(at("dtypes.pt"), "cpu")["complex128"], of("dtypes")
    check("safetensors complex128", torch.equal(torch.view_as_complex(got["complex128.view_as_real"]), want))
    got = of("tensor")
    check("safetensors of one tensor", list(got) == ["tensor"])
    want, got, meta = load(at("quantized.pt"), "cpu"), of("quantized"), pairs("quantized")
    check("safetensors quantized", torch.equal(got["tensor.int_repr"], want["tensor"].int_repr()) and
          float(meta["tensor.scale"]) == want["tensor"].q_scale() and
          int(meta["tensor.zero_point"]) == 3 and
          torch.equal(got["channel.scales"], want["channel"].q_per_channel_scales()))
    want, got = load(at("sparse.pt"), "cpu"), of("sparse")
    check("safetensors sparse", torch.equal(got["coo.values"], want["coo"]._values()) and
          torch.equal(got["csr.crow_indices"], want["csr"].crow_indices()))
    if NEW:
        want, got = load(at("new_dtypes.pt"), "cpu")["complex32"], of("new_dtypes")
        check("safetensors complex32", torch.equal(got["complex32.view_as_real"], torch.view_as_real(want)))
        got = of("meta")
        check("safetensors meta", list(got) == ["real"] and pairs("meta")["skipped.meta"] == "on the meta device")
    from safetensors.torch import save_file
    tensors = {"w": floats(9, 5), "d": floats(3).double(), "i": torch.arange(5), "b": torch.tensor([True, False, True])}
    save_file(tensors, at("made.safetensors"), metadata={"epoch": "4"})
    got = load_file(through("bf16", at("made.safetensors")))
    check("bf16 of a safetensors file", set(got) == set(tensors) and
          all(same_tensor(tensors[k], got[k], torch.bfloat16) for k in tensors))
    with safe_open(through("bf16", at("made.safetensors")), "pt") as f:
        check("its metadata", f.metadata() == {"epoch": "4"})


def at(name):
    return os.path.join(DIR, name)


def main():
    for name, make, how in corpus.SAMPLES:
        x = make()
        forms = [("", {}, True)]
        if not how.get("zip"):  # torch does not read all of them back from a legacy file
            forms.append(("_legacy", {"_use_new_zipfile_serialization": False}, False))
        for protocol in (4, 5) if name in ("containers", "mixed", "shared") else (4,):
            forms.append(("_p%d" % protocol, {"pickle_protocol": protocol}, True))
        for suffix, kw, zipped in forms:
            path = at(name + suffix + ".pt")
            torch.save(x, path, **kw)
            try:
                devices(name + suffix, path, zipped)
                dtype_views(name + suffix, path, zipped)
                if suffix in ("", "_legacy") and name in ("views", "dtypes", "numbers", "many", "training_cpu"):
                    random_reads(name + suffix, path)
            except Exception as e:
                check("%s%s: %s: %s" % (name, suffix, type(e).__name__, str(e)[:300]), False)
    rules()
    script()
    try:
        import safetensors as _
    except ImportError:
        print("no safetensors here")
    else:
        safetensors()
    print("%d checks, %d failed" % (checks, failed))
    return failed > 0


if __name__ == "__main__":
    DIR = os.path.abspath(sys.argv[1])
    sys.exit(main())
