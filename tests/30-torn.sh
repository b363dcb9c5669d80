#!/bin/bash
# A writer that is killed in the middle of a save: the old version stands, a new file does not appear, the torn bytes
# are kept aside.
. "$(dirname "$0")/lib.sh"
need_fuse

mount_store
mkdir "$M/run"
tap torn.py python3 -B "$HERE/torn.py" "$M/run" "$M/@history/run"
for python in "${PYTHON:-}" python3 /usr/bin/python3; do
	[ -n "$python" ] && "$python" -c 'import torch' 2>/dev/null || continue
	mkdir "$M/torch"
	tap torn_torch.py "$python" -B -W ignore "$HERE/torn_torch.py" "$M/torch"
	torch=1
	break
done
[ -n "${torch:-}" ] || skip "torch.save killed at random moments" "no Python here has torch"
umount_store
ok "the store is sound" "$CKPTFS" verify --data "$S"

mount_store -o torn=keep
ok "-o torn=keep publishes what was written" python3 -B "$HERE/torn.py" --keep "$M/run"
umount_store
done_testing
