"""@runs over the layouts of the frameworks, through the mount: DIR (argument) is on one.  Components are loaded by torch and
compared with what was saved; latest, best and the metrics are right.  Lightning is really trained where it is installed, the
other layouts are written as the frameworks write them.  torch 1.13 and 2.x."""
import argparse
import csv
import io
import json
import os
import pickle
import shutil
import sys
import time
import warnings
import zipfile

warnings.filterwarnings("ignore")
import torch

torch.set_num_threads(1)
where = os.path.abspath(sys.argv[1])
mount = where
while not os.path.ismount(mount):
    mount = os.path.dirname(mount)
runs = os.path.join(mount, "@runs", os.path.relpath(where, mount))
checks = failed = 0
NEW = not torch.__version__.startswith("1.")


def check(what, good):
    global checks, failed
    checks += 1
    if not good:
        failed += 1
        print("not ok:", what)


def path(*parts):
    p = os.path.join(where, *parts)
    os.makedirs(os.path.dirname(p), exist_ok=True)
    return p


def save(what, *parts):
    torch.save(what, path(*parts))
    return what


def load(*parts, **more):
    if NEW:
        more.setdefault("weights_only", False)
    return torch.load(os.path.join(runs, *parts), **more)


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def trained(seed):
    torch.manual_seed(seed)
    m = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.BatchNorm1d(30), torch.nn.Linear(30, 5))
    o = torch.optim.Adam(m.parameters(), 1e-3)
    s = torch.optim.lr_scheduler.StepLR(o, 1)
    m(torch.randn(8, 20)).sum().backward()
    o.step()
    s.step()
    return m, o, s


def look(at):
    """The names in a run's directory, and where its links lead."""
    try:
        names = set(os.listdir(at))
        made = {"latest", "best", "metrics.csv", "metrics.svg"}
        return names - made, {n: os.readlink(os.path.join(at, n)) for n in ("latest", "best") if n in names}
    except OSError:
        return set(), {}


def expect(run, experiences, latest, best=None):
    """A run is that. What was saved just now may take the tree's next scan to be seen."""
    at = os.path.join(runs, run)
    links = {k: v for k, v in (("latest", latest), ("best", best)) if v is not None}
    want = set(experiences) | {"report.html"}, links
    end = time.monotonic() + 60
    while look(at) != want and time.monotonic() < end:
        time.sleep(.05)
    check("%s: %s" % (run, look(at)), look(at) == want)
    page = open(os.path.join(at, "report.html")).read()
    check("%s: report" % run, page.startswith("<!doctype html>") and page.rstrip().endswith("</html>") and "<script" not in page)
    check("%s: sizes" % run, all(len(open(os.path.join(at, n), "rb").read()) == os.stat(os.path.join(at, n)).st_size
                                 for n in ("metrics.csv", "metrics.svg", "report.html")
                                 if os.path.exists(os.path.join(at, n))))


def split(run, experience, saved, **components):
    """Each component is what stood under its key, and a file of its own."""
    for name, key in components.items():
        file = os.path.join(run, experience, name + ".pt")
        check("%s is %s" % (file, key), equal(saved[key], load(file)))
        check("%s: its size" % file, os.stat(os.path.join(runs, file)).st_size == len(open(os.path.join(runs, file), "rb").read()))


def table(run):
    return list(csv.DictReader(open(os.path.join(runs, run, "metrics.csv"))))


