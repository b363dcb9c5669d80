#!/bin/bash
# fuzz/fuzzers.sh: every fuzz target over its seeds and a short run of mutations from a fixed seed, so that what fails once fails
# always.  `make fuzz FUZZ_SECONDS=600` goes on from there.  TAP; without clang it says so.
#
# A finding is left in build/fuzz/found.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=${FUZZ_BUILD:-$here/../../build/fuzz}
runs=${FUZZ_RUNS:-4000}

if ! command -v clang >/dev/null || [ ! -x "$build/fuzz_zip" ]; then
	echo "ok 1 - fuzzers # SKIP clang with libFuzzer is not here; tests/deps.sh fuzz installs it"
	exit 0
fi
seeds=$build/seeds
rm -rf "$seeds"
python3 -B "$here/seeds.py" "$seeds" || exit 1
mkdir -p "$build/found"
n=0 failed=0
for program in "$build"/fuzz_*; do
	name=$(basename "$program")
	case $name in *.*) continue ;; esac # a log
	n=$((n + 1))
	work=$(mktemp -d "$build/work.XXXXXX")
	if [ -n "${FUZZ_SECONDS:-}" ]; then
		corpus=$build/corpus/$name
		mkdir -p "$corpus"
		how=("-max_total_time=$FUZZ_SECONDS" "$corpus")
	else
		# These two do more a run than the others.
		case $name in fuzz_codec) k=20 ;; fuzz_runs) k=5 ;; *) k=1 ;; esac
		how=(-seed=1 "-runs=$((runs / k))" "$work")
	fi
	# Some make seeds of their own out of those that are there.
	FUZZ_MADE=$seeds/$name "$program" -runs=0 "$seeds/$name" >"$build/$name.log" 2>&1
	[ ! -f "$seeds/$name.dict" ] || how+=("-dict=$seeds/$name.dict")
	if ASAN_OPTIONS=allocator_may_return_null=1 "$program" "${how[@]}" "$seeds/$name" -max_len=65536 -timeout=120 \
		-rss_limit_mb=2048 -artifact_prefix="$build/found/$name-" >"$build/$name.log" 2>&1; then
		echo "ok $n - $name"
	else
		failed=1
		echo "not ok $n - $name"
		grep -E -A 12 'ERROR|SUMMARY|runtime error' "$build/$name.log" | head -n 40 | sed 's/^/# /'
	fi
	rm -rf "$work"
done
exit $failed
