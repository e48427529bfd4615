"""Statistics from the files of v2: kernel documentation, cgroup-v2."""

from __future__ import annotations

import posix
from typing import Any

from pyrunc.cgroup.stats import UNLIMITED, entry, flat, number, pressure, skeleton, some, text

_MICROSECOND = 1000  # nanoseconds
_IO = {  # counter of io.stat to the list that it goes to, and its operation there
    "rbytes": ("ioServiceBytesRecursive", "Read"),
    "wbytes": ("ioServiceBytesRecursive", "Write"),
    "dbytes": ("ioServiceBytesRecursive", "Discard"),
    "rios": ("ioServicedRecursive", "Read"),
    "wios": ("ioServicedRecursive", "Write"),
    "dios": ("ioServicedRecursive", "Discard"),
}


def read(directory: str) -> dict[str, Any]:
    found = skeleton()
    found["cpu"] = _cpu(directory)
    found["memory"] = _memory(directory)
    limit = number(directory + "/pids.max", 0)
    found["pids"] = some(current=number(directory + "/pids.current"), limit=limit)
    found["blkio"] = {**_io(directory), **some(psi=pressure(directory + "/io.pressure"))}
    found["hugetlb"] = _hugetlb(directory)
    return found


def _cpu(directory: str) -> dict[str, Any]:
    values = flat(directory + "/cpu.stat")
    return {
        "usage": {
            **some(total=values.get("usage_usec", 0) * _MICROSECOND),
            "kernel": values.get("system_usec", 0) * _MICROSECOND,
            "user": values.get("user_usec", 0) * _MICROSECOND,
        },
        "throttling": some(
            periods=values.get("nr_periods"),
            throttledPeriods=values.get("nr_throttled"),
            throttledTime=values.get("throttled_usec", 0) * _MICROSECOND,
        ),
        **some(psi=pressure(directory + "/cpu.pressure")),
    }


def _memory(directory: str) -> dict[str, Any]:
    raw = flat(directory + "/memory.stat")
    failures = flat(directory + "/memory.events").get("max", 0)
    usage, limit = number(directory + "/memory.current"), number(directory + "/memory.max")
    # As v1 has it: swap is the sum of memory and swap.
    swap_limit = number(directory + "/memory.swap.max")
    if UNLIMITED not in (limit, swap_limit):
        swap_limit += limit
    swap = number(directory + "/memory.swap.current")
    return {
        **some(cache=raw.get("file")),
        "usage": entry(limit, usage, number(directory + "/memory.peak"), failures),
        "swap": entry(swap_limit, swap + usage, 0, 0),
        "kernel": entry(0, 0, 0, 0),
        "kernelTCP": entry(0, 0, 0, 0),
        **some(raw=dict(sorted(raw.items())), psi=pressure(directory + "/memory.pressure")),
    }


def _io(directory: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in text(directory + "/io.stat").splitlines():
        device, *counters = line.split()
        major, colon, minor = device.partition(":")
        for counter in counters if colon else ():
            name, _, value = counter.partition("=")
            if name in _IO:
                key, operation = _IO[name]
                row = some(major=int(major), minor=int(minor), op=operation, value=int(value))
                found.setdefault(key, []).append(row)
    return found


def _hugetlb(directory: str) -> dict[str, Any]:
    found = {}
    for name in sorted(posix.listdir(directory)):
        if name.startswith("hugetlb.") and name.count(".") == 2 and name.endswith(".current"):
            size = name.split(".")[1]
            prefix = f"{directory}/hugetlb.{size}."
            failures = flat(prefix + "events").get("max", 0)
            found[size] = {**some(usage=number(prefix + "current")), "failcnt": failures}
    return found
