"""``pyrunc doctor``: the findings, for people and for programs."""

from __future__ import annotations

import json

from pyrunc.cli.main import enable_site
from pyrunc.cli.terminal import Terminal
from pyrunc.doctor import LIMITED, MISSING, OK, Finding, examine

_COLOURS = {OK: "green", LIMITED: "yellow", MISSING: "red"}


def doctor(as_json: bool) -> tuple[str, bool]:
    """The report, and whether containers can be started at all."""
    enable_site()
    found = examine()
    able = not any(finding.level == MISSING for finding in found)
    if as_json:
        names = ("subject", "level", "text", "remedy")
        findings = [{name: getattr(finding, name) for name in names} for finding in found]
        document = {"able": able, "findings": findings}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n", able
    return _text(found, Terminal()), able


def _text(found: list[Finding], terminal: Terminal) -> str:
    widest = max(len(finding.subject) for finding in found)
    indent = " " * (widest + 11)
    lines = []
    for finding in found:
        start = f"{finding.subject.ljust(widest)}  {finding.level.ljust(9)}"
        text = terminal.wrap(finding.text, indent, start)
        painted = terminal.paint(finding.level, _COLOURS[finding.level])
        lines.append(text.replace(f"  {finding.level}", f"  {painted}", 1))
        if finding.remedy:
            lines.append(terminal.paint(terminal.wrap(finding.remedy, indent + "  ", indent + "→ "), "dim"))
    return "\n".join(lines) + "\n"
