#!/bin/bash
# podman.sh RUNTIME CGROUP_MANAGER: Podman, as root or as a user, with the runtime: run, exec, pod, build, limits, user
# namespaces. The image is busybox and nothing else.
set -eu
runtime=$1 manager=$2
work=$(mktemp -d)
trap 'podman pod rm -af >/dev/null 2>&1; podman rm -af >/dev/null 2>&1; rm -rf "$work"' EXIT
run() { podman --runtime "$runtime" --cgroup-manager "$manager" "$@"; }
is() { # what, expected, found
	[ "$2" = "$3" ] || { echo "$1: expected '$2', found '$3'"; exit 1; }
	echo "$1: right"
}

mkdir -p "$work/rootfs/bin" "$work/rootfs/etc"
cp /bin/busybox "$work/rootfs/bin/"
for name in sh id cat sleep touch echo ls; do ln -s busybox "$work/rootfs/bin/$name"; done
echo 'root:x:0:0::/:/bin/sh' >"$work/rootfs/etc/passwd"
tar -C "$work/rootfs" -c . | podman import -q - localhost/bb >/dev/null

is run hello "$(run run --rm --network=none localhost/bb echo hello)"
is status 7 "$(run run --rm --network=none localhost/bb sh -c 'exit 7'; echo $?)"
is limit 67108864 "$(run run --rm --network=none --memory 64m localhost/bb cat /sys/fs/cgroup/memory.max)"
is pids 33 "$(run run --rm --network=none --pids-limit 33 localhost/bb cat /sys/fs/cgroup/pids.max)"
run run -d --network=none --name c1 localhost/bb sleep 300 >/dev/null
is exec 0 "$(run exec c1 id -u)"
is running true "$(podman inspect -f '{{.State.Running}}' c1)"
run update --memory 96m c1 >/dev/null
is update 100663296 "$(run exec c1 cat /sys/fs/cgroup/memory.max)"
run pause c1 >/dev/null && run unpause c1 >/dev/null
run stop -t 0 c1 >/dev/null
run rm c1 >/dev/null
is host-cgroupns yes "$(run run --rm --network=none --cgroupns=host localhost/bb sh -c 'ls -d /sys/fs/cgroup >/dev/null && echo yes')"
is bind content "$(echo content >"$work/f"; run run --rm --network=none -v "$work/f:/f:ro" localhost/bb cat /f)"
printf 'FROM localhost/bb\nRUN echo built >/made\nCMD cat /made\n' >"$work/Containerfile"
run build -q --network=none --isolation=oci -t localhost/made "$work" >/dev/null
is build built "$(run run --rm --network=none localhost/made)"
if [ "$(id -u)" = 0 ]; then
	is userns-auto 0 "$(run run --rm --network=none --userns=auto:size=1000 localhost/bb id -u || true)"
else
	is keep-id "$(id -u)" "$(run run --rm --network=none --userns=keep-id localhost/bb id -u)"
	is userns-auto 0 "$(run run --rm --network=none --userns=auto:size=500 localhost/bb id -u)"
fi
run pod create --infra=false --name p1 >/dev/null
run run -d --network=none --pod p1 --name c2 localhost/bb sleep 300 >/dev/null
is pod true "$(podman inspect -f '{{.State.Running}}' c2)"
run pod rm -f -t 0 p1 >/dev/null
is left "" "$(podman ps -aq)"
