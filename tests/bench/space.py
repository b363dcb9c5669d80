"""Bytes: what the store has after each checkpoint, against raw and against the peers.

Each class goes into a store of its own through a mount, step by step as a training would write it; after each step the
store is unmounted and its files are counted, all of them, by their lengths.  Then `ckptfs recompress` improves it, and it is
counted again.  "everything" puts all classes into one store.
"""
import os
import shutil
import subprocess

import datasets
import peers
from sides import Mount, Trouble


def stored(store):
    """Bytes of a closed store, without what is set aside for a full disk."""
    return sum(os.path.getsize(os.path.join(store, n)) for n in os.listdir(store) if n != "reserve")


class Ckptfs:
    name = "ckptfs"

    def __init__(self, base, ckptfs, options):
        self.mount = Mount(base, ckptfs, options)
        self.mount.umount()

    def add(self, step):
        self.mount.mount()
        # what names and paths a run has from step to step: a training writes into one directory
        shutil.copytree(step, os.path.join(self.mount.root, "run"), dirs_exist_ok=True)
        self.mount.umount()
        return stored(self.mount.store)

    def recompress(self):
        done = subprocess.run([self.mount.ckptfs, "recompress", self.mount.store], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Trouble("recompress: " + done.stdout.strip())
        return stored(self.mount.store)

    def close(self):
        self.mount.close()


def curve(one, steps, first):
    """[bytes after each step], less what was there before step `first`."""
    out = [one.add(step) for step in steps]
    before = out[first - 1] if first else 0
    return [b - before for b in out[first:]]


def raw_curve(steps, first):
    """Bytes that were written, added up: a file that is replaced is kept by none of the peers, and not by us."""
    total, out = 0, []
    for step in steps[first:]:
        total += datasets.size(step)
        out.append(total)
    return out


def peer_curve(kind, base, steps, first):
    """The same for a peer, or the reason why there is none."""
    why = peers.missing(kind)
    if why:
        return None, why
    where = os.path.join(base, "peer")
    os.mkdir(where)
    one = None
    try:
        one = kind(where)
        return curve(one, steps, first), None
    except (Trouble, OSError) as e:
        return None, str(e)
    finally:
        if one is not None and hasattr(one, "close"):
            one.close()
        shutil.rmtree(where, ignore_errors=True)


def show_head(kinds):
    print("\n%-9s %-40s %9s %8s %9s %13s   %s" % ("", "stored / raw", "raw", "ckptfs", "recompr.", "goal", "  ".join(
        k.name for k in kinds)))


def show(r, kinds):
    def number(v):
        return "%.4f" % v if v is not None and v < 0.1 else "%.3f" % v if v is not None else "-"
    goal = number(r["goal"]) + (" (%s)" % number(r["goal_recompressed"]) if r["goal_recompressed"] else "")
    print("%-9s %-40s %5d MiB %8s %9s %13s   %s  %s" % (
        r["name"], r["title"], r["raw"][-1] >> 20, number(r["ratio"]), number(r["recompressed"]), goal,
        "  ".join("%*s" % (len(k.name), number(r["peers"].get(k.name, {}).get("ratio"))) for k in kinds),
        "ok" if r["ok"] else "short"), flush=True)


def measure(args, base, steps, first, title, kinds):
    """One class: ratios, curves, reasons."""
    name, what, goal, goal_max = title
    raw = raw_curve(steps, first)
    one = Ckptfs(base, args.ckptfs, args.options)
    try:
        ours = curve(one, steps, first)
        after = one.recompress()
    finally:
        one.close()
    r = {"name": name, "title": what, "raw": raw, "stored": ours, "ratio": ours[-1] / raw[-1],
         "recompressed": None if first else after / raw[-1], "goal": goal, "goal_recompressed": goal_max, "peers": {}}
    r["ok"] = r["ratio"] <= goal and (goal_max is None or r["recompressed"] is None or r["recompressed"] <= goal_max)
    for kind in kinds:
        bytes_, why = peer_curve(kind, base, steps, first)
        r["peers"][kind.name] = {"skipped": why} if why else {"stored": bytes_, "ratio": bytes_[-1] / raw[-1]}
    show(r, kinds)
    return r


def measure_all(args, base, data, python):
    """Every chosen class, then all of them in one store. Returns the rows for the JSON file."""
    kinds = [] if args.no_peers else list(peers.KINDS)
    skipped = {k.name: peers.missing(k) for k in kinds if peers.missing(k)}
    kinds = [k for k in kinds if k.name not in skipped]
    for name, why in skipped.items():
        print("%-9s skipped: %s" % (name, why))
    show_head(kinds)
    rows = []
    for name, what, goal, goal_max, first in datasets.CLASSES:
        if args.classes and name not in args.classes:
            continue
        steps = datasets.steps(datasets.make(name, data, python))
        rows.append(measure(args, base, steps, first, (name, what, goal, goal_max), kinds))
    if not args.classes:
        rows.append(everything(args, base, data, python, kinds))
    return rows, skipped


def everything(args, base, data, python, kinds):
    """All classes, one after the other, in one store: links under one directory, a step of its own for each."""
    where = os.path.join(base, "everything")
    os.mkdir(where)
    count = 0
    for name, *_ in datasets.CLASSES:
        for step in datasets.steps(datasets.make(name, data, python)):
            shutil.copytree(step, os.path.join(where, "%03d" % count, name), copy_function=os.link)
            count += 1
    quick = [k for k in kinds if k.name in ("restic", "borg", "casync")]
    return measure(args, base, datasets.steps(where), 0, ("all", "everything, in one store") + datasets.EVERYTHING, quick)
