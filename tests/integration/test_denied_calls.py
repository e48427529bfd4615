"""pyrunc inside an outer container whose seccomp profile doesn't know a newer call.

Each call that pyrunc can't do without gives one error that names it, and what to change outside.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.integration.harness import (
    Runtime,
    default_config,
    pyrunc_only,
    user_namespace,
)
from tests.security.attack import nothing_left

pytestmark = pyrunc_only  # the wording is its own
DENY = str(Path(__file__).with_name("deny_call.py"))
CALLS = [
    "openat2",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "move_mount",
    "mount_setattr",
    "clone3",
    "close_range",
    "memfd_create",
]


def denied(call: str, errno: str) -> tuple[str, ...]:
    return (sys.executable, DENY, call, errno)


def check(stderr: str, call: str, errno: str) -> None:
    first, hint, more = stderr.strip().splitlines()
    assert call in first and f"[{errno}]" in first, stderr
    assert hint.startswith(f"hint: {call} is in Linux ")
    assert "seccomp filter" in hint and f"allow {call} in the profile" in hint
    assert more == "more: pyrunc explain call-denied"


@pytest.mark.parametrize("errno", ["EPERM", "ENOSYS"])
@pytest.mark.parametrize("call", CALLS)
def test_run_names_the_call_and_leaves_nothing(runtime: Runtime, call: str, errno: str) -> None:
    container = runtime.sh("echo must not be printed")
    result = container.run(prefix=denied(call, errno)).failed()
    assert result.stdout == ""
    check(result.stderr, call, errno)
    nothing_left(container)


@pytest.mark.parametrize("errno", ["EPERM", "ENOSYS"])
def test_finding_the_program(runtime: Runtime, errno: str) -> None:
    container = runtime.sh("true")
    check(container.run(prefix=denied("faccessat2", errno)).failed().stderr, "faccessat2", errno)


@pytest.mark.parametrize("call", ["clone3", "mount_setattr", "fsopen"])
def test_with_a_user_namespace(runtime: Runtime, call: str) -> None:
    container = runtime.sh("true")
    user_namespace(container.config)
    check(container.run(prefix=denied(call, "EPERM")).failed().stderr, call, "EPERM")


@pytest.mark.parametrize("errno", ["EPERM", "ENOSYS"])
@pytest.mark.parametrize("call", ["pidfd_open", "clone3", "memfd_create", "close_range"])
def test_exec(runtime: Runtime, call: str, errno: str) -> None:
    container = runtime.sleeper().started()
    result = runtime("exec", container.id, "/bin/true", prefix=denied(call, errno)).failed(255)
    check(result.stderr, call, errno)


@pytest.mark.parametrize("verb", [("kill", "KILL"), ("delete", "--force")])
def test_a_living_container_is_not_taken_for_a_dead_one(runtime: Runtime, verb: tuple[str, ...]) -> None:
    container = runtime.container(config=default_config("/bin/sleep", "100")).started()
    name, argument = verb
    words = (name, container.id, argument) if name == "kill" else (name, argument, container.id)
    check(runtime(*words, prefix=denied("pidfd_open", "EPERM")).failed().stderr, "pidfd_open", "EPERM")
    assert container.status == "running"


def test_the_errors_of_an_ordinary_lack_of_privilege_stay_what_they_are(runtime: Runtime) -> None:
    """EPERM without a filter around is not blamed on one."""
    container = runtime.sh("true")
    container.config["hostname"] = "x" * 65
    stderr = container.run().failed().stderr
    assert "seccomp" not in stderr
