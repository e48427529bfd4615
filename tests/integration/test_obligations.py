"""Obligations of the runtime-spec that no other capability's tests show: see tests/obligations.py."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from pyrunc.cgroup.limits_v1 import apply
from tests.integration.harness import (
    CGROUPS,
    Config,
    Runtime,
    add_namespace,
    cgroup_file,
    cgroups_of,
    peers_differ,
)


def hook(script: str) -> Config:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}


@pytest.mark.spec("LC", "HK-7", "HK-9")
def test_the_thirteen_steps(runtime: Runtime) -> None:
    """runtime.md, Lifecycle: every hook and the program write into one file, with the status they see."""
    peers_differ("runc", "crun", why="poststart in create; other status words")
    container = runtime.sh("echo program >> /shared/log; sleep 100")
    shared = container.bundle / "shared"
    shared.mkdir()
    container.config["mounts"].append(
        {"destination": "/shared", "type": "bind", "source": str(shared), "options": ["bind"]}
    )

    def note(name: str, directory: str) -> Config:
        state = r"sed 's/.*\"status\":\"\([a-z]*\)\".*/\1/'"
        return hook(f'echo "{name} $({state})" >> {directory}/log')

    container.config["hooks"] = {
        kind: [note(kind, str(shared))]
        for kind in ("prestart", "createRuntime", "createContainer", "poststart", "poststop")
    }
    container.config["hooks"]["startContainer"] = [note("startContainer", "/shared")]
    container.create().ok()
    before = (shared / "log").read_text().splitlines()
    container.start().ok()
    container.delete("--force").ok()
    found = (shared / "log").read_text().splitlines()
    assert before == ["prestart created", "createRuntime creating", "createContainer creating"]
    started = found[len(before) :]
    assert started[0] == "startContainer created" and started[-1] == "poststop stopped"
    assert sorted(started[1:-1]) == ["poststart running", "program"]


@pytest.mark.spec("HK-1")
def test_a_hook_need_not_read_the_state(runtime: Runtime) -> None:
    container = runtime.sh("exit 0")
    container.config["annotations"] = {"big": "x" * 200_000}
    container.config["hooks"] = {
        kind: [{"path": "/bin/true"}] for kind in ("createRuntime", "createContainer", "poststop")
    }
    container.run().ok()


@pytest.mark.spec("HK-10")
def test_a_hook_gets_no_descriptor_and_its_child_holds_up_nothing(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they wait for the end of its output")
    container = runtime.sh("exit 0")
    seen = container.bundle / "fds"
    container.config["hooks"] = {"createRuntime": [hook(f"ls /proc/self/fd > {seen}; sleep 20 &")]}
    container.create().ok()
    assert seen.read_text().split() in (["0", "1", "2", "3"], ["0", "1", "2"])  # one is that of ls itself


@pytest.mark.spec("HK-8")
def test_the_error_of_a_hook_has_what_it_said(runtime: Runtime) -> None:
    container = runtime.sh("exit 0")
    container.config["hooks"] = {"createRuntime": [hook("echo reason >&2; exit 7")]}
    answer = container.create().failed(1)
    assert "7" in answer.stderr and "reason" in answer.stderr


@pytest.mark.spec("G2")
def test_a_name_twice_in_one_object_is_an_error(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="the last one counts")
    container = runtime.sh("echo ran")
    container.write()
    file = container.bundle / "config.json"
    file.write_text(file.read_text().replace('"hostname"', '"hostname": "other", "hostname"', 1))
    answer = runtime("run", "--bundle", str(container.bundle), container.id).failed()
    assert "hostname" in answer.stderr


@pytest.mark.spec("G9", "G6")
def test_what_may_be_absent(runtime: Runtime) -> None:
    """Without `linux` there are no namespaces of its own, so there is nothing to mount either."""
    peers_differ("runc", "crun", why="they need linux or mounts")
    container = runtime.sh("echo ran > /ran")
    config = container.config
    for name in ("mounts", "linux", "hostname"):
        del config[name]
    container.run().ok()
    assert (container.rootfs / "ran").read_text() == "ran\n"


@pytest.mark.spec("windows, solaris, zos, vm, freebsd", "G3")
def test_parts_for_other_platforms_are_ignored(runtime: Runtime) -> None:
    container = runtime.container("/bin/echo", "ran")
    container.config.update(
        windows={"layerFolders": ["C:\\layer"]},
        solaris={"milestone": "svc:/milestone/container:default"},
        zos={"namespaces": [{"type": "pid"}]},
        vm={"kernel": {"path": "/kernel"}, "hypervisor": {"path": "/hypervisor"}},
        freebsd={"jail": {}},
    )
    container.config["process"]["commandLine"] = "echo other"
    container.config["process"]["user"]["username"] = "ContainerUser"
    assert container.run().ok().stdout == "ran\n"


@pytest.mark.spec("G10", "annotations", "ST-7")
@pytest.mark.parametrize(("key", "accepted"), [("org.example.any", True), ("", False)])
def test_annotations(runtime: Runtime, key: str, accepted: bool) -> None:
    peers_differ("runc", "crun", why="an empty name is accepted")
    container = runtime.sleeper()
    container.config["annotations"] = {key: ""}
    answer = container.create()
    assert (answer.status == 0) == accepted
    if accepted:
        assert container.state()["annotations"] == {key: ""}


@pytest.mark.spec("domainname")
def test_the_domain_name(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/sys/kernel/domainname")
    container.config["domainname"] = "domain.example"
    container.config["ociVersion"] = "1.1.0"
    peers_differ("runc", "crun", why="Debian's versions do not know it")
    assert container.run().ok().stdout == "domain.example\n"


@pytest.mark.spec("root.path", "EW-1")
@pytest.mark.parametrize("path", ["nowhere", "config.json"])
def test_the_root_must_be_a_directory(runtime: Runtime, path: str) -> None:
    container = runtime.sh("echo ran")
    container.config["root"]["path"] = path
    assert "root" in container.run().failed().stderr
    assert cgroups_of(container.id) == []


@pytest.mark.spec("root.path")
def test_an_absolute_root(runtime: Runtime) -> None:
    container = runtime.container("/bin/echo", "ran")
    container.config["root"]["path"] = str(container.rootfs)
    assert container.run().ok().stdout == "ran\n"


@pytest.mark.spec("LX-6", "process.oomScoreAdj")
def test_the_callers_oom_score_is_kept_when_none_is_given(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat", "/proc/self/oom_score_adj")
    raised = ("/bin/sh", "-c", 'echo 123 > /proc/self/oom_score_adj; exec "$@"', "sh")
    assert container.run(prefix=raised).ok().stdout == "123\n"


@pytest.mark.spec("ST-9")
def test_a_pid_that_was_used_again_is_not_the_containers(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="their records are others")
    container = runtime.sleeper().started()
    file = runtime.root / container.id / "state.json"
    record = json.loads(file.read_text())
    stranger = os.getpid()
    file.write_text(json.dumps({**record, "pid": stranger}))
    assert container.status == "stopped"
    container.kill().failed()
    file.write_text(json.dumps(record))
    assert container.status == "running"


@pytest.mark.spec("process.apparmorProfile", "G7")
def test_an_apparmor_profile_without_apparmor_is_an_error(runtime: Runtime) -> None:
    if Path("/sys/module/apparmor").exists():
        pytest.skip("this host has AppArmor")
    peers_differ("runc", "crun", why="other words")
    container = runtime.sh("echo ran")
    container.config["process"]["apparmorProfile"] = "docker-default"
    assert "process.apparmorProfile" in container.run().failed().stderr


@pytest.mark.spec("process.selinuxLabel", "G7")
def test_an_selinux_label_without_selinux_is_an_error(runtime: Runtime) -> None:
    if Path("/sys/fs/selinux/enforce").exists():
        pytest.skip("this host has SELinux")
    peers_differ("runc", "crun", why="they ignore it")
    container = runtime.sh("echo ran")
    container.config["process"]["selinuxLabel"] = "system_u:system_r:container_t:s0"
    assert "process.selinuxLabel" in container.run().failed().stderr


@pytest.mark.spec("process.consoleSize")
def test_a_console_size_without_a_terminal_is_ignored(runtime: Runtime) -> None:
    container = runtime.container("/bin/echo", "ran")
    container.config["process"]["consoleSize"] = {"height": 10, "width": 20}
    assert container.run().ok().stdout == "ran\n"


@pytest.mark.spec("linux.rootfsPropagation")
@pytest.mark.parametrize(
    ("word", "shown"), [("shared", "shared:"), ("slave", ""), ("private", ""), ("unbindable", "unbindable")]
)
def test_propagation_of_the_root(runtime: Runtime, word: str, shown: str) -> None:
    container = runtime.container("/bin/grep", " / / \\|rootfs / ", "/proc/self/mountinfo")
    container.config["linux"]["rootfsPropagation"] = word
    optional = container.run().ok().lines[-1].split(" - ")[0].split()[6:]
    assert any(field.startswith(shown) for field in optional) if shown else "shared:" not in str(optional)


@pytest.mark.spec("linux.rootfsPropagation", "EW-4")
def test_a_propagation_that_is_none(runtime: Runtime) -> None:
    peers_differ("crun", why="private is taken")
    container = runtime.sh("echo ran")
    container.config["linux"]["rootfsPropagation"] = "sideways"
    assert "rootfsPropagation" in container.run().failed().stderr


@pytest.mark.spec("linux.resources.hugepageLimits")
@pytest.mark.parametrize("kernel_has_it", [True, False])
def test_huge_pages_and_their_reservation(tmp_path: Path, kernel_has_it: bool) -> None:
    """The reservation too, where the kernel has it; on a directory that looks like the controller's."""
    limit, reservation = tmp_path / "hugetlb.2MB.limit_in_bytes", tmp_path / "hugetlb.2MB.rsvd.limit_in_bytes"
    limit.touch()
    if kernel_has_it:
        reservation.touch()
    resources = {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}
    apply(resources, {"hugetlb": str(tmp_path)}, {})
    assert limit.read_text() == str(4 << 20)
    assert not kernel_has_it or reservation.read_text() == str(4 << 20)


