"""What a failure means: loaded only when something failed.

A failed step is a number and an errno; here it becomes an Error that names the field of config.json, the
call, and what to do.
"""

from __future__ import annotations

import errno
import posix

from pyrunc.errors import Error
from pyrunc.hooks import outcome
from pyrunc.plan import opcodes

TYPE_CHECKING = False
if TYPE_CHECKING:
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
}
HINTS = {
    "prlimit": "raising a hard limit needs CAP_SYS_RESOURCE",
    "capset": "a capability is asked for that this host or its caller doesn't have",
    "pivot_root": "where the root is an initramfs, give --no-pivot",
    "seccomp": "a filter needs CAP_SYS_ADMIN or process.noNewPrivileges",
}


def step_failed(plan: Plan, message: Message, pid: int) -> Error:
    """The Error of a MSG_FAILED."""
    if message.step >= len(plan.steps):
        return Error("pyrunc-init refused its plan", code="plan", step="plan", errno=message.errno)
    step = plan.steps[message.step]
    if message.detail == opcodes.AT_LOOKUP:
        return _not_found(step, message)
    if message.detail == opcodes.AT_EXECVE:
        return _not_executed(step, message, pid)
    if step.op == opcodes.HOOK:
        return _hook(step, message)
    if step.op == opcodes.BIND and message.detail == opcodes.AT_OPENTREE and message.text:
        from pyrunc.plan import FD_TREE, FdRequest

        request = FdRequest(FD_TREE, message.text, f"{step.path}.source", 0)
        return source_failed(request, message.errno)
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
    call = CALLS.get(message.detail) or STEP_CALLS.get(step.op) or step.name
    what = f"{step.name.replace('_', ' ')} {_subject(step)}".strip()
    text = f": {message.text}" if message.text else ""
    return Error(
        f"{what}: refused by {call}{text}",
        code=f"step-{step.name.replace('_', '-')}",
        step=step.name,
        path=step.path,
        syscall=call,
        subject=_subject(step),
        errno=message.errno,
        hint=HINTS.get(call, ""),
    )


def clone_failed(plan: Plan, number: int) -> Error:
    hint = ""
    if number == errno.EPERM:
        hint = "new namespaces need CAP_SYS_ADMIN, or a user namespace among linux.namespaces"
    elif number == errno.ENOSPC:
        hint = "a limit of /proc/sys/user/max_*_namespaces is reached"
    return Error(
        "the container's process can't be made: refused by clone3",
        code="clone",
        step="clone",
        path="linux.namespaces",
        syscall="clone3",
        errno=number,
        hint=hint,
    )


def init_vanished(status: int) -> Error:
    hint = ""
    message = "pyrunc-init ended without a word"
    if status == 137:
        message = "container init was OOM-killed (memory limit too low?)"
        hint = "raise linux.resources.memory.limit; pyrunc-init itself needs about 200 KiB"
    return Error(message, code="init-vanished", step="init", hint=hint)


def source_failed(request: FdRequest, number: int) -> Error:
    what = "root filesystem" if request.path == "root.path" else "source of the bind mount"
    reason = {
        errno.ENOENT: "does not exist",
        errno.EACCES: "can't be reached",
        errno.ENOTDIR: "has a file where a directory is needed on its way",
    }.get(number, "can't be cloned")
    return Error(
        f"the {what} {request.value} {reason}",
        code="mount-source",
        step="open_tree",
        path=request.path,
        syscall="open_tree",
        subject=request.value,
        errno=number,
    )


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


def _not_found(step: Step, message: Message) -> Error:
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
        hint = f"PATH is {step.arguments[1]!s}"
    elif message.errno == errno.ENOENT:
        text = f'exec: "{name}": stat {name}: no such file or directory'
        hint = "the path is looked up in the container's root filesystem"
    else:
        text = f'exec: "{name}": {_words(message.errno)}'
        hint = "the file has no x bit for this user" if message.errno == errno.EACCES else ""
    return Error(
        text,
        code="executable",
        step="lookup",
        path=step.path,
        subject=name,
        errno=message.errno,
        hint=hint,
    )


def _not_executed(step: Step, message: Message, pid: int) -> Error:
    name = message.text
    return Error(
        f'exec "{name}": {_words(message.errno)}',
        code="execve",
        step="exec",
        path=step.path,
        syscall="execve",
        subject=name,
        errno=message.errno,
        hint=_look_inside(pid, name, message.errno),
    )


_MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64", 258: "loongarch64"}
_HERE = {"x86_64": (62, 3), "aarch64": (183, 40)}


def _look_inside(pid: int, name: str, number: int) -> str:
    """Why execve failed, from the first bytes of the file, while init still holds the root open."""
    from pyrunc._native.load import clone

    lib = clone().lib
    try:
        root = posix.open(f"/proc/{pid}/root", posix.O_PATH | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fd = lib.pyrunc_open_in_root(root, name.encode(), posix.O_RDONLY | posix.O_CLOEXEC)
        if fd < 0:
            return ""
        head = posix.read(fd, 256)
        noexec = bool(posix.fstatvfs(fd).f_flag & 8)
        posix.close(fd)
        return _reason(head, number, noexec, lambda path: _exists(lib, root, path))
    finally:
        posix.close(root)


def _exists(lib: object, root: int, path: str) -> bool:
    fd: int = lib.pyrunc_open_in_root(root, path.encode(), posix.O_PATH | posix.O_CLOEXEC)  # type: ignore[attr-defined]
    if fd >= 0:
        posix.close(fd)
    return fd >= 0


def _reason(head: bytes, number: int, noexec: bool, exists: object) -> str:
    if noexec and number == errno.EACCES:
        return "the file is on a mount with the option noexec"
    if head.startswith(b"#!"):
        line = head[2:].partition(b"\n")[0]
        if line.endswith(b"\r"):
            return "the script's first line ends in CRLF: convert it to Unix line endings"
        interpreter = line.split()[0].decode("utf-8", "replace") if line.split() else ""
        if number == errno.ENOENT and not exists(interpreter):  # type: ignore[operator]
            return f"the script's interpreter {interpreter} does not exist in the container"
        return f"the script's interpreter {interpreter} can't be executed"
    if head.startswith(b"\x7fELF"):
        machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
        here = posix.uname().machine
        if machine not in _HERE.get(here, (machine,)):
            return f"the program is for {_MACHINES.get(machine, machine)}, this host is {here}"
        if number == errno.ENOENT:
            return "the program's loader (its dynamic linker) does not exist in the container"
        return ""
    if number == errno.ENOEXEC:
        return "neither a program nor a script: its first line has no #! with an interpreter"
    return ""
