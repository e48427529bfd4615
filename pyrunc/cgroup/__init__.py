"""cgroups: one interface (``base.Cgroup``), with drivers for v1, v2 and systemd."""

from __future__ import annotations

import posix

from pyrunc.cgroup import files
from pyrunc.cgroup.base import Cgroup, Hierarchies
from pyrunc.errors import Error
from pyrunc.process import is_rootless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroup.base import Resources
    from pyrunc.mountinfo import Mount

__all__ = ["Cgroup", "Hierarchies", "locate", "make", "restore", "resolve"]


def locate() -> Hierarchies:
    """Find the hierarchies of this host.

    In the usual layouts the names tell the mount points; only others cost a look at mountinfo.
    """
    if files.exists(files.ROOT + "/cgroup.controllers"):
        return Hierarchies("v2", [((), files.ROOT)])
    try:
        own = files.read("/proc/self/cgroup")
        names = frozenset(posix.listdir(files.ROOT))
    except OSError as e:
        raise files.failure(
            f"there is no cgroup file system at {files.ROOT}",
            files.ROOT,
            e.errno or 0,
            hint="mount cgroup2 there",
        ) from None
    mounts: list[tuple[tuple[str, ...], str]] = []
    unknown: list[tuple[str, ...]] = []
    for controllers in parse_own(own):
        name = ",".join(controllers).removeprefix("name=")
        if name in names:
            mounts.append((controllers, f"{files.ROOT}/{name}"))
        else:
            unknown.append(controllers)
    if unknown:
        from pyrunc import mountinfo

        table = mounted(mountinfo.read())
        for controllers in unknown:
            # A hierarchy that is mounted nowhere can't be used: it counts as missing.
            point = table.get(frozenset(controllers))
            if point:
                mounts.append((controllers, point))
    if not mounts:
        raise files.failure(
            "no cgroup controllers are mounted", files.ROOT, hint=f"mount cgroup2 at {files.ROOT}"
        )
    return Hierarchies("v1", mounts)


def parse_own(text: str) -> list[tuple[str, ...]]:
    """The controllers of each v1 hierarchy in /proc/self/cgroup."""
    found = []
    for line in text.splitlines():
        controllers = line.split(":", 2)[1]
        if controllers:
            found.append(tuple(controllers.split(",")))
    return found


def mounted(mounts: list[Mount]) -> dict[frozenset[str], str]:
    """Mount point of each v1 hierarchy, by its set of controllers; the first mount counts."""
    found: dict[frozenset[str], str] = {}
    for mount in mounts:
        if mount.type == "cgroup":
            found.setdefault(frozenset(mount.super_options) - _NO_CONTROLLERS, mount.point)
    return found


_NO_CONTROLLERS = frozenset(("rw", "ro", "xattr", "none"))  # other options of a hierarchy
_PATH_MAX = 2048  # PATH_MAX less the mount point and the longest file's name, with room for cgroups below


def resolve(cgroups_path: str | None, id: str) -> str:
    """The container's path from the root of every hierarchy.

    Relative or absolute is the same: below pyrunc's own cgroup the place would depend on who
    calls, and the caller's limits and "no internal processes" would get into the way.
    """
    parts = [p for p in (cgroups_path or id).split("/") if p not in ("", ".")]
    path = "/" + "/".join(parts)
    hint = 'name a directory below the root, without ".."'
    if len(path.encode("utf-8", "replace")) > _PATH_MAX:
        hint = f"it is longer than {_PATH_MAX} bytes: what can be made must be removable by its path, too"
        cgroups_path = path[:64] + "..."
    elif parts and ".." not in parts:
        return path
    raise files.failure(
        f'cgroupsPath "{cgroups_path}" is not a place for a container',
        cgroups_path or "",
        path="linux.cgroupsPath",
        hint=hint,
    )


def make(
    cgroups_path: str | None,
    id: str,
    *,
    systemd: bool = False,
    disabled: bool = False,
    rootless: str = "auto",
    resources: Resources | None = None,
    annotations: dict[str, str] | None = None,
    hierarchies: Hierarchies | None = None,
) -> Cgroup:
    """The cgroup of a new container: looked up, not made yet.

    ``disabled``: none of its own; limits are an error then.
    ``rootless`` is --rootless: whether a container without limits may do without a cgroup of its own.
    """
    if disabled:
        from pyrunc.cgroup.rootless import none

        return none(resources or {})
    user = is_rootless()
    lenient = user if rootless == "auto" else rootless == "true"
    try:
        found = hierarchies or locate()
    except Error:
        if systemd or not lenient or cgroups_path or wants_limits(resources or {}):
            raise
        from pyrunc.cgroup.rootless import AbsentCgroup

        return AbsentCgroup("none")
    if systemd:
        return _systemd(cgroups_path, id, user, annotations or {}, found)
    if lenient:
        from pyrunc.cgroup.rootless import place

        return place(cgroups_path, id, resources or {}, found)
    return at(resolve(cgroups_path, id), found)


def wants_limits(resources: Resources) -> list[str]:
    """The groups of linux.resources that need a cgroup. Devices do without: users can open none anyway."""
    return [key for key, value in resources.items() if value and key != "devices"]


def at(path: str, found: Hierarchies) -> Cgroup:
    """The cgroup at a path from the root of every hierarchy."""
    if found.version == "v2":
        from pyrunc.cgroup import v2

        return v2.UnifiedCgroup.plan(path, found.mounts[0][1])
    from pyrunc.cgroup import v1

    return v1.LegacyCgroup.plan(path, found.mounts)


def _systemd(
    cgroups_path: str | None, id: str, user: bool, annotations: dict[str, str], found: Hierarchies
) -> Cgroup:
    from pyrunc.cgroup.unit import Unit, is_ours, names

    user = user and (posix.geteuid() != 0 or not is_ours())
    slice, name = names(cgroups_path, id, user)
    unit = Unit(name, slice, user)
    if found.version == "v2":
        from pyrunc.cgroup.scope_v2 import UnifiedScope

        return UnifiedScope(unit.path(), found.mounts[0][1], unit, id, annotations)
    if user:
        raise files.failure(
            "a user's systemd has no controllers to give on a host with cgroup v1",
            "--systemd-cgroup",
            hint="leave --systemd-cgroup out (Podman: --cgroup-manager=cgroupfs)",
        )
    from pyrunc.cgroup.scope_v1 import LegacyScope

    return LegacyScope.of_unit(unit, found.mounts, id, annotations)


def restore(record: dict[str, Any]) -> Cgroup:
    """The cgroup that ``Cgroup.record`` told of, on the same host."""
    if record.get("driver") == "none":
        from pyrunc.cgroup.rootless import AbsentCgroup

        return AbsentCgroup(record["version"])
    unit = None
    if record.get("driver") == "systemd":
        from pyrunc.cgroup.unit import Unit

        unit = Unit(record["unit"], record["slice"], record["user"])
    if record.get("version") == "v2":
        if unit:
            from pyrunc.cgroup.scope_v2 import UnifiedScope

            return UnifiedScope(record["path"], record["mountpoint"], unit)
        from pyrunc.cgroup import v2

        return v2.UnifiedCgroup(record["path"], record["mountpoint"], record["made"])
    from pyrunc.cgroup import v1

    places = [v1.Place(tuple(c), mountpoint, made) for c, mountpoint, made in record["places"]]
    if unit:
        from pyrunc.cgroup.scope_v1 import LegacyScope

        return LegacyScope(record["path"], places, unit)
    return v1.LegacyCgroup(record["path"], places)
