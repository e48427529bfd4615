"""Processes of the host by pid and start time, so that a reused pid is never taken for ours."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import posix
import select

from pyrunc.state_directory import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SIGKILL = 9
OWN_STDIO = (0, 1, 2)
POLL_MAX = 0x7FFFFFFF  # milliseconds that poll(2) can wait: 24 days


def in_user_namespace() -> bool:
    """Whether we are in a user namespace below the first one: its root isn't the machine's."""
    try:
        return read_file("/proc/self/uid_map").split() != [b"0", b"0", b"4294967295"]
    except OSError:
        return False


def is_rootless() -> bool:
    """Whether we lack the rights of the machine's root."""
    return posix.geteuid() != 0 or in_user_namespace()


_release: list[int] = []  # the kernel's, once it was asked for


def kernel_is(*least: int) -> bool:
    """Whether the kernel is of this release, such as 6, 1, or a newer one."""
    if not _release:
        major, minor = posix.uname().release.split(".")[:2]
        _release[:] = int(major), int("".join(filter(str.isdigit, minor)) or "0")
    return _release >= [*least]


class Seen:
    """What /proc/PID/stat says: proc_pid_stat(5). ``start_time`` in clock ticks since boot."""

    __slots__ = ("state", "name", "start_time")

    def __init__(self, text: bytes) -> None:
        head, _, tail = text.rpartition(b") ")
        fields = tail.split(b" ", 20)
        self.name = head.partition(b"(")[2]
        self.state = fields[0]
        self.start_time = int(fields[19])

    @property
    def alive(self) -> bool:
        return self.state not in (b"Z", b"X")


def look(pid: int, start_time: int = 0) -> Seen | None:
    """The process, or None when it is gone, dead, or another one with the same pid."""
    if pid <= 0:
        return None
    try:
        seen = Seen(read_file(f"/proc/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    if not seen.alive or (start_time and seen.start_time != start_time):
        return None
    return seen


def pidfd_open(pid: int) -> int:
    """A pidfd; raises ProcessLookupError when there is no such process, Error when the call is refused."""
    try:
        return posix.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError as error:
        from pyrunc.explain import call_refused

        raise call_refused("pidfd_open", error.errno or 0, subject=str(pid)) from None


def open_pidfd(pid: int, start_time: int = 0) -> int:
    """A pidfd of the process, or -1 when it is gone, or was started at another time. 0 is no process."""
    if not pid:
        return -1
    try:
        fd = pidfd_open(pid)
    except ProcessLookupError:
        return -1
    if look(pid, start_time) is None:
        posix.close(fd)
        return -1
    return fd


def send(pidfd: int, number: int) -> bool:
    """Send a signal; False when the process is gone."""
    try:
        _signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def wait_end(pidfd: int, milliseconds: float) -> bool:
    """Whether the process has ended, waiting for at most so long; -1: as long as it takes."""
    return bool(wait_any((pidfd,), milliseconds))


def wait_any(pidfds: Sequence[int], milliseconds: float) -> list[int]:
    """Those whose process has ended, waiting for one of them for at most so long; -1 among them is none."""
    poll = select.poll()
    for fd in pidfds:
        if fd >= 0:
            poll.register(fd, select.POLLIN)
    while milliseconds > POLL_MAX:
        if ready := poll.poll(POLL_MAX):
            return [fd for fd, _ in ready]
        milliseconds -= POLL_MAX
    return [fd for fd, _ in poll.poll(milliseconds)]


_left: list[int] = []


def leave(pid: int) -> None:
    """A child of ours that nobody waits for: who lives on, and starts many, must not keep their zombies."""
    _left.append(pid)


def sweep() -> None:
    """Reap those of them that have ended."""
    for pid in _left[:]:
        try:
            ended = posix.waitpid(pid, posix.WNOHANG)[0]
        except ChildProcessError:
            ended = pid
        if ended and pid in _left:
            _left.remove(pid)


def reap(pid: int) -> int:
    """The wait status of a child of ours; -1 when it is none."""
    try:
        return posix.waitpid(pid, 0)[1]
    except ChildProcessError:
        return -1


def exit_status(wait_status: int) -> int:
    """The exit status that a shell would show: 128 + N for a process ended by signal N."""
    return wait_status >> 8 if not wait_status & 0x7F else 128 + (wait_status & 0x7F)
