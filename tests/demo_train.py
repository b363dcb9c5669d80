"""The training loop of a tutorial: epoch-N.pth after every epoch, best_model.pth, resume, early stopping.

    demo_train.py --out DIR [--resume]     trains; nothing in it knows what kind of directory DIR is
    demo_train.py --compare DIR DIR        do two runs hold the same bits?

Works with torch 1.13 and 2.x.
"""
import argparse
import os
import random
import re
import sys

import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.3)
        self.fc1 = nn.Linear(32 * 7 * 7, 3072)
        self.fc2 = nn.Linear(3072, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return self.fc2(self.drop(F.relu(self.fc1(x.flatten(1)))))


def digits(n, seed):
    """n images of ten made-up digits with noise, the same on every machine."""
    g = torch.Generator().manual_seed(1)
    shapes = torch.rand(10, 1, 28, 28, generator=g)
    g.manual_seed(seed)
    y = torch.randint(10, (n,), generator=g)
    return shapes[y] + torch.randn(n, 1, 28, 28, generator=g), y


def newest(out):
    epochs = [int(m.group(1)) for m in (re.fullmatch(r"epoch-(\d+)\.pth", f) for f in os.listdir(out)) if m]
    return os.path.join(out, "epoch-%d.pth" % max(epochs)) if epochs else None


def train(out, resume, max_epochs=8, patience=2):
    torch.manual_seed(42)
    random.seed(42)
    x, y = digits(144, 2)
    x_val, y_val = digits(128, 3)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.5)
    epoch, best, waited, history = 0, float("inf"), 0, []

    if resume:
        path = newest(out)
        c = torch.load(path)
        net.load_state_dict(c["model"])
        optimizer.load_state_dict(c["optimizer"])
        scheduler.load_state_dict(c["scheduler"])
        torch.set_rng_state(c["rng"]["torch"])
        random.setstate(c["rng"]["python"])
        epoch, best, waited, history = c["epoch"], c["best"], c["waited"], c["history"]
        print("resumed from %s" % os.path.basename(path), flush=True)

    while epoch < max_epochs and waited < patience:
        epoch += 1
        net.train()
        for i in torch.randperm(len(x)).split(24):
            flip = random.random() < 0.1
            optimizer.zero_grad()
            F.cross_entropy(net(x[i].flip(3) if flip else x[i]), y[i]).backward()
            optimizer.step()
        scheduler.step()

        net.eval()
        with torch.no_grad():
            loss = F.cross_entropy(net(x_val), y_val).item()
        history.append({"epoch": epoch, "val_loss": loss})
        waited = 0 if loss < best else waited + 1
        print("epoch %d: validation loss %.4f%s" % (epoch, loss, "" if waited else ", best so far"), flush=True)
        if not waited:
            best = loss
            torch.save(net.state_dict(), os.path.join(out, "best_model.pth"))
        torch.save({
            "epoch": epoch, "best": best, "waited": waited, "history": history,
            "model": net.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
            "rng": {"torch": torch.get_rng_state(), "python": random.getstate()},
        }, os.path.join(out, "epoch-%d.pth" % epoch))
    print("stopped %s epoch %d" % ("early after" if waited else "after", epoch), flush=True)


def same(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and \
            a.contiguous().view(-1).view(torch.uint8).equal(b.contiguous().view(-1).view(torch.uint8)) \
            if a.dim() else torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(same(p, q) for p, q in zip(a, b))
    return type(a) is type(b) and a == b


def compare(one, two):
    names = sorted(os.listdir(one))
    if names != sorted(os.listdir(two)):
        sys.exit("different files: %s and %s" % (names, sorted(os.listdir(two))))
    for name in names:
        if not same(torch.load(os.path.join(one, name)), torch.load(os.path.join(two, name))):
            sys.exit("%s differs" % name)
    last = torch.load(newest(one))
    print("equal bit for bit: %d files, %d tensors of weights in the last, its optimizer and random numbers"
          % (len(names), len(last["model"])))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--compare", nargs=2, metavar="DIR")
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if a.compare:
        compare(*a.compare)
    else:
        train(a.out, a.resume)


if __name__ == "__main__":
    main()
