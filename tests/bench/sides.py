"""The two sides of the benchmark: a plain directory, and a store beside it on a mount.

Both have .root, the directory in which a workload works, and settle(), which waits until nothing of what was done is
still on its way to the disk.  Neither side's leftovers may fall into the other's time.
"""
import os
import re
import shutil
import signal
import subprocess
import time


class Trouble(Exception):
    """Something that ends the benchmark with a line for the user."""


def where_it_lies(path):
    """(type, device) of the filesystem of a path, by /proc/self/mountinfo."""
    path = os.path.realpath(path)
    best = ("", "?", "?")
    with open("/proc/self/mountinfo") as f:
        for line in f:
            left, right = line.split(" - ", 1)
            point = re.sub(r"\\(\d{3})", lambda m: chr(int(m.group(1), 8)), left.split()[4])
            if (path + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
                best = (point,) + tuple(right.split()[:2])
    return best[1], best[2]


def fsync_path(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def evict(path):
    """Takes the pages of every file under a path out of the page cache; they must have been synced."""
    for top, _, names in os.walk(path):
        for name in names:
            try:
                fd = os.open(os.path.join(top, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue  # a socket
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)


def drop_kernel_caches():
    """Names and attributes too.  Only root can; True if done."""
    os.sync()
    try:
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3\n")
    except OSError:
        return False
    return True


class Local:
    def __init__(self, base):
        self.root = os.path.join(base, "local")
        os.mkdir(self.root)

    def settle(self):
        os.sync()

    def cold(self):
        os.sync()
        evict(self.root)

    def close(self):
        shutil.rmtree(self.root, ignore_errors=True)


class Mount:
    """A store of its own, mounted.  peak: the most memory a daemon of it has taken, bytes, by VmHWM."""

    def __init__(self, base, ckptfs, options):
        self.ckptfs = ckptfs
        self.options = options
        self.store = os.path.join(base, "bench.ckptfs")
        self.root = os.path.join(base, "mnt")
        self.peak = 0
        self.pid = None
        os.mkdir(self.root)
        self.mount()

    def mount(self):
        command = [self.ckptfs, "mount"] + (["-o", self.options] if self.options else []) + [self.store, self.root]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise Trouble("cannot mount: " + done.stdout.strip())
        with open(os.path.join(self.store, "lock")) as f:
            self.pid = int(re.search(r"\d+", f.readline()).group())

    def cpu(self):
        """Processor seconds that this daemon has used, by its clock as clock_getcpuclockid(3) names it."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def look_at_memory(self):
        try:
            with open("/proc/%d/status" % self.pid) as f:
                self.peak = max(self.peak, int(re.search(r"VmHWM:\s*(\d+) kB", f.read()).group(1)) << 10)
        except (OSError, TypeError):
            raise Trouble("the daemon is gone")

    def umount(self):
        self.look_at_memory()
        done = subprocess.run([self.ckptfs, "umount", self.root], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True)
        if done.returncode != 0:
            raise Trouble("cannot unmount: " + done.stdout.strip())
        self.pid = None

    def settle(self):
        fsync_path(self.root)  # commits what is pending
        os.sync()
        self.rest()

    def rest(self):
        """
        Waits until the daemon has nothing to do.  What it does when nobody writes (SHA-256, differences that were put
        off) begins a second later and would be counted, and disturb the other side, in the middle of the next row.
        """
        until = time.monotonic() + 60
        while time.monotonic() < until:
            before = self.cpu()
            time.sleep(2.5)
            if self.cpu() - before < 0.05:
                return

    def cold(self):
        """Unmounted and mounted again, and no page of the store cached: neither the daemon nor the kernel knows a thing."""
        self.umount()
        os.sync()
        evict(self.store)
        self.mount()
        self.rest()

    def close(self):
        """Ends it whatever state it is in."""
        if self.pid is not None:
            try:
                self.umount()
            except Trouble as e:
                print(e)
        if self.pid is not None:
            subprocess.run(["fusermount3", "-u", "-z", "-q", self.root])
            for _ in range(50):
                if not os.path.exists("/proc/%d" % self.pid):
                    break
                time.sleep(0.1)
            else:
                os.kill(self.pid, signal.SIGKILL)
        os.rmdir(self.root)
        shutil.rmtree(self.store, ignore_errors=True)
