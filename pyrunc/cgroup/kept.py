"""The limits of a cgroup as they are before an update, to be put back when it fails half-way."""

from __future__ import annotations

from pyrunc.cgroup import files
from pyrunc.state_directory import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Settings that are the cgroup's own. What is listed by device is left out: it can't be taken away again.
SETTINGS = (
    "pids.max",
    *(f"memory.{name}" for name in ("limit_in_bytes", "memsw.limit_in_bytes", "soft_limit_in_bytes")),
    *(f"memory.{name}" for name in ("swappiness", "max", "swap.max", "low", "min", "high")),
    *(f"cpu.{name}" for name in ("idle", "shares", "cfs_period_us", "cfs_quota_us", "cfs_burst_us")),
    *(f"cpu.{name}" for name in ("rt_period_us", "rt_runtime_us", "weight", "max", "max.burst")),
    *("cpuset.cpus", "cpuset.mems", "blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight"),
)


class Kept:
    """What the settings in ``directories`` are now."""

    __slots__ = ("values",)

    def __init__(self, directories: Iterable[str]) -> None:
        self.values: dict[str, str] = {}
        for directory in set(directories):
            for name in SETTINGS:
                text = _text(f"{directory}/{name}")
                if text:
                    self.values[f"{directory}/{name}"] = text

    def put_back(self) -> None:
        """Write what differs. Settings bound each other: again, as long as one of them gives way."""
        left = len(self.values) + 1
        while True:
            changed = [file for file, text in self.values.items() if _text(file) != text]
            if not changed or len(changed) >= left:
                return
            left = len(changed)
            for file in changed:
                try:
                    write_file(file, self.values[file])
                except OSError:
                    pass  # an error is being reported already


def _text(file: str) -> str:
    """The first line; "" where there is none. Of the weights it is the default, the others are devices'."""
    try:
        return files.read(file).partition("\n")[0]
    except OSError:
        return ""
