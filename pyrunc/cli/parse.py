"""The fast leaf of the command line: it accepts what is right and says nothing about the rest."""

from __future__ import annotations

from pyrunc.cli import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Parsed:
    """A command line that was accepted; keys are option names with "_" for "-".

    ``verb`` is "" where only a global option such as --version was given.
    """

    __slots__ = ("globals", "verb", "options", "args")

    def __init__(self, globals: dict[str, Any], verb: str, options: dict[str, Any], args: list[str]) -> None:
        self.globals = globals
        self.verb = verb
        self.options = options
        self.args = args


def parse(argv: list[str]) -> Parsed | None:
    """The command line (without the program's name), or None: then ask ``help.parse``."""
    taken = _take(argv, table.GLOBALS, False)
    if taken is None:
        return None
    given, rest = taken
    if not rest:
        return Parsed(given, "", {}, []) if given["version"] else None
    verb = table.VERBS.get(rest[0])
    if verb is None:
        return None
    taken = _take(rest[1:], verb.options, verb.mixed)
    if taken is None:
        return None
    options, args = taken
    if len(args) < verb.least or (verb.most >= 0 and len(args) > verb.most):
        return None
    return Parsed(given, verb.name, options, args)


def globals_of(argv: list[str]) -> dict[str, Any] | None:
    """The global options alone, whatever follows them; None where they are wrong."""
    taken = _take(argv, table.GLOBALS, False)
    return None if taken is None else taken[0]


def _take(
    argv: list[str], options: tuple[table.Option, ...], mixed: bool
) -> tuple[dict[str, Any], list[str]] | None:
    """Splits options from positional arguments; None where that can't be done."""
    known = table.names(options)
    values: dict[str, Any] = {option.key: option.initial() for option in options}
    args: list[str] = []
    at, end = 0, len(argv)
    while at < end:
        word = argv[at]
        at += 1
        if word == "--":
            return values, args + argv[at:]
        if word[:1] != "-" or word == "-":
            args.append(word)
            if not mixed:
                return values, args + argv[at:]
            continue
        name, equals, value = word[2 if word[1] == "-" else 1 :].partition("=")
        option = known.get(name)
        if option is None or (word[1] == "-" and len(name) == 1):
            return None
        kind = option.kind
        if kind == "flag":
            if equals and value not in table.TRUE and value not in table.FALSE:
                return None
            values[option.key] = not equals or value in table.TRUE
            continue
        if not equals:
            if at == end:
                return None
            value = argv[at]
            at += 1
        if option.choices and value not in option.choices:
            return None
        if kind == "value":
            values[option.key] = value
        elif kind == "list":
            values[option.key].append(value)
        # Eighteen digits fit in 64 bits; int() of very long text is slow, and refused.
        elif not (value.isascii() and value.isdigit() and len(value) <= 18):
            return None
        elif kind == "int":
            values[option.key] = int(value)
        else:
            values[option.key].append(int(value))
    return values, args
