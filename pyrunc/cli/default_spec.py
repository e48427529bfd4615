"""The config.json that ``pyrunc spec`` writes; the same as runc's."""

from __future__ import annotations

import posix
import pwd
import shutil

from pyrunc.cli import json_text, report
from pyrunc.errors import AlreadyExists

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CAPABILITIES = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]

_MASKED = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
]
_READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def _mount(destination: str, type: str, source: str, options: str = "") -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": destination, "type": type, "source": source}
    if options:
        mount["options"] = options.split(",")
    return mount


def default_spec(rootless: bool = False, cgroup2: bool = True) -> dict[str, Any]:
    """A config.json as a dict; a cgroup namespace is only asked for on cgroup v2."""
    gid = "" if rootless else ",gid=5"
    mounts = [
        _mount("/proc", "proc", "proc"),
        _mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            f"nosuid,noexec,newinstance,ptmxmode=0666,mode=0620{gid}",
        ),
        _mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
        _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
        _mount("/sys", "none", "/sys", "rbind,nosuid,noexec,nodev,ro")
        if rootless
        else _mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
    ]
    namespaces = ["pid", "network", "ipc", "uts", "mount"]
    if rootless:
        namespaces.remove("network")
        namespaces.append("user")
    if cgroup2:
        namespaces.append("cgroup")
    linux: dict[str, Any] = {}
    if rootless:
        linux["uidMappings"] = _own_maps(posix.geteuid(), "uid")
        linux["gidMappings"] = _own_maps(posix.getegid(), "gid")
    else:
        linux["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}
    linux["namespaces"] = [{"type": name} for name in namespaces]
    linux["maskedPaths"] = list(_MASKED)
    linux["readonlyPaths"] = list(_READONLY)
    return {
        "ociVersion": "1.3.0",
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": list(_CAPABILITIES),
                "effective": list(_CAPABILITIES),
                "permitted": list(_CAPABILITIES),
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyrunc",
        "mounts": mounts,
        "linux": linux,
    }


def _own_maps(own: int, kind: str) -> list[dict[str, int]]:
    """Root is the caller; the ids from 1 on are his subordinate ones, if there is somebody to map them."""
    maps = [{"containerID": 0, "hostID": own, "size": 1}]
    if shutil.which(f"new{kind}map") and posix.geteuid() != 0:
        first = 1
        for start, count in subordinate_ids(f"/etc/sub{kind}"):
            maps.append({"containerID": first, "hostID": start, "size": count})
            first += count
    return maps


def subordinate_ids(file: str) -> list[tuple[int, int]]:
    """The (first, count) that /etc/subuid or /etc/subgid gives to the caller: subuid(5)."""
    names = {str(posix.geteuid())}
    try:
        names.add(pwd.getpwuid(posix.geteuid()).pw_name)
        with open(file, encoding="utf-8") as lines:
            entries = [line.strip().split(":") for line in lines]
    except (KeyError, OSError):
        return []
    return [(int(e[1]), int(e[2])) for e in entries if len(e) == 3 and e[0] in names]


def _has_cgroup2() -> bool:
    try:
        posix.stat("/sys/fs/cgroup/cgroup.controllers")
    except OSError:
        return False
    return True


def write(bundle: str, rootless: bool) -> None:
    """Writes config.json into the directory bundle. Raises AlreadyExists, Error."""
    text = json_text.dump(default_spec(rootless, _has_cgroup2()), "\t") + "\n"
    path = f"{bundle}/config.json"
    try:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
        fd = posix.open(path, flags, 0o666)
    except FileExistsError as error:
        raise AlreadyExists(
            "File config.json exists. Remove it first", code="exists", subject=path
        ) from error
    except OSError as error:
        raise report.from_os_error(f"open {path}", error) from error
    complete = report.write(fd, text)
    posix.close(fd)
    if not complete:
        posix.unlink(path)
        raise report.from_os_error(f"write {path}", OSError(28, "no space left on device"))
