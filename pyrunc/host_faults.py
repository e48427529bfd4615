"""What is wrong with a config.json on this host: files that it names and that are something else, or missing.

Slow leaf: create finds the same when it opens them.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyrunc.vocabulary.namespaces import NAMESPACES

if TYPE_CHECKING:
    from pyrunc.rules import Found

_NS_GET_NSTYPE = 0xB703
_CONTROLLERS = {
    *("cgroup", "cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc", "dmem"),
    *("perf_event", "irq"),
}


def host_faults(document: dict[str, Any], bundle: str) -> Iterator[Found]:
    """``bundle``: the directory of config.json; "" leaves out the look for the root filesystem."""
    path = _member(document.get("root"), "path")
    if bundle and isinstance(path, str) and path and "\0" not in path:
        yield from _root(os.path.join(bundle, path))
    linux = document.get("linux")
    spaces = _member(linux, "namespaces")
    for index, entry in enumerate(spaces if isinstance(spaces, list) else []):
        kind, path = _member(entry, "type"), _member(entry, "path")
        if not (isinstance(kind, str) and isinstance(path, str)) or "\0" in path:
            continue
        if kind in NAMESPACES and path.startswith("/") and not _is_namespace(path, NAMESPACES[kind]):
            message = f"{path} is not a namespace of type {kind}"
            yield ("linux", "namespaces", index, "path"), message, ""
    unified = _member(_member(linux, "resources"), "unified")
    for key in unified if isinstance(unified, dict) else ():
        controller = key.partition(".")[0]
        if controller not in _CONTROLLERS and controller not in _host_controllers():
            message = f"there is no cgroup controller {controller}"
            yield ("linux", "resources", "unified", key), message, ""


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _root(path: str) -> Iterator[Found]:
    if not os.path.isdir(path):
        hint = "unpack an image there, or let root.path name the directory that holds it"
        shown = path if len(path) <= 200 else f"{path[:200]}..."
        yield ("root", "path"), f"there is no directory {shown}", hint


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


def _host_controllers() -> set[str]:
    try:
        with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as file:
            return set(file.read().split())
    except OSError:
        return set()
