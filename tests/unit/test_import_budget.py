"""The hot verbs import no more than they need: each import costs every container."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.import_budget import check, loaded


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("start missing", 1),
        ("state missing", 1),
        ("kill missing KILL", 1),
        ("delete missing", 1),
        ("delete -f missing", 0),
        ("state not/an/id", 1),
    ],
)
def test_import_budget(line: str, status: int, tmp_path: Path) -> None:
    check(loaded(tmp_path, "--root", str(tmp_path / "state"), *line.split(), status=status))
