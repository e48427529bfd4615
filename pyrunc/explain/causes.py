"""Why the kernel refused a call: the known causes, each looked for on this host.

The first rule that finds its cause gives the hint; where none does, ``remedies`` has the likeliest one.
"""

from __future__ import annotations

import errno

from pyrunc.explain.remedies import remedy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.explain.host import Host

# The first Linux that has a call: what pyrunc needs beyond the oldest ones.
SINCE = {
    "clone3": (5, 3),
    "close_range": (5, 11),  # with CLOSE_RANGE_CLOEXEC
    "execveat": (3, 19),
    "faccessat2": (5, 8),
    "fsconfig": (5, 2),
    "fsmount": (5, 2),
    "fsopen": (5, 2),
    "memfd_create": (3, 17),
    "mount_setattr": (5, 12),
    "move_mount": (5, 2),
    "open_tree": (5, 2),
    "openat2": (5, 6),
    "pidfd_open": (5, 3),
    "pidfd_send_signal": (5, 1),
}
# These never answer EPERM by themselves: somebody answers in the kernel's place.
_NEVER_EPERM = {"close_range", "memfd_create", "openat2", "pidfd_open", "faccessat2"}
_DENIED = (errno.EPERM, errno.EACCES)


class Refusal:
    """A call that the kernel refused.

    call: its name. errno: how. subject: the file, type or name that it was about.
    step: the step of the plan ("" in the parent). source: of a mount, the path on the host.
    user_namespace: the call was made in a new one, or to make one.
    """

    __slots__ = ("call", "errno", "subject", "step", "source", "user_namespace")

    def __init__(
        self,
        call: str,
        errno: int,
        subject: str = "",
        step: str = "",
        source: str = "",
        user_namespace: bool = False,
    ) -> None:
        self.call = call
        self.errno = errno
        self.subject = subject
        self.step = step
        self.source = source
        self.user_namespace = user_namespace


def cause(refusal: Refusal, host: Host) -> str:
    """Cause and remedy, as a hint; "" where nothing is known."""
    for rule in _RULES:
        found = rule(refusal, host)
        if found:
            return found
    return remedy(refusal.call, refusal.step, refusal.errno)


def denied(refusal: Refusal, host: Host) -> str:
    """A call that this kernel doesn't have, or that a seccomp filter around pyrunc answers."""
    call = refusal.call
    since = SINCE.get(call)
    if since is None or refusal.errno not in (errno.EPERM, errno.ENOSYS):
        return ""
    needed = f"Linux {since[0]}.{since[1]}"
    if refusal.errno == errno.ENOSYS and host.kernel < since:
        return f"{call} needs {needed}, this kernel is {host.kernel[0]}.{host.kernel[1]}: pyrunc needs 5.12"
    if refusal.errno == errno.EPERM and call not in _NEVER_EPERM and not (host.filtered and host.privileged):
        return ""
    return (
        f"{call} is in {needed} and later, so a seccomp filter around pyrunc answers for the kernel: allow "
        f"{call} in the profile of the outer container or service (SystemCallFilter= of systemd), or start "
        "it with --security-opt seccomp=unconfined"
    )


def _memory_files(refusal: Refusal, host: Host) -> str:
    if refusal.call != "memfd_create" or refusal.errno != errno.EACCES:
        return ""
    if host.text("/proc/sys/vm/memfd_noexec") != "2":
        return ""
    return (
        "this pid namespace lets nobody execute a file in memory, as pyrunc-init is: sysctl vm.memfd_noexec=1"
    )


