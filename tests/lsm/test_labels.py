"""AppArmor profiles and SELinux labels, on hosts that have them."""

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


def enabled(file: str) -> bool:
    path = Path(file)
    return path.exists() and path.read_text().strip() not in ("N", "0")


apparmor = pytest.mark.skipif(
    not enabled("/sys/module/apparmor/parameters/enabled"), reason="this host has no AppArmor"
)
selinux = pytest.mark.skipif(not Path("/sys/fs/selinux/enforce").exists(), reason="this host has no SELinux")


@pytest.fixture
def profile() -> Iterator[str]:
    subprocess.run(["apparmor_parser", "-rK"], input=TEXT, text=True, check=True)
    yield PROFILE
    subprocess.run(["apparmor_parser", "-R"], input=TEXT, text=True, check=False)


@apparmor
def test_the_profile_is_applied_and_denies(runtime: Runtime, profile: str) -> None:
    container = runtime.sh("cat /proc/self/attr/current; echo x >/tmp/open; echo x >/tmp/secret")
    container.config["process"]["apparmorProfile"] = profile
    answer = container.run().failed()
    assert answer.lines == [f"{profile} (enforce)"]
    assert "secret: Permission denied" in answer.stderr


@apparmor
def test_exec_is_under_the_profile_too(runtime: Runtime, profile: str) -> None:
    container = runtime.sleeper()
    container.config["process"]["apparmorProfile"] = profile
    container.started()
    assert container.exec("cat", "/proc/self/attr/current").ok().lines == [f"{profile} (enforce)"]


@apparmor
def test_a_profile_that_is_not_loaded_is_named(runtime: Runtime) -> None:
    container = runtime.sh("true")
    container.config["process"]["apparmorProfile"] = "pyrunc-test-missing"
    assert "apparmor" in container.run().failed().stderr.lower()


@selinux
def test_process_and_mounts_have_their_labels(runtime: Runtime) -> None:
    label = "system_u:system_r:container_t:s0"
    container = runtime.sh("cat /proc/self/attr/current; ls -dZ /dev/shm")
    container.config["process"]["selinuxLabel"] = label
    container.config["linux"]["mountLabel"] = "system_u:object_r:container_file_t:s0"
    answer = container.run().ok()
    assert label in answer.stdout and "container_file_t" in answer.stdout
