"""Why pyrunc-init ended without a word: what the container's cgroup has counted."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.explain.host import Host

_LIMITS = ("memory.limit_in_bytes", "memory.max")
_COUNTS = ("memory.oom_control", "memory.events")
_UNLIMITED = 1 << 60


def look(paths: dict[str, str], host: Host) -> tuple[str, str, str, str] | None:
    """Message, JSON path, subject and hint; None when the cgroup knows of nothing.

    ``paths``: controller ("" for v2) → directory of the container's cgroup.
    """
    for directory in set(paths.values()):
        limit = next((text for name in _LIMITS if (text := host.text(f"{directory}/{name}"))), "")
        if not limit.isdigit() or int(limit) >= _UNLIMITED:
            continue
        if _kills(host, directory):
            return (
                "container init was OOM-killed (memory limit too low?): "
                f"the limit of cgroup {directory} is {_size(int(limit))}",
                "linux.resources.memory.limit",
                directory,
                "raise linux.resources.memory.limit: pyrunc-init needs about 200 KiB, the program more",
            )
    return None


def _kills(host: Host, directory: str) -> int:
    for name in _COUNTS:
        for line in host.text(f"{directory}/{name}").splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return 0


def _size(count: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count} {unit}"
        count //= 1024
    return f"{count} GiB"
