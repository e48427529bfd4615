"""linux.resources written to the files of v1."""

from __future__ import annotations

import errno
import posix

from pyrunc.cgroup import devices, files
from pyrunc.cgroup.files import put
from pyrunc.errors import Error
from pyrunc.state_directory import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Paths = dict[str, str]

_R = "linux.resources."
_NO_KMEM = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, 524)  # 524: the kernel's ENOTSUPP
THROTTLES = (
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device"),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device"),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device"),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device"),
)


def refuse_impossible(resources: dict[str, Any], paths: Paths) -> None:
    """Say what this host lacks, before anything is made."""
    if resources.get("unified"):
        raise files.failure(
            "linux.resources.unified needs cgroup v2, and this host has v1",
            "unified",
            path=_R + "unified",
            hint="use memory, cpu, pids and so on instead",
        )
    cpu = resources.get("cpu") or {}
    network = resources.get("network") or {}
    asked = [
        ("memory", "memory", any((resources.get("memory") or {}).values())),
        ("cpu", "cpu", any(v for k, v in cpu.items() if k not in ("cpus", "mems"))),
        ("cpuset", "cpu", bool(cpu.get("cpus") or cpu.get("mems"))),
        ("pids", "pids", bool(resources.get("pids"))),
        ("blkio", "blockIO", any((resources.get("blockIO") or {}).values())),
        ("hugetlb", "hugepageLimits", bool(resources.get("hugepageLimits"))),
        ("net_cls", "network.classID", bool(network.get("classID"))),
        ("net_prio", "network.priorities", bool(network.get("priorities"))),
        ("rdma", "rdma", bool(resources.get("rdma"))),
    ]
    for controller, path, wanted in asked:
        if wanted and controller not in paths:
            raise files.unavailable(controller, _R + path)
    rules = devices.rules(resources.get("devices") or [])
    if rules and "devices" not in paths and not devices.allows_all(rules):
        raise files.unavailable("devices", _R + "devices")
    shares = cpu.get("shares") or 1024
    if not 2 <= shares <= 262144:
        limit = "minimum allowed cpu-shares is 2"
        if shares > 2:
            limit = "maximum allowed cpu-shares is 262144"
        raise files.failure(f"the {limit}", str(shares), path=_R + "cpu.shares")


def apply(
    resources: dict[str, Any],
    paths: Paths,
    made: dict[str, list[str]],
    *,
    update: bool = False,
    fresh: bool = False,
) -> None:
    """Write all limits; ``made`` are the new directories by controller, ``fresh`` a new leaf."""
    if resources.get("pids"):
        _pids(paths["pids"], resources["pids"], update)
    if resources.get("memory") and "memory" in paths:
        _memory(paths["memory"], resources["memory"], update)
    if resources.get("cpu"):
        _cpu(paths, resources["cpu"], made.get("cpu", []))
    if resources.get("devices") and "devices" in paths:
        _devices(paths["devices"], resources["devices"], fresh)
    if resources.get("blockIO") and "blkio" in paths:
        _block_io(paths["blkio"], resources["blockIO"])
    for number, limit in enumerate(resources.get("hugepageLimits") or []):
        _hugepages(paths["hugetlb"], limit, f"{_R}hugepageLimits[{number}]")
    network = resources.get("network") or {}
    if network.get("classID"):
        file = paths["net_cls"] + "/net_cls.classid"
        put(file, str(network["classID"]), _R + "network.classID")
    for number, priority in enumerate(network.get("priorities") or []):
        file = paths["net_prio"] + "/net_prio.ifpriomap"
        text = f"{priority['name']} {priority['priority']}"
        put(file, text, f"{_R}network.priorities[{number}]")
    for device, limit in (resources.get("rdma") or {}).items():
        put(paths["rdma"] + "/rdma.max", rdma_line(device, limit), f'{_R}rdma["{device}"]')


def rdma_line(device: str, limit: dict[str, int]) -> str:
    text = device
    if limit.get("hcaHandles") is not None:
        text += f" hca_handle={limit['hcaHandles']}"
    if limit.get("hcaObjects") is not None:
        text += f" hca_object={limit['hcaObjects']}"
    return text


