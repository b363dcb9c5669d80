#!/bin/bash
# What a local Linux filesystem does, call by call: posix_names.py, posix_data.py, posix_attrs.py.
. "$(dirname "$0")/lib.sh"
need_fuse

[ "$(id -u)" = 0 ] && SUITE_OPTS=allow_other,dev,suid
mount_store
for part in names data attrs; do
	mkdir -p "$M/posix/$part"
	tap posix_$part.py python3 -B "$HERE/posix_$part.py" "$M/posix/$part"
done
flock "$M/posix/lock" true # creates it without being able to write to it
umount_store
ok "the store is sound" "$CKPTFS" verify --data "$S"
mount_store
ok "a file that was created for reading only is there" test -f "$M/posix/lock"
ok "it mounts again and everything can be removed" rm -r "$M/posix"
umount_store
done_testing
