"""What this host can do for containers, and how to get what it can't. Slow leaf of ``doctor``.

Each check looks at one thing and changes nothing. ``Host`` gives it the files of the host, so that tests can
make up hosts of their own.
"""

from __future__ import annotations

import glob
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

from pyrunc.explain.host import Host
from pyrunc.vocabulary.namespaces import NAMESPACE_FILES

OK, LIMITED, MISSING = "ok", "limited", "missing"
OLDEST = (5, 12)  # the first kernel with all that containers need: mount_setattr(2)
_NEEDED = (
    "CAP_SYS_ADMIN",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_MKNOD",
    "CAP_CHOWN",
    "CAP_NET_ADMIN",
)
_CONTROLLERS = {
    "v1": ("cpu", "cpuset", "memory", "pids", "devices", "freezer", "blkio", "hugetlb"),
    "v2": ("cpu", "cpuset", "memory", "pids", "io", "hugetlb"),
}
_LIBSECCOMP_REMEDY = "install libseccomp 2.5 or later (Debian: apt-get install libseccomp2)"


class Finding:
    """What a check has found.

    subject: what it is about.
    level: OK; LIMITED, when some containers can't have what they ask for; MISSING, when none can be started.
    text: the fact. remedy: what to do; "" if there is nothing to do.
    """

    __slots__ = ("subject", "level", "text", "remedy")

    def __init__(self, subject: str, level: str, text: str, remedy: str = "") -> None:
        self.subject = subject
        self.level = level
        self.text = text
        self.remedy = remedy


def examine(host: Host | None = None) -> list[Finding]:
    """All findings, in the order in which they matter."""
    here = host or Host()
    return [finding for check in CHECKS for finding in check(here)]


def kernel(host: Host) -> Iterator[Finding]:
    release = host.text("/proc/sys/kernel/osrelease")
    machine = os.uname().machine
    if host.kernel < OLDEST:
        wanted = f"{OLDEST[0]}.{OLDEST[1]}"
        yield Finding("kernel", MISSING, f"Linux {release}, {machine}", f"boot Linux {wanted} or later")
    elif machine not in ("x86_64", "aarch64"):
        yield Finding("kernel", MISSING, f"Linux {release}, {machine}", "x86_64 and aarch64 are supported")
    else:
        yield Finding("kernel", OK, f"Linux {release}, {machine}")


def memory_files(host: Host) -> Iterator[Finding]:
    """pyrunc-init is executed from a sealed file in memory: memfd_create(2)."""
    if host.text("/proc/sys/vm/memfd_noexec") == "2":
        yield Finding("memfd", MISSING, "files in memory can't be executed", "sysctl vm.memfd_noexec=1")


def snapshot(host: Host) -> Iterator[Finding]:
    """Whether this command was started from one. It isn't when a library, Python or pyrunc has changed."""
    if os.uname().machine != "x86_64":
        return
    if "python" in os.path.basename(os.readlink("/proc/self/exe")):
        remedy = (
            "pyrunc snapshot, as the user that calls it; again after each update of Python or its libraries"
        )
        yield Finding("snapshot", OK, "not used: every command starts an interpreter, which is slow", remedy)
    else:
        yield Finding("snapshot", OK, "used: commands start fast")


def privileges(host: Host) -> Iterator[Finding]:
    who = "root" if os.geteuid() == 0 else f"user {os.geteuid()}"
    if host.in_user_namespace:
        who += " in a user namespace"
    have = host.capabilities("CapEff")
    missing = [name for name in _NEEDED if name not in have]
    if os.geteuid() != 0:
        remedy = "containers need a user namespace; for others run pyrunc as root"
        yield Finding("privileges", LIMITED, who, remedy)
    elif missing:
        remedy = "give them to the service or the outer container that pyrunc runs in"
        yield Finding("privileges", LIMITED, f"{who} without {', '.join(missing)}", remedy)
    elif "CAP_SYS_RESOURCE" not in have:
        text = f"{who} without CAP_SYS_RESOURCE: hard limits can't be raised, oom_score_adj not lowered"
        yield Finding("privileges", LIMITED, text, "give it to the service or the outer container of pyrunc")
    else:
        yield Finding("privileges", OK, who)


