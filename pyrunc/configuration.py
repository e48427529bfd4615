"""The configuration: config.json of a bundle, or as it is remembered, and the plan compiled of it."""

from __future__ import annotations

import errno
import posix

from pyrunc import accept
from pyrunc import cgroup as cgroups
from pyrunc.errors import ConfigError, Error
from pyrunc.plan import Host
from pyrunc.plan.container import compile_container
from pyrunc.process import in_user_namespace
from pyrunc.spec import MAX_SIZE, Refused, Spec, normal_path
from pyrunc.timeline import phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cgroup.base import Cgroup
    from pyrunc.plan import Plan
    from pyrunc.resctrl import Resctrl
    from pyrunc.seccomp import Filter
    from pyrunc.state_directory import State


def read_config(bundle: str) -> Spec:
    """config.json of the bundle, an absolute path; a ConfigError has all its faults."""
    phase("read config.json")
    path = f"{bundle}/config.json"
    source = read_source(path)
    try:
        spec = Spec(source)
        accept.config(spec)
        spec.bundle = bundle
        return spec
    except Refused as refused:
        raise config_error(source, bundle, refused) from None


def config_error(source: bytes, bundle: str, refused: Refused) -> ConfigError:
    """The slow leaf: all faults, with their places."""
    from pyrunc.cli.main import enable_site
    from pyrunc.errors import Fault

    enable_site()
    from pyrunc.validate import faults

    found = faults(source, bundle) or [Fault(refused.path, refused.why)]
    return ConfigError("config.json is refused", found)


def compile_plan(root: str, id: str, spec: Spec, cgroup: Cgroup, no_pivot: bool, new_keyring: bool) -> Plan:
    """The plan of a container, with what it must know of the host."""
    host = host_of(id, spec, cgroup, no_pivot, new_keyring)
    host.seccomp = seccomp_filter(spec, root)
    return compile_container(spec, host)


def host_of(id: str, spec: Spec, cgroup: Cgroup, no_pivot: bool, new_keyring: bool) -> Host:
    """What the compiler must know of this host; the seccomp filter is left to the caller."""
    host = Host(id, spec.bundle, rootfs_of(spec, spec.bundle))
    host.no_pivot = no_pivot
    host.new_keyring = new_keyring
    host.cgroup_version = cgroup.version
    host.cgroup_paths = [
        (",".join(names).removeprefix("name="), mountpoint + path)
        for names, mountpoint, path in cgroup.mounts()
    ]
    host.cgroup_adopts = cgroup.adopts()
    if not host.cgroup_adopts and not cgroup.clones(spec.linux.child("resources").data):
        host.cgroup_joins = cgroup.join_files()
    label = spec.linux.text("mountLabel")
    if label and has_selinux():
        host.mount_label = label
    host.unprivileged = posix.geteuid() != 0
    host.in_user_namespace = in_user_namespace()
    return host


def recompile(state: State) -> Plan:
    """The plan that a created container's init has, from what is remembered."""
    record = state.record
    spec = state.config()
    spec.bundle = record["bundle"]
    if "activation" in record:
        from pyrunc import activation

        activation.change(spec, record["activation"], state.directory)
    cgroup = cgroups.restore(record["cgroup"])
    return compile_plan(state.root, state.id, spec, cgroup, record["no_pivot"], record["new_keyring"])


def rootfs_of(spec: Spec, bundle: str) -> str:
    path = spec.child("root").text("path")
    return normal_path(path if path.startswith("/") else f"{bundle}/{path}")


def seccomp_filter(spec: Spec, root: str) -> Filter | None:
    if "seccomp" not in spec.linux:
        return None
    from pyrunc.seccomp import load_or_compile

    return load_or_compile(spec.linux.child("seccomp").data, f"{root}/.seccomp")


def resctrl_of(spec: Spec, id: str) -> Resctrl | None:
    """What linux.intelRdt asks for; None when it is not set, and then resctrl is not touched."""
    if "intelRdt" not in spec.linux:
        return None
    from pyrunc.resctrl import Resctrl, mount_point

    return Resctrl(spec.linux.child("intelRdt"), id, mount_point())


def has_selinux() -> bool:
    try:
        posix.stat("/sys/fs/selinux/enforce")
    except PermissionError:  # its policy keeps it from pyrunc
        return True
    except OSError:
        return False
    return True


def read_source(path: str) -> bytes:
    """The bytes of a config.json, or one more than is allowed. Raises Error when it can't be read."""
    try:
        return _read_regular(path)
    except OSError as error:
        raise Error(
            f"there is no readable config.json: {path}",
            code="config-missing",
            step="config.json",
            subject=path,
            errno=error.errno or 0,
            hint="name the bundle, the directory that holds config.json; `pyrunc spec` makes one",
        ) from None


def _read_regular(path: str) -> bytes:
    """A device or a fifo may have no end."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)
    try:
        status = posix.fstat(fd)
        if status.st_mode & 0o170000 != 0o100000:
            raise OSError(errno.EINVAL, "not a regular file")
        return posix.read(fd, min(status.st_size, MAX_SIZE + 1))
    finally:
        posix.close(fd)
