"""`gc`: finds what is left of containers whose record or init is gone, and removes it.

A container whose process has ended is removed as `delete` would. A cgroup carries the name of its state
directory (``cgroup.base.MARK``): so it is known as pyrunc's own, in every hierarchy, even when that directory
is gone. What lives is left alone, and what carries no mark, or that of another state root.
"""

from __future__ import annotations

import posix

from pyrunc import mountinfo
from pyrunc import state_directory as states
from pyrunc.cgroup import base, files
from pyrunc.cgroup.base import MARK
from pyrunc.destroy import destroy, poststop
from pyrunc.errors import Error, NotFound
from pyrunc.lifecycle import status_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrunc.state_directory import State

REMOVED, FOUND, KEPT = "removed", "found", "kept"


class Finding:
    """One thing that was left behind.

    id: the container's, "" for files of all. kind: "container", "state", "cgroup", "mount" or "file".
    subject: its path. outcome: REMOVED, FOUND (with dry_run) or KEPT. why: for KEPT, what speaks against it.
    """

    __slots__ = ("id", "kind", "subject", "outcome", "why")

    def __init__(self, id: str, kind: str, subject: str, outcome: str, why: str = "") -> None:
        self.id = id
        self.kind = kind
        self.subject = subject
        self.outcome = outcome
        self.why = why


def collect(root: str, dry_run: bool = False, force: bool = False) -> list[Finding]:
    """Remove what is left under a state root; ``dry_run`` only looks.

    force: also kill the processes of cgroups whose state directory is gone. Nobody can manage them any more.
    """
    found: list[Finding] = []
    for id in states.ids(root):
        found += _container(root, id, dry_run)
    for directory, owner, top in sorted(_marked(root), reverse=True):
        found += _cgroup(root, directory, owner, top, dry_run, force)
    found += _temporary(f"{root}/.seccomp", dry_run)
    return found


def _container(root: str, id: str, dry_run: bool) -> list[Finding]:
    try:
        state = states.load(root, id)
    except NotFound:
        return []
    except Error as error:
        return [Finding(id, "state", f"{root}/{id}", KEPT, str(error))]
    try:
        if not _lock(state) or status_of(state) != "stopped":
            return []
        left = list(_left(state))
        if dry_run:
            return [Finding(id, kind, subject, FOUND) for kind, subject in left]
        poststop(destroy(state), state)
        return [Finding(id, kind, subject, REMOVED) for kind, subject in left]
    except Error as error:
        return [Finding(id, "container", f"{root}/{id}", KEPT, str(error))]
    finally:
        state.close()


def _lock(state: State) -> bool:
    """False when a runtime is at work on the container, or it has just been deleted."""
    if not state.lock(wait=False) or state.gone():
        return False
    state.reload()
    return True


def _left(state: State) -> Iterator[tuple[str, str]]:
    """What of the things in the record is still there: kind and path."""
    if state.record.get("cgroup"):
        from pyrunc.cgroup import restore

        for made, directory in restore(state.record["cgroup"]).made_directories():
            if made and files.exists(directory):
                yield "cgroup", directory
    recorded = state.record.get("mounts", [])
    points = {mount.point for mount in mountinfo.read()} if recorded else set()
    for path in recorded:
        if path in points:
            yield "mount", path
    yield "state", state.directory


def _cgroup(root: str, directory: str, owner: str, top: str, dry_run: bool, force: bool) -> Iterator[Finding]:
    """A cgroup that no record names."""
    id = owner[len(root) + 1 :]
    try:
        if directory in _recorded(root, id):
            return
    except Error as error:
        yield Finding(id, "cgroup", directory, KEPT, str(error))
        return
    living = files.tree_pids(directory)
    if living and not force:
        why = f"{len(living)} process(es) live in it; --force kills them"
        yield Finding(id, "cgroup", directory, KEPT, why)
        return
    outcome, why = FOUND, ""
    if not dry_run:
        try:
            if living:
                base.wait_empty(directory, lambda: _kill(directory))
            files.remove([(top, directory)])
            outcome = REMOVED
        except Error as error:
            outcome, why = KEPT, str(error)
    yield Finding(id, "cgroup", directory, outcome, why)


def _kill(directory: str) -> None:
    base.kill_each(files.tree_pids(directory))
    if files.exists(f"{directory}/freezer.state"):
        files.put(f"{directory}/freezer.state", "THAWED", "")


def _recorded(root: str, id: str) -> set[str]:
    """The cgroups that the record of the container names."""
    try:
        state = states.load(root, id)
    except NotFound:
        return set()
    try:
        if not state.record.get("cgroup"):
            return set()
        from pyrunc.cgroup import restore

        return {directory for _, directory in restore(state.record["cgroup"]).made_directories()}
    finally:
        state.close()


def _marked(root: str) -> Iterator[tuple[str, str, str]]:
    """(directory, state directory, topmost directory that was made) of each cgroup of this state root."""
    for mountpoint in _hierarchies():
        for directory in files.tree(mountpoint):
            try:
                owner, _, top = (
                    posix.getxattr(directory, MARK).decode("utf-8", "surrogateescape").partition("\0")
                )
            except OSError:
                continue
            if owner.rpartition("/")[0] == root and _leads_to(top, directory):
                yield directory, owner, top


def _leads_to(top: str, directory: str) -> bool:
    return directory == top or directory.startswith(f"{top}/")


def _hierarchies() -> list[str]:
    """The mount point of each cgroup file system, v1 and v2, once each."""
    found: dict[tuple[int, int], str] = {}
    for mount in mountinfo.read():
        if mount.type not in ("cgroup", "cgroup2"):
            continue
        try:
            status = posix.stat(mount.point)
        except OSError:
            continue
        found.setdefault((status.st_dev, status.st_ino), mount.point)
    return list(found.values())


def _temporary(directory: str, dry_run: bool) -> Iterator[Finding]:
    """Files of the cache whose writer was killed before it could rename them: .KEY.PID."""
    try:
        names = posix.listdir(directory)
    except OSError:
        return
    for name in sorted(names):
        pid = name.rpartition(".")[2]
        if not name.startswith(".") or not pid.isdecimal() or files.exists(f"/proc/{pid}"):
            continue
        if not dry_run:
            try:
                posix.unlink(f"{directory}/{name}")
            except FileNotFoundError:
                continue
        yield Finding("", "file", f"{directory}/{name}", FOUND if dry_run else REMOVED)
