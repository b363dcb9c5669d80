"""made.py DIRECTORY CLASS: makes the checkpoints that `make bench` measures space with, by real training.

Run by datasets.py in a Python that has torch; everything is seeded, so that a class is the same wherever it is made with
the same torch.  A class is a directory of steps 00, 01, ...: what a training run had on its disk one after the other.  The
settings (learning rates, steps between two checkpoints, share of tensors that stand still) were chosen so that the entropies of
weights, moments and differences come near those of longer trainings; they were not chosen by what ckptfs makes of them.
"""
import json
import os
import random
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(a, b, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(b)
        self.down = nn.Conv2d(a, b, 1, stride, bias=False) if stride != 1 or a != b else nn.Identity()

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.down(x))


class ResNet(nn.Module):
    """As for 32 x 32 images: three stages of two blocks; 2.8 million weights."""

    def __init__(self, classes=20, width=64):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        shape = [(width, width, 1), (width, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 1),
                 (2 * width, 4 * width, 2), (4 * width, 4 * width, 1)]
        self.blocks = nn.Sequential(*[Block(*s) for s in shape])
        self.head = nn.Linear(4 * width, classes)

    def features(self, x):
        return self.blocks(F.relu(self.bn(self.stem(x)))).mean((2, 3))

    def forward(self, x):
        return self.head(self.features(x))


class Transformer(nn.Module):
    """Predicts the next of a sequence of words; 3.2 million weights."""

    def __init__(self, words=2048, dim=224, layers=4):
        super().__init__()
        self.embed = nn.Embedding(words, dim)
        self.place = nn.Parameter(torch.randn(48, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 4, 4 * dim, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers)
        self.out = nn.Linear(dim, words)
        nn.init.normal_(self.embed.weight, std=0.05)

    def forward(self, x):
        n = x.shape[1]
        mask = torch.triu(torch.full((n, n), float("-inf")), 1)
        return self.out(self.layers(self.embed(x) + self.place[:n], mask))


def pictures(n, classes, seed):
    """Smooth pictures that tell their class, with the noise of a sensor; uint8, 3 x 32 x 32."""
    g = torch.Generator().manual_seed(seed)
    base = torch.randn(classes, 3, 5, 5, generator=g)
    kind = torch.randint(classes, (n,), generator=g)
    own = torch.randn(n, 3, 5, 5, generator=g)
    smooth = F.interpolate(base[kind] + 0.6 * own, size=32, mode="bicubic", align_corners=False)
    noisy = 128 + 56 * smooth + 3 * torch.randn(n, 3, 32, 32, generator=g)
    return noisy.clamp(0, 255).round().to(torch.uint8), kind


def sentences(n, words, seed):
    """Words in Zipf's distribution, each likely to follow from the one before."""
    g = torch.Generator().manual_seed(seed)
    weight = 1.0 / torch.arange(1, words + 1, dtype=torch.float)
    first = torch.multinomial(weight, n * 33, replacement=True, generator=g).view(n, 33)
    follow = torch.randint(words, (words,), generator=g)
    keep = torch.rand(n, 32, generator=g) < 0.5
    for i in range(1, 33):
        first[:, i] = torch.where(keep[:, i - 1], follow[first[:, i - 1]], first[:, i])
    return first


def train_pictures(model, optimizer, x, y, steps, seed, batch=32):
    g = torch.Generator().manual_seed(seed)
    model.train()
    loss = None
    for _ in range(steps):
        pick = torch.randint(len(x), (batch,), generator=g)
        loss = F.cross_entropy(model(x[pick].float() / 255 - 0.5), y[pick])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss)


