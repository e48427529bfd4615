"""The rules of config.json that are prose in the specification. Part of ``validate``.

A value of the wrong type is the schema's business: here it counts as absent.
Every rule gives (where, message, hint).
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from typing import Any, TypeGuard

Where = tuple[str | int, ...]
Found = tuple[Where, str, str]

_NS_GET_NSTYPE = 0xB703
_CLONE = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
    "time": 0x00000080,
}
_CONTROLLERS = {
    *("cgroup", "cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc", "dmem"),
    *("perf_event", "irq"),
}
_IPC_SYSCTLS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
_READ = ("root", "hostname", "domainname", "mounts", "process", "hooks", "annotations", "linux")


def _object(value: Any, *names: str) -> dict[str, Any]:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _items(value: dict[str, Any], name: str) -> list[tuple[int, dict[str, Any]]]:
    """The objects of an array, with their indices."""
    array = value.get(name)
    if not isinstance(array, list):
        return []
    return [(index, item) for index, item in enumerate(array) if isinstance(item, dict)]


def _is_int(value: Any) -> TypeGuard[int]:
    return type(value) is int


def config(document: dict[str, Any], bundle: str) -> list[Found]:
    """Faults of a whole config.json; ``bundle`` "" leaves out the look for the rootfs."""
    linux = _object(document, "linux")
    spaces = {
        item["type"]: str(item.get("path") or "")
        for _, item in _items(linux, "namespaces")
        if isinstance(item.get("type"), str)
    }
    found: list[Found] = []
    for name in _READ:
        found += _nul(document.get(name), (name,))
    for name in ("hostname", "domainname"):
        if document.get(name) and "uts" not in spaces:
            found.append(((name,), f"{name} without a uts namespace", "add the namespace uts"))
    found += _root(document, bundle)
    found += _process(_object(document, "process"), ("process",))
    found += _mounts(document, spaces)
    found += _namespaces(linux)
    found += _mappings(linux, spaces)
    found += _linux(linux, spaces)
    found += _resources(_object(linux, "resources"))
    found += _seccomp(_object(linux, "seccomp"))
    return found


def process(document: dict[str, Any]) -> list[Found]:
    """Faults of a process object that stands alone."""
    return [*_nul(document, ()), *_process(document, ())]


def _nul(value: Any, where: Where) -> Iterator[Found]:
    """Text that no system call can be given."""
    if isinstance(value, str):
        if "\0" in value:
            yield where, "must not contain a NUL character", ""
        if any("\ud800" <= character <= "\udfff" for character in value):
            yield where, "half of a surrogate pair is no character", ""
    elif isinstance(value, dict):
        for name, item in value.items():
            if "\0" in name:
                yield (*where, name), "the name must not contain a NUL character", ""
            yield from _nul(item, (*where, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nul(item, (*where, index))


def _root(document: dict[str, Any], bundle: str) -> Iterator[Found]:
    path = _object(document, "root").get("path")
    checkable = bundle and isinstance(path, str) and path and "\0" not in path
    if checkable and not os.path.isdir(os.path.join(bundle, str(path))):
        yield ("root", "path"), f"there is no directory {path!r}", "make the root filesystem"


def _process(entry: dict[str, Any], where: Where) -> Iterator[Found]:
    if entry and "args" not in entry:
        yield (*where, "args"), "is required", ""
    seen: set[str] = set()
    for index, limit in _items(entry, "rlimits"):
        here = (*where, "rlimits", index)
        kind, soft, hard = limit.get("type"), limit.get("soft"), limit.get("hard")
        if isinstance(kind, str):
            if kind in seen:
                yield (*here, "type"), f"{kind} is there more than once", ""
            seen.add(kind)
        if _is_int(soft) and _is_int(hard) and soft > hard:
            yield (*here, "soft"), f"soft limit {soft} is above the hard limit {hard}", ""


def _mounts(document: dict[str, Any], spaces: dict[str, str]) -> Iterator[Found]:
    for index, mount in _items(document, "mounts"):
        where: Where = ("mounts", index)
        mapped = bool(mount.get("uidMappings")), bool(mount.get("gidMappings"))
        if mapped[0] != mapped[1]:
            missing = "gidMappings" if mapped[0] else "uidMappings"
            yield (*where, missing), "uidMappings and gidMappings need each other", ""
        options = mount.get("options")
        for position, option in enumerate(options if isinstance(options, list) else []):
            if option in ("idmap", "ridmap") and not any(mapped) and "user" not in spaces:
                message = f"{option} without mappings and without a user namespace"
                yield (*where, "options", position), message, ""


def _namespaces(linux: dict[str, Any]) -> Iterator[Found]:
    seen: set[str] = set()
    for index, entry in _items(linux, "namespaces"):
        where: Where = ("linux", "namespaces", index)
        kind, path = entry.get("type"), entry.get("path")
        if isinstance(kind, str):
            if kind in seen:
                yield (*where, "type"), f"namespace {kind} is there more than once", ""
            seen.add(kind)
        if not isinstance(path, str) or not path or "\0" in path:
            continue
        if not path.startswith("/"):
            yield (*where, "path"), "must be an absolute path", ""
        elif isinstance(kind, str) and kind in _CLONE and not _is_namespace(path, _CLONE[kind]):
            yield (*where, "path"), f"{path} is not a namespace of type {kind}", ""


def _is_namespace(path: str, kind: int) -> bool:
    """False if the file is there and is something else; what cannot be asked is let pass."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_dev != os.stat("/proc/self/ns/mnt").st_dev:
            return False
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return fcntl.ioctl(fd, _NS_GET_NSTYPE) == kind
        finally:
            os.close(fd)
    except (OSError, ValueError):
        return True