def loop():
    for e in range(1, 6):
        m, o, _ = trained(e)
        d = save({"epoch": e, "model_state_dict": m.state_dict(), "optimizer_state_dict": o.state_dict(),
                  "val_acc": [.5, .6, .9, .8, .7][e - 1], "loss": 1 / e}, "loop", "epoch-%d.pth" % e)
    shutil.copy(path("loop", "epoch-2.pth"), path("loop", "best_model.pth"))
    with open(path("loop", "epoch-5.pth"), "rb") as f:
        whole = f.read()
    open(path("loop", "epoch-6.pth"), "wb").write(whole[:len(whole) // 2])
    expect("loop", "123456", "5", "2")
    split("loop", "5", d, model="model_state_dict", optimizer="optimizer_state_dict")
    check("other.pt", load("loop", "5", "other.pt") == {"epoch": 5})
    check("metrics.json", json.load(open(os.path.join(runs, "loop", "5", "metrics.json"))) == {"val_acc": .7, "loss": .2})
    check("latest", equal(load("loop", "latest", "model.pt"), d["model_state_dict"]))
    check("mmap", not NEW or equal(load("loop", "latest", "model.pt", weights_only=True, mmap=True), d["model_state_dict"]))
    check("rows", [r["val_acc"] for r in table("loop")] == ["0.5", "0.6", "0.9", "0.8", "0.7"])
    os.unlink(path("loop", "best_model.pth"))
    expect("loop", "123456", "5", "3")  # now by the recorded accuracy


def tree():
    for e in range(3):
        m, o, _ = trained(e)
        save(m.state_dict(), "split", "%03d" % e, "model.pt")
        save(o.state_dict(), "split", "%03d" % e, "optimizer.pt")
        json.dump({"acc": [[.9 - .1 * (i - k) for k in range(i + 1)] for i in range(e + 1)]},
                  open(path("split", "%03d" % e, "metrics.json"), "w"))
    open(path("pictures", "3", "a.png"), "w").write("x")
    expect("split", "012", "2")
    check("plain bytes", open(os.path.join(runs, "split", "1", "model.pt"), "rb").read() ==
          open(path("split", "001", "model.pt"), "rb").read())
    check("no run", not os.path.exists(os.path.join(runs, "pictures")))
    check("forgetting", abs(float(table("split")[2]["forgetting"]) - .15) < 1e-9)


class Thing:
    """An object of a library that is not there: a strategy, a plugin, an evaluator."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def avalanche():
    """One pickled strategy, in the two layouts of save_checkpoint(): a file overwritten, a file an experience.  Lists of the
    evaluator are not of one length: two epochs an experience, an evaluation before training, one lost by a resume."""
    def strategy(n):
        m, o, _ = trained(n)
        ends = [10 * (k + 1) for k in range(n)]
        got = {"Loss_Epoch/train_phase/train_stream/Task000": ([x - d for x in ends for d in (5, 0)],
                                                               [x + d for x in ends for d in (.5, .25)])}
        for k in range(3):
            got["Loss_Exp/eval_phase/test_stream/Task000/Exp%03d" % k] = (list(ends), [1. / x for x in ends])
            got["Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp%03d" % k] = (
                [0] + ends, [.1] + [.9 - .1 * (i - k) if i >= k else .1 for i in range(n)])
        got["Top1_Acc_Stream/eval_phase/test_stream/Task000"] = ([x for x in ends if x != 20],
                                                                 [x / 100 for x in ends if x != 20])
        plugins = [Thing(storage_policy={"buffer": torch.arange(12.)}), Thing(importances={"0": torch.ones(3)})]
        return {"strategy": Thing(model=m, optimizer=o, plugins=plugins, clock=Thing(train_iterations=10 * n),
                                  evaluator=Thing(all_metric_results=got, loggers=[])),
                "rng_manager": None, "exp_counter": n}

    for n in (1, 2, 3):
        d = save(strategy(n), "ava", "each", "checkpoint_%d.pkl" % (n - 1))
        save(strategy(n), "ava", "one", "checkpoint.pkl")
    expect("ava/each", "012", "2")
    expect("ava/one", "3", "3")
    check("avalanche model", equal(load("ava/one/3/model.pt"), d["strategy"].model.state_dict()))
    check("avalanche replay", equal(load("ava/one/3/replay.pt"), {"buffer": torch.arange(12.)}))
    rows = table("ava/each")
    check("avalanche tasks", [[round(float(r["Top1_Acc_Exp/task_%d" % k]), 6) for k in range(3)] for r in rows] ==
          [[.9, .1, .1], [.8, .9, .1], [.7, .8, .9]])
    check("avalanche mean", [round(float(r["Top1_Acc_Exp"]), 6) for r in rows] == [.9, .85, .8])
    check("avalanche forgetting", [round(float(r["forgetting"] or -1), 6) for r in rows] == [-1, .1, .15])
    check("avalanche epochs", [float(r["Loss_Epoch"]) for r in rows] == [10.25, 20.25, 30.25])
    check("avalanche stream", [r["Top1_Acc_Stream"] for r in rows] == ["0.1", "", "0.3"])
    check("avalanche losses", [float(r["Loss_Exp/task_1"]) for r in rows] == [1 / 10, 1 / 20, 1 / 30])


def mammoth():
    stem = "er_seq-cifar10_default_200_1_20260101-120000_0f-1e"
    for t in range(3):
        m, o, _ = trained(t)
        d = save({"model": m.state_dict(), "optimizer": o.state_dict(), "scheduler": None,
                  "args": {"model": "er", "device": "cuda:0"},
                  "results": [[[90. - k for k in range(i + 1)] for i in range(t + 1)],
                              [[95.] * (i + 1) for i in range(t + 1)], {"dataset": "seq-cifar10"}],
                  "buffer": {"examples": torch.zeros(4, 3, 8, 8, dtype=torch.uint8), "labels": torch.arange(4)}},
                 "checkpoints", "%s_%d.pt" % (stem, t))
    shutil.copy(path("checkpoints", stem + "_2.pt"), path("checkpoints", stem + "_last.pt"))
    run = "checkpoints/" + stem
    expect(run, "012", "2")
    split(run, "2", d, model="model", optimizer="optimizer", replay="buffer")
    check("args.json", json.load(open(os.path.join(runs, run, "2", "args.json"))) == d["args"])
    check("metrics", [r["accuracy"] for r in table(run)] == ["90.0", "89.5", "89.0"])


def transformers():
    for n in (10, 20, 30):
        m, o, s = trained(n)
        d = os.path.join("out", "checkpoint-%d" % n)
        save(m.state_dict(), d, "pytorch_model.bin")
        save(o.state_dict(), d, "optimizer.pt")
        save(s.state_dict(), d, "scheduler.pt")
        save({"cpu": torch.get_rng_state()}, d, "rng_state.pth")
        save(argparse.Namespace(learning_rate=.1), d, "training_args.bin")
        json.dump({}, open(path(d, "config.json"), "w"))
        if n < 30:  # the last was killed before it
            json.dump({"best_metric": .5, "best_model_checkpoint": "/elsewhere/out/checkpoint-10", "global_step": n,
                       "log_history": [{"step": k, "epoch": k / 10, "loss": 1 / k} for k in range(5, n + 1, 5)]},
                      open(path(d, "trainer_state.json"), "w"))
    expect("out", ["10", "20", "30"], "20", "10")
    names = os.listdir(os.path.join(runs, "out", "20"))
    check("names: %s" % names, {"model.pt", "optimizer.pt", "scheduler.pt", "rng.pt", "args.json", "metrics.json"} <= set(names))
    check("args", json.load(open(os.path.join(runs, "out", "20", "args.json"))) == {"learning_rate": .1})
    check("log", [r["step"] for r in table("out")] == ["5", "10", "15", "20"])


def others():
    m, o, s = trained(1)
    d = save({"model": m.state_dict(), "optimizer": o.state_dict(), "model_args": {"n_layer": 2}, "iter_num": 2000,
              "best_val_loss": torch.tensor(1.5), "config": {}}, "gpt", "ckpt.pt")
    expect("gpt", ["2000"], "2000")
    split("gpt", "2000", d, model="model", optimizer="optimizer")
    for e in range(3):
        d = save({"epoch": e, "arch": "resnet", "state_dict": trained(e)[0].state_dict(), "optimizer": o.state_dict(),
                  "version": 2, "args": argparse.Namespace(lr=.1), "metric": 60. + e}, "timm", "checkpoint-%d.pth.tar" % e)
    os.link(path("timm", "checkpoint-2.pth.tar"), path("timm", "last.pth.tar"))
    os.link(path("timm", "checkpoint-1.pth.tar"), path("timm", "model_best.pth.tar"))
    expect("timm", "012", "2", "1")
    split("timm", "2", d, model="state_dict", optimizer="optimizer")
    d = save({"module": m.state_dict(), "ds_config": {}, "ds_version": "0", "global_steps": 7, "lr_scheduler": s.state_dict()},
             "ds", "global_step7", "mp_rank_00_model_states.pt")
    save({"optimizer_state_dict": o.state_dict()}, "ds", "global_step7", "zero_pp_rank_0_mp_rank_00_optim_states.pt")
    expect("ds", "7", "7")
    split("ds", "7", d, model="module", scheduler="lr_scheduler")
    save(m, "module", "model_1.pt")
    expect("module", "1", "1")
    check("a whole module is its state dict", equal(dict(m.state_dict()), dict(load("module", "1", "model.pt"))))
    parts = {"policy.pth": m.state_dict(), "policy.optimizer.pth": o.state_dict()}
    with open(path("sb3", "rl_model_replay_buffer_100_steps.pkl"), "wb") as f:
        pickle.dump({"observations": list(range(500))}, f)
    with zipfile.ZipFile(path("sb3", "rl_model_100_steps.zip"), "w") as z:
        z.writestr("data", json.dumps({"num_timesteps": 100}))
        for name, value in parts.items():
            b = io.BytesIO()
            torch.save(value, b)
            z.writestr(name, b.getvalue())
    expect("sb3", ["100"], "100")
    split("sb3", "100", parts, model="policy.pth", optimizer="policy.optimizer.pth")
    check("replay buffer", pickle.load(open(os.path.join(runs, "sb3", "100", "replay.pkl"), "rb"))["observations"][499] == 499)


def dcp():
    import torch.distributed.checkpoint as d
    m, o, _ = trained(3)
    d.save({"model": m.state_dict(), "optimizer": o.state_dict()}, checkpoint_id=path("dcp", "step-5", ""))
    expect("dcp", "5", "5")
    check("shards as a state dict", equal(dict(m.state_dict()), dict(load("dcp", "5", "model.pt", weights_only=True))))
    b = trained(4)[0].state_dict()
    d.load({"model": b}, checkpoint_id=os.path.join(runs, "dcp", "5"))
    check("loaded from there by its own", equal(dict(b), dict(m.state_dict())))


def lightning():
    import logging
    for n in ("pytorch", "fabric"):
        logging.getLogger("lightning." + n).setLevel(logging.ERROR)
    import lightning as L
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    class Net(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(8, 1)

        def training_step(self, batch, _):
            return self.net(batch[0]).square().mean()

        def validation_step(self, batch, _):
            self.log("val", [.5, .2, .4][self.current_epoch] if not self.trainer.sanity_checking else 1.)

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-3)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(32, 8)), batch_size=8)
    L.Trainer(max_epochs=3, accelerator="cpu", devices=1, logger=CSVLogger(where, name="pl"), enable_progress_bar=False,
              enable_model_summary=False, callbacks=[ModelCheckpoint(monitor="val", save_top_k=3, save_last=True)],
              log_every_n_steps=1).fit(Net(), data, data)
    expect("pl/version_0", "012", "2", "1")
    saved = torch.load(os.path.join(where, "pl", "version_0", "checkpoints", "last.ckpt"), weights_only=False)
    split("pl/version_0", "2", saved, model="state_dict", optimizer="optimizer_states")
    check("val", [round(float(r["val"]), 6) for r in table("pl/version_0")] == [.5, .2, .4])


loop()
tree()
avalanche()
mammoth()
transformers()
others()
if NEW:
    dcp()
    try:
        import lightning as _
    except ImportError:
        print("lightning is not installed: left out")
    else:
        lightning()
print("%d checks, %d failed" % (checks, failed))
sys.exit(failed > 0)
