"""config.json's `linux.resources` on a pure cgroup v2: what is written, and what bites."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import (
    CGROUPS,
    Container,
    Runtime,
    add_namespace,
    cgroups_of,
    peers_differ,
    wait_for,
)

MIB = 1 << 20
UNIFIED = (CGROUPS / "cgroup.controllers").exists()
pytestmark = pytest.mark.skipif(not UNIFIED, reason="this host has cgroup v1: `make vm-test` has v2")


def limited(container: Container, **resources: Any) -> Container:
    container.config["linux"]["resources"].update(resources)
    return container


def directory(container: Container) -> Path:
    """The cgroup that the container's process is in."""
    line = Path(f"/proc/{container.pid}/cgroup").read_text().strip()
    return CGROUPS / line.removeprefix("0::/")


def value(container: Container, file: str) -> str:
    return (directory(container) / file).read_text().strip()


def event(container: Container, file: str, name: str) -> int:
    return int(dict(line.split() for line in value(container, file).splitlines())[name])


def test_update_knows_the_limits_before(runtime: Runtime) -> None:
    """memory.swap is the sum of both: either can be given alone, also after an update."""
    peers_differ("runc", "crun", why="one leaves swap as it was, one takes no sizes like 80M")
    memory = {"limit": 64 * MIB, "swap": 96 * MIB}
    container = limited(runtime.sleeper(), memory=memory).started()
    runtime("update", "--memory", "80M", container.id).ok()
    assert value(container, "memory.swap.max") == str(16 * MIB)
    runtime("update", "--memory-swap", "128M", container.id).ok()
    assert value(container, "memory.swap.max") == str(48 * MIB)


@pytest.mark.spec("cgroup v1 on v2", "linux.resources.unified")
@pytest.mark.parametrize(
    ("resources", "file", "expected"),
    [
        ({"memory": {"limit": 64 * MIB}}, "memory.max", str(64 * MIB)),
        ({"memory": {"limit": 64 * MIB, "reservation": 32 * MIB}}, "memory.low", str(32 * MIB)),
        ({"memory": {"limit": 64 * MIB, "swap": 96 * MIB}}, "memory.swap.max", str(32 * MIB)),
        ({"pids": {"limit": 17}}, "pids.max", "17"),
        ({"pids": {"limit": -1}}, "pids.max", "max"),
        ({"cpu": {"quota": 20000, "period": 50000}}, "cpu.max", "20000 50000"),
        ({"cpu": {"cpus": "0", "mems": "0"}}, "cpuset.cpus", "0"),
        ({"unified": {"memory.high": str(48 * MIB)}}, "memory.high", str(48 * MIB)),
        ({"pids": {"limit": 17}, "unified": {"pids.max": "18"}}, "pids.max", "18"),
    ],
)
def test_limit(runtime: Runtime, resources: dict[str, Any], file: str, expected: str) -> None:
    container = limited(runtime.sleeper(), **resources)
    container.create().ok()
    assert value(container, file) == expected


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (512, 59), (1024, 100), (4096, 303), (262144, 10000)])
def test_cpu_shares_become_a_weight_with_equal_defaults(runtime: Runtime, shares: int, weight: int) -> None:
    peers_differ("runc", "crun", why="Debian's versions have the older, linear conversion")
    container = limited(runtime.sleeper(), cpu={"shares": shares})
    container.create().ok()
    assert value(container, "cpu.weight") == str(weight)


@pytest.mark.spec("EW-11", "cgroup v1 on v2")
def test_what_v2_cannot_do_is_an_error(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="one leaves it out in silence, one leaves the cgroup")
    container = limited(runtime.sleeper(), memory={"limit": 64 * MIB, "swappiness": 10})
    assert "swappiness" in container.create().failed().stderr
    assert cgroups_of(container.id) == []


