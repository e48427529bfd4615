"""Sockets of a service manager: LISTEN_FDS of sd_listen_fds(3), NOTIFY_SOCKET of sd_notify(3).

Descriptors that were passed to pyrunc go on to the container. Its word of being ready goes to the manager
through a socket of the container's own: the manager would not know the container's processes.

Loaded only when pyrunc's environment, or the record of the container, has one of them.
"""

from __future__ import annotations

import _socket
import _struct
import posix
import select
import time

from pyrunc.process import open_pidfd
from pyrunc.spec import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from pyrunc.spec import Spec
    from pyrunc.state_directory import State

_INSIDE = "/run/notify"
_NAME = "notify/notify.sock"
# Seconds that `start` waits for a container to be ready. After them it goes on waiting in the background.
_PATIENCE = 10.0
_BARRIER = 5.0  # seconds that the manager has to take note


def from_environment() -> dict[str, Any]:
    """What the caller has for the container, in JSON's types: it goes into the record."""
    environment = posix.environ
    found: dict[str, Any] = {}
    count = decimal(environment.get(b"LISTEN_FDS", b"").decode("ascii", "replace"))
    for_us = environment.get(b"LISTEN_PID", b"") in (b"", str(posix.getpid()).encode())
    if for_us and count:
        found["listen"] = count
        found["names"] = environment.get(b"LISTEN_FDNAMES", b"").decode("utf-8", "replace")
    manager = environment.get(b"NOTIFY_SOCKET", b"")
    if manager[:1] in (b"/", b"@"):
        found["notify"] = manager.decode("utf-8", "surrogateescape")
    return found


def change(spec: Spec, found: dict[str, Any], directory: str) -> None:
    """The configuration as it is with them. ``directory``: the container's state."""
    added = []
    if found.get("listen"):
        added += [f"LISTEN_FDS={found['listen']}", "LISTEN_PID=1"]
        if found["names"]:
            added.append(f"LISTEN_FDNAMES={found['names']}")
    if found.get("notify"):
        added.append(f"NOTIFY_SOCKET={_INSIDE}/notify.sock")
        options = ["bind", "nosuid", "noexec", "nodev", "ro"]
        mount = {"destination": _INSIDE, "type": "bind", "source": f"{directory}/notify", "options": options}
        spec.data["mounts"] = [*(spec.data.get("mounts") or []), mount]
    if added and "process" in spec:
        process = dict(spec.process.data)
        process["env"] = [*(process.get("env") or []), *added]
        spec.data["process"] = process


def make_directory(state: State) -> None:
    """What is mounted in the container; the socket in it is there from `start` on."""
    posix.mkdir("notify", 0o755, dir_fd=state.fd)


class Readiness:
    """The container's notify socket, made before its program runs."""

    def __init__(self, state: State) -> None:
        self._manager = _address(state.record["activation"]["notify"])
        self._pid = state.record["pid"]
        self._pidfd = open_pidfd(self._pid, state.record["start_time"])
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        try:
            self._socket.bind(f"/proc/self/fd/{state.fd}/{_NAME}")
            posix.chmod(_NAME, 0o777, dir_fd=state.fd)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        self._socket.close()
        if self._pidfd >= 0:
            posix.close(self._pidfd)
            self._pidfd = -1

    def pass_on(self) -> None:
        """Wait until the container is ready or has ended, but let no caller wait for ever. Closes it."""
        try:
            if not self._wait(_PATIENCE) and posix.fork() == 0:
                self._go_on()
        finally:
            self.close()

    def follow(self) -> None:
        """Wait as long as it takes; for a thread of its own. Closes it."""
        try:
            self._wait(None)
        finally:
            self.close()

    def _go_on(self) -> NoReturn:
        """In a child, which must never return to the caller's program: that goes on in its parent."""
        try:
            _leave({self._socket.fileno(), self._pidfd})
            self._wait(None)
        finally:
            posix._exit(0)

    def _wait(self, seconds: float | None) -> bool:
        """True when the container is ready, and the manager knows, or when it has ended."""
        end = None if seconds is None else time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.register(self._socket, select.POLLIN)
        while True:
            left = None if end is None else max(end - time.monotonic(), 0) * 1000
            ready = [fd for fd, _ in poll.poll(left)]
            if self._socket.fileno() in ready and b"READY=1" in self._socket.recv(4096).split(b"\n"):
                self._tell()
                return True
            if self._pidfd in ready:
                return True
            if not ready:
                return False

    def _tell(self) -> None:
        """READY first: until MAINPID pyrunc is the main process. A manager that is gone needs no word."""
        manager = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM)
        reading, writing = posix.pipe2(posix.O_CLOEXEC)
        try:
            manager.connect(self._manager)
            manager.send(b"READY=1")
            manager.send(f"MAINPID={self._pid}".encode())
            # The other end of the pipe is closed when all before it was read.
            rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _struct.pack("i", writing))]
            manager.sendmsg([b"BARRIER=1"], rights)
        except OSError:
            pass
        finally:
            manager.close()
            posix.close(writing)
        poll = select.poll()
        poll.register(reading, 0)
        poll.poll(_BARRIER * 1000)
        posix.close(reading)


def _address(path: str) -> str | bytes:
    """ "@" stands for the NUL of an abstract socket."""
    return b"\0" + path[1:].encode("utf-8", "surrogateescape") if path[0] == "@" else path


def _leave(keep: set[int]) -> None:
    """Nothing of the caller's is held open: it may wait for the end of a pipe."""
    posix.setsid()
    posix.chdir("/")
    null = posix.open("/dev/null", posix.O_RDWR)
    for fd in range(3):
        posix.dup2(null, fd)
    for name in posix.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in keep:
            try:
                posix.close(int(name))
            except OSError:
                continue  # the one that listed them
