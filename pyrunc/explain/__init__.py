"""What a failure means: loaded only when something failed.

A failed step is a number and an errno; here it becomes an Error that names the field of config.json, the
call, and what to do. ``executable`` looks at a program's file, ``causes`` at the host.
"""

from __future__ import annotations

import errno
import posix

from pyrunc.errors import Error
from pyrunc.explain import causes, executable
from pyrunc.explain.causes import Refusal
from pyrunc.explain.host import Host
from pyrunc.hooks import outcome
from pyrunc.plan import opcodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cgroup.base import Cgroup
    from pyrunc.launch import Message
    from pyrunc.plan import FdRequest, Plan, Step

# detail of a failure → the system call that was refused
CALLS = {
    opcodes.AT_OPEN: "openat2",
    opcodes.AT_MKDIR: "mkdirat",
    opcodes.AT_FSOPEN: "fsopen",
    opcodes.AT_FSCONFIG: "fsconfig",
    opcodes.AT_FSMOUNT: "fsmount",
    opcodes.AT_SETATTR: "mount_setattr",
    opcodes.AT_MOVE: "move_mount",
    opcodes.AT_OPENTREE: "open_tree",
    opcodes.AT_WRITE: "write",
    opcodes.AT_FORK: "clone",
    opcodes.AT_EXECVE: "execve",
    opcodes.AT_CHOWN: "fchownat",
    opcodes.AT_COPY: "copy",
    opcodes.AT_CHDIR: "fchdir",
    opcodes.AT_SETGROUPS: "setgroups",
    opcodes.AT_SETGID: "setresgid",
    opcodes.AT_SETUID: "setresuid",
    opcodes.AT_SETNS: "setns",
    opcodes.AT_PTMX: "openat2",
    opcodes.AT_SENDMSG: "sendmsg",
    opcodes.AT_MKNOD: "mknodat",
    opcodes.AT_PIVOT: "pivot_root",
    opcodes.AT_UMOUNT: "umount2",
    opcodes.AT_LOOKUP: "faccessat2",
    opcodes.AT_CLOSE_RANGE: "close_range",
}
# Steps whose one call has another name than the step.
STEP_CALLS = {
    opcodes.CGROUP_JOIN: "write",
    opcodes.CAPABILITIES: "capset",
    opcodes.BOUNDING: "prctl",
    opcodes.AMBIENT: "prctl",
    opcodes.NO_NEW_PRIVILEGES: "prctl",
    opcodes.KEYRING: "keyctl",
    opcodes.RLIMIT: "prlimit",
    opcodes.HOSTNAME: "sethostname",
    opcodes.DOMAINNAME: "setdomainname",
    opcodes.SCHEDULER: "sched_setattr",
    opcodes.IO_PRIORITY: "ioprio_set",
    opcodes.MEMORY_POLICY: "set_mempolicy",
    opcodes.AFFINITY: "sched_setaffinity",
}


def step_failed(plan: Plan, message: Message, pid: int) -> Error:
    """The Error of a MSG_FAILED."""
    if message.step >= len(plan.steps):
        return Error("pyrunc-init refused its plan", code="plan", step="plan", errno=message.errno)
    step = plan.steps[message.step]
    if message.detail == opcodes.AT_LOOKUP and message.errno not in (errno.EPERM, errno.ENOSYS):
        return _not_found(plan, step, message, pid)
    if message.detail == opcodes.AT_EXECVE:
        return _not_executed(plan, step, message, pid)
    if step.op == opcodes.HOOK:
        return _hook(step, message)
    if step.op == opcodes.ROOTFS and message.detail in (opcodes.AT_OPEN, opcodes.AT_OPENTREE):
        from pyrunc.plan import FD_TREE_RECURSIVE, FdRequest

        return source_failed(FdRequest(FD_TREE_RECURSIVE, message.text, step.path, 0), message.errno)
    if step.op == opcodes.BIND and message.detail == opcodes.AT_OPENTREE and message.text:
        from pyrunc.plan import FD_TREE, FdRequest

        request = FdRequest(FD_TREE, message.text, f"{step.path}.source", 0)
        return source_failed(request, message.errno)
    if step.op == opcodes.CAPABILITIES and message.value:
        return _not_granted(step, message)
    if message.detail == opcodes.AT_OUTSIDE:
        return Error(
            f"the working directory {_subject(step)} is not inside the container's root",
            code="cwd-outside",
            step=step.name,
            path=step.path,
            subject=_subject(step),
        )
    if message.detail == opcodes.AT_OCCUPIED:
        return Error(
            f"another file is already at the device's path {_subject(step)}",
            code="device-occupied",
            step=step.name,
            path=step.path,
            subject=_subject(step),
            errno=errno.EEXIST,
            hint="remove it from the image, or the entry from linux.devices",
        )
    return _refused(plan, step, message, pid)