def _user_namespaces(refusal: Refusal, host: Host) -> str:
    if refusal.call not in ("clone3", "unshare") or not refusal.user_namespace:
        return ""
    if refusal.errno == errno.ENOSPC and host.is_zero("/proc/sys/user/max_user_namespaces"):
        return "user namespaces are off here: sysctl user.max_user_namespaces=15000"
    if refusal.errno not in _DENIED:
        return ""
    if host.is_zero("/proc/sys/kernel/unprivileged_userns_clone") and not host.privileged:
        return "user namespaces are only for root here: sysctl kernel.unprivileged_userns_clone=1"
    return _apparmor_restriction(host) or (
        "the kernel makes no user namespace in a chroot, nor where the caller's own ids are not mapped"
    )


def _apparmor_restriction(host: Host) -> str:
    switch = "kernel/apparmor_restrict_unprivileged_userns"
    if host.text(f"/proc/sys/{switch}") != "1" or (host.privileged and not host.in_user_namespace):
        return ""
    return (
        "AppArmor lets no unprivileged program use a user namespace here: give pyrunc a profile with the "
        "rule "
        "`userns,` in /etc/apparmor.d, or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    )


def _namespace_limits(refusal: Refusal, host: Host) -> str:
    if refusal.call not in ("clone3", "unshare", "clone"):
        return ""
    if refusal.errno == errno.ENOSPC:
        return "a limit of /proc/sys/user/max_*_namespaces is reached: raise it, or delete containers"
    if refusal.errno == errno.EAGAIN:
        return (
            "no process can be made: pids.max of a cgroup above, ulimit -u of the caller, or "
            "kernel.pid_max is "
            "reached"
        )
    if refusal.errno == errno.EPERM and not host.privileged:
        return (
            "new namespaces need CAP_SYS_ADMIN: run pyrunc as root, or add a user namespace to "
            "linux.namespaces "
            "with linux.uidMappings and linux.gidMappings"
        )
    return ""


def _hidden_proc(refusal: Refusal, host: Host) -> str:
    """A new procfs or sysfs would show what somebody has hidden: fs/namespace.c, mount_too_revealing."""
    if refusal.step != "mount" or refusal.errno not in _DENIED:
        return ""
    place = {"proc": "/proc", "sysfs": "/sys"}.get(refusal.subject)
    if not place or not (host.in_user_namespace or refusal.user_namespace):
        return ""
    if refusal.subject == "sysfs":
        return (
            "sysfs can be mounted only by the user namespace that owns the network namespace: add "
            '{"type": "network"} to linux.namespaces, or bind /sys from the host'
        )
    hidden = host.hidden_below(place)
    if not hidden:
        return ""
    names = ", ".join(hidden[:3]) + (", …" if len(hidden) > 3 else "")
    return (
        f"parts of /proc are hidden here ({names}), as an outer container does; a new procfs would show "
        f"them. "
        "Start the outer one with --security-opt unmask=/proc/*, or bind /proc instead of mounting it"
    )


def _locked_flags(refusal: Refusal, host: Host) -> str:
    """mount_namespaces(7): flags that a less privileged mount namespace must not clear."""
    if refusal.call != "mount_setattr" or refusal.errno != errno.EPERM or not refusal.source:
        return ""
    mount = host.mount_of(refusal.source)
    if mount is None:
        return ""
    locked = sorted({"ro", "nosuid", "nodev", "noexec", "noatime"} & mount.options)
    if not locked:
        return ""
    return (
        f"{mount.point} on the host has the flags {','.join(locked)}, which a user namespace can't take "
        f"away: "
        f"add them to the options of this mount"
    )


def _read_only(refusal: Refusal, host: Host) -> str:
    if refusal.errno != errno.EROFS:
        return ""
    if refusal.step == "sysctl" or refusal.subject.startswith("/proc/sys"):
        return "/proc/sys is read-only here, as in an unprivileged outer container"
    mount = host.mount_of(refusal.source or refusal.subject)
    where = f" ({mount.point})" if mount and "ro" in mount.options else ""
    return (
        f"the file system{where} is read-only and {refusal.subject} does not exist in it: make it in the "
        "image, or choose a destination that exists"
    )


def _foreign_root(refusal: Refusal, host: Host) -> str:
    """The image belongs to ids of the host that the user namespace has not got."""
    made = refusal.call in ("openat2", "mknodat", "mkdirat")
    if not made or refusal.errno not in (errno.EACCES, errno.EOVERFLOW) or not refusal.user_namespace:
        return ""
    return (
        f"{refusal.subject} is missing, and the container's root may not make it in the root file system: "
        f"make "
        "it in the image, or chown the image to the ids of linux.uidMappings"
    )


def _descriptors(refusal: Refusal, host: Host) -> str:
    if refusal.errno == errno.EMFILE:
        for line in host.text(f"{host.process}/limits").splitlines():
            if line.startswith("Max open files"):
                return f"pyrunc's caller allows it {line.split()[3]} open files: raise ulimit -n"
        return "the caller's limit of open files is reached: raise ulimit -n"
    if refusal.errno == errno.ENFILE:
        return "the host's limit of open files is reached: sysctl fs.file-max"
    return ""


def _file_system(refusal: Refusal, host: Host) -> str:
    if refusal.step != "mount" or refusal.call != "fsopen" or refusal.errno != errno.ENODEV:
        return ""
    known = [line.split()[-1] for line in host.text("/proc/filesystems").splitlines() if line]
    near = [name for name in known if name[:3] == refusal.subject[:3]]
    known_as = f" (there is: {', '.join(near)})" if near else ""
    return (
        f"this kernel knows no file system {refusal.subject!r}{known_as}: correct the type, or modprobe "
        f"{refusal.subject}; for a bind put bind or rbind among the options"
    )


_POLICY = "the policy doesn't know the label, or doesn't let pyrunc set it (ausearch -m avc)"


def _security_module(refusal: Refusal, host: Host) -> str:
    if refusal.step == "proc_write" and "apparmor" in refusal.subject:
        if host.text("/sys/module/apparmor/parameters/enabled") != "Y":
            return "AppArmor is not enabled on this host: remove process.apparmorProfile"
        if refusal.errno == errno.ENOENT:
            return "the profile is not loaded: apparmor_parser -r FILE; `aa-status` lists those that are"
    elif refusal.step == "proc_write" and refusal.subject.startswith("attr/"):
        if not host.text("/sys/fs/selinux/enforce"):
            return "SELinux is not enabled on this host: remove process.selinuxLabel"
        return _POLICY
    if refusal.call == "fsetxattr" or refusal.subject.startswith("context="):
        return f"{_POLICY}; correct linux.mountLabel, or context= of this mount"
    if refusal.errno != errno.EACCES or not host.privileged:
        return ""
    label = host.text(f"{host.process}/attr/current").rstrip("\0")
    if label and not label.startswith("unconfined") and label != "kernel":
        return (
            f"pyrunc is confined by a security module ({label}): look for denials in dmesg or the audit log"
        )
    return ""


def _id_maps(refusal: Refusal, host: Host) -> str:
    if refusal.step != "id maps":
        return ""
    if refusal.errno == errno.EPERM and not host.privileged:
        return (
            "an unprivileged user may map only its own id: give it a range in /etc/subuid and /etc/subgid "
            "(usermod --add-subuids 100000-165535 USER), and install uidmap (newuidmap)"
        )
    if refusal.errno == errno.EPERM:
        return "a hostID of the map is not in /proc/self/uid_map of the user namespace that pyrunc runs in"
    if refusal.errno == errno.EINVAL:
        return "ranges overlap, a size is 0, or there are over 340: correct containerID, hostID or size"
    return ""


_RULES: tuple[Callable[[Refusal, Host], str], ...] = (
    denied,
    _memory_files,
    _descriptors,
    _user_namespaces,
    _namespace_limits,
    _id_maps,
    _hidden_proc,
    _locked_flags,
    _read_only,
    _foreign_root,
    _file_system,
    _security_module,
)
