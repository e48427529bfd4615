"""process.terminal: the container's pseudo-terminal, handed to a console socket."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
from pathlib import Path

import pytest

from tests.integration.harness import Container, Runtime, peers_differ


def create_with_console(container: Container, short: Path) -> int:
    """create with --console-socket; returns the pty's master."""
    container.config["process"]["terminal"] = True
    path = short / "console"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(10)
        container.create("--console-socket", str(path)).ok()
        connection, _ = server.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    (master,) = fds
    return master


def read_all(master: int) -> str:
    """What the terminal prints until its last user is gone."""
    text = b""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # EIO: the other side is closed
            return text.decode()
        if not data:
            return text.decode()
        text += data


@pytest.mark.spec("process.terminal", "LX-3")
def test_console_socket(runtime: Runtime) -> None:
    container = runtime.sh("test -t 0 && test -t 1 && test -t 2 && tty; echo done")
    master = create_with_console(container, runtime.tmp)
    try:
        container.start().ok()
        assert read_all(master).split() == ["/dev/pts/0", "done"]
    finally:
        os.close(master)


def test_console_socket_with_a_long_path(runtime: Runtime) -> None:
    """Longer than the 107 bytes of a socket's address."""
    peers_differ("runc", "crun", why="they need a short one")
    deep = runtime.tmp / ("d" * 120)
    deep.mkdir()
    container = runtime.sh("tty")
    here = os.open(deep, os.O_PATH)
    container.config["process"]["terminal"] = True
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/console")
        server.listen()
        server.settimeout(10)
        container.create("--console-socket", str(deep / "console")).ok()
        connection, _ = server.accept()
        with connection:
            _, (master,), _, _ = socket.recv_fds(connection, 4096, 1)
    container.start().ok()
    assert read_all(master).strip() == "/dev/pts/0"
    os.close(master)
    os.close(here)


def test_console_socket_without_a_file(runtime: Runtime) -> None:
    peers_differ("crun", why="it takes @ for a letter of the path")
    name = f"pyrunc-test-{os.urandom(6).hex()}"
    container = runtime.sh("tty")
    container.config["process"]["terminal"] = True
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"\0{name}")
        server.listen()
        server.settimeout(10)
        container.create("--console-socket", f"@{name}").ok()
        connection, _ = server.accept()
        with connection:
            _, (master,), _, _ = socket.recv_fds(connection, 4096, 1)
    container.start().ok()
    assert read_all(master).strip() == "/dev/pts/0"
    os.close(master)


@pytest.mark.spec("LX-3", "process.terminal")
def test_dev_console(runtime: Runtime) -> None:
    container = runtime.sh("stat -c %F /dev/console; echo hello > /dev/console")
    master = create_with_console(container, runtime.tmp)
    try:
        container.start().ok()
        assert read_all(master).splitlines() == ["character special file", "hello"]
    finally:
        os.close(master)


@pytest.mark.spec("process.consoleSize")
def test_console_size(runtime: Runtime) -> None:
    container = runtime.sh("sleep 0.2; stty size")
    container.config["process"]["consoleSize"] = {"height": 30, "width": 99}
    master = create_with_console(container, runtime.tmp)
    try:
        size = fcntl.ioctl(master, termios.TIOCGWINSZ, b"\0" * 8)
        assert struct.unpack("HHHH", size)[:2] == (30, 99)
        container.start().ok()
        assert read_all(master).split() == ["30", "99"]
    finally:
        os.close(master)


def test_it_is_the_controlling_terminal(runtime: Runtime) -> None:
    container = runtime.sh("echo tty > /dev/tty")
    master = create_with_console(container, runtime.tmp)
    try:
        container.start().ok()
        assert read_all(master).split() == ["tty"]
    finally:
        os.close(master)


def test_create_with_a_terminal_needs_a_socket(runtime: Runtime) -> None:
    container = runtime.sh("exit 0")
    container.config["process"]["terminal"] = True
    container.create().failed()


def test_console_socket_that_is_not_there(runtime: Runtime) -> None:
    container = runtime.sh("exit 0")
    container.config["process"]["terminal"] = True
    container.create("--console-socket", str(runtime.tmp / "none")).failed()
    runtime("state", container.id).failed()
