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
        elif isinstance(value, Call) and id(value) in self.memo:
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


ENCODE = Global("_codecs", "encode")
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
            "rng": b"\0\1\2", "no bytes": Call(ENCODE, ("\xe9\u20ac", "latin1")), "set": {1}, "run": Call(Global("os", "system"), ("true",))}


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


def module(parameters, modules=None):
    """A torch.nn.Module, as it is pickled whole."""
    slots = {"training": True, "_parameters": Call(ORDERED, (), items=parameters), "_buffers": Call(ORDERED, ()),
             "_non_persistent_buffers_set": set(), "_modules": Call(ORDERED, (), items=modules or {})}
    return Call(Global("models", "Net"), (), state=slots)


def checkpoints():
    """What frameworks put into one file, by the number of its path in fuzz_runs.c."""
    w = Storage("FloatStorage", "0", "cuda:0", 12)
    state = Call(ORDERED, (), items={"w": tensor(w, 0, (3, 4), (4, 1)), "b": tensor(w, 4, (4,), (1,))})
    adam = {"state": {0: {"step": 3, "exp_avg": tensor(w, 0, (3, 4), (4, 1))}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    best = {"monitor": "val_loss", "best_model_path": "/x/epoch=1-step=20.ckpt", "best_model_score": 0.5, "current_score": 0.75}
    net = module({"w": tensor(w, 0, (3, 4), (4, 1))}, {"fc": module({"b": tensor(w, 4, (4,), (1,))})})
    return {
        1: {"epoch": (1 << 63) - 1, "model": state, "val_acc": [0.5, 0.75], "matrix": [[1.0], [0.5, 1.0]]},
        0: {"epoch": 3, "model": state, "optimizer": adam, "train_losses": [0.5, 0.25], "val_acc": 0.75, "best_acc": 0.8},
        3: {"strategy": Call(Global("avalanche.training", "Naive"), (), state={
            "model": net, "optimizer": adam, "plugins": [], "clock": {"train_exp_counter": 3}, "experience": None,
            "mem_size": 7, "evaluator": Call(Global("avalanche", "EvaluationPlugin"), (), state={
                "all_metric_results": {"Top1_Acc_Exp/eval/Task000": [[0, 1, 2], [0.1, 0.5, 0.25]]}})}),
            "exp_counter": 3, "rng_manager": {"random": (3, (1, 2), None)}},
        9: {"pytorch-lightning_version": "2.0", "epoch": 1, "global_step": 20, "state_dict": state, "optimizer_states": [adam],
            "lr_schedulers": [{"last_epoch": 1, "_step_count": 2}], "callbacks": {"ModelCheckpoint{'monitor': 1}": best}},
        15: {"model": state, "optimizer": adam, "scheduler": None, "args": Call(Global("argparse", "Namespace"), (), state={
            "lr": 0.1, "dataset": "cifar"}), "results": [[[90.0], [80.0, 70.0]], [[91.0], [81.0, 71.0]], {}], "buffer": state},
        6: Call(Global("torch.distributed.checkpoint.metadata", "Metadata"), (), state={
            "state_dict_metadata": {"model.w": Call(Global("torch.distributed.checkpoint.metadata", "TensorStorageMetadata"), (),
                state={"size": Call(Global("torch", "Size"), ((3, 4),)), "chunks": []})}, "planner_data": {}, "storage_data": {}}),
        2: net, 10: {"lr": 0.1, "names": ["a", "b"]},
    }


def runs():
    texts = {4: json.dumps({"global_step": 5, "best_metric": 0.5, "best_model_checkpoint": "a/checkpoint-5", "log_history": [
        {"step": 5, "loss": 0.5, "eval_loss": 0.25}]}).encode(), 8: b"step,epoch,val_loss\n0,0,0.5\n20,1,\n",
        13: json.dumps({"acc": [0.5, 0.25], "matrix": [[1, 0], [0.5, 1]]}).encode()}
    out = {"%d" % k: bytes([2, k, 0]) + torch_zip(v, DATA) for k, v in checkpoints().items()}
    out.update({"text-%d" % k: bytes([2, k, k]) + v for k, v in texts.items()})
    out["safe"] = b"\2\x0e\1" + safetensors({"a": ("F32", [2, 2], bytes(16))})
    out["shards"] = b"\2\6\7" + dumps(checkpoints()[6])
    out["sb3"] = b"\2\x0c\0" + npz({"policy.pth": torch_zip(checkpoints()[0]["model"], DATA), "data": b"{}"})
    return out


def recipes():
    """Heads of fuzz_codec.c: each kind of chunk, alone and against each kind of base, long ones and short ones, both efforts."""
    out = {}
    for kind in range(12):
        for how in range(4):
            for size, name in ((500, "short"), (9000, "long"), (24000, "wide")):
                phase, row, effort = kind % 4, (kind * 16 + 32) & 255, 2 * (how & 1)
                head = struct.pack("<BBHBBBB", 2, kind, size, how | phase << 2, 1, row, effort)
                out["%d-%d-%s" % (kind, how, name)] = head + b"\x05\x00\xff\x02"
    out["noise"] = b"Z_U\5#\0\xff\x82"  # nothing fits, with all effort
    return out


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
    return {"fuzz_runs": runs(), "fuzz_zip": zips, "fuzz_pickle": pickles, "fuzz_safetensors": tensors, "fuzz_npy": arrays,
            "fuzz_cut": {k: b"\x05\x00" + v for k, v in whole.items()}, "fuzz_view": whole,
            "fuzz_codec": dict(recipes(), floats=b"\1\4\1\x08\0\0\0\0" + DATA["0"] * 20,
                               bytes=b"\1" + b"\0" * 7 + bytes(range(256)) * 4)}


# What the mutations may put in as a whole: signatures, opcodes, names that are known.
WORDS = {
    "fuzz_zip": [b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08", b"\1\0\x10\0", b"FB", b"\xff" * 4, b"\xff" * 8],
    "fuzz_pickle": [b"\x80\2", b"\x80\4\x95", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n",
                    b"ccollections\nOrderedDict\n", b"ctorch\ndevice\n", b"c_codecs\nencode\n", b"ctorch\nSize\n",
                    b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\ndtype\n", b"ctorch._utils\n_rebuild_sparse_tensor\n",
                    b"ctorch._utils\n_rebuild_qtensor\n", b"ctorch._tensor\n_rebuild_from_type_v2\n", b"X\7\0\0\0storage",
                    b"X\4\0\0\0cuda", b"\x8e", b"\x8d", b"\x8b\xff\xff\xff\x7f", b"\x8b", b"Q", b"R", b"b", b"tb", b"tRq\0", b"(t",
                    b"r\xff\xff\xff\x7f", b"\x94", b"\x92", b"\x81", b"\x93", b"2", b"1", b"0", b"(u", b"(e", b"}q\0", b"]q\0", b"N"],
    "fuzz_safetensors": [b'"dtype":"', b'"shape":[', b'"data_offsets":[', b'"__metadata__":{', b'"F32"', b'"BF16"', b'"F8_E4M3"', b'"I4"', b"\\u0000", b"18446744073709551615"],
    "fuzz_npy": [b"\x93NUMPY", b"'descr': ", b"'fortran_order': ", b"'shape': (", b"True", b"'<f4'", b"'|V2'", b"4611686018427387904"],
}
WORDS["fuzz_view"] = WORDS["fuzz_runs"] = WORDS["fuzz_cut"] = [w for words in WORDS.values() for w in words]


def dictionary(words):
    return "".join('"%s"\n' % "".join("\\x%02x" % b for b in w) for w in words)


def main():
    for target, words in WORDS.items():
        os.makedirs(sys.argv[1], exist_ok=True)
        with open(os.path.join(sys.argv[1], target + ".dict"), "w") as f:
            f.write(dictionary(words))
    for target, files in seeds().items():
        where = os.path.join(sys.argv[1], target)
        os.makedirs(where, exist_ok=True)
        for name, content in files.items():
            with open(os.path.join(where, name), "wb") as f:
                f.write(content)


if __name__ == "__main__":
    main()
