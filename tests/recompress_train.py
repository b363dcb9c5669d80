"""recompress_train.py DIR FIRST COUNT: checkpoints FIRST .. FIRST+COUNT-1 of one training, step-N.safetensors in DIR.

Weights that move a little at each step and a second tensor that is new noise every time; always the same bytes.
"""
import array
import json
import os
import random
import struct
import sys

N = 1 << 18


def main():
    where, first, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(7)
    weights = array.array("f", (rng.random() * 0.1 - 0.05 for _ in range(N)))
    for k in range(first + count):
        if k:
            move = random.Random(k)
            weights = array.array("f", (w + (move.random() - 0.5) * 2e-4 for w in weights))
        if k < first:
            continue
        noise = random.Random(1000 + k).randbytes(N)
        head = json.dumps({
            "__metadata__": {"step": str(k)},
            "weights": {"dtype": "F32", "shape": [512, 512], "data_offsets": [0, 4 * N]},
            "noise": {"dtype": "U8", "shape": [N], "data_offsets": [4 * N, 5 * N]},
        }).encode()
        head += b" " * (-len(head) % 8)
        with open(os.path.join(where, "step-%d.safetensors" % k), "wb") as f:
            f.write(struct.pack("<Q", len(head)) + head + weights.tobytes() + noise)


main()
