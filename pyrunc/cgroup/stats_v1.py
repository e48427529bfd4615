"""Statistics from the files of v1: kernel documentation, cgroup-v1."""

from __future__ import annotations

import posix
from typing import Any

from pyrunc.cgroup.stats import CPUSET, NANOSECONDS, cpu_list, entry, flat, number, skeleton, some, text

# Key to the files that may have it: BFQ, CFQ, and the throttling layer, which always counts.
_BLKIO = {
    "ioServiceBytesRecursive": ("bfq.io_service_bytes", "io_service_bytes", "throttle.io_service_bytes"),
    "ioServicedRecursive": ("bfq.io_serviced", "io_serviced", "throttle.io_serviced"),
    "ioQueueRecursive": ("bfq.io_queued", "io_queued"),
    "ioServiceTimeRecursive": ("bfq.io_service_time", "io_service_time"),
    "ioWaitTimeRecursive": ("bfq.io_wait_time", "io_wait_time"),
    "ioMergedRecursive": ("bfq.io_merged", "io_merged"),
    "ioTimeRecursive": ("bfq.time", "time"),
    "sectorsRecursive": ("bfq.sectors", "sectors"),
}


def read(paths: dict[str, str]) -> dict[str, Any]:
    """``paths``: controller to the container's directory. A controller that is missing counts nothing."""
    found = skeleton()
    found["cpu"] = {"usage": _cpu_usage(paths.get("cpuacct")), "throttling": _throttling(paths.get("cpu"))}
    if "cpuset" in paths:
        found["cpuset"] = _cpuset(paths["cpuset"])
    if "memory" in paths:
        found["memory"] = _memory(paths["memory"] + "/memory.")
    if "pids" in paths:
        directory = paths["pids"]
        limit = number(directory + "/pids.max", 0)
        found["pids"] = some(current=number(directory + "/pids.current"), limit=limit)
    if "blkio" in paths:
        found["blkio"] = _blkio(paths["blkio"] + "/blkio.")
    if "hugetlb" in paths:
        found["hugetlb"] = _hugetlb(paths["hugetlb"])
    return found


def _cpu_usage(directory: str | None) -> dict[str, Any]:
    if directory is None:
        return {"kernel": 0, "user": 0}
    tick = NANOSECONDS // posix.sysconf("SC_CLK_TCK")
    ticks = flat(directory + "/cpuacct.stat")
    each = text(directory + "/cpuacct.usage_percpu").split()
    # After the heading: cpu, user and system time in nanoseconds.
    rows = [row.split() for row in text(directory + "/cpuacct.usage_all").splitlines()[1:]]
    return {
        **some(
            total=number(directory + "/cpuacct.usage"),
            percpu=[int(value) for value in each],
            percpu_kernel=[int(row[2]) for row in rows if len(row) == 3],
            percpu_user=[int(row[1]) for row in rows if len(row) == 3],
        ),
        "kernel": ticks.get("system", 0) * tick,
        "user": ticks.get("user", 0) * tick,
    }


def _throttling(directory: str | None) -> dict[str, Any]:
    values = flat(directory + "/cpu.stat") if directory else {}
    return some(
        periods=values.get("nr_periods"),
        throttledPeriods=values.get("nr_throttled"),
        throttledTime=values.get("throttled_time"),
    )


def _cpuset(directory: str) -> dict[str, Any]:
    numbers = {name: number(f"{directory}/cpuset.{name}") for name in CPUSET}
    cpus = some(cpus=cpu_list(text(directory + "/cpuset.cpus")))
    mems = some(mems=cpu_list(text(directory + "/cpuset.mems")))
    return {**cpus, "cpu_exclusive": numbers.pop("cpu_exclusive"), **mems, **numbers}


def _memory(prefix: str) -> dict[str, Any]:
    raw = flat(prefix + "stat")
    kinds = (("usage", ""), ("swap", "memsw."), ("kernel", "kmem."), ("kernelTCP", "kmem.tcp."))
    return {
        **some(cache=raw.get("cache")),
        **{name: _memory_entry(prefix + kind) for name, kind in kinds},
        **some(raw=dict(sorted(raw.items()))),
    }


def _memory_entry(prefix: str) -> dict[str, int]:
    return entry(
        number(prefix + "limit_in_bytes"),
        number(prefix + "usage_in_bytes"),
        number(prefix + "max_usage_in_bytes"),
        number(prefix + "failcnt"),
    )


def _blkio(prefix: str) -> dict[str, Any]:
    found = {}
    for key, candidates in _BLKIO.items():
        for name in candidates:
            rows = [_blkio_row(line.split()) for line in text(f"{prefix}{name}_recursive").splitlines()]
            if any(rows):
                found[key] = [row for row in rows if row]
                break
    return found


def _blkio_row(fields: list[str]) -> dict[str, Any]:
    """ "MAJOR:MINOR [OPERATION] VALUE"; {} for the last line, which is the sum."""
    if len(fields) < 2 or ":" not in fields[0]:
        return {}
    major, minor = fields[0].split(":")
    operation = fields[1] if len(fields) == 3 else ""
    return some(major=int(major), minor=int(minor), op=operation, value=int(fields[-1]))


def _hugetlb(directory: str) -> dict[str, Any]:
    found = {}
    for name in sorted(posix.listdir(directory)):
        if name.startswith("hugetlb.") and name.count(".") == 2 and name.endswith(".usage_in_bytes"):
            size = name.split(".")[1]
            prefix = f"{directory}/hugetlb.{size}."
            found[size] = {
                **some(usage=number(prefix + "usage_in_bytes"), max=number(prefix + "max_usage_in_bytes")),
                "failcnt": number(prefix + "failcnt"),
            }
    return found
