#!/bin/bash
# Files made to hurt who opens them (tests/hostile.py), on a mount: each is served as it is; a view shows it or gives EIO with one
# line in the log; memory stays bounded, nobody else waits, nothing is executed.  And a few through the command alone.
. "$(dirname "$0")/lib.sh"
need_fuse

executed=$T/was-executed
"$CKPTFS" mount -f "$S" "$M" 2>"$T/log" &
for _ in $(seq 600); do
	mounted && break
	sleep 0.1
done
ok "mounted" mounted
HOSTILE_EXECUTED=$executed python3 -B -W ignore "$HERE/hostile.py" make "$T/made/bad" || exit 1
ok "they are taken in" cp -r "$T/made/bad" "$M/bad"
tap "asking" python3 -B "$HERE/hostile.py" ask "$M" bad
ok "each is served as it is" diff -r "$T/made/bad" "$M/bad"
ok "nothing was executed" test ! -e "$executed"
ok "what it would execute is told" grep -q os.system "$M/@json/bad/system.pt"

# What the log says of a view is one line a file: the name, and why.
grep "views can't show" "$T/log" >"$T/told"
for f in bad-marks.pkl bad-long4.pkl bad-count.pt bad-zip64.pt bad-depth.safetensors cut/6-zip.pt; do
	equal "one line in the log for $f" 1 grep -c "show 'bad/$f': ." "$T/told"
done
equal "never two" "" sh -c "sed \"s/.*show '//; s/': .*//\" '$T/told' | sort | uniq -d"
ok "no line carries control characters" sh -c '! LC_ALL=C grep -q "[[:cntrl:]]" "$1"' sh "$T/log"

peak=$(awk '/VmHWM/ { print $2 }' "/proc/$(daemon_pid)/status")
case $CKPTFS in *san-*) limit=4000000 ;; *) limit=400000 ;; esac
ok "memory stays bounded ($peak KiB)" test "$peak" -lt $limit
umount_store
wait

# --- without a mount ---
for f in bad-marks.pkl bad-count.pt bad-offsets.safetensors cut/5-legacy.pt; do
	fails "cat STORE:@summary/bad/$f" "can't show" timeout 300 "$CKPTFS" cat "$S:@summary/bad/$f"
	ok "cat STORE:bad/$f" sh -c '"$1" cat "$2:bad/$4" | cmp - "$3/bad/$4"' sh "$CKPTFS" "$S" "$T/made" "$f"
done
# shellcheck disable=SC2016
ok "a tensor of 2^40 elements: its beginning" sh -c '"$1" cat "$2:@tree/bad/expanded-2^40.pt/t.npy" | head -c 1000000 | wc -c | grep -qx 1000000' \
	sh "$CKPTFS" "$S"
fails "names do not lead out of the tree" 'no such|no .|not' "$CKPTFS" cat "$S:@tree/bad/good-keys.pt/../../../etc/passwd"
done_testing
