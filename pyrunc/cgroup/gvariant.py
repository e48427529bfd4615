"""GVariant text, as annotations for systemd's properties have it: numbers, truth, words, arrays of them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TYPES = {
    "boolean": "b", "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u",
    "int64": "x", "uint64": "t", "double": "d", "string": "s", "objectpath": "o",
}  # fmt: skip


def parse(text: str) -> tuple[str, Any]:
    """(D-Bus signature, value); raises ValueError."""
    text = text.strip()
    if text.startswith("@"):
        signature, _, rest = text[1:].partition(" ")
        return signature, _value(rest.strip(), signature)
    word, _, rest = text.partition(" ")
    if word in _TYPES:
        return _TYPES[word], _value(rest.strip(), _TYPES[word])
    signature = _guess(text)
    return signature, _value(text, signature)


def _guess(text: str) -> str:
    if text in ("true", "false"):
        return "b"
    if text[:1] in ("'", '"'):
        return "s"
    if text[:1] == "[":
        items = _items(text)
        if not items:
            raise ValueError("an empty array needs a type: @as []")
        return "a" + _guess(items[0])
    return "d" if "." in text or "e" in text.lower().removeprefix("0x") else "i"


def _value(text: str, signature: str) -> Any:
    if signature[:1] == "a":
        return [_value(item, signature[1:]) for item in _items(text)]
    if signature == "b":
        if text not in ("true", "false"):
            raise ValueError(f"{text} is not true or false")
        return text == "true"
    if signature in ("s", "o"):
        return _string(text)
    if signature == "d":
        return float(text)
    if len(signature) == 1 and signature in "ynqiuxt":
        return int(text, 0)
    raise ValueError(f"the type {signature} is not known")


def _string(text: str) -> str:
    quote = text[:1]
    if quote not in ("'", '"') or len(text) < 2 or text[-1] != quote:
        raise ValueError(f"{text} is not in quotes")
    found = []
    escaped = False
    for character in text[1:-1]:
        if not escaped and character == quote:
            raise ValueError("a quote inside")
        if escaped or character != "\\":
            found.append({"n": "\n", "t": "\t"}.get(character, character) if escaped else character)
            escaped = False
        else:
            escaped = True
    return "".join(found)


def _items(text: str) -> list[str]:
    """The texts of an array's items."""
    if text[:1] != "[" or text[-1:] != "]":
        raise ValueError(f"{text} is not an array")
    found, start, depth, quote = [], 1, 0, ""
    inner = text[:-1] + ","
    at = 1
    while at < len(inner):
        character = inner[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
        elif character in "'\"":
            quote = character
        elif character == "," and depth == 0:
            found.append(inner[start:at].strip())
            start = at + 1
        depth += 0 if quote else (character in "[(") - (character in "])")
        at += 1
    return [] if found == [""] else found
