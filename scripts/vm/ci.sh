#!/bin/bash
# ci.sh: the lane `short` of `make vm-test`, as far as this machine can do it within VM_SECONDS.
# Fails with 1 if a test failed, with 75 if it was not possible here in the time: no guest, no mirror, too slow.
set -uo pipefail
cd "$(dirname "$0")/../.."
seconds=${VM_SECONDS:-600}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
VM_LANES=short VM_SECONDS=$seconds timeout -k 10 "$((seconds + 30))" make vm-test </dev/null 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
if grep -q '^== .*: FAILED' "$log"; then
	exit 1
elif [ "$status" != 0 ]; then
	echo "vm: NOT VERIFIED: no result of the guest on this machine within $seconds s (status $status)" >&2
	exit 75
fi
