"""mounts[]: each entry becomes a detached mount with its attributes, attached by descriptor."""

from __future__ import annotations

from pyrunc.plan import FD_ID_MAPS, FD_TREE, FD_TREE_RECURSIVE, NO_FD, opcodes
from pyrunc.plan.namespaces import id_map
from pyrunc.spec import normal_path
from pyrunc.vocabulary.mount_options import (
    ACTIONS,
    ATTRIBUTES,
    BINDS,
    ID_MAPS,
    MOUNT_FLAGS,
    MS_PRIVATE,
    MS_REC,
    MS_SLAVE,
    MS_UNBINDABLE,
    NODEV,
    NOEXEC,
    NOSUID,
    NOTHING,
    PROPAGATION,
    RDONLY,
    RECURSIVE,
    SUPERBLOCK,
)
from pyrunc.vocabulary.namespaces import CLONE_NEWCGROUP, CLONE_NEWNS, CLONE_NEWUSER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Host, Plan
    from pyrunc.plan.namespaces import Namespaces
    from pyrunc.spec import Object, Spec

# Their files have labels of their own.
_UNLABELLED = ("proc", "sysfs", "mqueue", "cgroup", "cgroup2")
# Parameters that SELinux takes. A label has commas, so mount(2) and fstab have it in quotation marks.
_CONTEXTS = ("context", "fscontext", "defcontext", "rootcontext")
# File systems of the kernel's own: read-only is a matter of the mount, not of their one superblock.
_VIRTUAL = ("proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup", "cgroup2")


class Options:
    """The options of one mount, sorted into what the kernel wants to know where."""

    __slots__ = (
        *("set", "clear", "rset", "rclear", "propagation"),
        *("bind", "idmap", "parameters", "flags", "actions"),
    )

    def __init__(self, mount: Object) -> None:
        self.set = self.clear = self.rset = self.rclear = self.propagation = self.flags = 0
        self.bind = self.idmap = ""
        self.parameters: list[str] = []
        self.actions: list[str] = []
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
                flag, wanted = SUPERBLOCK[option]
                self.parameters = [parameter for parameter in self.parameters if parameter != flag]
                if wanted:
                    self.parameters.append(flag)
            elif option in MOUNT_FLAGS:
                bit, wanted = MOUNT_FLAGS[option]
                self.flags = self.flags & ~bit | (bit if wanted else 0)
            elif option in RECURSIVE:
                on, off = RECURSIVE[option]
                self.rset = self.rset & ~off & ~on | on
                self.rclear = self.rclear & ~on | off
            elif option in ID_MAPS:
                self.idmap = option
            elif option in ACTIONS:
                self.actions.append(option)
            elif option.partition("=")[0] in _CONTEXTS:
                self.parameters.append(option.replace('"', ""))
            elif option not in NOTHING:
                self.parameters.append(option)


def mounts(plan: Plan, spec: Spec, host: Host, namespaces: Namespaces) -> None:
    """Every mount, in the listed order (config.md, Mounts)."""
    for mount in spec.children("mounts"):
        if not mount.text("destination"):
            raise mount.refuse("destination", "missing")
        options = Options(mount)
        id_maps = _id_maps(mount, spec, options)
        if "remount" in options.actions:
            _remount(plan, mount, options)
        elif options.bind:
            _bind(plan, mount, host, namespaces, options, id_maps)
        elif mount.text("type") == "cgroup":
            _cgroup(plan, mount, spec, host, namespaces, options)
        else:
            _filesystem(plan, mount, options, host.mount_label, id_maps)


def _remount(plan: Plan, mount: Object, options: Options) -> None:
    """What is mounted there already gets other attributes, and without `bind` other parameters too."""
    plan.add(
        opcodes.REMOUNT,
        [] if options.bind else options.parameters,
        options.set << 32 | options.clear,
        options.rset << 32 | options.rclear,
        options.propagation,
        mount.text("destination"),
        path=mount.path,
    )


