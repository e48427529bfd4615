"""Many runtimes at once, on one id and on many: one wins, none corrupts, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.harness import (
    PROGRAM,
    Container,
    Result,
    Runtime,
    cgroups_of,
    is_locked,
    peers_differ,
    wait_for,
)

MANY = 12


def at_once(*calls: object) -> list[Result]:
    """All calls at the same time, in threads; their results in order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]  # type: ignore[arg-type]


def own_cgroup(container: Container) -> Container:
    container.config["linux"]["cgroupsPath"] = f"/{container.id}"
    return container


def gone(container: Container) -> bool:
    return not (container.runtime.root / container.id).exists() and cgroups_of(container.id) == []


def test_one_of_many_creates_wins(runtime: Runtime) -> None:
    container = own_cgroup(runtime.sleeper())
    container.write()
    create = ["create", "--bundle", str(container.bundle), container.id]
    with container.output.open("ab") as output:
        results = at_once(*[lambda: runtime(*create, stdout=output)] * MANY)
    assert sorted(result.status for result in results) == [0] + [1] * (MANY - 1)
    assert container.status == "created"
    container.start().ok()
    assert container.status == "running"


def test_one_of_many_starts_wins(runtime: Runtime) -> None:
    container = runtime.sh("echo ran; sleep 100")
    container.create().ok()
    results = at_once(*[container.start] * MANY)
    assert sorted(result.status for result in results) == [0] + [1] * (MANY - 1)
    assert container.printed() == "ran\n"


def test_many_deletes(runtime: Runtime) -> None:
    container = own_cgroup(runtime.sleeper()).started()
    for result in at_once(*[lambda: container.delete("--force")] * MANY):
        result.ok()
    assert gone(container)


@pytest.mark.parametrize("round_", range(5))
def test_delete_against_start(runtime: Runtime, round_: int) -> None:
    container = own_cgroup(runtime.sleeper())
    container.create().ok()
    started, deleted = at_once(container.start, lambda: container.delete("--force"))
    assert started.status in (0, 1)
    deleted.ok()
    assert gone(container)


@pytest.mark.parametrize("round_", range(5))
def test_delete_against_exec(runtime: Runtime, round_: int) -> None:
    container = own_cgroup(runtime.sleeper()).started()
    exec_ = [lambda: container.exec("/bin/sleep", "0.01")] * 3
    *executed, deleted = at_once(*exec_, lambda: container.delete("--force"))
    deleted.ok()
    assert all(result.status >= 0 for result in executed)
    assert gone(container)


@pytest.mark.parametrize("round_", range(5))
def test_delete_force_against_create(runtime: Runtime, round_: int) -> None:
    """Either the create is complete, or nothing is left of it."""
    container = own_cgroup(runtime.sleeper())
    created, _ = at_once(container.create, lambda: container.delete("--force"))
    if created.status == 0 and (runtime.root / container.id).exists():
        assert container.status == "created"
    container.delete("--force").ok()
    assert gone(container)


@pytest.mark.parametrize(
    "hook", ["prestart", "createRuntime", "createContainer", "startContainer", "poststart"]
)
def test_delete_force_while_a_hook_does_not_end(runtime: Runtime, hook: str) -> None:
    """The runtime that waits for the hook keeps the container for itself, but not from who ends it."""
    peers_differ("runc", "crun", why="leave cgroups, or do not answer")
    container = own_cgroup(runtime.sleeper())
    mark = runtime.tmp / "runs"
    script = f"echo $$ > {'/runs' if hook == 'startContainer' else mark}; exec sleep 60"
    entry = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}
    container.config["hooks"] = {hook: [entry]}
    if hook in ("startContainer", "poststart"):
        container.create().ok()
        arguments = ["start", container.id]
    else:
        container.write()
        arguments = ["create", "--bundle", str(container.bundle), container.id]
    command = [PROGRAM, "--root", str(runtime.root), *arguments]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as waiting:
        wait_for(lambda: mark.exists() or (container.rootfs / "runs").exists(), "the hook does not run")
        try:
            container.runtime("delete", "--force", container.id, timeout=8).ok()
            assert gone(container)
            if hook == "poststart":  # it runs to its end, whether the container lives or not
                assert waiting.poll() is None
            else:
                assert waiting.wait(8) == 1
        finally:
            waiting.kill()
            if hook == "poststart":
                os.kill(int(mark.read_text()), signal.SIGKILL)


def test_delete_force_while_init_does_not_answer(runtime: Runtime) -> None:
    """`start` waits for an init that was stopped. That is not what the other one waits for."""
    container = own_cgroup(runtime.sleeper())
    container.create().ok()
    os.kill(container.pid, signal.SIGSTOP)
    command = [PROGRAM, "--root", str(runtime.root), "start", container.id]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as waiting:
        wait_for(lambda: is_locked(runtime.root / container.id), "start has not begun", 2)
        container.runtime("delete", "--force", container.id, timeout=8).ok()
        assert waiting.wait(8) == 1
    assert gone(container)


def test_gc_against_create(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they have no gc")
    containers = [own_cgroup(runtime.sleeper()) for _ in range(MANY)]
    results = at_once(*[container.create for container in containers], *[lambda: runtime("gc")] * MANY)
    assert [result.status for result in results] == [0] * 2 * MANY
    assert [container.status for container in containers] == ["created"] * MANY


def test_containers_that_share_a_parent_cgroup_come_and_go(runtime: Runtime) -> None:
    """The parent may stay: whoever found it there does not take it away."""
    containers = [runtime.sh("exit 0") for _ in range(MANY)]
    for container in containers:
        container.config["linux"]["cgroupsPath"] = f"/{containers[0].id}/{container.id}"
    results = at_once(*[container.run for container in containers])
    assert [result.status for result in results] == [0] * MANY
    assert {path.name for path in cgroups_of(containers[0].id)} <= {containers[0].id}
    assert all(path.parent.parent.name == "cgroup" for path in cgroups_of(containers[0].id))


def test_a_reused_pid_is_not_the_container(runtime: Runtime) -> None:
    """In a pid namespace of its own, the pid of the ended container is given to another process."""
    peers_differ("crun", why="not looked at")
    container = runtime.sleeper()
    container.write()
    script = Path(__file__).with_name("reuse_pid.py")
    command = ["unshare", "--pid", "--mount-proc", "--fork", sys.executable, str(script)]
    arguments = [PROGRAM, str(runtime.root), str(container.bundle), container.id]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"reused": True, "status": "stopped", "kill": 1, "delete": 0, "victim_lives": True}
