"""Versions of the runtime-spec: config.md, Specification version."""

from __future__ import annotations

# Every 1.x.y is accepted; nothing newer than 1.3.0 is known.
OLDEST, NEWEST = "1.0.0", "1.3.0"
