"""Where a container without root's rights may have its cgroup, and what it is without one.

--rootless: an ordinary user mostly owns no cgroup. Then a container that asks for no limits does without;
one that asks for limits is an error, for it would not have them.
"""

from __future__ import annotations

import errno
import posix

from pyrunc.cgroup import at, base, files, locate, resolve, wants_limits
from pyrunc.cgroup.v2 import own_path
from pyrunc.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrunc.cgroup.base import Hierarchies, Record, Resources
    from pyrunc.cgroup.oom import OomWatch


class AbsentCgroup(base.Cgroup):
    """No cgroup of the container's own: it stays in its caller's."""

    __slots__ = ("version",)

    def __init__(self, version: str) -> None:
        super().__init__("")
        self.version = version

    def record(self) -> Record:
        return base.no_record(self.version)

    def create(self, resources: Resources) -> None:
        """Device rules, the only ones that can be here, need a cgroup: who has none has no devices either."""

    def refuse_occupied(self) -> None:
        """Nobody else is in no cgroup."""

    def update(self, resources: Resources) -> None:
        raise self._missing("no limit can be changed")

    def join_files(self, below: dict[str, str] | None = None, init: int = 0) -> list[str]:
        if below:
            raise self._missing("there is nothing for --cgroup to be below of")
        return []

    def processes(self) -> list[int]:
        return []

    def kill_all(self) -> None:
        """The end of its first process ends all others, in a pid namespace."""

    def freeze(self) -> None:
        raise self._missing("it can't be paused")

    def thaw(self) -> None:
        """It never was frozen."""

    def frozen(self) -> bool:
        return False

    def freezer_file(self) -> str:
        return ""

    def remove(self) -> None:
        """Nothing was made."""

    def made_directories(self) -> list[tuple[str, str]]:
        return []

    def stats(self) -> dict[str, Any]:
        raise self._missing("nothing counts what it uses")

    def watch_oom(self) -> OomWatch:
        from pyrunc.cgroup.oom import OomWatch

        return OomWatch()

    def paths(self) -> dict[str, str]:
        return {}

    def mounts(self) -> list[tuple[tuple[str, ...], str, str]]:
        return [((), files.ROOT, own_path())] if self.version == "v2" else []

    def _missing(self, what: str) -> Exception:
        return files.failure(
            f"the container has no cgroup: {what}",
            "cgroup",
            hint="have a cgroup delegated before it is made (docs/rootless.md)",
        )


def place(cgroups_path: str | None, id: str, resources: Resources, found: Hierarchies) -> base.Cgroup:
    """The container's cgroup if we may make one, AbsentCgroup if it can do without, else Error."""
    path = _path(cgroups_path, id, found)
    cgroup = at(path, found)
    unwritable = [directory for directory in cgroup.paths().values() if not _may_make(directory)]
    if not unwritable:
        return cgroup
    asked = wants_limits(resources)
    if cgroups_path or asked:
        what = f"linux.resources.{asked[0]}" if asked else "linux.cgroupsPath"
        raise files.failure(
            f"{what} needs a cgroup, and there is no permission to make {unwritable[0]}",
            unwritable[0],
            errno.EACCES,
            what,
            "mkdir",
            "with systemd, use --systemd-cgroup from a login session, or run under "
            "`systemd-run --user --scope -p Delegate=yes`; else leave limits and cgroupsPath out",
        )
    return AbsentCgroup(found.version)


def none(resources: Resources) -> base.Cgroup:
    """No cgroup, as the caller wishes; limits would be without effect, so they are an Error."""
    asked = wants_limits(resources)
    if asked:
        what = f"linux.resources.{asked[0]}"
        hint = "leave the limits out, or let the container have a cgroup"
        raise files.failure(f"{what} needs a cgroup, and they are disabled", "", 0, what, "", hint)
    try:
        return AbsentCgroup(locate().version)
    except Error:
        return AbsentCgroup("none")


def _path(cgroups_path: str | None, id: str, found: Hierarchies) -> str:
    """v2: what isn't absolute is beside our own cgroup, which was delegated with all that is around it.

    Not below it: a cgroup with processes (us) can't give controllers to its children.
    """
    path = resolve(cgroups_path, id)
    if found.version == "v2" and not (cgroups_path or "").startswith("/"):
        return own_path().rpartition("/")[0] + path
    return path


def _may_make(directory: str) -> bool:
    """Whether we may write in its nearest ancestor that is there."""
    while not files.exists(directory) and directory:
        directory = directory.rpartition("/")[0]
    try:
        return posix.access(directory, posix.W_OK, effective_ids=True)
    except OSError:
        return False
