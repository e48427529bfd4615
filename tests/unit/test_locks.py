"""Who holds the lock of a container, and what others see meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrunc import destroy, lifecycle
from pyrunc import state_directory as states
from pyrunc.errors import Error
from pyrunc.explain.statuses import start_hint
from tests.integration.harness import is_locked
from tests.unit.test_state_directory import RECORD, directory

CREATED = json.dumps({**RECORD, "status": "created"})


@pytest.mark.parametrize("verb", [lifecycle.pause, lifecycle.resume])
def test_a_verb_that_is_refused_gives_the_lock_back(tmp_path: Path, verb: Callable[[str, str], None]) -> None:
    directory(tmp_path, "one", CREATED)
    with pytest.raises(Error) as caught:
        verb(str(tmp_path), "one")
    assert not is_locked(tmp_path / "one"), (
        caught
    )  # a library's caller may keep the error, with all its frames


def test_a_delete_that_fails_gives_the_lock_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory(tmp_path, "one", CREATED)

    def refuse(state: states.State) -> None:
        raise Error("busy")

    monkeypatch.setattr(destroy, "destroy", refuse)
    with pytest.raises(Error, match="busy"):
        lifecycle.delete(str(tmp_path), "one")
    assert not is_locked(tmp_path / "one")


def test_a_container_is_being_made_from_its_directory_on(tmp_path: Path) -> None:
    with states.make(str(tmp_path), "one"):
        assert lifecycle.state(str(tmp_path), "one")["status"] == "creating"
        assert [each["status"] for each in lifecycle.containers(str(tmp_path))] == ["creating"]
        assert lifecycle.processes(str(tmp_path), "one") == []
    assert lifecycle.state(str(tmp_path), "one")["status"] == "stopped"  # its maker was killed


def test_to_ask_for_the_status_keeps_the_lock(tmp_path: Path) -> None:
    directory(tmp_path, "one")  # of a create that was killed
    with states.load(str(tmp_path), "one", lock=True) as state:
        assert lifecycle.status_of(state) == "stopped"
        assert is_locked(tmp_path / "one")


def test_what_to_do_while_another_makes_it(tmp_path: Path) -> None:
    with states.make(str(tmp_path), "one") as state:
        state.write("state.json", json.dumps(RECORD).encode())
        with pytest.raises(Error) as caught:
            lifecycle.kill(str(tmp_path), "one", 9)
        assert caught.value.hint == start_hint(state, "creating")
        assert "delete --force" in caught.value.hint


def test_a_process_that_cannot_be_signalled_does_not_save_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cgroup:
        def processes(self) -> list[int]:
            return [11, 12, 13]

    sent: list[int] = []
    ends = {pid: os.pipe() for pid in (11, 12, 13)}

    def send(pidfd: int, signal: int) -> bool:
        if pidfd == ends[11][0]:
            raise PermissionError
        sent.append(pidfd)
        return True

    monkeypatch.setattr(lifecycle, "cgroup_of", lambda found: Cgroup())
    monkeypatch.setattr(lifecycle, "open_pidfd", lambda pid: ends[pid][0])
    monkeypatch.setattr(lifecycle, "send", send)
    state = states.State(str(tmp_path), "one", -1, {"cgroup": {"path": "/x"}})
    with pytest.raises(PermissionError):
        lifecycle._signal_others(state, 15, 0)
    assert sent == [ends[12][0], ends[13][0]]
    for reader, writer in ends.values():
        with pytest.raises(OSError):
            os.fstat(reader)
        os.close(writer)
