"""What users of other runtimes suffered, and pyrunc's answer: starts that hang, and what is left behind.

Each test's docstring names who reported it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import (
    CGROUPS,
    PROGRAM,
    Container,
    Runtime,
    cgroups_of,
    marked,
    mounts_below,
    pyrunc_only,
    wait_for,
)

pytestmark = pyrunc_only  # the wording is its own


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextlib.contextmanager
def killed_in_a_hook(container: Container, verb: str) -> Iterator[None]:
    """The runtime, killed while a createRuntime hook runs."""
    reached = container.bundle / "reached"
    script = f"touch {reached}; exec sleep 20"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}
    container.config["hooks"] = {"createRuntime": [hook]}
    container.write()
    command = [
        PROGRAM,
        "--root",
        str(container.runtime.root),
        verb,
        "--bundle",
        str(container.bundle),
        container.id,
    ]
    with open(os.devnull, "r+b") as null:
        runtime = subprocess.Popen(command, stdin=null, stdout=null, stderr=null)
    try:
        wait_for(reached.exists, "the hook does not run")
        runtime.kill()
        yield
    finally:
        runtime.kill()
        runtime.wait()


@pytest.mark.parametrize("verb", ["create", "run"])
def test_init_ends_with_a_caller_that_dies(runtime: Runtime, verb: str) -> None:
    """runc#1432, runc#3448, runc#2828, moby#38064: an init that waits for ever."""
    container = runtime.sh("true")
    with killed_in_a_hook(container, verb):
        inits = [pid for pid in marked(container.id) if "pyrunc-init" in name_of(pid)]
        wait_for(lambda: not any(map(alive, inits)), "init lives on")


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_init_ends_when_its_state_is_removed(runtime: Runtime) -> None:
    """runc#2587, runc#3590: nobody can start it any more, so it must not wait for it."""
    container = runtime.sh("true")
    container.create().ok()
    pid = container.pid
    shutil.rmtree(runtime.root / container.id)
    wait_for(lambda: not alive(pid), "init lives on")


