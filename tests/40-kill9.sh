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
random() { python3 -c "import random, sys; print(random.Random(sys.argv[1]).uniform(float(sys.argv[2]), float(sys.argv[3])))" "$@"; }
acknowledged() { python3 -B "$HERE/kill9.py" check "$M/w" "$T/manifest"; }
# Closing pools small files, takes differences that wait and writes meta.db anew: it is killed in the middle of that, too.
kill_closing() {
	local pid
	pid=$(daemon_pid) || return 1
	fusermount3 -u -z "$M"
	sleep "$1"
	kill -9 "$pid" 2>/dev/null
	eventually flock -n "$S/lock" true
}
for round in $(seq "$rounds"); do
	[ "$round" -le 3 ] || [ $SECONDS -lt 200 ] || { echo "# a slow machine: enough after $((round - 1))"; break; }
	options=()
	[ $((round % 2)) = 0 ] || options=(-o history=0) # what is replaced is garbage at once
	mount_store "${options[@]}"
	mkdir -p "$M/w"
	python3 -B "$HERE/kill9.py" work "$M/w" "$T/manifest" $((seed + round)) "$CKPTFS" >"$T/work.log" 2>&1 &
	worker=$!
	eventually under_way $((seed + round)) $worker
	sleep "$(random $((seed + round)) 0.4 3.5)"
	kill_daemon
	wait $worker
	ok "round $round: the workload ran until the daemon died" sh -c 'grep -q "^lost the mount" "$1" || { cat "$1"; exit 1; }' sh \
		"$T/work.log"
	mount_store
	ok "round $round: what was acknowledged is there ($(wc -c <"$T/manifest/log") bytes of manifest)" acknowledged || break
	kill_closing "$(random $((seed + round)) 0 0.6)"
	mount_store
	ok "round $round: and after a close that was cut off" acknowledged || break
	umount_store
	ok "round $round: the store is sound" "$CKPTFS" verify --data "$S" || break
done
done_testing
