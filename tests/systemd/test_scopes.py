"""The systemd driver: one scope for each container, with the limits as properties, and nothing left of it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.harness import Container, Runtime, peers_differ, wait_for

pytestmark = pytest.mark.skipif(
    not Path("/run/systemd/system").is_dir(), reason="this host doesn't run systemd: `make vm-test` has one"
)
MIB = 1 << 20
CGROUPS = Path("/sys/fs/cgroup")
MANY = int(os.environ.get("PYRUNC_MANY", "200"))


@pytest.fixture
def scope(runtime: Runtime) -> Container:
    container = runtime.sleeper()
    container.config["linux"]["cgroupsPath"] = f"machine.slice:test:{container.id}"
    return container


def unit(container: Container) -> str:
    return f"test-{container.id}.scope"


def directory(container: Container) -> Path:
    return CGROUPS / "machine.slice" / unit(container)


def shown(container: Container, name: str) -> str:
    command = ["systemctl", "show", "--value", "-p", name, unit(container)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def reload() -> None:
    subprocess.run(["systemctl", "daemon-reload"], check=True)


def test_the_container_is_in_its_scope(scope: Container) -> None:
    scope.started()
    assert (
        Path(f"/proc/{scope.pid}/cgroup").read_text().strip().startswith(f"0::/machine.slice/{unit(scope)}")
    )
    assert shown(scope, "ActiveState") == "active" and shown(scope, "Slice") == "machine.slice"
    assert shown(scope, "Delegate") == "yes"


def test_limits_are_properties_and_survive_a_reload(scope: Container) -> None:
    scope.config["linux"]["resources"].update(
        memory={"limit": 64 * MIB}, pids={"limit": 33}, cpu={"quota": 20000, "period": 100000}
    )
    scope.started()
    reload()
    assert shown(scope, "MemoryMax") == str(64 * MIB) and shown(scope, "TasksMax") == "33"
    for file, text in (("memory.max", str(64 * MIB)), ("pids.max", "33"), ("cpu.max", "20000 100000")):
        assert (directory(scope) / file).read_text().strip() == text


def test_update_changes_property_and_file(scope: Container) -> None:
    scope.config["linux"]["resources"]["memory"] = {"limit": 64 * MIB}
    scope.started()
    scope.runtime("update", "--memory", str(96 * MIB), "--pids-limit", "50", scope.id).ok()
    assert shown(scope, "MemoryMax") == str(96 * MIB) and shown(scope, "TasksMax") == "50"
    assert (directory(scope) / "memory.max").read_text().strip() == str(96 * MIB)


def test_devices_stay_after_a_reload(scope: Container) -> None:
    """/dev/loop-control stands for a GPU: allowed by a rule of its own."""
    rule = {"allow": True, "type": "c", "major": 10, "minor": 237, "access": "rwm"}
    scope.config["linux"]["resources"]["devices"].append(rule)
    node = {"path": "/dev/gpu", "type": "c", "major": 10, "minor": 237, "fileMode": 0o666}
    scope.config["linux"]["devices"] = [node]
    scope.started()
    for _ in range(2):
        scope.exec("sh", "-c", "exec 3</dev/gpu && head -c 1 /dev/zero >/dev/null").ok()
        reload()


def test_a_device_without_a_rule_is_refused(scope: Container) -> None:
    scope.config["linux"]["devices"] = [
        {"path": "/dev/gpu", "type": "c", "major": 10, "minor": 237, "fileMode": 0o666}
    ]
    scope.started()
    assert "not permitted" in scope.exec("sh", "-c", "exec 3</dev/gpu").failed().stderr


def test_an_annotation_is_a_property(scope: Container) -> None:
    scope.config["annotations"] = {"org.systemd.property.TimeoutStopUSec": "uint64 7000000"}
    scope.started()
    assert shown(scope, "TimeoutStopUSec") == "7s"


def test_a_path_is_no_unit(runtime: Runtime) -> None:
    container = runtime.sleeper()
    container.config["linux"]["cgroupsPath"] = "/a/path"
    container.create().failed()


def gone(container: Container) -> bool:
    return shown(container, "LoadState") == "not-found" and not directory(container).exists()


def test_deleted_without_a_trace(scope: Container) -> None:
    scope.started()
    scope.delete("--force").ok()
    wait_for(lambda: gone(scope), "the scope is still there")


def test_killed_for_want_of_memory_without_a_trace(scope: Container) -> None:
    peers_differ("runc", "crun", why="Debian's versions may leave the failed unit")
    scope.config["process"]["args"] = ["sh", "-c", "tail /dev/zero; exit 0"]
    scope.config["linux"]["resources"]["memory"] = {"limit": 16 * MIB, "swap": 16 * MIB}
    scope.started()
    scope.wait()
    scope.delete("--force").ok()
    wait_for(lambda: gone(scope), "the scope is still there")


def test_the_name_can_be_used_again_at_once(scope: Container) -> None:
    for _ in range(3):
        scope.started()
        scope.delete("--force").ok()


def test_many_containers_leave_nothing(runtime: Runtime) -> None:
    """Each is created, started, ends, and is deleted; systemd has no unit of any of them afterwards."""
    container = runtime.container("/bin/true")
    began = time.monotonic()
    for number in range(MANY):
        container.config["linux"]["cgroupsPath"] = f"machine.slice:test:{container.id}-{number}"
        container.run().ok()
    print(f"{MANY} containers in {time.monotonic() - began:.1f} s")
    listed = ["systemctl", "list-units", "--all", "--plain", "--no-legend", f"test-{container.id}*"]

    def units() -> str:
        return subprocess.run(listed, check=True, capture_output=True, text=True).stdout.strip()

    wait_for(lambda: not units(), "units stay")
    failed = subprocess.run(
        ["systemctl", "--failed", "--plain", "--no-legend"], capture_output=True, text=True
    )
    assert container.id not in failed.stdout
    assert not list((CGROUPS / "machine.slice").glob(f"*{container.id}*"))
    assert not list(Path("/run/systemd/transient").glob(f"*{container.id}*"))