def test_init_is_made_in_its_cgroup_and_exec_too(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    container.exec("sh", "-c", "sleep 100 >/dev/null 2>&1 & exit 0").ok()
    assert len(value(container, "cgroup.procs").split()) == 2


def test_no_process_at_all_fits_into_pids_limit_zero_but_init(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they leave it out, or write another number")
    container = limited(runtime.sh("echo one; /bin/true & echo two"), pids={"limit": 0})
    assert "two" not in container.run().stdout


@pytest.mark.parametrize("limit", [2, 3])  # none left; one left, and exec makes two for a moment
def test_exec_where_the_pids_limit_is_reached(runtime: Runtime, limit: int) -> None:
    peers_differ("runc", "crun", why="now and then they can't make a thread or a process")
    container = limited(runtime.sh("sleep 100 & wait"), pids={"limit": limit}).started()
    wait_for(lambda: value(container, "pids.current") == "2", "there is one process only")
    assert container.exec("cat", "/proc/self/cgroup").ok().stdout.count(container.id) == 1


def test_memory_limit_kills_and_counts(runtime: Runtime) -> None:
    script = "sh -c 'tail /dev/zero'; sleep 100"
    container = limited(runtime.sh(script), memory={"limit": 32 * MIB, "swap": 32 * MIB}).started()
    wait_for(lambda: event(container, "memory.events", "oom_kill") >= 1, "nothing was killed", 60)
    assert container.status == "running"


def test_cpu_quota_throttles(runtime: Runtime) -> None:
    container = limited(runtime.sh("while :; do :; done"), cpu={"quota": 5000, "period": 50000}).started()
    wait_for(lambda: event(container, "cpu.stat", "nr_throttled") >= 5, "it is not throttled", 30)


def test_pids_limit_refuses(runtime: Runtime) -> None:
    container = limited(runtime.sh("sh -c 'while sleep 100 & do :; done'; sleep 100"), pids={"limit": 5})
    container.started()
    wait_for(lambda: event(container, "pids.events", "max") >= 1, "no fork was refused", 30)
    assert int(value(container, "pids.current")) <= 5


def disk() -> tuple[int, int]:
    """Device numbers of a whole disk, which is what io.max takes."""
    for block in sorted(Path("/sys/block").iterdir()):
        if (block / "device").exists():
            major, minor = (block / "dev").read_text().split(":")
            return int(major), int(minor)
    pytest.skip("there is no disk")


def test_throttled_disk(runtime: Runtime) -> None:
    major, minor = disk()
    rate = [{"major": major, "minor": minor, "rate": 1 * MIB}]
    container = limited(runtime.sleeper(), blockIO={"throttleReadBpsDevice": rate})
    container.create().ok()
    assert f"{major}:{minor} rbps={MIB}" in value(container, "io.max")


def test_a_throttled_disk_is_slow_until_an_update(runtime: Runtime) -> None:
    """4 s for 1 MiB; afterwards there is no limit."""
    peers_differ("runc", "crun", why="their `update` takes no io.max back")
    major, minor = disk()
    node = {"path": "/dev/disk", "type": "b", "major": major, "minor": minor}
    rate = {"major": major, "minor": minor, "rate": MIB // 4}
    container = limited(runtime.sleeper(), blockIO={"throttleReadBpsDevice": [rate]})
    container.config["linux"]["devices"] = [node]
    rule = {"allow": True, "type": "b", "major": major, "minor": minor, "access": "r"}
    container.config["linux"]["resources"]["devices"].append(rule)
    container.started()

    def seconds() -> float:
        began = time.monotonic()
        container.exec("dd", "if=/dev/disk", "of=/dev/null", "bs=64k", "count=16", "iflag=direct").ok()
        return time.monotonic() - began

    slow = seconds()
    wanted = {"blockIO": {"throttleReadBpsDevice": [{**rate, "rate": 0}]}}
    update(container, wanted)
    assert slow > 3 and seconds() < slow and "rbps" not in value(container, "io.max").replace("rbps=max", "")


def update(container: Container, resources: dict[str, Any]) -> None:
    file = container.bundle / "resources.json"
    file.write_text(json.dumps(resources))
    container.runtime("update", "--resources", str(file), container.id).ok()


def test_an_update_bites(runtime: Runtime) -> None:
    """On a running container, for each controller: first it may, then it may not."""
    peers_differ(
        "runc", "crun", why="exec of one needs more than four processes; one keeps a quota that is taken back"
    )
    container = limited(runtime.sh("while :; do :; done"), memory={"limit": 256 * MIB, "swap": 256 * MIB})
    container.started()
    hungry = ("sh", "-c", f"head -c {64 * MIB} /dev/zero | tail | wc -c")
    assert container.exec(*hungry).ok().stdout.strip() == str(64 * MIB)
    update(container, {"memory": {"limit": 24 * MIB, "swap": 24 * MIB}})
    assert container.exec(*hungry).stdout.strip() != str(64 * MIB)
    assert event(container, "memory.events", "oom_kill") >= 1
    before = event(container, "cpu.stat", "nr_throttled")
    update(container, {"cpu": {"quota": 5000, "period": 50000}})
    wait_for(lambda: event(container, "cpu.stat", "nr_throttled") >= before + 5, "it is not throttled", 30)
    update(container, {"cpu": {"quota": -1}, "pids": {"limit": 4}})
    many = "for n in 1 2 3 4 5 6; do sleep 9 >/dev/null 2>&1 & done"
    assert "can't fork" in container.exec("sh", "-c", many).stderr
    assert value(container, "cpu.max") == "max 50000" and container.status == "running"


def device_programs(container: Container) -> int:
    """How many programs decide about devices: BPF_PROG_QUERY of bpf(2)."""
    fd = os.open(directory(container), os.O_RDONLY)
    attributes = ctypes.create_string_buffer(struct.pack("IIIIQI", fd, 6, 0, 0, 0, 0).ljust(128, b"\0"))
    result = ctypes.CDLL(None, use_errno=True).syscall(321, 16, attributes, 128)
    os.close(fd)
    assert result == 0, os.strerror(ctypes.get_errno())
    return int(struct.unpack_from("I", attributes, 24)[0])


def test_device_rules_are_replaced_by_an_update(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="their `update` leaves devices out")
    container = runtime.sleeper()
    node = {"path": "/dev/loop", "type": "c", "major": 10, "minor": 237, "fileMode": 0o666}
    container.config["linux"]["devices"] = [node]
    container.started()
    use = ("sh", "-c", "exec 3</dev/loop && cat /dev/null")
    programs = device_programs(container)
    deny = {"allow": False, "access": "rwm"}
    allow = {"allow": True, "type": "c", "major": 10, "minor": 237, "access": "rw"}
    container.exec(*use).failed()
    for _ in range(2):
        update(container, {"devices": [deny, allow]})
        container.exec(*use).ok()
        update(container, {"devices": [deny]})
        container.exec(*use).failed()
    assert device_programs(container) == programs


def test_pressure_is_among_the_statistics(runtime: Runtime) -> None:
    """A program that is throttled waits for its CPU."""
    peers_differ("runc", "crun", why="Debian's versions do not tell it")
    container = limited(runtime.sh("while :; do :; done"), cpu={"quota": 5000, "period": 50000}).started()

    def told() -> Any:
        return json.loads(runtime("events", "--stats", container.id).ok().stdout)["data"]

    found = told()
    for place in (found["cpu"], found["memory"], found["blkio"]):
        assert set(place["psi"]) >= {"some"} and "total" in place["psi"]["some"]
    before = found["cpu"]["psi"]["some"]["total"]
    wait_for(lambda: told()["cpu"]["psi"]["some"]["total"] > before, "no pressure", 30)


def nsdelegate() -> bool:
    return any("cgroup2 /sys" in line and "nsdelegate" in line for line in Path("/proc/mounts").open())


@pytest.mark.skipif(not UNIFIED or not nsdelegate(), reason="cgroup2 is not mounted with nsdelegate")
def test_nsdelegate_keeps_the_limits_of_the_container(runtime: Runtime) -> None:
    """The container may divide what it has, but not change its own limits; exec gets in all the same."""
    script = "cd /sys/fs/cgroup && mkdir below && echo 1M >memory.max || echo refused; exec sleep 100"
    container = limited(runtime.sh(script), memory={"limit": 64 * MIB})
    add_namespace(container.config, "cgroup")
    container.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid"]}
    )
    container.started()
    wait_for(lambda: "refused" in container.printed(), "it could change its own limit")
    assert value(container, "memory.max") == str(64 * MIB)
    assert container.exec("cat", "/proc/self/cgroup").ok().stdout.strip() == "0::/"


def test_device_rules_deny_and_allow(runtime: Runtime) -> None:
    script = "mknod /dev/loop c 10 237 && cat /dev/null && exec 3</dev/loop"
    denied = runtime.sh(script)
    denied.config["process"]["capabilities"] = {
        name: ["CAP_MKNOD"] for name in ("bounding", "effective", "permitted")
    }
    assert "not permitted" in denied.run().failed().stderr
    allowed = runtime.sh(script)
    allowed.config["process"]["capabilities"] = denied.config["process"]["capabilities"]
    allowed.config["linux"]["resources"]["devices"].append(
        {"allow": True, "type": "c", "major": 10, "minor": 237, "access": "rw"}
    )
    allowed.run().ok()


def test_a_controller_that_is_missing_is_named_with_the_remedy(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they name a file, or nothing")
    parent = CGROUPS / f"{runtime.sleeper().id}"
    inner = parent / "inner"
    container = limited(runtime.sleeper(), memory={"limit": 64 * MIB})
    container.config["linux"]["cgroupsPath"] = f"/{parent.name}/{container.id}"
    parent.mkdir()
    inner.mkdir()
    sleep = os.posix_spawn("/bin/sleep", ["sleep", "100"], os.environ)
    try:
        (parent / "cgroup.procs").write_text(str(sleep))
        answer = container.create().failed().stderr
    finally:
        os.kill(sleep, 9)
        os.waitpid(sleep, 0)
        inner.rmdir()
        wait_for(lambda: "populated 0" in (parent / "cgroup.events").read_text(), "in use")
        parent.rmdir()
    assert "`memory`" in answer and "processes of its own" in answer and str(parent) in answer


def test_below_a_threaded_cgroup(runtime: Runtime) -> None:
    """A limit of a threaded controller works; memory can't be limited, and the error says so."""
    peers_differ("runc", "crun", why="they differ in what they make of it")
    parent = CGROUPS / f"{runtime.sleeper().id}"
    (parent / "threads").mkdir(parents=True)
    (parent / "threads" / "cgroup.type").write_text("threaded")
    try:
        container = limited(runtime.sleeper(), memory={"limit": 64 * MIB})
        container.config["linux"]["cgroupsPath"] = f"/{parent.name}/threads/{container.id}"
        assert "threaded" in container.create().failed().stderr
        plain = runtime.sleeper()
        plain.config["linux"]["cgroupsPath"] = f"/{parent.name}/threads/{plain.id}"
        plain.started()
        assert plain.status == "running"
        plain.delete("--force").ok()
    finally:
        (parent / "threads").rmdir()
        parent.rmdir()


@pytest.mark.spec("cgroup ownership")
def test_the_container_owns_its_cgroup_when_it_may_write_there(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they do it with the systemd driver, or for a user namespace's root")
    container = runtime.sh("mkdir /sys/fs/cgroup/below && sleep 100")
    add_namespace(container.config, "cgroup")
    container.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    container.config["process"]["capabilities"] = {}
    container.config["mounts"].append(
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid"]}
    )
    container.started()
    wait_for((directory(container) / "below").exists, "the container could not make a cgroup")
    assert (directory(container) / "memory.max").stat().st_uid == 0


def test_exec_finds_a_container_that_gave_its_controllers_away(runtime: Runtime) -> None:
    """No process may be in a cgroup whose children have controllers: exec goes where init is."""
    container = runtime.sleeper().started()
    top = directory(container)
    inner = top / "inner"
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(container.pid))
    (top / "cgroup.subtree_control").write_text("+pids")
    container.exec("sh", "-c", "sleep 100 >/dev/null 2>&1 & exit 0").ok()
    assert len((inner / "cgroup.procs").read_text().split()) == 2


def test_pause_and_resume(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    runtime("pause", container.id).ok()
    assert container.status == "paused" and value(container, "cgroup.freeze") == "1"
    runtime("resume", container.id).ok()
    assert container.status == "running"
