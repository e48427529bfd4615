"""What every driver of cgroups can do, and what is found about the host."""

from __future__ import annotations

import errno
import posix
import time

from pyrunc.cgroup import files
from pyrunc.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyrunc.cgroup.oom import OomWatch

    Resources = dict[str, Any]
    Record = dict[str, object]


class Hierarchies:
    """version: "v1" or "v2"; mounts: (controllers, mountpoint) of each hierarchy.

    A named v1 hierarchy has the one controller "name=NAME". v2 has one mount, whose
    controllers are not looked up: ().
    """

    __slots__ = ("version", "mounts")

    def __init__(self, version: str, mounts: list[tuple[tuple[str, ...], str]]) -> None:
        self.version = version
        self.mounts = mounts


# The attribute of each directory that was made: its state directory, NUL, the topmost directory made with it.
MARK = "trusted.pyrunc"


class Cgroup:
    """The place of one container in all hierarchies; nothing is made before ``create``."""

    __slots__ = ("path",)
    version = ""

    def __init__(self, path: str) -> None:
        self.path = path

    def record(self) -> Record:
        """All that ``restore`` needs, in JSON's types; to be stored before ``create``."""
        raise NotImplementedError

    def create(self, resources: Resources) -> None:
        """Make the directories and set the limits (linux.resources, validated). Raises Error; Taken."""
        raise NotImplementedError

    def refuse_occupied(self) -> None:
        """Raise Error when somebody else's processes are in it, or below it."""
        count = len(self.processes())
        if count:
            raise occupied(self.path, count)

    def update(self, resources: Resources) -> None:
        """Change limits; what is absent or zero stays. For v1 devices are not among them: the rules stay."""
        raise NotImplementedError

    def join_files(self, below: dict[str, str] | None = None, init: int = 0) -> list[str]:
        """Whoever writes "0" to each of them is in the cgroup.

        below: controller ("" for every one) to the path ("/a/b") of an existing cgroup inside this one.
        ``init``: for `exec`, the process whose container it goes into.
        """
        raise NotImplementedError

    def clones(self, resources: Resources) -> bool:
        """Whether init can be made in the cgroup; else it writes itself into ``join_files``."""
        return False

    def clone_fd(self, below: dict[str, str] | None = None, init: int = 0) -> int:
        """Directory fd for CLONE_INTO_CGROUP; -1: use ``join_files``.

        ``init``: for `exec`, the process whose container it goes into.
        """
        return -1

    def stats(self) -> dict[str, Any]:
        """What `events` prints as "data"."""
        raise NotImplementedError

    def watch_oom(self) -> OomWatch:
        """Tells of kills for want of memory; its fd is -1 where there's nothing to watch."""
        raise NotImplementedError

    def adopts(self) -> bool:
        """Whether the cgroup is only made with a process to be in it: by ``adopt``."""
        return False

    def adopt(self, pid: int) -> None:
        """Make the cgroup with this process in it, and set its limits; after ``create``."""

    def attach(self, pid: int, below: dict[str, str], init: int) -> None:
        """For `exec`, after ``clone_fd`` with the same arguments: put the process in if it isn't yet."""

    def delegate(self, owner: int) -> None:
        """Give the cgroup to a user of the host (config-linux.md, Cgroup ownership). v2 only."""

    def processes(self) -> list[int]:
        """Processes in the cgroup and below it."""
        raise NotImplementedError

    def kill_all(self) -> None:
        """SIGKILL to every process in it and below, even if frozen; returns when it's empty."""
        raise NotImplementedError

    def freeze(self) -> None:
        raise NotImplementedError

    def thaw(self) -> None:
        raise NotImplementedError

    def frozen(self) -> bool:
        raise NotImplementedError

    def freezer_file(self) -> str:
        """The file that tells whether it is frozen; "" without a freezer. `state` reads it without us."""
        raise NotImplementedError

    def remove(self) -> None:
        """Remove what ``create`` made, and whatever the container made inside."""
        raise NotImplementedError

    def made_directories(self) -> list[tuple[str, str]]:
        """(topmost directory that ``create`` makes, or "", the container's directory) in each hierarchy."""
        raise NotImplementedError

    def mark(self, owner: str) -> None:
        """Write on each directory that was made whose it is. Who may not has his cgroups delegated to him."""
        for top, directory in self.made_directories():
            if top:
                try:
                    posix.setxattr(directory, MARK, f"{owner}\0{top}".encode("utf-8", "surrogateescape"))
                except OSError:
                    return

    def paths(self) -> dict[str, str]:
        """Controller to the container's directory; v2: {"": directory}."""
        raise NotImplementedError

    def mounts(self) -> list[tuple[tuple[str, ...], str, str]]:
        """(controllers, mountpoint, path below the mountpoint), for mounts of type cgroup."""
        raise NotImplementedError


