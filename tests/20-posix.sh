#!/bin/bash
# What a local Linux filesystem does, call by call: posix.py, on a mount and after a remount.
. "$(dirname "$0")/lib.sh"
need_fuse

[ "$(id -u)" = 0 ] && SUITE_OPTS=allow_other,dev,suid
mount_store
mkdir "$M/posix"
tap posix.py python3 -B "$HERE/posix.py" "$M/posix"
umount_store
ok "the store is sound" "$CKPTFS" verify --data "$S"
mount_store
ok "it mounts again and everything can be removed" rm -r "$M/posix"
umount_store
done_testing
