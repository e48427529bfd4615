"""JSON text without the json module, which costs 6 ms to import."""

from __future__ import annotations

from _json import encode_basestring, encode_basestring_ascii

from pyrunc.state_json import encoder


def quote(text: str) -> str:
    """A JSON string; bytes that were not UTF-8 become escapes, so that the result always is."""
    if text.isascii():
        return encode_basestring(text)
    try:
        text.encode()
    except UnicodeEncodeError:
        return encode_basestring_ascii(text)
    return encode_basestring(text)


_compact = encoder(quote)


def dump(value: object, indent: str = "", _margin: str = "\n") -> str:
    """JSON text of dicts, lists, strings, numbers, booleans and None; compact without indent."""
    if not indent or not value or not isinstance(value, (dict, list, tuple)):
        return _compact(value)
    margin = _margin + indent
    if isinstance(value, dict):
        parts = [f"{quote(key)}: {dump(item, indent, margin)}" for key, item in value.items()]
        left, right = "{", "}"
    else:
        parts = [dump(item, indent, margin) for item in value]
        left, right = "[", "]"
    return left + margin + ("," + margin).join(parts) + _margin + right
