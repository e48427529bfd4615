"""update and events: limits that change, statistics, kills for want of memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import CGROUPS, PROGRAM, Container, Runtime, cgroup_file, peers_differ

MIB = 1 << 20


@pytest.fixture
def container(runtime: Runtime) -> Container:
    peers_differ("crun", why="this host's hybrid cgroups are not for it")
    container = runtime.sleeper()
    container.config["linux"]["resources"].update(
        memory={"limit": 64 * MIB}, cpu={"shares": 512, "quota": 50000, "period": 100000}, pids={"limit": 50}
    )
    return container.started()


def update(container: Container, *options: str, **kwargs: Any) -> Any:
    return container.runtime("update", *options, container.id, **kwargs)


def test_options(container: Container) -> None:
    options = ("--memory", "32M", "--cpu-share", "100", "--cpu-quota", "20000", "--pids-limit", "7")
    result = update(container, *options).ok()
    assert not result.stdout + result.stderr
    assert cgroup_file(container, "memory", "memory.limit_in_bytes") == str(32 * MIB)
    assert cgroup_file(container, "cpu", "cpu.shares") == "100"
    assert cgroup_file(container, "cpu", "cpu.cfs_quota_us") == "20000"
    assert cgroup_file(container, "pids", "pids.max") == "7"


def test_what_is_not_given_stays(container: Container) -> None:
    update(container, "--pids-limit", "9").ok()
    assert cgroup_file(container, "memory", "memory.limit_in_bytes") == str(64 * MIB)
    assert cgroup_file(container, "cpu", "cpu.shares") == "512"


def test_updates_add_up_in_the_record(container: Container) -> None:
    peers_differ("runc", why="its state file is its own")
    update(container, "--pids-limit", "9").ok()
    update(container, "--cpu-share", "100").ok()
    record = json.loads((container.runtime.root / container.id / "state.json").read_text())
    assert record["resources"] == {
        "memory": {"limit": 64 * MIB},
        "cpu": {"shares": 100, "quota": 50000, "period": 100000},
        "pids": {"limit": 9},
    }


def test_no_limit(container: Container) -> None:
    update(container, "--cpu-quota", "-1", "--pids-limit", "-1").ok()
    assert cgroup_file(container, "cpu", "cpu.cfs_quota_us") == "-1"
    assert cgroup_file(container, "pids", "pids.max") == "max"


@pytest.mark.parametrize(
    "way", ["--resources FILE", "--resources=FILE", "-r FILE", "--resources -", "--resources=-"]
)
def test_resources(container: Container, way: str) -> None:
    """The zeros are those that engines send: they leave what is there."""
    file = container.bundle / "resources.json"
    resources = {
        "memory": {"limit": 48 * MIB, "reservation": 0, "kernel": 0},
        "cpu": {"shares": 256, "quota": 0, "period": 0},
        "blockIO": {"weight": 0},
        "devices": [{"allow": False, "access": "rwm"}, {"allow": True, "access": "rwm"}],
        "pids": {"limit": 0},
    }
    before = cgroup_file(container, "devices", "devices.list")
    file.write_text(json.dumps(resources))
    with file.open() as stdin:
        update(container, *way.replace("FILE", str(file)).split(), stdin=stdin).ok()
    assert cgroup_file(container, "memory", "memory.limit_in_bytes") == str(48 * MIB)
    assert cgroup_file(container, "cpu", "cpu.shares") == "256"
    assert cgroup_file(container, "cpu", "cpu.cfs_quota_us") == "50000"
    assert cgroup_file(container, "pids", "pids.max") == "50"
    assert cgroup_file(container, "devices", "devices.list") == before


@pytest.mark.parametrize(
    "line", ["--memory lots", "--cpu-share 1", "--pids-limit x", "--resources /none", "--cpu-period 5"]
)
def test_refused(container: Container, line: str) -> None:
    if line == "--cpu-share 1" and (CGROUPS / "cgroup.controllers").exists():
        pytest.skip("on cgroup v2 it is the least weight")
    answer = update(container, *line.split()).failed(1)
    assert answer.stderr


@pytest.mark.parametrize("fails", ["--cpuset-cpus 4000", "--cpu-period 5", "--memory-swap 4096"])
def test_all_or_nothing(container: Container, fails: str) -> None:
    """Whatever is written before the one that fails."""
    peers_differ("runc", why="it puts back only some of them")

    def limits() -> list[str]:
        names = ("cpu.shares", "cpu.cfs_quota_us", "pids.max", "memory.limit_in_bytes", "cpuset.mems")
        return [cgroup_file(container, name.partition(".")[0], name) for name in names]

    before = limits()
    options = "--cpu-share 333 --cpu-quota 20000 --pids-limit 44 --memory 40M --cpuset-mems 0"
    update(container, *options.split(), *fails.split()).failed(1)
    assert limits() == before


def test_resources_that_are_none(container: Container) -> None:
    file = container.bundle / "resources.json"
    file.write_text('{"memory": {"limit": "much"}, "pids": []}')
    answer = update(container, "--resources", str(file)).failed(1)
    if "pyrunc" in PROGRAM:
        assert "memory.limit:1:" in answer.stderr
        assert "pids:1:" in answer.stderr


def test_a_container_that_has_ended(runtime: Runtime) -> None:
    container = runtime.sh("exit 0").finished()
    assert "not running" in update(container, "--pids-limit", "5").failed(1).stderr
    assert "not running" in runtime("events", "--stats", container.id).failed(1).stderr


def test_a_schema_without_resctrl(container: Container) -> None:
    if os.path.exists("/sys/fs/resctrl/schemata"):
        pytest.skip("resctrl is mounted here")
    update(container, "--l3-cache-schema", "L3:0=f").failed(1)


def keys(value: Any, path: str = "") -> Iterator[str]:
    """The path of every member; lists count by their first item."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from keys(item, f"{path}.{name}")
    elif isinstance(value, list):
        yield from keys(value[0], f"{path}[]") if value else ()
    else:
        yield f"{path}:{type(value).__name__}"


