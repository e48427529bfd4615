#!/bin/sh
# Fuzz the plan decoder of pyrunc-init under ASan and UBSan: make fuzz, FUZZ_SECONDS=600.
set -eu
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
if ! command -v clang >/dev/null; then
	apt-get update -qq >/dev/null
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq clang >/dev/null
fi
mkdir -p build/fuzz/corpus
clang -g -O1 -std=gnu11 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	-Ipyrunc/_native -o build/fuzz/plan_decoder tests/fuzz/plan_decoder.c pyrunc/_native/init_plan.c
build/fuzz/plan_decoder -max_total_time="$seconds" -max_len=16384 -print_final_stats=1 build/fuzz/corpus
