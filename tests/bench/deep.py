"""A store with millions of chunks against an empty one: saving, reading, collecting.

Chunks are tensors of 4 KiB, each of one number that no other has, in safetensors files of 5,000: some 20 bytes a chunk on the
disk, so that the count and not the bytes is what is measured.
"""
import json
import os
import shutil
import statistics
import struct
import subprocess
import time

from sides import Mount, Trouble

TENSORS, BYTES = 5000, 4096


def write_file(path, first):
    """A file of chunks that are told from one another by numbers from `first` on."""
    head, text = {}, b""
    for i in range(TENSORS):
        head["t%d" % i] = {"dtype": "I64", "shape": [BYTES // 8], "data_offsets": [i * BYTES, (i + 1) * BYTES]}
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for i in range(0, TENSORS, 250):
            f.write(b"".join(struct.pack("<q", first + i + k) * (BYTES // 8) for k in range(250)))


def save_and_read(mount, name, data):
    """Seconds to save a file durably, and to read it cold."""
    path = os.path.join(mount.root, name)
    start = time.perf_counter()
    with open(path, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    saved = time.perf_counter() - start
    mount.cold()
    start = time.perf_counter()
    with open(path, "rb") as f:
        while f.read(1 << 20):
            pass
    return saved, time.perf_counter() - start


def collect(mount, ckptfs):
    start = time.perf_counter()
    done = subprocess.run([ckptfs, "gc", mount.root], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Trouble("gc: " + done.stdout.strip())
    return time.perf_counter() - start


def measure(args, base):
    """Rows for the JSON file. The empty store and the full one take turns."""
    where = [os.path.join(base, n) for n in ("empty", "full")]
    sides = []
    for w in where:
        os.mkdir(w)
        sides.append(Mount(w, args.ckptfs, args.options))
    try:
        start, chunks = time.perf_counter(), 0
        while chunks < args.chunks:
            write_file(os.path.join(sides[1].root, "f%05d.safetensors" % (chunks // TENSORS)), chunks)
            chunks += TENSORS
        print("%d chunks in %.0f s" % (chunks, time.perf_counter() - start), flush=True)
        saved, read = [], []
        for turn in range(args.rounds):
            times = [None, None]
            for i in (0, 1) if turn % 2 else (1, 0):
                times[i] = save_and_read(sides[i], "new%d" % turn, os.urandom(64 << 20))
            saved.append(times[1][0] / times[0][0])
            read.append(times[1][1] / times[0][1])
        gc = collect(sides[1], args.ckptfs)
    finally:
        for side in sides:
            side.close()
        for w in where:
            shutil.rmtree(w, ignore_errors=True)
    rows = []
    for name, what, value, goal, unit in (
            ("deep-save", "save 64 MiB into %d chunks, against an empty store" % chunks, statistics.median(saved), 1.4, "x"),
            ("deep-read", "read it cold", statistics.median(read), 1.4, "x"),
            ("deep-gc", "gc", gc, 60 * chunks / 1e7, "s")):
        rows.append({"name": name, "title": what, "value": value, "unit": unit, "goal": goal, "ok": value <= goal})
        print("%-13s %-60s %7.3g %-4s %5.3g %s" % (name, what, value, unit, goal, "ok" if value <= goal else "short"), flush=True)
    return rows
