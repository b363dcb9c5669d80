#!/bin/bash
# What the rooms may know of one another (README: the house), asked of the sources with grep.  No mount needed.
cd "$(dirname "$0")/.." || exit 1
n=0 failed=0
none() { # none WHAT FOUND: nothing may have been found
	n=$((n + 1))
	if [ -z "$2" ]; then
		echo "ok $n - $1"
	else
		failed=1
		echo "not ok $n - $1"
		echo "$2" | head -n 20 | sed 's/^/#   /'
	fi
}
includes() { # includes ROOM... HEADER-REGEX: who includes it
	local rooms=("${@:1:$#-1}") pattern=${*: -1}
	grep -nE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($pattern)" -r --include='*.[ch]' -- "${rooms[@]}"
}
own() { (cd "$1" && ls -- *.h) | tr '\n' '|' | sed 's/|$//; s/\./\\./g'; } # headers of a room, by bare name

none "codec/ stands on nothing of the house" \
	"$(includes codec "(store|fs|cli|torchbridge)/|$(own store)|$(own fs)|$(own cli)|$(own torchbridge)")"
none "torchbridge/ stands on codec/ alone" "$(includes torchbridge "(store|fs|cli)/|$(own store)|$(own fs)|$(own cli)|fuse|sqlite3")"
none "store/ knows neither fs/ nor cli/ nor torchbridge/" \
	"$(includes store "(fs|cli|torchbridge)/|$(own fs)|$(own cli)|$(own torchbridge)")"
none "fs/ does not know cli/" "$(includes fs "cli/|$(own cli)")"
none "sqlite3.h in store/ only" "$(includes codec cli fs torchbridge 'sqlite3')"
none "no SQLite call outside store/" "$(grep -nE '\bsqlite3_[a-z]' -r --include='*.[ch]' codec cli fs torchbridge)"
none "no SQL outside store/" \
	"$(grep -nEi '"(select|insert|update|delete from|create table|pragma) ' -r --include='*.[ch]' codec cli fs torchbridge)"
none "FUSE headers in fs/ only" "$(includes codec store cli torchbridge 'fuse')"
none "in fs/, FUSE headers in the adapter only" "$(includes fs 'fuse' |
	grep -vE '^fs/(fs_fuse|fs_mount|fuse_[a-z]+|mount_[a-z]+|readahead)\.[ch]:|"fuse_')"
none "store/ and codec/ are used through their public headers" "$(includes fs cli torchbridge '[^">]*_internal\.h' |
	grep -E '[</"](store|chunk|meta|manifest|extents|file|tree|vfs|lock|container)_internal')"
none "cli/ uses fs/ through its public headers" "$(includes cli '(fs/)?(fs|fuse)_[^">]*internal\.h')"
none "libtorch in the C++ of torchbridge/ only" "$(includes codec store fs cli torchbridge '(torch|ATen|c10)/')"
none "codec/ opens no files and no sockets" "$(includes codec '(sys/socket|sys/file|sys/mman|fcntl)\.h' |
	grep -v '^codec/codec_pages\.c:')"
none "no alloca" "$(grep -nE '\balloca *\(' -r --include='*.[ch]' codec store fs cli torchbridge)"
none "nothing is left for later" \
	"$(grep -nE '\b(TODO|FIXME)\b' -r --include='*.[ch]' --include='*.py' codec store fs cli torchbridge tests)"
none "every source and suite is in a list of the Makefile" "$(
	for f in codec/*.c store/*.c fs/*.c cli/*.c torchbridge/*.c tests/unit/*.c tests/[0-9]*.sh man/*.[0-9]; do
		grep -qE "(^|[[:space:]=])$f([[:space:]\\]|$)" Makefile || echo "$f"
	done)"
none "file names are unique" "$(for f in codec store fs cli torchbridge tests/unit; do (cd $f && ls -- *.[ch]); done | sort | uniq -d)"
none "no source file is longer than 700 lines" \
	"$(wc -l codec/*.[ch] store/*.[ch] fs/*.[ch] cli/*.[ch] torchbridge/*.[ch] | awk '$2 != "total" && $1 > 700')"

echo "1..$n"
exit $failed
