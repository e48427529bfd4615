"""What a step of the plan was about, in words, and what can be seen of its failure in the file system."""

from __future__ import annotations

import errno
import posix

from pyrunc.plan import opcodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Plan, Step

_DIRECTORY = 0o040000
_WHERE_TO = (errno.EINVAL, errno.ENOTDIR)


def subject(step: Step) -> str:
    """The name that a step is about: a value that was refused, a path, or the first text."""
    texts = [item for item in step.arguments if isinstance(item, str) and item]
    if step.op == opcodes.SYSCTL:
        return texts[0]
    if step.op == opcodes.PROC_WRITE:
        return texts[1].removeprefix("exec ") if len(texts) > 1 else texts[0]
    if step.op == opcodes.BIND:
        return str(step.arguments[4])
    if step.op == opcodes.RLIMIT:
        return _limit(step)
    if step.op == opcodes.SETIDS:
        return ":".join(str(item) for item in step.arguments)
    if step.op == opcodes.SETGROUPS and isinstance(step.arguments[0], bytes):
        packed = step.arguments[0]
        return " ".join(str(int.from_bytes(packed[at : at + 4], "little")) for at in range(0, len(packed), 4))
    paths = [item for item in texts if item.startswith("/")]
    return paths[-1] if paths else (" ".join(texts[0].split()) if texts else "")


def what(step: Step) -> str:
    """The step with its subject: "mount /proc"."""
    about = subject(step)
    if step.op == opcodes.PROC_WRITE:
        file = str(step.arguments[0])
        module = "AppArmor profile" if "apparmor" in file else f"/proc/self/{file}"
        return f"{module} {about}"
    return f"{step.name.replace('_', ' ')} {about}".strip()


def rootfs(plan: Plan) -> str:
    """The root file system's path on the host; "" for exec."""
    return next((str(step.arguments[1]) for step in plan.steps if step.op == opcodes.ROOTFS), "")


def source(plan: Plan, step: Step) -> str:
    """The path on the host that a bind takes; "" for other steps."""
    if step.op != opcodes.BIND:
        return ""
    index = step.arguments[0]
    if isinstance(index, int) and 0 <= index < len(plan.fds):
        return plan.fds[index].value
    return str(step.arguments[6])  # init clones it itself


def misfit(plan: Plan, step: Step, number: int) -> str:
    """The hint, where a directory was to be mounted on a file, or a file on a directory."""
    if step.op not in (opcodes.BIND, opcodes.MOUNT) or number not in _WHERE_TO:
        return ""
    root = rootfs(plan)
    there = _kind_in(root, subject(step)) if root else ""
    comes = kind(source(plan, step)) if step.op == opcodes.BIND else "directory"
    if not there or not comes or there == comes:
        return ""
    name = source(plan, step) or "a new file system"
    return f"{name} is a {comes}, the destination a {there}: make both a directory, or both a file"


def root_is_a_file(plan: Plan, number: int) -> bool:
    """Whether what fails is that root.path is no directory."""
    root = rootfs(plan)
    return number in _WHERE_TO and bool(root) and kind(root) == "file"


def filtered(plan: Plan) -> bool:
    """Whether the container has a seccomp filter."""
    return any(step.op == opcodes.SECCOMP for step in plan.steps)


def kind(path: str) -> str:
    """ "directory", "file", or "" for what is not there."""
    try:
        return _word(posix.stat(path).st_mode) if path else ""
    except OSError:
        return ""


def _kind_in(root: str, path: str) -> str:
    from pyrunc.explain.executable import Root

    try:
        fd = posix.open(root, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError:
        return ""
    try:
        status = Root(fd).stat(path)
    finally:
        posix.close(fd)
    return "" if isinstance(status, int) else _word(status.st_mode)


def _word(mode: int) -> str:
    return "directory" if mode & 0o170000 == _DIRECTORY else "file"


def _limit(step: Step) -> str:
    from pyrunc.vocabulary.rlimits import RLIMITS

    names = {number: name for name, number in RLIMITS.items()}
    number, soft, hard = step.arguments
    name = names.get(number, str(number)) if isinstance(number, int) else ""
    return f"{name} soft {soft!r} hard {hard!r}"
