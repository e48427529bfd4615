#!/bin/bash
# make vm-test: tests on a host with systemd and pure cgroup v2, in a virtual machine. VM_LANES chooses lanes of
# scripts/vm/job.sh ("short" is the least), VM_CACHE is where the image is kept, VM_SECONDS the limit of time.
set -euo pipefail
cd "$(dirname "$0")/../.."
lanes=${VM_LANES:-root systemd rootless nested security podman peers selinux}
seconds=${VM_SECONDS:-3600}
cache=${VM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/pyrunc-vm}
if [ ! -e /dev/kvm ]; then
	echo "vm: NO /dev/kvm HERE: the guest's processor is emulated, about twenty times slower" >&2
fi
begun=$SECONDS
timeout -k 10 "$seconds" scripts/vm/image.sh "$cache"
echo "vm: the image is ready after $((SECONDS - begun)) s"

# pyrunc is built in the guest's system, at this machine's speed.
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir "$work/project"
git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -C "$work/project" -xf -
unshare --mount --propagation private sh -euc '
	mount --bind "$1" "$2/project"
	mount --bind /dev "$2/dev"
	mount -t proc proc "$2/proc"
	mount -t tmpfs tmpfs "$2/tmp"
	chroot "$2" sh -euc "cd /project
		python3 -m venv --system-site-packages .venv
		.venv/bin/pip install -q --no-index --disable-pip-version-check --no-build-isolation --no-deps \
			--config-settings=build-dir=/tmp/build ."
' sh "$work/project" "$cache/root"
echo "vm: pyrunc is built after $((SECONDS - begun)) s"

# One start of the guest: its lanes, then more for the kernel's command line.
run() {
	local left=$((seconds - SECONDS + begun))
	printf '%s\n' "$1" >"$work/project/vm-lanes"
	shift
	timeout -k 10 "$left" python3 scripts/vm/run.py "$cache" "$work/project" scripts/vm/job.sh "$((left - 30))" "$@" ||
		status=$?
}
status=0
others=$(printf '%s\n' $lanes | grep -vx selinux) && run "$others"
# A kernel has AppArmor or SELinux, not both.
[[ " $lanes " != *" selinux "* ]] || run selinux security=selinux selinux=1 enforcing=0
[ "$status" = 0 ] || { echo "vm: FAILED ($lanes) after $((SECONDS - begun)) s" >&2; exit "$status"; }
echo "vm: all passed after $((SECONDS - begun)) s"
