"""Makes text of errors: for standard error and for the file of --log."""

from __future__ import annotations

import errno
import posix
import time

from pyrunc.cli.json_text import quote
from pyrunc.errors import ConfigError, Error, Usage

_HINT = "hint: "
_LONGEST = 1500  # characters of one part of an error
_TAIL = 300


class _Log:
    """Where --log, --log-format and --debug say that messages go; fd -1 for nowhere."""

    __slots__ = ("fd", "format", "debug")

    def __init__(self) -> None:
        self.fd = -1
        self.format = "text"
        self.debug = False


_log = _Log()


def forget() -> None:
    """Be as before the first ``open_log``; closes nothing."""
    _log.fd, _log.format, _log.debug = -1, "text", False


def log_descriptor() -> int:
    """That of the file of --log; -1 without one."""
    return _log.fd


def open_log(path: str, format: str, debug: bool) -> None:
    """Creates the log file at once, so that a caller always finds one. Raises Error."""
    _log.format = format
    _log.debug = debug
    if not path or _log.fd >= 0:
        return
    try:
        flags = posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND | posix.O_CLOEXEC
        _log.fd = posix.open(path, flags, 0o644)
    except OSError as error:
        raise from_os_error(f"open log file {path}", error, code="log") from error


def from_os_error(what: str, error: OSError, code: str = "system") -> Error:
    """An Error about a failed system call, with the kernel's words in Go's lower case."""
    number = error.errno or 0
    words = posix.strerror(number).lower()
    return Error(f"{what}: {words}", code=code, errno=number)


def write(fd: int, text: str) -> bool:
    """Writes all of text; False where the reader is gone or the file is full."""
    try:
        data = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # A lone surrogate, from an escape in somebody's JSON.
        data = text.encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[posix.write(fd, data) :]
    except OSError:
        return False
    return True


def shown(text: str) -> str:
    """Text as a terminal may have it: names come from images and configurations, and could drive it.

    What is not printable becomes an escape, a further line is indented, very much loses its middle.
    """
    if not text.isprintable():
        text = "".join([c if c.isprintable() else "\n  " if c == "\n" else _escape(c) for c in text])
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - _TAIL]} ... {text[-_TAIL:]}"
    return text


def _escape(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def fact(error: Error) -> str:
    """The first line: message, [ERRNO], (path in config.json)."""
    text = shown(error.message)
    if error.errno:
        symbol = f"[{errno.errorcode.get(error.errno, str(error.errno))}]"
        if symbol not in text:
            text = f"{text} {symbol}"
    path = shown(error.path)
    if path and path not in text:
        text = f"{text} ({path})"
    return text


def render(error: Error) -> str:
    """All lines of an error, without a newline at the end."""
    lines = [fact(error)]
    if isinstance(error, ConfigError):
        for fault in error.faults:
            place = shown(fault.path or "config.json")
            if fault.line:
                place = f"{place}:{fault.line}:{fault.column}"
            lines.append(f"{place} {shown(fault.message)}")
            if fault.hint:
                lines.append(f"  {_HINT}{shown(fault.hint)}")
    if error.hint:
        lines.append(_HINT + shown(error.hint))
    if error.code and not isinstance(error, Usage):
        lines.append(f"more: pyrunc explain {error.code}")
    return "\n".join(lines)


def fail(error: Error) -> None:
    """Reports an error: all of it on standard error, and as exactly one record in the log.

    JSON without a file for it is for standard error, and then alone there.
    """
    text = render(error)
    if _log.format == "json" and _log.fd < 0:
        _log.fd = 2
        _record("error", text)
        return
    _record("error", text)
    # "Incorrect Usage: ..." comes first on its line, as runc has it.
    prefix = "" if text.startswith("Incorrect Usage: ") else "pyrunc: "
    write(2, f"{prefix}{text}\n")


def warn(text: str) -> None:
    """Reports a warning.

    Podman reads the whole log as one JSON object, and a container has our standard error as its
    own: so the log gets it only with --debug, and standard error only if it is a terminal.
    """
    if _log.debug and _log.fd >= 0:
        _record("warning", text)
    elif posix.isatty(2):
        write(2, f"pyrunc: warning: {text}\n")


def _record(level: str, text: str) -> None:
    """One line in the log, in one write, so that lines of several writers do not mix."""
    if _log.fd < 0:
        return
    year, month, day, hour, minute, second = time.gmtime()[:6]
    now = f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
    if _log.format == "json":
        line = f'{{"level":"{level}","msg":{quote(text)},"time":"{now}"}}\n'
    else:
        line = f'time="{now}" level={level} msg={quote(text)}\n'
    write(_log.fd, line)
