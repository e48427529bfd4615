"""Everything that is wrong with a config.json, at once. Slow leaf, for when the reader stumbles.

Shapes and values are in ``schema/config-schema.json``, what a schema cannot say is in ``rules``, what depends
on this host in ``host_faults``. Unknown properties are ignored (``config_warnings`` names them), and null is
read as absent.
"""

from __future__ import annotations

import functools
import json
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pyrunc import rules
from pyrunc.config_warnings import config_warnings, nearest
from pyrunc.errors import Fault
from pyrunc.host_faults import host_faults
from pyrunc.json_places import Where, path_text, position, scan, too_deep
from pyrunc.spec import MAX_SIZE, drop_null

if TYPE_CHECKING:
    from pyrunc.rules import Found

_MOST = 100  # faults of a kind: who gets so many has given the wrong file
_DEPTH = 500  # more levels than any configuration has, fewer than what the parser can follow
_JSON_TYPES = {
    "string": "a string",
    "boolean": "true or false",
    "integer": "an integer",
    "array": "an array",
    "object": "an object",
}


def faults(text: bytes, bundle: str = "", warnings: bool = False) -> list[Fault]:
    """All faults of a config.json (up to a few hundred), in the order of the text.

    bundle: the directory of config.json; "" leaves out the look for the root filesystem.
    warnings: also name what is allowed and has no effect.
    """
    return _faults(text, bundle, "", warnings)


def process_faults(text: bytes) -> list[Fault]:
    """All faults of a process object, as ``exec --process`` takes it."""
    return _faults(text, "", "process", False)


def resources_faults(text: bytes) -> list[Fault]:
    """All faults of a resources object, as ``update --resources`` takes it."""
    return _faults(text, "", "resources", False)


class _NotJson(Exception):
    """A constant that Python takes and JSON does not know."""


def _faults(text: bytes, bundle: str, part: str, warnings: bool) -> list[Fault]:
    document, source, fault = _parse(text)
    if fault:
        return [fault]
    places, repeated = scan(source)
    drop_null(document)
    schema = _schema()
    found: list[Found] = [
        (where, "the name is there more than once in its object", "") for where in repeated[:_MOST]
    ]
    found += _schema_faults(document, part)
    if isinstance(document, dict):
        found += _prose_faults(document, bundle, part)
    unused = list(islice(config_warnings(document, schema, part), _MOST)) if warnings else []
    result: dict[tuple[Where, str], Fault] = {}
    for level, entries in (("error", found), ("warning", unused)):
        for where, message, hint in entries:
            if (where, message) not in result:
                line, column = _place(source, places, where)
                result[where, message] = Fault(path_text(where), message, hint, line, column, level)
    return sorted(result.values(), key=lambda fault: (fault.line, fault.column))


def _prose_faults(document: dict[str, Any], bundle: str, part: str) -> list[Found]:
    if part == "resources":
        found = chain(rules.resources(document), rules.text(document, ()))
    elif part:
        found = chain(rules.process(document), rules.text(document, ()))
    else:
        texts = (rules.text(document.get(name), (name,)) for name in rules.READ)
        found = chain(rules.config(document), host_faults(document, bundle), *texts)
    return list(islice(found, _MOST))


def _parse(text: bytes) -> tuple[Any, str, Fault | None]:
    """The value and its text, or the fault that makes it no JSON."""
    if len(text) > MAX_SIZE:
        message = f"is larger than {MAX_SIZE >> 20} MiB"
        return None, "", Fault("", message, "is this the right file?")
    try:
        source = text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        column = error.start - text.rfind(b"\n", 0, error.start)
        return None, "", Fault("", "not UTF-8", "", line, column)
    try:
        return json.loads(source, parse_constant=_refuse_constant), source, None
    except json.JSONDecodeError as error:
        hint = _syntax_hint(source, error)
        return None, source, Fault("", f"not JSON: {error.msg}", hint, error.lineno, error.colno)
    except _NotJson as error:
        place = position(source, source.find(str(error)))
        return None, source, Fault("", f"not JSON: {error} is not a number", "", *place)
    except RecursionError:
        message = f"not JSON that can be read: nested deeper than {_DEPTH} levels"
        return None, source, Fault("", message, "", *position(source, too_deep(source, _DEPTH)))
    except ValueError as error:
        return None, source, Fault("", f"not JSON that can be read: {error}")


