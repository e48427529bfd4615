"""The config.json that ``pyrunc spec`` writes; the same as runc's."""

from __future__ import annotations

import posix

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
        uid, gid_number = posix.geteuid(), posix.getegid()
        linux["uidMappings"] = [{"containerID": 0, "hostID": uid, "size": 1}]
        linux["gidMappings"] = [{"containerID": 0, "hostID": gid_number, "size": 1}]
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