def no_record(version: str) -> Record:
    """The record of a container without a cgroup of its own."""
    return {"driver": "none", "version": version}


class Taken(Error):
    """Another container made the cgroup after we had looked: it is not ours to empty or to remove.

    ``ours``: the record of what ``create`` had made before, which is in no use yet.
    """

    def __init__(self, directory: str, ours: Record) -> None:
        super().__init__(
            f"cgroup {directory} was made by somebody else just now",
            code="cgroup",
            step="cgroup",
            path="linux.cgroupsPath",
            syscall="mkdir",
            errno=errno.EEXIST,
            subject=directory,
            hint="each container needs a cgroupsPath of its own",
        )
        self.ours = ours


def refuse_processes(directory: str) -> None:
    """A container starts in an empty cgroup, or its limits would hit strangers."""
    count = len(files.pids(directory))
    if count:
        raise occupied(directory, count)


def occupied(directory: str, count: int) -> Error:
    return files.failure(
        f"container's cgroup is not empty: {count} process(es) found",
        directory,
        path="linux.cgroupsPath",
        hint=f"choose another cgroupsPath than {directory}, or end the processes that are in it",
    )


def kill_each(found: list[int]) -> None:
    for pid in found:
        # A process of an outer pid namespace is listed as 0, and 0 would be our own group.
        if pid <= 0:
            continue
        try:
            posix.kill(pid, 9)
        except OSError as e:
            if e.errno != errno.ESRCH:
                raise files.failure(
                    f"cannot kill process {pid}", str(pid), e.errno or 0, syscall="kill"
                ) from None


def wait_empty(directory: str, again: Callable[[], None] | None = None, limit: float = 10.0) -> None:
    """Wait until no process is in the cgroup and below; ``again()`` before each look."""
    pause = 0.0005
    end = time.monotonic() + limit
    while True:
        if again:
            again()
        left = files.tree_pids(directory)
        if not left:
            return
        if time.monotonic() > end:
            raise still_there(directory, left)
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def still_there(directory: str, left: list[int]) -> Error:
    return files.failure(
        "processes do not end after SIGKILL: " + " ".join(map(str, left)),
        directory,
        hint="they are stuck in the kernel; look at /proc/PID/stack",
    )


def unexpectedly_frozen(directory: str) -> Error:
    return files.failure(
        "container's cgroup unexpectedly frozen",
        directory,
        path="linux.cgroupsPath",
        hint="choose another cgroupsPath, or thaw it",
    )


def no_sub_cgroup(directory: str) -> Error:
    hint = "exec makes no cgroup: whoever manages those of the container has to make it before"
    return files.failure(f"cannot join cgroup {directory}", directory, errno.ENOENT, "--cgroup", "open", hint)


def cannot_join(file: str, number: int) -> Error:
    directory = file.rpartition("/")[0]
    return files.failure(f"cannot join cgroup {directory}", file, number, "linux.cgroupsPath", "open")
