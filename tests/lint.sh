#!/bin/bash
# lint.sh FILE.c... -- CFLAGS...: what `make lint` checks.  Ends with "lint: clean" or status 1.
set -u
cd "$(dirname "$0")/.." || exit 1
files=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	files+=("$1")
	shift
done
shift
bad=0
step() { # step WHAT COMMAND...: silent when it succeeds
	local out
	if out=$("${@:2}" 2>&1); then
		echo "  ok    $1"
	else
		bad=1
		echo "  FAIL  $1"
		echo "$out" | grep -v 'warnings\? generated' | head -n 200 | sed 's/^/        /'
	fi
}

run_tidy() { # the flags end the command line of each call
	local flags=("$@") script
	script='flags=$1; shift; clang-tidy --quiet "$@" -- $flags'
	printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 4 bash -c "$script" tidy "${flags[*]}"
}
pages() { mandoc -T lint -W warning man/*.[0-9]; }
shells() { # the scripts, found by their first line
	grep -lE '^#!/bin/(ba)?sh' -r .ci tests | grep -v '/__pycache__/'
}
syntax() { shells | while read -r f; do "$(sed -n '1s|^#!||p' "$f")" -n "$f" || exit 1; done; }
pythons() { python3 - <<'EOP'
import ast, glob, sys
bad = 0
for f in glob.glob("tests/**/*.py", recursive=True):
    try:
        ast.parse(open(f).read(), f)
    except SyntaxError as e:
        bad = 1
        print(e)
sys.exit(bad)
EOP
}
# .clang-format is what an editor is told; people break lines where they read best, so only a file that is far from it fails.
formatted() {
	local f bad=0 n all
	for f in codec/*.[ch] store/*.[ch] fs/*.[ch] torchbridge/*.[ch] cli/*.[ch]; do
		[[ $f == *_loops.h ]] && continue # one long macro
		all=$(wc -l <"$f")
		n=$(clang-format "$f" | diff - "$f" | grep -c '^>')
		[ $((n * 100)) -le $((all * 35 + 1500)) ] || { echo "$f: $n of $all lines are laid out in another way"; bad=1; }
	done
	return $bad
}
blanks() { # trailing blanks, missing last newlines
	! grep -nE '[[:blank:]]+$' -r --include='*.[ch]' --include='*.sh' --include='*.py' --include='*.cc' --include='*.[0-9]' \
		codec store fs torchbridge cli tests man Makefile README.md
}
checked_shell() { shells | xargs shellcheck -x -S warning -e SC1091,SC2034,SC2154; }

step "rooms and lists (tests/layers.sh)" tests/layers.sh
step "clang-format (.clang-format)" formatted
step "clang-tidy (.clang-tidy)" run_tidy "$@"
step "man pages (mandoc -T lint)" pages
step "shell syntax" syntax
if command -v shellcheck >/dev/null; then step "shellcheck" checked_shell; fi
step "Python syntax" pythons
step "blanks at line ends" blanks
[ $bad = 0 ] && echo "lint: clean"
exit $bad
