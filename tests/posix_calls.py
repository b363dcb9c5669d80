"""What the posix_*.py tests share (20-posix.sh): calls that Python lacks, files written and read whole."""
import ctypes
import os
import time

from tap import Skip, check

libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 0x10
MIB = 1 << 20


def call(fn, *args):
    ctypes.set_errno(0)
    if fn(*args) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def renameat2(a, b, flags):
    call(libc.renameat2, -100, os.fsencode(a), -100, os.fsencode(b), flags)


def fallocate(fd, mode, off, length):
    call(libc.fallocate, fd, mode, ctypes.c_int64(off), ctypes.c_int64(length))


def put(path, data=b"x", mode="wb"):
    with open(path, mode) as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def clock_moves():
    """Until files are stamped with a later time than now: the kernel's clock for it goes in ticks."""
    now = time.time_ns()
    while time.clock_gettime_ns(5) <= now:  # CLOCK_REALTIME_COARSE
        time.sleep(0.001)


def pattern(n, seed=1):
    """n bytes that repeat nowhere near."""
    out = bytearray()
    x = seed * 2654435761 % (1 << 64) or 1
    while len(out) < n:
        x ^= x << 13 & 0xffffffffffffffff
        x ^= x >> 7
        x ^= x << 17 & 0xffffffffffffffff
        out += x.to_bytes(8, "little") * (1 if n < 65536 else 4)
    return bytes(out[:n])


def as_nobody(fn):
    """Runs fn in a child with uid and gid 65534; an exception there fails here."""
    if os.getuid() != 0:
        raise Skip("needs root")
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        message = b""
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            fn()
        except BaseException as e:
            message = repr(e).encode()
        os.write(w, message)
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        message = f.read()
    os.waitpid(pid, 0)
    check(not message, message.decode())
