#!/bin/bash
# The command without a mount, and the same on a mounted store through its owner: equal output, equal exit status.
. "$(dirname "$0")/lib.sh"
c=$CKPTFS
cd "$T" || exit 1

# ---- what it says by itself
ok "--help, status 0" sh -c '"$1" --help | grep -q mount' sh "$c"
for k in mount umount ls cat cp rm import export df verify gc recompress version; do
	ok "$k --help, status 0" sh -c '"$1" $2 --help | grep -q -- "ckptfs $2"' sh "$c" $k
	ok "$k with an unknown option, status 2" status_is 2 "$c" $k --no-such-option
done
ok "no command, status 2" status_is 2 "$c"
ok "an unknown command, status 2" status_is 2 "$c" mont
fails "which names the near one" 'did you mean .mount' "$c" mont
ok "version names the parts" sh -c 'for w in fuse SQLite zstd OpenSSL format; do "$1" version | grep -iq $w || exit 1; done' sh "$c"
ok "ls of a store that is not there, status 3" status_is 3 "$c" ls nothing.ckptfs:
ok "which does not make one" test ! -e nothing.ckptfs

# ---- trees in and out
mkdir -p src/run/001 src/run/empty
head -c 3000000 /dev/urandom >src/run/001/model.pt
head -c 700000 /dev/urandom >src/run/001/optimizer.pt
cp src/run/001/model.pt src/run/001/same.pt
echo '{"accuracy": 0.5}' >src/run/001/metrics.json
: >src/run/001/nothing
ln src/run/001/metrics.json src/run/linked
ln -s 001 src/run/latest
printf 'odd' >"src/run/a name with
a newline"
truncate -s 20M src/run/sparse
printf x | dd of=src/run/sparse bs=1 seek=10000000 conv=notrunc 2>/dev/null
chmod 640 src/run/001/model.pt
touch -d @1000000000.123456789 src/run/001/model.pt src/run/001
describe() { (cd "$1" && find . -printf '%P %y %m %n %s %l\n' | grep -v ' d ' | LC_ALL=C sort
	find . ! -type l ! -type d -printf '%P %T@\n' | LC_ALL=C sort); }
ok "import" "$c" import src/run store.ckptfs:/
ok "export" "$c" export store.ckptfs:/run out
ok "brings back the same tree" diff -r --no-dereference src/run out/run
equal "with its attributes" "$(describe src/run)" describe out/run
ok "a sparse file is sparse again" sh -c '[ $(stat -c %b out/run/sparse) -lt 4096 ]'
ok "cat" sh -c '"$1" cat store.ckptfs:run/001/model.pt | cmp - src/run/001/model.pt' sh "$c"
ok "cat of two" sh -c '"$1" cat store.ckptfs:run/linked store.ckptfs:/run/001/metrics.json | cmp - "$2"' sh "$c" \
	<(cat src/run/linked src/run/linked)
ok "ls" sh -c '"$1" ls store.ckptfs:run/001 | grep -qx model.pt' sh "$c"
ok "ls of a file that is not there, status 3" status_is 3 "$c" ls store.ckptfs:run/none
ok "cat of a directory, status 3" status_is 3 "$c" cat store.ckptfs:run
ok "cp into the store" "$c" cp src/run/001/model.pt store.ckptfs:copied.pt
ok "cp inside it" "$c" cp store.ckptfs:copied.pt store.ckptfs:twice.pt
ok "cp out of it" "$c" cp store.ckptfs:twice.pt back.pt
ok "all that is one content" cmp back.pt src/run/001/model.pt
ok "cp -r" "$c" cp -r store.ckptfs:run store.ckptfs:run2
ok "rm" "$c" rm store.ckptfs:twice.pt
ok "it is gone" status_is 3 "$c" cat store.ckptfs:twice.pt
ok "rm of a directory without -r, status 3" status_is 3 "$c" rm store.ckptfs:run2
ok "rm -r" "$c" rm -r store.ckptfs:run2
ok "verify" "$c" verify store.ckptfs
ok "verify --data" "$c" verify --data store.ckptfs
ok "gc" "$c" gc store.ckptfs
for k in "df --json" "verify --json" "gc --json" "recompress --json" "ls --json"; do
	# shellcheck disable=SC2086 # two words
	ok "$k is JSON" sh -c '"$@" | python3 -m json.tool >/dev/null' sh "$c" $k "$(case $k in ls*) echo store.ckptfs:run ;;
		*) echo store.ckptfs ;; esac)"
done
ok "nothing but the result goes to stdout and nothing to stderr" sh -c 'test -z "$("$1" import src/run store.ckptfs:/again 2>&1)"' sh "$c"

# ---- damage is told: status 1, the file named, never wrong bytes
damage() { # flips bytes of the stored model in the copy $1
	python3 - "$1/chunks.db" <<-'PY'
	import sys
	p = sys.argv[1]
	b = bytearray(open(p, "rb").read())
	needle = open("src/run/001/model.pt", "rb").read()[1000000:1000064]
	i = b.find(needle)
	assert i >= 0, "the bytes are not stored raw"
	b[i] ^= 1
	open(p, "wb").write(b)
	PY
}
cp -r store.ckptfs bad.ckptfs
ok "a byte is flipped in a copy" damage bad.ckptfs
ok "cat fails with status 1" status_is 1 "$c" cat bad.ckptfs:run/001/model.pt
ok "another file still reads" sh -c '"$1" cat bad.ckptfs:run/001/optimizer.pt | cmp - src/run/001/optimizer.pt' sh "$c"
ok "verify --data says so, status 1" status_is 1 "$c" verify --data bad.ckptfs
ok "and names a file that has it" sh -c '"$1" verify --data bad.ckptfs 2>&1 | grep -Eq "(model|same|copied).pt"' sh "$c"

