"""JSON text without the json module, which costs 6 ms to import."""

from __future__ import annotations

from _json import encode_basestring, encode_basestring_ascii


def quote(text: str) -> str:
    """A JSON string; bytes that were not UTF-8 become escapes, so that the result always is."""
    if text.isascii():
        return encode_basestring(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return encode_basestring_ascii(text)
    return encode_basestring(text)


def dump(value: object, indent: str = "", _margin: str = "\n") -> str:
    """JSON text of dicts, lists, strings, numbers, booleans and None; compact without indent."""
    if isinstance(value, str):
        return quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    margin = _margin + indent
    if isinstance(value, dict):
        colon = ": " if indent else ":"
        parts = [f"{quote(str(k))}{colon}{dump(v, indent, margin)}" for k, v in value.items()]
        left, right = "{", "}"
    elif isinstance(value, (list, tuple)):
        parts = [dump(item, indent, margin) for item in value]
        left, right = "[", "]"
    else:
        raise TypeError(f"not a JSON value: {type(value).__name__}")
    if not parts:
        return left + right
    if not indent:
        return left + ",".join(parts) + right
    return left + margin + ("," + margin).join(parts) + _margin + right
