"""linux.resources, made for v1, written to the files of v2."""

from __future__ import annotations

import errno
import posix

from pyrunc.cgroup import devices, files
from pyrunc.cgroup.limits_v1 import rdma_line, unknown_page_size
from pyrunc.errors import Error
from pyrunc.process import is_rootless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_R = "linux.resources."
# What v2 has no counterpart for; the spec wants an error when a setting can't be mapped.
IMPOSSIBLE = (
    ("memory", "kernel"),
    ("memory", "kernelTCP"),
    ("memory", "swappiness"),
    ("memory", "disableOOMKiller"),
    ("cpu", "realtimePeriod"),
    ("cpu", "realtimeRuntime"),
    ("blockIO", "leafWeight"),
    ("network", "classID"),
    ("network", "priorities"),
)
# Groups of linux.resources that belong to controllers which threaded cgroups don't have.
DOMAIN = ("memory", "blockIO", "hugepageLimits", "rdma")
THROTTLES = (
    ("throttleReadBpsDevice", "rbps"),
    ("throttleWriteBpsDevice", "wbps"),
    ("throttleReadIOPSDevice", "riops"),
    ("throttleWriteIOPSDevice", "wiops"),
)
_NO_FILE = (errno.ENOENT, errno.EACCES, errno.EPERM)


def cpu_weight(shares: int) -> int:
    """cpu.shares (2…262144) as cpu.weight (1…10000): 1024 is 100, the default of both.

    ceil(10 ** ((l² + 125 l) / 612 - 7 / 34)) with l = log2(shares), as all runtimes have it.
    """
    if shares <= 2:
        return 1
    if shares >= 262144:
        return 10000
    from math import ceil, log2  # not hot: v2 with shares only

    level = log2(shares)
    return ceil(float(10 ** ((level * level + 125 * level) / 612 - 7 / 34)))


def io_weight(weight: int) -> int:
    """blkio weight (10…1000) as io.weight (1…10000)."""
    return 1 + (weight - 10) * 9999 // 990


def cpu_max(quota: int, period: int) -> str:
    """Text of cpu.max: microseconds of run time in each period; a quota below 1 is none."""
    return f"{quota if quota > 0 else 'max'} {period or 100000}"


def amount(value: int) -> str:
    """A limit as v2 writes it."""
    return "max" if value < 0 else str(value)


def swap_max(limit: int, swap: int) -> str:
    """memory.swap.max out of v1's sum of memory and swap; raises Error if it can't be."""
    if swap < 0:
        return "max"
    why = ""
    if limit <= 0:
        why = "memory.swap counts memory and swap together, so it needs memory.limit"
    elif swap < limit:
        why = "memory.swap (memory and swap together) is below memory.limit"
    if why:
        raise files.failure(why, str(swap), path=_R + "memory.swap")
    return str(swap - limit)


def refuse_impossible(resources: dict[str, Any]) -> None:
    """Say what v2 can't do, before anything is made."""
    for group, key in IMPOSSIBLE:
        if (resources.get(group) or {}).get(key):
            raise _v1_only(f"{group}.{key}")
    for number, device in enumerate((resources.get("blockIO") or {}).get("weightDevice") or []):
        if device.get("leafWeight"):
            raise _v1_only(f"blockIO.weightDevice[{number}].leafWeight")
    for key in resources.get("unified") or {}:
        if "/" in key or not key:
            raise files.failure(
                f'"{key}" is not the name of a cgroup file', key, path=f'{_R}unified["{key}"]'
            )


def refuse_domain(directory: str, resources: dict[str, Any]) -> None:
    """A threaded cgroup has no limits of memory and the like: name the first that is asked for."""
    asked = [key for key in DOMAIN if resources.get(key)]
    asked += [f'unified["{key}"]' for key in resources.get("unified") or {} if _is_domain(key)]
    if asked:
        raise files.failure(
            f"cgroup {directory} is below a threaded cgroup, where linux.resources.{asked[0]} can't be set",
            directory,
            path=_R + asked[0],
            hint="choose a linux.cgroupsPath below a cgroup whose cgroup.type is domain",
        )


def _is_domain(key: str) -> bool:
    return key.partition(".")[0] not in ("cgroup", "cpu", "cpuset", "perf_event", "pids")


def _v1_only(path: str) -> Error:
    return files.failure(
        f"{path} exists on cgroup v1 only, and this host has v2",
        path,
        path=_R + path,
        hint="remove it, or use linux.resources.unified",
    )


def put(file: str, value: str, path: str, ignore: tuple[int, ...] = ()) -> bool:
    """As files.put, but a missing file is told by its controller."""
    if files.put(file, value, path, (*ignore, errno.ENOENT)):
        return True
    if ignore and (errno.ENOENT in ignore or files.exists(file)):
        return False
    directory, _, name = file.rpartition("/")
    controller = name.partition(".")[0]
    try:
        have = files.read(directory + "/cgroup.controllers").split()
    except OSError:
        have = []
    if controller in have or controller == "cgroup":
        raise files.refused(file, value, errno.ENOENT, path)
    from pyrunc.cgroup.missing import missing

    raise missing(directory, controller, path)


