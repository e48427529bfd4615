"""config.json's `linux.resources`, read back from cgroup v1 files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import CGROUPS, Runtime, cgroup_file, cgroups_of, peers_differ, wait_for

MIB = 1 << 20


@pytest.mark.spec(
    "CR-5", "LX-5", "linux.resources.memory", "linux.resources.cpu", "linux.resources.pids.limit"
)
@pytest.mark.parametrize(
    ("resources", "controller", "file", "expected"),
    [
        ({"memory": {"limit": 64 * MIB}}, "memory", "memory.limit_in_bytes", str(64 * MIB)),
        (
            {"memory": {"limit": 64 * MIB, "reservation": 32 * MIB}},
            "memory",
            "memory.soft_limit_in_bytes",
            str(32 * MIB),
        ),
        ({"pids": {"limit": 17}}, "pids", "pids.max", "17"),
        ({"pids": {"limit": -1}}, "pids", "pids.max", "max"),
        ({"cpu": {"shares": 512}}, "cpu", "cpu.shares", "512"),
        ({"cpu": {"quota": 20000, "period": 50000}}, "cpu", "cpu.cfs_quota_us", "20000"),
        ({"cpu": {"quota": 20000, "period": 50000}}, "cpu", "cpu.cfs_period_us", "50000"),
        ({"cpu": {"cpus": "0", "mems": "0"}}, "cpuset", "cpuset.cpus", "0"),
    ],
)
def test_limit(
    runtime: Runtime, resources: dict[str, Any], controller: str, file: str, expected: str
) -> None:
    if expected == "max":
        peers_differ("crun", why="1.8 writes -1")
    container = runtime.sleeper()
    container.config["linux"]["resources"].update(resources)
    container.create().ok()  # the limits are there before start
    assert cgroup_file(container, controller, file) == expected


@pytest.mark.spec("linux.cgroupsPath", "LX-4")
def test_absolute_path_is_from_the_hierarchys_root(runtime: Runtime) -> None:
    container = runtime.sleeper()
    container.config["linux"]["cgroupsPath"] = f"/{container.id}"
    container.create().ok()
    directory = CGROUPS / "pids" / container.id
    if not (CGROUPS / "pids").is_dir():
        pytest.skip("no cgroup v1 hierarchy pids")
    assert str(container.pid) in (directory / "cgroup.procs").read_text().split()
    container.delete("--force").ok()
    assert cgroups_of(container.id) == []


def test_no_cgroup_at_all(runtime: Runtime) -> None:
    """What Podman asks for with --cgroups=disabled."""
    peers_differ("runc", "crun", why="runc has no such option; this host's hybrid cgroups are not for crun")
    container = runtime.sh("cat /proc/self/cgroup; exec sleep 100")
    container.write()
    disabled = ("--cgroup-manager", "disabled")
    with container.output.open("ab") as output:
        runtime(*disabled, "create", "--bundle", str(container.bundle), container.id, stdout=output).ok()
    container.start().ok()
    assert cgroups_of(container.id) == []
    wait_for(lambda: container.printed() == Path("/proc/self/cgroup").read_text(), "it is in another")
    container.exec("true").ok()
    container.kill("KILL").ok()
    container.wait()
    container.delete().ok()


def test_no_cgroup_but_limits(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="see above")
    container = runtime.sleeper()
    container.config["linux"]["resources"]["pids"] = {"limit": 5}
    container.write()
    disabled = ("--cgroup-manager", "disabled")
    answer = runtime(*disabled, "create", "--bundle", str(container.bundle), container.id).failed(1)
    assert "linux.resources.pids" in answer.stderr


@pytest.mark.spec("G7")
def test_impossible_limit_is_an_error(runtime: Runtime) -> None:
    peers_differ("crun", why="leaves the cgroup")
    container = runtime.sleeper()
    container.config["linux"]["resources"]["cpu"] = {"cpus": "100000"}
    container.create().failed()
    assert cgroups_of(container.id) == []


def test_pids_limit_works(runtime: Runtime) -> None:
    container = runtime.sh("for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; echo all")
    container.config["linux"]["resources"]["pids"] = {"limit": 4}
    answer = container.run()
    assert "all" not in answer.stdout or "fork" in answer.stderr


@pytest.mark.spec("EW-14")
def test_an_occupied_cgroup_is_refused_and_left_alone(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="their Debian versions go on with a warning, or without")
    first = runtime.sleeper().started()
    second = runtime.sleeper()
    second.config["linux"]["cgroupsPath"] = first.config["linux"].get("cgroupsPath") or f"/{first.id}"
    assert "not empty" in second.create().failed().stderr
    assert first.status == "running"
