"""LISTEN_FDS and NOTIFY_SOCKET: a service manager's sockets, passed on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import PROGRAM, Container, Runtime, marked, peers_differ

# What sd_notify(3) does; busybox has nothing for it.
SEND = """
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.sendto(b"STATUS=soon\\nREADY=1", os.environ["NOTIFY_SOCKET"])
"""


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(10)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "NOTIFY_SOCKET": str(self.path)}

    def heard(self) -> str:
        """The next message; what comes with it is closed."""
        data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
        for fd in fds:
            os.close(fd)
        return data.decode()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    peers_differ("crun", why="its proxy needs systemd")
    manager = Manager(tmp_path / "manager")
    yield manager
    manager.socket.close()


def sender(runtime: Runtime, *, ready: bool = True) -> Container:
    """A container that sends READY=1 (by the host's Python, whose files it sees) and sleeps on."""
    script = f"python3 -c '{SEND}'; " if ready else ""
    container = runtime.container("/bin/sh", "-c", script + "exec sleep 100")
    container.config["process"]["env"] = ["PATH=/usr/bin:/bin"]
    for path in ("/usr", "/lib", "/lib64"):
        if os.path.isdir(path):
            target = {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]}
            container.config["mounts"].append(target)
    return container


def detached(container: Container, environment: dict[str, str]) -> Any:
    return container.run("--detach", env=environment, timeout=60)


@pytest.mark.skipif(shutil.which("python3") is None, reason="needs python3")
def test_ready_reaches_the_manager(runtime: Runtime, manager: Manager) -> None:
    container = sender(runtime)
    process = start_run(container, manager, "--detach")
    assert manager.heard() == "READY=1"
    assert manager.heard() == f"MAINPID={container.pid}"
    assert manager.heard() == "BARRIER=1"
    assert process.wait(10) == 0


def start_run(container: Container, manager: Manager, *options: str) -> subprocess.Popen[bytes]:
    container.write()
    line = [PROGRAM, "--root", str(container.runtime.root), "run", "--bundle", str(container.bundle)]
    return subprocess.Popen(
        [*line, *options, container.id],
        env=manager.environment,
        stdin=subprocess.DEVNULL,
        stdout=container.output.open("ab"),
    )


@pytest.mark.skipif(shutil.which("python3") is None, reason="needs python3")
def test_ready_in_the_foreground(runtime: Runtime, manager: Manager) -> None:
    container = sender(runtime)
    process = start_run(container, manager)
    assert manager.heard() == "READY=1"
    container.kill()
    assert process.wait(10) == 137


@pytest.mark.skipif(shutil.which("python3") is None, reason="needs python3")
def test_create_and_start(runtime: Runtime, manager: Manager) -> None:
    """The container has the socket from create; start waits for it, whatever its own environment is."""
    container = sender(runtime)
    container.write()
    with container.output.open("ab") as output:
        line = ("create", "--bundle", str(container.bundle), container.id)
        runtime(*line, stdout=output, env=manager.environment).ok()
    start = subprocess.Popen([PROGRAM, "--root", str(runtime.root), "start", container.id])
    assert [manager.heard() for _ in range(3)] == ["READY=1", f"MAINPID={container.pid}", "BARRIER=1"]
    assert start.wait(10) == 0
    container.delete("--force").ok()
    assert not (runtime.root / container.id).exists()


def test_an_end_without_a_word_ends_the_waiting(runtime: Runtime, manager: Manager) -> None:
    container = runtime.sh("sleep 0.2")
    began = time.monotonic()
    detached(container, manager.environment).ok()
    assert time.monotonic() - began < 5


def test_a_silent_container_is_no_hang(runtime: Runtime, manager: Manager) -> None:
    """It can be looked at and killed while start waits; and start does not wait for ever."""
    peers_differ("runc", why="it waits as long as the container is silent")
    container = sender(runtime, ready=False)
    began = time.monotonic()
    detached(container, manager.environment).ok()
    assert 5 < time.monotonic() - began < 20
    assert container.status == "running"
    container.kill()
    container.wait()
    container.delete().ok()
    for _ in range(100):  # who waited in the background has seen the end
        if not [pid for pid in marked(container.id) if "run" in Path(f"/proc/{pid}/cmdline").read_text()]:
            return
        time.sleep(0.05)
    pytest.fail("the process in the background is still there")


@pytest.mark.spec("LX-2")
def test_listening_sockets(runtime: Runtime) -> None:
    """Descriptors of LISTEN_FDS come first, those of --preserve-fds after them."""
    script = "echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; echo a >&3; echo b >&4; echo c >&5"
    container = runtime.sh(script)
    names = [runtime.tmp / name for name in "abc"]
    opened = ("sh", "-c", 'exec 3>"$1" 4>"$2" 5>"$3"; shift 3; exec "$@"', "sh", *map(str, names))
    environment = {**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "one:two"}
    container.write()
    line = ("run", "--bundle", str(container.bundle), "--preserve-fds", "1", container.id)
    answer = runtime(*line, prefix=opened, env=environment).ok()
    if Path(PROGRAM).name != "crun":
        assert answer.lines[0].split() == ["2", "1", "one:two"]
    assert [name.read_text() for name in names] == ["a\n", "b\n", "c\n"]


def test_sockets_for_somebody_else(runtime: Runtime) -> None:
    """LISTEN_PID names another process: they are not for us."""
    container = runtime.sh("echo [$LISTEN_FDS]; ls /proc/self/fd")
    environment = {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": "1"}
    answer = container.run(env=environment).ok()
    assert answer.lines[0] == "[]"


def test_listening_sockets_that_are_not_open(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they let it pass")
    container = runtime.sh("exit 0")
    answer = container.run(env={**os.environ, "LISTEN_FDS": "7"}).failed(1)
    assert "file descriptor" in answer.stderr
    runtime("state", container.id).failed()
