"""Files and sockets of the host that the runtime itself could not use."""

from __future__ import annotations

import errno
import posix

from pyrunc.errors import Error
from pyrunc.explain.causes import Refusal, cause
from pyrunc.explain.host import Host
from pyrunc.state_directory import read_to_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import FdRequest

_REASONS = {
    errno.ENOENT: "does not exist",
    errno.ECONNREFUSED: "has nobody who listens",
    errno.EACCES: "may not be used by this user",
    errno.EPERM: "may not be used by this user",
    errno.EPROTOTYPE: "is a socket of another type",
    errno.ENOTSOCK: "is no socket",
    errno.ENOTDIR: "has a file where a directory is needed",
    errno.EROFS: "is on a read-only file system",
    errno.ENOSPC: "is on a full file system",
}


def socket_unreachable(path: str, what: str, step: str, syscall: str, number: int) -> Error:
    """--console-socket or --pidfd-socket (``what`` is console or pidfd) can't be used."""
    receives = "the terminal" if what == "console" else "the pidfd"
    return _failure(
        f"the {what} socket {path} of --{what}-socket can't be connected",
        code="console-socket" if what == "console" else "pidfd-socket",
        refusal=Refusal(syscall, number, path, step),
        hint=f"it {_reason(number)}: start the program that receives {receives} before",
    )


def agent_unreachable(path: str, syscall: str, number: int) -> Error:
    """linux.seccomp.listenerPath can't be used."""
    return _failure(
        f"the seccomp agent at {path} can't be reached",
        code="seccomp-listener",
        refusal=Refusal(syscall, number, path),
        hint=f"it {_reason(number)}: start the agent before the container",
        path="linux.seccomp.listenerPath",
    )


def namespace_unopened(request: FdRequest, number: int) -> Error:
    """linux.namespaces[n].path can't be opened."""
    return _failure(
        f"the namespace {request.value} can't be opened",
        code="namespace-path",
        refusal=Refusal("open", number, request.value),
        hint=f"it {_reason(number)}: start that container first, or leave path out for a new namespace",
        path=request.path,
    )


def pid_file_unwritten(path: str, number: int) -> Error:
    """--pid-file can't be written."""
    directory = path.rpartition("/")[0] or "."
    return _failure(
        f"the file {path} of --pid-file can't be written",
        code="pid-file",
        refusal=Refusal("open", number, path),
        hint=f"{directory} {_reason(number)}: make the directory, or name another file",
    )


def state_unusable(what: str, path: str, number: int) -> Error:
    """The state directory can't be made or opened."""
    reason = _reason(number)
    if number in (errno.EACCES, errno.EPERM):
        reason = "may not be written by this user"
    elif number == errno.ENOTDIR:
        reason = "is below a file, which is not a directory"
    return _failure(
        f"{what} failed: {path}",
        code="state",
        refusal=Refusal("mkdir", number, path),
        hint=f"it {reason}: give another --root, before the verb",
    )


def state_foreign(path: str, owner: int, mode: int) -> Error:
    """The state of a container was made by another user, or can be written by others."""
    uid = posix.geteuid()
    whose = f"belongs to user {owner}, not to {uid}" if owner != uid else f"has mode {mode & 0o7777:04o}"
    return Error(
        f"the state {path} {whose}: others can have written it",
        code="state-foreign",
        step="state",
        subject=path,
        hint="a record is obeyed if only its owner can write it: run pyrunc as him, or remove the directory",
    )


def state_busy(id: str, fd: int) -> Error:
    """Another runtime has the lock of the state directory ``fd``, and keeps it."""
    pid = _lock_holder(fd)
    return Error(
        f"a runtime is at work on container {id}" + (f": process {pid}" if pid else ""),
        code="busy",
        step="lock",
        subject=id,
        hint="see what it waits for, or end it; then try again",
    )


def _lock_holder(fd: int) -> str:
    """The pid that /proc/locks (proc_locks(5)) names for a file; "" when there is none to be seen."""
    status = posix.fstat(fd)
    file = f"{posix.major(status.st_dev):02x}:{posix.minor(status.st_dev):02x}:{status.st_ino}"
    for line in read_to_end("/proc/locks").decode().splitlines():
        fields = line.split()
        if "FLOCK" in fields and fields[-3] == file:
            return fields[-4]
    return ""


def _reason(number: int) -> str:
    return _REASONS.get(number, "can't be used")


def _failure(message: str, *, code: str, refusal: Refusal, hint: str, path: str = "") -> Error:
    """Where the errno is none of the usual ones, the causes that are seen on the host."""
    if refusal.errno not in _REASONS:
        hint = cause(refusal, Host()) or hint
    return Error(
        message,
        code=code,
        step=code,
        path=path,
        syscall=refusal.call,
        subject=refusal.subject,
        errno=refusal.errno,
        hint=hint,
    )
