"""process.apparmorProfile, on a host that has AppArmor."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import Runtime

PROFILE = "pyrunc-test-profile"
TEXT = f"""
profile {PROFILE} flags=(attach_disconnected,mediate_deleted) {{
  file,
  capability,
  signal,
  umount,
  deny /tmp/secret rw,
}}
"""


ENABLED = Path("/sys/module/apparmor/parameters/enabled")

pytestmark = pytest.mark.skipif(
    not ENABLED.exists() or ENABLED.read_text().strip() != "Y", reason="this host has no AppArmor"
)


@pytest.fixture
def profile() -> Iterator[str]:
    subprocess.run(["apparmor_parser", "-rK"], input=TEXT, text=True, check=True)
    yield PROFILE
    subprocess.run(["apparmor_parser", "-R"], input=TEXT, text=True, check=False)


def test_the_profile_is_applied_and_denies(runtime: Runtime, profile: str) -> None:
    container = runtime.sh("cat /proc/self/attr/current; echo x >/tmp/open; echo x >/tmp/secret")
    container.config["process"]["apparmorProfile"] = profile
    answer = container.run().failed()
    assert answer.lines == [f"{profile} (enforce)"]
    assert "secret: Permission denied" in answer.stderr


def test_exec_is_under_the_profile_too(runtime: Runtime, profile: str) -> None:
    container = runtime.sleeper()
    container.config["process"]["apparmorProfile"] = profile
    container.started()
    assert container.exec("cat", "/proc/self/attr/current").ok().lines == [f"{profile} (enforce)"]


def test_a_profile_that_is_not_loaded_is_named(runtime: Runtime) -> None:
    container = runtime.sh("true")
    container.config["process"]["apparmorProfile"] = "pyrunc-test-missing"
    assert "apparmor" in container.run().failed().stderr.lower()