def namespaces(host: Host) -> Iterator[Finding]:
    """config-linux.md, Namespaces."""
    there = host.namespaces()
    missing = [kind for kind in NAMESPACE_FILES if kind not in there]
    if missing:
        remedy = "boot a kernel with CONFIG_NAMESPACES and an option for each of them"
        yield Finding("namespaces", LIMITED, f"without {', '.join(missing)}", remedy)
    else:
        yield Finding("namespaces", OK, ", ".join(there))
    yield _user_namespaces(host)


def _user_namespaces(host: Host) -> Finding:
    subject = "user namespaces"
    limit = host.text("/proc/sys/user/max_user_namespaces")
    if limit == "0":
        return Finding(subject, LIMITED, "turned off", "sysctl user.max_user_namespaces=15000")
    if host.is_zero("/proc/sys/kernel/unprivileged_userns_clone"):
        return Finding(subject, LIMITED, "for root only", "sysctl kernel.unprivileged_userns_clone=1")
    if host.text("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        remedy = "an AppArmor profile with the rule `userns,`, or "
        remedy += "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        return Finding(subject, LIMITED, "without a profile of AppArmor only for root", remedy)
    return Finding(subject, OK, f"up to {limit}" if limit else "available")


def cgroups(host: Host) -> Iterator[Finding]:
    unified = host.text("/sys/fs/cgroup/cgroup.controllers")
    if unified:
        yield _version_2(unified.split())
        yield _delegation(host)
        return
    mounted = [mount for mount in host.mounts() if mount.type == "cgroup"]
    if not mounted:
        remedy = "mount -t cgroup2 none /sys/fs/cgroup"
        yield Finding("cgroups", MISSING, "no hierarchy is mounted at /sys/fs/cgroup", remedy)
        return
    there = {name for mount in mounted for name in mount.point.rpartition("/")[2].split(",")}
    beside = " (v2 is mounted beside it)" if any(mount.type == "cgroup2" for mount in host.mounts()) else ""
    yield _controllers(f"v1{beside}", "v1", there)
    memory = next((mount.point for mount in mounted if "memory" in mount.point.split("/")[-1]), "")
    if memory and not os.path.exists(f"{host.root}{memory}/memory.memsw.limit_in_bytes"):
        remedy = "boot with swapaccount=1"
        yield Finding(
            "swap limits", LIMITED, "swap is not accounted: linux.resources.memory.swap fails", remedy
        )


def _version_2(controllers: list[str]) -> Finding:
    return _controllers("v2", "v2", set(controllers))


def _controllers(title: str, version: str, there: set[str]) -> Finding:
    missing = [name for name in _CONTROLLERS[version] if name not in there]
    known = [name for name in _CONTROLLERS[version] if name in there]
    if missing:
        remedy = (
            "mount their hierarchies"
            if version == "v1"
            else "have them delegated, or boot without cgroup_disable="
        )
        text = f"{title}: {', '.join(known)}; without {', '.join(missing)}"
        return Finding("cgroups", LIMITED, text, f"{remedy}, if containers ask for their limits")
    return Finding("cgroups", OK, f"{title}: {', '.join(known)}")


def _delegation(host: Host) -> Finding:
    """cgroups(7), Cgroups v2 delegation: who may make cgroups below the one that pyrunc runs in."""
    own = host.text("/proc/self/cgroup").rpartition("::")[2].splitlines()[:1] or ["/"]
    directory = "/sys/fs/cgroup" if os.geteuid() == 0 else "/sys/fs/cgroup" + own[0].rstrip("/")
    writable = os.access(host.root + directory, os.W_OK)
    if writable:
        return Finding("cgroup delegation", OK, f"{directory} can be written to")
    remedy = "have it delegated: with systemd, Delegate=yes for user@.service"
    return Finding("cgroup delegation", LIMITED, f"{directory} can't be written to: no limits", remedy)


def systemd(host: Host) -> Iterator[Finding]:
    if os.path.isdir(f"{host.root}/run/systemd/system"):
        yield Finding("systemd", OK, "it runs: --systemd-cgroup can be used")
    else:
        remedy = "leave --systemd-cgroup out (Podman: --cgroup-manager=cgroupfs)"
        yield Finding("systemd", OK, "does not run: the cgroup file system is used", remedy)


def seccomp(host: Host) -> Iterator[Finding]:
    from pyrunc.seccomp import locate

    if not host.status("Seccomp"):
        yield Finding("seccomp", LIMITED, "this kernel has none", "boot a kernel with CONFIG_SECCOMP_FILTER")
        return
    actions = host.text("/proc/sys/kernel/seccomp/actions_avail").split()
    library, version = locate()
    if not version:
        yield Finding("seccomp", LIMITED, f"the library {library} is not found", _LIBSECCOMP_REMEDY)
    elif actions and "user_notif" not in actions:
        yield Finding("seccomp", LIMITED, "without SCMP_ACT_NOTIFY", "boot Linux 5.0 or later")
    else:
        yield Finding("seccomp", OK, f"{library}; actions {', '.join(actions)}")


def security_modules(host: Host) -> Iterator[Finding]:
    """process.apparmorProfile and process.selinuxLabel are errors where the module is not enabled."""
    names = []
    if host.apparmor:
        names.append("AppArmor")
    if host.selinux:
        names.append("SELinux")
    if names:
        yield Finding("security modules", OK, ", ".join(names))
    else:
        remedy = "boot with security=apparmor or security=selinux, if containers ask for labels"
        yield Finding("security modules", LIMITED, "neither AppArmor nor SELinux is enabled", remedy)


def id_mapped_mounts(host: Host) -> Iterator[Finding]:
    """mount_setattr(2) with MOUNT_ATTR_IDMAP, tried on a copy of the mount that nobody sees."""
    subject = "id-mapped mounts"
    from pyrunc._native.load import clone

    lib = clone().lib
    tree = lib.pyrunc_open_tree(b"/", 0, 1)
    if tree < 0:
        text = f"can't be tried: open_tree is refused ({os.strerror(-tree)})"
        yield Finding(subject, LIMITED, text, "run doctor with the privileges of the runtime")
        return
    namespace = lib.pyrunc_user_namespace(b"0 100000 65536\n", b"0 100000 65536\n")
    result = lib.pyrunc_idmap(tree, namespace, 0) if namespace >= 0 else namespace
    for fd in (tree, namespace):
        if fd >= 0:
            os.close(fd)
    mount = host.mount_of("/")
    kind = mount.type if mount else "the root file system"
    if result < 0:
        remedy = "keep images and volumes on ext4, xfs or btrfs, or use a newer kernel"
        yield Finding(subject, LIMITED, f"not on {kind} ({os.strerror(-result)})", remedy)
    else:
        yield Finding(subject, OK, f"on {kind}")


def subordinate_ids(host: Host) -> Iterator[Finding]:
    """subuid(5), subgid(5): what an unprivileged user may map into a user namespace."""
    subject = "subordinate ids"
    user = _user_name(host, os.getuid())
    counts = []
    for file in ("/etc/subuid", "/etc/subgid"):
        entries = [line.split(":") for line in host.text(file).splitlines()]
        count = sum(
            int(e[2]) for e in entries if len(e) == 3 and e[0] in (user, str(os.getuid())) and e[2].isdigit()
        )
        if not count:
            remedy = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            level = OK if os.getuid() == 0 else LIMITED
            yield Finding(subject, level, f"{user} has none in {file}", remedy)
            return
        counts.append(count)
    tools = [name for name in ("newuidmap", "newgidmap") if not shutil.which(name)]
    if tools:
        yield Finding(
            subject, LIMITED, f"{' and '.join(tools)} not found", "install the package uidmap (shadow-utils)"
        )
    else:
        yield Finding(subject, OK, f"{user} has {min(counts)}")


def _user_name(host: Host, uid: int) -> str:
    for line in host.text("/etc/passwd").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            return fields[0]
    return str(uid)


def proc(host: Host) -> Iterator[Finding]:
    """A new procfs in a user namespace must not show what an outer container hides."""
    hidden = host.hidden_below("/proc")
    if hidden and host.in_user_namespace:
        text = f"parts of it are hidden ({', '.join(hidden[:3])}): no container can mount its own"
        remedy = "start the outer container with --security-opt unmask=/proc/*"
        yield Finding("/proc", LIMITED, text, remedy)
    else:
        yield Finding("/proc", OK, "can be mounted")


def criu(host: Host) -> Iterator[Finding]:
    program = shutil.which("criu")
    if not program:
        remedy = "install CRIU for checkpoint and restore"
        yield Finding("criu", LIMITED, "not found: no checkpoint, no restore", remedy)
        return
    version = _output(program, "--version").replace("Version: ", "").splitlines()[:1] or ["?"]
    found = _output(program, "check") if os.geteuid() == 0 else "Looks good."
    if "Looks good." in found or "Looks good but" in found:
        yield Finding("criu", OK, f"{program} {version[0]}")
    else:
        reason = found.splitlines()[-1:] or ["no answer"]
        yield Finding("criu", LIMITED, f"{program} {version[0]}: {reason[0]}", "see `criu check --all`")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


# Engine, its program, where it is configured.
_ENGINES = (
    (
        "Podman",
        "podman",
        (
            "/usr/share/containers/containers.conf",
            "/etc/containers/containers.conf",
            "/etc/containers/containers.conf.d/*.conf",
            "~/.config/containers/containers.conf",
            "~/.config/containers/containers.conf.d/*.conf",
        ),
        'podman --runtime=/path/of/pyrunc, or runtime = "/path/of/pyrunc" under [engine] in containers.conf',
    ),
    (
        "Docker",
        "dockerd",
        ("/etc/docker/daemon.json", "~/.config/docker/daemon.json"),
        'put {"runtimes": {"pyrunc": {"path": "/path/of/pyrunc"}}} into /etc/docker/daemon.json',
    ),
    (
        "containerd",
        "containerd",
        ("/etc/containerd/config.toml", "/etc/containerd/conf.d/*.toml"),
        'a runtime of type io.containerd.runc.v2 with options.BinaryName = "/path/of/pyrunc"',
    ),
    (
        "CRI-O",
        "crio",
        ("/etc/crio/crio.conf", "/etc/crio/crio.conf.d/*.conf"),
        '[crio.runtime.runtimes.pyrunc] with runtime_path = "/path/of/pyrunc"',
    ),
)


def engines(host: Host) -> Iterator[Finding]:
    """Which engines are installed, and whether their configuration names pyrunc."""
    for name, program, patterns, remedy in _ENGINES:
        files = [
            file
            for pattern in patterns
            for file in sorted(glob.glob(host.root + os.path.expanduser(pattern)))
        ]
        knowing = [file for file in files if "pyrunc" in host.text(file.removeprefix(host.root))]
        if knowing:
            yield Finding(name, OK, f"{knowing[0].removeprefix(host.root)} names pyrunc")
        elif shutil.which(program) or files:
            where = files[0].removeprefix(host.root) if files else "no configuration"
            yield Finding(name, OK, f"installed ({where}), not told of pyrunc", remedy)


CHECKS: tuple[Callable[[Host], Iterator[Finding]], ...] = (
    kernel,
    memory_files,
    snapshot,
    privileges,
    namespaces,
    cgroups,
    systemd,
    seccomp,
    security_modules,
    id_mapped_mounts,
    subordinate_ids,
    proc,
    criu,
    engines,
)
