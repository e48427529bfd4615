"""A hook that failed: how it ended, and what to do about it."""

from __future__ import annotations

import errno

from pyrunc.errors import Error
from pyrunc.explain.program import words
from pyrunc.hooks import outcome
from pyrunc.plan import opcodes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrunc.plan import Step
    from pyrunc.protocol import Message

_SIGNALS = {
    4: "it was built for another processor, or is damaged: reinstall it",
    6: "it gave up by itself (abort): its output says why",
    9: "it was killed, perhaps for want of memory: see dmesg",
    11: "it crashed: report it to its authors",
}


def step_failed(step: Step, message: Message) -> Error:
    """A hook that pyrunc-init ran."""
    path = str(step.arguments[0])
    kind = step.path.partition(".")[2].partition("[")[0]
    said = message.text.strip()
    if message.detail == opcodes.AT_HOOK_TIMEOUT:
        return hook_failed(kind, path, step.path, f"ran into its timeout of {step.arguments[3]!s} s", said)
    if message.detail == opcodes.AT_HOOK_EXIT:
        return hook_failed(kind, path, step.path, outcome(message.value), said, status=message.value)
    return hook_failed(kind, path, step.path, "could not be run", "", message.errno)


def hook_failed(
    kind: str, path: str, place: str, what: str, said: str, number: int = 0, status: int = 0
) -> Error:
    """A hook that failed.

    said: the end of its output. number: errno of execve. status: as wait(2) has it.
    """
    hint = _TIMED_OUT
    if number:
        what = f"{what}: {words(number)}"
        hint = _not_run(kind, number)
    elif status:
        hint = _ended(status)
    return Error(
        f"{kind} hook {path}: {what}" + (f", output: {said}" if said else ""),
        code="hook-failed",
        step="hook",
        path=place,
        subject=path,
        errno=number,
        hint=hint,
    )


def _not_run(kind: str, number: int) -> str:
    """The hook could not be executed: errno of execve."""
    where = "in the container" if kind == "startContainer" else "on the host"
    if number == errno.ENOENT:
        return f"the file, or its interpreter, does not exist {where}: install it {where}, or correct path"
    if number == errno.EACCES:
        return f"the file has no x bit {where}, or is on a mount with noexec: chmod +x it"
    if number == errno.ENOEXEC:
        return "the file is for another machine, or a text without #! in its first line"
    return "path has to be a program"


def _ended(wait_status: int) -> str:
    """The hook ended by itself, or by a signal."""
    signal = wait_status & 0x7F
    if signal:
        return _SIGNALS.get(signal, "somebody, or the hook itself, sent it the signal")
    return "the hook itself failed: its output says why; it gets the container's state on standard input"


_TIMED_OUT = "raise timeout of the hook (seconds), or see what it waits for"
