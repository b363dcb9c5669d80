"""peer_floats.py CODEC FILE...: prints the bytes that the files take, each compressed alone by a float codec's Python package."""
import sys


def coder(name, path):
    """A function of bytes. The codecs are told the dtype that the benchmark's classes have."""
    width = "bfloat16" if "/bf16" in path else "float16" if "/fp16" in path else "float32"
    if name == "zipnn":
        from zipnn import ZipNN
        return ZipNN(bytearray_dtype=width).compress
    import z4ai
    return z4ai.compress


def main():
    total = 0
    for path in sys.argv[2:]:
        with open(path, "rb") as f:
            data = f.read()
        total += min(len(data), len(coder(sys.argv[1], path)(bytearray(data) if sys.argv[1] == "zipnn" else data)))
    print(total)


if __name__ == "__main__":
    main()
