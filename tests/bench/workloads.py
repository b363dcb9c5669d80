"""What is measured.

A workload is a function of a Bench: it does one round of its steps on both sides and hands every time it took to
bench.took(side, row, seconds).  ROWS says of each row what is shown, and the ratio that is asked for: at this stage of
the program, and by the design in the end.  None: none.
"""
import os
import subprocess

MIB = 1 << 20

# (row, what it is, goal, final goal), by workload
ROWS = {
    "stream": [
        ("write", "write new fp32 data, durable at close", 2.5, 1.4),
        ("again", "write the same file again", None, 0.35),
        ("mostly", "write it with 90 % unchanged", None, 0.5),
        ("read", "read it, cold", 2.0, 1.5),
        ("reread", "read it again", 1.1, 1.1),
    ],
    "writers": [("writers", "four write at once, durable at close", None, 1.2)],
    "random": [
        ("random", "random 4 KiB reads, cold", None, None),
        ("daemon", "random 4 KiB reads, what the daemon has cached", None, None),
        ("rerandom", "random 4 KiB reads, again", None, 1.1),
    ],
    "torch": [
        ("save", "torch.save, durable", None, 1.4),
        ("next", "save the next checkpoint of a dense training", None, 1.5),
        ("load", "torch.load, cold", None, 1.3),
        ("reload", "torch.load again", None, 1.1),
    ],
    "small": [
        ("create", "create, write, close small files", 6.0, 3.0),
        ("stat", "stat them, from the kernel's cache", 1.1, 1.1),
        ("stat-cold", "stat them, cold", None, 3.0),
        ("readdir", "readdir, from the kernel's cache", 1.1, 1.1),
        ("readdir-cold", "readdir, cold", None, 3.0),
        ("rename", "rename them", None, 4.0),
        ("unlink", "unlink them", None, 4.0),
        ("mkdir", "mkdir", None, 4.0),
    ],
    "append": [
        ("reopen", "open, append a line, close", None, 5.0),
        ("append", "append lines through one handle", None, 10.0),
    ],
}
MEMORY_GOAL = 256 * MIB


def stream(b):
    """Large files: what a checkpoint does to a disk."""
    size, seed = str(b.size), str(b.seed())
    for row, changed in (("write", "0"), ("again", "0"), ("mostly", "10")):
        for side in b.turns():
            b.took(side, row, b.stream("write", size, seed, changed, b.sync(side), os.path.join(side.root, row)))
            side.settle()
    for side in b.turns():
        side.cold()
        b.took(side, "read", b.stream("read", os.path.join(side.root, "write")))
        b.took(side, "reread", b.stream("read", os.path.join(side.root, "write")))
    b.sweep("write", "again", "mostly")


def writers(b):
    seed = str(b.seed())
    for side in b.turns():
        names = [os.path.join(side.root, "rank%d" % i) for i in range(4)]
        b.took(side, "writers", b.stream("write", str(b.size // 4), seed, "0", b.sync(side), *names))
        side.settle()
    b.sweep("rank0", "rank1", "rank2", "rank3")


def random(b):
    """Both caches hold nothing; then the daemon's holds the part that is read, but the kernel's does not."""
    size, seed, part = b.size // 2, str(b.seed()), 16 * MIB
    for side in b.turns():
        path = os.path.join(side.root, "file")
        b.stream("write", str(size), seed, "0", b.sync(side), path)
        side.cold()
        count = str(b.count // 5)
        b.took(side, "random", b.small("pread", path, str(size), count, seed))
        b.took(side, "rerandom", b.small("pread", path, str(size), count, seed))
        b.small("pread", path, str(part), str(part >> 11), "1")
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
        b.took(side, "daemon", b.small("pread", path, str(part), count, "2"))
    b.sweep("file")


def torch(b):
    seed = str(b.seed())
    for side in b.turns():
        path = os.path.join(side.root, "model.pt")
        b.took(side, "save", b.ask("save", path, seed, str(b.torch_size), b.sync(side)))
        side.settle()
    for side in b.turns():
        path = os.path.join(side.root, "model-2.pt")
        b.took(side, "next", b.ask("next", path, seed, str(b.torch_size), b.sync(side)))
        side.settle()
    for side in b.turns():
        path = os.path.join(side.root, "model.pt")
        side.cold()
        b.took(side, "load", b.ask("load", path))
        b.took(side, "reload", b.ask("load", path))
    b.sweep("model.pt", "model-2.pt")


def small(b):
    """Thousands of files of some KiB in one directory, and their names."""
    count, seed = str(b.count), str(b.seed())

    def step(row, verb, *args, settle=True):
        for side in b.turns():
            b.took(side, row, b.small(verb, os.path.join(side.root, "d"), *args))
            if settle:
                side.settle()

    for side in b.sides:
        os.mkdir(os.path.join(side.root, "d"))
    step("create", "create", "f", count, seed)
    for row, args in (("stat", ("f", count, "20")), ("readdir", ("20",))):
        for side in b.sides:  # fills the kernel's cache
            b.small(row, os.path.join(side.root, "d"), *args)
        step(row, row, *args, settle=False)
    step("rename", "rename", "f", count, "longer-name")
    for row, args in (("stat", ("longer-name", count, "1")), ("readdir", ("1",))):
        b.all_cold()
        step(row + "-cold", row, *args, settle=False)
    step("unlink", "unlink", "longer-name", count)
    step("mkdir", "mkdir", "experience", count)
    for side in b.sides:
        b.small("rmdir", os.path.join(side.root, "d"), "experience", count)
        os.rmdir(os.path.join(side.root, "d"))
        side.settle()


def append(b):
    for row, count in (("reopen", b.count // 5), ("append", b.count)):
        for side in b.turns():
            b.took(side, row, b.small(row, os.path.join(side.root, row + ".log"), str(count)))
            side.settle()
    b.sweep("reopen.log", "append.log")


class Torch:
    """A Python that has torch, kept running: importing it would take longer than what is measured."""

    @staticmethod
    def find():
        """Its path, or None."""
        for python in (os.environ.get("PYTHON"), "python3", "/usr/bin/python3"):
            try:
                if python and subprocess.run([python, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode == 0:
                    return python
            except OSError:
                pass
        return None

    def __init__(self, python):
        helper = os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_save.py")
        self.process = subprocess.Popen([python, "-W", "ignore", helper], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.version = self.process.stdout.readline().strip()

    def ask(self, *words):
        self.process.stdin.write("\t".join(words) + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
