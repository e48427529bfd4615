#!/bin/bash
# In the guest, as root, in /project: the lanes that the file vm-lanes names. Fails if one of them does.
pyrunc=$PWD/.venv/bin/pyrunc
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
failed=

check() { # name, command...
	local name=$1 begun=$SECONDS
	shift
	echo "== $name"
	if timeout -k 10 900 "$@"; then
		echo "== $name: passed in $((SECONDS - begun)) s"
	else
		echo "== $name: FAILED with $?"
		failed="$failed $name"
	fi
}

# tests by a runtime: NAME RUNTIME OPTIONS pytest-arguments...
tests() {
	local name=$1 runtime=$2 options=$3
	shift 3
	check "$name" env OCI_RUNTIME="$runtime" OCI_RUNTIME_OPTIONS="$options" \
		python3 -m pytest -q -p no:cacheprovider "$@"
}

# In the manager of the user, which has cgroups delegated to it.
as_user=(systemd-run --user --machine=tester@.host --quiet --collect --wait --pipe --service-type=exec
	--property=Delegate=yes --property=OOMPolicy=continue --working-directory=/project
	--setenv=PYTHONDONTWRITEBYTECODE=1)

root() {
	tests root-cgroupfs "$pyrunc" "" tests/integration/test_cgroup_v2.py tests/integration/test_lifecycle.py \
		tests/integration/test_exec.py tests/integration/test_namespaces.py tests/integration/test_devices.py
}

systemd() {
	tests root-systemd "$pyrunc" --systemd-cgroup tests/integration/test_exec.py tests/integration/test_lifecycle.py
	tests scopes "$pyrunc" --systemd-cgroup tests/systemd
}

rootless() {
	check rootless "${as_user[@]}" --setenv=OCI_RUNTIME="$pyrunc" python3 -m pytest -q -p no:cacheprovider \
		--basetemp=/var/tmp/rootless tests/rootless
}

security() {
	tests security "$pyrunc" "" tests/lsm
}

podman() {
	# --userns=auto of root takes ids from this user's.
	for file in /etc/subuid /etc/subgid; do echo containers:10000000:1000000 >>$file; done
	check podman-root bash scripts/vm/podman.sh "$pyrunc" systemd
	check podman-root-cgroupfs bash scripts/vm/podman.sh "$pyrunc" cgroupfs
	check podman-rootless "${as_user[@]}" bash scripts/vm/podman.sh "$pyrunc" systemd
}

peers() {
	local runtime
	for runtime in runc crun; do
		tests "$runtime-cgroupfs" /usr/bin/$runtime "" tests/integration/test_cgroup_v2.py
		tests "$runtime-scopes" /usr/bin/$runtime --systemd-cgroup tests/systemd -k "not many"
	done
}

[ -e /usr/bin/runc ] || ln -s ../sbin/runc /usr/bin/runc
systemctl is-system-running --wait
for lane in $(cat vm-lanes); do
	"$lane"
done
[ -z "$failed" ] || { echo "FAILED:$failed"; exit 1; }