def apply(directory: str, resources: dict[str, Any], *, update: bool = False) -> None:
    """Write all limits but devices; ``unified`` comes last, so it wins."""
    limit = (resources.get("pids") or {}).get("limit")
    if limit is not None and (limit or not update):
        put(directory + "/pids.max", amount(limit), _R + "pids.limit")
    if resources.get("memory"):
        _memory(directory, resources["memory"])
    if resources.get("blockIO"):
        _block_io(directory, resources["blockIO"])
    if resources.get("cpu"):
        _cpu(directory, resources["cpu"])
    for number, page in enumerate(resources.get("hugepageLimits") or []):
        path = f"{_R}hugepageLimits[{number}]"
        name = f"{directory}/hugetlb.{page['pageSize']}."
        if "/" in page["pageSize"] or not files.exists(name + "max"):
            raise unknown_page_size(page["pageSize"], path)
        put(name + "max", str(page["limit"]), path + ".limit")
        put(name + "rsvd.max", str(page["limit"]), path + ".limit", (errno.ENOENT,))
    for device, rdma in (resources.get("rdma") or {}).items():
        put(directory + "/rdma.max", rdma_line(device, rdma), f'{_R}rdma["{device}"]')
    for key, value in (resources.get("unified") or {}).items():
        for line in str(value).splitlines() or [""]:
            put(f"{directory}/{key}", line, f'{_R}unified["{key}"]')


def _memory(directory: str, memory: dict[str, Any]) -> None:
    path = _R + "memory."
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    if limit < 0 and not swap:
        swap = -1
    if memory.get("checkBeforeUpdate") and limit > 0:
        usage = int(files.get(directory + "/memory.current", path + "limit"))
        if usage > limit:
            raise files.failure(
                f"unable to set memory limit to {limit} (current usage: {usage})",
                directory + "/memory.max",
                path=path + "limit",
                hint="set a limit above the usage",
            )
    if swap:
        text = swap_max(limit, swap)
        # Without swap accounting there's no file: nothing to swap is then already so.
        ignore = (errno.ENOENT,) if text in ("0", "max") else ()
        put(directory + "/memory.swap.max", text, path + "swap", ignore)
    if limit:
        put(directory + "/memory.max", amount(limit), path + "limit")
    if memory.get("reservation"):
        put(directory + "/memory.low", amount(memory["reservation"]), path + "reservation")


def _cpu(directory: str, cpu: dict[str, Any]) -> None:
    path = _R + "cpu."
    idle = cpu.get("idle")
    if idle is not None:
        put(directory + "/cpu.idle", str(idle), path + "idle", () if idle else (errno.ENOENT,))
    if cpu.get("shares") and not idle:  # an idle group's weight can't be set
        put(directory + "/cpu.weight", str(cpu_weight(cpu["shares"])), path + "shares")
    quota, period, burst = cpu.get("quota") or 0, cpu.get("period") or 0, cpu.get("burst")
    file = directory + "/cpu.max.burst"
    # The burst may not be above the quota, so it goes first or last.
    soft = (errno.EINVAL,) if quota else ()
    late = burst is not None and not put(file, str(burst), path + "burst", soft)
    if quota or period:
        text = cpu_max(quota, period) if quota else f"{_quota(directory)} {period}"
        put(directory + "/cpu.max", text, path + ("quota" if quota else "period"))
    if late:
        put(file, str(burst), path + "burst")
    for name in ("cpus", "mems"):
        if cpu.get(name):
            put(f"{directory}/cpuset.{name}", cpu[name], path + name)


def _quota(directory: str) -> str:
    try:
        return files.read(directory + "/cpu.max").split()[0]
    except OSError:
        return "max"  # the write that follows says what's wrong


def _block_io(directory: str, block: dict[str, Any]) -> None:
    path = _R + "blockIO."
    entries = [("", block.get("weight"), path + "weight")]
    for number, device in enumerate(block.get("weightDevice") or []):
        which = f"{device['major']}:{device['minor']} "
        entries.append((which, device.get("weight"), f"{path}weightDevice[{number}].weight"))
    for which, weight, where in entries:
        # BFQ counts as v1 did.
        if weight and not put(directory + "/io.bfq.weight", f"{which}{weight}", where, _NO_FILE):
            put(directory + "/io.weight", f"{which}{io_weight(weight)}", where)
    for key, name in THROTTLES:
        for number, device in enumerate(block.get(key) or []):
            text = f"{device['major']}:{device['minor']} {name}={device['rate'] or 'max'}"
            put(f"{directory}/io.max", text, f"{path}{key}[{number}]")


def attach_devices(directory: str, listed: list[dict[str, Any]]) -> None:
    """Let a BPF program decide which devices the cgroup may use; none if all are allowed."""
    rules = devices.rules(listed)
    if not rules or devices.allows_all(rules):
        return
    from pyrunc._native import load

    program = devices.devices_program(rules)
    try:
        fd = posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError as e:
        raise files.failure(
            f"cannot open cgroup {directory}", directory, e.errno or 0, _R + "devices", "open"
        ) from None
    try:
        result = int(load.clone().lib.pyrunc_cgroup_device(fd, program, len(program) // 8))
    finally:
        posix.close(fd)
    if result == -errno.EPERM and is_rootless():
        return  # nobody but root may attach one; an ordinary user can open no more devices anyway
    if result < 0:
        hint = "needs CAP_SYS_ADMIN in the first user namespace" if -result == errno.EPERM else ""
        raise files.failure(
            "cannot attach the device rules to the cgroup",
            directory,
            -result,
            _R + "devices",
            "bpf",
            hint,
        )
