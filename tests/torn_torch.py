"""Real torch.save calls killed at random moments (30-torn.sh).  torn_torch.py DIR"""
import os
import random
import signal
import sys
import time

import torch

from tap import check, run, test


def state(k):
    g = torch.Generator().manual_seed(k)
    return {"k": k, "model": {"w%d" % i: torch.randn(1024, 1024, generator=g) for i in range(5)}}


def load(path):
    c = torch.load(path)
    want = state(c["k"])["model"]
    check(all(torch.equal(c["model"][n], want[n]) for n in want), "%s holds a mix" % path)
    return c["k"]


def to_path(c, path):
    torch.save(c, path)


def to_object(c, path):
    with open(path, "wb") as f:
        torch.save(c, f)


def rounds(save, sig, n=8):
    """The child saves over and over, so whenever the signal comes it is in a save, or between two."""
    rnd = random.Random(n)
    path = os.path.abspath("model.pth")
    save(state(0), path)
    for k in range(1, n + 1):
        new = os.path.abspath("epoch-%d.pth" % k)
        c = state(k)
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            torch.set_num_threads(1)
            os.write(w, b"x")
            save(c, path)
            save(c, new)
            os.write(w, b"y")
            while True:
                save(c, path)
                save(c, new)
        os.close(w)
        os.read(r, 1)
        time.sleep(rnd.uniform(0, 0.12))
        os.kill(pid, sig)
        status = os.waitpid(pid, 0)[1]
        check(os.WIFSIGNALED(status) and os.WTERMSIG(status) == sig, "the child ended with %d" % status)
        whole = os.read(r, 1) == b"y"
        os.close(r)
        check(load(path) in range(0, k + 1), "model.pth")
        if os.path.exists(new):
            check(load(new) == k, new)
        else:
            check(not whole, "%s was saved and is not there" % new)


for _save in (to_path, to_object):
    for _sig in (signal.SIGKILL, signal.SIGTERM):
        def _one(save=_save, sig=_sig):
            rounds(save, sig)
        test("torch.save %s, %s at random moments" % (_save.__name__.replace("_", " a "), _sig.name))(_one)

if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(run(sys.argv[1]))
