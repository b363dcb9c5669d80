"""The tutorial's loop, saving each epoch by temporary file and rename, resumed in a new process.  loop.py [--child N] DIR"""
import os
import subprocess
import sys

import torch
from torch import nn


def epoch(net, optimizer):
    for _ in range(3):
        x = torch.randn(8, 64)
        optimizer.zero_grad()
        (net(x) - x.sum(1, keepdim=True)).pow(2).mean().backward()
        optimizer.step()


def run(where, first, last, resume):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 1))
    optimizer = torch.optim.AdamW(net.parameters())
    if resume:
        c = torch.load(os.path.join(where, "last.pth"))
        net.load_state_dict(c["net"])
        optimizer.load_state_dict(c["optimizer"])
        torch.set_rng_state(c["rng"])
        assert c["epoch"] == first - 1
    for n in range(first, last + 1):
        epoch(net, optimizer)
        c = {"epoch": n, "net": net.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
        path = os.path.join(where, "epoch-%d.pth" % n)
        torch.save(c, path + ".tmp")
        os.rename(path + ".tmp", path)
        tmp = os.path.join(where, "last.tmp")
        if os.path.lexists(tmp):
            os.unlink(tmp)
        os.symlink(os.path.basename(path), tmp)
        os.replace(tmp, os.path.join(where, "last.pth"))
        if n > 3:
            os.unlink(os.path.join(where, "epoch-%d.pth" % (n - 3)))
    return net


torch.set_num_threads(1)
where = sys.argv[-1]
if "--child" in sys.argv:
    run(where, 4, 6, True)
    sys.exit(0)
os.makedirs(os.path.join(where, "a"))
os.makedirs(os.path.join(where, "b"))
run(os.path.join(where, "a"), 1, 3, False)
subprocess.check_call([sys.executable, sys.argv[0], "--child", os.path.join(where, "a")])
whole = run(os.path.join(where, "b"), 1, 6, False)
for d in "ab":
    assert sorted(os.listdir(os.path.join(where, d))) == ["epoch-4.pth", "epoch-5.pth", "epoch-6.pth", "last.pth"]
    got = torch.load(os.path.join(where, d, "last.pth"))["net"]
    assert all(torch.equal(got[k], v) for k, v in whole.state_dict().items()), d
