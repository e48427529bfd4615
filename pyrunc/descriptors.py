"""Descriptors between pyrunc and its caller: sockets that get one, and those that a container keeps."""

from __future__ import annotations

import _socket
import _struct
import posix

from pyrunc.cli.report import log_descriptor
from pyrunc.errors import Error

_FIRST = 3
_PATIENCE = 10  # seconds


def connect_console(path: str) -> int:
    """The caller's socket for the terminal's master, connected. Raises Error."""
    return _connect(path, "console", "terminal").detach()


def send_pidfd(path: str, pidfd: int, kind: bytes) -> None:
    """Send a pidfd to whoever listens at ``path``; ``kind``: b"standard", or b"setns" from exec."""
    connection = _connect(path, "pidfd", "pidfd")
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _struct.pack("i", pidfd))]
    try:
        connection.sendmsg([kind], rights, _socket.MSG_NOSIGNAL)
    except OSError as error:
        raise _unreachable(path, "pidfd", "pidfd", "sendmsg", error) from None
    finally:
        connection.close()


def check_preserved(count: int) -> None:
    """Raise Error unless descriptors 3 to 2+count are open, by our caller: the log is ours."""
    for fd in range(_FIRST, _FIRST + count):
        try:
            posix.fstat(fd if fd != log_descriptor() else -1)
        except OSError as error:
            raise Error(
                f"file descriptor {fd} is to be passed on, but it is not open",
                code="preserve-fds",
                step="descriptors",
                syscall="fstat",
                subject=str(fd),
                errno=error.errno or 0,
                hint="--preserve-fds N and LISTEN_FDS count from descriptor 3, without a gap",
            ) from None


def check_terminal(terminal: bool, socket: str, ours: bool) -> None:
    """Raise Error where a terminal has nobody to go to, or --console-socket waits for none.

    ours: it can come to us, who stay in the foreground.
    """
    if terminal and not (socket or ours):
        text = "cannot allocate tty if runc will detach without setting console socket"
        hint = "give --console-socket, or set process.terminal to false"
    elif socket and not terminal:
        text = "cannot use console socket if runc will not detach or allocate tty"
        hint = "set process.terminal to true, or leave --console-socket out"
    else:
        return
    raise Error(text, code="terminal", step="terminal", path="process.terminal", hint=hint)


def connected(path: str) -> _socket.socket:
    """A stream to who listens at ``path``, which may be of any length; "@name" is a socket without a file
    (unix(7), abstract). Raises OSError.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    # Where nobody takes the connections, and so many wait already that there is no room for another.
    connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _struct.pack("ll", _PATIENCE, 0))
    file = -1
    try:
        if path.startswith("@"):
            connection.connect("\0" + path[1:])
        else:
            file = posix.open(path, posix.O_PATH | posix.O_CLOEXEC)
            connection.connect(f"/proc/self/fd/{file}")
    except OSError:
        connection.close()
        raise
    finally:
        if file >= 0:
            posix.close(file)
    return connection


def _connect(path: str, what: str, step: str) -> _socket.socket:
    try:
        return connected(path)
    except OSError as error:
        raise _unreachable(path, what, step, "connect", error) from None


def _unreachable(path: str, what: str, step: str, syscall: str, error: OSError) -> Error:
    from pyrunc.explain.files import socket_unreachable

    return socket_unreachable(path, what, step, syscall, error.errno or 0)