"$c" cp src/run/001/model.pt worse.ckptfs:model.pt
damage worse.ckptfs
ok "recompress that meets it, too" status_is 1 "$c" recompress worse.ckptfs
cp -r store.ckptfs lost.ckptfs && rm lost.ckptfs/chunks.db
ok "a store without its chunks.db is damaged: status 1" status_is 1 "$c" ls lost.ckptfs:
ok "also for who would write, and no new one is begun" status_is 1 "$c" cp src/run/linked lost.ckptfs:new
"$c" cp src/run/001/same.pt old.ckptfs:first
cp old.ckptfs/chunks.db older.db
"$c" cp src/run/001/optimizer.pt old.ckptfs:second
cp older.db old.ckptfs/chunks.db
head -c 700000 /dev/urandom >other.pt
"$c" cp other.pt old.ckptfs:third
ok "with an older chunks.db nothing shows as what came later" status_is 1 "$c" cat old.ckptfs:second
ok "which is there itself" sh -c '"$1" cat old.ckptfs:third | cmp - other.pt' sh "$c"

# ---- what is said, and to whom
for k in verify gc recompress; do
	ok "$k is about a whole store: a path in it is refused, status 2" status_is 2 "$c" $k store.ckptfs:run
done
fails "diff names what is not there" 'nowhere' "$c" diff src/run/linked store.ckptfs:nowhere
equal "df of a file names it" "metrics.json" sh -c '"$1" df --json store.ckptfs:run/001/metrics.json |
	python3 -c "import json, sys; print(json.load(sys.stdin)[\"runs\"][0][\"name\"])"' sh "$c"
ok "a closed standard output is an error" status_is 3 sh -c '"$1" ls store.ckptfs: >&-' sh "$c"
ok "a full one, too" status_is 3 sh -c '"$1" --help >/dev/full' sh "$c"
if touch xattr && python3 -c 'import os; os.setxattr("xattr", "trusted.kept", b"yes")' 2>/dev/null; then
	ok "root's import and export keep trusted attributes" sh -c '"$1" import xattr store.ckptfs: &&
		"$1" export store.ckptfs:xattr xattr2 && python3 -c "import os
assert os.getxattr(\"xattr2\", \"trusted.kept\") == b\"yes\""' sh "$c"
fi

# ---- the same through the owner of a mounted store
commands() { # the read-only ones, on $1
	for args in "ls $1:" "ls -l $1:run" "ls -lh $1:run/001" "ls -R $1:run" "ls --json $1:run/001" "cat $1:run/linked" \
		"ls $1:run/none" "cat $1:run" "df $1" "df --json $1" "verify --data $1" "verify --json $1"; do
		echo "== $args"
		# shellcheck disable=SC2086 # words
		"$c" $args 2>&1
		echo "-- $?"
	done
}
settle() { "$c" gc "$1" >/dev/null; }
settle store.ckptfs
commands store.ckptfs >direct
need_fuse
mount_store
commands store.ckptfs >served
ok "the same output and statuses on a mounted store" diff direct served
ok "ls by mount point" sh -c '"$1" ls "$2"/run/001 | grep -qx model.pt' sh "$c" "$M"
equal "df by mount point" "$("$c" df store.ckptfs)" "$c" df "$M"
ok "cp into the mounted store" "$c" cp src/run/001/optimizer.pt store.ckptfs:mounted.pt
ok "is seen through the mount at once" cmp src/run/001/optimizer.pt "$M/mounted.pt"
ok "rm in the mounted store" "$c" rm store.ckptfs:mounted.pt
ok "is seen at once" test ! -e "$M/mounted.pt"
ok "import into the mounted store" "$c" import src/run store.ckptfs:/served
ok "is seen" diff -r --no-dereference src/run "$M/served/run"
ok "export from it" "$c" export store.ckptfs:/served/run out2
ok "brings back the same" diff -r --no-dereference src/run out2/run
ok "overwriting a file that is cached shows at once" sh -c '
	cat "$2"/served/run/linked >/dev/null; echo changed >x; "$1" cp x store.ckptfs:/served/run/linked
	[ "$(cat "$2"/served/run/linked)" = changed ]' sh "$c" "$M"
ok "gc while mounted" "$c" gc "$M"
ok "verify while mounted" "$c" verify --data "$M"
umount_store
mkdir "with: a colon"
ok "a mount point with a colon in its name" "$c" mount store.ckptfs "with: a colon"
ok "is found by it" sh -c '"$1" ls "with: a colon"/run/001 | grep -qx model.pt' sh "$c"
ok "and with a path behind" sh -c '"$1" ls "with: a colon:run/001" | grep -qx model.pt' sh "$c"
"$c" umount "with: a colon"
ok "verify after it" "$c" verify --data store.ckptfs
done_testing
