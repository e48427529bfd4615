"""The runtime dies by SIGKILL at any moment; `delete --force` still removes everything.

TORTURE_ROUNDS is the number of rounds, 30 if unset.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest

from tests.integration import harness

ROUNDS = int(os.environ.get("TORTURE_ROUNDS", "30"))
SEED = os.environ.get("TORTURE_SEED") or str(random.randrange(1 << 30))
VERBS = ("create", "start", "delete", "run")


@pytest.fixture(scope="session")
def duration(rootfs: object) -> dict[str, float]:
    """Seconds that a verb takes undisturbed; filled in by `prepare`."""
    return {}


def command(container: harness.Container, verb: str) -> list[str]:
    options = {
        "create": ["--bundle", str(container.bundle)],
        "run": ["--bundle", str(container.bundle), "--detach"],
        "delete": ["--force"],
    }.get(verb, [])
    root = str(container.runtime.root)
    return [harness.PROGRAM, "--root", root, verb, *options, container.id]


def new(runtime: harness.Runtime, verb: str) -> harness.Container:
    """A container in the state that `verb` starts from; its id marks its processes."""
    container = runtime.sleeper()
    container.config["process"]["env"].append(f"MARKER={container.id}")
    container.config["linux"]["cgroupsPath"] = f"/{container.id}"
    container.write()
    if verb in ("start", "delete"):
        container.create().ok()
    if verb == "delete":
        container.start().ok()
    return container


def call(container: harness.Container, verb: str, kill_after: float | None) -> float:
    """Run the verb, or kill it after that many seconds; returns the seconds it took."""
    begin = time.monotonic()
    with container.output.open("ab") as output:
        process = subprocess.Popen(
            command(container, verb), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    if kill_after is not None:
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
    process.wait(harness.TIMEOUT)
    return time.monotonic() - begin


def leftovers(container: harness.Container) -> list[str]:
    """What is still there of a container that should be gone."""
    found = [f"process {pid}" for pid in harness.marked(container.id)]
    # One that has not executed anything yet is known by the output it inherited.
    found += [f"process {pid}" for pid in harness.holding(container.bundle)]
    found += [f"child {pid}" for pid in children()]
    found += [f"cgroup {path}" for path in harness.cgroups_of(container.id)]
    found += [f"mount {path}" for path in harness.mounts_below(container.bundle)]
    state = container.runtime.root / container.id
    return found + ([f"state {state}"] if state.exists() else [])


def children() -> list[int]:
    """The children of this process that have not been waited for."""
    pid = os.getpid()
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_sigkill(runtime: harness.Runtime, duration: dict[str, float], round_: int) -> None:
    harness.peers_differ("runc", "crun", why="they leave things behind")
    verb = VERBS[round_ % len(VERBS)]
    if verb not in duration:
        duration[verb] = call(new(runtime, verb), verb, None)
    container = new(runtime, verb)
    chance = random.Random(f"{SEED} {round_}").random()
    call(container, verb, chance * duration[verb] * 1.1)
    deleted = container.delete("--force")
    end = time.monotonic() + 5
    while (left := leftovers(container)) and time.monotonic() < end:
        time.sleep(0.02)
    where = f"{verb} killed at {chance:.3f}, TORTURE_SEED={SEED}"
    assert not left, f"{where}: {left}\n{deleted}\n{container.printed()}"
    deleted.ok()
