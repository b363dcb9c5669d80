#!/bin/bash
# Mounting and unmounting: options, fstab's form, owners, crashes, signals.
. "$(dirname "$0")/lib.sh"
need_fuse
c=$CKPTFS
cd "$T" || exit 1
root=$([ "$(id -u)" = 0 ] && echo 1)

no_daemon() { ! daemon_pid; }
opts() { awk -v m="$M" '$2 == m { print $1, $3, $4 }' /proc/mounts; }

# ---- plain
ok "mount makes the store and returns when it is served" sh -c '"$1" mount "$2" "$3" && mountpoint -q "$3"' sh "$c" "$S" "$M"
ok "it is a fuse.ckptfs, named by its store" sh -c 'grep -q "^$1 $2 fuse.ckptfs " /proc/mounts' sh "$S" "$M"
fails "a second owner is refused, naming pid and mount point" "$(daemon_pid).*$M|$M.*$(daemon_pid)" \
	sh -c 'mkdir -p "$3"2 && "$1" mount "$2" "$3"2' sh "$c" "$S" "$M"
ok "with status 3" status_is 3 "$c" mount "$S" "${M}2"
fails "a mount point that is taken is refused" . "$c" mount "$T/other.ckptfs" "$M"
echo data >"$M/f"
ok "umount" "$c" umount "$M"
ok "it is unmounted and its owner gone" sh -c '! grep -q " $1 " /proc/mounts && flock -n "$2"/lock true' sh "$M" "$S"
ok "umount of what is not mounted, status 3" status_is 3 "$c" umount "$M"
ok "mount on what is not there, status 3" status_is 3 "$c" mount "$S" "$T/none"
ok "mount of what is no store, status 3" sh -c 'mkdir x; echo 1 >x/y; "$@"; [ $? = 3 ]' sh "$c" mount x "$M"
fails "a store inside its own mount point" . "$c" mount "$M/inner.ckptfs" "$M"
mkdir newer.ckptfs && cp -r "$S"/. newer.ckptfs/
python3 - <<'EOP'
import sqlite3
db = sqlite3.connect("newer.ckptfs/meta.db")
db.execute("pragma user_version = 999")
EOP
fails "a newer format is refused" 'newer|format' "$c" mount newer.ckptfs "$M"

# ---- options
fails "unknown options are refused by name" 'nonsense' "$c" mount -o nonsense "$S" "$M"
ok "with status 2" status_is 2 "$c" mount -o ro,nonsense "$S" "$M"
ok "-o ro" "$c" mount -o ro "$S" "$M"
equal "reads" data cat "$M/f"
fails "refuses to write" 'read-only' touch "$M/g"
"$c" umount "$M"
ok "-o fsname=" "$c" mount -o fsname=runs "$S" "$M"
equal "shows as the source" "runs" sh -c 'awk -v m="$1" "\$2 == m { print \$1 }" /proc/mounts' sh "$M"
"$c" umount "$M"
ok "which may look like a path" "$c" mount -o fsname=/no/such/store "$S" "$M"
ok "umount finds the store all the same, and waits for it" sh -c '"$1" umount "$2" && flock -n "$3"/lock true' sh "$c" "$M" "$S"
ok "what the shell has open is not kept open" sh -c '(flock 9 && exec "$1" mount "$2" "$3") 9>lock && flock -n lock true' \
	sh "$c" "$S" "$M"
"$c" umount "$M"
ok "-o noatime,nodev,nosuid,noexec" "$c" mount -o noatime,nodev,nosuid,noexec "$S" "$M"
for o in noatime nodev nosuid noexec; do
	ok "$o shows in /proc/mounts" sh -c 'echo "$1" | grep -q $2' sh "$(opts)" $o
done
ok "noexec holds" sh -c 'cp /bin/true "$1"/t && ! "$1"/t 2>/dev/null' sh "$M"
"$c" umount "$M"
ok "words that are not for us: auto, nofail, _netdev, x-systemd..." \
	"$c" mount -o rw,defaults,auto,noauto,nofail,_netdev,x-systemd.automount,x-gvfs-hide "$S" "$M"
"$c" umount "$M"
if [ "$root" ]; then
	ok "-o allow_other" "$c" mount -o allow_other "$S" "$M"
	ok "lets others in" python3 -c 'import os, sys
os.setgid(65534); os.setuid(65534); print(open(sys.argv[1]).read())' "$M/f"
	"$c" umount "$M"
	ok "without it they stay out" sh -c '"$1" mount "$2" "$3" && ! python3 -c "import os, sys
