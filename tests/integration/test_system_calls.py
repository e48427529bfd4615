"""How many system calls a container costs: each of them is paid by every container."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.integration.harness import Runtime, pyrunc_only

BUDGET = 450

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
    pyrunc_only,
]


def traced(runtime: Runtime, *args: str) -> list[str]:
    """The names of the calls of a verb and all that it starts."""
    trace = runtime.tmp / "trace"
    runtime(*args, prefix=("strace", "-f", "-qq", "-o", str(trace))).ok()
    return re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE)


def test_default_run(runtime: Runtime) -> None:
    """All of `run`, with the calls of /bin/true itself."""
    container = runtime.container("/bin/true")
    container.write()
    calls = traced(runtime, "run", "--bundle", str(container.bundle), container.id)
    assert "execve" in calls and "clone3" in calls
    assert len(calls) <= BUDGET, {name: calls.count(name) for name in sorted(set(calls))}


def test_state_asks_little(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    calls = traced(runtime, "state", container.id)
    assert len(calls) <= 100, calls
