#!/bin/sh
# gcc -fanalyzer and clang --analyze on all C: any warning fails. make analyze
set -eu
cd "$(dirname "$0")/.."
native=pyrunc/_native
options="-std=gnu11 -O2 -I$native -DPYRUNC_PYTHON=\"/usr/bin/python3\" -DPYRUNC_MINOR=11"
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
printf '#include "%s"\n' clone.c device_program.c snapshot.c >"$out/module.c" # as build.py has it
for file in "$native"/*.c "$out/module.c"; do
	case $file in
	*/module.c) hosted="-D_GNU_SOURCE -Wno-unused-function" ;;
	*/clone.c | */device_program.c | */snapshot.c) continue ;;
	*) hosted=-ffreestanding ;;
	esac
	# shellcheck disable=SC2086
	gcc $options $hosted -fanalyzer -Wall -Wextra -Wno-missing-field-initializers -c -o "$out/o" "$file"
	# shellcheck disable=SC2086
	clang $options $hosted --analyze -Xclang -analyzer-output=text -o "$out/p" "$file"
done >"$out/log" 2>&1 || { cat "$out/log"; exit 1; }
if grep -q 'warning:' "$out/log"; then
	cat "$out/log"
	exit 1
fi
echo "no warning in $(ls "$native"/*.c | wc -l) files"