def _refused(plan: Plan, step: Step, message: Message, pid: int) -> Error:
    """Any other call of a step, with its cause."""
    call = CALLS.get(message.detail) or STEP_CALLS.get(step.op) or step.name
    what = f"{step.name.replace('_', ' ')} {_subject(step)}".strip()
    text = f": {message.text}" if message.text and message.text not in what else ""
    refusal = Refusal(
        call,
        message.errno,
        _subject_of(call, step),
        step.name,
        _place_on_host(plan, step, message.errno),
        plan.user_namespace,
    )
    host = Host(pid)
    denied = causes.denied(refusal, host)
    return Error(
        f"{what}: refused by {call}{text}",
        code="call-denied" if denied else f"step-{step.name.replace('_', '-')}",
        step=step.name,
        path=step.path,
        syscall=call,
        subject=_subject(step),
        errno=message.errno,
        hint=denied or causes.cause(refusal, host),
    )


def _not_granted(step: Step, message: Message) -> Error:
    from pyrunc.vocabulary.capabilities import CAPABILITIES

    names = [name for name, number in CAPABILITIES.items() if message.value >> number & 1]
    return Error(
        f"can't be granted, and are left out: {', '.join(names)}",
        code="capabilities-not-granted",
        step=step.name,
        path=step.path,
        syscall="capset",
        subject=", ".join(names),
        errno=message.errno,
        hint="pyrunc's caller has not got them itself",
    )


def call_refused(
    call: str,
    number: int,
    message: str = "",
    code: str = "syscall",
    path: str = "",
    subject: str = "",
    step: str = "",
) -> Error:
    """A call that the runtime itself made, and the kernel refused."""
    refusal = Refusal(call, number, subject, step or call)
    denied = causes.denied(refusal, Host())
    return Error(
        message or f"{call} failed" + (f" for {subject}" if subject else ""),
        code="call-denied" if denied else code,
        step=step or call,
        path=path,
        syscall=call,
        subject=subject,
        errno=number,
        hint=denied or causes.cause(refusal, Host()),
    )


# What the child of pyrunc_spawn was at when it failed (clone.cdef.h)
_SPAWN_CALLS = ("clone3", "close_range", "capset", "execveat")


def clone_failed(plan: Plan, number: int, at: int) -> Error:
    """``at``: SPAWN_AT_* of clone.cdef.h, the call that failed."""
    call = _SPAWN_CALLS[at]
    refusal = Refusal(call, number, user_namespace=plan.user_namespace)
    denied = causes.denied(refusal, Host())
    return Error(
        f"the container's process can't be made: refused by {call}",
        code="call-denied" if denied else "clone",
        step="clone",
        path="linux.namespaces",
        syscall=call,
        errno=number,
        subject="pyrunc-init",
        hint=denied or causes.cause(refusal, Host()),
    )


_SIGKILLED = 137  # as a shell shows it


def init_vanished(status: int) -> Error:
    """pyrunc-init ended without a word. ``status``: as a shell shows it, -1 if unknown."""
    message = "pyrunc-init ended without a word"
    hint = "the container's process was killed from outside, or never was: see dmesg"
    if status == _SIGKILLED:
        message = "container init was OOM-killed (memory limit too low?)"
        hint = "raise linux.resources.memory.limit; pyrunc-init itself needs about 200 KiB"
    elif status > 128:
        message = f"pyrunc-init was killed by signal {status - 128}"
    return Error(message, code="init-vanished", step="init", hint=hint)


def examine_death(error: Error, cgroup: Cgroup) -> None:
    """What the cgroup knows of an init that ended without a word, while the cgroup is still there."""
    from pyrunc.explain import death

    found = death.look(cgroup.paths(), Host())
    if found:
        error.message, error.path, error.subject, error.hint = found


