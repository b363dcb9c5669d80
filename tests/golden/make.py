#!/usr/bin/env python3
"""Makes the golden store of the format that a program writes: tests/golden/make.py CKPTFS

A golden store is what a release of that format left on somebody's disk.  15-golden.sh opens it with the program of
today.  It is made once, by the program that had this format as its newest, and never again: this script refuses
to touch one that is there.

    tests/golden/format-N/store.tar.gz    the store's directory: meta.db, chunks.db
    tests/golden/format-N/manifest        what is in it, a line each:
        file SHA-256 SIZE PATH      dir PATH      link TARGET PATH      names COUNT PATH
        xattr NAME VALUE PATH       past SHA-256 PATH (some version of its history)

All of it is synthetic: the bytes come from one seed.
"""
import hashlib
import json
import os
import random
import re
import struct
import subprocess
import sys
import tarfile
import tempfile

KEPT = ("meta.db", "chunks.db")


def ckptfs(program, *args):
    return subprocess.run([program, *args], check=True, stdout=subprocess.PIPE).stdout


def weights(rng, n):
    return [rng.gauss(0, 0.02) for _ in range(n)]


def safetensors(tensors):
    header, body = {}, b""
    for name, values in tensors.items():
        raw = struct.pack("<%df" % len(values), *values)
        header[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def metrics(rng, n):
    rows = [{"experience": i, "accuracy": round(rng.random(), 6), "loss": round(rng.expovariate(1), 6)} for i in range(n)]
    return (json.dumps({"name": "split-mnist", "history": rows}, indent=1) + "\n").encode()


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def make_tree(root, rng):
    """A run of three experiences whose weights move a little, and small files beside them."""
    tensors = {"conv.weight": weights(rng, 4500), "fc.weight": weights(rng, 4000), "fc.bias": [0.0] * 1200}
    for i in range(3):
        base = os.path.join(root, "run", "%03d" % i)
        write(os.path.join(base, "model.safetensors"), safetensors(tensors))
        write(os.path.join(base, "metrics.json"), metrics(rng, 40))
        write(os.path.join(base, "rng.bin"), rng.randbytes(700))
        for name in ("conv.weight", "fc.weight"):
            tensors[name] = [v + rng.gauss(0, 1e-5) for v in tensors[name]]
    for i in range(24):
        write(os.path.join(root, "run", "logs", "step-%04d.json" % i), metrics(rng, 3 + i))
    write(os.path.join(root, "run", "empty"), b"")
    write(os.path.join(root, "run", "notes.txt"), b"a note that is written again\n" * 30)
    with open(os.path.join(root, "run", "sparse"), "wb") as f:
        f.write(b"begin")
        f.seek(300000)
        f.write(b"end")
    os.symlink("002", os.path.join(root, "run", "latest"))
    os.link(os.path.join(root, "run", "000", "metrics.json"), os.path.join(root, "run", "first.json"))
    os.setxattr(os.path.join(root, "run", "000", "model.safetensors"), "user.note", b"golden")


def describe(root):
    lines = []
    for path, dirs, files in os.walk(root):
        dirs.sort()
        for name in sorted(dirs + files):
            full = os.path.join(path, name)
            rel = os.path.relpath(full, root)
            if os.path.islink(full):
                lines.append("link %s %s" % (os.readlink(full), rel))
                continue
            if os.path.isdir(full):
                lines.append("dir %s" % rel)
                continue
            with open(full, "rb") as f:
                data = f.read()
            lines.append("file %s %d %s" % (hashlib.sha256(data).hexdigest(), len(data), rel))
            if os.stat(full).st_nlink > 1:
                lines.append("names %d %s" % (os.stat(full).st_nlink, rel))
            for attr in os.listxattr(full):
                if attr.startswith("user."):
                    lines.append("xattr %s %s %s" % (attr, os.getxattr(full, attr).decode(), rel))
    return lines


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    program = os.path.abspath(sys.argv[1])
    form = int(re.search(rb"format\D*(\d+)", ckptfs(program, "version")).group(1))
    out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "format-%d" % form)
    if os.path.exists(out):
        sys.exit("%s is there; a golden store is never made again" % out)
    rng = random.Random(20240607 + form)
    # On a filesystem with user xattrs, which /tmp need not be.
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as tmp:
        tree, store = os.path.join(tmp, "tree"), os.path.join(tmp, "store.ckptfs")
        make_tree(tree, rng)
        past = []
        # What is overwritten and deleted goes to the history.
        for rel, data in (("run/notes.txt", b"the first note\n" * 60), ("run/002/model.safetensors", rng.randbytes(36000)),
                          ("run/gone.bin", rng.randbytes(5000))):
            write(os.path.join(tmp, "old"), data)
            os.makedirs(os.path.join(tmp, "dirs", os.path.dirname(rel)), exist_ok=True)
            past.append("past %s %s" % (hashlib.sha256(data).hexdigest(), rel))
            write(os.path.join(tmp, "past", rel), data)
        ckptfs(program, "import", os.path.join(tmp, "past", "run"), store + ":/")
        ckptfs(program, "rm", store + ":run/gone.bin")
        for name in sorted(os.listdir(os.path.join(tree, "run"))):
            if name not in ("000", "001", "002"):
                continue
            # One experience after the other, as a training saves them.
            ckptfs(program, "import", os.path.join(tree, "run", name), store + ":run/")
        ckptfs(program, "import", os.path.join(tree, "run"), store + ":/")
        ckptfs(program, "verify", "--data", store)
        os.makedirs(out)
        with tarfile.open(os.path.join(out, "store.tar.gz"), "w:gz", compresslevel=9) as tar:
            for name in KEPT:
                info = tar.gettarinfo(os.path.join(store, name), "store.ckptfs/" + name)
                info.uid = info.gid = 0
                info.uname = info.gname = ""
                with open(os.path.join(store, name), "rb") as f:
                    tar.addfile(info, f)
        with open(os.path.join(out, "manifest"), "w") as f:
            f.write("\n".join(describe(tree) + past) + "\n")


if __name__ == "__main__":
    main()
