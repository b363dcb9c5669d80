"""ckptfs against the filesystem that its store lies on.

Every workload runs on both sides in turn, in several rounds, the sides changing places each round, on one disk; each
workload has a new store and a new directory.  The ratio of a row is the median of its rounds' ratios (time on the
mount / time on the local filesystem), with the smallest and the largest beside it.  Nothing else should run meanwhile; the
processor time of the daemon ("cpu") is worth a look where something does.

The JSON file:

    version     1
    date, kernel, cpus, ckptfs
    filesystem  {"type", "device"}: both sides lie there
    options     of the mount
    rounds, quick, size (bytes of a large file), count (small files), torch (version or null)
    rows        a list of
        name, title
        mount, local    [seconds a round]
        cpu             [processor seconds of the daemon a round]
        ratio           {"median", "min", "max"}
        goal, final     what is asked for at this stage and by the design, or null
        ok              ratio.median <= goal; null without a goal
    memory      {"peak": most bytes any daemon had resident, "goal", "ok"}
    space       a list of {name, title, raw, stored: [bytes after each step], ratio, recompressed, goal,
                goal_recompressed, ok, peers: {name: {stored, ratio} or {skipped}}}
    views, deep lists of {name, title, value, unit, goal, ok}
    skipped     {workload or peer: why}

What was not measured in a run keeps what the file said before.
"""
import argparse
import datetime
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

import deep
import picture
import space
import views
import workloads
from sides import Local, Mount, Trouble, drop_kernel_caches, where_it_lies

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build")
PARTS = ("speed", "space", "views", "deep")
NO_DISK = ("tmpfs", "ramfs", "overlay")


class Bench:
    """What a workload is given: the sides, the sizes, the helpers, and where times go."""

    def __init__(self, args, base, helpers):
        self.base, self.helpers, self.args = base, helpers, args
        self.size = args.size * workloads.MIB
        self.count = args.count
        self.torch_size = (50 if args.quick else 200) * 1000000
        self.torch = None
        self.round = 0
        self.seeds = int.from_bytes(os.urandom(3), "little")
        self.times = {}   # row -> {"mount": [...], "local": [...], "cpu": [...]}
        self.cpu = 0.0    # what the daemon used in the last step
        self.peak = 0
        self.names_cold = True

    def open(self):
        self.mount = Mount(self.base, self.args.ckptfs, self.args.options)
        try:
            self.local = Local(self.base)
        except OSError:
            self.mount.close()
            raise
        self.sides = [self.mount, self.local]

    def close(self):
        self.local.close()
        self.mount.close()
        self.peak = max(self.peak, self.mount.peak)

    def turns(self):
        """The sides, in an order that changes every round."""
        return self.sides if self.round % 2 == 0 else self.sides[::-1]

    def seed(self):
        self.seeds += 1
        return self.seeds

    def sync(self, side):
        """The mount has it on the disk when close returns; the local filesystem is asked to."""
        return "0" if side is self.mount else "1"

    def took(self, side, row, seconds):
        times = self.times.setdefault(row, {"mount": [], "local": [], "cpu": []})
        if side is self.mount:
            times["mount"].append(seconds)
            times["cpu"].append(self.cpu)
        else:
            times["local"].append(seconds)

    def helper(self, program, *args):
        before = self.mount.cpu()
        done = subprocess.run((os.path.join(self.helpers, program),) + args, stdout=subprocess.PIPE, text=True)
        self.cpu = self.mount.cpu() - before
        if done.returncode != 0:
            raise Trouble("%s %s failed" % (program, " ".join(args)))
        return float(done.stdout)

    def ask(self, *words):
        before = self.mount.cpu()
        took = self.torch.ask(*words)
        self.cpu = self.mount.cpu() - before
        return took

    def stream(self, *args):
        return self.helper("stream", *args)

    def small(self, *args):
        return self.helper("smallfiles", *args)

    def all_cold(self):
        """Names and attributes too.  Without root the local side stays warm, and the row says so."""
        for side in self.sides:
            side.cold()
        self.names_cold = drop_kernel_caches() and self.names_cold

    def sweep(self, *names):
        for side in self.sides:
            for name in names:
                os.unlink(os.path.join(side.root, name))
            side.settle()


