"""The v2 driver: one directory in the unified hierarchy."""

from __future__ import annotations

import errno
import posix
import time

from pyrunc.cgroup import base, files, limits_v2
from pyrunc.errors import Error
from pyrunc.state_directory import write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from pyrunc.cgroup.base import Record, Resources
    from pyrunc.cgroup.oom import OomWatch

DELEGATE = "/sys/kernel/cgroup/delegate"  # the files that go with a cgroup to its new owner


class UnifiedCgroup(base.Cgroup):
    """A container's cgroup in v2; ``made`` is the topmost directory that create makes, or ""."""

    __slots__ = ("directory", "made", "mountpoint")
    version = "v2"

    def __init__(self, path: str, mountpoint: str, made: str) -> None:
        super().__init__(path)
        self.mountpoint = mountpoint
        self.made = made
        self.directory = mountpoint + path

    @classmethod
    def plan(cls, path: str, mountpoint: str) -> UnifiedCgroup:
        """See what is there already; make nothing."""
        return cls(path, mountpoint, files.topmost_missing(mountpoint, path))

    def record(self) -> Record:
        return {
            "version": "v2",
            "path": self.path,
            "mountpoint": self.mountpoint,
            "made": self.made,
        }

    def paths(self) -> dict[str, str]:
        return {"": self.directory}

    def mounts(self) -> list[tuple[tuple[str, ...], str, str]]:
        return [((), self.mountpoint, self.path)]

    def create(self, resources: Resources) -> None:
        limits_v2.refuse_impossible(resources)
        if not self._make():
            if self.made:
                raise base.Taken(self.directory, base.no_record(self.version))
            base.refuse_processes(self.directory)
            if self.frozen():
                raise base.unexpectedly_frozen(self.directory)
        if files.get(self.directory + "/cgroup.type") == "domain invalid\n":
            self._thread(resources)
        self._apply(resources)

    def _make(self, tries: int = files.TRIES) -> bool:
        """Make the directory, from the top so that it has all controllers; False when it was there."""
        made = False
        parent = self.mountpoint
        try:
            for part in self.path[1:].split("/"):
                enable_controllers(parent)
                parent += "/" + part
                made = files.make_directory(parent, self.mountpoint, 0)
        except Error as error:
            # A container that had made a parent takes it away as it ends: then once more from the top.
            if not tries or error.errno not in files.VANISHED:
                raise
            return self._make(tries - 1)
        return made

    def _apply(self, resources: Resources, update: bool = False) -> None:
        limits_v2.apply(self.directory, resources, update=update)
        limits_v2.attach_devices(self.directory, resources.get("devices") or [])

    def _thread(self, resources: Resources) -> None:
        """Below a threaded cgroup only threaded controllers work: cgroups.rst, Threads."""
        limits_v2.refuse_domain(self.directory, resources)
        files.put(self.directory + "/cgroup.type", "threaded", "linux.cgroupsPath")

    def update(self, resources: Resources) -> None:
        limits_v2.refuse_impossible(resources)
        self._apply(resources, update=True)

    def clones(self, resources: Resources) -> bool:
        # A fork counts against pids.max and would fail at 0; moving in does not count.
        return (resources.get("pids") or {}).get("limit") != 0

    def join_files(self, below: dict[str, str] | None = None, init: int = 0) -> list[str]:
        return [self._entrance_of(below, init) + "/cgroup.procs"]

    def _entrance(self, below: dict[str, str] | None) -> str:
        for controller in below or {}:
            if controller:
                raise files.failure(
                    f"cgroup v2 has one hierarchy: {controller} has no cgroup of its own",
                    controller,
                    hint="give --cgroup PATH, without a controller",
                )
        directory = self.directory + (below or {}).get("", "")
        if below and not files.exists(directory):
            raise base.no_sub_cgroup(directory)
        return directory

    def clone_fd(self, below: dict[str, str] | None = None, init: int = 0) -> int:
        directory = self._entrance_of(below, init)
        try:
            return posix.open(directory, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        except OSError as e:
            raise base.cannot_join(directory + "/", e.errno or 0) from None

    def _entrance_of(self, below: dict[str, str] | None, init: int) -> str:
        directory = self._entrance(below)
        if init and not below and files.get(directory + "/cgroup.subtree_control").strip():
            # The container gave its controllers to cgroups of its own, and moved into one of them:
            # "no internal processes" closes this one.
            return self.mountpoint + own_path(f"/proc/{init}/cgroup")
        return directory

    def delegate(self, owner: int) -> None:
        try:
            names = files.read(DELEGATE).split()
        except OSError:
            names = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"]
        for name in ("", *names):
            try:
                posix.chown(f"{self.directory}/{name}", owner, -1)
            except OSError as e:
                if e.errno != errno.ENOENT or not name:
                    raise files.failure(
                        f"cannot give cgroup {self.directory} to user {owner}",
                        f"{self.directory}/{name}",
                        e.errno or 0,
                        "linux.cgroupsPath",
                        "chown",
                    ) from None

    def stats(self) -> dict[str, Any]:
        from pyrunc.cgroup import stats_v2

        return stats_v2.read(self.directory)

    def watch_oom(self) -> OomWatch:
        from pyrunc.cgroup import oom

        available = files.exists(self.directory + "/memory.events")
        return oom.UnifiedWatch(self.directory) if available else oom.OomWatch()

    def processes(self) -> list[int]:
        return files.tree_pids(self.directory)

    def kill_all(self) -> None:
        try:
            write_file(self.directory + "/cgroup.kill", "1")
        except OSError as e:
            if not files.exists(self.directory):
                return
            # Before Linux 5.14, or a threaded cgroup: one by one. v2 kills what is frozen.
            if e.errno not in (errno.ENOENT, errno.EOPNOTSUPP):
                file = self.directory + "/cgroup.kill"
                raise files.refused(file, "1", e.errno or 0, "") from None
        else:
            base.wait_empty(self.directory)
            return
        base.wait_empty(self.directory, lambda: base.kill_each(files.tree_pids(self.directory)))

    def freeze(self) -> None:
        files.put(self.directory + "/cgroup.freeze", "1", "")
        pause = 0.0001
        end = time.monotonic() + 10
        while "frozen 1" not in files.get(self.directory + "/cgroup.events"):
            if time.monotonic() > end:
                self.thaw()
                raise files.failure(
                    f"cannot freeze cgroup {self.directory}", self.directory, hint="try again"
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.01)

    def thaw(self) -> None:
        # It may be gone by now: what is frozen can be killed, and systemd takes an empty scope away.
        files.put(self.directory + "/cgroup.freeze", "0", "", (errno.ENOENT, errno.ENODEV))

    def freezer_file(self) -> str:
        return self.directory + "/cgroup.freeze"

    def frozen(self) -> bool:
        try:
            return files.read(self.freezer_file()).strip() == "1"
        except OSError:
            return False

    def made_directories(self) -> list[tuple[str, str]]:
        return [(self.made, self.directory)]

    def remove(self) -> None:
        files.remove(self.made_directories())


def enable_controllers(directory: str, only: Collection[str] = ()) -> None:
    """Let the children of ``directory`` use all controllers that it has, or those of ``only``.

    Refusals are let pass here: whether a controller is really needed is known when one of its
    files is missing, and then ``limits_v2`` names it.
    """
    try:
        have = files.read(directory + "/cgroup.controllers").split()
        on = files.read(directory + "/cgroup.subtree_control").split()
    except OSError as e:
        raise files.failure(
            f"cannot read the controllers of cgroup {directory}",
            directory,
            e.errno or 0,
            "linux.cgroupsPath",
            "read",
        ) from None
    missing = ["+" + name for name in have if name not in on and (not only or name in only)]
    # Processes of its own close it for most controllers; the others would make it threaded for good.
    if not missing or (directory != files.ROOT and files.pids(directory)):
        return
    file = directory + "/cgroup.subtree_control"
    try:
        write_file(file, " ".join(missing))
    except OSError:
        for one in missing:
            try:
                write_file(file, one)
            except OSError:
                continue


def own_path(file: str = "/proc/self/cgroup") -> str:
    """The path in the unified hierarchy that /proc/PID/cgroup tells; "" at its root."""
    for line in files.get(file).splitlines():
        if line.startswith("0::"):
            return line[3:].rstrip("/")
    return ""
