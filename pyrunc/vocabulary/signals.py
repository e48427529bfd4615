"""Signals by name, and what ``kill`` accepts for one: signal(7)."""

from __future__ import annotations

from pyrunc.errors import Usage
from pyrunc.spec import decimal

SIGNALS: dict[str, int] = {
    "SIGHUP": 1,
    "SIGINT": 2,
    "SIGQUIT": 3,
    "SIGILL": 4,
    "SIGTRAP": 5,
    "SIGABRT": 6,
    "SIGBUS": 7,
    "SIGFPE": 8,
    "SIGKILL": 9,
    "SIGUSR1": 10,
    "SIGSEGV": 11,
    "SIGUSR2": 12,
    "SIGPIPE": 13,
    "SIGALRM": 14,
    "SIGTERM": 15,
    "SIGSTKFLT": 16,
    "SIGCHLD": 17,
    "SIGCONT": 18,
    "SIGSTOP": 19,
    "SIGTSTP": 20,
    "SIGTTIN": 21,
    "SIGTTOU": 22,
    "SIGURG": 23,
    "SIGXCPU": 24,
    "SIGXFSZ": 25,
    "SIGVTALRM": 26,
    "SIGPROF": 27,
    "SIGWINCH": 28,
    "SIGIO": 29,
    "SIGPWR": 30,
    "SIGSYS": 31,
}
RTMIN, RTMAX = 34, 64


def parse_signal(text: str) -> int:
    """The number for ``9``, ``KILL``, ``SIGKILL``, ``rtmin+3``; raises Usage for anything else.

    0 is no signal: who sends it learns whether the process is there.
    """
    if text.isascii() and text.isdigit():
        found = decimal(text, RTMAX)
        if found is not None:
            return found
        raise Usage(f"invalid signal {text!r}", code="signal-invalid", subject=text)
    name = text.upper()
    if not name.startswith("SIG"):
        name = "SIG" + name
    number = SIGNALS.get(name)
    if number is None:
        number = _realtime(name)
    if number is None:
        raise Usage(f"unknown signal {text!r}", code="signal-invalid", subject=text)
    return number


def _realtime(name: str) -> int | None:
    for base, start in (("SIGRTMIN", RTMIN), ("SIGRTMAX", RTMAX)):
        if name.startswith(base):
            rest = name[len(base) :]
            if not rest:
                return start
            distance = decimal(rest[1:], RTMAX)
            if rest[0] in "+-" and distance is not None:
                number = start + distance if rest[0] == "+" else start - distance
                return number if RTMIN <= number <= RTMAX else None
    return None
