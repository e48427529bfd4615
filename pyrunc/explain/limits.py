"""Why the kernel refused a cgroup setting."""

from __future__ import annotations

import errno

from pyrunc.explain.host import Host

_RANGES = {
    "cpu.cfs_quota_us": "a quota is at least 1000 microseconds, and -1 for none: raise it",
    "cpu.cfs_period_us": "a period is 1000 to 1000000 microseconds: choose one in that range",
    "cpu.max": "quota and period are at least 1000 microseconds, a period at most 1000000",
    "cpu.weight": "a weight is 1 to 10000; cpu.shares from 2 to 262144 is converted to it",
    "cpu.rt_runtime_us": "the parent cgroup has no realtime budget left: raise its cpu.rt_runtime_us before",
    "memory.memsw.limit_in_bytes": (
        "swap counts memory and swap together: raise it to at least memory.limit (-1 for no limit)"
    ),
    "memory.swappiness": "a swappiness is 0 to 100",
    "pids.max": "pids.limit is 0 or more, and -1 for none",
    "blkio.weight": "a weight is 10 to 1000",
}


def hint(file: str, value: str, number: int) -> str:
    """Cause and remedy for writing ``value`` to a cgroup's file; "" where nothing is known."""
    directory, _, name = file.rpartition("/")
    host = Host()
    if name in ("cpuset.cpus", "cpuset.mems") and number in (errno.EINVAL, errno.ERANGE, errno.EACCES):
        above = directory.rpartition("/")[0]
        there = host.text(f"{above}/{name}") or host.text(f"{above}/{name}.effective")
        kind = "processors" if name == "cpuset.cpus" else "memory nodes"
        return f"the host does not have these {kind}: choose among those of the parent cgroup ({there})"
    if name in _RANGES and number in (errno.EINVAL, errno.ERANGE):
        return _RANGES[name]
    if number == errno.EBUSY and name.startswith("memory"):
        used = host.text(f"{directory}/memory.usage_in_bytes") or host.text(f"{directory}/memory.current")
        return f"the cgroup uses more than that already ({used} bytes): raise linux.resources.memory.limit"
    if number in (errno.EACCES, errno.EPERM):
        return (
            f"{directory} is not delegated to this user: run as root, or put Delegate=yes into the "
            f"systemd unit "
            "that pyrunc runs in"
        )
    return ""
