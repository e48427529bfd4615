"""gc finds what is left of containers whose record or process is gone, and touches nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.integration.harness import (
    CGROUPS,
    Container,
    Runtime,
    cgroups_of,
    marked,
    own,
    peers_differ,
    wait_for,
)


@pytest.fixture(autouse=True)
def only_here() -> None:
    peers_differ("runc", "crun", why="they have no gc")


def own_cgroup(container: Container) -> Container:
    """Its cgroup bears its id: so what is left of it can be seen."""
    container.config["linux"]["cgroupsPath"] = f"/{container.id}"
    return container


def outcomes(runtime: Runtime, *options: str) -> set[tuple[str, str]]:
    findings = json.loads(runtime("gc", "--json", *options).stdout)
    return {(finding["kind"], finding["outcome"]) for finding in findings}


def lose_record(container: Container) -> None:
    shutil.rmtree(container.runtime.root / container.id)


def test_nothing_is_left(runtime: Runtime) -> None:
    assert runtime("gc").ok().stdout == ""


@pytest.mark.parametrize("status", ["created", "running", "paused"])
def test_a_living_container_is_left_alone(runtime: Runtime, status: str) -> None:
    container = runtime.sleeper()
    container.create().ok()
    if status != "created":
        container.start().ok()
    if status == "paused":
        runtime("pause", container.id).ok()
    before = container.state()
    assert runtime("gc").ok().stdout == ""
    assert container.state() == before


def test_a_container_whose_process_is_gone_is_removed(runtime: Runtime) -> None:
    container = own_cgroup(runtime.sleeper()).started()
    os.kill(container.pid, signal.SIGKILL)
    container.wait("stopped")
    said = runtime("gc").ok().stdout
    assert f"removed state of {container.id}" in said
    assert f"removed cgroup of {container.id}" in said
    assert cgroups_of(container.id) == []
    runtime("state", container.id).failed()


def test_dry_run_only_looks(runtime: Runtime) -> None:
    container = own_cgroup(runtime.sh("exit 0")).finished()
    assert outcomes(runtime, "--dry-run") == {("cgroup", "found"), ("state", "found")}
    assert container.status == "stopped"
    assert outcomes(runtime) == {("cgroup", "removed"), ("state", "removed")}


def test_a_directory_of_a_create_that_was_killed_before_its_record(runtime: Runtime) -> None:
    id_ = runtime.sleeper().id
    (runtime.root / id_).mkdir(parents=True)
    assert outcomes(runtime) == {("state", "removed")}
    assert not (runtime.root / id_).exists()


def test_cgroups_whose_record_is_gone(runtime: Runtime) -> None:
    container = own_cgroup(runtime.sh("exit 0")).finished()
    places = len(cgroups_of(container.id))
    lose_record(container)
    removed = runtime("gc").ok().lines
    assert len(removed) == places
    assert cgroups_of(container.id) == []


def test_parents_of_a_cgroup_that_were_made_with_it_go_too(runtime: Runtime) -> None:
    container = runtime.sh("exit 0")
    container.config["linux"]["cgroupsPath"] = f"/{container.id}-above/below"
    lose_record(container.finished())
    runtime("gc").ok()
    assert cgroups_of(container.id) == []


def test_processes_without_a_record_are_killed_only_by_force(runtime: Runtime) -> None:
    container = own_cgroup(runtime.sleeper()).started()
    container_pid = container.pid
    lose_record(container)
    answer = runtime("gc").failed(1)
    assert "1 process(es) live in it" in answer.stdout
    assert os.path.exists(f"/proc/{container_pid}")
    runtime("gc", "--force").ok()
    assert cgroups_of(container.id) == []
    wait_for(lambda: not marked(container.id), "the process lives on")


def test_cgroups_of_another_state_root_are_left_alone(runtime: Runtime) -> None:
    container = own_cgroup(runtime.sh("exit 0")).finished()
    lose_record(container)
    other = Runtime(runtime.tmp / "other", runtime.base)
    other.tmp.mkdir()
    assert other("gc").ok().stdout == ""
    assert cgroups_of(container.id) != []


def test_cgroups_that_were_there_before_are_left_alone(runtime: Runtime) -> None:
    container = own_cgroup(runtime.sh("exit 0"))
    before = CGROUPS / "pids" / own(container.id)
    if not before.parent.is_dir():
        pytest.skip("no cgroup v1 hierarchy pids")
    before.mkdir()
    lose_record(container.finished())
    runtime("gc").ok()
    assert cgroups_of(container.id) == [before]


def test_whatever_is_mounted_on_the_host(runtime: Runtime) -> None:
    """Many mounts, and names of any bytes; they are in a mount namespace that ends with gc."""
    container = own_cgroup(runtime.sh("exit 0")).finished()
    script = (
        'cd "$0" && for n in $(seq 80) "$(printf "\\377")"; do mkdir "$n" && mount -t tmpfs none "$n"; done; '
        'exec "$@"'
    )
    place = runtime.tmp / "mounts"
    place.mkdir()
    prefix = ("unshare", "--mount", "sh", "-c", script, str(place))
    assert f"removed cgroup of {container.id}" in runtime("gc", prefix=prefix).ok().stdout


def test_a_container_that_somebody_works_on_is_left_alone(runtime: Runtime) -> None:
    import fcntl

    container = runtime.sh("exit 0").finished()
    directory = os.open(runtime.root / container.id, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        assert runtime("gc").ok().stdout == ""
    finally:
        os.close(directory)
    assert container.status == "stopped"


def test_the_poststop_hooks_run(runtime: Runtime) -> None:
    container = runtime.sh("exit 0")
    witness: Path = container.bundle / "witness"
    container.config["hooks"] = {"poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f"cat >{witness}"]}]}
    container.finished()
    runtime("gc").ok()
    assert json.loads(witness.read_text())["id"] == container.id


def test_a_damaged_record_is_told_and_keeps_what_it_named(runtime: Runtime) -> None:
    container = own_cgroup(runtime.sh("exit 0")).finished()
    other = own_cgroup(runtime.sh("exit 0")).finished()
    (runtime.root / container.id / "state.json").write_text('{"version": 1')
    answer = runtime("gc").failed(1)
    assert f"the state of {container.id} is damaged" in answer.stdout
    assert cgroups_of(container.id) != []
    assert cgroups_of(other.id) == []
    assert not (runtime.root / other.id).exists()
    container.delete("--force").ok()
    runtime("gc").ok()
    assert cgroups_of(container.id) == []


def test_files_of_a_cache_writer_that_died(runtime: Runtime) -> None:
    cache = runtime.root / ".seccomp"
    cache.mkdir(parents=True)
    (cache / ".0123456789abcdef.4194305").touch()
    mine = cache / f".0123456789abcdef.{os.getpid()}"
    mine.touch()
    assert outcomes(runtime) == {("file", "removed")}
    assert os.listdir(cache) == [mine.name]
