"""The checkpoints that space is measured with: made once by made.py, then kept in build/bench/data."""
import hashlib
import os
import shutil
import subprocess
import sys

from sides import Trouble

HERE = os.path.dirname(os.path.abspath(__file__))

# name, what it is, goal stored / raw, goal after recompress; from: first step that counts
CLASSES = [
    ("adam", "fp32, Adam, 5 dense checkpoints", 0.785, 0.760, 0),
    ("sgd", "fp32, SGD with momentum, 5 dense", 0.785, 0.770, 0),
    ("frozen", "frozen backbone, heads", 0.167, None, 0),
    ("replay", "replay buffer of images that grows", 0.21, None, 0),
    ("lora", "LoRA", 0.217, None, 0),
    ("bf16", "bf16 fine-tuning", 0.205, 0.19, 0),
    ("fp16", "fp16 fine-tuning", 0.325, 0.30, 0),
    ("copies", "copies, EMA, all in one file", 0.13, None, 0),
    ("ema", "weights and an EMA, every layer moves", 0.785, None, 0),
    ("embed1", "1 % of embedding rows changed", 0.0105, None, 1),
    ("embed5", "5 % of embedding rows changed", 0.046, None, 1),
    ("forms", "the same in .safetensors, shards", 0.002, None, 1),
    ("int8", "int8 weights", 0.90, None, 0),
    ("fp8", "fp8 weights", 0.815, None, 0),
    ("int4", "int4 weights", 0.775, None, 0),
    ("small", "10,000 JSON files of 3.5 KB", 0.16, None, 0),
]
EVERYTHING = (0.40, 0.375)


def steps(where):
    """The directories of a class, in order."""
    return [os.path.join(where, name) for name in sorted(os.listdir(where))]


def size(where):
    """Bytes of the files below a path, by their lengths."""
    return sum(os.path.getsize(os.path.join(top, n)) for top, _, names in os.walk(where) for n in names)


def make(name, data, python):
    """The directory of a class, made now unless it is there; data: directory that keeps them."""
    with open(os.path.join(HERE, "made.py"), "rb") as f:
        stamp = hashlib.sha256(f.read()).hexdigest()[:12]
    where = os.path.join(data, "%s-%s" % (name, stamp))
    if os.path.isdir(where):
        return where
    if python is None:
        raise Trouble("the checkpoints of '%s' are made by a Python that has torch, and none is here; "
                      "PYTHON=... names one" % name)
    os.makedirs(data, exist_ok=True)
    for old in os.listdir(data):
        if old.startswith(name + "-"):
            shutil.rmtree(os.path.join(data, old))
    print("%-9s being made ..." % name, file=sys.stderr, flush=True)
    half = where + ".part"
    shutil.rmtree(half, ignore_errors=True)
    done = subprocess.run([python, "-W", "ignore", os.path.join(HERE, "made.py"), half, name])
    if done.returncode != 0:
        shutil.rmtree(half, ignore_errors=True)
        raise Trouble("the checkpoints of '%s' could not be made" % name)
    os.rename(half, where)
    return where
