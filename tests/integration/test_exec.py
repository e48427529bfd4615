"""exec: another process in a running container."""

from __future__ import annotations

import json
import os

import pytest

from tests.integration.harness import Container, Runtime


@pytest.fixture
def container(runtime: Runtime) -> Container:
    return runtime.sleeper().started()


def test_output(container: Container) -> None:
    assert container.exec("echo", "hello").ok().stdout == "hello\n"


@pytest.mark.parametrize("status", [1, 42])
def test_exit_status(container: Container, status: int) -> None:
    assert container.exec("sh", "-c", f"exit {status}").status == status


def test_it_is_inside(container: Container) -> None:
    for name in ("ipc", "mnt", "net", "pid", "uts"):
        inside = container.exec("readlink", f"/proc/self/ns/{name}").ok().stdout.strip()
        assert inside == os.readlink(f"/proc/{container.pid}/ns/{name}")


def test_it_is_in_the_containers_cgroup(container: Container) -> None:
    theirs = container.exec("cat", "/proc/1/cgroup").ok().stdout
    assert container.exec("cat", "/proc/self/cgroup").ok().stdout == theirs


def test_options(container: Container) -> None:
    options = ("--cwd", "/tmp", "--env", "ADDED=1", "--user", "7:8")
    answer = container.exec("/bin/sh", "-c", "pwd; echo $ADDED; id -u; id -g", options=options)
    assert answer.ok().lines == ["/tmp", "1", "7", "8"]


def test_process_file(container: Container) -> None:
    process = dict(container.config["process"], args=["/bin/sh", "-c", "echo $A; pwd"])
    process.update(env=["PATH=/bin", "A=from the file"], cwd="/tmp")
    file = container.bundle / "process.json"
    file.write_text(json.dumps(process))
    answer = container.runtime("exec", "--process", str(file), container.id)
    assert answer.ok().lines == ["from the file", "/tmp"]


def test_detach(container: Container) -> None:
    file = container.bundle / "pid"
    options = ("--detach", "--pid-file", str(file))
    container.exec("sleep", "50", options=options).ok()
    assert os.path.exists(f"/proc/{file.read_text()}")


def test_program_that_does_not_exist(container: Container) -> None:
    answer = container.exec("no-such-program").failed()
    assert "no-such-program" in answer.stderr
    assert answer.status in (1, 127, 255)


def test_capabilities_are_the_containers(container: Container) -> None:
    theirs = container.exec("grep", "^CapEff", "/proc/1/status").ok().stdout
    assert container.exec("grep", "^CapEff", "/proc/self/status").ok().stdout == theirs


def test_container_that_does_not_run(runtime: Runtime) -> None:
    runtime.sh("exit 0").finished().exec("true").failed()


def test_unknown_container(runtime: Runtime) -> None:
    runtime("exec", "pyrunc-test-unknown", "true").failed()
