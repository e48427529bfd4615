"""Fifteen rules of the runtime-spec that implementers miss: each with the case that shows it."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from pyrunc.cgroup.limits_v2 import refuse_impossible
from pyrunc.errors import Error
from tests.integration.harness import (
    CAPABILITY_SETS,
    Config,
    Container,
    Result,
    Runtime,
    cgroup_file,
    cgroups_of,
    peers_differ,
)


def logged(container: Container, verb: str, *args: str, prefix: tuple[str, ...] = ()) -> tuple[Result, str]:
    """Call a verb on the container; the answer, and the log with its warnings."""
    container.write()
    log = container.bundle / "log.txt"
    runtime = container.runtime
    answer = runtime("--debug", "--log", str(log), verb, *args, container.id, prefix=prefix)
    return answer, log.read_text()


def hook(script: str) -> Config:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}


@pytest.mark.spec("DE-4")
def test_1_delete_of_a_created_container_is_an_error_and_changes_nothing(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they kill it")
    container = runtime.sleeper()
    container.create().ok()
    before = container.state()
    assert "not stopped" in container.delete().failed().stderr
    assert container.state() == before
    container.start().ok()
    assert container.status == "running"


@pytest.mark.spec("CR-10", "SA-4", "process")
def test_2_create_without_a_process_works_and_start_is_an_error(runtime: Runtime) -> None:
    peers_differ("runc", why="wants a process at create")
    container = runtime.sleeper()
    del container.config["process"]
    container.create().ok()
    assert container.status == "created"
    assert "process" in container.start().failed().stderr
    container.delete("--force").ok()
    assert cgroups_of(container.id) == []


@pytest.mark.spec("SA-8", "DE-9", "HK-6", "hooks.poststart", "hooks.poststop")
def test_3_hooks_that_fail_after_the_start(runtime: Runtime) -> None:
    """From 1.3 on, a poststart hook that fails ends the container; a poststop hook never is an error."""
    peers_differ("runc", "crun", why="they do not know 1.3")
    container = runtime.sleeper()
    log = container.bundle / "log"
    container.config["ociVersion"] = "1.3.0"
    container.config["hooks"] = {
        "poststart": [hook("exit 3"), hook(f"echo second poststart >> {log}")],
        "poststop": [hook("exit 4"), hook(f"echo second poststop >> {log}")],
    }
    container.create().ok()
    answer, warnings = logged(container, "start")
    assert "hooks.poststart[0]" in answer.failed(1).stderr and "exit status 3" in answer.stderr
    assert "level=warning" in warnings and "exit status 4" in warnings
    assert log.read_text() == "second poststop\n"
    runtime("state", container.id).failed()
    assert cgroups_of(container.id) == []


@pytest.mark.spec("SA-6", "SA-5", "hooks.startContainer")
def test_4_a_failing_startcontainer_hook_is_an_error_of_start(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="start has returned before the hook runs")
    container = runtime.sh("echo ran > /tmp/ran")
    log = container.bundle / "log"
    container.config["hooks"] = {
        "startContainer": [hook("echo why not >&2; exit 3")],
        "poststop": [hook(f"echo poststop > {log}")],
    }
    container.create().ok()
    answer = container.start().failed(1)
    assert "exit status 3" in answer.stderr and "hooks.startContainer[0]" in answer.stderr
    assert not (container.rootfs / "tmp" / "ran").exists()
    assert log.read_text() == "poststop\n"
    runtime("state", container.id).failed()


@pytest.mark.spec("EW-6", "process.rlimits", "linux.namespaces")
@pytest.mark.parametrize("what", ["rlimit", "namespace"])
def test_5_the_same_rlimit_or_namespace_twice_is_an_error(runtime: Runtime, what: str) -> None:
    peers_differ("runc", "crun", why="the last one wins")
    container = runtime.sh("echo ran")
    if what == "rlimit":
        container.config["process"]["rlimits"] *= 2
    else:
        container.config["linux"]["namespaces"].append({"type": "uts"})
    assert "more than once" in container.run().failed().stderr
    runtime("state", container.id).failed()


@pytest.mark.spec("EW-5", "EW-2", "process.capabilities")
@pytest.mark.parametrize("name", ["CAP_SYS_RESOURCE", "CAP_OF_NOBODY"])
def test_6_a_capability_that_cannot_be_granted_is_a_warning(runtime: Runtime, name: str) -> None:
    """One that the caller lacks (here its bounding set is reduced), and one that does not exist."""
    peers_differ("runc", "crun", why="what the caller lacks is an error")
    container = runtime.container("/bin/grep", "CapEff", "/proc/self/status")
    for kind in CAPABILITY_SETS:
        container.config["process"]["capabilities"][kind] = ["CAP_KILL", name]
    drop = ("setpriv", "--bounding-set", "-sys_resource")
    answer, warnings = logged(container, "run", "--bundle", str(container.bundle), prefix=drop)
    assert int(answer.ok().stdout.split()[1], 16) == 1 << 5
    assert "level=warning" in warnings and "process.capabilities" in warnings and name in warnings


@pytest.mark.spec("LX-7", "process.user.umask")
def test_7_the_umask_of_the_caller_is_kept_when_none_is_given(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they set 0022")
    masked = ("/bin/sh", "-c", 'umask 0137; exec "$@"', "sh")
    container = runtime.sh("umask")
    assert container.run(prefix=masked).ok().stdout == "0137\n"
    container = runtime.sh("umask")
    container.config["process"]["user"]["umask"] = 0
    assert container.run(prefix=masked).ok().stdout == "0000\n"


@pytest.mark.spec("linux.resources.pids.limit")
def test_8_a_limit_of_no_processes_is_a_limit(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="0 is taken for unlimited")
    container = runtime.sh("true & wait")
    container.config["linux"]["resources"]["pids"] = {"limit": 0}
    container.create().ok()
    assert cgroup_file(container, "pids", "pids.max") == "0"


@pytest.mark.spec("EW-11", "cgroup v1 on v2")
@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("memory", "kernel", 1 << 20),
        ("memory", "kernelTCP", 1 << 20),
        ("memory", "swappiness", 10),
        ("memory", "disableOOMKiller", True),
        ("cpu", "realtimePeriod", 1000),
        ("cpu", "realtimeRuntime", 1000),
        ("blockIO", "leafWeight", 100),
        ("network", "classID", 1),
        ("network", "priorities", [{"name": "lo", "priority": 1}]),
    ],
)
def test_9_a_setting_of_cgroup_v1_that_v2_cannot_have_is_an_error(group: str, key: str, value: Any) -> None:
    with pytest.raises(Error) as caught:
        refuse_impossible({group: {key: value}})
    assert caught.value.path == f"linux.resources.{group}.{key}"
    assert "cgroup v1 only" in str(caught.value)


@pytest.mark.spec("EW-10", "linux.seccomp.errnoRet", "linux.seccomp.listenerMetadata")
@pytest.mark.parametrize(
    ("profile", "path"),
    [
        ({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}, "defaultErrnoRet"),
        (
            {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 1}],
            },
            "syscalls[0].errnoRet",
        ),
        ({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"}, "listenerMetadata"),
    ],
)
def test_10_what_a_seccomp_profile_must_not_say(runtime: Runtime, profile: Config, path: str) -> None:
    peers_differ("runc", "crun", why="they ignore it")
    container = runtime.sh("echo ran")
    container.config["linux"]["seccomp"] = profile
    assert f"linux.seccomp.{path}" in container.run().failed().stderr
    assert cgroups_of(container.id) == []


@pytest.mark.spec("EW-8", "linux.devices.path")
def test_11_another_file_at_the_path_of_a_device_is_an_error(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they keep the file")
    container = runtime.sh("echo ran")
    (container.rootfs / "etc" / "fuse").write_text("a file of the image\n")
    device = {"type": "c", "path": "/etc/fuse", "major": 10, "minor": 229}
    container.config["linux"]["devices"] = [device]
    answer = container.run().failed()
    assert "/etc/fuse" in answer.stderr and "linux.devices[0]" in answer.stderr
    assert (container.rootfs / "etc" / "fuse").read_text() == "a file of the image\n"


@pytest.mark.spec("ST-1", "ST-5", "ST-6", "state.status")
def test_12_the_status_is_one_of_the_words_of_the_state_schema(runtime: Runtime) -> None:
    """The schema has four. The prose permits more for states that it does not define: `paused`."""
    container = runtime.sleeper()
    file = container.bundle / "seen"
    container.config["hooks"] = {"createRuntime": [hook(f"cat > {file}")]}
    container.create().ok()
    seen = [json.loads(file.read_text())["status"], container.status]
    container.start().ok()
    seen.append(container.status)
    runtime("pause", container.id).ok()
    assert container.status == "paused"
    runtime("resume", container.id).ok()
    container.kill().ok()
    container.wait()
    assert [*seen, container.status] == ["creating", "created", "running", "stopped"]


@pytest.mark.spec("CR-8", "G5")
def test_13_an_edit_of_the_configuration_after_create_has_no_effect(runtime: Runtime) -> None:
    """Not on start, not on exec, not on the hooks of delete; not even when the file is gone."""
    peers_differ("runc", why="exec reads the bundle again")
    container = runtime.sh("echo first; sleep 100")
    log = container.bundle / "log"
    container.config["hooks"] = {"poststop": [hook(f"echo first > {log}")]}
    container.config["process"]["env"] = ["PATH=/bin", "WHICH=first"]
    container.create().ok()
    edited = json.loads(json.dumps(container.config).replace("first", "second"))
    file = container.bundle / "config.json"
    file.write_text(json.dumps(edited))
    container.start().ok()
    assert container.exec("/bin/sh", "-c", "echo $WHICH").ok().stdout == "first\n"
    file.unlink()
    container.delete("--force").ok()
    assert log.read_text() == "first\n"
    assert container.printed() == "first\n"


@pytest.mark.spec("HK-3", "hooks.createContainer", "hooks.startContainer")
def test_14_where_the_paths_of_hooks_are_looked_up(runtime: Runtime) -> None:
    """createContainer: on the host, though it runs in the container. startContainer: in the container."""
    container = runtime.sh("exit 0")
    here = container.bundle / "only-on-the-host"
    here.write_text("#!/bin/sh\nreadlink /proc/self/ns/uts > " + f"{container.bundle}/uts\n")
    here.chmod(0o755)
    inside = container.rootfs / "only-in-the-container"
    inside.write_text("#!/bin/sh\necho inside > /tmp/inside\n")
    inside.chmod(0o755)
    container.config["hooks"] = {
        "createContainer": [{"path": str(here), "env": ["PATH=/bin:/usr/bin"]}],
        "startContainer": [{"path": "/only-in-the-container", "env": ["PATH=/bin"]}],
    }
    container.run().ok()
    assert (container.bundle / "uts").read_text().strip() != os.readlink("/proc/self/ns/uts")
    assert (container.rootfs / "tmp" / "inside").read_text() == "inside\n"


@pytest.mark.spec("linux.devices.fileMode")
def test_15_the_mode_of_a_device_is_a_decimal_number(runtime: Runtime) -> None:
    container = runtime.container("/bin/stat", "-c", "%a %u %g", "/dev/mine")
    container.config["linux"]["devices"] = [
        {"type": "c", "path": "/dev/mine", "major": 1, "minor": 3, "fileMode": 432, "uid": 5, "gid": 6}
    ]
    assert container.run().ok().stdout == "660 5 6\n"


@pytest.mark.spec("ociVersion")
@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        *(
            ("1.0.0", True),
            ("1.0.0-rc5", True),
            ("1.2.1+build.7", True),
            ("1.3.0-dev+x", True),
            ("1.99.0", True),
        ),
        *(
            ("2.0.0", False),
            ("1.0", False),
            ("1.02.0", False),
            ("v1.0.0", False),
            ("", False),
            ("1.0.0-", False),
        ),
    ],
)
def test_every_version_1_is_accepted_and_no_other(runtime: Runtime, version: str, accepted: bool) -> None:
    peers_differ("runc", "crun", why="they do not look")
    container = runtime.sh("exit 0")
    container.config["ociVersion"] = version
    answer = container.run()
    assert (answer.status == 0) == accepted, answer
    assert accepted or "ociVersion" in answer.stderr
