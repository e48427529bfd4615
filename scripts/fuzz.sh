#!/bin/sh
# Fuzz what reads hostile bytes: make fuzz, FUZZ_SECONDS=600 for each target, FUZZ_TARGETS="passwd state".
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
targets=${FUZZ_TARGETS:-plan_decoder passwd configuration process state message}
command -v clang >/dev/null || {
	echo "fuzz.sh: needs clang" >&2
	exit 1
}

# C under libFuzzer, ASan and UBSan. What is found goes to build/fuzz; the kept corpus is read first.
run_c() {
	name=$1
	shift
	mkdir -p "build/fuzz/$name" "tests/fuzz/corpus/$name"
	clang -g -O1 -std=gnu11 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Ipyrunc/_native \
		-o "build/fuzz/$name.fuzzer" "tests/fuzz/$name.c" "$@"
	"build/fuzz/$name.fuzzer" -max_total_time="$seconds" -max_len=16384 -print_final_stats=1 -verbosity=0 \
		-artifact_prefix=build/fuzz/ "build/fuzz/$name" "tests/fuzz/corpus/$name"
}

for target in $targets; do
	case $target in
	plan_decoder) run_c plan_decoder pyrunc/_native/init_plan.c ;;
	passwd) run_c passwd -ffreestanding ;;
	*) .venv/bin/python tests/fuzz/doors.py "$target" "$seconds" ;;
	esac
done
