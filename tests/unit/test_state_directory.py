"""What a reader of many containers gets from state directories in every condition."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyrunc import state_directory as states
from pyrunc.errors import Error, NotFound

RECORD = {
    "version": 1, "status": "creating", "pid": 0, "start_time": 0, "bundle": "/b", "rootfs": "/b/rootfs",
    "created": "", "ociVersion": "1.3.0", "freezer": "", "annotations": {}, "mounts": [],
    "cgroup": {"version": "v2", "path": "/a", "mountpoint": "/m", "made": ""},
    "no_pivot": False, "new_keyring": True,
}  # fmt: skip


def directory(root: Path, id: str, text: str | None = None) -> Path:
    path = root / id
    path.mkdir()
    (path / "state.json").write_text(json.dumps(RECORD) if text is None else text)
    return path


def test_ids_are_the_directories_sorted(tmp_path: Path) -> None:
    for id in ("b", "a", ".seccomp"):
        directory(tmp_path, id)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("a")
    assert states.ids(str(tmp_path)) == ["a", "b"]
    assert states.ids(str(tmp_path / "nothing")) == []


def test_a_glance_has_the_record_and_the_owner(tmp_path: Path) -> None:
    directory(tmp_path, "one")
    state, owner = states.glance(str(tmp_path), "one")
    assert (state.record, state.fd, owner) == (RECORD, -1, os.getuid())


def test_a_glance_at_what_was_killed_before_its_first_record(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    state, owner = states.glance(str(tmp_path), "one")
    assert (state.record, owner) == ({}, os.getuid())


def test_a_glance_at_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        states.glance(str(tmp_path), "one")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": true}', "\0"])
def test_a_glance_at_a_damaged_record(tmp_path: Path, text: str) -> None:
    directory(tmp_path, "one", text)
    with pytest.raises(Error) as caught:
        states.glance(str(tmp_path), "one")
    assert caught.value.code == "state-damaged"


def test_a_state_that_another_has_locked(tmp_path: Path) -> None:
    """flock(2) counts for each open file: another one of this process is as good as another process."""
    directory(tmp_path, "one")
    first = states.load(str(tmp_path), "one", lock=True)
    with pytest.raises(Error) as caught:
        states.load(str(tmp_path), "one", lock=True, wait=False)
    assert caught.value.code == "busy"
    assert str(caught.value).endswith(f"process {os.getpid()}")
    first.unlock()
    states.load(str(tmp_path), "one", lock=True, wait=False).close()
    first.close()


def test_a_record_of_another_version_is_not_obeyed(tmp_path: Path) -> None:
    directory(tmp_path, "one", json.dumps({**RECORD, "version": 2}))
    with pytest.raises(Error, match="version 2 instead of 1"):
        states.load(str(tmp_path), "one")


@pytest.mark.parametrize("kind", ["link", "fifo", "directory"])
def test_a_glance_neither_follows_nor_waits(tmp_path: Path, kind: str) -> None:
    path = directory(tmp_path, "one") / "state.json"
    path.rename(tmp_path / "elsewhere")
    if kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(Error):
        states.glance(str(tmp_path), "one")