def _filesystem(
    plan: Plan,
    mount: Object,
    options: Options,
    label: str,
    id_maps: tuple[str, str, bool] | None,
) -> None:
    kind = mount.text("type")
    if not kind:
        raise mount.refuse("type", "missing")
    flags = {"proc": opcodes.MOUNT_PROC, "devpts": opcodes.MOUNT_DEVPTS}.get(kind, 0)
    parameters = options.parameters
    # Nothing is below a new mount: what is for all below is for itself.
    options.set |= options.rset
    if kind not in _VIRTUAL and options.set & RDONLY:
        parameters = ["ro", *parameters]
    if kind not in _UNLABELLED:
        parameters = _labelled(parameters, label)
    if options.flags or any(len(parameter) > 255 for parameter in parameters):
        flags |= opcodes.MOUNT_LEGACY | options.flags << 32
        parameters = [_quoted(parameter) for parameter in parameters]
    if "tmpcopyup" in options.actions:
        if kind != "tmpfs":
            raise mount.refuse("options", "tmpcopyup is for a tmpfs")
        flags |= opcodes.MOUNT_COPY_UP
        if not any(entry.startswith("mode=") for entry in parameters):
            flags |= opcodes.MOUNT_COPY_OWN
    user = NO_FD
    if id_maps:
        user = plan.fd(FD_ID_MAPS, kind, f"{mount.path}.uidMappings")
        plan.fds[user].id_maps = id_maps
    root = label if kind == "mqueue" else ""
    _mount(plan, mount, kind, mount.text("source"), parameters, options, flags=flags, user=user, label=root)


def _labelled(parameters: list[str], label: str) -> list[str]:
    """With linux.mountLabel, unless they say themselves what label files have."""
    if not label or any(entry.startswith(("context=", "defcontext=")) for entry in parameters):
        return parameters
    return [*parameters, f"context={label}"]


def _quoted(parameter: str) -> str:
    key, _, value = parameter.partition("=")
    return f'{key}="{value}"' if key in _CONTEXTS else parameter


def _mount(
    plan: Plan,
    mount: Object,
    kind: str,
    source: str,
    parameters: list[str],
    options: Options,
    destination: str = "",
    flags: int = 0,
    user: int = NO_FD,
    label: str = "",
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
        user,
        label,
        path=mount.path,
    )


def _id_maps(mount: Object, spec: Spec, options: Options) -> tuple[str, str, bool] | None:
    """The mount's own mappings, or with `idmap` alone those of the container's user namespace."""
    uids, gids = id_map(mount, "uidMappings"), id_map(mount, "gidMappings")
    if bool(uids) != bool(gids):
        raise mount.refuse("uidMappings", "uidMappings and gidMappings need each other")
    if options.idmap and not uids:
        uids, gids = id_map(spec.linux, "uidMappings"), id_map(spec.linux, "gidMappings")
        if not uids:
            raise mount.refuse("options", "idmap needs mappings, or a user namespace that has them")
    return (uids, gids, options.idmap == "ridmap") if uids else None


def _bind(
    plan: Plan,
    mount: Object,
    host: Host,
    namespaces: Namespaces,
    options: Options,
    id_maps: tuple[str, str, bool] | None,
) -> None:
    source = mount.text("source")
    if not source:
        raise mount.refuse("source", "missing")
    if source[0] != "/":
        source = f"{host.bundle}/{source}"
    for parameter in options.parameters:
        plan.warnings.append(f"{mount.path}.options: {parameter} is ignored by a bind mount")
    destination = mount.text("destination")
    own = namespaces.new & CLONE_NEWNS and not namespaces.has(CLONE_NEWUSER)
    apart = own and options.propagation & (MS_PRIVATE | MS_UNBINDABLE)
    if not id_maps and (apart or host.unprivileged):
        # No peer of the host's is wanted (or a user can't have one), so init can clone it itself:
        # mountinfo, which is in the order of cloning, then has the listed order.
        flags = opcodes.BIND_RECURSIVE if options.bind == "rbind" else 0
        _bind_step(plan, mount, NO_FD, destination, options, flags, source)
        return
    kind = FD_TREE_RECURSIVE if options.bind == "rbind" else FD_TREE
    flags = opcodes.BIND_AGAIN if own and options.propagation else 0
    _add_bind(plan, mount, kind, source, destination, options, flags)
    plan.fds[-1].id_maps = id_maps


