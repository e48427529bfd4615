"""Starts pyrunc-init with a plan and talks with it: docs/architecture.md draws the protocol.

parent                                 pyrunc-init
  spawn ───────────────────────────────▶ decodes the plan, executes steps
  ◀────────────────────── STAGE n ────── (id maps, hooks of the runtime)
  GO ──────────────────────────────────▶
  ◀────────────────────── READY ──────── all is done but the start
  GO ──────────────────────────────────▶ waits for START (from here on without the parent)
  START ───────────────────────────────▶ startContainer hooks
  ◀────────────────────── EXEC ───────── execve; the end of the file says that it worked
  ◀────────────────────── FAILED ─────── at any time: step, errno
"""

from __future__ import annotations

import _socket
import _struct
import fcntl
import posix

from pyrunc import timeline
from pyrunc.errors import Error
from pyrunc.plan import (
    FD_CGROUP,
    FD_CONSOLE,
    FD_ID_MAPS,
    FD_INIT,
    FD_INIT_ROOT,
    FD_NAMESPACE,
    FD_TREE_RECURSIVE,
    opcodes,
)
from pyrunc.processes import (
    OWN_STDIO,
    SIGKILL,
    exit_status,
    look,
    open_pidfd,
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
    from typing import Any

    from pyrunc.plan import FdRequest, Plan

_MESSAGE = _struct.Struct("<IIiIq")
_INIT = "/pyrunc-init"
_PATIENCE = 2_000  # milliseconds


class Message:
    """One message of init."""

    __slots__ = ("kind", "step", "errno", "detail", "value", "text", "fd")

    def __init__(self, data: bytes, fd: int) -> None:
        fields = _MESSAGE.unpack_from(data)
        self.kind, self.step, self.errno, self.detail, self.value = fields
        self.text = data[_MESSAGE.size :].decode("utf-8", "replace")
        self.fd = fd


class Opened:
    """Descriptors that the plan asked for: what to close, and what goes where."""

    __slots__ = ("fds", "close_after")

    def __init__(self) -> None:
        self.fds: list[int] = []
        self.close_after: list[int] = []

    def close(self) -> None:
        close_all(self.close_after)
        self.close_after = []


def close_all(fds: list[int]) -> None:
    """Close open descriptors; a row of them at once."""
    first = last = -1
    for fd in sorted(fds):
        if fd != last + 1 or first < 0:
            if first >= 0:
                posix.closerange(first, last + 1)
            first = fd
        last = fd
    if first >= 0:
        posix.closerange(first, last + 1)


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
            self.socket.send(_MESSAGE.pack(kind, 0, 0, 0, value), _socket.MSG_NOSIGNAL)
        except OSError:
            raise self.vanished() from None

    def until_ready(self, stage: Callable[[int], None], moved: Callable[[], None]) -> None:
        """Answer init until it says READY. ``moved`` is called when the process to follow is another."""
        while True:
            message = receive(self.socket)
            if message is None:
                raise self.vanished()
            if message.kind == opcodes.MSG_READY:
                return
            if message.kind == opcodes.MSG_STEP:
                timeline.step(message.step, message.value)
            elif message.kind == opcodes.MSG_STAGE:
                stage(message.value)
                timeline.phase("wait for pyrunc-init")
                self.say(opcodes.MSG_GO)
            elif message.kind == opcodes.MSG_PID:
                self._follow(message.value)
                moved()
            elif message.kind == opcodes.MSG_FAILED:
                raise self.failed(message)
            elif message.kind == opcodes.MSG_WARNING:
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
        self.say(opcodes.MSG_GO)

    def start(self, listener: Callable[[int], None]) -> None:
        """START over our own socket, as `run` and `exec` do; returns when execve has worked.

        ``listener`` gets the descriptor of the seccomp listener, if there is one.
        """
        timeline.phase("start")
        self.say(opcodes.MSG_START, int(timeline.recorder is not None))
        await_exec(self.socket, self.plan, self.pid, listener)

    def failed(self, message: Message) -> Error:
        from pyrunc.explain import step_failed

        error = step_failed(self.plan, message, self.pid)
        self.end()
        return error

    def vanished(self) -> Error:
        """Init ended without a word: by a signal, as when the memory limit is too low."""
        from pyrunc.explain import init_vanished

        if not wait_end(self.pidfd, _PATIENCE):
            send(self.pidfd, SIGKILL)  # it lives, and waits for us
        status = reap(self.pid)
        return init_vanished(exit_status(status) if status >= 0 else -1)

    def end(self) -> None:
        """Kill and reap it; fine when it is gone already."""
        send(self.pidfd, SIGKILL)
        reap(self.pid)

    def close(self) -> None:
        try:
            self.socket.close()
            posix.close(self.pidfd)
        except OSError:
            pass  # whatever close(2) says, the descriptor is gone


def await_exec(socket: _socket.socket, plan: Plan, pid: int, listener: Callable[[int], None]) -> None:
    """After START: returns when the user's program runs; raises what failed."""
    said_exec = False
    while True:
        message = receive(socket)
        if message is None:
            if said_exec:
                return
            from pyrunc.explain import init_vanished

            raise init_vanished(-1)
        if message.kind == opcodes.MSG_EXEC:
            said_exec = True
        elif message.kind == opcodes.MSG_STEP:
            timeline.step(message.step, message.value)
        elif message.kind == opcodes.MSG_LISTENER:
            listener(message.fd)
        elif message.kind == opcodes.MSG_FAILED:
            from pyrunc.explain import step_failed

            raise step_failed(plan, message, pid)


def receive(socket: _socket.socket) -> Message | None:
    """The next message; None at the end."""
    try:
        data, ancillary, _, _ = socket.recvmsg(4096, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    if len(data) < _MESSAGE.size:
        return None
    fd = -1
    for _, kind, value in ancillary:
        if kind == _socket.SCM_RIGHTS:
            fd = _struct.unpack("i", value[:4])[0]
    return Message(data, fd)


def socket_pair() -> tuple[_socket.socket, _socket.socket]:
    left, right = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    return left, right


def stream_pair() -> tuple[_socket.socket, _socket.socket]:
    left, right = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    return left, right


def open_requests(plan: Plan, console: int = -1, init_pidfd: int = -1) -> Opened:
    """Open what the plan asks for, in order."""
    opened = Opened()
    try:
        for request in plan.fds:
            if request.kind == FD_CONSOLE:
                opened.fds.append(console)
            elif request.kind == FD_INIT:
                opened.fds.append(init_pidfd)
            else:
                if request.kind == FD_CGROUP:
                    fd = _cgroup_file(request)
                elif request.kind == FD_NAMESPACE:
                    fd = _namespace(request)
                elif request.kind == FD_ID_MAPS:
                    fd = _id_maps(request)
                elif request.kind == FD_INIT_ROOT:
                    fd = _root_of(init_pidfd)
                else:
                    fd = _tree(request)
                opened.fds.append(fd)
                opened.close_after.append(fd)
    except BaseException:
        opened.close()
        raise
    return opened


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
    """clone3 and execveat of pyrunc-init from a sealed memfd; raises Error. Closes ``clone_fd``."""
    from pyrunc._native.load import clone

    timeline.spawning(plan)
    sweep()
    native = clone()
    lib, ffi = native.lib, native.ffi
    ours, theirs = socket_pair()
    plan_fd = init_fd = -1
    moved: list[int] = []
    try:
        moved = _above_stdio(stdio)
        trace = int(timeline.recorder is not None)
        text = plan.encode(opened.fds, theirs.fileno(), listener, watch, preserve, ignored(), trace)
        plan_fd = checked(lib.pyrunc_sealed_memfd(b"pyrunc-plan", text, len(text), 0), "memfd_create")
        program = read_file(_init_path())
        init_fd = checked(lib.pyrunc_sealed_memfd(b"pyrunc-init", program, len(program), 1), "memfd_create")
        keep = [fd for fd in (theirs.fileno(), listener, watch, *opened.fds) if fd >= 0]
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
    finally:
        opened.close_after += [fd for fd in (theirs.detach(), plan_fd, init_fd, clone_fd, *moved) if fd >= 0]
        opened.close()
    return Init(plan, pid, pidfd[0], ours)


def _above_stdio(stdio: tuple[int, int, int]) -> list[int]:
    """Copies that none of the three overwrites while it is put in place; -1 for one that is there already."""
    if stdio == OWN_STDIO:
        return [-1, -1, -1]
    return [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in stdio]


def ignored() -> int:
    """The signals that this process ignores, as a mask: bit n-1 is signal n; all where it can't be told.

    The kernel is asked: the interpreter knows what was so when it started, and nothing of 32 and 33.
    """
    try:
        return int(read_file("/proc/self/status").partition(b"\nSigIgn:\t")[2][:16], 16)
    except (OSError, ValueError):
        return (1 << 64) - 1


def checked(result: int, syscall: str, path: str = "", subject: str = "") -> int:
    """A result of the C module, or the Error that it means."""
    if result < 0:
        from pyrunc.explain import call_refused

        raise call_refused(syscall, -result, path=path, subject=subject)
    return result


def _init_path() -> str:
    from pyrunc._native import load

    return load.__file__.rpartition("/")[0].removesuffix("/__pycache__") + _INIT


def _tree(request: FdRequest) -> int:
    from pyrunc._native.load import clone

    recursive = 1 if request.kind == FD_TREE_RECURSIVE else 0
    path = request.value.encode("utf-8", "surrogateescape")
    result: int = clone().lib.pyrunc_open_tree(path, recursive, 1)
    if result < 0:
        from pyrunc.explain import source_failed

        raise source_failed(request, -result)
    if request.id_maps:
        _map_ids(request, result)
    return result


def _map_ids(request: FdRequest, tree: int) -> None:
    from pyrunc._native.load import clone

    assert request.id_maps
    namespace = -1
    try:
        namespace = _id_maps(request)
        result = clone().lib.pyrunc_idmap(tree, namespace, int(request.id_maps[2]))
        checked(result, "mount_setattr", request.path, request.value)
    except Error:
        posix.close(tree)
        raise
    finally:
        if namespace >= 0:
            posix.close(namespace)


def _id_maps(request: FdRequest) -> int:
    """An id-mapped mount takes its maps from a user namespace: mount_setattr(2)."""
    from pyrunc._native.load import clone

    assert request.id_maps
    uids, gids, _ = request.id_maps
    namespace = clone().lib.pyrunc_user_namespace(uids.encode(), gids.encode())
    return checked(namespace, "clone3", request.path, "the id maps of a mount")


def _cgroup_file(request: FdRequest) -> int:
    try:
        return posix.open(request.value, posix.O_WRONLY | posix.O_CLOEXEC)
    except OSError as error:
        from pyrunc.cgroup.base import cannot_join

        raise cannot_join(request.value, error.errno or 0) from None


def _root_of(pidfd: int) -> int:
    """The root directory of the container's process. As that lives afterwards, its pid was no other's."""
    info = read_file(f"/proc/self/fdinfo/{pidfd}").partition(b"\nPid:\t")[2]
    try:
        root = posix.open(b"/proc/%d/root" % int(info.split()[0]), posix.O_PATH | posix.O_CLOEXEC)
    except FileNotFoundError:
        raise _not_running() from None
    if not send(pidfd, 0):
        posix.close(root)
        raise _not_running()
    return root


def _not_running() -> Error:
    return Error("container not running", code="not-running")


def _namespace(request: FdRequest) -> int:
    import fcntl

    NS_GET_NSTYPE = 0xB703
    try:
        fd = posix.open(request.value, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError as error:
        from pyrunc.explain.files import namespace_unopened

        raise namespace_unopened(request, error.errno or 0) from None
    try:
        kind: Any = fcntl.ioctl(fd, NS_GET_NSTYPE)
    except OSError:
        kind = 0
    if kind != request.nstype:
        posix.close(fd)
        raise Error(
            f"{request.value} is not a namespace of the type that is given with it",
            code="namespace-type",
            step="setns",
            path=request.path,
            subject=request.value,
            hint="correct type or path; in /proc/PID/ns the file net is of type network, mnt of type mount",
        )
    if request.written and _is_own(fd, request.nstype):
        posix.close(fd)
        raise Error(
            f"{request.written} would be set for the host: {request.value} is the runtime's own namespace",
            code="namespace-path",
            step="setns",
            path=request.path,
            subject=request.value,
            hint="take the parameter out of linux.sysctl, or give the container a namespace of its own",
        )
    return fd


def _is_own(fd: int, nstype: int) -> bool:
    from pyrunc.vocabulary.namespaces import NAMESPACE_FILES, NAMESPACES

    file = next(NAMESPACE_FILES[kind] for kind, flag in NAMESPACES.items() if flag == nstype)
    own = posix.stat(f"/proc/self/ns/{file}")
    given = posix.fstat(fd)
    return (own.st_dev, own.st_ino) == (given.st_dev, given.st_ino)


def follow(pid: int, start_time: int) -> int:
    """A pidfd of the container's process, or the error that it is gone."""
    fd = open_pidfd(pid, start_time)
    if fd < 0:
        raise _not_running()
    return fd
