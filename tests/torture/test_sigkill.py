"""The runtime dies by SIGKILL at any moment; `delete --force` or `gc` still removes everything.

TORTURE_ROUNDS is the number of rounds for each verb, 30 if unset. With runc or crun as the runtime the test
fails when they leave something behind: the numbers are in docs/torture.md.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from tests.integration import harness
from tests.torture.guarded import left_of

ROUNDS = int(os.environ.get("TORTURE_ROUNDS", "30"))
SEED = os.environ.get("TORTURE_SEED") or str(random.randrange(1 << 30))
VERBS = ("create", "start", "run", "exec", "pause", "update", "delete")


class Torture:
    """One verb, killed again and again."""

    def __init__(self, runtime: harness.Runtime, verb: str) -> None:
        self.runtime, self.verb = runtime, verb
        container = self.prepared()
        self.duration = self.call(container, None)
        self.remove(container, "delete")

    def prepared(self) -> harness.Container:
        """A container in the state that the verb starts from; its id marks its processes and cgroup."""
        container = self.runtime.sleeper()
        container.config["process"]["env"].append(f"MARKER={container.id}")
        container.config["linux"]["cgroupsPath"] = f"/{container.id}"
        container.write()
        if self.verb not in ("create", "run"):
            assert container.create().status == 0, container.printed()
        if self.verb in ("exec", "pause", "update", "delete"):
            container.start().ok()
        return container

    def command(self, container: harness.Container) -> list[str]:
        bundle = ["--bundle", str(container.bundle), "--pid-file", str(container.bundle / "pid")]
        arguments = {
            "create": ["create", *bundle, container.id],
            "run": ["run", "--detach", *bundle, container.id],
            "exec": ["exec", container.id, "/bin/true"],
            "update": ["update", "--memory", str(64 << 20), "--pids-limit", "20", container.id],
            "delete": ["delete", "--force", container.id],
        }.get(self.verb, [self.verb, container.id])
        return [harness.PROGRAM, "--root", str(self.runtime.root), *arguments]

    def call(self, container: harness.Container, kill_after: float | None) -> float:
        """Run the verb, or kill it after that many seconds; returns the seconds it took."""
        begin = time.monotonic()
        with container.output.open("ab") as output:
            process = subprocess.Popen(
                self.command(container), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        process.wait(harness.TIMEOUT)
        return time.monotonic() - begin

    def alive(self, container: harness.Container) -> bool:
        answer = self.runtime("state", container.id)
        return answer.status == 0 and '"stopped"' not in answer.stdout

    def remove(self, container: harness.Container, how: str) -> list[str]:
        """What is left after `delete --force`; or after the process has ended and `gc` was called."""
        if how == "gc":
            self.runtime("kill", container.id, "KILL")
            self.runtime("resume", container.id)
            end = time.monotonic() + 5
            while self.alive(container) and time.monotonic() < end:
                time.sleep(0.01)
            self.runtime("gc").ok()
        else:
            self.runtime("delete", "--force", container.id)
        left = left_of(container)
        self.runtime.containers.remove(container)
        if left:
            self.runtime.containers.append(container)  # the fixture cleans up
        else:
            shutil.rmtree(container.bundle)
        return left


@pytest.mark.parametrize("verb", VERBS)
def test_sigkill(runtime: harness.Runtime, verb: str) -> None:
    torture = Torture(runtime, verb)
    dice = random.Random(f"{SEED} {verb}")
    pyrunc = harness.PROGRAM.endswith("pyrunc")
    wrong = []
    for number in range(ROUNDS):
        container = torture.prepared()
        chance = dice.random()
        torture.call(container, chance * torture.duration * 1.1)
        how = "gc" if pyrunc and number % 4 == 3 else "delete"
        if left := torture.remove(container, how):
            wrong.append(f"{verb} killed at {chance:.3f}, {how}: {left}")
    print(f"{verb}: {ROUNDS} rounds, {len(wrong)} left something")
    assert not wrong, f"TORTURE_SEED={SEED}\n" + "\n".join(wrong)
