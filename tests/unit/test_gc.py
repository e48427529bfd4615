"""gc, where two processes meet: what a test from outside can't time."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyrunc import gc
from pyrunc import state_directory as states
from pyrunc.state_directory import State


def test_a_record_that_is_damaged_before_the_lock_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states.make(str(tmp_path), "one").close()
    lock = gc._lock

    def damage_then_lock(state: State) -> bool:
        state.write("state.json", b"{")
        return lock(state)

    monkeypatch.setattr(gc, "_lock", damage_then_lock)
    (finding,) = gc.collect(str(tmp_path))
    assert (finding.kind, finding.outcome) == ("container", gc.KEPT)
    assert "damaged" in finding.why
