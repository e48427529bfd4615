"""A process in the foreground: its signals, its terminal, its exit status.

The command's signals go on to the process, all but SIGCHLD and SIGPIPE; SIGWINCH becomes the size of its
terminal. Where pyrunc is a library, signals are the caller's.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import _struct
import fcntl
import posix
import select
from time import monotonic

from pyrunc.errors import Error, TimedOut
from pyrunc.process import POLL_MAX, exit_status, reap, send, wait_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIGCHLD, _SIGPIPE, _SIGWINCH, _SIGURG = 17, 13, 28, 23
_NOT_FORWARDED = (9, 19, _SIGCHLD, _SIGPIPE, _SIGURG)
# All but the two that the C library keeps for itself.
_ALL = tuple(number for number in range(1, 65) if number not in (32, 33))
_TIOCGWINSZ, _TIOCSWINSZ = 0x5413, 0x5414
_TCGETS, _TCSETS = 0x5401, 0x5402
_PIECE = 8192  # bytes


class Foreground:
    """Made before the process starts, so that no signal is lost; ``wait`` afterwards."""

    __slots__ = ("forwards", "signals", "saved_terminal")

    def __init__(self, forwards: bool) -> None:
        """forwards: the signals of this process are for the other one."""
        self.forwards = forwards
        self.signals = -1
        self.saved_terminal = b""
        if forwards:
            # They are taken one by one with sigwaitinfo(2); pyrunc-init clears its own mask.
            _signal.pthread_sigmask(_signal.SIG_BLOCK, _ALL)

    def wait(self, pid: int, pidfd: int, master: int = -1, timeout: float | None = None) -> int:
        """Until the process has ended. Returns its exit status, 128 + N for signal N.

        Raises TimedOut after ``timeout`` seconds, which nobody gives who forwards signals.
        """
        if master >= 0:
            return self._wait_with_terminal(pid, pidfd, master, timeout)
        if not self.forwards:
            if not wait_end(pidfd, -1 if timeout is None else timeout * 1000):
                raise timed_out(timeout)
            return _exit_status_of(pid)
        while True:
            ended, status = posix.waitpid(pid, posix.WNOHANG)
            if ended:
                return exit_status(status)
            number = _signal.sigwaitinfo(_ALL).si_signo
            if number not in _NOT_FORWARDED:
                send(pidfd, number)

    def _wait_with_terminal(self, pid: int, pidfd: int, master: int, timeout: float | None) -> int:
        poll = select.poll()
        for fd in (pidfd, master, 0):
            poll.register(fd, select.POLLIN)
        if self.forwards:
            self._catch_signals()
            poll.register(self.signals, select.POLLIN)
        posix.set_blocking(master, False)
        self._raw()
        _resize(master)
        try:
            self._loop(poll, pidfd, master, timeout)
        finally:
            self._restore()
        return _exit_status_of(pid)

    def _catch_signals(self) -> None:
        self.signals, writing = posix.pipe2(posix.O_CLOEXEC | posix.O_NONBLOCK)
        for number in _ALL:
            if number not in _NOT_FORWARDED:
                _signal.signal(number, _nothing)
        _signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        _signal.pthread_sigmask(_signal.SIG_UNBLOCK, _ALL)

    def _loop(self, poll: Any, pidfd: int, master: int, timeout: float | None) -> None:
        ended = False
        typed = b""  # and not yet taken by the terminal: no more is read until it is
        end = None if timeout is None else monotonic() + timeout
        while True:
            # The process has ended: what its terminal still holds is worth reading, then it is over.
            left = None if end is None else min(max(end - monotonic(), 0) * 1000, POLL_MAX)
            ready = poll.poll(50 if ended else left)
            if ended and not any(fd == master and events & ~select.POLLOUT for fd, events in ready):
                return
            if not ready and not ended and end is not None and monotonic() >= end:
                raise timed_out(timeout)
            for fd, events in ready:
                if fd == pidfd:
                    ended = True
                    poll.unregister(pidfd)
                    if master < 0:
                        return
                elif fd == self.signals:
                    self._forward(pidfd, master)
                elif fd == master:
                    if events & ~select.POLLOUT and not _show(master):
                        poll.unregister(master)
                        master = -1
                    elif events & select.POLLOUT:
                        typed = _type(master, typed)
                        if not typed:
                            poll.modify(master, select.POLLIN)
                            poll.register(0, select.POLLIN)
                elif fd == 0:
                    poll.unregister(0)
                    typed = _read(0) if master >= 0 else b""
                    if typed:
                        poll.modify(master, select.POLLIN | select.POLLOUT)

    def _forward(self, pidfd: int, master: int) -> None:
        for number in posix.read(self.signals, 512):
            if number == _SIGWINCH and master >= 0:
                _resize(master)
            elif number not in _NOT_FORWARDED:
                send(pidfd, number)

    def _raw(self) -> None:
        """Our own terminal hands everything on as it is: cfmakeraw(3)."""
        try:
            self.saved_terminal = fcntl.ioctl(0, _TCGETS, bytes(60))
        except OSError:
            return
        iflag, oflag, cflag, lflag = _struct.unpack_from("<4I", self.saved_terminal)
        raw = _struct.pack("<4I", iflag & ~0o2753, oflag & ~1, cflag & ~0o460 | 0o60, lflag & ~0o100113)
        fcntl.ioctl(0, _TCSETS, raw + self.saved_terminal[16:])

    def _restore(self) -> None:
        if self.saved_terminal:
            fcntl.ioctl(0, _TCSETS, self.saved_terminal)


def _exit_status_of(pid: int) -> int:
    """Raises Error where somebody else has it already: the kernel tells it once."""
    status = reap(pid)
    if status < 0:
        raise Error(
            "the process has ended, but its exit status is not known",
            code="exit-status",
            step="wait",
            subject=str(pid),
            hint="this program ignores SIGCHLD, or waits for all children elsewhere: leave pyrunc its own",
        )
    return exit_status(status)


def timed_out(timeout: float | None) -> TimedOut:
    return TimedOut(
        f"the process has not ended after {timeout} seconds",
        code="timeout",
        step="wait",
        hint="it was killed: allow more time, or find out what it waits for",
    )


def receive_master(socket: _socket.socket) -> int:
    """The terminal's master that init has sent."""
    _, ancillary, _, _ = socket.recvmsg(256, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
    for _, kind, value in ancillary:
        if kind == _socket.SCM_RIGHTS:
            fd: int = _struct.unpack("i", value[:4])[0]
            return fd
    return -1


def _nothing(number: int, frame: object) -> None:
    """The wakeup descriptor tells of the signal."""


def _resize(master: int) -> None:
    try:
        fcntl.ioctl(master, _TIOCSWINSZ, fcntl.ioctl(0, _TIOCGWINSZ, bytes(8)))
    except OSError:
        pass


def _show(master: int) -> bool:
    """One piece of what the terminal says, to standard output; False at the end of either."""
    try:
        piece = posix.read(master, _PIECE)
    except BlockingIOError:
        return True  # its program has taken it back
    except OSError:  # EIO: its other side is closed
        return False
    shown = bool(piece)
    while piece:
        try:
            piece = piece[posix.write(1, piece) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(1, select.POLLOUT)
            poll.poll()
        except OSError:
            return False
    return shown


def _type(master: int, typed: bytes) -> bytes:
    """Hand it to the terminal; what that has no room for. A program that doesn't read may wait for us to take
    what it writes: we must not wait for it.
    """
    try:
        return typed[posix.write(master, typed) :]
    except BlockingIOError:
        return typed
    except OSError:
        return b""


def _read(fd: int) -> bytes:
    """One piece; none at the end, and of what can't be read."""
    try:
        return posix.read(fd, _PIECE)
    except OSError:
        return b""