def source_failed(request: FdRequest, number: int) -> Error:
    """The root file system, or the source of a bind mount, can't be cloned."""
    what = "root filesystem" if request.path == "root.path" else "source of the bind mount"
    reason = {
        errno.ENOENT: "does not exist",
        errno.EACCES: "can't be reached",
        errno.ELOOP: "has a loop of links on its way",
        errno.ENOTDIR: "has a file where a directory is needed on its way",
    }.get(number, "can't be cloned: refused by open_tree")
    error = call_refused(
        "open_tree",
        number,
        f"the {what} {request.value} {reason}",
        code="mount-source",
        path=request.path,
        subject=request.value,
    )
    if number == errno.ENOENT and _is_dangling(request.value):
        error.hint = f"{request.value} is a link to {posix.readlink(request.value)}, which does not exist"
    return error


def _is_dangling(path: str) -> bool:
    try:
        return bool(posix.readlink(path))
    except OSError:
        return False


def _subject_of(call: str, step: Step) -> str:
    """What the call was about: for a new mount its type, else the step's own subject."""
    if step.op == opcodes.MOUNT and call in ("fsopen", "fsconfig", "fsmount"):
        return str(step.arguments[0])
    return _subject(step)


def _place_on_host(plan: Plan, step: Step, number: int) -> str:
    """The source of a bind; for a read-only file system, the destination as the host sees it."""
    if number == errno.EROFS:
        rootfs = [str(other.arguments[1]) for other in plan.steps if other.op == opcodes.ROOTFS]
        return f"{rootfs[0]}/{_subject(step).lstrip('/')}" if rootfs else ""
    if step.op == opcodes.BIND:
        index = step.arguments[0]
        return plan.fds[index].value if isinstance(index, int) and index < len(plan.fds) else ""
    return ""


def _subject(step: Step) -> str:
    """The name that a step is about: the last text of its arguments that is a path, or the first."""
    texts = [item for item in step.arguments if isinstance(item, str) and item]
    paths = [item for item in texts if item.startswith("/")]
    if step.op in (opcodes.SYSCTL, opcodes.PROC_WRITE) and texts:
        return texts[0]
    return paths[-1] if paths else (texts[0] if texts else "")


def _hook(step: Step, message: Message) -> Error:
    path = str(step.arguments[0])
    if message.detail == opcodes.AT_HOOK_TIMEOUT:
        what = f"ran into its timeout of {step.arguments[3]!s} s"
    elif message.detail == opcodes.AT_HOOK_EXIT:
        what = outcome(message.value)
    else:
        what = "could not be run"
    said = f", output: {message.text.strip()}" if message.text.strip() else ""
    kind = step.path.partition(".")[2].partition("[")[0]
    return Error(
        f"{kind} hook {path}: {what}{said}",
        code="hook-failed",
        step="hook",
        path=step.path,
        subject=path,
        errno=message.errno if message.detail == opcodes.AT_HOOK_EXEC else 0,
    )


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


def _words(number: int) -> str:
    return _WORDS.get(number) or posix.strerror(number).lower()


def _not_found(plan: Plan, step: Step, message: Message, pid: int) -> Error:
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
        text = f'exec: "{name}": {_words(message.errno)}'
    return Error(
        text,
        code="executable",
        step="lookup",
        path=step.path,
        subject=name,
        errno=message.errno,
        hint=_look_inside(plan, pid, name, message.errno, str(step.arguments[1])),
    )


def _not_executed(plan: Plan, step: Step, message: Message, pid: int) -> Error:
    name = message.text
    return Error(
        f'exec "{name}": {_words(message.errno)}',
        code="execve",
        step="exec",
        path=step.path,
        syscall="execve",
        subject=name,
        errno=message.errno,
        hint=_look_inside(plan, pid, name, message.errno),
    )


_TOO_LONG = (
    "args and env are together longer than the kernel takes (execve(2)): hand long values over in a file"
)


def _look_inside(plan: Plan, pid: int, name: str, number: int, search: str = "") -> str:
    """The cause, from the file itself, while init still holds the root open."""
    if number == errno.E2BIG:
        return _TOO_LONG
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