@pytest.mark.spec("linux.resources.hugepageLimits", "EW-4")
@pytest.mark.parametrize("size", ["3MB", "64kB", "0MB", "2M", "../2MB"])
def test_a_huge_page_of_a_size_that_there_is_not(runtime: Runtime, size: str) -> None:
    container = runtime.sh("echo ran")
    container.config["linux"]["resources"]["hugepageLimits"] = [{"pageSize": size, "limit": 1}]
    container.run().failed()
    assert cgroups_of(container.id) == []


@pytest.mark.spec("linux.resources.blockIO")
def test_a_throttle_of_block_devices(runtime: Runtime) -> None:
    devices = [path for path in Path("/sys/block").iterdir() if (path / "dev").exists()]
    if not devices:
        pytest.skip("no block device")
    major, minor = (devices[0] / "dev").read_text().strip().split(":")
    container = runtime.sleeper()
    throttle = [{"major": int(major), "minor": int(minor), "rate": 1 << 20}]
    container.config["linux"]["resources"]["blockIO"] = {"throttleReadBpsDevice": throttle}
    container.create().ok()
    found = cgroup_file(container, "blkio", "blkio.throttle.read_bps_device")
    assert found == f"{major}:{minor} {1 << 20}"


@pytest.mark.spec("linux.resources.network", "linux.resources.rdma", "linux.resources.unified", "EW-11", "G7")
@pytest.mark.parametrize(
    ("controller", "resources"),
    [
        ("net_cls", {"network": {"classID": 1048577}}),
        ("net_prio", {"network": {"priorities": [{"name": "lo", "priority": 3}]}}),
        ("rdma", {"rdma": {"mlx5_0": {"hcaHandles": 2}}}),
        ("unified", {"unified": {"memory.high": "1000000"}}),
    ],
)
def test_a_controller_that_the_host_has_not_got(
    runtime: Runtime, controller: str, resources: dict[str, Any]
) -> None:
    peers_differ("runc", "crun", why="they ignore what is missing")
    if (CGROUPS / controller / "tasks").exists() or (CGROUPS / "cgroup.controllers").exists():
        pytest.skip("this host has it")
    container = runtime.sh("echo ran")
    container.config["linux"]["resources"].update(resources)
    assert "linux.resources." in container.run().failed().stderr
    assert cgroups_of(container.id) == []


