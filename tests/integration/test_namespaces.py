"""config.json's `linux.namespaces`: new ones, joined ones, none."""

from __future__ import annotations

import os

import pytest

from tests.integration.harness import Runtime, add_namespace, peers_differ, user_namespace

SHOW = "for n in ipc mnt net pid uts cgroup user; do readlink /proc/self/ns/$n; done"


@pytest.mark.spec("linux.namespaces")
def test_new_and_shared_namespaces(runtime: Runtime) -> None:
    found = runtime.sh(SHOW).run().ok().lines
    host = [os.readlink(f"/proc/self/ns/{name.split(':')[0]}") for name in found]
    differ = {a.split(":")[0] for a, b in zip(found, host, strict=True) if a != b}
    assert differ == {"ipc", "mnt", "net", "pid", "uts"}


def test_pid_one(runtime: Runtime) -> None:
    assert runtime.sh("echo $$").run().ok().stdout == "1\n"


@pytest.mark.spec("linux.namespaces", "mounts: cgroup")
def test_cgroup_namespace(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/self/cgroup")
    add_namespace(container.config, "cgroup")
    assert all(line.endswith(":/") for line in container.run().ok().lines)


@pytest.mark.spec("linux.namespaces")
@pytest.mark.parametrize(
    ("type_", "file"),
    [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")],
)
def test_join_by_path(runtime: Runtime, type_: str, file: str) -> None:
    first = runtime.sleeper().started()
    path = f"/proc/{first.pid}/ns/{file}"
    second = runtime.container("/bin/readlink", f"/proc/self/ns/{file}")
    add_namespace(second.config, type_, path)
    second.config.pop("hostname")
    assert second.run().ok().stdout.strip() == os.readlink(path)


@pytest.mark.spec("EW-7")
@pytest.mark.parametrize("type_", ["network", "ipc", "uts"])
def test_join_a_namespace_of_another_type(runtime: Runtime, type_: str) -> None:
    container = runtime.sh("exit 0")
    container.config.pop("hostname")
    add_namespace(container.config, type_, "/proc/self/ns/mnt")
    container.create().failed()


@pytest.mark.spec("EW-6")
def test_the_same_namespace_twice(runtime: Runtime) -> None:
    peers_differ("crun", "runc", why="not every version refuses")
    container = runtime.sh("exit 0")
    container.config["linux"]["namespaces"].append({"type": "ipc"})
    container.create().failed()


@pytest.mark.spec("linux.uidMappings")
def test_user_namespace(runtime: Runtime) -> None:
    container = runtime.sh("cat /proc/self/uid_map; id -u; echo mine > /tmp/file")
    user_namespace(container.config, host=100000, size=1000)
    os.chown(container.rootfs, 100000, 100000)
    answer = container.run().ok()
    assert answer.lines[0].split() == ["0", "100000", "1000"]
    assert answer.lines[1] == "0"
    assert (container.rootfs / "tmp" / "file").stat().st_uid == 100000


@pytest.mark.spec("linux.namespaces", "mounts[].type")
@pytest.mark.parametrize("joined", [False, True], ids=["new", "joined"])
def test_message_queues_belong_to_root_of_the_user_namespace(runtime: Runtime, joined: bool) -> None:
    container = runtime.sh("exec sleep 100") if joined else runtime.sh("stat -c %u:%g /dev/mqueue")
    user_namespace(container.config)
    queues = {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}
    container.config["mounts"].append(queues)
    os.chown(container.rootfs, 100000, 100000)
    if joined:
        container.started()
        second = runtime.sh("stat -c %u:%g /dev/mqueue")
        second.config["mounts"].append(queues)
        add_namespace(second.config, "user", f"/proc/{container.pid}/ns/user")
        os.chown(second.rootfs, 100000, 100000)
        container = second
    assert container.run().ok().stdout == "0:0\n"


@pytest.mark.spec("linux.timeOffsets")
def test_time_namespace(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="runc from 1.2, crun from 1.9")
    container = runtime.container("/bin/cat", "/proc/uptime")
    add_namespace(container.config, "time")
    container.config["linux"]["timeOffsets"] = {"boottime": {"secs": 10**7, "nanosecs": 0}}
    assert float(container.run().ok().stdout.split()[0]) > 10**7
