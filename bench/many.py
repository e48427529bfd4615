"""`list` and `state` with many containers, beside crun in the same run: bench/many.py [COUNT [ROUNDS]].

crun does not take a hybrid host of cgroup v1 and v2: it runs where the unified hierarchy is hidden.
Prints a table: milliseconds, the median of all rounds, taken in turns.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PYRUNC = str(Path(__file__).resolve().parents[1] / ".venv" / "bin" / "pyrunc")
HIDE = "mount -t tmpfs none /sys/fs/cgroup/unified 2>/dev/null; exec python3 -I -c '{}' \"$@\""
# Times a call from outside of the shell that hides the hierarchy.
TIMED = """
import subprocess, sys, time
for _ in range(int(sys.argv[1])):
    begin = time.perf_counter()
    subprocess.run(sys.argv[2:], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    print(time.perf_counter() - begin)
"""


class Runtime:
    """A runtime with a state root full of created containers."""

    def __init__(self, program: str, directory: Path, hidden: bool) -> None:
        self.name = Path(program).name
        self.line = [program, "--root", str(directory / self.name)]
        self.prefix = ["unshare", "-m", "sh", "-c", HIDE.format(TIMED), "sh"] if hidden else []
        self.prefix = self.prefix or [sys.executable, "-I", "-c", TIMED]

    def call(self, *args: str, rounds: int = 1) -> list[float]:
        """Seconds of each round."""
        done = subprocess.run(
            [*self.prefix, str(rounds), *self.line, *args],
            check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return [float(line) for line in done.stdout.split()]

    def create(self, bundle: str, id: str) -> None:
        self.call("create", "--bundle", bundle, f"{self.name}-{id}")


def bundle(path: Path) -> Path:
    for name in ("bin", "dev"):
        (path / "rootfs" / name).mkdir(parents=True)
    busybox = shutil.which("busybox")
    assert busybox, "apt-get install busybox-static"
    shutil.copy2(busybox, path / "rootfs" / "bin" / "sleep")
    config = {
        "ociVersion": "1.0.2",
        # crun makes links in /dev: each container needs one of its own.
        "mounts": [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}],
        "process": {"args": ["/bin/sleep", "1000"], "cwd": "/", "user": {"uid": 0, "gid": 0}},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": name} for name in ("pid", "mount", "ipc", "uts")]},
    }
    (path / "config.json").write_text(json.dumps(config))
    return path


def main(count: int, rounds: int) -> None:
    directory = Path(tempfile.mkdtemp(prefix="pyrunc-many-"))
    crun = shutil.which("crun")
    hybrid = Path("/sys/fs/cgroup/unified").is_dir()
    runtimes = [Runtime(PYRUNC, directory, False)]
    if crun:
        runtimes.append(Runtime(crun, directory, hybrid))
    mark = uuid.uuid4().hex[:8]
    ids = [f"pyrunc-many-{mark}-{number}" for number in range(count)]
    path = str(bundle(directory / "bundle"))
    try:
        for runtime in runtimes:
            begin = time.perf_counter()
            with ThreadPoolExecutor(2) as pool:
                list(
                    pool.map(lambda id, r=runtime: r.call("create", "--bundle", path, f"{r.name}-{id}"), ids)
                )
            print(
                f"{runtime.name}: {count} containers in {time.perf_counter() - begin:.1f} s", file=sys.stderr
            )
        print("| call |", " | ".join(runtime.name for runtime in runtimes), "|")
        print("| --- |", " | ".join("---" for _ in runtimes), "|")
        calls = [("list",), ("list", "-f", "json"), ("list", "-q"), ("state", ids[count // 2])]
        for call in calls:
            taken: list[list[float]] = [[] for _ in runtimes]
            for _ in range(rounds):
                for at, runtime in enumerate(runtimes):
                    args = call if call[0] == "list" else ("state", f"{runtime.name}-{call[1]}")
                    taken[at] += runtime.call(*args, rounds=3)
            cells = " | ".join(f"{statistics.median(each) * 1000:.1f}" for each in taken)
            print(f"| {' '.join(call) if call[0] == 'list' else 'state'} | {cells} |")
    finally:
        for runtime in runtimes:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda id, r=runtime: r.call("delete", "--force", f"{r.name}-{id}"), ids))
        shutil.rmtree(directory)


if __name__ == "__main__":
    main(*[int(text) for text in [*sys.argv[1:], *("1000", "7")[len(sys.argv) - 1 :]]])
