#!/bin/bash
# The tools everybody uses, on a mount, and everything again after a remount.
. "$(dirname "$0")/lib.sh"
need_fuse

[ "$(id -u)" = 0 ] && SUITE_OPTS=allow_other,dev,suid
mount_store
cd "$T" || exit 1
head -c 5000000 /dev/urandom >random
head -c 3000000 /dev/zero >zeros
seq 1 200000 >numbers
printf small >small
: >empty

for f in random zeros numbers small empty; do
	ok "cp $f in" cp "$f" "$M/$f"
	ok "$f reads back" cmp "$f" "$M/$f"
done
equal "size and content of a small one" small cat "$M/small"
ok "cp inside the mount" cp "$M/random" "$M/copy"
ok "the copy equals it" cmp random "$M/copy"
ok "mv" mv "$M/copy" "$M/moved"
ok "the moved one equals it" cmp random "$M/moved"
ok "the old name is gone" test ! -e "$M/copy"
ok "append with >>" sh -c 'cat numbers >>"$1"/numbers && cat numbers numbers | cmp - "$1"/numbers' sh "$M"
ok "overwrite with >" sh -c 'echo new >"$1"/zeros && [ "$(cat "$1"/zeros)" = new ]' sh "$M"
ok "dd into the middle" dd if=random of="$M/random" bs=1000 count=500 seek=1234 conv=notrunc
cp random expected && dd if=random of=expected bs=1000 count=500 seek=1234 conv=notrunc 2>/dev/null
ok "dd's result" cmp expected "$M/random"
ok "mkdir -p" mkdir -p "$M/a/b/c/d"
ok "rm -r" rm -r "$M/a"
ok "a tree by cp -a" sh -c 'mkdir -p t/x/y; echo 1 >t/x/1; ln -s 1 t/x/s; ln t/x/1 t/x/h; touch -d @86400.123456789 t/x/1
	chmod 640 t/x/1; cp -a t "$1"/t' sh "$M"
describe() { (cd "$1" && find . -printf '%P %y %m %U %G %n %l %T@\n' | grep -v ' d ' | LC_ALL=C sort); }
equal "its attributes" "$(describe t)" describe "$M/t"
equal "a symlink" target sh -c 'ln -s target "$1"/link && readlink "$1"/link' sh "$M"
ok "a fifo" mkfifo "$M/fifo"
ok "data through it" sh -c 'echo hi >"$1"/fifo & [ "$(cat "$1"/fifo)" = hi ]' sh "$M"
if [ "$(id -u)" = 0 ]; then
	ok "a device node" mknod "$M/full" c 1 7
	fails "that works" 'no space' dd if=small of="$M/full" conv=notrunc
	ok "chown" chown 1:2 "$M/small"
else
	skip "device nodes" "needs root"
fi
ok "chmod" chmod 604 "$M/small"
ok "touch -d" touch -d @1234567890.000000001 "$M/small"
equal "ls shows what find says" "$(cd "$M" && find . -mindepth 1 -maxdepth 1 | sed 's|./||' | LC_ALL=C sort)" \
	sh -c 'LC_ALL=C ls -A "$1"' sh "$M"
ok "@ names are not listed" sh -c '! ls -a "$1" | grep @' sh "$M"
ok "df works" df "$M"
ok "du works" du -s "$M"
ok "@stats is there and is not empty" sh -c 'test -n "$(cat "$1"/@stats)"' sh "$M"
ok "running a program from the mount" sh -c 'cp /bin/true "$1"/prog && "$1"/prog' sh "$M"

before=$(cd "$M" && find . -printf '%P %y %m %U %G %n %s %l %T@ %C@ %i\n' | LC_ALL=C sort)
sums=$(cd "$M" && find . -type f -exec sha256sum {} + | LC_ALL=C sort)
ok "umount" umount_store
ok "the directory is empty" sh -c '[ -z "$(ls -A "$1")" ]' sh "$M"
ok "nobody holds the store" sh -c '! flock -n "$1"/lock false || true' sh "$S"
ok "verify" "$CKPTFS" verify --data "$S"
mount_store
equal "all attributes after a remount" "$before" sh -c 'cd "$1" && find . -printf "%P %y %m %U %G %n %s %l %T@ %C@ %i\n" |
	LC_ALL=C sort' sh "$M"
equal "all contents after a remount" "$sums" sh -c 'cd "$1" && find . -type f -exec sha256sum {} + | LC_ALL=C sort' sh "$M"
ok "an identical copy stores next to nothing" sh -c '
	a=$(du -sk "$2" | cut -f1); cp random "$1"/again; sync "$1"/again; b=$(du -sk "$2" | cut -f1)
	echo "$a KiB, then $b"; [ $((b - a)) -lt 1000 ]' sh "$M" "$S"
ok "rm -rf of everything" sh -c 'rm -rf "$1"/*' sh "$M"
equal "nothing is left" "" ls -A "$M"
umount_store
done_testing
