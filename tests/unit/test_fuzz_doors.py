"""A short run of each fuzz target in Python; `make fuzz` has long ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parents[1] / "fuzz" / "doors.py"
_SPEC = importlib.util.spec_from_file_location("doors", _PATH)
assert _SPEC and _SPEC.loader
doors = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(doors)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("target", doors.TARGETS)
def test_what_others_write_is_taken_or_refused(target: str, seed: int) -> None:
    assert doors.main(target, 0.25, seed) == 0


@pytest.mark.parametrize("target", doors.TARGETS)
def test_the_corpus_is_accepted(target: str) -> None:
    for file in (doors.CORPUS / target).iterdir():
        doors.TARGETS[target](file.read_bytes())
