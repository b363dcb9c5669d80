"""safetensors: save_file, load_file, safe_open (mmap), slices, sharing refused, on DIR."""
import os
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, save, save_file

path = os.path.join(sys.argv[1], "model.safetensors")
g = torch.Generator().manual_seed(1)
for k in range(3):  # new, then replaced twice
    tensors = {"w%d" % i: torch.randn(700, 300 + k, generator=g) for i in range(5)}
    tensors["bf16"] = torch.randn(33, generator=g).bfloat16()
    tensors["ids"] = torch.arange(1000)
    save_file(tensors, path, metadata={"epoch": str(k)})
    back = load_file(path)
    assert back.keys() == tensors.keys() and all(torch.equal(back[n], t) for n, t in tensors.items()), k
    with open(path, "rb") as f:
        data = f.read()
    assert data == save(tensors, metadata={"epoch": str(k)}), "bytes"
    assert all(torch.equal(t, tensors[n]) for n, t in load(data).items())
with safe_open(path, framework="pt") as f:
    assert f.metadata() == {"epoch": "2"}
    assert torch.equal(f.get_tensor("w3"), tensors["w3"])
    assert torch.equal(f.get_slice("w1")[100:200, 5:], tensors["w1"][100:200, 5:])
