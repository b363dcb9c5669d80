#!/bin/bash
# Stores of every format that there was: read as they are, read after an upgrade, written to (tests/golden/make.py).
. "$(dirname "$0")/lib.sh"
cd "$T" || exit 1
c=$CKPTFS
newest=$("$c" version | sed -n 's/^store format *//p')

look() { python3 -B "$HERE/golden/look.py" "$c" "$@"; }
# The format that the header of meta.db names: user_version, four bytes at offset 60, big-endian.
format_of() { od -An -tu1 -j60 -N4 "$1/meta.db" | awk '{ print $4 + 256 * $3 }'; }

head -c 70000 /dev/urandom >big
printf 'small and new\n' >small

for golden in "$HERE"/golden/format-*; do
	f=${golden##*-}
	S=$T/format-$f.ckptfs
	tar -xzf "$golden/store.tar.gz" && mv store.ckptfs "$S"
	equal "format $f: the store says so" "$f" format_of "$S"
	ok "format $f: all of it is there" look "$S" "$golden/manifest" "$T/out"
	ok "format $f: ls" sh -c '"$1" ls "$2:run" | grep -qx latest' sh "$c" "$S"
	ok "format $f: verify --data" "$c" verify --data "$S"
	equal "format $f: opened for writing it has become the newest" "$newest" format_of "$S"
	ok "format $f: cp into it" "$c" cp big small "$S:run/logs/"
	ok "format $f: cp over a file of it" "$c" cp small "$S:run/notes.txt"
	ok "format $f: rm in it" "$c" rm "$S:run/logs/big" "$S:run/logs/small"
	ok "format $f: gc" "$c" gc "$S"
	ok "format $f: verify --data after that" "$c" verify --data "$S"
	grep -v ' run/notes\.txt$' "$golden/manifest" >manifest
	echo "file $(sha256sum <small | cut -d' ' -f1) $(stat -c %s small) run/notes.txt" >>manifest
	ok "format $f: the rest is as it was" look "$S" manifest "$T/out" --no-past
done
ok "the newest format has its golden store" test -f "$HERE/golden/format-$newest/manifest"

# Read-only: nothing is upgraded, and nothing needs to be.
need_fuse
for golden in "$HERE"/golden/format-*; do
	f=${golden##*-}
	S=$T/ro-$f.ckptfs
	tar -xzf "$golden/store.tar.gz" && mv store.ckptfs "$S"
	sums=$(sha256sum "$S"/*.db)
	mount_store -o ro
	ok "format $f: mounted read-only, a file" cmp "$M/run/000/metrics.json" "$M/run/first.json"
	equal "format $f: and its bytes" "$(sed -n 's/^file \([0-9a-f]*\) [0-9]* run\/002\/model.safetensors$/\1/p' \
		"$golden/manifest")" sh -c 'sha256sum <"$1" | cut -d" " -f1' sh "$M/run/002/model.safetensors"
	umount_store
	equal "format $f: read-only leaves it alone" "$sums" sha256sum "$S/chunks.db" "$S/meta.db"
done
done_testing
