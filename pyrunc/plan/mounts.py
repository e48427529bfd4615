"""mounts[]: each entry becomes a detached mount with its attributes, attached by descriptor."""

from __future__ import annotations

from pyrunc.plan import FD_TREE, FD_TREE_RECURSIVE, opcodes
from pyrunc.vocabulary.mount_options import (
    ATTRIBUTES,
    BINDS,
    MS_REC,
    MS_SLAVE,
    NODEV,
    NOEXEC,
    NOSUID,
    PROPAGATION,
    RDONLY,
    RECURSIVE,
    SUPERBLOCK,
)
from pyrunc.vocabulary.namespaces import CLONE_NEWCGROUP, CLONE_NEWNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Host, Plan
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.spec import Object, Spec

# File systems of the kernel's own: read-only is a matter of the mount, not of their one superblock.
_VIRTUAL = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2")


class Options:
    """The options of one mount, sorted into what the kernel wants to know where."""

    __slots__ = ("set", "clear", "rset", "rclear", "propagation", "bind", "parameters")

    def __init__(self, mount: Object) -> None:
        self.set = self.clear = self.rset = self.rclear = self.propagation = 0
        self.bind = ""
        self.parameters: list[str] = []
        for option in mount.texts("options"):
            if option in ATTRIBUTES:
                on, off = ATTRIBUTES[option]
                self.set = self.set & ~off & ~on | on
                self.clear = self.clear & ~on | off
            elif option in BINDS:
                self.bind = option
            elif option in PROPAGATION:
                self.propagation = PROPAGATION[option]
            elif option in SUPERBLOCK:
                if SUPERBLOCK[option]:
                    self.parameters.append(SUPERBLOCK[option])
            elif option in RECURSIVE:
                on, off = RECURSIVE[option]
                self.rset = self.rset & ~off & ~on | on
                self.rclear = self.rclear & ~on | off
            elif option in ("idmap", "ridmap"):
                raise mount.refuse("options", "id-mapped mounts are not supported yet")
            elif option != "tmpcopyup":
                self.parameters.append(option)


def mounts(plan: Plan, spec: Spec, host: Host, namespaces: Namespaces) -> None:
    """Every mount, in the listed order (config.md, Mounts)."""
    for mount in spec.children("mounts"):
        if not mount.text("destination"):
            raise mount.refuse("destination", "missing")
        for key in ("uidMappings", "gidMappings"):
            if mount.children(key):
                raise mount.refuse(key, "id-mapped mounts are not supported yet")
        options = Options(mount)
        if options.bind:
            _bind(plan, mount, host, options)
        elif mount.text("type") == "cgroup":
            _cgroup(plan, mount, host, namespaces, options)
        else:
            _filesystem(plan, mount, options)


def _filesystem(plan: Plan, mount: Object, options: Options) -> None:
    kind = mount.text("type")
    if not kind:
        raise mount.refuse("type", "missing")
    flags = {"proc": opcodes.MOUNT_PROC, "devpts": opcodes.MOUNT_DEVPTS}.get(kind, 0)
    parameters = options.parameters
    if kind not in _VIRTUAL and options.set & RDONLY:
        parameters = ["ro", *parameters]
    if any(len(parameter) > 255 for parameter in parameters):
        flags |= opcodes.MOUNT_LEGACY
    _mount(plan, mount, kind, mount.text("source"), parameters, options, flags=flags)


def _mount(
    plan: Plan,
    mount: Object,
    kind: str,
    source: str,
    parameters: list[str],
    options: Options,
    destination: str = "",
    flags: int = 0,
) -> None:
    plan.add(
        opcodes.MOUNT,
        kind,
        source,
        parameters,
        options.set,
        options.propagation,
        destination or mount.text("destination"),
        flags,
        path=mount.path,
    )


def _bind(plan: Plan, mount: Object, host: Host, options: Options) -> None:
    source = mount.text("source")
    if not source:
        raise mount.refuse("source", "missing")
    if source[0] != "/":
        source = f"{host.bundle}/{source}"
    kind = FD_TREE_RECURSIVE if options.bind == "rbind" else FD_TREE
    _add_bind(plan, mount, kind, source, mount.text("destination"), options)


def _add_bind(
    plan: Plan, mount: Object, kind: int, source: str, destination: str, options: Options
) -> None:
    plan.add(
        opcodes.BIND,
        plan.fd(kind, source, f"{mount.path}.source"),
        options.set << 32 | options.clear,
        options.rset << 32 | options.rclear,
        # The tree is cloned in the host's namespace: without a word about it, it must not stay a peer.
        options.propagation or MS_SLAVE | MS_REC,
        destination,
        0,
        path=mount.path,
    )


def _cgroup(
    plan: Plan, mount: Object, host: Host, namespaces: Namespaces, options: Options
) -> None:
    """A cgroup mount shows the container's own cgroups; on v1 a tmpfs with one for each hierarchy."""
    destination = mount.text("destination")
    source = mount.text("source") or "cgroup"
    own = bool(namespaces.new & CLONE_NEWCGROUP)
    if host.cgroup_version == "v2":
        if own:
            _mount(plan, mount, "cgroup2", source, [], options)
        else:
            for _, directory in host.cgroup_paths[:1]:
                _add_bind(plan, mount, FD_TREE, directory, destination, options)
        return
    if not namespaces.new & CLONE_NEWNS:
        return
    base = Options(mount)
    base.set = NOSUID | NODEV | NOEXEC
    _mount(plan, mount, "tmpfs", "tmpfs", ["mode=755"], base)
    for name, directory in host.cgroup_paths:
        target = f"{destination}/{name}"
        if own:
            parameters = ["none", f"name={name}"] if name == "systemd" else name.split(",")
            _mount(plan, mount, "cgroup", source, parameters, options, target)
        else:
            _add_bind(plan, mount, FD_TREE, directory, target, options)
        for controller in name.split(","):
            if controller != name:
                plan.add(opcodes.SYMLINK, name, f"{destination}/{controller}", 0, path=mount.path)
    if options.set & RDONLY:
        plan.add(opcodes.SET_ATTRIBUTES, destination, RDONLY, path=mount.path)
