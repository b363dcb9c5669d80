#!/bin/bash
# Views of checkpoints on a mount: the tools everybody uses on them, ranges and mappings, files that are replaced meanwhile, files
# that lie, and the same without a mount.
. "$(dirname "$0")/lib.sh"
need_fuse

[ "$(id -u)" = 0 ] && SUITE_OPTS=allow_other
py() { python3 "$HERE/views.py" "$@"; }
names() { (cd "$1" && find . | LC_ALL=C sort); }
digest() { (cd "$1" && find -L . -type f -exec sha256sum {} + | LC_ALL=C sort); }

mount_store
py make "$M" || exit 1

# --- what is listed ---
ok "views are no entries of the root" sh -c '! ls -a "$1" | grep @' sh "$M"
equal "ls @" "@auto @bf16 @cpu @cuda @fp16 @fp32 @history @json @runs @safetensors @stats @summary @tree" \
	sh -c 'LC_ALL=C ls "$1/@" | xargs' sh "$M"
for v in @cpu @cuda:1 @auto @cpu+bf16 @summary @json; do
	equal "$v: the names of the tree" "$(names "$M/run")" names "$M/$v/run"
	ok "$v: find stats everything" sh -c 'find "$1" -ls' sh "$M/$v/run"
done
ok "@safetensors: its names" test -f "$M/@safetensors/run/3/model.pt.safetensors"
equal "@safetensors: listed so" "metrics.json model.pt.safetensors" sh -c 'LC_ALL=C ls "$1" | xargs' sh "$M/@safetensors/run/3"
ok "@tree: a file is a directory" test -d "$M/@tree/run/3/model.pt/model"
equal "@tree: a scalar" 3 cat "$M/@tree/run/3/model.pt/epoch"
ok "@tree: find walks it" sh -c 'find "$1" -name "*.npy" | grep -q layer.weight.npy' sh "$M/@tree/run"
equal "times as the source" "$(stat -c %y "$M/run/1/model.pt")" stat -c %y "$M/@json/run/1/model.pt"
equal "links as they are" ../3/model.pt readlink "$M/@cpu/run/links/link.pt"
ok "they lead on in the view" cmp "$M/@cpu/run/last/model.pt" "$M/@cpu/run/links/link.pt"
ok "what a view does not apply to" cmp "$M/run/2/metrics.json" "$M/@json/run/2/metrics.json"
fails "nothing can be written" 'read-only|permission' sh -c 'echo x >>"$1"' sh "$M/@cpu/run/1/model.pt"
fails "nothing can be removed" 'read-only|permission' rm -f "$M/@cpu/run/1/model.pt"

# --- tools ---
ok "du" du -s "$M/@fp16/run"
for v in @cpu @fp16 @json @safetensors @tree; do
	rm -rf copy
	ok "$v: cp -rL" cp -rL "$M/$v/run" "$T/copy"
	equal "$v: what was copied" "$(digest "$M/$v/run")" digest "$T/copy"
	rm -rf "$T/copy"
done
if command -v rsync >/dev/null; then
	ok "rsync -a" rsync -a "$M/@cpu/run" "$T/synced/"
	equal "rsync sees no difference then" "" sh -c 'rsync -a -i --size-only "$1" "$2"' sh "$M/@cpu/run" "$T/synced/"
	ok "its bytes" cmp "$M/@cpu/run/2/model.pt" "$T/synced/run/2/model.pt"
else
	skip "rsync -a" "not installed"
fi
ok "tar" sh -c 'tar -C "$1" -cf - run | tar -xf - -O run/1/model.pt | cmp - "$1/run/1/model.pt"' sh "$M/@bf16"
ok "cp inside the mount" sh -c 'cp "$1/@cpu/run/1/model.pt" "$1/cpu.pt" && cmp "$1/@cpu/run/1/model.pt" "$1/cpu.pt"' sh "$M"
equal "a view of the copy is the copy" "" sh -c 'cmp "$1/cpu.pt" "$1/@cpu/cpu.pt" || true' sh "$M"

