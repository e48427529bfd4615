#!/bin/sh
# criu.sh DIRECTORY: makes DIRECTORY/criu, a CRIU for the tests that can restore a process on this kernel. It is the
# host's own if that can, else the one of the newest Debian with its libraries. Without either there is none.
set -eu
directory=$1
suite=trixie
mkdir -p "$directory"

# Dumps a process of its own, and restores it.
works() {
	images=$(mktemp -d)
	setsid sleep 1000 </dev/null >/dev/null 2>&1 &
	pid=$!
	restored=
	sleep 0.1
	"$1" dump -t "$pid" -D "$images" -o log >/dev/null 2>&1 &&
		"$1" restore -d -D "$images" -o log --pidfile "$images/pid" >/dev/null 2>&1 &&
		restored=$(cat "$images/pid")
	kill -9 ${restored:-$pid} 2>/dev/null || true
	rm -rf "$images"
	[ -n "$restored" ]
}

if command -v criu >/dev/null && works criu; then
	ln -sf "$(command -v criu)" "$directory/criu"
	exit
fi
root=$(cd "$directory" && pwd)/root
rm -rf "$root"
if ! mmdebstrap --quiet --variant=extract --include=criu "$suite" "$root"; then
	echo "criu.sh: there is no CRIU that works on this kernel; checks that need one are left out" >&2
	exit
fi
loader=$(find "$root/usr/lib" -name 'ld-linux*' -type f | head -1)
cat >"$directory/criu" <<END
#!/bin/sh
exec "$loader" --library-path "${loader%/*}" "$root/usr/sbin/criu" "\$@"
END
chmod 755 "$directory/criu"
works "$directory/criu" || {
	rm -rf "$root" "$directory/criu"
	echo "criu.sh: not even the newest CRIU works on this kernel; checks that need one are left out" >&2
}