os.setgid(65534); os.setuid(65534); os.listdir(sys.argv[1])" "$3" 2>/dev/null' sh "$c" "$S" "$M"
	"$c" umount "$M"

	# ---- a medium that takes no writes
	mkdir medium && cp -r "$S" medium/
	if mount --bind medium medium && mount -o remount,ro,bind medium; then
		ok "a store on a read-only filesystem, -o ro" "$c" mount -o ro medium/store.ckptfs "$M"
		equal "reads" data cat "$M/f"
		ok "and without the mount" sh -c '"$1" cat medium/store.ckptfs:f | grep -q data' sh "$c"
		"$c" umount "$M"
		fails "without -o ro the mount says what it is" 'read-only' \
			sh -c '"$1" mount medium/store.ckptfs "$2" && touch "$2/x"' sh "$c" "$M"
		mounted && "$c" umount "$M"
		umount medium
	else
		skip "a store on a read-only filesystem" "it can't be mounted here"
	fi

	# ---- mount(8) and fstab
	helper=/sbin/mount.fuse.ckptfs
	if [ ! -e $helper ]; then
		ln -s "$(readlink -f "$c")" $helper
		trap 'rm -f /sbin/mount.fuse.ckptfs; cleanup' EXIT
	fi
	ok "mount -t fuse.ckptfs" mount -t fuse.ckptfs -o noatime,fsname=viamount "$S" "$M"
	ok "serves" grep -q data "$M/f"
	ok "with what was asked" sh -c 'echo "$1" | grep -q "viamount fuse.ckptfs .*noatime"' sh "$(opts)"
	ok "umount(8)" umount "$M"
	ok "leaves a store that mounts at once" "$c" mount "$S" "$M"
	"$c" umount "$M"
	echo "$S $M fuse.ckptfs rw,dev,suid,allow_other,noauto,nofail,_netdev 0 0" >fstab
	ok "a line of fstab" mount -T fstab "$M"
	ok "serves" grep -q data "$M/f"
	umount "$M"
	ok "$helper SOURCE TARGET -o OPTIONS" $helper "$S" "$M" -o rw,noatime
	"$c" umount "$M"
else
	skip "allow_other, mount(8), fstab" "needs root"
fi

# ---- crashes and signals
"$c" mount "$S" "$M"
echo before >"$M/crash"
kill -9 "$(daemon_pid)"
ok "a dead mount answers so" eventually fails_with 'not connected' ls "$M"
ok "mount cleans it up and serves" "$c" mount "$S" "$M"
equal "what was closed is there" before cat "$M/crash"
exec 7>"$M/open-at-term"
printf held >&7
kill -TERM "$(daemon_pid)"
ok "after SIGTERM the mount point is free" eventually sh -c '! grep -q " $1 " /proc/mounts' sh "$M"
printf ' still' >&7
ok "who had a file open goes on writing" test $? = 0
exec 7>&-
ok "and then the daemon ends" eventually no_daemon
ok "the socket is gone" test ! -e "$S/control"
ok "it mounts again" "$c" mount "$S" "$M"
equal "with what was written" "held still" cat "$M/open-at-term"
ok "umount of a busy mount says so or waits, and loses nothing" sh -c '
	exec 8>"$2"/busy; printf part >&8; "$1" umount "$2" >/dev/null 2>&1; exec 8>&-; true' sh "$c" "$M"
mounted && "$c" umount "$M"
eventually no_daemon
"$c" mount "$S" "$M"
equal "the busy file" part cat "$M/busy"
head -c 30000000 /dev/urandom >big
cp big "$M/big"
ok "umount waits until all is durable" "$c" umount "$M"
ok "-f stays in the foreground" sh -c '"$1" mount -f "$2" "$3" & p=$!
	for i in $(seq 600); do mountpoint -q "$3" && break; sleep 0.1; done
	cmp big "$3"/big && kill -0 $p && "$1" umount "$3" && wait $p' sh "$c" "$S" "$M"
ok "NOTIFY_SOCKET hears READY=1 and STOPPING=1" python3 - "$c" "$S" "$M" <<'EOP'
import os, socket, subprocess, sys
c, store, mnt = sys.argv[1:]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind("notify")
s.settimeout(120)
p = subprocess.Popen([c, "mount", "-f", store, mnt], env=dict(os.environ, NOTIFY_SOCKET=os.path.abspath("notify")))
assert b"READY=1" in s.recv(1000)
assert os.path.ismount(mnt)
p.terminate()
assert b"STOPPING=1" in s.recv(1000)
assert p.wait(120) == 0, p.returncode
EOP
ok "the store is sound" "$c" verify --data "$S"
done_testing
