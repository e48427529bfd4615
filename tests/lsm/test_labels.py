"""AppArmor profiles and SELinux labels, on hosts that have them, and pyrunc inside a container of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import PROGRAM, REPO, Runtime, add_namespace, default_config, user_namespace

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


@pytest.mark.parametrize("outer_user_namespace", [False, True])
def test_inside_a_container_of_its_own(runtime: Runtime, outer_user_namespace: bool) -> None:
    """An inner container, with what an outer one may do: a user namespace of its own, no cgroup rights."""
    inner = default_config("/bin/echo", "from within")
    user_namespace(inner, 0, 1)
    inner["linux"].pop("resources")
    inner["linux"]["namespaces"] = [{"type": name} for name in ("pid", "ipc", "uts", "mount", "user")]
    # The outer /proc is masked in part, so the kernel makes no new one: the inner one is bound.
    inner["mounts"] = [m for m in inner["mounts"] if m["destination"] not in ("/proc", "/sys")]
    inner["process"]["capabilities"] = {}
    outer = runtime.sh("cd /inner && exec $PYRUNC --root /tmp/state run inner")
    (outer.rootfs / "inner").mkdir()
    (outer.rootfs / "inner/config.json").write_text(json.dumps(inner))
    subprocess.run(["cp", "-a", str(runtime.base), str(outer.rootfs / "inner/rootfs")], check=True)
    for name in ("lib", "lib64"):
        (outer.rootfs / name).symlink_to(f"usr/{name}")
    for path in ("/usr", str(REPO)):
        outer.config["mounts"].append({"destination": path, "source": path, "options": ["rbind", "ro"]})
    names = ("SYS_ADMIN", "SETFCAP", "SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE", "SYS_CHROOT")
    everything = [f"CAP_{name}" for name in names]
    outer.config["process"]["capabilities"] = {
        name: everything for name in ("bounding", "effective", "permitted")
    }
    outer.config["process"]["env"] = ["PATH=/usr/bin:/bin", f"PYRUNC={PROGRAM}", "USER=root"]
    add_namespace(outer.config, "cgroup")
    if outer_user_namespace:
        user_namespace(outer.config, 0, 65536)  # and no cgroup at all
    else:
        cgroup = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}
        outer.config["mounts"].append(cgroup)
    assert outer.run().ok().lines == ["from within"]
