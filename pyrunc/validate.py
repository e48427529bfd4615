"""Everything that is wrong with a config.json, at once. Slow leaf, for when the reader stumbles.

Shapes and values are in ``schema/config-schema.json``; what a schema cannot say is in
``_prose``. Unknown properties are ignored, and null is read as absent.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from pyrunc import _prose
from pyrunc.errors import Fault

Where = tuple[str | int, ...]

_TOKEN = re.compile(r'[ \t\r\n,:]*("(?:[^"\\]|\\.)*"|[\[\]{}]|[^\s,:\[\]{}"]+)')
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_JSON_TYPES = {
    "string": "a string",
    "boolean": "true or false",
    "integer": "an integer",
    "array": "an array",
    "object": "an object",
}
# What a pattern of the schema means, by how it starts.
_PATTERNS = {
    "^/": "must be an absolute path",
    "^1\\.": "must be a SemVer version 1.x.y",
    "^MB:": "must be one line that starts with MB:",
    "^[^\\n]": "must not contain a newline",
    "^[1-9][0-9]*[KMG]B": "must be a size such as 64KB, 2MB or 1GB",
    "^[rwm]": "must consist of r, w and m",
    "^\\s*$": "must be a list such as 0-3,7",
}


def faults(text: bytes, bundle: str = "") -> list[Fault]:
    """All faults of a config.json; ``bundle`` is its directory, "" looks for no rootfs."""
    return _faults(text, bundle, "")


def process_faults(text: bytes) -> list[Fault]:
    """All faults of a process object, as ``exec --process`` takes it."""
    return _faults(text, "", "process")


class _NotJson(Exception):
    """A constant that Python takes and JSON does not know."""


def _faults(text: bytes, bundle: str, part: str) -> list[Fault]:
    try:
        source = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        column = error.start - text.rfind(b"\n", 0, error.start)
        return [Fault("", "not UTF-8", line=line, column=column)]
    try:
        document = json.loads(source, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return [Fault("", f"not JSON: {error.msg}", line=error.lineno, column=error.colno)]
    except _NotJson as error:
        line, column = _position(source, source.find(str(error)))
        return [Fault("", f"not JSON: {error} is not a number", line=line, column=column)]
    except (RecursionError, ValueError) as error:
        return [Fault("", f"not JSON that can be read: {error}")]
    places, repeated = _scan(source)
    collected = [(where, message, "") for where, message in repeated]
    document = _without_null(document)
    collected += _schema_faults(document, part)
    if isinstance(document, dict):
        collected += _prose.process(document) if part else _prose.config(document, bundle)
    result: dict[tuple[Where, str], Fault] = {}
    for where, message, hint in collected:
        if (where, message) not in result:
            result[where, message] = _fault(source, places, where, message, hint)
    return list(result.values())


def _refuse_constant(name: str) -> NoReturn:
    raise _NotJson(name)


def _fault(source: str, places: dict[Where, int], where: Where, message: str, hint: str) -> Fault:
    known = where
    while known and known not in places:  # what is missing is shown where it should be
        known = known[:-1]
    line, column = _position(source, places.get(known, -1))
    return Fault(path_text(where), message, hint, line, column)


def path_text(where: Where) -> str:
    """``process.rlimits[1].type``"""
    text = ""
    for step in where:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_NAME.fullmatch(step):
            text += ("." if text else "") + step
        else:
            text += f"[{json.dumps(step)}]"
    return text


def _position(source: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1; zeros for an offset below 0."""
    if offset < 0:
        return 0, 0
    return source.count("\n", 0, offset) + 1, offset - source.rfind("\n", 0, offset)


def _scan(source: str) -> tuple[dict[Where, int], list[tuple[Where, str]]]:
    """Where every value (or the name before it) starts, and the names given twice.

    The text is known to be JSON, so the scan need not check anything.
    """
    places: dict[Where, int] = {}
    repeated: list[tuple[Where, str]] = []
    path: list[str | int] = []
    objects: list[bool] = []  # of every open container: is it an object
    names: list[set[str]] = []  # of every open container: the names so far
    name_next = False
    position = 0
    while match := _TOKEN.match(source, position):
        token, position = match[1], match.end()
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
                repeated.append((tuple(path), "the name is there more than once in its object"))
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


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_null(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_null(item) for item in value]
    return value


def _schema_faults(document: Any, part: str) -> list[tuple[Where, str, str]]:
    import jsonschema  # type: ignore[import-untyped,unused-ignore]

    schema = json.loads((Path(__file__).parent / "schema" / "config-schema.json").read_bytes())
    if part:
        schema = {"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]}
    draft = jsonschema.Draft202012Validator
    # JSON Schema takes 1.0 for an integer; the structures of the spec do not.
    types = draft.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    extend: Any = jsonschema.validators.extend
    validator = extend(draft, type_checker=types)(schema)
    result: list[tuple[Where, str, str]] = []
    for error in validator.iter_errors(document):
        where = tuple(error.absolute_path)
        rule, value, got = str(error.validator), error.validator_value, error.instance
        if rule == "required":
            result += [((*where, name), "is required", "") for name in value if name not in got]
        elif "propertyNames" in error.absolute_schema_path:
            unknown = rule == "enum"
            hint = "known: " + ", ".join(value) if unknown else ""
            message = "is not a known name" if unknown else "the name must not be empty"
            result.append(((*where, str(got)), message, hint))
        else:
            result.append((where, *_message(rule, value, got)))
    return result


def _message(rule: str, value: Any, got: Any) -> tuple[str, str]:
    """Message and hint for what one keyword of the schema refused."""
    shown = json.dumps(got)
    if len(shown) > 60:
        shown = shown[:57] + "..."
    if rule == "enum":
        return f"{shown} is not a known value", "known: " + ", ".join(map(str, value))
    if rule == "pattern":
        for start, meaning in _PATTERNS.items():
            if value.startswith(start):
                return f"{meaning}, is {shown}", ""
    texts = {
        "type": f"must be {_JSON_TYPES.get(str(value), value)}, is {shown}",
        "minimum": f"must be at least {value}, is {shown}",
        "maximum": f"must be at most {value}, is {shown}",
        "maxLength": f"must have at most {value} characters, is {shown}",
        "maxItems": "no value of this is supported",
        "minItems": "must have at least one entry",
        "minLength": "must not be empty",
    }
    return texts.get(rule, f"{shown} is refused by the rule {rule}"), ""
