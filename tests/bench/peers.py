"""What others make of the same checkpoints: stores with deduplication, compressors of files, float codecs.

A peer is given the steps of a class in order and answers the bytes it has after each.  Each works as its manual says, with
its own defaults for level unless the name tells.  One that is not installed, or can't work here, is left out with a line.
"""
import os
import shutil
import subprocess

from sides import Trouble


def call(*command, **more):
    env = dict(os.environ, **more.pop("env", {}))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, **more)
    if done.returncode != 0:
        raise Trouble("%s: %s" % (" ".join(command[:3]), done.stdout.decode(errors="replace").strip()[-300:]))


def used(path):
    return sum(os.lstat(os.path.join(top, n)).st_size for top, _, names in os.walk(path) for n in names)


def files(step):
    return sorted(os.path.join(top, n) for top, _, names in os.walk(step) for n in names)


class Restic:
    name, needs = "restic", ("restic",)

    def __init__(self, base):
        self.repo = os.path.join(base, "restic")
        self.env = {"RESTIC_REPOSITORY": self.repo, "RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": self.repo + ".cache"}
        call("restic", "init", env=self.env)

    def add(self, step):
        call("restic", "backup", step, env=self.env)
        return used(self.repo)


class Borg:
    name, needs = "borg", ("borg",)

    def __init__(self, base):
        self.repo = os.path.join(base, "borg")
        self.env = {"BORG_BASE_DIR": self.repo + ".base", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes"}
        call("borg", "init", "-e", "none", self.repo, env=self.env)

    def add(self, step):
        call("borg", "create", "-C", "zstd,1", "%s::%s" % (self.repo, os.path.basename(step)), step, env=self.env)
        return used(self.repo)


class Casync:
    name, needs = "casync", ("casync",)

    def __init__(self, base):
        self.where = os.path.join(base, "casync")
        os.mkdir(self.where)

    def add(self, step):
        index = os.path.join(self.where, os.path.basename(step) + ".caidx")
        call("casync", "make", "--store=" + os.path.join(self.where, "store.castr"), index, step)
        return used(self.where)


class Squashfs:
    """Made anew of all steps each time: it can't grow."""
    name, needs = "squashfs", ("mksquashfs",)

    def __init__(self, base):
        self.all, self.image = os.path.join(base, "squash.d"), os.path.join(base, "squash.img")
        os.mkdir(self.all)

    def add(self, step):
        shutil.copytree(step, os.path.join(self.all, os.path.basename(step)), copy_function=os.link)
        call("mksquashfs", self.all, self.image, "-comp", "zstd", "-Xcompression-level", "1", "-noappend", "-no-progress")
        return os.path.getsize(self.image)


class Patch:
    """zstd -3, each file as a patch to the one that has its place in the step before."""
    name, needs = "zstd --patch-from", ("zstd",)

    def __init__(self, base):
        self.out, self.total, self.before = os.path.join(base, "patch.zst"), 0, []

    def add(self, step):
        now = files(step)
        if len(now) > 1000:
            raise Trouble("a process for each of %d files" % len(now))
        for i, path in enumerate(now):
            source = ["--patch-from=" + self.before[i]] if i < len(self.before) else []
            call("zstd", "-q", "-f", "-3", "--long=27", *source, path, "-o", self.out)
            self.total += os.path.getsize(self.out)
        self.before = now
        return self.total


class Btrfs:
    """A filesystem in a file, compress-force=zstd:1, and what it says it uses. Needs root and a kernel that has it."""
    name, needs = "btrfs", ("mkfs.btrfs",)

    def __init__(self, base):
        self.image, self.root = os.path.join(base, "btrfs.img"), os.path.join(base, "btrfs.mnt")
        os.mkdir(self.root)
        with open(self.image, "wb") as f:
            f.truncate(4 << 30)
        call("mkfs.btrfs", "-q", self.image)
        call("mount", "-o", "loop,compress-force=zstd:1", self.image, self.root)
        self.first = self.now()

    def now(self):
        call("sync", "-f", self.root)
        s = os.statvfs(self.root)
        return (s.f_blocks - s.f_bfree) * s.f_frsize

    def add(self, step):
        shutil.copytree(step, os.path.join(self.root, os.path.basename(step)))
        return self.now() - self.first

    def close(self):
        call("umount", self.root)


class Floats:
    """A float codec of Python's, file by file, in the Python that has it; told the dtype of the class."""
    needs = ()

    def __init__(self, base):
        self.python = float_python()
        if self.python is None:
            raise Trouble("its Python is not there (tests/bench/run sets one up where it can)")
        call(self.python, "-c", "import " + self.module)
        self.total, self.before = 0, []

    def add(self, step):
        now = files(step)
        if len(now) > 1000:
            raise Trouble("a call for each of %d files" % len(now))
        pairs = [word for i, path in enumerate(now)
                 for word in (path, self.before[i] if i < len(self.before) else "-")]
        here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peer_floats.py")
        done = subprocess.run([self.python, "-W", "ignore", here, self.module, dtype_of(step)] + pairs,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode < 0:
            raise Trouble("it crashed with signal %d" % -done.returncode)
        if done.returncode != 0:
            raise Trouble(done.stderr.strip().rsplit("\n", 1)[-1])
        self.total, self.before = self.total + int(done.stdout), now
        return self.total


def dtype_of(step):
    """What a class is made of, by its name (datasets.py)."""
    name = os.path.basename(os.path.dirname(step)).split("-")[0]
    return {"bf16": "bf16", "fp16": "fp16", "replay": "-", "int8": "-", "fp8": "-", "int4": "-", "small": "-"}.get(name, "fp32")


class Zipnn(Floats):
    name = module = "zipnn"


class Z4ai(Floats):
    name = module = "z4ai"


def float_python():
    path = os.environ.get("PEERS_PYTHON")
    return path if path and os.access(path, os.X_OK) else None


KINDS = (Restic, Borg, Casync, Squashfs, Patch, Btrfs, Zipnn, Z4ai)


def missing(kind):
    """Why a peer can't take part, or None."""
    for program in kind.needs:
        if shutil.which(program) is None:
            return "%s is not installed" % program
    return None
