"""The one hierarchy of errors: fields, not text. Text is made at the edge (``cli/report.py``).

Error                 anything that went wrong, with the fields below
├── ConfigError       config.json is refused; carries every Fault at once
├── NotFound          no container of that id
├── AlreadyExists     the id is taken
├── WrongStatus       the container is not in a status that allows the verb
├── TimedOut          the process did not end in the time that it had
└── Usage             the command line is wrong
"""

from __future__ import annotations


class Error(Exception):
    """A failure.

    message: the fact, lower-case, without full stop.
    code: stable name of the kind of failure.
    step: what pyrunc was doing ("mount", "pivot_root", …).
    path: JSON path in config.json that asked for it.
    syscall, errno: what the kernel refused, and how (errno 0: nothing was refused).
    subject: the file, name or number that it was about.
    hint: what to do.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        step: str = "",
        path: str = "",
        syscall: str = "",
        errno: int = 0,
        subject: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.step = step
        self.path = path
        self.syscall = syscall
        self.errno = errno
        self.subject = subject
        self.hint = hint


class Fault:
    """One thing that is wrong in a config.json.

    line, column: count from 1; 0 means unknown.
    level: "error", or "warning" for what is allowed and has no effect.
    """

    __slots__ = ("path", "message", "hint", "line", "column", "level")

    def __init__(
        self,
        path: str,
        message: str,
        hint: str = "",
        line: int = 0,
        column: int = 0,
        level: str = "error",
    ) -> None:
        self.path = path
        self.message = message
        self.hint = hint
        self.line = line
        self.column = column
        self.level = level


class ConfigError(Error):
    """config.json is refused; nothing was made. ``faults`` holds all that is wrong with it."""

    def __init__(self, message: str, faults: list[Fault]) -> None:
        super().__init__(message, code="config-invalid", step="config.json")
        self.faults = faults


class NotFound(Error):
    """There is no container of that id."""


class AlreadyExists(Error):
    """The id is taken."""


class WrongStatus(Error):
    """The container's status does not allow the operation."""


class TimedOut(Error):
    """The process did not end in the time that it had; it was killed."""


class Usage(Error):
    """The command line is wrong."""
