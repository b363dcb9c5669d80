#!/bin/bash
# The daemon is killed with SIGKILL at random moments under a mixed workload; what was acknowledged before, a manifest
# outside the mount knows.  After each round: remount, compare, verify.
. "$(dirname "$0")/lib.sh"
need_fuse

seed=${SEED:-$RANDOM}
rounds=${ROUNDS:-10}
echo "# SEED=$seed ROUNDS=$rounds"
mkdir "$T/manifest"
under_way() { grep -q "^= $1\\." "$T/manifest/log" || ! kill -0 "$2"; } # the round of this seed, by this process
for round in $(seq "$rounds"); do
	mount_store
	mkdir -p "$M/w"
	python3 -B "$HERE/kill9.py" work "$M/w" "$T/manifest" $((seed + round)) >"$T/work.log" 2>&1 &
	worker=$!
	eventually under_way $((seed + round)) $worker
	sleep "$(python3 -c "import random; print(random.Random($seed + $round).uniform(0.4, 3.5))")"
	kill_daemon
	wait $worker
	ok "round $round: the workload ran until the daemon died" sh -c 'grep -q "^lost the mount" "$1" || { cat "$1"; exit 1; }' sh \
		"$T/work.log"
	mount_store
	ok "round $round: what was acknowledged is there ($(wc -c <"$T/manifest/log") bytes of manifest)" \
		python3 -B "$HERE/kill9.py" check "$M/w" "$T/manifest" || break
	umount_store
	ok "round $round: the store is sound" "$CKPTFS" verify --data "$S" || break
done
done_testing
