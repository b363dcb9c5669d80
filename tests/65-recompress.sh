#!/bin/bash
# A training that was saved for speed is recompressed: smaller, byte for byte the same, wherever the command is killed.
. "$(dirname "$0")/lib.sh"
need_fuse
c=$CKPTFS
mkdir "$T/src"
python3 -B "$HERE/recompress_train.py" "$T/src" 0 9
head -c 400000 /dev/urandom >"$T/src/noise.bin"
seq 60000 >"$T/src/numbers.txt"

same() { # the mounted tree, or the store's, is what was written
	local out=$T/out
	if mounted; then
		diff -r "$T/src" "$M/run"
	else
		rm -rf "$out" && "$c" export "$S:/run" "$out" && diff -r "$T/src" "$out/run"
	fi
}
figure() { # figure NAME < JSON
	python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"
}
bytes() { # of chunks.db
	stat -c %s "$S/chunks.db"
}

# ---- saved for speed
mount_store -o compress=fast
mkdir "$M/run"
for k in 0 1 2 3 4 5 6 7; do cp "$T/src/step-$k.safetensors" "$M/run/"; done
cp "$T/src/noise.bin" "$T/src/numbers.txt" "$M/run/"
umount_store
mv "$T/src/step-8.safetensors" "$T/later"
ok "what was written is there" same
before=$(bytes)

# ---- killed at any moment
for ms in 1 5 20 50 100 200 400; do
	"$c" recompress "$S" >/dev/null 2>&1 &
	pid=$!
	sleep "$(printf '0.%03d' $ms)"
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
	ok "killed after $ms ms: the store is sound" "$c" verify --data "$S"
	ok "killed after $ms ms: every byte is there" same
done

# ---- carried through
ok "recompress" "$c" recompress "$S"
ok "is quick the second time: nothing is left to look at" sh -c '[ "$("$1" recompress --json "$2" | python3 -c \
	"import json, sys; print(json.load(sys.stdin)[\"chunks_seen\"])")" = 0 ]' sh "$c" "$S"
ok "every byte is there" same
ok "the store is sound" "$c" verify --data "$S"
after=$(bytes)
ok "and smaller by a tenth ($before -> $after bytes)" test "$after" -lt $((before - before / 10))

# ---- through the owner of a mounted store
mount_store -o compress=fast
mv "$T/later" "$T/src/step-8.safetensors"
cp "$T/src/step-8.safetensors" "$M/run/"
seen=$("$c" recompress --json "$M" | figure chunks_better)
ok "of a mounted store: what came since gets shorter (${seen:-no} chunks)" test "${seen:-0}" -ge 4
ok "the mount shows every byte" same
umount_store
ok "the store is sound again" "$c" verify --data "$S"
ok "and every byte is there" same
fails "a store that is not there" 'no store|such' "$c" recompress "$T/none.ckptfs"

# ---- what was deleted harms nothing that stays, and never makes the store grow
mount_store -o history=0
for k in 0 4 2 1 6; do
	was=$(bytes)
	rm "$T/src/step-$k.safetensors" "$M/run/step-$k.safetensors"
	ok "step $k deleted and collected" "$c" gc "$M"
	ok "the others are whole" same
	now=$(bytes)
	ok "the store did not grow ($was -> $now bytes)" test "$now" -le "$was"
done
umount_store
ok "the store is sound at the end" "$c" verify --data "$S"
ok "and what was never deleted is there" same
done_testing