def train_words(model, optimizer, data, steps, seed, batch=8):
    g = torch.Generator().manual_seed(seed)
    model.train()
    loss = None
    for _ in range(steps):
        rows = data[torch.randint(len(data), (batch,), generator=g)]
        logits = model(rows[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss)


class Steps:
    """The directories 00, 01, ... of a class."""

    def __init__(self, where):
        self.where = where
        self.count = 0

    def next(self, files):
        """files: {name: object for torch.save, or bytes}"""
        at = os.path.join(self.where, "%02d" % self.count)
        self.count += 1
        for name, content in files.items():
            path = os.path.join(at, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if isinstance(content, bytes):
                with open(path, "wb") as f:
                    f.write(content)
            else:
                torch.save(content, path)
        return at


def copy(state):
    return {k: v.clone() for k, v in state.items()}


def sgd(steps):
    """Five dense checkpoints of a ResNet, SGD with momentum, 60 updates apart."""
    model = ResNet()
    x, y = pictures(2000, 20, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    train_pictures(model, optimizer, x, y, 40, 2, batch=16)
    for epoch in range(5):
        loss = train_pictures(model, optimizer, x, y, 60, 3 + epoch, batch=16)
        steps.next({"epoch-%d.pth" % epoch: {"epoch": epoch, "model": model.state_dict(),
                                             "optimizer": optimizer.state_dict(), "loss": loss}})


def adam(steps):
    """Five dense checkpoints of a transformer, Adam, 40 updates apart."""
    model = Transformer()
    data = sentences(2000, 2048, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    train_words(model, optimizer, data, 60, 2)
    for group in optimizer.param_groups:
        group["lr"] = 3e-4
    for epoch in range(5):
        loss = train_words(model, optimizer, data, 40, 3 + epoch)
        steps.next({"epoch-%d.pth" % epoch: {"epoch": epoch, "model": model.state_dict(),
                                             "optimizer": optimizer.state_dict(), "loss": loss}})


def backbone():
    model = ResNet()
    x, y = pictures(2000, 20, 11)
    train_pictures(model, torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9), x, y, 40, 12, batch=16)
    return model.eval()


def frozen(steps):
    """Continual learning, five experiences: a backbone that stands still, a head for each, metrics, random states."""
    model = backbone()
    heads, metrics = nn.ModuleList(), []
    for task in range(5):
        x, y = pictures(300, 4, 100 + task)
        with torch.no_grad():
            features = torch.cat([model.features(x[i:i + 100].float() / 255 - 0.5) for i in range(0, 300, 100)])
        head = nn.Linear(256, 4)
        heads.append(head)
        optimizer = torch.optim.SGD(head.parameters(), lr=0.1, momentum=0.9)
        for _ in range(20):
            optimizer.zero_grad()
            loss = F.cross_entropy(head(features), y)
            loss.backward()
            optimizer.step()
        metrics.append({"task": task, "loss": float(loss), "accuracy": float((head(features).argmax(1) == y).float().mean())})
        steps.next({
            "%03d/model.pt" % task: {"backbone": model.state_dict(), "heads": heads.state_dict()},
            "%03d/optimizer.pt" % task: optimizer.state_dict(),
            "%03d/metrics.json" % task: json.dumps(metrics, indent=1).encode(),
            "%03d/rng.pt" % task: {"torch": torch.get_rng_state()},
        })


def replay(steps):
    """A replay buffer that grows by 1,200 images an experience."""
    images, labels = [], []
    for task in range(5):
        x, y = pictures(1200, 4, 200 + task)
        images.append(x)
        labels.append(y + 4 * task)
        steps.next({"%03d/replay.pt" % task: {"images": torch.cat(images), "labels": torch.cat(labels)}})


def lora(steps):
    """The whole model saved each time, of which only low-rank factors (and their Adam moments) move."""
    model = Transformer()
    data = sentences(1000, 2048, 21)
    train_words(model, torch.optim.Adam(model.parameters(), lr=1e-3), data, 30, 22)
    for p in model.parameters():
        p.requires_grad_(False)
    factors = nn.ParameterDict()
    for name, p in list(model.named_parameters()):
        if p.dim() == 2 and "layers" in name:
            factors[name.replace(".", "_") + "_a"] = nn.Parameter(torch.randn(8, p.shape[1]) * 0.02)
            factors[name.replace(".", "_") + "_b"] = nn.Parameter(torch.zeros(p.shape[0], 8))
    optimizer = torch.optim.Adam(factors.parameters(), lr=2e-3)
    base = copy(model.state_dict())
    named = dict(model.named_parameters())
    for step in range(5):
        for _ in range(12):
            rows = data[torch.randint(len(data), (8,))]
            for name in named:
                key = name.replace(".", "_")
                if key + "_a" in factors:
                    named[name].data = base[name]
            # a step on factors against the gradient of the merged weights
            merged = {n: base[n] + factors[n.replace(".", "_") + "_b"] @ factors[n.replace(".", "_") + "_a"]
                      if n.replace(".", "_") + "_a" in factors else base[n] for n in named}
            leaves = {n: m.detach().requires_grad_(True) for n, m in merged.items()}
            for n, m in leaves.items():
                named[n].data = m.data
                named[n].requires_grad_(True)
                named[n].grad = None
            logits = model(rows[:, :-1])
            F.cross_entropy(logits.reshape(-1, logits.shape[-1]), rows[:, 1:].reshape(-1)).backward()
            optimizer.zero_grad()
            for n, m in merged.items():
                if m.requires_grad:
                    m.backward(named[n].grad, retain_graph=True)
            optimizer.step()
        whole = {}
        for name, value in base.items():
            whole[name] = value
            key = name.replace(".", "_")
            if key + "_a" in factors:
                whole[name + ".lora_a"] = factors[key + "_a"].detach().clone()
                whole[name + ".lora_b"] = factors[key + "_b"].detach().clone()
        steps.next({"step-%d.pt" % step: {"model": whole, "optimizer": optimizer.state_dict()}})


def tuned(steps, dtype, rate):
    """Weights fine-tuned in 16 bits, with masters in 32 that are not saved: most of them round to what they were."""
    model = Transformer()
    data = sentences(2000, 2048, 31)
    train_words(model, torch.optim.Adam(model.parameters(), lr=1e-3), data, 80, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    train_words(model, optimizer, data, 4, 33)
    for step in range(5):
        train_words(model, optimizer, data, 10, 34 + step)
        steps.next({"checkpoint-%d/model.pt" % step: {k: v.to(dtype) for k, v in model.state_dict().items()}})


def bf16(steps):
    tuned(steps, torch.bfloat16, 2e-6)


def fp16(steps):
    tuned(steps, torch.float16, 1e-6)


def copies(steps):
    """Everything in one file an epoch, the best of them copied, an EMA beside the weights, most of the network frozen."""
    model = backbone()
    for p in list(model.stem.parameters()) + list(model.blocks.parameters()):
        p.requires_grad_(False)
    for p in model.blocks[3].parameters():
        p.requires_grad_(True)
    x, y = pictures(1000, 20, 41)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
    ema = copy(model.state_dict())
    images = []
    for epoch in range(6):
        loss = train_pictures(model, optimizer, x, y, 15, 42 + epoch, batch=16)
        for k, v in model.state_dict().items():
            ema[k] = ema[k] * 0.9 + v * 0.1 if v.is_floating_point() and not torch.equal(ema[k], v) else v.clone()
        images.append(pictures(100, 20, 60 + epoch)[0])
        state = {"epoch": epoch, "model": model.state_dict(), "ema": ema, "optimizer": optimizer.state_dict(),
                 "replay": torch.cat(images), "rng": torch.get_rng_state(), "loss": loss}
        files = {"epoch-%d.pth" % epoch: state, "last.pth": state}
        if epoch in (0, 1, 3, 4):
            files["best_model.pth"] = state
        steps.next(files)


def ema(steps):
    """Weights of which every layer moves, beside them their average with decay 0.999, updated each step; three epochs."""
    model = ResNet()
    x, y = pictures(1000, 20, 91)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    train_pictures(model, optimizer, x, y, 40, 92, batch=16)
    average, count = copy(model.state_dict()), 0
    for epoch in range(3):
        for step in range(60):
            train_pictures(model, optimizer, x, y, 1, 1000 * epoch + step, batch=16)
            count += 1
            decay = min(0.999, (1 + count) / (10 + count))  # as timm and diffusers begin it
            for k, v in model.state_dict().items():
                average[k] = average[k] * decay + v * (1 - decay) if v.is_floating_point() else v.clone()
        steps.next({"epoch-%d.pth" % epoch: {"state_dict": model.state_dict(), "state_dict_ema": average}})


def rows(steps, share):
    """An embedding table of which a share of rows was touched between two checkpoints."""
    table = nn.Embedding(40000, 64)
    nn.init.normal_(table.weight, std=0.05)
    steps.next({"table-0.pt": {"embedding.weight": table.weight.detach()}})
    g = torch.Generator().manual_seed(51)
    with torch.no_grad():
        pick = torch.randperm(40000, generator=g)[:int(40000 * share)]
        table.weight[pick] += 0.003 * torch.randn(len(pick), 64, generator=g)
    steps.next({"table-1.pt": {"embedding.weight": table.weight.detach()}})


def embed1(steps):
    rows(steps, 0.01)


def embed5(steps):
    rows(steps, 0.05)


def forms(steps):
    """The tensors of one checkpoint as .pth, then as .safetensors, then in shards."""
    model = Transformer()
    train_words(model, torch.optim.Adam(model.parameters(), lr=1e-3), sentences(500, 2048, 61), 15, 62)
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    steps.next({"model.pth": state})
    names = list(state)
    half = len(names) // 2
    steps.next({"model.safetensors": safetensors(state),
                "model-00001-of-00002.safetensors": safetensors({k: state[k] for k in names[:half]}),
                "model-00002-of-00002.safetensors": safetensors({k: state[k] for k in names[half:]})})


def safetensors(state):
    """The format is a page long; the library is no dependency of this benchmark."""
    head, data, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, t in state.items():
        raw = t.detach().numpy().tobytes()
        head[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + len(raw)]}
        data.append(raw)
        at += len(raw)
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(data)


def trained_matrices():
    model = Transformer(8192, 512, 5)
    for p in model.parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=0.02)
    train_words(model, torch.optim.Adam(model.parameters(), lr=1e-3), sentences(1000, 8192, 71), 20, 72, batch=4)
    return {k: v.detach() for k, v in model.state_dict().items() if v.dim() == 2}


def int8(steps):
    """Weights with one scale a row, to eight bits."""
    out = {}
    for name, w in trained_matrices().items():
        scale = w.abs().amax(1, keepdim=True) / 127
        out[name] = (w / scale).round().clamp(-127, 127).to(torch.int8)
        out[name + ".scale"] = scale
    steps.next({"model.pt": out})


def fp8(steps):
    """Weights as float8_e4m3, kept as bytes where torch has no such dtype."""
    out = {}
    for name, w in trained_matrices().items():
        out[name] = torch.from_numpy(e4m3((w / (w.abs().max() / 448)).numpy()))
    steps.next({"model.pt": out})


def e4m3(x):
    """Rounds to the nearest of sign, 4 bits of exponent (bias 7), 3 of mantissa (OCP 8-bit floating point, section 5)."""
    a = np.minimum(np.abs(x).astype(np.float64), 448.0)
    exponent = np.clip(np.floor(np.log2(np.maximum(a, 2.0 ** -12))), -6, 8)
    step = 2.0 ** (exponent - 3)
    number = np.round(a / step)
    up = number == 16
    exponent, number = np.where(up, exponent + 1, exponent), np.where(up, 8, number)
    code = np.where(number >= 8, (exponent + 7) * 8 + (number - 8), number)
    return (np.clip(code, 0, 126).astype(np.uint8) | (np.signbit(x).astype(np.uint8) << 7))


def int4(steps):
    """Weights with a scale for 128 of a row, to four bits, two in a byte."""
    out = {}
    for name, w in trained_matrices().items():
        if w.shape[1] % 128:
            continue
        blocks = w.reshape(-1, 128)
        scale = blocks.abs().amax(1, keepdim=True) / 7
        q = ((blocks / scale).round().clamp(-8, 7) + 8).to(torch.uint8).reshape(w.shape)
        out[name] = q[:, 0::2] | (q[:, 1::2] << 4)
        out[name + ".scale"] = scale.half()
    steps.next({"model.pt": out})


def small(steps):
    """10,000 JSON files of some 3.5 KB, as evaluations leave them."""
    rng = random.Random(81)
    files = {}
    for i in range(10000):
        tasks = [{"name": "task_%02d" % t, "accuracy": round(rng.random(), 4), "loss": round(rng.expovariate(1), 6),
                  "forgetting": round(rng.random() / 10, 5), "seconds": round(rng.random() * 60, 2),
                  "samples": rng.choice((500, 1000, 2000))} for t in range(24)]
        body = {"run": "split-%03d" % (i // 100), "experience": i % 100, "seed": rng.randrange(10 ** 6),
                "strategy": rng.choice(("naive", "replay", "ewc", "lwf")), "tasks": tasks}
        files["run-%03d/%03d/metrics.json" % (i // 100, i % 100)] = json.dumps(body, indent=1).encode()
    steps.next(files)


CLASSES = ("sgd", "adam", "frozen", "replay", "lora", "bf16", "fp16", "copies", "ema", "embed1", "embed5", "forms",
           "int8", "fp8", "int4", "small")


def main():
    where, name = sys.argv[1:]
    assert name in CLASSES
    torch.set_num_threads(1)  # sums in one order, wherever it runs
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    os.makedirs(where)
    globals()[name](Steps(where))


if __name__ == "__main__":
    main()
