#!/bin/sh
# gcc -fanalyzer and clang --analyze on all C, and clang for aarch64: any warning fails. make analyze
set -eu
cd "$(dirname "$0")/.."
native=pyrunc/_native
options="-std=gnu11 -O2 -I$native -DPYRUNC_PYTHON=\"/usr/bin/python3\" -DPYRUNC_MINOR=11"
warnings="-Wall -Wextra -Wno-missing-field-initializers"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
printf '#include "%s"\n' clone.c device_program.c snapshot.c >"$out/module.c" # as build.py has it

# analyze FILE OPTION...
analyze() {
	file=$1
	shift
	# shellcheck disable=SC2086
	gcc $options $warnings "$@" -fanalyzer -c -o "$out/o" "$file" &&
		clang $options "$@" --analyze -Xclang -analyzer-output=text -o "$out/p" "$file" &&
		clang --target=aarch64-linux-gnu -idirafter /usr/aarch64-linux-gnu/include $options $warnings "$@" -Wno-unused-parameter \
			-fsyntax-only "$file"
}

failed=0
for file in "$native"/*.c "$out/module.c"; do
	case $file in
	*/module.c) analyze "$file" -D_GNU_SOURCE -Wno-unused-function ;;
	*/clone.c | */device_program.c | */snapshot.c) ;;
	*) analyze "$file" -ffreestanding ;;
	esac || failed=1
done >"$out/log" 2>&1
if [ $failed = 1 ] || grep -q 'warning:' "$out/log"; then
	cat "$out/log"
	exit 1
fi
echo "no warning in $(ls "$native"/*.c | wc -l) files"