def _pids(directory: str, pids: dict[str, Any], update: bool) -> None:
    limit = pids.get("limit")
    if limit is None or (update and limit == 0):
        return
    put(directory + "/pids.max", "max" if limit < 0 else str(limit), _R + "pids.limit")


def _memory(directory: str, memory: dict[str, Any], update: bool) -> None:
    path = _R + "memory."
    limit, swap = memory.get("limit") or 0, memory.get("swap") or 0
    swap_file = directory + "/memory.memsw.limit_in_bytes"
    if limit and not _memory_limit(directory, limit):
        # Above the present memory+swap limit: that one has to be raised first.
        if not swap:
            if limit > 0:
                raise files.failure(
                    f"memory limit {limit} is above the limit of memory and swap",
                    swap_file,
                    errno.EINVAL,
                    path + "limit",
                    hint="set linux.resources.memory.swap as well",
                )
            swap = -1
        put(swap_file, str(swap), path + "swap")
        swap = 0
        if not _memory_limit(directory, limit):
            raise files.refused(
                directory + "/memory.limit_in_bytes", str(limit), errno.EINVAL, path + "limit"
            )
    if swap:
        # Without swap accounting there's no such file: then "no limit" is what is there.
        put(swap_file, str(swap), path + "swap", (errno.ENOENT,) if swap < 0 else ())
    if memory.get("reservation"):
        file = directory + "/memory.soft_limit_in_bytes"
        put(file, str(memory["reservation"]), path + "reservation")
    if memory.get("kernel"):
        # Gone from Linux 5.16 on, and deprecated by the spec: MAY be ignored.
        file = directory + "/memory.kmem.limit_in_bytes"
        put(file, str(memory["kernel"]), path + "kernel", _NO_KMEM)
    if memory.get("kernelTCP"):
        file = directory + "/memory.kmem.tcp.limit_in_bytes"
        put(file, str(memory["kernelTCP"]), path + "kernelTCP")
    if memory.get("swappiness") is not None:
        file = directory + "/memory.swappiness"
        put(file, str(memory["swappiness"]), path + "swappiness")
    disable = memory.get("disableOOMKiller")
    if disable or (update and disable is not None):
        put(directory + "/memory.oom_control", str(int(disable)), path + "disableOOMKiller")
    if memory.get("useHierarchy"):
        put(directory + "/memory.use_hierarchy", "1", path + "useHierarchy")


def _memory_limit(directory: str, limit: int) -> bool:
    """False: the kernel wants memory+swap changed first."""
    file = directory + "/memory.limit_in_bytes"
    try:
        write_file(file, str(limit))
    except OSError as e:
        if e.errno == errno.EINVAL:
            return False
        if e.errno != errno.EBUSY:
            raise files.refused(file, str(limit), e.errno or 0, _R + "memory.limit") from None
        usage = files.get(directory + "/memory.usage_in_bytes").strip()
        peak = files.get(directory + "/memory.max_usage_in_bytes").strip()
        raise files.failure(
            f"unable to set memory limit to {limit} (current usage: {usage}, peak usage: {peak})",
            file,
            errno.EBUSY,
            _R + "memory.limit",
            "write",
            "set a limit above the usage",
        ) from None
    return True


def _cpu(paths: Paths, cpu: dict[str, Any], made: list[str]) -> None:
    path = _R + "cpu."
    for name in ("cpus", "mems"):
        if cpu.get(name):
            put(f"{paths['cpuset']}/cpuset.{name}", cpu[name], path + name)
    if "cpu" not in paths:
        return
    directory = paths["cpu"]
    idle = cpu.get("idle")
    if idle is not None:
        put(directory + "/cpu.idle", str(idle), path + "idle", () if idle else (errno.ENOENT,))
    if cpu.get("shares") and not idle:  # an idle group's shares can't be set
        put(directory + "/cpu.shares", str(cpu["shares"]), path + "shares")
    # A real-time budget is taken from the parent's: so parents first.
    for each in made or [directory]:
        if cpu.get("realtimePeriod"):
            file = each + "/cpu.rt_period_us"
            put(file, str(cpu["realtimePeriod"]), path + "realtimePeriod")
        if cpu.get("realtimeRuntime"):
            file = each + "/cpu.rt_runtime_us"
            put(file, str(cpu["realtimeRuntime"]), path + "realtimeRuntime")
    quota, period, burst = cpu.get("quota"), cpu.get("period"), cpu.get("burst")
    # The three bound each other: what doesn't fit the old quota is set after the new one.
    soft = (errno.EINVAL,) if quota else ()
    late = []
    for name, file, value in (
        ("period", "/cpu.cfs_period_us", period or None),
        ("burst", "/cpu.cfs_burst_us", burst),
    ):
        if value is not None and not put(directory + file, str(value), path + name, soft):
            late.append((directory + file, str(value), path + name))
    if quota:
        put(directory + "/cpu.cfs_quota_us", str(max(quota, -1)), path + "quota")
    for file, text, where in late:
        put(file, text, where)


