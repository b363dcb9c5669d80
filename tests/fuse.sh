# shellcheck shell=bash
# fuse.sh: fuse_missing prints why nothing can be mounted here and what to do, and returns 0; 1 when it can.

fuse_missing() {
	if [ ! -e /dev/fuse ]; then
		echo "/dev/fuse is missing: load the module (modprobe fuse), or start the container with" \
			"--device /dev/fuse --cap-add SYS_ADMIN"
	elif ! (: <>/dev/fuse) 2>/dev/null; then
		echo "/dev/fuse cannot be opened: start the container with --device /dev/fuse --cap-add SYS_ADMIN," \
			"or ask for access to it"
	elif ! command -v fusermount3 >/dev/null; then
		echo "fusermount3 is missing: install the package fuse3"
	else
		return 1
	fi
}