def test_statistics(container: Container) -> None:
    event = json.loads(container.runtime("events", "--stats", container.id).ok().stdout)
    assert (event["type"], event["id"]) == ("stats", container.id)
    data = event["data"]
    assert data["memory"]["usage"]["limit"] == 64 * MIB
    assert data["memory"]["usage"]["usage"] > 0
    assert data["pids"] == {"current": 1, "limit": 50}
    assert data["cpu"]["usage"]["total"] > 0


def test_statistics_have_the_form_of_runc(container: Container) -> None:
    """The same container under runc: the same members, of the same types."""
    runc = shutil.which("runc")
    if runc is None or runc == PROGRAM:
        pytest.skip("needs runc beside the runtime under test")
    other = container.runtime.container(config=json.loads(json.dumps(container.config)))
    other.write()
    root = str(container.runtime.tmp / "runc")
    with open(os.devnull, "rb+") as null:
        subprocess.run(
            [runc, "--root", root, "run", "-d", "--bundle", str(other.bundle), other.id],
            check=True, stdin=null, stdout=null, stderr=null, timeout=30,
        )  # fmt: skip
    try:
        theirs = subprocess.run(
            [runc, "--root", root, "events", "--stats", other.id], check=True, capture_output=True, timeout=30
        )
    finally:
        subprocess.run([runc, "--root", root, "delete", "--force", other.id], check=True, timeout=30)
    ours = container.runtime("events", "--stats", container.id).ok().stdout
    # What is zero at the moment is left out: these move.
    # Which controllers an empty cgroup has, is for each runtime to say.
    moving = (
        ".hugetlb",
        ".total:int",
        "percpu",
        ".psi",
        "throttl",
        ".cache:",
        ".usage.usage:",
        ".max:int",
        "Recursive",
    )

    def steady(text: str | bytes) -> list[str]:
        return [key for key in keys(json.loads(text)) if not any(part in key for part in moving)]

    assert steady(ours) == steady(theirs.stdout)


def follow(container: Container, interval: str) -> subprocess.Popen[str]:
    line = [PROGRAM, "--root", str(container.runtime.root), "events", "--interval", interval, container.id]
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True)


def test_statistics_again_and_again_until_the_end(container: Container) -> None:
    with follow(container, "50ms") as events:
        assert events.stdout is not None
        lines = [events.stdout.readline() for _ in range(3)]
        container.kill()
        assert events.wait(10) == 0
    assert [json.loads(line)["type"] for line in lines] == ["stats"] * 3


def test_a_kill_for_want_of_memory(runtime: Runtime) -> None:
    peers_differ("crun", why="it has no events")
    container = runtime.sh("while [ ! -e /go ]; do sleep 0.05; done; tail /dev/zero; sleep 100")
    container.config["linux"]["resources"]["memory"] = {"limit": 20 * MIB, "swap": 20 * MIB}
    container.started()
    with follow(container, "1h") as events:
        assert events.stdout is not None
        # It watches when it waits: only then may the kill come.
        state = Path(f"/proc/{events.pid}/syscall")
        for _ in range(200):
            if state.read_text().startswith("7 "):  # poll(2) of x86-64
                break
            subprocess.run(["sleep", "0.02"], check=True)
        (container.rootfs / "go").touch()
        assert json.loads(events.stdout.readline()) == {"type": "oom", "id": container.id}
        container.kill()
        assert events.wait(10) == 0


@pytest.mark.parametrize("text", ["0s", "soon", "-5s"])
def test_intervals_that_are_none(container: Container, text: str) -> None:
    container.runtime("events", f"--interval={text}", container.id).failed(1)
