# shellcheck shell=bash
# lib.sh: what the suites on a mount share.  A suite sources it, calls what it needs, and ends with `done_testing`:
#
#     . "$(dirname "$0")/lib.sh"
#     need_fuse
#     mount_store
#     ok "a file comes back" cmp a "$M/a"
#     done_testing
#
# It speaks TAP: one "ok N - what" or "not ok N - what" a test, output of a failed one behind "# ".  Everything a suite
# makes lies in $T; $S is its store and $M its mount point.  What it leaves mounted or running is cleaned up at the end,
# however it ends, and nothing else is touched.

set -u
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CKPTFS=${CKPTFS:-$HERE/../build/ckptfs}

# shellcheck source=tests/fuse.sh
. "$HERE/fuse.sh"

tests_run=0
tests_failed=0

# Ends the suite here, without failure, where FUSE is missing.
need_fuse() {
	if fuse_missing >/dev/null; then
		echo "ok $((tests_run + 1)) - the rest # SKIP FUSE is missing"
		echo "1..$((tests_run + 1))"
		exit $((tests_failed > 0))
	fi
}

# ok WHAT COMMAND...: runs the command and reports.
ok() {
	local what=$1 out rc
	shift
	tests_run=$((tests_run + 1))
	out=$("$@" 2>&1)
	rc=$?
	if [ $rc = 0 ]; then
		echo "ok $tests_run - $what"
	else
		tests_failed=$((tests_failed + 1))
		echo "not ok $tests_run - $what"
		echo "# $* -> status $rc"
		[ -z "$out" ] || echo "${out:0:4000}" | sed 's/^/#   /'
	fi
	return $rc
}

# fails WHAT PATTERN COMMAND...: the command must fail and say something that matches the extended regular expression.
fails() {
	ok "$1" fails_with "$2" "${@:3}"
}
fails_with() {
	local pattern=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "succeeded: $out"
		return 1
	fi
	grep -Eiq -- "$pattern" <<<"$out" || {
		echo "failed with: $out"
		echo "expected: $pattern"
		return 1
	}
}

# equal WHAT EXPECTED COMMAND...: the command's output.
equal() {
	ok "$1" equals "$2" "${@:3}"
}
equals() {
	local expected=$1 out
	shift
	out=$("$@" 2>&1) || { echo "status $?: $out"; return 1; }
	[ "$out" = "$expected" ] && return 0
	printf 'expected: %s\ngot:      %s\n' "$expected" "$out"
	return 1
}

status_is() { # status_is N COMMAND...
	local want=$1 out rc
	shift
	out=$("$@" 2>&1)
	rc=$?
	[ $rc = "$want" ] || { echo "status $rc, expected $want: $out"; return 1; }
}

# eventually COMMAND...: until it succeeds.  What others do in their own time is waited for like this, never by a
# sleep that should be long enough; a minute is far more than any of it takes.
eventually() {
	local i
	for ((i = 0; i < 600; i++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.1
	done
	"$@" # what it says now
}

skip() { # skip WHAT WHY
	tests_run=$((tests_run + 1))
	echo "ok $tests_run - $1 # SKIP $2"
}

# A Python program that prints TAP of its own: takes its lines in, renumbered.  Its death counts as a failure.
tap() { # tap WHAT COMMAND...
	local what=$1 line rc out=$T/tap.$$
	shift
	"$@" >"$out" 2>&1
	rc=$?
	local bad=0
	while IFS= read -r line; do
		case $line in
		"ok "*)
			tests_run=$((tests_run + 1))
			echo "ok $tests_run - ${line#ok * - }"
			;;
		"not ok "*)
			tests_run=$((tests_run + 1))
			tests_failed=$((tests_failed + 1))
			bad=1
			echo "not ok $tests_run - ${line#not ok * - }"
			;;
		*) echo "# ${line#\# }" ;;
		esac
	done <"$out"
	[ $rc = 0 ] || [ $bad = 1 ] || ok "$what ends well" status_is 0 sh -c "exit $rc"
}

done_testing() {
	echo "1..$tests_run"
	exit $((tests_failed > 0))
}

# ---- a store on a mount ------------------------------------------------------------------------------------------

mounted() { # mounted [DIR]
	grep -q " ${1:-$M} fuse" /proc/mounts
}

# Who has store $S open, by its lock file's flock; empty when nobody.
daemon_pid() {
	local pid
	pid=$(head -n 1 "${1:-$S}/lock" 2>/dev/null | grep -Eo '[0-9]+' | head -n 1)
	[ -n "$pid" ] && [ -d "/proc/$pid" ] && grep -q ckptfs "/proc/$pid/comm" && echo "$pid"
}

mount_store() { # mount_store [OPTION...]
	"$CKPTFS" mount ${SUITE_OPTS:+-o "$SUITE_OPTS"} "$@" "$S" "$M" || {
		echo "Bail out! cannot mount $S"
		exit 1
	}
}

umount_store() {
	"$CKPTFS" umount "$M"
}

# Kills the daemon as a crash would, and takes the dead mount away.  Its lock says when all of its threads have ended.
kill_daemon() {
	local pid
	pid=$(daemon_pid) || return 1
	kill -9 "$pid"
	eventually flock -n "$S/lock" true
	fusermount3 -u -z -q "$M"
}

cleanup() {
	local rc=$? dir
	trap - EXIT
	set +eu +o pipefail
	cd /
	grep -Eo " $T/[^ ]+ " /proc/mounts | sort -r | while read -r dir; do
		fusermount3 -u -z -q "$dir" 2>/dev/null || umount -l "$dir"
	done
	for dir in "$T"/*.ckptfs; do
		local i pid
		for i in 1 2 3 4 5 6 7 8 9 10; do
			pid=$(daemon_pid "$dir") || break
			sleep 0.3
		done
		pid=$(daemon_pid "$dir") && kill -9 "$pid"
	done
	rm -rf --one-file-system "$T"
	exit $rc
}

T=$(mktemp -d "${TMPDIR:-/tmp}/ckptfs-test.XXXXXX")
trap cleanup EXIT
trap 'exit 1' INT TERM HUP
S=$T/store.ckptfs
M=$T/mnt
mkdir "$M"
chmod 711 "$T" # suites as root try things as nobody