def _devices(directory: str, listed: list[dict[str, Any]], fresh: bool) -> None:
    rules = devices.rules(listed)
    if fresh and devices.allows_all(rules):
        return  # a new cgroup has its parent's rules, and can't have more
    fds: dict[bool, int] = {}
    try:
        for rule in rules:
            allow = rule[0]
            name = "devices.allow" if allow else "devices.deny"
            text = devices.line(rule)
            try:
                if allow not in fds:
                    fds[allow] = posix.open(f"{directory}/{name}", posix.O_WRONLY | posix.O_CLOEXEC)
                posix.write(fds[allow], text.encode())
            except OSError as e:
                raise files.refused(f"{directory}/{name}", text, e.errno or 0, _R + "devices") from None
    finally:
        for fd in fds.values():
            posix.close(fd)


def _block_io(directory: str, block: dict[str, Any]) -> None:
    path = _R + "blockIO."
    bfq = ""
    if block.get("weight") or block.get("weightDevice"):
        # CFQ's files are gone from Linux 5.0 on; BFQ has the same under its own name.
        bfq = "" if files.exists(directory + "/blkio.weight") else "bfq."
    for key, name in (("weight", f"blkio.{bfq}weight"), ("leafWeight", "blkio.leaf_weight")):
        if block.get(key):
            put(f"{directory}/{name}", str(block[key]), path + key)
    for number, device in enumerate(block.get("weightDevice") or []):
        which = f"{device['major']}:{device['minor']}"
        for key, name in (
            ("weight", f"blkio.{bfq}weight_device"),
            ("leafWeight", "blkio.leaf_weight_device"),
        ):
            if device.get(key):
                where = f"{path}weightDevice[{number}].{key}"
                put(f"{directory}/{name}", f"{which} {device[key]}", where)
    for key, name in THROTTLES:
        for number, device in enumerate(block.get(key) or []):
            text = f"{device['major']}:{device['minor']} {device['rate']}"
            put(f"{directory}/{name}", text, f"{path}{key}[{number}]")


def _hugepages(directory: str, limit: dict[str, Any], path: str) -> None:
    size = limit["pageSize"]
    name = f"{directory}/hugetlb.{size}."
    if "/" in size or not files.exists(name + "limit_in_bytes"):
        raise unknown_page_size(size, path)
    put(name + "limit_in_bytes", str(limit["limit"]), path + ".limit")
    put(name + "rsvd.limit_in_bytes", str(limit["limit"]), path + ".limit", (errno.ENOENT,))


def unknown_page_size(size: str, path: str) -> Error:
    return files.failure(
        f"this kernel has no huge pages of size {size}",
        size,
        errno.ENOENT,
        path + ".pageSize",
        hint="see the names in /sys/kernel/mm/hugepages",
    )


def inherit_cpuset(mountpoint: str, leaf: str, new: bool) -> None:
    """Give ``leaf`` and its parents CPUs and memory nodes: a new v1 cpuset has none.

    new: the leaf was just made, so it need not be read.
    """
    for name in ("/cpuset.cpus", "/cpuset.mems"):
        empty = [leaf] if new else []
        directory = leaf.rpartition("/")[0] if new else leaf
        # The root of the hierarchy is never empty.
        while (
            not (value := files.get(directory + name, "linux.cgroupsPath").strip())
            and directory != mountpoint
        ):
            empty.append(directory)
            directory = directory.rpartition("/")[0]
        for directory in reversed(empty):
            put(directory + name, value, "linux.cgroupsPath")
