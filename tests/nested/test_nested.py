"""A container in a container: the runtime inside one of its own, which may do less and less."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.integration.harness import (
    CGROUPS,
    PROGRAM,
    REPO,
    Container,
    Runtime,
    add_namespace,
    default_config,
    pyrunc_only,
    user_namespace,
)

pytestmark = pyrunc_only  # it must run from the mounts that it is given here
MIB = 1 << 20
CAPABILITIES = ("SYS_ADMIN", "SETFCAP", "SETUID", "SETGID", "CHOWN", "DAC_OVERRIDE", "SYS_CHROOT", "SETPCAP")
unified = pytest.mark.skipif(
    not (CGROUPS / "cgroup.controllers").exists(), reason="this host has cgroup v1: `make vm-test` has v2"
)
# What an outer container does to have limits for inner ones: it leaves the top of its cgroups, which then can
# give controllers to others.
LEAVE = "mkdir /sys/fs/cgroup/self && echo 0 >/sys/fs/cgroup/self/cgroup.procs && "
INNER = "cd /inner && exec $PYRUNC --root /tmp/state run inner"


def inner_config(*args: str, uid: int = 0) -> dict[str, Any]:
    """A user namespace of its own, in which nobody but `uid` of the outer container is there."""
    inner = default_config(*args)
    user_namespace(inner, uid, 1)
    inner["linux"].pop("resources")
    inner["linux"]["namespaces"] = [{"type": name} for name in ("pid", "ipc", "uts", "mount", "user")]
    # The outer /proc is masked in part, so the kernel makes no new one.
    inner["mounts"] = [m for m in inner["mounts"] if m["destination"] not in ("/proc", "/sys")]
    inner["process"]["capabilities"] = {}
    return inner


def outer_container(runtime: Runtime, script: str, inner: dict[str, Any]) -> Container:
    """A container with this machine's /usr and the runtime, and the bundle /inner."""
    outer = runtime.sh(script)
    (outer.rootfs / "inner").mkdir()
    (outer.rootfs / "inner/config.json").write_text(json.dumps(inner))
    subprocess.run(["cp", "-a", str(runtime.base), str(outer.rootfs / "inner/rootfs")], check=True)
    for name in ("lib", "lib64"):
        (outer.rootfs / name).symlink_to(f"usr/{name}")
    for path in ("/usr", str(REPO)):
        outer.config["mounts"].append({"destination": path, "source": path, "options": ["rbind", "ro"]})
    sets = ("bounding", "effective", "permitted")
    outer.config["process"]["capabilities"] = {
        name: [f"CAP_{each}" for each in CAPABILITIES] for name in sets
    }
    outer.config["process"]["env"] = ["PATH=/usr/bin:/bin", f"PYRUNC={PROGRAM}", "USER=root", "HOME=/tmp"]
    return outer


def with_cgroups(outer: Container) -> None:
    add_namespace(outer.config, "cgroup")
    outer.config["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"})


def in_user_namespace(outer: Container) -> None:
    """Its root is nobody outside, who owns the root file system."""
    user_namespace(outer.config, 100000, 65536)
    for path in (outer.rootfs, *outer.rootfs.rglob("*")):
        # A program is a link to that of all containers.
        if not path.is_symlink() and (path.is_dir() or path.stat().st_nlink == 1):
            shutil.chown(path, 100000, 100000)


def test_with_the_rights_of_root_but_no_more(runtime: Runtime) -> None:
    outer = outer_container(runtime, INNER, inner_config("/bin/echo", "from within"))
    with_cgroups(outer)
    assert outer.run().ok().lines == ["from within"]


def test_in_a_user_namespace_without_any_cgroup(runtime: Runtime) -> None:
    outer = outer_container(runtime, INNER, inner_config("/bin/echo", "from within"))
    in_user_namespace(outer)
    assert outer.run().ok().lines == ["from within"]


def test_as_an_ordinary_user_of_the_outer_container(runtime: Runtime) -> None:
    outer = outer_container(runtime, INNER, inner_config("/bin/id", "-u", uid=1000))
    outer.config["process"].update(user={"uid": 1000, "gid": 1000}, capabilities={})
    assert outer.run().ok().lines == ["0"]


def test_without_a_user_namespace_of_its_own(runtime: Runtime) -> None:
    """Devices can't be made in the outer user namespace: they are bound from its /dev."""
    inner = inner_config("/bin/sh", "-c", "echo lost >/dev/null && echo from within")
    inner["linux"]["namespaces"] = [each for each in inner["linux"]["namespaces"] if each["type"] != "user"]
    del inner["linux"]["uidMappings"], inner["linux"]["gidMappings"]
    outer = outer_container(runtime, INNER, inner)
    in_user_namespace(outer)
    assert outer.run().ok().lines == ["from within"]


@unified
@pytest.mark.parametrize("own_user_namespace", [False, True])
def test_with_limits_in_a_cgroup_that_the_outer_one_owns(runtime: Runtime, own_user_namespace: bool) -> None:
    inner = inner_config("/bin/sh", "-c", "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max")
    inner["linux"]["namespaces"].append({"type": "cgroup"})
    inner["linux"]["resources"] = {"memory": {"limit": 32 * MIB}, "pids": {"limit": 9}}
    inner["mounts"].append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"})
    outer = outer_container(runtime, LEAVE + INNER, inner)
    with_cgroups(outer)
    if own_user_namespace:
        in_user_namespace(outer)
    assert outer.run().ok().lines == [str(32 * MIB), "9"]


def test_three_deep(runtime: Runtime) -> None:
    """The same once more, in the inner container."""
    innermost = inner_config("/bin/echo", "from the innermost")
    inner = inner_config("/bin/sh", "-c", INNER)
    outer = outer_container(runtime, INNER, inner)
    with_cgroups(outer)
    bundle = outer.rootfs / "inner/rootfs/inner"
    bundle.mkdir()
    (bundle / "config.json").write_text(json.dumps(innermost))
    subprocess.run(["cp", "-a", str(runtime.base), str(bundle / "rootfs")], check=True)
    for name in ("lib", "lib64"):
        (outer.rootfs / "inner/rootfs" / name).symlink_to(f"usr/{name}")
    inner["mounts"].append({"destination": "/proc", "type": "proc", "source": "proc"})
    for path in ("/usr", str(REPO)):
        inner["mounts"].append({"destination": path, "source": path, "options": ["rbind"]})
    inner["process"].update(
        env=outer.config["process"]["env"], capabilities=outer.config["process"]["capabilities"]
    )
    (outer.rootfs / "inner/config.json").write_text(json.dumps(inner))
    assert outer.run().ok().lines == ["from the innermost"]