def _mappings(linux: dict[str, Any], spaces: dict[str, str]) -> Iterator[Found]:
    for name in ("uidMappings", "gidMappings"):
        if linux.get(name) and "user" not in spaces:
            yield ("linux", name), f"{name} without a user namespace", "add the namespace user"
        if "user" in spaces and not spaces["user"] and not linux.get(name):
            yield ("linux", name), "is required for a new user namespace", ""
    if linux.get("timeOffsets"):
        if "time" not in spaces:
            yield ("linux", "timeOffsets"), "timeOffsets without a time namespace", ""
        elif spaces["time"]:
            yield ("linux", "timeOffsets"), "a namespace that is joined has its offsets", ""


def _linux(linux: dict[str, Any], spaces: dict[str, str]) -> Iterator[Found]:
    for index, device in _items(linux, "devices"):
        for name in ("major", "minor"):
            if device.get("type") != "p" and name not in device:
                yield ("linux", "devices", index, name), "is required", ""
    devices = _object(linux, "netDevices")
    if devices and "network" not in spaces:
        yield ("linux", "netDevices"), "netDevices without a network namespace", ""
    for host, device in devices.items():
        for name in (host, _object(device).get("name") or host):
            if isinstance(name, str) and not _interface_name(name):
                yield ("linux", "netDevices", host), f"{name!r} cannot name an interface", ""
    for key in _object(linux, "sysctl"):
        yield from _sysctl(key, spaces)
    policy = _object(linux, "memoryPolicy")
    mode = policy.get("mode")
    if mode in ("MPOL_DEFAULT", "MPOL_LOCAL") and policy.get("nodes"):
        yield ("linux", "memoryPolicy", "nodes"), f"{mode} takes no nodes", ""
    if mode in ("MPOL_BIND", "MPOL_INTERLEAVE") and not policy.get("nodes"):
        yield ("linux", "memoryPolicy", "nodes"), f"{mode} needs at least one node", ""
    clos = _object(linux, "intelRdt").get("closID")
    if isinstance(clos, str) and (clos in (".", "..") or ("/" in clos and clos != "/")):
        yield ("linux", "intelRdt", "closID"), "must be the name of one directory", ""


def _interface_name(name: str) -> bool:
    bad = any(character in "/:" or character.isspace() for character in name)
    return 0 < len(name.encode("utf-8", "replace")) <= 15 and name not in (".", "..") and not bad


