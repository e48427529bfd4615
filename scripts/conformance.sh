#!/bin/sh
# Run the validation suite of opencontainers/runtime-tools against a runtime.
#
#   RUNTIME=.venv/bin/pyrunc scripts/conformance.sh [PROGRAM…]
#
# Needs root, Go, unshare and a static busybox. Exits 1 when a program listed in
# scripts/conformance.expected fails. CONFORMANCE_CACHE keeps the built programs
# (default: ~/.cache/pyrunc-conformance). HIDE_CGROUP2=1 hides a cgroup v2 hierarchy that is
# mounted beside v1: crun refuses that mixture. VERBOSE=1 shows what failing programs print.
#
# The `mounts` program removes a bundle that the host's /etc is bound into. So every
# program runs in a private mount namespace with a throw-away copy of /etc on /etc.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
RUNTIME=${RUNTIME:-$here/../.venv/bin/pyrunc}
module=github.com/opencontainers/runtime-tools
# The proxy's name of commit 0105384; later commits have a bug in the pids programs.
version=v0.9.1-0.20220125021840-0105384f68e1
# The checksum database does not hold this version; this pin takes its place.
sum=h1:qCESnRZuVKFNEIA2h0FI59QDxRx5WHJBdUs273qjUm4=
cache=${CONFORMANCE_CACHE:-${HOME:-/root}/.cache/pyrunc-conformance}
bin=$cache/$version

die() {
    echo "conformance: $*" >&2
    exit 2
}

[ "$(id -u)" = 0 ] || die "needs root"
RUNTIME=$(command -v "$RUNTIME") || die "RUNTIME not found"
case $RUNTIME in /*) ;; *) RUNTIME=$(pwd)/$RUNTIME ;; esac
busybox=$(command -v busybox) || die "busybox not found: apt-get install busybox-static"

build() {
    PATH=$PATH:/usr/local/go/bin:/usr/lib/go/bin
    command -v go >/dev/null || die "go not found: apt-get install golang"
    export GONOSUMDB=$module CGO_ENABLED=0
    (cd / && go mod download -json "$module@$version") >"$work/download"
    grep -qF "\"Sum\": \"$sum\"" "$work/download" || die "$module@$version is not what it was"
    echo "building the suite (about a minute)" >&2
    mkdir -p "$bin.new"
    (cd / && GOBIN=$bin.new go install \
        "$module/cmd/runtimetest@$version" "$module/validation/...@$version") >&2
    rm -rf "$bin"
    mv "$bin.new" "$bin"
}

rootfs_tarball() {
    mkdir -p "$work/rootfs"
    cd "$work/rootfs"
    mkdir -p bin dev etc home proc root run sbin sys tmp usr/bin usr/sbin var
    chmod 755 . && chmod 1777 tmp
    cp "$busybox" bin/busybox
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "bin/$applet"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >etc/passwd
    echo 'root:x:0:' >etc/group
    tar -czf "$work/cwd/rootfs-amd64.tar.gz" .
    cd "$work"
}

remove_cgroups() {
    for name in cgrouptest testdir; do
        for top in /sys/fs/cgroup/*/"$name" /sys/fs/cgroup/"$name"; do
            [ -d "$top" ] || continue
            find "$top" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
    done
}

# A program of the suite that needs what this kernel does not have.
impossible() {
    case $1 in *_hugetlb) [ ! -d /sys/fs/cgroup/hugetlb ] ;; *) false ;; esac
}

work=$(mktemp -d)
chmod 755 "$work" # a user namespace's root must get through to the bundles
trap 'remove_cgroups; rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM
mkdir -p "$work/cwd" "$work/tmp" "$work/out"
[ -x "$bin/runtimetest" ] || build
cp "$bin/runtimetest" "$work/cwd/"
rootfs_tarball
remove_cgroups

# Print "OK NOT_OK SOFT" of a TAP file. Some programs assert nothing, or say "ok" only to
# what they reached: an error that belongs to no assertion (SOFT) is a failure too.
tap() {
    awk '
        /^[ \t]*not ok / { bad++; owner = 1 }
        /^[ \t]*ok /     { ok++;  owner = 1 }
        /^[ \t]*"?error"?: / { if (!owner) soft++ }
        /^[ \t]*\.\.\.$/ { owner = 0 }
        END { print ok + 0, bad + 0, soft + 0 }
    ' "$1"
}

# The shell inside the private namespace; $0 is the work directory, $1 the program.
inside='
    mount --make-rprivate /
    cp -a /etc "$0/etc" && mount --bind "$0/etc" /etc || exit 99
    [ -z "${HIDE_CGROUP2:-}" ] || umount /sys/fs/cgroup/unified || exit 99
    cd "$0/cwd" && timeout -k 5 60 "$1"
'
run() {
    rm -rf --one-file-system "$work/etc"
    RUNTIME=$RUNTIME TMPDIR=$work/tmp unshare -m sh -c "$inside" "$work" "$bin/$1" \
        </dev/null >"$work/out/$1" 2>"$work/out/$1.err" || return $?
}

[ $# -gt 0 ] || set -- $(ls "$bin" | grep -vx runtimetest)
passed=0 total=0 broken=''
printf '%-34s %4s %6s  %s\n' program ok 'not ok' verdict
for program in "$@"; do
    [ -x "$bin/$program" ] || die "no program $program in the suite"
    status=0
    run "$program" || status=$?
    read -r ok bad soft <<END
$(tap "$work/out/$program")
END
    verdict=pass
    if [ "$status" = 124 ] || [ "$status" = 137 ]; then
        verdict=timeout
    elif [ "$status" != 0 ]; then
        verdict="fail (exit $status)"
    elif [ "$bad" -gt 0 ]; then
        verdict=fail
    elif [ "$soft" -gt 0 ]; then
        verdict='fail (error block)'
    fi
    total=$((total + 1))
    if [ "$verdict" = pass ]; then
        passed=$((passed + 1))
    elif impossible "$program"; then
        verdict="$verdict (impossible here)"
    elif grep -qx "$program" "$here/conformance.expected"; then
        broken="$broken $program"
        verdict="$verdict  <-- expected to pass"
    fi
    printf '%-34s %4s %6s  %s\n' "$program" "$ok" "$bad" "$verdict"
    if [ -n "${VERBOSE:-}" ] && [ "$verdict" != pass ]; then
        cat "$work/out/$program" "$work/out/$program.err"
    fi
    remove_cgroups
done
echo "$passed of $total programs pass with $RUNTIME"
[ -z "$broken" ] || {
    echo "regressions:$broken" >&2
    exit 1
}
