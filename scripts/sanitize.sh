#!/bin/sh
# Build the cffi module with ASan and UBSan, and pyrunc-init, which has no libc, with UBSan that traps; run
# integration tests with them: make sanitize
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
tree=build/sanitize
python=.venv/bin/python
site=$(cd / && "$root/$python" -c 'import pyrunc, os; print(os.path.dirname(pyrunc.__file__))')
rm -rf "$tree"
mkdir -p "$tree/lib" "$tree/bin"
cp -r "$site" "$tree/lib/pyrunc"
rm -f "$tree/lib/pyrunc/pyrunc.snapshot" # it holds the module as it was
"$python" build.py "$tree/_clone.c"
include=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
# -O1: what is fortified would hide errors from ASan.
gcc -shared -fPIC -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -DPy_LIMITED_API=0x030b0000 \
	-D_GNU_SOURCE -include alloca.h -include string.h -I"$include" -Ipyrunc/_native \
	-o "$tree/lib/pyrunc/_native/_clone.abi3.so" "$tree/_clone.c"
# shellcheck disable=SC2046
gcc -std=gnu11 -Os -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns -fno-stack-protector -fno-pie \
	-fsanitize=undefined -fsanitize-undefined-trap-on-error -static -nostdlib -nostartfiles -no-pie \
	-o "$tree/lib/pyrunc/_native/pyrunc-init" $("$python" build.py --init)
cat >"$tree/bin/pyrunc" <<EOF
#!/bin/sh
# The interpreter is not built for ASan: its own leaks at exit are none of ours.
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:halt_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
exec "$root/$python" -X utf8 -c 'import sys
sys.path.insert(0, "$root/$tree/lib")
import pyrunc._native._clone
assert "sanitize" in pyrunc._native._clone.__file__
from pyrunc.cli.main import main
main(sys.argv[1:])' "\$@"
EOF
chmod +x "$tree/bin/pyrunc"
OCI_RUNTIME=$root/$tree/bin/pyrunc "$root/.venv/bin/pytest" -q tests/integration/test_run.py tests/integration/test_lifecycle.py tests/integration/test_exec.py tests/integration/test_cgroup.py \
	tests/integration/test_mounts.py tests/integration/test_process.py tests/integration/test_devices.py \
	tests/integration/test_terminal.py -x
