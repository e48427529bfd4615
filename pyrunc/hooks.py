"""Hooks that run in the runtime's namespaces: prestart, createRuntime, poststart, poststop.

config.md, POSIX-platform Hooks: in listed order, the state on standard input, the environment only what
the hook gives, killed at its timeout.
"""

from __future__ import annotations

import posix

from pyrunc.errors import Error
from pyrunc.process import SIGKILL, wait_any, wait_end
from pyrunc.spec import I64
from pyrunc.state_json import state_json
from pyrunc.timeline import phase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.spec import Object, Spec

# An ignored signal stays ignored over an exec: those of our caller, and SIGPIPE and SIGXFSZ of Python.
_ALL_SIGNALS = tuple(number for number in range(1, 65) if number not in (9, 19, 32, 33))


def create_hooks(spec: Spec, id: str, pid: int, bundle: str, init: int = -1) -> None:
    """What create runs in the runtime's namespaces; the first that fails raises Error.

    init: a pidfd of the container's process: without that there is nothing to wait for.
    """
    # config.md has the deprecated prestart hooks run during start: they see a created container.
    for kind, status in (("prestart", "created"), ("createRuntime", "creating")):
        phase(f"{kind} hooks", f"hooks.{kind}")
        for hook in spec.child("hooks").children(kind):
            run_hook(spec, hook, kind, id, status, pid, bundle, init)


def failures(spec: Spec, kind: str, id: str, status: str, pid: int, bundle: str) -> list[Error]:
    """Run all hooks of a kind whatever happens; what failed, for a warning."""
    failed = []
    for hook in spec.child("hooks").children(kind):
        try:
            run_hook(spec, hook, kind, id, status, pid, bundle)
        except Error as error:
            failed.append(error)
    return failed


def run_hook(
    spec: Spec, hook: Object, kind: str, id: str, status: str, pid: int, bundle: str, init: int = -1
) -> None:
    """Run one hook; raises Error with its exit status or signal and the end of its output."""
    path = hook.text("path")
    before, after = state_json(id, status, bundle, spec.text("ociVersion"), spec.mapping("annotations"))
    stdin = _file_of(f"{before}{pid}{after}".encode())
    output = posix.memfd_create("hook-output")
    actions = [
        (posix.POSIX_SPAWN_DUP2, stdin, 0),
        (posix.POSIX_SPAWN_DUP2, output, 1),
        (posix.POSIX_SPAWN_DUP2, output, 2),
        *((posix.POSIX_SPAWN_CLOSE, fd) for fd in _inherited()),
    ]
    environment = {}
    for entry in hook.texts("env"):
        name, _, value = entry.partition("=")
        environment[name] = value
    try:
        child = posix.posix_spawn(
            path,
            hook.texts("args") or [path],
            environment,
            file_actions=actions,
            setpgroup=0,
            setsigdef=_ALL_SIGNALS,
            setsigmask=(),
        )
        ended = _wait(child, hook.number("timeout", 0, 1, I64), init)
        said = _end_of(output)
    except OSError as error:
        raise _failed(hook, kind, "could not be run", "", error.errno or 0) from None
    finally:
        posix.close(stdin)
        posix.close(output)
    if ended is None and init >= 0 and wait_end(init, 0):
        raise _failed(hook, kind, "was ended, because the container's process is gone", said)
    if ended is None:
        raise _failed(hook, kind, f"ran into its timeout of {hook.number('timeout', 0, 1, I64)} s", said)
    if ended:
        raise _failed(hook, kind, outcome(ended), said, status=ended)


def _inherited() -> list[int]:
    """What our caller left open is not for the hooks."""
    fds = (int(name) for name in posix.listdir("/proc/self/fd"))
    return [fd for fd in fds if fd > 2 and _is_inheritable(fd)]


def _is_inheritable(fd: int) -> bool:
    try:
        return posix.get_inheritable(fd)
    except OSError:
        return False  # the one that listed them


def outcome(wait_status: int) -> str:
    number = wait_status & 0x7F
    return f"was killed by signal {number}" if number else f"exit status {wait_status >> 8}"


def _failed(hook: Object, kind: str, what: str, said: str, number: int = 0, status: int = 0) -> Error:
    from pyrunc.explain.hook_ends import hook_failed

    return hook_failed(kind, hook.text("path"), hook.path, what, said, number, status)


def _file_of(content: bytes) -> int:
    """A descriptor to read the content from: unlike a pipe, a hook that doesn't read it can't hang us."""
    fd = posix.memfd_create("hook-state")
    posix.write(fd, content)
    posix.lseek(fd, 0, 0)
    return fd


def _end_of(fd: int) -> str:
    size = posix.fstat(fd).st_size
    posix.lseek(fd, max(0, size - 1024), 0)
    return posix.read(fd, 1024).decode("utf-8", "replace").strip()


def _wait(child: int, timeout: int, init: int) -> int | None:
    """The wait status; None when the time (seconds, 0: none) was over, or init, and the group was killed."""
    if timeout or init >= 0:
        pidfd = posix.pidfd_open(child)
        try:
            ready = wait_any([pidfd, init], timeout * 1000 if timeout else -1)
        finally:
            posix.close(pidfd)
        if pidfd not in ready:
            posix.killpg(child, SIGKILL)
            posix.waitpid(child, 0)
            return None
    return posix.waitpid(child, 0)[1]