# --- bytes ---
for v in @cpu @fp16 @cpu+bf16 @json @summary; do
	ok "$v: any range, and mappings" py ranges "$M/$v/run/3/model.pt"
done
ok "@safetensors: any range" py ranges "$M/@safetensors/run/3/model.pt.safetensors"
ok "@tree: any range" py ranges "$M/@tree/run/3/model.pt/model/layer.weight.npy"
ok "views of views" sh -c 'grep -q \"cpu\" "$1/@json/@cpu/run/1/model.pt" && ! grep -q cuda "$1/@json/@cpu/run/1/model.pt"' sh "$M"

# --- files that change ---
cp "$M/run/1/model.pt" "$T/one"
for v in @cpu @json @fp16; do
	cp "$M/run/3/model.pt" "$M/changing.pt"
	ok "$v: replaced while it is read" py held "$M/$v/changing.pt" "$M/changing.pt" "$M/run/3/metrics.json"
	cp "$T/one" "$M/changing.pt"
	ok "$v: while it is written" py writing "$M/$v/changing.pt" "$M/changing.pt"
done
rm "$M/changing.pt"
fails "gone with its source" 'no such file' stat "$M/@cpu/changing.pt"
old=$(find "$M/@history/changing.pt" -name '*deleted*' | head -n 1)
ok "views of the history" grep -q tensors "$M/@json/${old#"$M"/}"

# --- runs ---
equal "@runs: experiences" "1 2 3" sh -c 'ls "$1/@runs/run" | grep -x "[0-9]*" | xargs' sh "$M"
equal "@runs: the newest" 3 readlink "$M/@runs/run/latest"
ok "@runs: metrics" grep -q 0.3 "$M/@runs/run/metrics.csv"
ok "@runs: a report" grep -qi '<html' "$M/@runs/run/report.html"
ok "@runs: a component holds its part" sh -c 'grep -q layer.weight "$1" && ! grep -q "\"lr\"" "$1"' sh "$M/@json/@runs/run/2/model.pt"
ok "@runs: any range of it" py ranges "$M/@runs/run/2/model.pt"
ok "@runs: through other views" py ranges "$M/@fp16/@runs/run/latest/model.pt"
ok "@runs: find, du, cp -rL" sh -c 'find "$1" -ls >/dev/null && du -s "$1" && cp -rL "$1" "$2"' sh "$M/@runs/run" "$T/runs"
ok "@runs: what was copied" diff -r "$M/@runs/run" "$T/runs"
mkdir "$M/run/4"
py model "$M/run/4/model.pt" 4
latest() { [ "$(readlink "$M/@runs/run/latest")" = "$1" ]; }
eventually latest 4 # on a slow machine the scan of a tree may be behind for a moment
equal "@runs: a new one is the newest" 4 readlink "$M/@runs/run/latest"
head -c 100000 "$M/run/3/model.pt" >"$M/run/4/model.pt"
eventually latest 3
equal "@runs: a torn one is not" 3 readlink "$M/@runs/run/latest"
rm -r "$M/run/4"

# --- who may see what ---
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
	mkdir "$M/private"
	cp "$T/one" "$M/private/a.pt"
	cp "$T/one" "$M/secret.pt"
	ok "nobody reads what all may read" as_nobody head -c 4 "$M/@cpu/run/1/model.pt"
	chmod 600 "$M/secret.pt"
	chmod 700 "$M/private"
	for v in @cpu @json @bf16; do
		fails "$v: not a file that is closed" 'denied' as_nobody cat "$M/$v/secret.pt"
		fails "$v: not below a directory that is" 'denied' as_nobody cat "$M/$v/private/a.pt"
	done
	fails "@tree: nor inside such a file" 'denied' as_nobody ls "$M/@tree/secret.pt"
	# what comes from a directory that is closed, by a path that does not lead through it
	mkdir -p "$M/proj/checkpoints"
	cp "$T/one" "$M/proj/checkpoints/epoch-1.pt"
	chmod 700 "$M/proj/checkpoints"
	seen() { found=$(find "$M/@runs" -path "*proj*" -name model.pt | head -n 1) && test -n "$found"; }
	eventually seen
	ok "@runs: shows it to its owner" test -n "$found"
	fails "@runs: not to others" 'denied' as_nobody cat "$found"
	rm -r "$M/private" "$M/secret.pt" "$M/proj"