def _add_bind(
    plan: Plan,
    mount: Object,
    kind: int,
    source: str,
    destination: str,
    options: Options,
    flags: int = 0,
) -> None:
    tree = plan.fd(kind, source, f"{mount.path}.source")
    _bind_step(plan, mount, tree, destination, options, flags)


def _bind_step(
    plan: Plan,
    mount: Object,
    tree: int,
    destination: str,
    options: Options,
    flags: int,
    source: str = "",
) -> None:
    plan.add(
        opcodes.BIND,
        tree,
        options.set << 32 | options.clear,
        options.rset << 32 | options.rclear,
        # The tree is cloned in the host's namespace: without a word about it, it must not stay a peer.
        options.propagation or MS_SLAVE | MS_REC,
        destination,
        flags,
        source,
        path=mount.path,
    )


def _host_uid(spec: Spec) -> int:
    """The user of the host that the container's process is; -1 if it isn't mapped."""
    uid = spec.process.child("user").number("uid")
    maps = spec.linux.children("uidMappings")
    for item in maps:
        first = item.required_number("containerID")
        if first <= uid < first + item.required_number("size", 1):
            return item.required_number("hostID") + uid - first
    return -1 if maps else uid


def _cgroup(
    plan: Plan, mount: Object, spec: Spec, host: Host, namespaces: Namespaces, options: Options
) -> None:
    """A cgroup mount shows the container's own cgroups; on v1 a tmpfs with one for each hierarchy."""
    destination = mount.text("destination")
    source = mount.text("source") or "cgroup"
    own = bool(namespaces.new & CLONE_NEWCGROUP)
    if host.cgroup_version == "v2":
        if own and normal_path(destination) == "/sys/fs/cgroup" and not options.set & RDONLY:
            plan.cgroup_owner = _host_uid(spec)
        if own:
            _mount(plan, mount, "cgroup2", source, [], options)
        else:
            for _, directory in host.cgroup_paths[:1]:
                if host.unprivileged or host.cgroup_adopts:  # init can, and then it is there
                    _bind_step(plan, mount, NO_FD, destination, options, 0, directory)
                else:
                    _add_bind(plan, mount, FD_TREE, directory, destination, options)
        return
    if not namespaces.new & CLONE_NEWNS:
        return
    base = Options(mount)
    base.set = NOSUID | NODEV | NOEXEC
    parameters = _labelled(["mode=755"], host.mount_label)
    _mount(plan, mount, "tmpfs", "tmpfs", parameters, base, flags=opcodes.MOUNT_CGROUPS)
    for name, directory in host.cgroup_paths:
        target = f"{destination}/{name}"
        if own:
            parameters = ["none", f"name={name}"] if name == "systemd" else name.split(",")
            _mount(plan, mount, "cgroup", source, parameters, options, target)
        elif host.unprivileged:
            _bind_step(plan, mount, NO_FD, target, options, 0, directory)
        elif namespaces.has(CLONE_NEWUSER):
            _add_bind(plan, mount, FD_TREE, directory, target, options)
        else:
            plan.add(opcodes.CGROUP_BIND, directory, name, path=mount.path)
        for controller in name.split(","):
            if controller != name:
                plan.add(opcodes.SYMLINK, name, f"{destination}/{controller}", 0, path=mount.path)
    # The binds are copies from the host: without a word about it, they must not stay peers.
    propagation = options.propagation or MS_SLAVE
    plan.add(opcodes.CGROUP_SEAL, options.set, propagation, path=mount.path)
