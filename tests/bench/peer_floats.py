"""peer_floats.py CODEC DTYPE FILE BEFORE...: prints the bytes that files take in a float codec's Python package.

FILE is followed by the file that had its place a step before, or by "-"; a codec that can take differences uses it, where
the two are as long as one another, and the smaller of both results counts.
"""
import sys


def zipnn_size(data, before, dtype):
    from zipnn import ZipNN
    return len(ZipNN(bytearray_dtype={"bf16": "bfloat16", "fp16": "float16"}.get(dtype, "float32")).compress(data))


def z4ai_size(data, before, dtype):
    import z4ai
    size = len(z4ai.compress(data, dtype=dtype))
    if before is not None and len(before) == len(data):
        size = min(size, len(z4ai.compress_delta(data, before, dtype=dtype)))
    return size


def read(path):
    if path == "-":
        return None
    with open(path, "rb") as f:
        return f.read()


def main():
    size = {"zipnn": zipnn_size, "z4ai": z4ai_size}[sys.argv[1]]
    dtype = None if sys.argv[2] == "-" else sys.argv[2]
    total = 0
    for path, before in zip(sys.argv[3::2], sys.argv[4::2]):
        data = read(path)
        total += min(len(data), size(data, read(before), dtype))
    print(total)


if __name__ == "__main__":
    main()
