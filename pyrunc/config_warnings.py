"""What a config.json says in vain: properties that nobody reads, names that nobody knows.

A slow leaf of ``validate``. The specification wants an unknown property to be ignored, so none
of these is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pyrunc.vocabulary.capabilities import CAPABILITIES
from pyrunc.vocabulary.mount_options import is_bind, is_parameter

if TYPE_CHECKING:
    from pyrunc.rules import Found, Where

# What other platforms, or earlier versions of the specification, have.
_FOREIGN: dict[str, tuple[str, ...]] = {
    "": ("windows", "solaris", "vm", "zos", "freebsd"),
    "process": ("commandLine",),
    "process.user": ("username",),
    "linux.intelRdt": ("enableCMT", "enableMBM"),
}


def config_warnings(document: Any, schema: dict[str, Any], part: str = "") -> Iterator[Found]:
    """``part``: "process" for a process object that stands alone."""
    top = schema["$defs"][part] if part else schema
    yield from _unknown(document, top, schema["$defs"], (), part)
    if not isinstance(document, dict):
        return
    process = document if part else document.get("process")
    if isinstance(process, dict):
        yield from _process(process, () if part else ("process",))
    if part:
        return
    if "linux" not in document:
        for platform in _FOREIGN[""]:
            if document.get(platform):
                message = "is for another platform, and is ignored: pyrunc makes containers of Linux"
                yield (platform,), message, ""
    if str(document.get("ociVersion")).startswith("0."):
        yield ("ociVersion",), "is from before version 1.0.0 and is read as 1.0.0", ""
    mounts = document.get("mounts")
    for index, mount in enumerate(mounts if isinstance(mounts, list) else []):
        if not isinstance(mount, dict):
            continue
        yield from _bind_parameters(mount, index)
        destination = mount.get("destination")
        if isinstance(destination, str) and destination[:1] not in ("", "/"):
            message = f"{destination} is relative, and is taken below /"
            yield ("mounts", index, "destination"), message, "write an absolute path"


def _bind_parameters(mount: dict[str, Any], index: int) -> Iterator[Found]:
    options = mount.get("options")
    if not isinstance(options, list) or not is_bind(options):
        return
    for position, option in enumerate(options):
        if isinstance(option, str) and is_parameter(option):
            message = f"{option} is ignored: what is bound keeps its file system's parameters"
            yield ("mounts", index, "options", position), message, ""


def nearest(name: str, known: Any) -> str:
    """A hint at the known name that is spelled most like this one; "" if none is."""
    names = {str(item).lower(): str(item) for item in known}
    close = difflib.get_close_matches(name.lower(), names, 1, 0.7)
    return f"did you mean {names[close[0]]}?" if close else ""


def _unknown(value: Any, schema: Any, defs: dict[str, Any], where: Where, path: str) -> Iterator[Found]:
    if "$ref" in schema:
        schema = defs[schema["$ref"].removeprefix("#/$defs/")]
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _unknown(item, schema["items"], defs, (*where, index), f"{path}[]")
    if not isinstance(value, dict) or schema.get("type") != "object":
        return
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties")
    for name, item in value.items():
        inner = properties.get(name, more)
        if inner:
            yield from _unknown(item, inner, defs, (*where, name), f"{path}.{name}" if path else name)
        elif inner is None and name not in _FOREIGN.get(path, ()):
            hint = nearest(name, [known for known in properties if known not in value])
            yield (*where, name), "is not a known property, and is ignored", hint


def _process(process: dict[str, Any], where: Where) -> Iterator[Found]:
    sets = process.get("capabilities")
    for kind, names in sets.items() if isinstance(sets, dict) else ():
        for index, name in enumerate(names if isinstance(names, list) else []):
            if isinstance(name, str) and name not in CAPABILITIES:
                message = f"{name} is not a known capability, and is left out"
                yield (*where, "capabilities", kind, index), message, nearest(name, CAPABILITIES)
    if process.get("consoleSize") and process.get("terminal") is not True:
        yield (*where, "consoleSize"), "is ignored, because terminal is not true", ""
