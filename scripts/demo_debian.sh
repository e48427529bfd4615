#!/bin/sh
# Debian in a container, and limits that bite. The root file system is made once, in build/.
# RUNTIME is the runtime, PYTHON edits JSON, SUITE is the release of Debian.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
RUNTIME=${RUNTIME:-$here/.venv/bin/pyrunc}
PYTHON=${PYTHON:-$here/.venv/bin/python}
SUITE=${SUITE:-$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")}
id=pyrunc-demo-$$
rootfs=$here/build/debian-rootfs

[ "$(id -u)" = 0 ] || { echo "demo: needs root" >&2; exit 1; }
case $RUNTIME in
*/*) RUNTIME=$(cd "$(dirname "$RUNTIME")" && pwd)/$(basename "$RUNTIME") ;;
esac

work=$(mktemp -d)
clean_up() {
    "$RUNTIME" --root "$work/state" delete --force "$id" >/dev/null 2>&1 || true
    rm -rf --one-file-system "$work" "$rootfs.$$"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

skip() {
    printf '\ndemo: no Debian root file system, so its part is left out: %s\n' "$1"
    exit 0
}

# The host's own sources of this release, and no others; none: mmdebstrap's default.
sources() {
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        ! grep -Eqs "^[^#]*[[:space:]]$SUITE([[:space:]]|\$)" "$file" || echo "$file"
    done
}

if [ ! -x "$rootfs/usr/bin/python3" ]; then
    command -v mmdebstrap >/dev/null || skip "apt-get install mmdebstrap"
    mkdir -p "$here/build"
    printf '\n$ mmdebstrap --variant=minbase --include=python3 %s %s\n' "$SUITE" "${rootfs#"$here/"}"
    # shellcheck disable=SC2046 # the names of apt's files have no blanks
    mmdebstrap --variant=minbase --include=python3 "$SUITE" "$rootfs.$$" $(sources) \
        >"$work/log" 2>&1 </dev/null || skip "$(sed -n "s/^E: //p" "$work/log" | head -n 1)"
    rm -rf --one-file-system "$rootfs"
    mv "$rootfs.$$" "$rootfs"
fi

mkdir "$work/bundle"
cd "$work/bundle"

# in_debian STATUS RESOURCES COMMAND: runs the command with the limits, as JSON, and shows it.
in_debian() {
    rm -f config.json
    "$RUNTIME" spec
    "$PYTHON" - "$rootfs" "$2" "$3" <<'PY'
import json
import sys

rootfs, resources, command = sys.argv[1:]
with open("config.json") as file:
    config = json.load(file)
config["root"] = {"path": rootfs, "readonly": True}
config["hostname"] = "debian"
config["process"]["terminal"] = False
config["process"]["args"] = ["bash", "-c", command]
config["linux"]["resources"].update(json.loads(resources))
with open("config.json", "w") as file:
    json.dump(config, file, indent=4)
PY
    printf '\n'
    [ "$2" = '{}' ] || printf '# linux.resources: %s\n' "$2"
    printf '%s\n' "$3" | sed '1s/^/$ /; 2,$s/^/> /'
    status=0
    "$RUNTIME" --root "$work/state" run "$id" >"$work/printed" 2>&1 </dev/null || status=$?
    sed 's/^/  /' "$work/printed"
    [ "$status" = 0 ] || echo "  (exit status $status)"
    [ "$status" = "$1" ] || { echo "demo: exit status $1 was expected" >&2; exit 1; }
}
printed() {
    grep -q "$1" "$work/printed" || { echo "demo: '$1' was expected" >&2; exit 1; }
}

printf '\nDebian %s, run by %s:\n' "$(cat "$rootfs/etc/debian_version")" "$(basename "$RUNTIME")"
in_debian 0 '{}' 'bash --version | head -1'
in_debian 0 '{}' 'dpkg -l | tail -3'
in_debian 0 '{}' "python3 -c 'import os, sys; print(sys.version.split()[0], os.uname().nodename, os.getpid())'"

printf '\nLimits:\n'
in_debian 0 '{"memory": {"limit": 67108864, "swap": 67108864}}' \
    "python3 -c 'print(len(bytearray(20_000_000)), \"bytes are there\")'"
in_debian 137 '{"memory": {"limit": 67108864, "swap": 67108864}}' \
    "python3 -c 'print(len(bytearray(b\"x\") * 200_000_000), \"bytes are there\")'"

in_debian 0 '{"pids": {"limit": 10}}' "python3 -c '
import os, signal
for n in range(1, 100):
    try:
        os.fork() or signal.pause()
    except OSError as error:
        exit(print(\"fork\", n, \"failed:\", error))
'"
printed 'Resource temporarily unavailable'

in_debian 0 '{"cpu": {"quota": 20000, "period": 100000}}' "python3 -c '
import time
start, used = time.monotonic(), time.process_time()
while time.monotonic() - start < 1:
    pass
wall, used = time.monotonic() - start, time.process_time() - used
print(f\"{used:.2f} s of CPU in {wall:.2f} s\")
'
cat /sys/fs/cgroup/cpu.stat /sys/fs/cgroup/cpu/cpu.stat 2>/dev/null | grep nr_throttled"
printed 'nr_throttled [1-9]'
