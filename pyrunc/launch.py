"""Starts pyrunc-init with a plan, and follows it until the container is ready."""

from __future__ import annotations

import _socket
import fcntl
import posix

from pyrunc import protocol, timeline
from pyrunc._native.load import checked, clone
from pyrunc.errors import Error
from pyrunc.process import (
    OWN_STDIO,
    SIGKILL,
    exit_status,
    look,
    pidfd_open,
    reap,
    send,
    sweep,
    wait_end,
)
from pyrunc.state_directory import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pyrunc.opening import Opened
    from pyrunc.plan import Plan

_INIT = "/pyrunc-init"
_PATIENCE = 2_000  # milliseconds


class Init:
    """A running pyrunc-init: its pid (of our pid namespace), pidfd, and the socket to it."""

    __slots__ = ("plan", "pid", "pidfd", "socket")

    def __init__(self, plan: Plan, pid: int, pidfd: int, socket: _socket.socket) -> None:
        self.plan = plan
        self.pid = pid
        self.pidfd = pidfd
        self.socket = socket

    @property
    def start_time(self) -> int:
        seen = look(self.pid)
        return seen.start_time if seen else 0

    def say(self, kind: int, value: int = 0) -> None:
        try:
            protocol.say(self.socket, kind, value)
        except OSError:
            raise self.vanished() from None

    def until_ready(self, stage: Callable[[int], None], moved: Callable[[], None]) -> None:
        """Answer init until it says READY. ``moved`` is called when the process to follow is another."""
        while True:
            message = protocol.receive(self.socket)
            if message is None:
                raise self.vanished()
            if message.kind == protocol.READY:
                return
            if message.kind == protocol.STEP:
                timeline.step(message.step, message.value)
            elif message.kind == protocol.STAGE:
                stage(message.value)
                timeline.phase("wait for pyrunc-init")
                self.say(protocol.GO)
            elif message.kind == protocol.PID:
                self._follow(message.value)
                moved()
            elif message.kind == protocol.FAILED:
                raise self.failed(message)
            elif message.kind == protocol.WARNING:
                from pyrunc.cli.report import fact, warn
                from pyrunc.explain import step_failed

                warn(fact(step_failed(self.plan, message, self.pid)))

    def _follow(self, pid: int) -> None:
        """The process that was spawned has made another, which goes on, and has ended."""
        pidfd = pidfd_open(pid)
        reap(self.pid)
        posix.close(self.pidfd)
        self.pid, self.pidfd = pid, pidfd

    def release(self) -> None:
        """Let it live without us. From here on only START moves it."""
        self.say(protocol.GO)

    def start(self, listener: Callable[[int], None]) -> None:
        """START over our own socket, as `run` and `exec` do; returns when execve has worked.

        ``listener`` gets the descriptor of the seccomp listener, if there is one.
        """
        timeline.phase("start")
        self.say(protocol.START, int(timeline.recorder is not None))
        failed = protocol.await_exec(self.socket, listener)
        if failed:
            from pyrunc.explain import step_failed

            raise step_failed(self.plan, failed, self.pid)

    def failed(self, message: protocol.Message) -> Error:
        from pyrunc.explain import step_failed

        error = step_failed(self.plan, message, self.pid)
        self.end()
        return error

    def vanished(self) -> Error:
        """Init ended without a word: by a signal, as when the memory limit is too low."""
        from pyrunc.explain import init_vanished

        ended = wait_end(self.pidfd, _PATIENCE)
        if not ended:
            send(self.pidfd, SIGKILL)  # it lives, and waits for us; that status is of our own making
        status = reap(self.pid)
        return init_vanished(exit_status(status) if ended and status >= 0 else -1)

    def end(self) -> None:
        """Kill and reap it; fine when it is gone already."""
        send(self.pidfd, SIGKILL)
        reap(self.pid)

    def close(self) -> None:
        for close in (self.socket.close, lambda: posix.close(self.pidfd)):
            try:
                close()
            except OSError:
                pass  # whatever close(2) says, the descriptor is gone


def socket_pair() -> tuple[_socket.socket, _socket.socket]:
    left, right = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return left, right


def stream_pair() -> tuple[_socket.socket, _socket.socket]:
    left, right = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    return left, right


def spawn(
    plan: Plan,
    opened: Opened,
    *,
    clone_fd: int = -1,
    listener: int = -1,
    watch: int = -1,
    preserve: int = 0,
    stdio: tuple[int, int, int] = OWN_STDIO,
) -> Init:
    """clone3 and execveat of pyrunc-init from a sealed memfd; raises Error.

    What it opens, and ``clone_fd``, is closed with ``opened``.
    """
    opened.own(clone_fd)
    timeline.spawning(plan)
    sweep()
    native = clone()
    lib, ffi = native.lib, native.ffi
    ours, socket = socket_pair()
    try:
        theirs = opened.own(socket.detach())
        moved = _above_stdio(stdio, opened)
        trace = int(timeline.recorder is not None)
        text = plan.encode(opened.fds, theirs, listener, watch, preserve, ignored(), trace)
        plan_fd = checked(lib.pyrunc_sealed_memfd(b"pyrunc-plan", text, len(text), 0), "memfd_create")
        opened.own(plan_fd)
        program = read_file(_init_path())
        init_fd = checked(lib.pyrunc_sealed_memfd(b"pyrunc-init", program, len(program), 1), "memfd_create")
        opened.own(init_fd)
        keep = [fd for fd in (theirs, listener, watch, *opened.fds) if fd >= 0]
        pidfd, at = ffi.new("int *"), ffi.new("int *")
        pid = lib.pyrunc_spawn(
            plan.clone_flags,
            clone_fd,
            init_fd,
            plan_fd,
            ffi.new("int[]", keep),
            len(keep),
            preserve,
            ffi.new("int[]", moved),
            1 if plan.user_namespace and plan.clone_flags else 0,
            pidfd,
            at,
        )
        if pid < 0:
            from pyrunc.explain import clone_failed

            raise clone_failed(plan, -pid, at[0])
    except BaseException:
        ours.close()
        raise
    return Init(plan, pid, pidfd[0], ours)


def _above_stdio(stdio: tuple[int, int, int], opened: Opened) -> list[int]:
    """Copies that none of the three overwrites while it is put in place; -1 for one that is there already."""
    if stdio == OWN_STDIO:
        return [-1, -1, -1]
    return [opened.own(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)) for fd in stdio]


def ignored() -> int:
    """The signals that this process ignores, as a mask: bit n-1 is signal n; all where it can't be told.

    The kernel is asked: the interpreter knows what was so when it started, and nothing of 32 and 33.
    """
    try:
        return int(read_file("/proc/self/status").partition(b"\nSigIgn:\t")[2][:16], 16)
    except (OSError, ValueError):
        return (1 << 64) - 1


def _init_path() -> str:
    from pyrunc._native import load

    return load.__file__.rpartition("/")[0].removesuffix("/__pycache__") + _INIT
