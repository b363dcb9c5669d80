#!/bin/bash
# 64 processes read, write, rename, append and list at once; every content says what it is, so a mix shows.
. "$(dirname "$0")/lib.sh"
need_fuse

mount_store
mkdir "$M/c"
tap crowd.py python3 -B "$HERE/crowd.py" "$M/c" "${SECONDS_LONG:-20}"
ok "the daemon is alive" test -n "$(daemon_pid)"
rss=$(awk '/^VmHWM/{print int($2 / 1024)}' "/proc/$(daemon_pid)/status")
ok "its memory stayed below 256 MB (peak $rss MB)" test "$rss" -le 256
sums=$(cd "$M/c" && find . -type f -exec sha256sum {} + | sort)
umount_store
ok "the store is sound" "$CKPTFS" verify --data "$S"
mount_store
equal "the same contents after a remount" "$sums" sh -c 'cd "$1" && find . -type f -exec sha256sum {} + | sort' sh "$M/c"
umount_store
done_testing