@pytest.mark.spec("linux.seccomp.listenerPath", "LX-8")
def test_the_seccomp_agent_gets_the_state_and_the_descriptor(runtime: Runtime) -> None:
    """config-linux.md, The Container Process State: one connection, one state, then its end."""
    peers_differ("crun", why="its ociVersion is another")
    container = runtime.sh("echo ran")
    path = runtime.tmp / "agent"
    container.config["annotations"] = {"key": "value"}
    container.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(path),
        "listenerMetadata": "some metadata",
        "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_NOTIFY"}],
    }
    got: dict[str, Any] = {}

    def agent(server: socket.socket) -> None:
        connection, _ = server.accept()
        data, fds, _, _ = socket.recv_fds(connection, 65536, 4)
        while more := connection.recv(65536):
            data += more
        got["state"], got["fds"] = json.loads(data), [os.readlink(f"/proc/self/fd/{fd}") for fd in fds]
        for fd in fds:
            os.close(fd)
        connection.close()

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        server.settimeout(20)
        thread = threading.Thread(target=agent, args=(server,))
        thread.start()
        container.started().wait()
        thread.join()
    state = got["state"]
    assert state["fds"] == ["seccompFd"] and len(got["fds"]) == 1 and "seccomp notify" in got["fds"][0]
    assert (state["metadata"], state["ociVersion"]) == ("some metadata", "1.0.2")
    assert state["state"]["status"] == "creating"
    assert (state["state"]["id"], state["state"]["bundle"]) == (container.id, str(container.bundle))
    assert state["state"]["annotations"] == {"key": "value"}
    assert state["pid"] == state["state"]["pid"] > 0


