#!/bin/bash
# demo.sh: the main job, for a newcomer to watch: a training run on a mount is killed in the middle of a save, resumes
# from the mount, and ends with the bits that an uninterrupted run in a plain directory has.
set -eu -o pipefail
here=$(cd "$(dirname "$0")" && pwd)
CKPTFS=${CKPTFS:-$here/../build/ckptfs}
train=$here/demo_train.py

. "$here/lib.sh" # $T, $S, $M, cleaning up
set -e

if why=$(fuse_missing); then
	echo "make demo needs FUSE: $why" >&2
	exit 1
fi

say() { printf '\n%s\n' "$*"; }
show() { # a command of the user's, and what it prints
	printf '  $ %s\n' "$1"
	shift
	"$@" 2>&1 | sed 's/^/    /'
}
die() { echo "demo: $*" >&2; exit 1; }

# A Python that has torch; Debian's own is installed only when there is none.
has_torch() { command -v "$1" >/dev/null && "$1" -c 'import torch' 2>/dev/null; }
find_python() {
	python=
	for p in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3; do
		if has_torch "$p"; then python=$p; return; fi
	done
	return 1
}
find_python || {
	echo "no Python here has torch; installing Debian's (some 300 MB; PYTHON=... names another)"
	"$here/deps.sh" torch
	find_python || die "still no Python with torch"
}
run() { "$python" -W ignore "$train" "$@"; }

S=$T/runs.ckptfs M=$T/ckpt out=$M/digits
mkdir -p "$M" "$T/plain"
cd "$T"

say "1. A store, mounted. ($("$python" -c 'import platform, torch
print("Python %s, torch %s" % (platform.python_version(), torch.__version__))'))"
show "ckptfs mount runs.ckptfs ckpt" "$CKPTFS" mount "$S" "$M"
mkdir "$out"

say "2. Train, saving to the mount with plain torch.save, and kill it in the middle of a save."
echo "  $ python train.py --out ckpt/digits"
for k in 3 4 5 6; do
	torn=$out/epoch-$k.pth
	# not through run(): $! must be Python itself
	# shellcheck disable=SC2046 # a word or none
	"$python" -W ignore "$train" --out "$out" $([ $k = 3 ] || echo --resume) > >(sed -u 's/^/    /') &
	trainer=$!
	until n=$(stat -c %s "$torn" 2>/dev/null) && [ "$n" -gt 4000000 ]; do
		[ -d /proc/$trainer ] || die "the run ended before it was killed"
		sleep 0.002
	done
	kill -9 $trainer
	wait $trainer 2>/dev/null || true
	[ -e "$torn" ] || break
	echo "    (epoch-$k.pth was whole before the signal came; again at the next epoch)"
done
sleep 0.2
echo "  SIGKILL, $((n / 1000000)) MB into epoch-$k.pth"
[ ! -e "$torn" ] || die "$(basename "$torn") is there"

say "3. The torn file is not there; every earlier one is whole."
show "ls -sh ckpt/digits" ls -sh "$out"
"$python" -W ignore -c 'import sys, torch
for path in sys.argv[1:]: torch.load(path)' "$out"/*.pth || die "a checkpoint does not load"
show "ls -sh ckpt/@history/digits/epoch-$k.pth        # kept aside" ls -sh "$M/@history/digits/epoch-$k.pth"

say "4. Resume from the mount."
echo "  $ python train.py --out ckpt/digits --resume"
run --out "$out" --resume | sed 's/^/    /'

say "5. The same run, never interrupted, in a plain directory; then compare."
run --out "$T/plain" | sed -n 's/^stopped/    stopped/p'
printf '    '
run --compare "$out" "$T/plain"

say "6. What it took."
show "ckptfs df ckpt" "$CKPTFS" df "$M"
show "ckptfs umount ckpt" "$CKPTFS" umount "$M"
mounted && die "still mounted"
show "ckptfs verify --data runs.ckptfs" "$CKPTFS" verify --data "$S"
printf '\nNothing was lost.\n'
