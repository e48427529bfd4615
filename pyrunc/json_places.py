"""Where in a JSON text each value is. Slow leaf: only faults need it."""

from __future__ import annotations

import json
import re

Where = tuple[str | int, ...]

# Possessive: a string of megabytes must not take memory to go back in.
_TOKEN = re.compile(r'[ \t\r\n,:]*+("[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]|[^\s,:\[\]{}"]++)')
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def path_text(where: Where) -> str:
    """``process.rlimits[1].type``; a name that is no plain word is in brackets: ``annotations["a.b"]``."""
    text = ""
    for step in where:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_NAME.fullmatch(step):
            text += ("." if text else "") + step
        else:
            text += f"[{json.dumps(step)}]"
    return text


def position(source: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1; zeros for an offset below 0."""
    if offset < 0:
        return 0, 0
    return source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset)


def too_deep(source: str, levels: int) -> int:
    """The offset of the first bracket that is nested deeper; -1 if there is none."""
    depth = at = 0
    while match := _TOKEN.match(source, at):
        if match[1] in "[{":
            depth += 1
            if depth > levels:
                return match.start(1)
        elif match[1] in "]}":
            depth -= 1
        at = match.end()
    return -1


def scan(source: str) -> tuple[dict[Where, int], list[Where]]:
    """Where every member's name (and every element of an array) starts, and the names given twice.

    The text is known to be JSON, so the scan need not check anything.
    """
    places: dict[Where, int] = {}
    repeated: list[Where] = []
    path: list[str | int] = []
    objects: list[bool] = []  # of every open container: is it an object
    names: list[set[str]] = []  # of every open container: the names so far
    name_next = False
    at = 0
    while match := _TOKEN.match(source, at):
        token, at = match[1], match.end()
        if token in "}]":
            objects.pop()
            names.pop()
            path.pop()
            name_next = bool(objects) and objects[-1]
            continue
        if name_next:
            name = json.loads(token)
            path[-1] = name
            if name in names[-1]:
                repeated.append(tuple(path))
            names[-1].add(name)
            places[tuple(path)] = match.start(1)
            name_next = False
            continue
        if objects and not objects[-1]:
            step = path[-1]
            assert isinstance(step, int)
            path[-1] = step + 1
        places.setdefault(tuple(path), match.start(1))
        if token in "{[":
            objects.append(token == "{")
            names.append(set())
            path.append("" if token == "{" else -1)
        name_next = bool(objects) and objects[-1]
    return places, repeated
