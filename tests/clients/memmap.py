"""numpy: memmap r+, w+, c, np.save/np.load with mmap_mode, savez, on DIR."""
import os
import sys

import numpy as np

os.chdir(sys.argv[1])
rng = np.random.default_rng(1)
model = rng.standard_normal((3000, 500), dtype=np.float32)

m = np.memmap("replay.dat", dtype=np.float32, mode="w+", shape=model.shape)
m[:] = model
m.flush()
del m
for _ in range(5):
    m = np.memmap("replay.dat", dtype=np.float32, mode="r+", shape=model.shape)
    assert np.array_equal(m, model)
    for i in rng.integers(0, 3000, 20):
        row = rng.standard_normal(500, dtype=np.float32)
        m[i] = row
        model[i] = row
    m.flush()
    del m
    assert np.array_equal(np.fromfile("replay.dat", dtype=np.float32).reshape(model.shape), model)
c = np.memmap("replay.dat", dtype=np.float32, mode="c", shape=model.shape)
c[:] = 0
del c
assert np.array_equal(np.memmap("replay.dat", dtype=np.float32, mode="r", shape=model.shape), model)

np.save("a.npy", model)
assert np.array_equal(np.load("a.npy"), model)
a = np.load("a.npy", mmap_mode="r+")
a[7] = 1.5
model[7] = 1.5
del a
assert np.array_equal(np.load("a.npy"), model)
b = np.lib.format.open_memmap("b.npy", mode="w+", dtype=np.int64, shape=(100000,))
b[:] = np.arange(100000)
del b
assert np.array_equal(np.load("b.npy", mmap_mode="r"), np.arange(100000))
np.savez("c.npz", model=model, small=np.arange(3))
np.savez_compressed("d.npz", model=model)
for name in ("c.npz", "d.npz"):
    with np.load(name) as z:
        assert np.array_equal(z["model"], model), name
