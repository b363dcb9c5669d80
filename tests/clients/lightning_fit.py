"""Lightning: ModelCheckpoint (save_top_k, save_last), CSV logs, resume from last.ckpt equals an uninterrupted fit, on DIR."""
import glob
import logging
import os
import sys
import warnings

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
logging.getLogger("lightning.fabric").setLevel(logging.ERROR)

import torch
import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger


class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Linear(32, 400), torch.nn.ReLU(), torch.nn.Linear(400, 1))

    def step(self, batch, name):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.net(x), y)
        self.log(name, loss)
        return loss

    def training_step(self, batch, _):
        return self.step(batch, "train")

    def validation_step(self, batch, _):
        self.step(batch, "val")

    def configure_optimizers(self):
        o = torch.optim.Adam(self.parameters(), 1e-3)
        return [o], [torch.optim.lr_scheduler.StepLR(o, 2)]


def fit(where, epochs, resume=None):
    L.seed_everything(1, verbose=False)
    g = torch.Generator().manual_seed(2)
    x = torch.randn(128, 32, generator=g)
    data = torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
    loader = torch.utils.data.DataLoader(data, batch_size=32)
    keep = ModelCheckpoint(dirpath=os.path.join(where, "ckpt"), monitor="val", save_top_k=2, save_last=True,
                           filename="{epoch}-{val:.3f}")
    t = L.Trainer(max_epochs=epochs, accelerator="cpu", devices=1, callbacks=[keep], logger=CSVLogger(where, name="logs"),
                  enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1)
    net = Net()
    t.fit(net, loader, loader, ckpt_path=resume)
    return net, keep


torch.set_num_threads(1)
where = sys.argv[1]
a, b = os.path.join(where, "a"), os.path.join(where, "b")
fit(a, 3)
last = os.path.join(a, "ckpt", "last.ckpt")
assert torch.load(last, weights_only=False)["epoch"] == 2
net, keep = fit(a, 6, resume=last)
whole, _ = fit(b, 6)
for (k, p), q in zip(net.state_dict().items(), whole.state_dict().values()):
    assert torch.equal(p, q), "resumed %s differs" % k
assert os.path.exists(keep.best_model_path)
best = Net.load_from_checkpoint(keep.best_model_path)
assert len(glob.glob(os.path.join(a, "ckpt", "epoch=*.ckpt"))) == 2, os.listdir(os.path.join(a, "ckpt"))
assert len(open(glob.glob(os.path.join(b, "logs", "*", "metrics.csv"))[0]).readlines()) > 6
