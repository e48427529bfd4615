"""The systemd driver on a host with cgroup v1: a scope in the hierarchies that it knows, and in the others.

Such a host is made here: a container with a systemd, and the runtime, in cgroups of its own.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import (
    CGROUPS,
    PROGRAM,
    REPO,
    Container,
    Result,
    Runtime,
    add_namespace,
    default_config,
    pyrunc_only,
    wait_for,
)

SYSTEMD = Path("/usr/lib/systemd/systemd")
pytestmark = [
    pyrunc_only,  # the other one in it is the runtime that is tested
    pytest.mark.skipif(
        not (CGROUPS / "systemd").is_dir(), reason="this host has no hierarchy of systemd's on cgroup v1"
    ),
]
DENY = {"allow": False, "access": "rwm"}


class Host:
    """A machine that runs systemd; what is said here of its cgroups is seen from inside."""

    def __init__(self, outer: Container) -> None:
        self.outer = outer

    def __call__(self, *args: str) -> Result:
        return self.outer.exec(*args)

    def runtime(self, *args: str) -> Result:
        return self(str(PROGRAM), "--systemd-cgroup", *args)

    def shown(self, *names: str) -> dict[str, str]:
        answer = self("systemctl", "show", "-p", ",".join(names), "test-inner.scope").ok()
        return dict(line.split("=", 1) for line in answer.lines)

    def file(self, controller: str, name: str) -> str:
        directory = f"/sys/fs/cgroup/{controller}/machine.slice/test-inner.scope"
        return self("cat", f"{directory}/{name}").ok().stdout.strip()

    def cgroups(self) -> list[str]:
        return self("sh", "-c", "ls -d /sys/fs/cgroup/*/machine.slice/test-inner.scope").lines

    def inner(self, resources: dict[str, Any], program: str = "sleep 1000") -> None:
        config = default_config("/bin/sh", "-c", program)
        config["linux"].update(cgroupsPath="machine.slice:test:inner", resources=resources)
        (self.outer.rootfs / "inner/config.json").write_text(json.dumps(config))

    def started(self) -> None:
        self("sh", "-c", f"cd /inner && {PROGRAM} --systemd-cgroup run -d inner >/dev/null </dev/null").ok()


@pytest.fixture
def host(runtime: Runtime) -> Iterator[Host]:
    assert SYSTEMD.exists(), "these tests need Debian's package `systemd`"
    outer = runtime.container(str(SYSTEMD))
    (outer.rootfs / "inner").mkdir()
    subprocess.run(["cp", "-a", str(runtime.base), str(outer.rootfs / "inner/rootfs")], check=True)
    units = outer.rootfs / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / "default.target").write_text("[Unit]\nDescription=nothing but systemd\nDefaultDependencies=no\n")
    (outer.rootfs / "etc/machine-id").write_text("0123456789abcdef" * 2 + "\n")  # none has to be made
    for name in ("lib", "lib64"):
        (outer.rootfs / name).symlink_to(f"usr/{name}")
    config = outer.config
    config["linux"]["resources"] = {}
    add_namespace(config, "cgroup")
    for path in ("/run", "/tmp"):
        config["mounts"].append({"destination": path, "type": "tmpfs", "source": "tmpfs"})
    for path in ("/usr", str(REPO)):
        config["mounts"].append({"destination": path, "source": path, "options": ["rbind", "ro"]})
    config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"})
    config["process"]["env"] = [
        "PATH=/usr/bin:/usr/sbin",
        "container=oci",
        "SYSTEMD_PROC_CMDLINE=systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1",
    ]
    every = json.loads(runtime("features").ok().stdout)["linux"]["capabilities"]
    config["process"]["capabilities"] = {name: every for name in ("bounding", "effective", "permitted")}
    outer.started()
    made = Host(outer)
    wait_for(lambda: made("systemctl", "is-active", "default.target").status == 0, "systemd isn't up")
    yield made


def test_the_container_is_in_its_scope_in_every_hierarchy(host: Host) -> None:
    host.inner({})
    host.started()
    state = json.loads(host.runtime("state", "inner").ok().stdout)
    paths = {line.split(":", 1)[1] for line in host("cat", f"/proc/{state['pid']}/cgroup").ok().lines}
    assert {path.split(":")[1] for path in paths if not path.startswith(":")} == {
        "/machine.slice/test-inner.scope"
    }
    assert host.shown("ActiveState", "Slice", "Delegate") == {
        "ActiveState": "active",
        "Slice": "machine.slice",
        "Delegate": "yes",
    }


def test_limits_are_properties_and_in_the_files(host: Host) -> None:
    host.inner(
        {
            "devices": [DENY, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
            "memory": {"limit": 64 << 20},
            "cpu": {"shares": 500, "quota": 20000, "period": 100000, "cpus": "0"},
            "pids": {"limit": 33},
        }
    )
    host.started()
    shown = host.shown("MemoryLimit", "CPUShares", "CPUQuotaPerSecUSec", "TasksMax", "DevicePolicy")
    assert shown == {
        "MemoryLimit": str(64 << 20),
        "CPUShares": "500",
        "CPUQuotaPerSecUSec": "200ms",
        "TasksMax": "33",
        "DevicePolicy": "strict",
    }
    # What systemd writes again at its next look is what is there already.
    host("systemctl", "daemon-reload").ok()
    assert host.file("memory", "memory.limit_in_bytes") == str(64 << 20)
    assert (host.file("cpu", "cpu.shares"), host.file("cpu", "cpu.cfs_quota_us")) == ("500", "20000")
    assert host.file("cpuset", "cpuset.cpus") == "0" and host.file("pids", "pids.max") == "33"
    assert "c 10:229 rw" in host.file("devices", "devices.list").splitlines()


def test_update_changes_property_and_file(host: Host) -> None:
    host.inner({"pids": {"limit": 33}})
    host.started()
    host.runtime("update", "--pids-limit", "44", "--cpu-share", "700", "inner").ok()
    assert host.shown("TasksMax", "CPUShares") == {"TasksMax": "44", "CPUShares": "700"}
    assert (host.file("pids", "pids.max"), host.file("cpu", "cpu.shares")) == ("44", "700")


def test_exec_pause_and_kill_by_the_files(host: Host) -> None:
    host.inner({})
    host.started()
    within = host.runtime("exec", "inner", "cat", "/proc/self/cgroup").ok().lines
    assert {line.rpartition(":")[2] for line in within if not line.startswith("0:")} == {
        "/machine.slice/test-inner.scope"
    }
    host.runtime("pause", "inner").ok()
    assert host.file("freezer", "freezer.state") == "FROZEN"
    host.runtime("kill", "--all", "inner", "KILL").ok()


def test_deleted_without_a_trace(host: Host) -> None:
    host.inner({"memory": {"limit": 64 << 20}})
    host.started()
    assert len(host.cgroups()) > 5
    host.runtime("delete", "--force", "inner").ok()
    assert host.cgroups() == []
    assert host.shown("LoadState") == {"LoadState": "not-found"}


def test_a_failed_create_leaves_nothing(host: Host) -> None:
    host.inner({"cpu": {"cpus": "4095"}}, "true")
    answer = host("sh", "-c", f"cd /inner && {PROGRAM} --systemd-cgroup run inner").failed()
    assert "linux.resources.cpu.cpus" in answer.stderr
    assert host.cgroups() == []
