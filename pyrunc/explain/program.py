"""The user's program could not be found or executed: runc's words, and the reason from its file."""

from __future__ import annotations

import errno
import posix

from pyrunc.errors import Error
from pyrunc.explain import executable, steps
from pyrunc.plan import opcodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Plan, Step
    from pyrunc.protocol import Message

# The words of runc for the user's own executable: engines make exit codes 126 and 127 of them.
_WORDS = {
    errno.ENOENT: "no such file or directory",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.ENOTDIR: "not a directory",
    errno.EISDIR: "is a directory",
    errno.ELOOP: "too many levels of symbolic links",
    errno.ENOEXEC: "exec format error",
    errno.ETXTBSY: "text file busy",
    errno.E2BIG: "argument list too long",
    errno.ENOMEM: "cannot allocate memory",
}


def words(number: int) -> str:
    """The errno as runc words it."""
    return _WORDS.get(number) or posix.strerror(number).lower()


def not_found(plan: Plan, step: Step, message: Message, pid: int) -> Error:
    """The LOOKUP step failed, or there is nothing to look up."""
    if not step.arguments or not step.arguments[0]:
        return Error(
            "the configuration has no process to start",
            code="no-process",
            step="start",
            path="process",
            hint="config.json needs process.args for start",
        )
    arguments = step.arguments[0]
    name = arguments if isinstance(arguments, str) else str(arguments)
    if message.errno == errno.ENOENT and "/" not in name:
        text = f'exec: "{name}": executable file not found in $PATH'
    elif message.errno == errno.ENOENT:
        text = f'exec: "{name}": stat {name}: no such file or directory'
    else:
        text = f'exec: "{name}": {words(message.errno)}'
    return Error(
        text,
        code="executable",
        step="lookup",
        path=step.path,
        subject=name,
        errno=message.errno,
        hint=_look_inside(plan, pid, name, message.errno, str(step.arguments[1])),
    )


def not_executed(plan: Plan, step: Step, message: Message, pid: int) -> Error:
    """execve failed."""
    name = message.text
    return Error(
        f'exec "{name}": {words(message.errno)}',
        code="execve",
        step="exec",
        path=step.path,
        syscall="execve",
        subject=name,
        errno=message.errno,
        hint=_policy(plan, name, message.errno) or _look_inside(plan, pid, name, message.errno),
    )


def _policy(plan: Plan, name: str, number: int) -> str:
    """By LOOKUP the user may execute the file: then a security module is what refuses it."""
    if number != errno.EACCES and (number != errno.EPERM or steps.filtered(plan)):
        return ""
    for step in plan.steps:
        if step.op == opcodes.PROC_WRITE and str(step.arguments[0]).endswith("/exec"):
            return (
                f"the policy does not let {name} run under {step.path}: see the denial in dmesg, then label "
                "the root filesystem for it (SELinux: chcon -R -t container_file_t), or correct the policy"
            )
    return ""


_FORBIDDEN = "the filter of linux.seccomp forbids execve: allow it there, or see security modules in dmesg"
_TOO_LONG = (
    "args and env are together longer than the kernel takes (execve(2)): hand long values over in a file"
)


def _look_inside(plan: Plan, pid: int, name: str, number: int, search: str = "") -> str:
    """The cause, from the file itself, while init still holds the root open."""
    if number == errno.E2BIG:
        return _TOO_LONG
    if number == errno.EPERM and not search and steps.filtered(plan):
        return _FORBIDDEN
    try:
        fd = posix.open(f"/proc/{pid}/root", posix.O_PATH | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        root = executable.Root(fd)
        if "/" in name:
            return executable.look(root, _absolute(plan, name), number)
        if number == errno.ENOENT:
            return executable.elsewhere(root, name, search)
        found = [f"{directory}/{name}" for directory in search.split(":")]
        found = [path for path in found if not isinstance(root.stat(path), int)]
        return executable.look(root, found[0], number) if found else ""
    finally:
        posix.close(fd)


def _absolute(plan: Plan, name: str) -> str:
    """A relative path counts from the working directory."""
    if name.startswith("/"):
        return name
    directories = [str(step.arguments[0]) for step in plan.steps if step.op == opcodes.CHDIR]
    return f"{directories[-1].rstrip('/') if directories else ''}/{name.removeprefix('./')}"
