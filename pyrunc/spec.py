"""Reads config.json and gives typed access, with the JSON path of every value.

This is the fast leaf of the door: it only accepts. Whatever it can't accept raises Refused, and
``pyrunc.validate`` (the slow leaf, with jsonschema) then finds and words all that is wrong. A whole
configuration is checked once, at create (``pyrunc.accept``).
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

U32 = 0xFFFFFFFF
ID_MAX = U32 - 1  # for system calls, the last user or group id is "no change"
I64 = 0x7FFFFFFFFFFFFFFF
U64 = 0xFFFFFFFFFFFFFFFF
_DIGITS = 20  # of the largest number of 64 bits
MAX_SIZE = 4 << 20  # bytes of a config.json: more is a mistake, or an attack


def decimal(text: str, high: int = U64) -> int | None:
    """The number that ASCII digits say; None for all else, and for one above ``high``.

    int() takes other digits, signs, spaces and underscores, and raises for a text of thousands of digits.
    """
    if not (text.isascii() and text.isdigit()):
        return None
    digits = text.lstrip("0")[: _DIGITS + 1]
    number = int(digits or "0")
    return number if number <= high and len(digits) <= _DIGITS else None


def normal_path(path: str) -> str:
    """An absolute path without ".", ".." and double slashes, made from the text alone."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def number_mask(text: str, limit: int) -> int | None:
    """A list such as 0-3,7 as a mask; None unless its ranges ascend, with numbers below ``limit``."""
    mask = 0
    for part in text.replace(" ", "").split(","):
        if not part:
            continue
        first, _, last = part.partition("-")
        low, high = decimal(first, limit - 1), decimal(last or first, limit - 1)
        if low is None or high is None or low > high:
            return None
        mask |= (1 << high + 1) - (1 << low)
    return mask


class Refused(Exception):
    """The value at ``path`` can't be accepted; ``why`` is only for the case that no fault is found."""

    def __init__(self, path: str, why: str = "unexpected value") -> None:
        super().__init__(path, why)
        self.path = path
        self.why = why


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refused("", "a name twice in one object")
    return found


def _constant(text: str) -> None:
    raise Refused("", f"{text} is not JSON")


class _Context:
    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_pairs)
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_constant)
    memo: dict[str, str] = {}


_scan = _json.make_scanner(_Context())  # type: ignore[arg-type]
_SPACE = " \t\n\r"


def parse_json(text: str) -> Any:
    """The value of a whole JSON text. Raises Refused for what is not JSON."""
    try:
        value, end = _scan(text, len(text) - len(text.lstrip(_SPACE)))
    # SystemError: the scanner would raise an exception of a module that nobody has loaded.
    except (StopIteration, ValueError, RecursionError, SystemError):
        raise Refused("", "not JSON") from None
    if text[end:].strip(_SPACE):
        raise Refused("", "text after the end of the JSON value")
    return value


def drop_null(value: Any) -> None:
    """Takes members that are null out of all objects in a value: null is the same as absent."""
    stack = [value]
    while stack:
        value = stack.pop()
        if type(value) is dict:
            for name in [name for name, item in value.items() if item is None]:
                del value[name]
            stack += value.values()
        elif type(value) is list:
            stack += value


class Object:
    """A JSON object at ``path``. Absent and null are the same, as Go's encoding has it."""

    __slots__ = ("data", "path")

    def __init__(self, data: dict[str, Any], path: str) -> None:
        self.data = data
        self.path = path

    def __contains__(self, key: str) -> bool:
        return self.data.get(key) is not None

    def at(self, key: str) -> str:
        """The JSON path of a member."""
        return f"{self.path}.{key}" if self.path else key

    def refuse(self, key: str, why: str = "unexpected value") -> Refused:
        return Refused(self.at(key), why)

    def text(self, key: str, default: str = "") -> str:
        value = self.data.get(key)
        if value is None:
            return default
        if type(value) is not str:
            raise self.refuse(key, "not a string")
        return value

    def flag(self, key: str) -> bool:
        value = self.data.get(key)
        if value is None:
            return False
        if type(value) is not bool:
            raise self.refuse(key, "not true or false")
        return value

    def number(self, key: str, default: int = 0, low: int = 0, high: int = U32) -> int:
        value = self.data.get(key)
        if value is None:
            return default
        if type(value) is not int or not low <= value <= high:
            raise self.refuse(key, f"not an integer from {low} to {high}")
        return value

    def required_number(self, key: str, low: int = 0, high: int = U32) -> int:
        if key not in self:
            raise self.refuse(key, "missing")
        return self.number(key, 0, low, high)

    def texts(self, key: str) -> list[str]:
        value = self.data.get(key)
        if value is None:
            return []
        if type(value) is not list:
            raise self.refuse(key, "not an array")
        for item in value:
            if type(item) is not str:
                raise self.refuse(key, "not an array of strings")
        return value

    def numbers(self, key: str, low: int = 0, high: int = U32) -> list[int]:
        value = self.data.get(key)
        if value is None:
            return []
        if type(value) is not list:
            raise self.refuse(key, "not an array")
        for item in value:
            if type(item) is not int or not low <= item <= high:
                raise self.refuse(key, "not an array of integers")
        return value

    def mapping(self, key: str) -> dict[str, str]:
        value = self.child(key).data
        for item in value.values():
            if type(item) is not str:
                raise self.refuse(key, "not an object of strings")
        return value

    def child(self, key: str) -> Object:
        """The object of that name; an empty one when it is absent."""
        value = self.data.get(key)
        if value is None:
            return Object({}, self.at(key))
        if type(value) is not dict:
            raise self.refuse(key, "not an object")
        return Object(value, self.at(key))

    def children(self, key: str) -> list[Object]:
        value = self.data.get(key)
        if value is None:
            return []
        if type(value) is not list:
            raise self.refuse(key, "not an array")
        found = []
        for index, item in enumerate(value):
            if type(item) is not dict:
                raise self.refuse(f"{key}[{index}]", "not an object")
            found.append(Object(item, f"{self.at(key)}[{index}]"))
        return found


class Spec(Object):
    """A config.json."""

    __slots__ = ("source", "bundle")

    def __init__(self, source: bytes) -> None:
        if len(source) > MAX_SIZE:
            raise Refused("", "too large")
        try:
            value = parse_json(source.decode("utf-8"))
        except UnicodeDecodeError:
            raise Refused("", "not UTF-8") from None
        if type(value) is not dict:
            raise Refused("", "not an object")
        if b"null" in source:
            drop_null(value)
        super().__init__(value, "")
        self.source = source
        self.bundle = ""  # absolute; whoever reads the file knows

    @property
    def linux(self) -> Object:
        return self.child("linux")

    @property
    def process(self) -> Object:
        return self.child("process")

    def at_least(self, minor: int) -> bool:
        """Whether the bundle says that it complies with 1.``minor`` or newer."""
        major, its_minor = self.text("ociVersion").split(".")[:2]
        number = decimal(its_minor)
        return major == "1" and (number is None or number >= minor)
