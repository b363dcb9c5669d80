#!/bin/sh
# deps.sh GROUP...: installs what a step needs and this Debian lacks; says nothing when all is there.
#
#   build    the compiler and the libraries          test     what unit tests and suites use
#   mount    fusermount3                             lint     the checkers of `make lint`
#   clients  the programs of `make check-clients`    torch    Debian's own PyTorch
#   bridge   libtorch's headers, for ckptfs-bridge   fuzz     clang with libFuzzer
#   bench    the peers of `make bench`, and a fast BLAS for the trainings that make its data
#
# Needs apt-get, and root or sudo; without them it names what is missing and fails.
set -eu

want=
for group; do
	case $group in
	build)   want="$want gcc libc6-dev make pkg-config libfuse3-dev libsqlite3-dev libzstd-dev libssl-dev libxxhash-dev
			libjansson-dev" ;;
	test)    want="$want libcmocka-dev python3 e2fsprogs mount" ;;
	mount)   want="$want fuse3" ;;
	lint)    want="$want clang-tidy clang-format mandoc shellcheck" ;;
	clients) want="$want python3 python3-venv python3-torch git rsync tar zip unzip" ;;
	bridge)  want="$want g++ libtorch-dev libseccomp-dev" ;;
	torch)   want="$want python3-torch" ;;
	fuzz)    want="$want clang libclang-rt-14-dev python3" ;;
	bench)   want="$want python3-torch python3-venv libopenblas0-pthread restic borgbackup casync squashfs-tools
			zstd btrfs-progs" ;;
	*)       echo "deps.sh: no group '$group'" >&2; exit 2 ;;
	esac
done

if ! command -v dpkg-query >/dev/null; then
	for tool in cc pkg-config; do
		command -v $tool >/dev/null && continue
		echo "deps.sh: $tool is missing and this is no Debian; install the equivalents of:" $want >&2
		exit 1
	done
	exit 0 # another distribution: what lacks shows when it is used
fi

missing=
for package in $want; do
	case $(dpkg-query -W -f '${db:Status-Status} ' "$package" 2>/dev/null) in
	'installed '* | *' installed '*) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
	sudo=
elif command -v sudo >/dev/null; then
	sudo=sudo
else
	echo "deps.sh: run as root or install sudo: these packages are missing:$missing" >&2
	exit 1
fi

echo "installing from Debian's packages:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" \
		</dev/null >>"$log" 2>&1
}
apt update || echo "apt-get update failed; trying with the lists that are here" >&2
# shellcheck disable=SC2086 # a list of words
apt install -y --no-install-recommends $missing || {
	tail -n 20 "$log" >&2
	echo "deps.sh: apt-get could not install:$missing" >&2
	exit 1
}
