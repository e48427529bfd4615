#!/bin/bash
# In the guest, as root, in /project: the lanes that the file vm-lanes names. Fails if one of them does.
pyrunc=$PWD/.venv/bin/pyrunc
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
failed=
summary=

check() { # name, command...
	local name=$1 begun=$SECONDS verdict status
	shift
	echo "== $name"
	timeout -k 10 900 "$@"
	status=$?
	verdict=passed
	if [ $status != 0 ]; then
		verdict="FAILED with $status"
		failed="$failed $name"
	fi
	echo "== $name: $verdict in $((SECONDS - begun)) s"
	summary+=$(printf '%-24s %5d s  %s' "$name" $((SECONDS - begun)) "$verdict")$'\n'
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
user_tests=(env OCI_RUNTIME="$pyrunc" PYTHONDONTWRITEBYTECODE=1 python3 -m pytest -q -p no:cacheprovider tests/rootless)

# What tells most in the least time: for CI.
short() {
	tests short-root "$pyrunc" "" tests/integration/test_cgroup_v2.py
	PYRUNC_MANY=20 tests short-scopes "$pyrunc" --systemd-cgroup tests/systemd/test_scopes.py -k "many or survive or place"
	check short-rootless "${as_user[@]}" "${user_tests[@]}" --basetemp=/var/tmp/rootless
	nested
	security
	check short-podman bash scripts/vm/podman.sh "$pyrunc" systemd
}

root() {
	tests root-cgroupfs "$pyrunc" "" tests/integration/test_cgroup_v2.py tests/integration/test_lifecycle.py \
		tests/integration/test_exec.py tests/integration/test_namespaces.py tests/integration/test_devices.py \
		tests/integration/test_limits_bite.py tests/integration/test_update.py tests/integration/test_process.py \
		tests/integration/test_mounts.py tests/integration/test_hooks.py tests/integration/test_terminal.py
}

systemd() {
	tests root-systemd "$pyrunc" --systemd-cgroup tests/integration/test_exec.py tests/integration/test_lifecycle.py
	tests scopes "$pyrunc" --systemd-cgroup tests/systemd
	check no-failed-unit sh -c 'systemctl --failed --plain --no-legend; [ -z "$(systemctl --failed --plain --no-legend)" ]'
}

rootless() {
	check rootless "${as_user[@]}" "${user_tests[@]}" --basetemp=/var/tmp/rootless
	# A login session: its cgroup is not the user's, his manager's are.
	check rootless-session su -l tester -c "cd /project && ${user_tests[*]} --basetemp=/var/tmp/session"
	# Neither subordinate ids nor a session nor a manager.
	useradd --create-home --uid 1500 plain
	sed -i /^plain:/d /etc/subuid /etc/subgid
	check rootless-plain setpriv --reuid plain --regid plain --clear-groups env -i HOME=/home/plain USER=plain \
		PATH="$PATH" "${user_tests[@]}" --basetemp=/var/tmp/plain
}

nested() {
	tests nested "$pyrunc" "" tests/nested
}

security() {
	tests security "$pyrunc" "" tests/lsm
}

# On a kernel that was started with SELinux. Debian's policy confines runtimes that have the label of one, and lets
# them work below /var/lib/containers.
selinux() {
	local runtime
	chcon -R -t lib_t .venv
	chcon -t container_engine_exec_t "$pyrunc"
	chcon -t usr_t .
	for runtime in "$pyrunc" /usr/sbin/runc /usr/bin/crun; do
		tests "selinux-${runtime##*/}" "$runtime" "" --basetemp=/var/lib/containers/tests tests/lsm/test_selinux.py
	done
}

podman() {
	local runtime=${1:-$pyrunc} name=${2:-podman}
	check "$name-root" bash scripts/vm/podman.sh "$runtime" systemd
	check "$name-rootless" "${as_user[@]}" bash scripts/vm/podman.sh "$runtime" systemd
	[ "$runtime" != "$pyrunc" ] || check podman-root-cgroupfs bash scripts/vm/podman.sh "$runtime" cgroupfs
}

peers() {
	local runtime
	for runtime in runc crun; do
		tests "$runtime-cgroupfs" /usr/bin/$runtime "" tests/integration/test_cgroup_v2.py
		tests "$runtime-scopes" /usr/bin/$runtime --systemd-cgroup tests/systemd -k "not many"
		podman /usr/bin/$runtime $runtime-podman
	done
}

[ -e /usr/bin/runc ] || ln -s ../sbin/runc /usr/bin/runc
# --userns=auto of root takes ids from this user's.
for file in /etc/subuid /etc/subgid; do echo containers:10000000:1000000 >>$file; done
mount -o remount,nsdelegate /sys/fs/cgroup
echo "the host is $(timeout 180 systemctl is-system-running --wait)"
for lane in $(cat vm-lanes); do
	"$lane"
done
printf '\n%s' "$summary"
[ -n "$summary" ] || { echo "FAILED: no lane was run"; exit 1; }
[ -z "$failed" ] || { echo "FAILED:$failed"; exit 1; }
