"""``pyrunc plan``: the steps of a preview, for people and for programs."""

from __future__ import annotations

import json

from pyrunc.cli.main import enable_site
from pyrunc.cli.terminal import Terminal
from pyrunc.preview import Item, preview


def plan(bundle: str, as_json: bool, no_pivot: bool) -> str:
    """The report on the bundle in a directory. Raises ConfigError where create would."""
    enable_site()
    found = preview(bundle, no_pivot=no_pivot)
    if as_json:
        names = ("actor", "name", "arguments", "path", "problem")
        steps = [{name: getattr(item, name) for name in names} for item in found.items]
        possible = not any(item.problem for item in found.items)
        document = {"bundle": bundle, "possible": possible, "steps": steps, "warnings": found.warnings}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    terminal = Terminal()
    lines = []
    for number, item in enumerate(found.items, 1):
        lines.append(_line(number, item, terminal))
        if item.problem:
            text = terminal.wrap(item.problem, " " * 24, f"{'':5}this host can't do that: ")
            lines.append(terminal.paint(text, "red"))
    for warning in found.warnings:
        lines.append(terminal.paint(terminal.wrap(warning, "  ", "warning: "), "yellow"))
    problems = sum(bool(item.problem) for item in found.items)
    count = f"{len(found.items)} steps"
    if problems:
        count += terminal.paint(f", {problems} of them not possible on this host", "bold", "red")
    return "\n".join([*lines, count]) + "\n"


def _line(number: int, item: Item, terminal: Terminal) -> str:
    """number, actor, name, arguments; the JSON path at the end, on a line of its own if there is no room."""
    words = [f"{name}={_text(value)}" for name, value in item.arguments.items()]
    start = f"{number:3}  {item.actor:8} {item.name.replace('_', ' ')}"
    text = terminal.wrap(" ".join([start, *words]), " " * 14)
    if not item.path:
        return text
    last = len(text.rpartition("\n")[2])
    fits = not terminal.width or last + len(item.path) + 3 <= terminal.width
    between = "  " if fits else "\n" + " " * 14
    return f"{text}{between}{terminal.paint(item.path, 'cyan')}"


def _text(value: str | int | list[str]) -> str:
    if isinstance(value, list):
        return ",".join(value) if not any(" " in word for word in value) else json.dumps(value)
    text = str(value).rstrip("\n")
    return json.dumps(text) if "\n" in text or " " in text else text
