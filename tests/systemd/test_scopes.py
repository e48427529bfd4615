"""The systemd driver: one scope for each container, with the limits as properties, and nothing left of it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import Container, Runtime, add_namespace, peers_differ, wait_for

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


DISK = "254:0"  # the guest's; a property names it by /dev/block
ROOT_DISK = Path("/dev/block") / DISK


@pytest.mark.parametrize(
    ("resources", "name", "shows", "file", "holds"),
    [
        ({"memory": {"limit": 64 * MIB}}, "MemoryMax", str(64 * MIB), "memory.max", str(64 * MIB)),
        ({"memory": {"limit": -1}}, "MemoryMax", "infinity", "memory.max", "max"),
        ({"memory": {"reservation": 8 * MIB}}, "MemoryLow", str(8 * MIB), "memory.low", str(8 * MIB)),
        (
            {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
            *("MemorySwapMax", str(32 * MIB), "memory.swap.max", str(32 * MIB)),
        ),
        ({"pids": {"limit": -1}}, "TasksMax", "infinity", "pids.max", "max"),
        ({"cpu": {"quota": 25000, "period": 50000}}, "CPUQuotaPerSecUSec", "500ms", "cpu.max", "25000 50000"),
        ({"cpu": {"quota": 25000, "period": 50000}}, "CPUQuotaPeriodUSec", "50ms", "cpu.max", "25000 50000"),
        ({"cpu": {"cpus": "0", "mems": "0"}}, "AllowedCPUs", "0", "cpuset.cpus", "0"),
        ({"unified": {"memory.high": str(8 * MIB)}}, "MemoryHigh", str(8 * MIB), "memory.high", str(8 * MIB)),
        ({"unified": {"cpu.weight": "77"}}, "CPUWeight", "77", "cpu.weight", "77"),
        ({"unified": {"pids.max": "21"}}, "TasksMax", "21", "pids.max", "21"),
    ],
)
def test_a_limit_is_a_property_and_in_the_file(
    scope: Container, resources: dict[str, Any], name: str, shows: str, file: str, holds: str
) -> None:
    if name == "MemorySwapMax":
        peers_differ("crun", why="tells systemd the sum of memory and swap")
    scope.config["linux"]["resources"].update(resources)
    scope.started()
    reload()
    assert shown(scope, name) == shows
    assert (directory(scope) / file).read_text().strip() == holds


def test_block_io_is_told_to_systemd(scope: Container) -> None:
    peers_differ("runc", "crun", why="they tell systemd other things, or nothing, of it")
    major, minor = (int(number) for number in DISK.split(":"))
    rate = {"major": major, "minor": minor, "rate": MIB}
    scope.config["linux"]["resources"]["blockIO"] = {"weight": 500, "throttleReadBpsDevice": [rate]}
    if not ROOT_DISK.exists():
        pytest.skip(f"there is no disk {DISK}")
    scope.started()
    reload()
    assert shown(scope, "IOWeight") == "4500"
    assert shown(scope, "IOReadBandwidthMax") == f"{ROOT_DISK} {MIB}"
    assert f"{DISK} rbps={MIB}" in (directory(scope) / "io.max").read_text()


def test_a_controller_that_systemd_does_not_know(scope: Container) -> None:
    peers_differ("crun", why="it leaves the controller out")
    scope.config["linux"]["resources"]["hugepageLimits"] = [{"pageSize": "2MB", "limit": 4 * MIB}]
    scope.started()
    assert (directory(scope) / "hugetlb.2MB.max").read_text().strip() == str(4 * MIB)


def test_an_unknown_file_of_unified_is_named(scope: Container) -> None:
    scope.config["linux"]["resources"]["unified"] = {"nothing.max": "1"}
    assert "nothing" in scope.create().failed().stderr + scope.printed()
    wait_for(lambda: gone(scope), "the scope is still there")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("{slice}.slice:a:{id}", "{slice}.slice/a-{id}.scope"),
        ("{slice}-in.slice:a:{id}", "{slice}.slice/{slice}-in.slice/a-{id}.scope"),
        ("{slice}.slice::{id}", "{slice}.slice/-{id}.scope"),
        (":a:{id}", "system.slice/a-{id}.scope"),
        ("-.slice:a:{id}", "a-{id}.scope"),
    ],
)
def test_a_cgroups_path_has_its_place(runtime: Runtime, path: str, expected: str) -> None:
    if path.startswith(":"):
        peers_differ("crun", why="has another slice by default")
    container = runtime.sleeper()
    names = {"slice": "test" + container.id.rpartition("-")[2], "id": container.id}
    container.config["linux"]["cgroupsPath"] = path.format(**names)
    container.started()
    place = Path(f"/proc/{container.pid}/cgroup").read_text().strip().removesuffix("/container")
    container.delete("--force").ok()
    subprocess.run(["systemctl", "stop", f"{names['slice']}.slice"], check=False)
    assert place == "0::/" + expected.format(**names)


@pytest.mark.parametrize("path", ["a.slice:b", "a--b.slice:p:n", "-a.slice:p:n", "a:p:n"])
def test_what_names_no_place(runtime: Runtime, path: str) -> None:
    peers_differ("crun", why="it takes some of them")
    container = runtime.sleeper()
    container.config["linux"]["cgroupsPath"] = path
    assert container.create().failed()


@pytest.mark.spec("cgroup ownership")
def test_the_scope_goes_to_the_containers_user(scope: Container) -> None:
    peers_differ("crun", why="it gives it to root of a user namespace only")
    scope.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    add_namespace(scope.config, "cgroup")
    scope.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"})
    scope.started()
    assert directory(scope).stat().st_uid == 1000
    assert (directory(scope) / "memory.max").stat().st_uid == 0


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


def test_a_unit_that_was_stopped_behind_our_back(scope: Container) -> None:
    scope.started()
    subprocess.run(["systemctl", "kill", "-s", "KILL", unit(scope)], check=True)
    wait_for(lambda: scope.status == "stopped", "it still runs")
    scope.delete().ok()
    wait_for(lambda: gone(scope), "the scope is still there")


def test_a_failed_unit_of_that_name_is_reset(scope: Container) -> None:
    peers_differ("crun", why="it tells that the unit is there")
    command = ["systemd-run", "--scope", "--quiet", f"--unit={unit(scope)}", "-p", "MemoryMax=8M"]
    command += ["-p", "MemorySwapMax=0", "tail", "/dev/zero"]
    subprocess.run(command, check=False, capture_output=True)
    wait_for(lambda: shown(scope, "ActiveState") == "failed", "nothing failed")
    scope.started()
    assert shown(scope, "ActiveState") == "active"


def test_kill_reaches_all_processes_of_the_scope(scope: Container) -> None:
    """Without a pid namespace of its own a container's processes do not end with the first."""
    peers_differ("runc", "crun", why="Debian's versions kill the first process only")
    scope.config["linux"]["namespaces"] = [
        each for each in scope.config["linux"]["namespaces"] if each["type"] != "pid"
    ]
    scope.config["process"]["args"] = ["sh", "-c", "sleep 100 & sleep 100 & exec sleep 100"]
    scope.started()
    wait_for(lambda: len((directory(scope) / "cgroup.procs").read_text().split()) == 3, "three start")
    scope.kill("KILL").ok()
    wait_for(lambda: not directory(scope).exists(), "a process lives on")
    scope.delete().ok()


def test_pause_update_and_exec_by_the_files(scope: Container) -> None:
    peers_differ("crun", why="its container is in a cgroup below the scope")
    scope.started()
    scope.runtime("pause", scope.id).ok()
    assert "frozen 1" in (directory(scope) / "cgroup.events").read_text()
    scope.runtime("update", "--pids-limit", "44", scope.id).ok()
    assert (directory(scope) / "pids.max").read_text().strip() == "44"
    scope.runtime("resume", scope.id).ok()
    scope.exec("sh", "-c", "sleep 100 >/dev/null 2>&1 & exit 0").ok()
    assert len((directory(scope) / "cgroup.procs").read_text().split()) == 2


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
