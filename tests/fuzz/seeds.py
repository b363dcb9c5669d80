"""seeds.py DIRECTORY: a corpus for each fuzz target, in DIRECTORY/<target>/: small, whole files of every kind.

Made with the standard library alone, so that the corpus is the same on every machine: torch's formats are written here as
its sources say (zip members stored and aligned, storages as persistent ids).
"""
import io
import json
import os
import pickle
import struct
import sys
import zipfile

VERSION = b"3\n"


class Global:
    """A name that pickles as a global, without being imported: torch need not be there."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Call:
    """callable(*args), with state and items of a dict."""

    def __init__(self, call, args, state=None, items=None):
        self.call, self.args, self.state, self.items = call, args, state, items


class Storage:
    def __init__(self, kind, key, location, count):
        self.id = ("storage", Global("torch", kind), key, location, count)


class Writer(pickle._Pickler):
    """Python's own pickler, which knows how a Global and a Storage are written."""

    def persistent_id(self, value):
        return value.id if isinstance(value, Storage) else None

    def save(self, value, *args, **kwargs):
        if isinstance(value, Global):
            if id(value) not in self.memo:
                self.write(b"c" + value.module.encode() + b"\n" + value.name.encode() + b"\n")
                self.memoize(value)
            else:
                self.write(self.get(self.memo[id(value)][0]))
        elif isinstance(value, Call):
            self.save(value.call)
            self.save(value.args)
            self.write(b"R")
            self.memoize(value)
            if value.items:
                self._batch_setitems(value.items.items())
            if value.state is not None:
                self.save(value.state)
                self.write(b"b")
        else:
            super().save(value, *args, **kwargs)


def dumps(value, protocol=2):
    out = io.BytesIO()
    Writer(out, protocol).dump(value)
    return out.getvalue()


REBUILD = Global("torch._utils", "_rebuild_tensor_v2")
PARAMETER = Global("torch._utils", "_rebuild_parameter")
ORDERED = Global("collections", "OrderedDict")


def tensor(storage, offset, size, stride):
    return Call(REBUILD, (storage, offset, size, stride, False, Call(ORDERED, ())))


def checkpoint(location="cuda:0"):
    w = Storage("FloatStorage", "0", location, 12)
    h = Storage("BFloat16Storage", "1", location, 8)
    step = Storage("FloatStorage", "2", "cpu", 1)
    model = Call(ORDERED, (), state={"_metadata": Call(ORDERED, ())}, items={
        "w": Call(PARAMETER, (tensor(w, 0, (3, 4), (4, 1)), True, Call(ORDERED, ()))),
        "w.t": tensor(w, 0, (4, 3), (1, 4)), "h": tensor(h, 2, (6,), (1,))})
    return {"model": model, "epoch": 3, "loss": 0.25, "name": "a/b", "none": None, "big": 1 << 70,
            "device": Call(Global("torch", "device"), ("cuda", 0)), "size": Call(Global("torch", "Size"), ((3, 4),)),
            "optimizer": {"state": {0: {"step": tensor(step, 0, (), ()), "exp_avg": tensor(w, 0, (3, 4), (4, 1))}},
                          "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0]}]},
            "rng": b"\0\1\2", "set": {1}, "run": Call(Global("os", "system"), ("true",))}


DATA = {"0": struct.pack("<12f", *range(12)), "1": bytes(range(16)), "2": struct.pack("<f", 7)}


def torch_zip(value, data, prefix="archive", extra=()):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as z:
        records = [("data.pkl", dumps(value)), ("byteorder", b"little")] + list(extra)
        records += [("data/" + k, v) for k, v in data.items()] + [("version", VERSION)]
        for name, content in records:
            info = zipfile.ZipInfo("%s/%s" % (prefix, name))
            at = out.tell() + 30 + len(info.filename)
            info.extra = b"FB" + struct.pack("<H", -(at + 4) % 64) + b"Z" * (-(at + 4) % 64)
            z.writestr(info, content)
    return out.getvalue()


def legacy(value, data):
    parts = [dumps(0x1950a86a20f9469cfc6c), dumps(1001), dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {
        "short": 2, "int": 4, "long": 4}}), dumps(value), dumps(sorted(data))]
    widths = {"0": 4, "1": 2, "2": 4}
    return b"".join(parts) + b"".join(struct.pack("<q", len(data[k]) // widths[k]) + data[k] for k in sorted(data))


def safetensors(tensors, metadata=None, pad=8):
    head, body = {}, b""
    if metadata:
        head["__metadata__"] = metadata
    for name, (dtype, shape, raw) in tensors.items():
        head[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % pad)
    return struct.pack("<Q", len(text)) + text + body


def npy(descr, shape, raw, fortran=False, major=1):
    head = ("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, fortran, shape)).encode()
    size = "<H" if major == 1 else "<I"
    start = 8 + struct.calcsize(size)
    head += b" " * (-(start + len(head) + 1) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([major, 0]) + struct.pack(size, len(head)) + head + raw


def npz(members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as z:
        for name, raw in members.items():
            z.writestr(zipfile.ZipInfo(name + ".npy"), raw)
    return out.getvalue()


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def shared(depth):
    value = (1, 2)
    for _ in range(depth):
        value = (value, value)
    return value


def seeds():
    arrays = {"f": npy("<f4", "(2, 3)", bytes(24)), "b": npy("|b1", "(3,)", b"\1\0\1"), "v": npy("<V2", "(2,)", bytes(4), True, 2)}
    zips = {"torch": torch_zip(checkpoint(), DATA), "cpu": torch_zip(checkpoint("cpu"), DATA, "model"), "npz": npz(arrays),
            "pt2x": torch_zip(checkpoint(), DATA, "m", [(".format_version", b"1"), (".storage_alignment", b"64")]),
            "script": torch_zip(Call(Global("__torch__", "M"), (), state={"w": 1}), {}, "s", [
                ("constants.pkl", dumps(())), ("code/__torch__.py", b"class M(Module):\n  pass\n")]),
            "distcp": torch_zip(checkpoint(), DATA) + torch_zip(checkpoint("cpu"), DATA)}
    tensors = {"t": safetensors({"a": ("F32", [2, 2], bytes(16)), "b": ("BF16", [3], bytes(6))}, {"format": "pt"}),
               "empty": safetensors({}), "zero": safetensors({"z": ("F64", [0, 4], b"")})}
    pickles = {"p%d" % p: dumps(checkpoint(), p) for p in (1, 2, 3, 4)}
    pickles.update({"deep": dumps(nested(200)), "shared": dumps(shared(60)), "os": dumps(Call(Global("os", "system"), ("id",)))})
    whole = dict(zips)
    whole.update({"legacy": legacy(checkpoint(), DATA), "pickle": pickles["p2"]})
    whole.update({"safe-" + k: v for k, v in tensors.items()})
    whole.update({"npy-" + k: v for k, v in arrays.items()})
    return {"fuzz_zip": zips, "fuzz_pickle": pickles, "fuzz_safetensors": tensors, "fuzz_npy": arrays,
            "fuzz_cut": {k: b"\x05\x00" + v for k, v in whole.items()}, "fuzz_view": whole,
            "fuzz_codec": {"floats": b"\0" * 8 + DATA["0"] * 20, "bytes": bytes(range(256)) * 4}}


def main():
    for target, files in seeds().items():
        where = os.path.join(sys.argv[1], target)
        os.makedirs(where, exist_ok=True)
        for name, content in files.items():
            with open(os.path.join(where, name), "wb") as f:
                f.write(content)


if __name__ == "__main__":
    main()
