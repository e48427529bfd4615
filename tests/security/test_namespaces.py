"""exec goes where the container is, and a kernel parameter to no namespace of the runtime's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import Runtime, add_namespace, peers_differ, user_namespace
from tests.security.attack import civil, nothing_left

SETS = [(), ("pid",), ("network", "ipc", "uts"), ("mount",), ("mount", "pid", "uts")]


@pytest.mark.parametrize("kinds", SETS, ids=lambda kinds: "+".join(kinds) or "none")
@pytest.mark.parametrize("directory", ["/", "/proc/self/root", "/bin/../../../.."])
def test_exec_is_in_the_containers_root(runtime: Runtime, kinds: tuple[str, ...], directory: str) -> None:
    """Also where the container shares the mount namespace of the host, and only chroot keeps it in."""
    peers_differ("runc", "crun", why="want a mount namespace")
    container = runtime.sleeper()
    (container.rootfs / "only-here").touch()
    config = container.config
    del config["hostname"]
    config["linux"]["namespaces"] = [{"type": kind} for kind in kinds]
    config["mounts"] = config["mounts"][:1] if "mount" in kinds else []
    container.started()
    if directory.startswith("/proc") and not config["mounts"]:
        directory = "/"
    assert "only-here" in civil(container.exec("/bin/ls", directory)).ok().lines
    container.delete("--force").ok()
    nothing_left(container)


def test_exec_is_in_the_root_of_a_user_namespaces_container(runtime: Runtime) -> None:
    container = runtime.sleeper()
    (container.rootfs / "only-here").touch()
    user_namespace(container.config)
    assert "only-here" in container.started().exec("/bin/ls", "/").ok().lines


def test_exec_into_a_joined_mount_namespace(runtime: Runtime) -> None:
    """Its root is not the container's."""
    peers_differ("runc", "crun", why="want a mount namespace of the container's own")
    host = runtime.sleeper().started()
    container = runtime.sleeper()
    (container.rootfs / "only-here").touch()
    add_namespace(container.config, "mount", f"/proc/{host.pid}/ns/mnt")
    container.config["mounts"] = []
    container.config["root"]["path"] = "/tmp"
    if container.create().status == 0:
        container.start()
        inside = civil(container.exec("/bin/ls", "/")).stdout
        assert "proc" not in inside.split()


PARAMETERS = {
    "network": "net.core.somaxconn",
    "ipc": "kernel.shm_rmid_forced",
    "uts": "kernel.domainname",
}
FILES = {"network": "net", "ipc": "ipc", "uts": "uts"}


@pytest.mark.parametrize("kind", PARAMETERS)
def test_a_parameter_of_a_namespace_that_is_the_runtimes_own(runtime: Runtime, kind: str) -> None:
    """Joining it by its path makes it no namespace of the container's."""
    peers_differ("runc", "crun", why="look at the network only, or at none")
    container = runtime.container("/bin/true")
    del container.config["hostname"]
    container.config["mounts"] = [m for m in container.config["mounts"] if m["destination"] != "/sys"]
    add_namespace(container.config, kind, f"/proc/self/ns/{FILES[kind]}")
    assert container.run().ok()
    file = Path("/proc/sys") / PARAMETERS[kind].replace(".", "/")
    before = file.read_text()
    container.config["linux"]["sysctl"] = {PARAMETERS[kind]: before.strip()}
    answer = civil(container.run()).failed()
    assert PARAMETERS[kind] in answer.stderr and "linux.namespaces" in answer.stderr
    assert file.read_text() == before


def test_a_parameter_of_a_joined_namespace(runtime: Runtime) -> None:
    other = runtime.sleeper().started()
    container = runtime.sh("cat /proc/sys/net/core/somaxconn")
    add_namespace(container.config, "network", f"/proc/{other.pid}/ns/net")
    container.config["linux"]["sysctl"] = {"net.core.somaxconn": "123"}
    assert container.run().ok().stdout == "123\n"


@pytest.fixture
def mounted(runtime: Runtime) -> Iterator[Path]:
    """A file system that somebody has mounted, with a rootfs in it, as engines do."""
    place = runtime.tmp / "mounted"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "pyrunc-test", place], check=True)
    try:
        yield place
    finally:
        while os.path.ismount(place):
            subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("mount_namespace", ["none", "joined"])
@pytest.mark.parametrize("fails", [False, True], ids=["delete", "a failed create"])
def test_the_mount_of_a_rootfs_is_its_owners(
    runtime: Runtime, mounted: Path, mount_namespace: str, fails: bool
) -> None:
    """What the runtime takes away is what it has mounted there itself, in the namespace where that was."""
    peers_differ("runc", "crun", why="want a mount namespace of the container's own")
    before = Path("/proc/self/mountinfo").read_text()
    container = runtime.sleeper()
    shutil.copytree(container.rootfs, mounted, symlinks=True, dirs_exist_ok=True)
    container.config["root"]["path"] = str(mounted)
    container.config["mounts"] = []
    for key in ("maskedPaths", "readonlyPaths"):
        container.config["linux"].pop(key, None)
    if mount_namespace == "joined":
        host = runtime.sleeper().started()
        add_namespace(container.config, "mount", f"/proc/{host.pid}/ns/mnt")
    else:
        spaces = container.config["linux"]["namespaces"]
        container.config["linux"]["namespaces"] = [each for each in spaces if each["type"] != "mount"]
    if fails:
        add_namespace(container.config, "network", "/nowhere")
    created = civil(container.create())
    assert created.status or not fails
    container.delete("--force").ok()
    assert Path("/proc/self/mountinfo").read_text() == before


@pytest.mark.parametrize("destination", ["/", "/link"])
def test_mounts_on_the_root_without_a_mount_namespace(runtime: Runtime, destination: str) -> None:
    """All of the pile goes, whether the configuration or a link of the image has put it there."""
    peers_differ("runc", "crun", why="want a mount namespace of the container's own")
    before = Path("/proc/self/mountinfo").read_text()
    container = runtime.sleeper()
    (container.rootfs / "link").symlink_to("/")
    spaces = container.config["linux"]["namespaces"]
    container.config["linux"]["namespaces"] = [each for each in spaces if each["type"] != "mount"]
    container.config["mounts"] = [{"destination": destination, "type": "tmpfs", "source": "x"}] * 2
    civil(container.create())
    container.delete("--force").ok()
    assert Path("/proc/self/mountinfo").read_text() == before