def build_helpers():
    where = os.path.join(BUILD, "bench")
    os.makedirs(where, exist_ok=True)
    for name in ("stream", "smallfiles"):
        program, source = os.path.join(where, name), os.path.join(HERE, name + ".c")
        if not os.path.exists(program) or os.path.getmtime(program) < os.path.getmtime(source):
            command = [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-O2", "-o", program, source]
            if subprocess.run(command).returncode != 0:
                raise Trouble("%s does not compile" % source)
    return where


def result(row, times):
    name, title, goal, final = row
    ratios = [m / l for m, l in zip(times["mount"], times["local"])]
    median = statistics.median(ratios)
    return {
        "name": name, "title": title, "mount": times["mount"], "local": times["local"], "cpu": times["cpu"],
        "ratio": {"median": median, "min": min(ratios), "max": max(ratios)},
        "goal": goal, "final": final, "ok": None if goal is None else median <= goal,
    }


def seconds(values):
    v = statistics.median(values)
    return "%8.2f s " % v if v >= 1 else "%8.1f ms" % (v * 1e3)


def show_head(kind):
    print("%-13s %-46s %11s %11s %11s %7s %-13s %4s %6s" % (
        "", "", "cpu", "mount", kind, "ratio", "min..max", "goal", "final"))


def show(r):
    def limit(v):
        return "%.4g" % v if v is not None else ""
    print("%-13s %-46s %11s %11s %11s %7.2f %-13s %4s %6s %s" % (
        r["name"], r["title"], seconds(r["cpu"]), seconds(r["mount"]), seconds(r["local"]), r["ratio"]["median"],
        "%.2f..%.2f" % (r["ratio"]["min"], r["ratio"]["max"]), limit(r["goal"]), limit(r["final"]),
        {None: "", True: "ok", False: "short"}[r["ok"]]), flush=True)


def arguments():
    p = argparse.ArgumentParser(prog="tests/bench/run", description="ckptfs against the filesystem that its store lies on")
    p.add_argument("--only", metavar="PART,...", help="of speed, space, views; and deep, which only runs when it is named")
    p.add_argument("--quick", action="store_true", help="small files, two rounds; under a minute")
    p.add_argument("--rows", metavar="A,B", help="only the workloads that these rows (or workloads: %s) belong to" %
                   ", ".join(workloads.ROWS))
    p.add_argument("--rounds", type=int, help="default 5; 2 with --quick")
    p.add_argument("--size", type=int, metavar="MIB", help="a large file; default 512; 128 with --quick")
    p.add_argument("--count", type=int, metavar="N", help="small files; default 10000; 2000 with --quick")
    p.add_argument("--classes", metavar="A,B", help="only these classes of space")
    p.add_argument("--no-peers", action="store_true", help="space without the peers")
    p.add_argument("--chunks", type=int, default=10000000, help="of deep; default 10,000,000")
    p.add_argument("--dir", help="where both sides lie; default build/bench")
    p.add_argument("--json", metavar="FILE", help="default build/bench.json")
    p.add_argument("-o", dest="options", metavar="OPT,...", help="options of the mount")
    p.add_argument("--check", action="store_true", help="exit with 1 when a row is short of its goal")
    a = p.parse_args()
    a.rounds = a.rounds or (2 if a.quick else 5)
    a.size = a.size or (128 if a.quick else 512)
    a.count = a.count or (2000 if a.quick else 10000)
    a.json = a.json or os.path.join(BUILD, "bench.json")
    a.parts = a.only.split(",") if a.only else ["speed", "space", "views"]
    if set(a.parts) - set(PARTS):
        p.error("--only takes %s" % ", ".join(PARTS))
    a.classes = a.classes.split(",") if a.classes else None
    a.ckptfs = os.path.abspath(os.environ.get("CKPTFS", os.path.join(BUILD, "ckptfs")))
    if a.rounds < 1 or a.size < 32 or a.count < 10:
        p.error("--rounds from 1, --size from 32, --count from 10")
    words = a.rows.split(",") if a.rows else []
    a.chosen = [w for w, rows in workloads.ROWS.items() if not words or w in words or any(r[0] in words for r in rows)]
    known = set(workloads.ROWS) | {r[0] for rows in workloads.ROWS.values() for r in rows}
    for w in words:
        if w not in known:
            p.error("no row '%s'; there are: %s" % (w, " ".join(sorted(known))))
    return a


def run(args, base, helpers, kind, rows, skipped):
    """The workloads; returns the Bench for what it has seen."""
    b = Bench(args, base, helpers)
    show_head(kind)
    for name in args.chosen:
        if name == "torch":
            python = workloads.Torch.find()
            if python is None:
                skipped[name] = "no Python here has torch; PYTHON=... names one"
                print("%-13s skipped: %s" % (name, skipped[name]))
                continue
            b.torch = workloads.Torch(python)
        b.open()
        try:
            for b.round in range(args.rounds):
                getattr(workloads, name)(b)
        finally:
            b.close()
            if name == "torch":
                b.torch.close()
        for row in workloads.ROWS[name]:
            r = result(row, b.times[row[0]])
            rows.append(r)
            show(r)
        if not b.names_cold and name == "small":
            print("%-13s only root can make the local names cold; the cold rows compare with warm ones" % "")
    return b


def speed(args, base, helpers, kind, results):
    """The rows of time, and the memory that it took."""
    rows = []
    b = run(args, base, helpers, kind, rows, results["skipped"])
    memory = {"peak": b.peak, "goal": workloads.MEMORY_GOAL, "ok": b.peak <= workloads.MEMORY_GOAL}
    print("%-13s %-46s %11s %7d MiB %33s %4d %6s %s" % ("memory", "the daemon's peak, over all of it", "", b.peak >> 20, "",
                                                  workloads.MEMORY_GOAL >> 20, "", "ok" if memory["ok"] else "short"))
    results.update({"rounds": args.rounds, "quick": args.quick, "size": b.size, "count": b.count,
                    "torch": b.torch.version if b.torch else None, "rows": rows, "memory": memory})


def parts(args, base, helpers, kind, results):
    """Each part that was asked for, into results."""
    python = workloads.Torch.find()
    if "speed" in args.parts:
        speed(args, base, helpers, kind, results)
    if "space" in args.parts:
        results["space"], skipped = space.measure_all(args, base, os.path.join(BUILD, "bench", "data"), python)
        results["skipped"].update(skipped)
        figures = os.path.join(os.path.dirname(args.json), "figures.svg")
        with open(figures, "w") as f:
            f.write(picture.draw(results["space"]))
        print("\nbytes over checkpoints: %s" % figures)
    if "views" in args.parts:
        if python is None:
            results["skipped"]["views"] = "no Python here has torch; PYTHON=... names one"
            print("views skipped: " + results["skipped"]["views"])
        else:
            results["views"] = views.measure(args, base, python)
    if "deep" in args.parts:
        results["deep"] = deep.measure(args, base)


def earlier(path):
    """What an earlier run left, for the parts that are not measured now."""
    try:
        with open(path) as f:
            results = json.load(f)
        return results if results.get("version") == 1 else {}
    except (OSError, ValueError):
        return {}


def main():
    args = arguments()
    helpers = build_helpers()
    where = args.dir or helpers
    kind, device = where_it_lies(where)
    if kind in NO_DISK:
        raise Trouble("'%s' lies on %s, which is no disk; --dir names another place" % (where, kind))
    if not os.access(args.ckptfs, os.X_OK):
        raise Trouble("'%s' is not there; run make" % args.ckptfs)
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    print("both sides on %s on %s, %d cores; %d rounds, files of %d MiB and %d small ones%s\n" % (
        kind, device, os.cpu_count(), args.rounds, args.size, args.count,
        "; -o " + args.options if args.options else ""), flush=True)
    if os.getloadavg()[0] > 1:
        print("the machine is busy (load %.1f): the ratios of time say little\n" % os.getloadavg()[0])
    version = subprocess.run([args.ckptfs, "version"], stdout=subprocess.PIPE, text=True).stdout.split()
    results = earlier(args.json)
    results.update({
        "version": 1, "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "kernel": os.uname().release, "cpus": os.cpu_count(), "ckptfs": version[1],
        "filesystem": {"type": kind, "device": device}, "options": args.options or "", "skipped": {}})
    base = tempfile.mkdtemp(prefix="run.", dir=where)
    try:
        parts(args, base, helpers, kind, results)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    with open(args.json, "w") as f:
        json.dump(results, f, indent=1)
        f.write("\n")
    measured = [r for part in ("rows", "space", "views", "deep") for r in results.get(part, ())]
    short = [r["name"] for r in measured if r["ok"] is False]
    if not results.get("memory", {"ok": True})["ok"]:
        short.append("memory")
    print("\n%s; all of it: %s" % ("short of the goal: " + " ".join(short) if short else "every goal is met",
                                   args.json))
    return 1 if short and args.check else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as e:
        print("bench: %s" % e, file=sys.stderr)
        sys.exit(3)
    except KeyboardInterrupt:
        sys.exit(130)
