"""A program that can't be executed: `start` says so, as create has ended already."""

from __future__ import annotations

import pytest

from tests.integration.harness import Container, Runtime, peers_differ

WRONG_ARCH = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x28\x00" + bytes(100)


@pytest.fixture
def container(runtime: Runtime) -> Container:
    peers_differ("runc", "crun", why="start has returned before execve")
    return runtime.container("/program")


def start_fails(container: Container, *words: str) -> None:
    """create may refuse already; otherwise start must, and leave nothing running."""
    if container.create().status == 0:
        stderr = container.start().failed().stderr
        assert all(word in stderr for word in ("/program", *words)), stderr
        wait_gone(container)


def wait_gone(container: Container) -> None:
    answer = container.runtime("state", container.id)
    assert answer.status != 0 or container.status == "stopped"


def program(container: Container, content: bytes) -> None:
    file = container.rootfs / "program"
    file.write_bytes(content)
    file.chmod(0o755)


@pytest.mark.spec("SA-9")
def test_missing_interpreter(container: Container) -> None:
    program(container, b"#!/no/such/interpreter\n")
    start_fails(container)


@pytest.mark.spec("SA-9")
def test_wrong_architecture(container: Container) -> None:
    program(container, WRONG_ARCH)
    start_fails(container, "xec format")


def test_no_shebang(container: Container) -> None:
    program(container, b"echo hello\n")
    start_fails(container, "xec format")


def test_mount_without_exec(container: Container) -> None:
    program(container, b"#!/bin/sh\n")
    container.config["mounts"].append(
        {
            "destination": "/data",
            "type": "bind",
            "source": str(container.rootfs),
            "options": ["bind", "noexec"],
        }
    )
    container.config["process"]["args"] = ["/data/program"]
    start_fails(container, "ermission denied")


def test_directory(container: Container) -> None:
    (container.rootfs / "program").mkdir()
    start_fails(container)
