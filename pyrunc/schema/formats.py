"""The named string types of config-schema.json, as functions: create can't afford regular expressions.

tests/unit/test_schema_agreement.py holds each to the pattern in ``$defs`` that has its name.
"""

from __future__ import annotations

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-"
_DIGITS = frozenset("0123456789")
_IDENTIFIER = _DIGITS.union(_LETTERS)


def version(text: str) -> bool:
    """SemVer 2.0.0, of major version 1 (or 0, which came before it)."""
    rest, plus, build = text.partition("+")
    if plus and not all(_is_identifier(part) for part in build.split(".")):
        return False
    core, dash, pre = rest.partition("-")
    if dash and not all(_is_identifier(part) and not _is_padded(part) for part in pre.split(".")):
        return False
    numbers = core.split(".")
    if len(numbers) != 3 or numbers[0] not in ("0", "1"):
        return False
    return all(number and _DIGITS.issuperset(number) and not _is_padded(number) for number in numbers)


def absolutePath(text: str) -> bool:
    return text[:1] == "/"


def nonEmpty(text: str) -> bool:
    return text != ""


def oneLine(text: str) -> bool:
    return "\n" not in text


def memBwSchema(text: str) -> bool:
    return text[:3] == "MB:" and "\n" not in text


def pageSize(text: str) -> bool:
    number = text[:-2]
    return text[-2:] in ("KB", "MB", "GB") and number[:1] not in ("", "0") and _DIGITS.issuperset(number)


def deviceAccess(text: str) -> bool:
    return not text.strip("rwm")


def cpuList(text: str) -> bool:
    """A list such as ``0-3,7``; an empty one is the same as none."""
    if not text.strip(" "):
        return True
    for part in text.split(","):
        first, dash, last = part.strip(" ").partition("-")
        if not first or not _DIGITS.issuperset(first):
            return False
        if dash and not (last and _DIGITS.issuperset(last)):
            return False
    return True


def interfaceName(text: str) -> bool:
    return len(text) <= 15


def _is_identifier(text: str) -> bool:
    return text != "" and _IDENTIFIER.issuperset(text)


def _is_padded(text: str) -> bool:
    """Whether it is a number with a leading zero."""
    return text[:1] == "0" and text != "0" and _DIGITS.issuperset(text)