def _sysctl(key: str, spaces: dict[str, str]) -> Iterator[Found]:
    where: Where = ("linux", "sysctl", key)
    # "/" separates as well, and then "." is part of a name, as in sysctl(8).
    separators = [character for character in key if character in "./"]
    name = key
    if separators and separators[0] == "/":
        name = key.translate({ord("."): "/", ord("/"): "."})
    needs = {"net.": "network", "user.": "user"}
    if any(step in ("", ".", "..", "/", "//") for step in name.split(".")):
        yield where, "is not the name of a kernel parameter", ""
    elif name == "kernel.hostname":
        yield where, "is set by hostname", "use hostname"
    elif name == "kernel.domainname":
        if "uts" not in spaces:
            yield where, "needs a uts namespace of the container", ""
    elif name.startswith(_IPC_SYSCTLS):
        if "ipc" not in spaces:
            yield where, "needs an ipc namespace of the container", ""
    elif name.startswith(tuple(needs)):
        space = needs[name.partition(".")[0] + "."]
        if space not in spaces:
            yield where, f"needs a {space} namespace of the container", ""
    else:
        yield where, "is not in a namespace, so it would change the host", ""


def _resources(resources: dict[str, Any]) -> Iterator[Found]:
    top: Where = ("linux", "resources")
    cpu = _object(resources, "cpu")
    burst, quota = cpu.get("burst"), cpu.get("quota")
    if _is_int(burst) and _is_int(quota) and 0 < quota < burst:
        yield (*top, "cpu", "burst"), f"burst {burst} is above the quota {quota}", ""
    for index, device in _items(_object(resources, "blockIO"), "weightDevice"):
        if "weight" not in device and "leafWeight" not in device:
            yield (*top, "blockIO", "weightDevice", index), "needs weight or leafWeight", ""
    for name, limits in _object(resources, "rdma").items():
        if isinstance(limits, dict) and not {"hcaHandles", "hcaObjects"} & set(limits):
            yield (*top, "rdma", name), "needs hcaHandles or hcaObjects", ""
    for key in _object(resources, "unified"):
        where = (*top, "unified", key)
        controller, _, rest = key.partition(".")
        if "/" in key or not rest:
            yield where, "is not the name of a file of a cgroup controller", ""
        elif controller not in _CONTROLLERS | _host_controllers():
            yield where, f"there is no cgroup controller {controller}", ""


def _host_controllers() -> set[str]:
    try:
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as file:
            return set(file.read().split())
    except OSError:
        return set()


def _seccomp(profile: dict[str, Any]) -> Iterator[Found]:
    top: Where = ("linux", "seccomp")
    default = profile.get("defaultAction")
    if default == "SCMP_ACT_NOTIFY":
        yield (*top, "defaultAction"), "SCMP_ACT_NOTIFY cannot be the default", ""
    yield from _errno(default, profile.get("defaultErrnoRet"), (*top, "defaultErrnoRet"))
    listens = bool(profile.get("listenerPath"))
    if profile.get("listenerMetadata") and not listens:
        yield (*top, "listenerMetadata"), "listenerMetadata without listenerPath", ""
    for index, rule in _items(profile, "syscalls"):
        where = (*top, "syscalls", index)
        action, names = rule.get("action"), rule.get("names")
        yield from _errno(action, rule.get("errnoRet"), (*where, "errnoRet"))
        if action == "SCMP_ACT_NOTIFY":
            if isinstance(names, list) and "write" in names:
                yield (*where, "action"), "SCMP_ACT_NOTIFY cannot be used on write", ""
            if not listens:
                yield (*top, "listenerPath"), "is required for SCMP_ACT_NOTIFY", ""


def _errno(action: Any, value: Any, where: Where) -> Iterator[Found]:
    if not isinstance(action, str) or not _is_int(value):
        return
    largest = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 0xFFFF}.get(action)
    if largest is None:
        yield where, f"{action} has no errno, so this must not be set", ""
    elif value > largest:
        yield where, f"must be at most {largest}, is {value}", ""
