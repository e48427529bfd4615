"""The command line of `events`. Slow leaf."""

from __future__ import annotations

import re
from typing import Any

from pyrunc import events
from pyrunc.cli import json_text, report
from pyrunc.errors import Usage

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def print_events(root: str, id: str, options: dict[str, Any]) -> int:
    """One JSON object a line, until the container or the reader is gone."""
    interval = duration(options["interval"])
    if options["stats"]:
        return 0 if _line(events.stats(root, id)) else 1
    for event in events.watch(root, id, interval):
        if not _line(event):
            break
    return 0


def duration(text: str) -> float:
    """Seconds of Go's notation: 5s, 1m30s, 100ms. Raises Usage."""
    parts = _PART.findall(text)
    seconds = sum(float(value) * _SECONDS[unit] for value, unit in parts)
    if "".join(value + unit for value, unit in parts) != text or not parts:
        hint = "such as 5s, 1m30s or 100ms"
        raise Usage(f"invalid duration {text!r}", code="usage", subject=text, hint=hint)
    if seconds <= 0:
        raise Usage("duration interval must be greater than 0", code="usage", subject=text)
    return seconds


def _line(event: dict[str, Any]) -> bool:
    return report.write(1, json_text.dump(event) + "\n")
