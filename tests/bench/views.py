"""What views cost: loading through @cpu against the path itself, converting, opening a huge one, listing runs.

Made by a Python that has torch (view_work.py); the store is one of its own.
"""
import os
import re
import subprocess

from sides import Mount, Trouble

HERE = os.path.dirname(os.path.abspath(__file__))

# name, what it is, unit, goal, whether more is better
ROWS = [
    ("load-cpu", "torch.load through @cpu, cold, against the path", "x", 1.1, False),
    ("reload-cpu", "torch.load through @cpu, again", "x", 1.1, False),
    ("bf16", "@bf16 of fp32, GB of source a second and core, with decoding", "GB/s", 1.0, True),
    ("huge", "@cpu of 100,000 tensors, opened first", "ms", 150, False),
    ("huge-memory", "memory that takes in the daemon", "MB", 100, False),
    ("keys-memory", "peak memory of the daemon that lists @tree of 1,000,000 keys", "MB", 256, False),
    ("runs", "ls -lR @runs of %d checkpoints, again", "s", 3.0, False),
    ("runs-cpu", "CPU time of that, ls and daemon", "s", 3.0, False),
]


def measure(args, base, python):
    """Rows for the JSON file."""
    mount = Mount(base, args.ckptfs, args.options)
    try:
        count = 1000 if args.quick else 10000
        done = subprocess.run([python, "-W", "ignore", os.path.join(HERE, "view_work.py"), mount.root, mount.store,
                               args.ckptfs, str(args.rounds), str(count)], stdout=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise Trouble("the workload of the views failed")
        figures = dict(line.split() for line in done.stdout.splitlines())
    finally:
        with open(os.path.join(mount.store, "lock")) as f:
            mount.pid = int(re.search(r"\d+", f.readline()).group())  # it was mounted anew there
        mount.close()
    rows = []
    print("\n%-13s %-60s %10s %8s" % ("", "views", "", "goal"))
    for name, what, unit, goal, more in ROWS:
        value = float(figures[name])
        what = what % count if "%d" in what else what
        if name.startswith("runs"):
            goal = goal * count / 10000
        ok = value >= goal if more else value <= goal
        rows.append({"name": name, "title": what, "value": value, "unit": unit, "goal": goal, "ok": ok})
        print("%-13s %-60s %7.3g %-4s %5.3g %s" % (name, what, value, unit, goal, "ok" if ok else "short"), flush=True)
    return rows
