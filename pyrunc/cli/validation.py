"""``pyrunc validate``: all faults of a config.json, for people and for programs."""

from __future__ import annotations

import json
import os

from pyrunc.cli.main import enable_site
from pyrunc.cli.terminal import Terminal
from pyrunc.configuration import read_source
from pyrunc.errors import Fault


def validate(path: str, as_json: bool) -> tuple[str, bool]:
    """The report on a bundle (or on a file like its config.json), and whether create would accept it.

    Raises Error when there is nothing to read.
    """
    file = path if os.path.isfile(path) else f"{path}/config.json"
    text = read_source(file)
    enable_site()
    from pyrunc.validate import faults

    found = faults(text, os.path.dirname(file), warnings=True)
    valid = not any(fault.level == "error" for fault in found)
    if as_json:
        names = ("level", "path", "message", "hint", "line", "column")
        entries = [{name: getattr(fault, name) for name in names} for fault in found]
        document = {"file": file, "valid": valid, "faults": entries}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n", valid
    return _text(os.path.relpath(file), found, Terminal()), valid


def _text(file: str, found: list[Fault], terminal: Terminal) -> str:
    lines = []
    for fault in found:
        place = f"{file}:{fault.line}:{fault.column}:" if fault.line else f"{file}:"
        level = terminal.paint(f"{fault.level}:", "bold", "red" if fault.level == "error" else "yellow")
        path = terminal.paint(fault.path, "bold") + " " if fault.path else ""
        lines.append(f"{place} {level} {path}{fault.message}")
        if fault.hint:
            lines.append(terminal.wrap(fault.hint, "          ", "    hint: "))
    errors = sum(fault.level == "error" for fault in found)
    warnings = len(found) - errors
    counts = [_count(errors, "error")] if errors else [terminal.paint("valid", "green")]
    if warnings:
        counts.append(_count(warnings, "warning"))
    return "\n".join([*lines, f"{file}: {', '.join(counts)}"]) + "\n"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
