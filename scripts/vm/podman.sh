#!/bin/bash
# podman.sh RUNTIME CGROUP_MANAGER: Podman, as root or as a user, with the runtime: run, exec, pod, build, limits, user
# namespaces. The image is busybox and nothing else. Every check is made; the status is 1 if one of them failed.
set -u
runtime=$1 manager=$2
failed=0
work=$(mktemp -d)
trap 'podman pod rm -af -t 0 >/dev/null 2>&1; podman rm -af -t 0 >/dev/null 2>&1; rm -rf "$work"' EXIT

p() { podman --runtime "$runtime" --cgroup-manager "$manager" "$@"; }

run() { p run --rm --network=none "$@"; }

is() { # WHAT EXPECTED COMMAND...: what it prints, errors and all
	local what=$1 expected=$2 found
	shift 2
	found=$("$@" 2>&1)
	if [ "$found" = "$expected" ]; then
		echo "$what: right"
	else
		echo "$what: WRONG: expected '$expected', found '$found'"
		failed=1
	fi
}

works() { # WHAT COMMAND...
	local what=$1 said
	shift
	said=$("$@" 2>&1) && echo "$what: right" && return
	echo "$what: FAILED: $said"
	failed=1
}

status_of() { # COMMAND...
	"$@" >/dev/null 2>&1
	echo $?
}

mkdir -p "$work/rootfs/bin" "$work/rootfs/etc"
cp /bin/busybox "$work/rootfs/bin/"
for name in sh id cat sleep touch echo ls stat dd; do ln -s busybox "$work/rootfs/bin/$name"; done
echo 'root:x:0:0::/:/bin/sh' >"$work/rootfs/etc/passwd"
tar -C "$work/rootfs" --owner=0 --group=0 -c . | podman import -q - localhost/bb >/dev/null

is run hello run localhost/bb echo hello
is status 7 status_of run localhost/bb sh -c 'exit 7'
is missing-program 127 status_of run localhost/bb nothing-of-that-name
is memory 67108864 run --memory 64m localhost/bb cat /sys/fs/cgroup/memory.max
is swap 33554432 run --memory 64m --memory-swap 96m localhost/bb cat /sys/fs/cgroup/memory.swap.max
is pids 33 run --pids-limit 33 localhost/bb cat /sys/fs/cgroup/pids.max
is cpus "50000 100000" run --cpus 0.5 localhost/bb cat /sys/fs/cgroup/cpu.max
is cpuset 1 run --cpuset-cpus 1 localhost/bb cat /sys/fs/cgroup/cpuset.cpus
is out-of-memory 137 status_of run --memory 24m --memory-swap 24m localhost/bb dd if=/dev/zero of=/dev/null bs=100M
is init "/run/podman-init" run --init localhost/bb sh -c 'read -r name </proc/1/cmdline; echo "${name%%--*}"'
is read-only 1 status_of run --read-only localhost/bb touch /etc/new
is tmpfs 1777 run --tmpfs /scratch localhost/bb stat -c %a /scratch
is device c run --device /dev/fuse localhost/bb sh -c '[ -c /dev/fuse ] && echo c'
is privileged 0 status_of run --privileged localhost/bb ls /sys/fs/cgroup
is host-cgroup 0 status_of run --cgroupns=host localhost/bb ls /sys/fs/cgroup
is cgroup-parent 0 status_of run --cgroup-parent "$([ "$manager" = systemd ] && echo test-pyrunc.slice || echo /test-pyrunc)" localhost/bb ls
is bind content sh -c "echo content >$work/f; podman --runtime $runtime --cgroup-manager $manager run --rm --network=none -v $work/f:/f:ro localhost/bb cat /f"
is network lo run localhost/bb ls /sys/class/net

works detached p run -d --network=none --name c1 localhost/bb sleep 300
is running true podman inspect -f '{{.State.Running}}' c1
is exec 0 p exec c1 id -u
is exec-user 1000 p exec --user 1000:1000 c1 id -u
is exec-status 9 status_of p exec c1 sh -c 'exit 9'
works update p update --memory 96m --pids-limit 40 c1
is updated 100663296 p exec c1 cat /sys/fs/cgroup/memory.max
works stats p stats --no-stream c1
works top p top c1
works pause p pause c1
works unpause p unpause c1
works kill p kill c1
works rm p rm -f -t 0 c1

printf 'FROM localhost/bb\nRUN echo built >/made\nCMD cat /made\n' >"$work/Containerfile"
works build p build -q --network=none --isolation=oci -t localhost/made "$work"
is built built run localhost/made

if [ "$(id -u)" = 0 ]; then
	is userns-auto 0 run --userns=auto:size=1000 localhost/bb id -u
	is userns-auto-map "1000 1" run --userns=auto:size=1000 localhost/bb \
		sh -c 'read -r inside outside size </proc/self/uid_map; echo "$size $((outside >= 1000))"'
	is uidmap 0 run --uidmap 0:200000:1000 --gidmap 0:200000:1000 localhost/bb id -u
else
	is keep-id "$(id -u)" run --userns=keep-id localhost/bb id -u
	is keep-id-file "$(id -u)" run --userns=keep-id -v "$work:/work" localhost/bb stat -c %u /work/f
	is userns-auto 0 run --userns=auto:size=500 localhost/bb id -u
	is userns-nomap 0 run --userns=nomap localhost/bb id -u
fi

works pod p pod create --infra=false --name p1
works pod-run p run -d --network=none --pod p1 --name c2 localhost/bb sleep 300
is in-pod true podman inspect -f '{{.State.Running}}' c2
is exec-in-pod 0 p exec c2 id -u
works pod-rm p pod rm -f -t 0 p1
works infra-pod p pod create --network=none --name p2
works infra-run p run -d --pod p2 --name c3 localhost/bb sleep 300
is infra-hostname p2 p exec c3 cat /etc/hostname
works infra-rm p pod rm -f -t 0 p2
is left "" podman ps -aq
exit $failed