else
	skip "who may see what" "needs root and setpriv"
fi

# --- without a mount, and through the one who has it mounted ---
# shellcheck disable=SC2016
cat_is_the_same() { "$CKPTFS" cat "$S:$1" | cmp - "$2"; }
cp "$M/@bf16/run/3/model.pt" "$T/bf16"
cp "$M/@tree/run/3/model.pt/model/layer.bias.npy" "$T/bias.npy"
ok "cat STORE:@bf16/... of a mounted store" cat_is_the_same @bf16/run/3/model.pt "$T/bf16"
umount_store
ok "cat STORE:@bf16/..." cat_is_the_same @bf16/run/3/model.pt "$T/bf16"
ok "cat STORE:@tree/..." cat_is_the_same @tree/run/3/model.pt/model/layer.bias.npy "$T/bias.npy"
ok "ls STORE:@safetensors/..." sh -c '"$1" ls "$2:@safetensors/run/3" | grep -qx model.pt.safetensors' sh "$CKPTFS" "$S"
ok "export STORE:@cpu/..." sh -c '"$1" export "$2:@cpu/run/3" "$3" && test -s "$3/3/model.pt"' sh "$CKPTFS" "$S" "$T/out"
ok "cp STORE:@cpu/... STORE:" sh -c '"$1" cp "$2:@cpu/run/3/model.pt" "$2:copied.pt"' sh "$CKPTFS" "$S"

# --- files that lie: the daemon stays in the foreground, so that its log can be read ---
"$CKPTFS" mount -f ${SUITE_OPTS:+-o "$SUITE_OPTS"} "$S" "$M" 2>"$T/log" &
for _ in $(seq 600); do
	mounted && break
	sleep 0.1
done
ok "mounted again" mounted
export VIEWS_EXECUTED=$T/executed
py hostile "$M/bad" || exit 1
ok "a good one among them" grep -q tensors "$M/@json/bad/good.pt"
for f in cut.pt tail.pt bomb.pkl count.pkl long.pt; do
	for v in @cpu @json @summary @bf16; do
		fails "$v: $f is EIO" 'input/output error' timeout 300 cat "$M/$v/bad/$f"
	done
	fails "@tree: $f is EIO" 'input/output error' timeout 300 ls "$M/@tree/bad/$f/"
	equal "one line in the log for $f" 1 grep -c "show 'bad/$f'" "$T/log"
	ok "$f itself is served" sh -c 'cat "$1" >/dev/null' sh "$M/bad/$f"
done
for f in header.safetensors size.npy offset.pt deep.pkl; do
	for v in @cpu @json @summary; do
		ok "$v: $f: understood in part, or EIO" sh -c 'timeout 300 cat "$1" >/dev/null 2>"$2"; rc=$?
			[ $rc = 0 ] || grep -q "Input/output error" "$2"' sh "$M/$v/bad/$f" "$T/err"
	done
done
ok "the others are listed all the same" sh -c '[ "$(ls "$1/@cpu/bad" | wc -l)" = "$(ls "$1/bad" | wc -l)" ]' sh "$M"
ok "nothing was executed" test ! -e "$VIEWS_EXECUTED"
ok "what it would execute is told" grep -q system "$M/@json/bad/runs_nothing.pt"
peak=$(awk '/VmHWM/ { print $2 }' "/proc/$(daemon_pid)/status")
ok "memory stayed within bounds ($peak KiB)" test "$peak" -lt 700000
umount_store
wait
done_testing
