#!/bin/sh
# git on DIR: init, add, commit, gc, clone, checkout, fsck.
set -eu
cd "$1"
git init -q repo
cd repo
git config user.email someone@example.org
git config user.name someone
for i in 1 2 3 4 5; do
	seq $((i * 1000)) >numbers
	head -c 300000 /dev/urandom >blob$i
	mkdir -p dir/$i
	echo $i >dir/$i/file
	ln -sf numbers link
	git add -A
	git commit -q -m "commit $i"
done
[ -z "$(git status --porcelain)" ]
git fsck --full --strict
git gc -q
git fsck --full --strict
git checkout -q HEAD~3
[ "$(wc -l <numbers)" = 2000 ]
[ ! -e blob5 ]
git checkout -q -
[ "$(wc -l <numbers)" = 5000 ]
[ -z "$(git status --porcelain)" ]
cd ..
git clone -q repo clone
diff -r --no-dereference --exclude=.git repo clone
