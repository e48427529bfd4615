"""One system call at a time fails, or its process is killed: in the runtime and in pyrunc-init.

Every call ends in success or in one clean error. What was not made whole is not there, and a container that
runs has all its protections. inject.c makes the calls fail, by ptrace(2).

FAULT_POINTS is the number of calls that fail for each verb, 40 if unset; 0: each of them, in every way.
The same again, a third of them, with faults that last: a disk that is full stays full.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration import harness
from tests.torture import guarded

POINTS = int(os.environ.get("FAULT_POINTS", "40"))
SEED = os.environ.get("TORTURE_SEED", "1")
ERRORS = ("ENOSPC", "EIO", "EMFILE", "ENOMEM", "EPERM")
ACTIONS = ("kill", *ERRORS)
VERBS = ("create", "start", "run", "exec", "update", "pause", "delete")
_WRITE, _RECVFROM, _STAT, _PPOLL, _ACCEPT4 = 1, 45, 262, 271, 288  # system calls of x86_64


class Hit(NamedTuple):
    """How a call of the runtime with a fault ended; ``call``: the system call, -1 when none was reached."""

    status: int
    stderr: str
    calls: int
    call: int
    program: str


@pytest.fixture(scope="session")
def inject(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.uname().machine != "x86_64" or shutil.which("gcc") is None:
        pytest.skip("inject.c needs gcc and x86_64")
    program = tmp_path_factory.mktemp("inject") / "inject"
    source = Path(__file__).with_name("inject.c")
    subprocess.run(["gcc", "-O1", "-Wall", "-Werror", "-o", str(program), str(source)], check=True)
    return program


class Faults:
    """One verb, called again and again on new containers."""

    def __init__(self, inject: Path, runtime: harness.Runtime, verb: str, *, lasting: bool = False) -> None:
        self.inject, self.runtime, self.verb, self.lasting = inject, runtime, verb, lasting
        self.hits = 0
        if verb == "run":
            self.remove(self.prepared().started())  # fills the cache
        clean = self.prepared()
        self.calls = self.call(clean, 0, "kill").calls
        assert self.calls > 20, "the verb was not traced"
        self.good = self.look(clean, seconds=5)
        assert self.good["report"], clean.printed()
        self.remove(clean)

    def prepared(self) -> harness.Container:
        """A container in the status that the verb starts from. create has to compile its seccomp program,
        which makes half of its calls; run has it from the cache."""
        container = guarded.guarded(self.runtime)
        if self.verb == "create":
            shutil.rmtree(self.runtime.root / ".seccomp", ignore_errors=True)
        if self.verb not in ("create", "run"):
            assert container.create().status == 0, container.printed()
        if self.verb in ("exec", "update", "pause", "delete"):
            container.start().ok()
            guarded.seen(container, "start", 5)
        return container

    def arguments(self, container: harness.Container) -> list[str]:
        bundle = ["--bundle", str(container.bundle), "--pid-file", str(container.bundle / "pid")]
        return {
            "create": ["create", *bundle, container.id],
            "run": ["run", "--detach", *bundle, container.id],
            "exec": ["exec", "--env", "NAME=exec", container.id, "/bin/sh", "-c", guarded.REPORT],
            "update": ["update", "--memory", str(32 << 20), "--pids-limit", "20", container.id],
            "delete": ["delete", "--force", container.id],
        }.get(self.verb, [self.verb, container.id])

    def call(self, container: harness.Container, number: int, action: str, only: int = -1) -> Hit:
        """With the fault at the call of that number: of all, or of one system call."""
        report, stderr = container.bundle / "calls", container.bundle / "stderr"
        what = action if action == "kill" else str(getattr(errno, action))
        options = ["-o", str(report), "-s", str(only), *(["-l"] if self.lasting else [])]
        if self.verb == "start":
            options += ["-p", str(container.pid)]
        command = [harness.PROGRAM, "--root", str(self.runtime.root), *self.arguments(container)]
        with container.output.open("ab") as output, stderr.open("wb") as errors:
            done = subprocess.run(
                [str(self.inject), *options, str(number), what, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                timeout=harness.TIMEOUT,
                check=False,
            )
        calls, call, program = report.read_text().split(" ", 2)
        text = stderr.read_text(errors="replace")
        return Hit(done.returncode, text, int(calls), int(call), program.strip())

    def look(self, container: harness.Container, seconds: float = 0) -> dict[str, str]:
        """What the container sees of its protections, and its limits."""
        name = "exec" if self.verb == "exec" else "start"
        if self.verb == "delete":
            return {"report": "nothing to see"}
        if self.verb == "create" and container.status == "created":
            container.start().ok()
        return {"report": guarded.seen(container, name, seconds), "limits": guarded.limits(container)}

    def remove(self, container: harness.Container) -> list[str]:
        if self.verb == "pause":
            self.runtime("resume", container.id)
        container.delete("--force").ok()
        left = guarded.left_of(container)
        self.runtime.containers.remove(container)
        shutil.rmtree(container.bundle, ignore_errors=True)
        return left

    def wrong(self, number: int, action: str) -> list[str]:
        """All that is wrong after one fault."""
        container = self.prepared()
        hit = self.call(container, number, action)
        self.hits += hit.call >= 0
        found = []
        if action != "kill":
            found += self._unclean(container, hit)
        told = guarded.seen(container, "exec" if self.verb == "exec" else "start")
        if told and self.verb != "delete" and told != self.good["report"]:
            found.append(f"not protected: {difference(self.good['report'], told)}")
        if hit.status == 0 and action != "kill" and self.verb not in ("pause", "delete"):
            found += self._unprotected(container)
        found += [f"left after delete --force: {thing}" for thing in self.remove(container)]
        call = f"{self.verb} call {number} ({hit.call} of {Path(hit.program).name})"
        where = f"{call} {action}: status {hit.status}"
        return [f"{where}: {fault}\n{hit.stderr}" for fault in found]

    def _unclean(self, container: harness.Container, hit: Hit) -> Iterator[str]:
        if hit.status >= 128 and hit.status != 255:
            yield "a crash"
        elif hit.status and not hit.stderr.startswith("pyrunc: ") and hit.call != _WRITE:
            yield "an error without a word"
        # importlib takes a module whose file it can't stat for something else: that is not ours to mend.
        if hit.call != _STAT and ("internal error" in hit.stderr or "Traceback" in hit.stderr):
            yield "an error that nobody expected"
        if hit.status and self.verb in ("create", "run") and not self.lasting:
            yield from (f"left: {thing}" for thing in guarded.left_of(container))

    def _unprotected(self, container: harness.Container) -> Iterator[str]:
        if container.status == "stopped":
            yield "success is said, but the container has ended"
            return
        now = self.look(container, seconds=5)
        for what, good in self.good.items():
            if now[what] != good:
                yield f"not protected: {difference(good, now[what])}"


def difference(good: str, now: str) -> str:
    lost = [f"- {line}" for line in good.splitlines() if line not in now.splitlines()]
    return "\n".join(lost + [f"+ {line}" for line in now.splitlines() if line not in good.splitlines()])


def points(calls: int, actions: Sequence[str], number: int) -> list[tuple[int, str]]:
    """(number of the call, action): all of them, or a sample that reaches from end to end."""
    if POINTS == 0:
        return [(call, action) for call in range(1, calls + 1) for action in actions]
    dice = random.Random(SEED)
    chosen = sorted(dice.sample(range(1, calls + 1), min(number, calls)))
    return [(call, dice.choice(actions)) for call in chosen]


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_failing_call_never_does_harm(
    inject: Path, runtime: harness.Runtime, verb: str, lasting: bool
) -> None:
    """What a lasting fault keeps from being removed, `delete --force` removes."""
    harness.peers_differ("runc", "crun", why="the faults are counted for pyrunc and its init")
    faults = Faults(inject, runtime, verb, lasting=lasting)
    wrong = []
    chosen = points(faults.calls, ERRORS if lasting else ACTIONS, POINTS // 3 if lasting else POINTS)
    for number, action in chosen:
        try:
            wrong += faults.wrong(number, action)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            wrong.append(f"{verb} call {number} {action}: {error}")
    print(f"{verb}: {faults.calls} calls, {faults.hits} faults, {len(wrong)} wrong")
    assert not wrong, f"TORTURE_SEED={SEED}\n" + "\n".join(wrong)
    assert faults.hits > 0.9 * len(chosen), "the verb makes fewer calls than when they were counted"


def test_a_last_message_that_can_not_be_received_at_once(inject: Path, runtime: harness.Runtime) -> None:
    """It is sent when create is about to end well: init must not end for it."""
    harness.peers_differ("runc", "crun", why="the faults are counted for pyrunc and its init")
    faults = Faults(inject, runtime, "create")
    container = faults.prepared()
    hit = faults.call(container, 1, "EIO", only=_RECVFROM)
    assert (hit.status, hit.call) == (0, _RECVFROM), hit
    container.start().ok()
    assert guarded.seen(container, "start", 5) == faults.good["report"]


@pytest.mark.parametrize(("call", "status"), [(_PPOLL, 0), (_ACCEPT4, 1)], ids=["ppoll", "accept4"])
def test_start_ends_though_init_can_never_wait_for_it(
    inject: Path, runtime: harness.Runtime, call: int, status: int
) -> None:
    harness.peers_differ("runc", "crun", why="the faults are counted for pyrunc and its init")
    faults = Faults(inject, runtime, "start", lasting=True)
    container = faults.prepared()
    hit = faults.call(container, 1, "ENOMEM", only=call)
    assert (hit.status, hit.call) == (status, call), hit
    told = guarded.seen(container, "start", 5 if status == 0 else 0)
    assert told == ("" if status else faults.good["report"])
    assert faults.remove(container) == []
