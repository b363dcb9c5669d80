#!/bin/bash
# check.sh PROGRAM...: runs test programs that speak TAP one after the other, shows what failed, and sums up.
#
# Output of each goes to build/log/NAME.log.  A program that dies, runs longer than $CKPT_TIMEOUT seconds (default 900)
# or tests nothing counts as a failure.  $CKPT_TALLY: a file to which "passed failed" is added, for .ci/run.
set -u
here=$(cd "$(dirname "$0")" && pwd)
logs=$here/../build/log
mkdir -p "$logs"
export CMOCKA_MESSAGE_OUTPUT=TAP

# shellcheck source=tests/fuse.sh
. "$here/fuse.sh"

passed=0 failed=0 skipped=0 mounts=
for program; do
	name=$(basename "$program" .sh)
	grep -qs '^need_fuse' "$program" && mounts="${mounts:+$mounts }$name"
	log=$logs/${CKPT_LOG_PREFIX:-}$name.log
	started=$EPOCHREALTIME
	timeout -k 20 "${CKPT_TIMEOUT:-900}" "$program" >"$log" 2>&1 </dev/null
	rc=$?
	took=$(((${EPOCHREALTIME//[.,]/} - ${started//[.,]/}) / 100000))
	# cmocka 1.1 says "not ok N # SKIP name"
	s=$(grep -cE '^(not )?ok .*# SKIP' "$log")
	p=$(grep '^ok ' "$log" | grep -vc '# SKIP')
	f=$(grep '^not ok ' "$log" | grep -vc '# SKIP')
	if [ $rc != 0 ] && [ "$f" = 0 ]; then
		f=1
		if [ $rc = 124 ]; then why="ran out of time"; else why="died with status $rc"; fi
		echo "not ok - $name $why" >>"$log"
	elif [ $((p + f + s)) = 0 ]; then
		f=1
		echo "not ok - $name tested nothing" >>"$log"
	fi
	if [ "$f" = 0 ]; then word=ok; else word=FAIL; fi
	printf '%-5s %-24s %4d passed' $word "$name" "$p"
	[ "$f" = 0 ] || printf ', %d failed' "$f"
	[ "$s" = 0 ] || printf ', %d skipped' "$s"
	printf '   %d.%d s\n' $((took / 10)) $((took % 10))
	grep -E '^(not )?ok .*# SKIP' "$log" |
		sed 's/^ok [0-9]* - \(.*\) # SKIP/      skipped: \1:/; s/^not ok [0-9]* # SKIP/      skipped:/' | sort | uniq
	if [ "$f" != 0 ]; then
		grep -A 12 '^not ok ' "$log" | head -n 60 | sed 's/^/      /'
		grep -q '^not ok [0-9]' "$log" || tail -n 30 "$log" | sed 's/^/      /'
		echo "      all of it: build/log/$(basename "$log")"
	fi
	passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done

[ -z "${CKPT_TALLY:-}" ] || echo "$passed $failed" >>"$CKPT_TALLY"
[ $skipped = 0 ] || echo "$skipped skipped, as said above"
rc=$((failed > 0))
if [ -n "$mounts" ] && why=$(fuse_missing); then
	echo "FUSE is missing, so nothing was tested on a mount ($mounts): $why"
	rc=1
fi
echo "$passed passed, $failed failed"
exit $rc
