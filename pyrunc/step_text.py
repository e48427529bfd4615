"""The arguments of a step, by name and for people. Slow leaf of ``plan`` and of traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyrunc.plan import FD_CONSOLE, FD_INIT, opcodes
from pyrunc.vocabulary import mount_options as options
from pyrunc.vocabulary.capabilities import CAPABILITIES
from pyrunc.vocabulary.namespaces import NAMESPACES
from pyrunc.vocabulary.rlimits import RLIMITS

if TYPE_CHECKING:
    from pyrunc.plan import Plan, Step

    Value = str | int | list[str]

# Names of the arguments, in the order of the step's signature; "" leaves one out. plan.h says what they are.
_NAMES: dict[int, tuple[str, ...]] = {
    opcodes.CGROUP_JOIN: ("", "file"),
    opcodes.CGROUP_BIND: ("source", "name"),
    opcodes.CGROUP_SEAL: ("attributes", "propagation"),
    opcodes.SETNS: ("file", "namespaces"),
    opcodes.UNSHARE: ("namespaces",),
    opcodes.TIME_NAMESPACE: ("offsets",),
    opcodes.SYNC: ("stage",),
    opcodes.BECOME_ROOT: ("",),
    opcodes.PROPAGATE: ("propagation",),
    opcodes.ROOTFS: ("", "directory"),
    opcodes.MOUNT: (
        *("type", "source", "parameters", "attributes", "propagation", "destination", "", "", "label"),
    ),
    opcodes.REMOUNT: ("parameters", "attributes", "recursive", "propagation", "destination"),
    opcodes.BIND: ("source", "attributes", "recursive", "propagation", "destination", "", "source"),
    opcodes.MKNOD: ("file", "mode", "device", "uid", "gid"),
    opcodes.BIND_DEVICE: ("source", "file", "", "device"),
    opcodes.SYMLINK: ("target", "file", ""),
    opcodes.MASK: ("file", ""),
    opcodes.READONLY: ("file",),
    opcodes.ROOT_PROPAGATION: ("propagation",),
    opcodes.HOOK: ("file", "args", "env", "timeout"),
    opcodes.PIVOT: ("how",),
    opcodes.CHROOT: ("",),
    opcodes.SYSCTL: ("parameter", "value"),
    opcodes.HOSTNAME: ("name",),
    opcodes.DOMAINNAME: ("name",),
    opcodes.CONSOLE: ("", "columns", "rows", "uid"),
    opcodes.PROC_WRITE: ("file", "value"),
    opcodes.PERSONALITY: ("domain",),
    opcodes.SCHEDULER: ("policy", "nice", "priority", "flags", "runtime", "deadline", "period"),
    opcodes.IO_PRIORITY: ("value",),
    opcodes.MEMORY_POLICY: ("mode", "", ""),
    opcodes.STDIO_OWNER: ("uid",),
    opcodes.RLIMIT: ("resource", "soft", "hard"),
    opcodes.BOUNDING: ("capabilities",),
    opcodes.SETGROUPS: ("groups",),
    opcodes.AFFINITY: ("cpus",),
    opcodes.HOME: ("uid",),
    opcodes.SETIDS: ("uid", "gid"),
    opcodes.UMASK: ("umask",),
    opcodes.CHDIR: ("directory",),
    opcodes.CAPABILITIES: ("effective", "permitted", "inheritable"),
    opcodes.AMBIENT: ("ambient",),
    opcodes.LOOKUP: ("file", "PATH"),
    opcodes.SECCOMP: ("program",),
    opcodes.EXEC: ("args", "env"),
}
_CAPABILITY_SETS = ("capabilities", "effective", "permitted", "inheritable", "ambient")
_PROPAGATION = {
    options.MS_PRIVATE: "private",
    options.MS_SLAVE: "slave",
    options.MS_SHARED: "shared",
    options.MS_UNBINDABLE: "unbindable",
}
_PIVOTS = {
    opcodes.PIVOT_ROOT: "pivot_root",
    opcodes.PIVOT_MOVE: "move the mount to /",
    opcodes.PIVOT_CHROOT: "chroot",
}
_STAGES = {
    opcodes.STAGE_IDMAP: "the runtime writes the id maps",
    opcodes.STAGE_CGROUP: "the runtime has systemd make the cgroup",
    opcodes.STAGE_CREATE_RUNTIME: "the runtime runs its hooks",
}
_U64 = 0xFFFFFFFFFFFFFFFF


def arguments(plan: Plan, step: Step) -> dict[str, Value]:
    """The arguments that say something, by name."""
    found: dict[str, Value] = {}
    names = _NAMES.get(step.op, ())
    for index, kind in enumerate(opcodes.SIGNATURES[step.op]):
        name = names[index] if index < len(names) else "" if names else f"argument {index}"
        if not name:
            continue
        value: Value | bytes = step.arguments[index]
        if kind == "f" and isinstance(value, int):
            value = _descriptor(plan, value)
        shown = _shown(step.op, name, value)
        if shown not in ("", []):
            found[name] = shown
    return found


def _descriptor(plan: Plan, index: int) -> str:
    if not 0 <= index < len(plan.fds):
        return ""
    request = plan.fds[index]
    if request.kind == FD_CONSOLE:
        return "console"
    return "the container's process" if request.kind == FD_INIT else request.value


def _shown(op: int, name: str, value: Value | bytes) -> Value:
    """A value in the words of the specification."""
    if isinstance(value, bytes):
        if op == opcodes.SETGROUPS:
            return [str(int.from_bytes(value[at : at + 4], "little")) for at in range(0, len(value), 4)]
        if op == opcodes.AFFINITY:
            mask = int.from_bytes(value, "little")
            return [str(number) for number in range(mask.bit_length()) if mask >> number & 1]
        return f"{len(value) // 8} instructions" if op == opcodes.SECCOMP else f"{len(value)} bytes"
    if not isinstance(value, int):
        return value
    if name == "namespaces":
        return [kind for kind, flag in NAMESPACES.items() if value & flag]
    if name in _CAPABILITY_SETS:
        return [kind for kind, number in CAPABILITIES.items() if value >> number & 1]
    if name == "propagation":
        kind = _PROPAGATION.get(value & ~options.MS_REC, "")
        return f"r{kind}" if kind and value & options.MS_REC else kind
    if name in ("attributes", "recursive"):
        return _attributes(op, name, value)
    if name in ("mode", "umask") and op in (opcodes.MKNOD, opcodes.UMASK):
        return f"{value & 0o7777:04o}"
    if name == "device":
        major, minor = value >> 8 & 0xFFF | value >> 32 & ~0xFFF, value & 0xFF | value >> 12 & 0xFFFFFF00
        return f"{major}:{minor}" if value else ""
    if name == "stage":
        return _STAGES.get(value, str(value))
    if name == "how":
        return _PIVOTS.get(value, str(value))
    if name == "domain":
        return "LINUX32" if value == 8 else "LINUX"
    if name == "resource":
        return next((kind for kind, number in RLIMITS.items() if number == value), str(value))
    if name in ("soft", "hard") and value & _U64 == _U64:
        return "unlimited"
    return value


def _attributes(op: int, name: str, value: int) -> list[str]:
    """Flags of mount_setattr(2) as options. Binds and remounts have those to clear in the lower half."""
    both = op in (opcodes.BIND, opcodes.REMOUNT)
    set_ = value >> 32 if both else value
    cleared = value & 0xFFFFFFFF if both else 0
    found = []
    for option, (on, off) in options.ATTRIBUTES.items():
        field = options.ATIME if on & options.ATIME else on
        sets = on and set_ & field == on
        clears = not on and off != options.ATIME and cleared & off
        if sets or clears:
            found.append(f"r{option}" if name == "recursive" else option)
    return found
