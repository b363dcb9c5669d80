#!/bin/bash
# rsync, tar, zip, cp -a, mv on DIR: trees in, inside, out; contents and attributes compared.
set -eu -o pipefail
src=$TMPDIR/src
out=$TMPDIR/out
rm -rf "$src" "$out"
mkdir -p "$src/run/001/deep" "$out"
head -c 4000000 /dev/urandom >"$src/run/001/model.pt"
cp "$src/run/001/model.pt" "$src/run/001/copy.pt"
seq 100000 >"$src/run/001/deep/log"
: >"$src/run/empty"
ln "$src/run/001/deep/log" "$src/run/hard"
ln -s 001/model.pt "$src/run/soft"
ln -s nowhere "$src/run/dangling"
truncate -s 3M "$src/run/sparse"
chmod 600 "$src/run/001/copy.pt"
chmod 750 "$src/run/001"
touch -d @1111111111.987654321 "$src/run/001/model.pt" "$src/run/001/deep"
touch -h -d @1222222222.123456789 "$src/run/soft" "$src/run/dangling" # rsync leaves times that differ by less than a second
describe() {
	(cd "$1" && find . -mindepth 1 \( -type d -printf '%P d %m\n' -o -printf '%P %y %m %n %s %l %T@\n' \) | LC_ALL=C sort)
}
same() {
	diff -r --no-dereference "$src/run" "$1"
	diff <(describe "$src/run") <(describe "$1")
}
cd "$1"
cp -a "$src/run" cp
same cp
rsync -aH "$src/run/" rsync
same rsync
[ -z "$(rsync -aHi --delete "$src/run/" rsync)" ] # nothing to do the second time
rsync -aH --checksum --delete "$src/run/" rsync
echo changed >>rsync/001/deep/log
[ "$(tail -n 1 rsync/hard)" = changed ]
rsync -aH "$src/run/" rsync --inplace --checksum
same rsync
tar --format=posix -C "$src" -cf - run | tar -xpf -
same run
tar --format=posix -cf run.tar run
tar -df run.tar
mkdir from-tar
tar -C from-tar -xpf run.tar
same from-tar/run
(cd run && zip -qry ../run.zip .)
unzip -tq run.zip
mkdir from-zip
unzip -q run.zip -d from-zip
diff -r --no-dereference "$src/run" from-zip
mkdir moved
mv cp moved/here
same moved/here
cp -a moved/here inside
same inside
mv inside "$out/inside" # out of the mount: copies and removes
same "$out/inside"
mv "$out/inside" back
same back
rsync -aH back/ "$out/rsync"
same "$out/rsync"
rm -rf moved from-tar
[ ! -e moved ]
