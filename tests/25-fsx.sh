#!/bin/bash
# One file against an array in memory: random reads, writes, mappings, truncations, holes, clones, reopenings, remounts.
. "$(dirname "$0")/lib.sh"
need_fuse
fsx=$(dirname "$CKPTFS")/tests/fsx
seed=${SEED:-$RANDOM}
echo "# SEED=$seed"

remount="\"$CKPTFS\" umount \"$M\" && \"$CKPTFS\" mount \"$S\" \"$M\""
mount_store
for n in 1 2 3; do
	ok "4000 steps, seed $((seed + n))" "$fsx" -n 4000 -s $((seed + n)) "$M/file$n"
done
ok "1500 steps with remounts, seed $seed" "$fsx" -n 1500 -s "$seed" -r "$remount" "$M/file"
umount_store
ok "the store is sound" "$CKPTFS" verify --data "$S"
done_testing
