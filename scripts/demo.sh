#!/bin/sh
# The life of a container, one verb at a time. RUNTIME is the runtime, PYTHON edits JSON.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
RUNTIME=${RUNTIME:-$here/.venv/bin/pyrunc}
PYTHON=${PYTHON:-$here/.venv/bin/python}
id=pyrunc-demo-$$

[ "$(id -u)" = 0 ] || { echo "demo: needs root" >&2; exit 1; }
busybox=$(command -v busybox) || { echo "demo: apt-get install busybox-static" >&2; exit 1; }
case $RUNTIME in
*/*) RUNTIME=$(cd "$(dirname "$RUNTIME")" && pwd)/$(basename "$RUNTIME") ;;
esac

work=$(mktemp -d)
clean_up() {
    "$RUNTIME" --root "$work/state" delete --force "$id" >/dev/null 2>&1 || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

mkdir -p "$work/bundle/rootfs/bin"
cd "$work/bundle"
for name in dev etc proc sys tmp; do mkdir "rootfs/$name"; done
cp "$busybox" rootfs/bin/busybox
for applet in $("$busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "rootfs/bin/$applet"
done
"$RUNTIME" spec
"$PYTHON" - <<'END'
import json

with open("config.json") as file:
    config = json.load(file)
config["process"]["terminal"] = False
config["process"]["args"] = ["sh", "-c", "echo hello from a container; sleep 100"]
with open("config.json", "w") as file:
    json.dump(config, file, indent=4)
END

# Show a command as one would type it, run it, indent what it prints. The output goes
# through a file: the container inherits it and would keep a pipe open.
show() {
    printf '\n$ %s %s\n' "$(basename "$RUNTIME")" "$*"
    status=0
    "$RUNTIME" --root "$work/state" "$@" >"$work/printed" 2>&1 </dev/null || status=$?
    # A container that was just started may need a moment for its first line.
    [ "$1" != start ] || sleep 0.2
    sed 's/^/  /' "$work/printed"
    [ "$status" = 0 ] || { echo "  (exit status $status)"; exit 1; }
}
created() {
    printf '\n$ %s %s\n' "$(basename "$RUNTIME")" "create $id"
    "$RUNTIME" --root "$work/state" create "$id" >"$work/output" 2>&1 </dev/null || {
        sed 's/^/  /' "$work/output"
        exit 1
    }
}

created
show state "$id"
show start "$id"
echo "  the container printed: $(cat "$work/output")"
show state "$id"
show kill "$id" KILL
tries=0
until "$RUNTIME" --root "$work/state" state "$id" | grep -q stopped; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "it does not stop" >&2; exit 1; }
    sleep 0.05
done
show state "$id"
show delete "$id"
printf '\nAnd it is gone.\n'
