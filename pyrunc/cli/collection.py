"""``pyrunc gc``: what was found and removed, for people and for programs."""

from __future__ import annotations

from pyrunc.cli import json_text
from pyrunc.gc import KEPT, Finding, collect


def gc(root: str, dry_run: bool, force: bool, as_json: bool) -> tuple[str, bool]:
    """The report, and whether nothing had to be kept."""
    found = collect(root, dry_run, force)
    clean = not any(finding.outcome == KEPT for finding in found)
    if as_json:
        names = ("id", "kind", "subject", "outcome", "why")
        document = [{name: getattr(finding, name) for name in names} for finding in found]
        return json_text.dump(document, "  ") + "\n", clean
    return "".join(map(_line, found)), clean


def _line(finding: Finding) -> str:
    of = f" of {finding.id}" if finding.id else ""
    why = f": {finding.why}" if finding.why else ""
    return f"{finding.outcome} {finding.kind}{of} {finding.subject}{why}\n"
