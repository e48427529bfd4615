"""The statistics of a container in the form that `events` prints, and what both drivers' readers share.

Names and nesting are those of runc's events; "some" leaves out zeros where runc does.
"""

from __future__ import annotations

from typing import Any

from pyrunc.cgroup import files

UNLIMITED = 2**64 - 1
NANOSECONDS = 1_000_000_000


def skeleton() -> dict[str, Any]:
    """Statistics of nothing."""
    return {
        "cpu": {"usage": {"kernel": 0, "user": 0}, "throttling": {}},
        "cpuset": dict.fromkeys(CPUSET, 0),
        "memory": {name: entry(0, 0, 0, 0) for name in ("usage", "swap", "kernel", "kernelTCP")},
        "pids": {},
        "blkio": {},
        "hugetlb": {},
        "intel_rdt": {},
        "network_interfaces": None,
    }


# Order of runc's structure.
CPUSET = (
    "cpu_exclusive",
    "mem_hardwall",
    "mem_exclusive",
    "memory_migrate",
    "memory_spread_page",
    "memory_spread_slab",
    "memory_pressure",
    "sched_load_balance",
    "sched_relax_domain_level",
)


def some(**values: Any) -> dict[str, Any]:
    """The values that are neither zero nor empty."""
    return {name: value for name, value in values.items() if value}


def entry(limit: int, usage: int, most: int, failures: int) -> dict[str, int]:
    """One kind of memory, in bytes, and how often its limit was hit."""
    return {"limit": limit, **some(usage=usage, max=most), "failcnt": failures}


def text(file: str) -> str:
    """The content, "" where there is no such file."""
    try:
        return files.read(file)
    except OSError:
        return ""


def number(file: str, unlimited: int = UNLIMITED) -> int:
    """The number in a file; 0 where there is none, ``unlimited`` for "max"."""
    content = text(file).strip()
    if content == "max":
        return unlimited
    return int(content) if content.lstrip("-").isdigit() else 0


def flat(file: str) -> dict[str, int]:
    """A file of lines "name value"."""
    pairs = (line.split() for line in text(file).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def cpu_list(content: str) -> list[int]:
    """ "0-2,5" → [0, 1, 2, 5]"""
    found: list[int] = []
    for part in content.strip().split(","):
        first, _, last = part.partition("-")
        if first:
            found += range(int(first), int(last or first) + 1)
    return found


def pressure(file: str) -> dict[str, Any] | None:
    """Pressure stall information of v2; None where the kernel has none."""
    found: dict[str, Any] = {}
    for line in text(file).splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=") for pair in pairs)
        found[kind] = {name: _plain(float(value)) for name, value in values.items() if name != "total"}
        found[kind]["total"] = int(values["total"])
    if not found:
        return None
    nothing = {"avg10": 0, "avg60": 0, "avg300": 0, "total": 0}
    return {kind: found.get(kind, nothing) for kind in ("some", "full")}


def _plain(value: float) -> float | int:
    """JSON of Go has no ".0"."""
    return int(value) if value.is_integer() else value
