"""Saves and loads state dicts, and says how long each took.  For workloads.Torch, by lines of words with tabs between:

    save PATH SEED BYTES SYNC      a new state dict; SYNC 1: the file is synced as part of it
    next PATH SEED BYTES SYNC      the same one after some training: every number has moved by some thousandths
    load PATH                      every tensor's bytes are looked at
"""
import os
import sys
import time

import torch


def state_dict(seed, size):
    """Layers like a transformer's, fp32."""
    torch.manual_seed(seed)
    width = 1024
    layers = max(1, size // (12 * width * width * 4))
    state = {}
    for i in range(layers):
        for name, shape in (("attention.in", (3 * width, width)), ("attention.out", (width, width)),
                            ("mlp.up", (4 * width, width)), ("mlp.down", (width, 4 * width))):
            state["layer.%d.%s.weight" % (i, name)] = torch.randn(shape) * 0.02
            state["layer.%d.%s.bias" % (i, name)] = torch.zeros(shape[0])
    return state


def save(path, seed, size, sync, moved=False):
    state = state_dict(int(seed), int(size))
    if moved:
        for tensor in state.values():
            tensor.mul_(1 + 0.003 * torch.randn(tensor.shape))
    start = time.monotonic()
    torch.save(state, path)
    if sync == "1":
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    return time.monotonic() - start


def save_next(path, seed, size, sync):
    return save(path, seed, size, sync, moved=True)


def load(path):
    start = time.monotonic()
    state = torch.load(path)
    took = time.monotonic() - start
    for tensor in state.values():
        if not bool(torch.isfinite(tensor).all()):
            raise SystemExit("%s: not what was saved" % path)
    return took


print(torch.__version__, flush=True)
for line in sys.stdin:
    verb, *words = line.rstrip("\n").split("\t")
    print("%.9f" % {"save": save, "next": save_next, "load": load}[verb](*words), flush=True)
