"""config.json's `hooks`: their order, what they see, what their failure does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.harness import Config, Container, Runtime, cgroups_of, peers_differ

BEFORE = ["prestart", "createRuntime", "createContainer"]
AFTER = ["poststart", "poststop"]


def hook(script: str, **rest: object) -> Config:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"], **rest}


def log_hooks(container: Container) -> Path:
    """Let every hook of the runtime's namespace write its name to the returned file."""
    log = container.bundle / "log"
    container.config["hooks"] = {
        name: [hook(f"echo {name}{number} >> {log}") for number in (1, 2)] for name in [*BEFORE, *AFTER]
    }
    return log


@pytest.mark.spec("CR-11", "HK-2", "SA-7", "DE-8", "hooks.prestart", "hooks.createRuntime")
def test_order(runtime: Runtime) -> None:
    peers_differ("runc", why="runs poststart in create")
    container = runtime.sh("exit 0")
    log = log_hooks(container)
    container.create().ok()
    expected = [f"{name}{number}" for name in BEFORE for number in (1, 2)]
    assert log.read_text().split() == expected
    container.start().ok()
    container.wait()
    assert log.read_text().split() == [*expected, "poststart1", "poststart2"]
    container.delete().ok()
    assert log.read_text().split()[-2:] == ["poststop1", "poststop2"]


@pytest.mark.spec("HK-1", "HK-7")
@pytest.mark.parametrize(
    ("name", "status"), [("createRuntime", "creat"), ("poststart", "running"), ("poststop", "stop")]
)
def test_state_on_standard_input(runtime: Runtime, name: str, status: str) -> None:
    if name == "poststart":
        peers_differ("runc", why="runs poststart in create")
    container = runtime.sleeper()
    file = container.bundle / "state"
    container.config["annotations"] = {"key": "value"}
    container.config["hooks"] = {name: [hook(f"cat > {file}")]}
    container.started()
    pid = container.pid
    container.delete("--force").ok()
    state = json.loads(file.read_text())
    assert (state["id"], state["bundle"]) == (container.id, str(container.bundle))
    assert state["status"].startswith(status)
    assert state["annotations"]["key"] == "value"
    assert name == "poststop" or state["pid"] == pid


@pytest.mark.spec("SA-5", "hooks.createRuntime")
def test_namespaces(runtime: Runtime) -> None:
    container = runtime.sh("exit 0")
    log = container.bundle / "log"
    inside = "readlink /proc/self/ns/net"
    container.config["hooks"] = {
        "createRuntime": [hook(f"{inside} > {log}-runtime")],
        "startContainer": [hook(f"{inside} > /tmp/net")],
    }
    container.run().ok()
    net = (container.rootfs / "tmp" / "net").read_text()
    assert net.startswith("net:[")
    assert net != Path(f"{log}-runtime").read_text()


@pytest.mark.spec("CR-12", "HK-6")
@pytest.mark.parametrize("name", BEFORE)
def test_failure_before_start(runtime: Runtime, name: str) -> None:
    container = runtime.sh("echo ran")
    container.config["hooks"] = {name: [hook("exit 3")]}
    container.create().failed()
    runtime("state", container.id).failed()
    assert cgroups_of(container.id) == []
    assert "ran" not in container.printed()


@pytest.mark.spec("SA-6")
def test_failure_of_start_container(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="start has returned before the hook runs")
    container = runtime.sh("echo ran")
    container.config["hooks"] = {"startContainer": [hook("exit 3")]}
    container.create().ok()
    container.start().failed()
    runtime("state", container.id).failed()


@pytest.mark.spec("SA-8")
def test_failure_of_poststart_is_a_warning_before_1_3(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="runc fails, crun depends on the version")
    container = runtime.sleeper()
    container.config["hooks"] = {"poststart": [hook("exit 3")]}
    container.started()
    assert container.status == "running"


@pytest.mark.spec("SA-8")
def test_failure_of_poststart_is_an_error_from_1_3(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they do not know 1.3")
    container = runtime.sleeper()
    container.config["ociVersion"] = "1.3.0"
    container.config["hooks"] = {"poststart": [hook("exit 3")]}
    container.create().ok()
    container.start().failed()
    runtime("state", container.id).failed()


@pytest.mark.spec("DE-9")
def test_failure_of_poststop_does_not_stop_the_others(runtime: Runtime) -> None:
    peers_differ("runc", why="stops at the first")
    container = runtime.sh("exit 0")
    log = container.bundle / "log"
    container.config["hooks"] = {"poststop": [hook("exit 3"), hook(f"echo second > {log}")]}
    container.finished().delete().ok()
    assert log.read_text() == "second\n"


@pytest.mark.spec("HK-5")
def test_timeout(runtime: Runtime) -> None:
    peers_differ("crun", why="1.8 waits for the sleeping child")
    container = runtime.sh("exit 0")
    container.config["hooks"] = {"createRuntime": [hook("exec sleep 20", timeout=1)]}
    container.create().failed()


@pytest.mark.spec("HK-4")
def test_environment(runtime: Runtime) -> None:
    container = runtime.sh("exit 0")
    file = container.bundle / "env"
    container.config["hooks"] = {
        "createRuntime": [
            {
                "path": "/bin/sh",
                "args": ["sh", "-c", f"cat /proc/self/environ > {file}"],
                "env": ["PATH=/bin:/usr/bin", "ONLY=this"],
            }
        ]
    }
    container.create().ok()
    found = file.read_text().rstrip("\0").split("\0")
    # The shell may add what it sets for itself.
    names = {entry.partition("=")[0] for entry in found}
    assert {"PATH=/bin:/usr/bin", "ONLY=this"} <= set(found)
    assert names <= {"PATH", "ONLY", "PWD", "SHLVL", "OLDPWD", "_"}
