"""What was opened, locked or started for a call that fails is given back: a library's caller lives on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyrunc import destroy, events, execute, launch, netdevices, restoring
from pyrunc import state_directory as states
from pyrunc.cli import report
from pyrunc.errors import Error
from pyrunc.launch import Init, spawn
from pyrunc.listener import receiver
from pyrunc.opening import Opened
from pyrunc.plan import Plan
from pyrunc.spec import Spec


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before


def fails(*arguments: object, **named: object) -> Any:
    raise Error("it fails", code="test")


def opened_file() -> int:
    return os.open("/dev/null", os.O_RDONLY)


def test_network_devices_of_a_process_that_is_gone() -> None:
    with pytest.raises(FileNotFoundError):
        netdevices.Moved(0)


def test_events_of_a_cgroup_that_can_not_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    state = SimpleNamespace(record={"pid": os.getpid(), "start_time": 0}, close=lambda: None)
    monkeypatch.setattr(events, "_running", lambda root, id: state)
    monkeypatch.setattr(events, "cgroup_of", lambda state: SimpleNamespace(watch_oom=fails))
    with pytest.raises(Error, match="it fails"):
        next(events.watch("/root", "c", 1.0))


@pytest.mark.parametrize("name", ["clone", "socket_pair"])
def test_a_process_that_can_not_be_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, name, fails)
    with pytest.raises(Error, match="it fails"), Opened() as opened:
        opened.own(opened_file())
        spawn(Plan(), opened, clone_fd=opened_file())


def test_standard_files_that_are_not_open() -> None:
    with pytest.raises(OSError), Opened() as opened:
        spawn(Plan(), opened, stdio=(0, 1, 1 << 20))


def test_a_socket_that_can_not_be_closed_does_not_keep_the_pidfd() -> None:
    def close() -> None:
        raise OSError

    Init(Plan(), 0, opened_file(), SimpleNamespace(close=close)).close()  # type: ignore[arg-type]


def test_an_init_that_we_had_to_kill_was_not_killed_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_PATIENCE", 10)
    with subprocess.Popen(["sleep", "100"]) as silent:
        init = Init(Plan(), silent.pid, os.pidfd_open(silent.pid), socket.socket())
        error = init.vanished()
        init.close()
    assert error.message == "pyrunc-init ended without a word"


def test_a_failure_that_can_not_be_undone_is_a_warning_and_keeps_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(report, "warn", warnings.append)
    monkeypatch.setattr(destroy, "destroy", fails)
    state = states.make(str(tmp_path), "c")
    destroy.undo(state)
    assert state.fd == -1
    assert warnings == ["not all could be undone: it fails"]


READY = """
import os, socket
from pyrunc import activation
left, right = socket.socketpair()
readiness = activation.Readiness.__new__(activation.Readiness)
readiness._socket, readiness._pidfd = left, os.pidfd_open(os.getpid())
activation._PATIENCE = 0.01
activation._leave = lambda keep: 1 / 0
readiness.pass_on()
print("the caller goes on", left.fileno(), flush=True)
"""


def test_who_waits_in_the_background_never_returns_to_the_caller() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", READY], capture_output=True, text=True, timeout=10)
    assert done.stdout.splitlines() == ["the caller goes on -1"]


@pytest.mark.parametrize(("pid", "status"), [(0, "creating"), (8, "running")])
def test_the_seccomp_agent_hears_of_the_container_and_of_the_process(
    tmp_path: Path, pid: int, status: str
) -> None:
    """The state is the container's, also for a process of `exec`. The agent's path may be of any length."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    seccomp = {"listenerPath": str(deep / "agent")}
    spec = Spec(json.dumps({"ociVersion": "1.2.0", "linux": {"seccomp": seccomp}}).encode())
    state: Any = SimpleNamespace(id="c", record={"pid": 7, "bundle": "/b"})
    here = os.open(deep, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/agent")
        server.listen()
        receiver(spec, state, pid)(opened_file())
        connection, _ = server.accept()
        with connection:
            data, fds, _, _ = socket.recv_fds(connection, 65536, 1)
    for fd in (here, *fds):
        os.close(fd)
    said = json.loads(data)
    assert len(fds) == 1 and said["pid"] == (pid or 7)
    assert (said["state"]["pid"], said["state"]["status"]) == (7, status)


@pytest.mark.parametrize(("user", "gid"), [("1000", 77), ("1000:5", 5)])
def test_a_user_of_exec_without_a_group_has_that_of_the_process(user: str, gid: int) -> None:
    data: dict[str, Any] = {"user": {"uid": 7, "gid": 77, "additionalGids": [88]}}
    execute._override(data, ["id"], [], "", user, [], [])
    assert data["user"] == {"uid": 1000, "gid": gid, "additionalGids": [88]}


def test_restore_in_a_scope_of_systemd(tmp_path: Path) -> None:
    """The scope is made with a process that lives until criu is in it."""
    done = []
    cgroup = SimpleNamespace(
        create=lambda resources: done.append("create"),
        mark=lambda owner: done.append("mark"),
        adopts=lambda: True,
        adopt=lambda pid: done.append(Path(f"/proc/{pid}/comm").exists()),
    )
    restoration: Any = SimpleNamespace(
        cgroup=cgroup, spec=Spec(b"{}"), state=SimpleNamespace(directory=str(tmp_path))
    )
    with restoring.Restoration._cgroup_made(restoration):
        assert done == ["create", "mark", True]


def test_the_script_of_restore_in_a_directory_with_a_space(tmp_path: Path) -> None:
    directory = tmp_path / "my root"
    directory.mkdir()
    restoration: Any = SimpleNamespace(state=SimpleNamespace(directory=str(directory)))
    script = restoring.Restoration._script(restoration)
    ask, answer = (os.open(directory / name, os.O_RDWR) for name in ("ask", "answer"))
    os.write(answer, b"go\n")
    environment = {**os.environ, "CRTOOLS_SCRIPT_ACTION": "setup-namespaces", "CRTOOLS_INIT_PID": "7"}
    assert subprocess.run([script], env=environment, timeout=10).returncode == 0
    assert os.read(ask, 64) == b"7\n"
    os.close(ask)
    os.close(answer)