def full_pipe() -> tuple[int, int]:
    ends = os.pipe()
    os.set_blocking(ends[1], False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(ends[1], bytes(4096))
    os.set_blocking(ends[1], True)
    return ends


def test_a_full_pipe_as_output_does_not_hold_up_the_start(runtime: Runtime) -> None:
    """runc#2530, runc#1721: nobody drains standard output and error."""
    container = runtime.container("/bin/sleep", "100")
    container.write()
    read, write = full_pipe()
    command = [PROGRAM, "--root", str(runtime.root)]
    for words in (["create", "--bundle", str(container.bundle)], ["start"]):
        done = subprocess.run(
            [*command, *words, container.id], stdout=write, stderr=write, timeout=20, check=False
        )
        assert done.returncode == 0
    os.close(read)
    os.close(write)
    assert container.status == "running"


def test_delete_clears_what_a_killed_create_left(runtime: Runtime) -> None:
    """runc#4534, runc#4481: no state yet, and a cgroup that nobody can remove."""
    container = runtime.sh("true")
    with killed_in_a_hook(container, "create"):
        assert cgroups_of(container.id)
        runtime("delete", "--force", container.id).ok()
    assert not cgroups_of(container.id)
    assert not (runtime.root / container.id).exists()
    assert not mounts_below(runtime.tmp)


def test_a_state_directory_without_a_state_file(runtime: Runtime) -> None:
    """runc#703"""
    container = runtime.sh("true")
    (runtime.root / container.id).mkdir(parents=True)
    runtime("list").ok()
    assert container.status == "stopped"
    container.delete().ok()
    container.run().ok()


def test_a_notify_socket_does_not_hold_up_the_start(runtime: Runtime) -> None:
    """podman#12339, runc#1807: a program that never says READY=1."""
    container = runtime.sleeper()
    container.create().ok()
    environment = {**os.environ, "NOTIFY_SOCKET": "/nobody.sock"}
    begin = time.monotonic()
    runtime("start", container.id, env=environment, timeout=10).ok()
    assert time.monotonic() - begin < 5
    assert container.status == "running"


def test_a_frozen_container_can_be_killed_and_not_entered(runtime: Runtime) -> None:
    """runc#3663, runc#2753, runc#2774: exec in what is frozen leaves tasks that nobody can end."""
    container = runtime.sleeper().started()
    pid = container.pid
    runtime("pause", container.id).ok()
    stderr = container.exec("/bin/true").failed().stderr
    assert "cannot exec in a paused container" in stderr and f"pyrunc resume {container.id}" in stderr
    container.kill("KILL").ok()
    wait_for(lambda: not alive(pid), "it stays frozen")
    container.delete().ok()


def test_a_limit_changes_while_it_is_frozen(runtime: Runtime) -> None:
    """runc#3759: update freezes and thaws what somebody else has frozen."""
    container = runtime.sleeper().started()
    runtime("pause", container.id).ok()
    runtime("update", "--pids-limit", "100", container.id).ok()
    assert container.status == "paused"
    runtime("resume", container.id).ok()
    assert container.status == "running"


def test_one_broken_state_does_not_break_the_list(runtime: Runtime) -> None:
    """runc#999"""
    good, bad = runtime.sleeper().started(), runtime.sleeper().started()
    (runtime.root / bad.id / "state.json").write_text("{")
    listed = runtime("list", "--quiet").ok().lines
    assert good.id in listed and bad.id in listed
    assert "damaged" in runtime("state", bad.id).failed().stderr
    for pid in marked(bad.id):
        os.kill(pid, signal.SIGKILL)


def test_processes_that_outlive_init_are_gone_after_delete(runtime: Runtime) -> None:
    """runc#2344, runc#4040, runc#4145: "device or resource busy" without a pid namespace of its own."""
    container = runtime.sh("sleep 1000 & sleep 1000 &")
    linux = container.config["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "pid"]
    container.finished()
    assert runtime("ps", "--format", "json", container.id).ok().stdout.count(",") == 1
    container.delete().ok()
    assert not cgroups_of(container.id)


def mount_table() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def test_a_failed_create_with_a_bind_of_the_host_leaves_no_mount(runtime: Runtime) -> None:
    """runc#2404, runc#4767, runc#2843: mounts of the container that stay on the host."""
    container = runtime.container("nosuchprogram")
    entry = {"destination": "/host", "type": "bind", "source": "/", "options": ["rbind", "rshared"]}
    container.config["mounts"].append(entry)
    container.run().failed()
    mounted = [line for line in mount_table() if str(runtime.tmp) in line]
    assert not mounted


def test_a_program_that_ignores_signals_ends_at_once(runtime: Runtime) -> None:
    """runc#2892: "container init still running" after ten seconds of polling."""
    container = runtime.sh("trap '' TERM INT HUP; while :; do sleep 1; done").started()
    container.kill("TERM").ok()
    begin = time.monotonic()
    container.delete("--force").ok()
    assert time.monotonic() - begin < 5
    assert not cgroups_of(container.id)


def test_an_id_is_free_again_after_a_failure(runtime: Runtime) -> None:
    """runc#3780, crun#348: what a failed start leaves makes the next one fail."""
    container = runtime.container("nosuchprogram")
    for _ in range(3):
        assert "executable file not found" in container.run().failed().stderr
    container.config["process"]["args"] = ["/bin/true"]
    container.run().ok()


def test_a_read_only_image_is_used_as_it_is(runtime: Runtime) -> None:
    """runc#1123, runc#1670, runc#1671: no mount point has to be made in an image that has them all."""
    container = runtime.sh("test -e /dev/null && test -e /proc/self")
    rootfs = str(container.rootfs)
    before = sorted(path.name for path in container.rootfs.iterdir())
    subprocess.run(["mount", "--bind", rootfs, rootfs], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", rootfs], check=True)
    container.run().ok()
    assert sorted(path.name for path in container.rootfs.iterdir()) == before


@pytest.fixture
def cgroup2() -> Iterator[Path]:
    """A cgroup v2 of the test's own."""
    top = next((top for top in (CGROUPS, CGROUPS / "unified") if (top / "cgroup.controllers").exists()), None)
    if top is None:
        pytest.skip("no cgroup v2 is mounted here")
    made = top / f"pyrunc-test-{uuid.uuid4().hex[:12]}"
    made.mkdir()
    yield made
    for directory in [*made.glob("*/"), made]:
        directory.rmdir()


def test_device_rules_replace_their_program(cgroup2: Path) -> None:
    """runc#2876, runc#2366: every update left one more eBPF program, until the kernel took none."""
    from pyrunc._native.load import clone

    allow_all = bytes([0xB7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])  # r0 = 1; exit
    fd = os.open(cgroup2, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for _ in range(80):  # a cgroup takes 64 programs
            assert clone().lib.pyrunc_cgroup_device(fd, allow_all, 2) == 0
    finally:
        os.close(fd)


def test_a_threaded_cgroup_can_be_killed(cgroup2: Path) -> None:
    """runc#3821, runc#3894: cgroup.procs can't be read there, so nobody was ever killed."""
    from pyrunc.cgroup import v2

    threads = cgroup2 / "threads"
    threads.mkdir()
    (threads / "cgroup.type").write_text("threaded")
    process = subprocess.Popen(["sleep", "100"])
    (cgroup2 / "cgroup.procs").write_text(str(process.pid))
    (threads / "cgroup.threads").write_text(str(process.pid))
    with pytest.raises(OSError):
        (threads / "cgroup.procs").read_text()
    top = cgroup2.parent
    v2.UnifiedCgroup.plan(f"/{cgroup2.name}", str(top)).kill_all()
    assert process.wait(5) == -signal.SIGKILL
