#!/bin/bash
# ckptfs-bridge, the helper process with libtorch: what it says of itself, what it refuses, and that the daemon has no libtorch.
. "$(dirname "$0")/lib.sh"
bridge=${CKPTFS_BRIDGE:-$HERE/../build/ckptfs-bridge}
if [ ! -x "$bridge" ]; then
	echo "ok 1 - the helper process # SKIP ckptfs-bridge is not built (make bridge)"
	echo "1..1"
	exit 0
fi
cd "$T" || exit 1

ok "--version names libtorch and the devices" sh -c '"$1" --version | tr "\n" " " | grep -Eq "^ckptfs-bridge .* libtorch [0-9.]+.* cuda [0-9]+"' sh "$bridge"
ok "by hand, status 2" sh -c '"$1" </dev/null 2>said; [ $? = 2 ] && grep -q "started by ckptfs" said' sh "$bridge"
ok "with words that are no device, status 2" sh -c '"$1" ../../etc/passwd 2>/dev/null; [ $? = 2 ]' sh "$bridge"
ok "with descriptors that are not what they should be, status 2" sh -c '"$1" 3</dev/null 4</dev/null 2>/dev/null; [ $? = 2 ]' sh "$bridge"
# Its client is a C program: a socket of the right kind whose other end closes at once ends it without a word.
ok "ends when its client is gone" python3 - "$bridge" <<'PY'
import fcntl, os, socket, subprocess, sys
ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
m = os.memfd_create("test", os.MFD_ALLOW_SEALING)
os.ftruncate(m, 16 << 20)
fcntl.fcntl(m, 1033, 2 | 4 | 1)  # F_ADD_SEALS: shrink, grow, seal


def place():
    a, b = fcntl.fcntl(its.fileno(), fcntl.F_DUPFD, 20), fcntl.fcntl(m, fcntl.F_DUPFD, 20)
    os.dup2(a, 3)
    os.dup2(b, 4)
    os.closerange(5, 64)


def start():
    return subprocess.Popen([sys.argv[1]], preexec_fn=place, close_fds=False)


p = start()
hello = ours.recv(4096)
assert len(hello) > 100, len(hello)
status = open("/proc/%d/status" % p.pid).read()
assert "Seccomp:\t2" in status and "NoNewPrivs:\t1" in status and "CapEff:\t0000000000000000" in status, status
ours.send(b"x" * 72)  # a request that is none
assert p.wait(120) == 3, p.returncode
ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
p = start()
ours.recv(4096)
its.close()
ours.close()
assert p.wait(120) == 0, p.returncode
PY
ok "ckptfs itself is not linked with libtorch" sh -c '! ldd "$1" | grep -q torch' sh "$CKPTFS"
done_testing
