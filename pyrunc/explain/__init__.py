"""What a failure means: loaded only when something failed.

A failed step is a number and an errno; here it becomes an Error that names the field of config.json, the
call, and what to do. ``executable`` looks at a program's file, ``causes`` at the host.
"""

from __future__ import annotations

import errno
import posix

from pyrunc.errors import Error
from pyrunc.explain import causes, hook_ends, program, steps
from pyrunc.explain.causes import Refusal
from pyrunc.explain.host import Host
from pyrunc.plan import opcodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.cgroup.base import Cgroup
    from pyrunc.plan import FdRequest, Plan, Step
    from pyrunc.protocol import Message

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
    opcodes.AT_LABEL: "fsetxattr",
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


# Steps whose refusal is told in the kernel's words: engines make exit codes 126 and 127 of them.
_IN_WORDS = (opcodes.CHDIR,)
# Steps whose subject is all that init could add.
_SAY_IT_ALL = (opcodes.PROC_WRITE, opcodes.SYSCTL, opcodes.TIME_NAMESPACE)


def step_failed(plan: Plan, message: Message, pid: int) -> Error:
    """The Error of a MSG_FAILED."""
    if message.step >= len(plan.steps):
        return Error("pyrunc-init refused its plan", code="plan", step="plan", errno=message.errno)
    step = plan.steps[message.step]
    if message.detail == opcodes.AT_LOOKUP and message.errno not in (errno.EPERM, errno.ENOSYS):
        return program.not_found(plan, step, message, pid)
    if message.detail == opcodes.AT_EXECVE:
        return program.not_executed(plan, step, message, pid)
    if step.op == opcodes.HOOK:
        return hook_ends.step_failed(step, message)
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
            f"the working directory {steps.subject(step)} is not inside the container's root",
            code="cwd-outside",
            step=step.name,
            path=step.path,
            subject=steps.subject(step),
        )
    if message.detail == opcodes.AT_OCCUPIED:
        return Error(
            f"another file is already at the device's path {steps.subject(step)}",
            code="device-occupied",
            step=step.name,
            path=step.path,
            subject=steps.subject(step),
            errno=errno.EEXIST,
            hint="remove it from the image, or the entry from linux.devices",
        )
    return _refused(plan, step, message, pid)


def _refused(plan: Plan, step: Step, message: Message, pid: int) -> Error:
    """Any other call of a step, with its cause."""
    call = CALLS.get(message.detail) or STEP_CALLS.get(step.op) or step.name
    what = steps.what(step)
    if steps.root_is_a_file(plan, message.errno):
        return _root_is_a_file(steps.rootfs(plan), message.errno)
    said = "" if step.op in _SAY_IT_ALL else message.text
    text = f": {said}" if said and " ".join(said.split()) not in what else ""
    refusal = Refusal(
        call,
        message.errno,
        _subject_of(call, step, message),
        step.name,
        _place_on_host(plan, step, message.errno),
        plan.user_namespace,
    )
    host = Host(pid)
    denied = causes.denied(refusal, host)
    misfit = steps.misfit(plan, step, message.errno)
    refused = program.words(message.errno) if step.op in _IN_WORDS else f"refused by {call}{text}"
    return Error(
        f"{what}: {refused}",
        code="call-denied" if denied else f"step-{step.name.replace('_', '-')}",
        step=step.name,
        path=step.path,
        syscall=call,
        subject=steps.subject(step),
        errno=message.errno,
        hint=denied or misfit or causes.cause(refusal, host),
    )


def _root_is_a_file(path: str, number: int) -> Error:
    return Error(
        f"the root filesystem {path} is a file, not a directory",
        code="mount-source",
        step="rootfs",
        path="root.path",
        subject=path,
        errno=number,
        hint="unpack it, and name the directory in root.path",
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
    if request.path == "root.path" and number == errno.ENOTDIR and steps.kind(request.value) == "file":
        return _root_is_a_file(request.value, number)
    error = call_refused(
        "open_tree",
        number,
        f"the {what} {request.value} {reason}",
        code="mount-source",
        path=request.path,
        subject=request.value,
    )
    if number == errno.ENOENT and _is_dangling(request.value):
        target = posix.readlink(request.value)
        error.hint = f"{request.value} is a link to {target}, which does not exist: correct the link"
    return error


def _is_dangling(path: str) -> bool:
    try:
        return bool(posix.readlink(path))
    except OSError:
        return False


def _subject_of(call: str, step: Step, message: Message) -> str:
    """What the call was about: a new mount's type or label, a label's file, else as the step says."""
    if call == "fsconfig" and message.text.startswith("context="):
        return message.text
    if step.op == opcodes.MOUNT and call in ("fsopen", "fsconfig", "fsmount"):
        return str(step.arguments[0])
    return str(step.arguments[0]) if step.op == opcodes.PROC_WRITE else steps.subject(step)


def _place_on_host(plan: Plan, step: Step, number: int) -> str:
    """The source of a bind; for a read-only file system, the destination as the host sees it."""
    if number == errno.EROFS:
        return f"{steps.rootfs(plan)}/{steps.subject(step).lstrip('/')}" if steps.rootfs(plan) else ""
    return steps.source(plan, step)
