"""h5py: write, append, resize, overwrite in place, on DIR."""
import os
import sys

import h5py
import numpy as np

path = os.path.join(sys.argv[1], "run.h5")
rng = np.random.default_rng(1)
a = rng.standard_normal((500, 400))
with h5py.File(path, "w") as f:
    f["weights/a"] = a
    f.create_dataset("log", (0,), maxshape=(None,), chunks=(1000,), dtype="f8")
    f.create_dataset("packed", data=a, compression="gzip", chunks=(100, 100))
    f.attrs["epoch"] = 0
log = np.empty(0)
for epoch in range(1, 6):
    with h5py.File(path, "r+") as f:
        new = rng.standard_normal(1500)
        log = np.concatenate([log, new])
        f["log"].resize((len(log),))
        f["log"][-1500:] = new
        a[epoch] = epoch
        f["weights/a"][epoch] = epoch
        f["packed"][epoch] = epoch
        f.attrs["epoch"] = epoch
        f.flush()
    with h5py.File(path, "r") as f:
        assert f.attrs["epoch"] == epoch
        assert np.array_equal(f["log"][:], log) and np.array_equal(f["weights/a"][:], a) and np.array_equal(f["packed"][:], a)
