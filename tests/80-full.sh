#!/bin/bash
# A disk that is full, at every step: errors are told, the old version stands, removing gives room back.
. "$(dirname "$0")/lib.sh"
need_fuse
[ "$(id -u)" = 0 ] || { skip "a small disk to fill" "needs root"; done_testing; }
cd "$T" || exit 1

disk=$T/disk
mkdir "$disk"
truncate -s 96M image
if mkfs.ext4 -q -F image 2>/dev/null && mount -o loop image "$disk" 2>/dev/null; then
	kind=ext4
elif mount -t tmpfs -o size=96M tmpfs "$disk" 2>/dev/null; then
	kind=tmpfs
else
	skip "a small disk to fill" "neither a loop device nor tmpfs can be mounted"
	done_testing
fi
echo "# the disk is $kind"
small_cleanup() {
	for m in "$M" "$disk"; do mounted "$m" && fusermount3 -u -z -q "$m"; done
	for _ in $(seq 240); do [ -z "$(daemon_pid "$S")" ] && break; sleep 0.25; done
	p=$(daemon_pid "$S") && kill -9 "$p"
	umount -l "$disk"
	cleanup
}
trap small_cleanup EXIT
S=$disk/store.ckptfs

tap full.py python3 -B "$HERE/full.py" "$CKPTFS" "$S" "$M" "$disk"
done_testing
