"""When the kernel kills for want of memory: v1 by an eventfd, v2 by a change of memory.events."""

from __future__ import annotations

import posix
import select

from pyrunc.cgroup import files
from pyrunc.cgroup.stats import flat


class OomWatch:
    """``fd`` and ``mask`` are for poll(2); ``killed`` is to be asked after each wake-up."""

    fd = -1
    mask = select.POLLIN

    def killed(self) -> bool:
        """Whether it was for a kill, since the last question."""
        return False

    def close(self) -> None:
        if self.fd >= 0:
            posix.close(self.fd)


class LegacyWatch(OomWatch):
    """memory.oom_control of v1. The end of the cgroup wakes it up too."""

    def __init__(self, directory: str) -> None:
        self._control = directory + "/memory.oom_control"
        control = posix.open(self._control, posix.O_RDONLY | posix.O_CLOEXEC)
        self.fd = posix.eventfd(0, posix.EFD_CLOEXEC)
        try:
            files.put(directory + "/cgroup.event_control", f"{self.fd} {control}", "")
        except BaseException:
            self.close()
            raise
        finally:
            posix.close(control)

    def killed(self) -> bool:
        return posix.eventfd_read(self.fd) > 0 and files.exists(self._control)


class UnifiedWatch(OomWatch):
    """memory.events of v2: poll tells of a change, the counter whether it was a kill."""

    mask = select.POLLPRI

    def __init__(self, directory: str) -> None:
        self._file = directory + "/memory.events"
        self.fd = posix.open(self._file, posix.O_RDONLY | posix.O_CLOEXEC)
        self._kills = self._count()

    def killed(self) -> bool:
        before, self._kills = self._kills, self._count()
        return self._kills > before

    def _count(self) -> int:
        posix.lseek(self.fd, 0, 0)
        posix.read(self.fd, 4096)  # Only what was read can change for poll.
        return flat(self._file).get("oom_kill", 0)
