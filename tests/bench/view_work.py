"""view_work.py MOUNT STORE CKPTFS ROUNDS CHECKPOINTS: measures views on a mount; prints lines of `name value`."""
import os
import re
import statistics
import subprocess
import sys
import time

import torch

mount, store, ckptfs, rounds, checkpoints = sys.argv[1:4] + [int(v) for v in sys.argv[4:]]


def daemon():
    with open(os.path.join(store, "lock")) as f:
        return int(re.search(r"\d+", f.readline()).group())


def resident(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s*(\d+) kB", f.read()).group(1)) / 1000


def processor(pid):
    return time.clock_gettime(~pid << 3 | 2)


def remount():
    subprocess.run([ckptfs, "umount", mount], check=True)
    os.sync()
    for name in os.listdir(store):
        fd = os.open(os.path.join(store, name), os.O_RDONLY) if name.endswith(".db") else None
        if fd is not None:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
    subprocess.run([ckptfs, "mount", store, mount], check=True)


def took(path):
    start = time.perf_counter()
    torch.load(path)
    return time.perf_counter() - start


def loading():
    model = {"layer%d.weight" % i: torch.randn(1024, 1024) for i in range(32)}
    torch.save({"model": model, "epoch": 3}, mount + "/model.pt")
    del model
    cold, warm = [], []
    for turn in range(rounds):
        figures = {}
        for which in ("", "@cpu/") if turn % 2 else ("@cpu/", ""):
            remount()
            figures[which] = (took(mount + "/" + which + "model.pt"), took(mount + "/" + which + "model.pt"))
        cold.append(figures["@cpu/"][0] / figures[""][0])
        warm.append(figures["@cpu/"][1] / figures[""][1])
    print("load-cpu", statistics.median(cold))
    print("reload-cpu", statistics.median(warm))


def converting():
    """What the daemon spends on a view whose pages are dropped each time: finding the chunks and decoding them included."""
    path = mount + "/@bf16/model.pt"
    size = os.path.getsize(mount + "/model.pt")
    speeds = []
    for _ in range(rounds + 1):
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        before = processor(daemon())
        while os.read(fd, 1 << 20):
            pass
        speeds.append(size / 1e9 / max(processor(daemon()) - before, 1e-3))
        os.close(fd)
    print("bf16", statistics.median(speeds))


def huge():
    torch.save({"p%06d" % i: torch.zeros(4) + i for i in range(100000)}, mount + "/huge.pt")
    times, memory = [], []
    for _ in range(rounds):
        remount()
        pid = daemon()
        with open(mount + "/huge.pt", "rb") as f:
            while f.read(1 << 20):
                pass
        before = resident(pid)
        start = time.perf_counter()
        os.close(os.open(mount + "/@cpu/huge.pt", os.O_RDONLY))
        times.append((time.perf_counter() - start) * 1000)
        memory.append(resident(pid) - before)
    print("huge", statistics.median(times))
    print("huge-memory", statistics.median(memory))


def keys():
    torch.save({"key%07d" % i: i for i in range(1000000)}, mount + "/keys.pt")
    remount()
    subprocess.run(["ls", mount + "/@tree/keys.pt"], stdout=subprocess.DEVNULL, check=True)
    with open("/proc/%d/status" % daemon()) as f:
        print("keys-memory", int(re.search(r"VmHWM:\s*(\d+) kB", f.read()).group(1)) / 1000)
    os.unlink(mount + "/keys.pt")


def runs():
    value = {"epoch": 0, "model": {"w": torch.randn(8, 8)}, "optimizer": {"state": {}, "param_groups": []}, "loss": 0.5}
    per = 100
    for r in range(checkpoints // per):
        os.makedirs("%s/runs/run%03d" % (mount, r))
        for e in range(per):
            value["epoch"] = e
            torch.save(value, "%s/runs/run%03d/epoch-%d.pth" % (mount, r, e))
    times, cpu = [], []
    for _ in range(2):
        subprocess.run(["ls", "-lR", mount + "/@runs/runs"], stdout=subprocess.DEVNULL, check=True)
    for _ in range(rounds):
        start, served, own = time.perf_counter(), processor(daemon()), os.times()
        subprocess.run(["ls", "-lR", mount + "/@runs/runs"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
        now = os.times()
        cpu.append(processor(daemon()) - served + now.children_user - own.children_user +
                   now.children_system - own.children_system)
    print("runs", statistics.median(times))
    print("runs-cpu", statistics.median(cpu))


loading()
converting()
huge()
keys()
runs()