@pytest.mark.spec("linux.seccomp.listenerPath", "EW-10")
def test_an_agent_that_is_not_there_is_an_error(runtime: Runtime) -> None:
    container = runtime.sh("echo ran")
    container.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(runtime.tmp / "nobody"),
        "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_NOTIFY"}],
    }
    answer = container.run().failed()
    assert "nobody" in answer.stderr and "ran" not in answer.stdout


@pytest.mark.spec("linux.seccomp.listenerPath")
def test_a_listener_without_a_rule_that_notifies_is_ignored(runtime: Runtime) -> None:
    container = runtime.container("/bin/echo", "ran")
    container.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": str(runtime.tmp / "nobody"),
    }
    assert container.run().ok().stdout == "ran\n"


@pytest.mark.spec("linux.timeOffsets")
def test_offsets_of_clocks(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="Debian's versions do not know them")
    container = runtime.container("/bin/cat", "/proc/uptime")
    add_namespace(container.config, "time")
    container.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1_000_000, "nanosecs": 5}}
    here = float(Path("/proc/uptime").read_text().split()[0])
    inside = float(container.run().ok().stdout.split()[0])
    assert 1_000_000 <= inside - here < 1_000_060


@pytest.mark.spec("linux.timeOffsets", "EW-4")
@pytest.mark.parametrize("offsets", [{"realtime": {"secs": 1}}, {"boottime": {"nanosecs": 1_000_000_000}}])
def test_offsets_that_are_none(runtime: Runtime, offsets: Config) -> None:
    peers_differ("runc", "crun", why="Debian's versions do not know them")
    container = runtime.sh("echo ran")
    add_namespace(container.config, "time")
    container.config["linux"]["timeOffsets"] = offsets
    assert "linux.timeOffsets" in container.run().failed().stderr
