"""Devices: the default ones of config-linux.md, linux.devices, and the links under /dev."""

from __future__ import annotations

from pyrunc.plan import opcodes
from pyrunc.spec import ID_MAX, normal_path
from pyrunc.vocabulary.mount_options import is_bind
from pyrunc.vocabulary.namespaces import CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Host, Plan
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.spec import Object, Spec

S_IFIFO, S_IFCHR, S_IFBLK = 0o010000, 0o020000, 0o060000
MAJOR_MAX, MINOR_MAX = 0xFFF, 0xFFFFF  # what the kernel's own number of a device holds
_TYPES = {"c": S_IFCHR, "u": S_IFCHR, "b": S_IFBLK, "p": S_IFIFO}

_DEFAULT = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
_LINKS = (
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
)


def makedev(major: int, minor: int) -> int:
    """The kernel's number of a device (64 bits): makedev(3)."""
    return (minor & 0xFF) | (major & 0xFFF) << 8 | (minor & ~0xFF) << 12 | (major & ~0xFFF) << 32


def devices(plan: Plan, spec: Spec, namespaces: Namespaces, host: Host) -> None:
    """After the mounts. A /dev that is bound from elsewhere is left as it is, as runc does."""
    if _is_bound(spec, "/dev"):
        return
    # mknod isn't possible in a user namespace, be it the container's or the one that we are in.
    bind = namespaces.has(CLONE_NEWUSER) or host.in_user_namespace
    wanted = {item.text("path"): item for item in spec.linux.children("devices")}
    for path, major, minor in _DEFAULT:
        if path not in wanted:
            rdev = makedev(major, minor)
            _node(plan, bind, path, S_IFCHR | 0o666, rdev, 0, 0, "linux.devices")
    for path, item in wanted.items():
        _device(plan, item, path, bind)
    if any(normal_path(mount.text("destination")) == "/proc" for mount in spec.children("mounts")):
        for target, path in _LINKS:
            plan.add(opcodes.SYMLINK, target, path, 0)
    if any(mount.text("type") == "devpts" for mount in spec.children("mounts")):
        plan.add(opcodes.SYMLINK, "pts/ptmx", "/dev/ptmx", 1)


def _device(plan: Plan, item: Object, path: str, bind: bool) -> None:
    kind = _TYPES.get(item.text("type"), 0)
    if not kind:
        raise item.refuse("type")
    if path[:1] != "/":
        raise item.refuse("path", "not absolute")
    rdev = 0
    if kind != S_IFIFO:
        rdev = makedev(
            item.required_number("major", 0, MAJOR_MAX), item.required_number("minor", 0, MINOR_MAX)
        )
    # Engines send the whole st_mode (podman --privileged) or Go's os.FileMode with its high bits.
    mode = item.number("fileMode", 0o666, 0, 0xFFFFFFFF) & 0o777
    uid, gid = item.number("uid", 0, 0, ID_MAX), item.number("gid", 0, 0, ID_MAX)
    _node(plan, bind, path, kind | mode, rdev, uid, gid, item.path)


def _node(
    plan: Plan,
    bind: bool,
    path: str,
    mode: int,
    rdev: int,
    uid: int,
    gid: int,
    json_path: str,
) -> None:
    if bind and mode & 0o170000 != S_IFIFO:
        plan.add(opcodes.BIND_DEVICE, path, path, mode & 0o170000, rdev, path=json_path)
    else:
        plan.add(opcodes.MKNOD, path, mode, rdev, uid, gid, path=json_path)


def _is_bound(spec: Spec, path: str) -> bool:
    for mount in spec.children("mounts"):
        if normal_path(mount.text("destination")) == path:
            return is_bind(mount.texts("options"))
    return False