def _refuse_constant(name: str) -> NoReturn:
    raise _NotJson(name)


def _syntax_hint(source: str, error: json.JSONDecodeError) -> str:
    """What people do most often when they edit JSON by hand."""
    before = source[: error.pos].rstrip()
    rest = source[error.pos :].lstrip()
    if not source.strip():
        return "the file is empty; `pyrunc spec` writes an example"
    if source[0] == "\ufeff":
        return "the file starts with a byte order mark: save it without one"
    if before.endswith(",") and rest[:1] in ("}", "]"):
        return "there is a comma after the last entry"
    if rest[:2] in ("//", "/*") or rest[:1] == "#":
        return "JSON has no comments"
    if rest[:1] == "'":
        return 'strings are in double quotes: "..."'
    if rest[:4] in ("True", "Fals", "None"):
        return "JSON writes true, false and null"
    if not rest:
        return "the file ends too early: a bracket or a quote is open"
    return ""


def _place(source: str, places: dict[Where, int], where: Where) -> tuple[int, int]:
    while where and where not in places:  # what is missing is shown where it should be
        where = where[:-1]
    return position(source, places.get(where, -1))


@functools.cache
def _schema() -> dict[str, Any]:
    text = (Path(__file__).parent / "schema" / "config-schema.json").read_bytes()
    schema: dict[str, Any] = json.loads(text)
    return schema


@functools.cache
def _validator(part: str) -> Any:
    import jsonschema  # type: ignore[import-untyped,unused-ignore]

    schema = _schema()
    if part:
        schema = {"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]}
    draft = jsonschema.Draft202012Validator
    # JSON Schema takes 1.0 for an integer; the structures of the spec do not.
    types = draft.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    extend: Any = jsonschema.validators.extend
    return extend(draft, type_checker=types)(schema)


def _schema_faults(document: Any, part: str) -> list[Found]:
    result: list[Found] = []
    for error in islice(_validator(part).iter_errors(document), _MOST):
        where = tuple(error.absolute_path)
        rule, value, got = str(error.validator), error.validator_value, error.instance
        if rule == "required":
            unknown = [name for name in got if name not in error.schema["properties"]]
            for name in value:
                if name not in got:
                    misspelt = (
                        nearest(name, unknown)
                        .replace("did you mean", "is it")
                        .replace("?", " that is misspelt?")
                    )
                    result.append(((*where, name), "is required", misspelt))
        elif rule == "additionalProperties":
            known = list(error.schema["properties"])
            for name in got:
                if name not in known:
                    result.append(((*where, name), "is not a known name", _choice(name, known)))
        elif "propertyNames" in error.absolute_schema_path:
            result.append(((*where, str(got)), "the name must not be empty", ""))
        else:
            result.append((where, *_message(rule, value, got, error.schema)))
    return result


def _choice(name: str, known: list[str]) -> str:
    hint = nearest(name, known)
    return hint or f"known: {', '.join(known)}"


def _message(rule: str, value: Any, got: Any, schema: dict[str, Any]) -> tuple[str, str]:
    """Message and hint for what one keyword of the schema refused."""
    shown = _shown(got)
    if rule == "enum":
        return f"{shown} is not a known value", _choice(str(got), [str(item) for item in value if item])
    if rule in ("pattern", "minLength", "maxLength"):
        text = schema["description"]
        return (f"{text}, is {shown}" if got else text), ""
    texts = {
        "type": f"must be {_JSON_TYPES.get(str(value), value)}, is {shown}",
        "minimum": f"must be at least {value}, is {shown}",
        "maximum": f"must be at most {value}, is {shown}",
        "maxItems": "no value of this is supported",
        "minItems": "must have at least one entry",
    }
    return texts.get(rule, f"{shown} is refused by the rule {rule}"), ""


def _shown(value: Any) -> str:
    """A value as JSON, on one line that is not too long."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    shown = json.dumps(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
