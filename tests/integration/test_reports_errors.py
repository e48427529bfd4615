"""What users of other runtimes suffered, and pyrunc's answer: errors that don't explain.

Each test's docstring names who reported it.
"""

from __future__ import annotations

import json
import os
import subprocess

from tests.failures.nested import DENY, NO_CAPABILITY, UNPRIVILEGED
from tests.integration.harness import Container, Runtime, pyrunc_only, user_namespace

pytestmark = pyrunc_only  # the wording is its own


def says(stderr: str, *words: str) -> None:
    for word in words:
        assert word in stderr, f"{word!r} is not in:\n{stderr}"


def bind(container: Container, source: object, destination: str, *options: str) -> None:
    entry = {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", *options]}
    container.config["mounts"].append(entry)


def test_execve_has_a_reason(runtime: Runtime) -> None:
    """runc#1773, moby#29420, moby#40859: "no such file or directory", and the file is there."""
    container = runtime.container("/program")
    (container.rootfs / "program").write_text("#!/opt/python3\n")
    (container.rootfs / "program").chmod(0o755)
    says(container.run().failed().stderr, '"/program"', "no such file", "/opt/python3 does not exist")


def test_start_has_the_same_reason_as_run(runtime: Runtime) -> None:
    """runc#1773: with create and start the reason must not be lost in the container's own output."""
    container = runtime.container("/program")
    (container.rootfs / "program").write_text("#!/opt/python3\n")
    (container.rootfs / "program").chmod(0o755)
    container.create().ok()
    says(container.start().failed().stderr, '"/program"', "/opt/python3 does not exist")


def test_exec_has_a_reason_too(runtime: Runtime) -> None:
    """runc#1773"""
    container = runtime.sleeper().started()
    (container.rootfs / "script").write_bytes(b"#!/bin/sh\r\n")
    (container.rootfs / "script").chmod(0o755)
    says(container.exec("/script").failed(255).stderr, '"/script"', "CRLF")


def test_a_missing_file_has_a_name_and_a_part_to_play(runtime: Runtime) -> None:
    """runc#3237"""
    container = runtime.sh("true")
    bind(container, "/no/such/volume", "/data")
    says(container.run().failed().stderr, "source of the bind mount /no/such/volume", "mounts[5].source")


def test_the_cause_is_the_one_record_of_the_log(runtime: Runtime) -> None:
    """runc#4905: engines show the last record; what fails deep inside of init has to be in it."""
    container = runtime.sh("true")
    container.config["linux"]["sysctl"] = {"net.ipv4.no_such_setting": "1"}
    container.write()
    log = runtime.tmp / "log.json"
    options = ("--log", str(log), "--log-format", "json")
    runtime(*options, "create", "--bundle", str(container.bundle), container.id).failed()
    [record] = [json.loads(line) for line in log.read_text().splitlines()]
    assert record["level"] == "error"
    says(record["msg"], "net/ipv4/no_such_setting", "[ENOENT]", "has no such setting")


def test_a_memory_limit_that_is_too_low(runtime: Runtime) -> None:
    """runc#2736, moby#41167, crun#630: "broken pipe", "device or resource busy", "EOF"."""
    container = runtime.sh("true")
    container.config["linux"]["resources"]["memory"] = {"limit": 4096}
    says(container.run().failed().stderr, "OOM-killed", "4 KiB", "raise linux.resources.memory.limit")


def test_no_privilege_for_namespaces(runtime: Runtime) -> None:
    """crun#1198, runc#1413: "unshare: Operation not permitted"."""
    container = runtime.sh("true")
    container.config["linux"]["resources"] = {}
    stderr = container.run(prefix=UNPRIVILEGED).failed().stderr
    says(stderr, "clone3", "[EPERM]", "CAP_SYS_ADMIN", "add a user namespace")


def test_a_denied_keyring(runtime: Runtime) -> None:
    """crun#402: "create keyring: Operation not permitted"."""
    container = runtime.sh("true")
    says(container.run(prefix=(*DENY, "keyctl", "EPERM")).failed().stderr, "keyctl", "--no-new-keyring")
    container.run("--no-new-keyring", prefix=(*DENY, "keyctl", "EPERM")).ok()


def test_a_state_directory_of_somebody_else(runtime: Runtime) -> None:
    """runc#2018: "mkdir /run/runc: permission denied"."""
    runtime.root.mkdir()
    os.chown(runtime.root, 1000, 1000)
    stderr = runtime.sh("true").run(prefix=NO_CAPABILITY).failed().stderr
    says(stderr, str(runtime.root), "[EACCES]", "give another --root")


def test_the_flags_of_a_source_stay_as_they_are(runtime: Runtime) -> None:
    """runc#3672: a read-only bind of a volume with nosuid, nodev, noexec, in a user namespace."""
    container = runtime.sh("grep ' /data ' /proc/self/mountinfo")
    volume = container.bundle / "volume"
    volume.mkdir()
    options = "nosuid,nodev,noexec,mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(volume)], check=True)
    (container.rootfs / "data").mkdir()
    user_namespace(container.config)
    bind(container, volume, "/data", "ro")
    says(container.run().ok().stdout, "ro,nosuid,nodev,noexec")


def test_sysfs_without_a_network_namespace_of_ones_own(runtime: Runtime) -> None:
    """runc#1229, podman#21680: "mount sysfs: Operation not permitted"."""
    container = runtime.sh("true")
    user_namespace(container.config)
    linux = container.config["linux"]
    linux["namespaces"] = [entry for entry in linux["namespaces"] if entry["type"] != "network"]
    says(container.run().failed().stderr, "mount /sys", "owns the network namespace", "bind /sys")


HIDDEN_PROC = ("unshare", "-m", "sh", "-c", 'mount --bind /dev/null /proc/cpuinfo && exec "$@"', "sh")


def test_a_proc_that_an_outer_container_has_masked(runtime: Runtime) -> None:
    """podman#20453, runc#1658: "mount proc: Operation not permitted"; a bind is the way out."""
    container = runtime.sh("true")
    user_namespace(container.config)
    says(container.run(prefix=HIDDEN_PROC).failed().stderr, "mount /proc", "(/proc/cpuinfo)", "bind /proc")
    container.config["mounts"][0] = {"destination": "/proc", "source": "/proc", "options": ["rbind"]}
    container.run(prefix=HIDDEN_PROC).ok()


def test_a_terminal_without_a_place_for_it(runtime: Runtime) -> None:
    """runc#1580, crun#484, runc#2182: what everybody meets first; the error has both ways out."""
    container = runtime.sh("true")
    container.config["process"]["terminal"] = True
    container.create().failed()
    says(container.printed() or container.create().stderr, "--console-socket", "process.terminal to false")


def test_a_wrong_type_has_a_place(runtime: Runtime) -> None:
    """crun#507: parse errors without a place."""
    container = runtime.sh("true")
    container.config["process"]["user"]["uid"] = "root"
    says(container.run().failed().stderr, "process.user.uid:6:", "must be an integer", '"root"')


def test_start_of_a_container_whose_init_has_died(runtime: Runtime) -> None:
    """runc#4790: "container process is already dead" says neither why nor what to do."""
    container = runtime.sh("true")
    container.create().ok()
    container.kill("KILL").ok()
    container.wait()
    says(
        container.start().failed().stderr,
        "has stopped",
        "killed before start",
        f"pyrunc delete {container.id}",
    )


def test_a_hook_that_dies(runtime: Runtime) -> None:
    """containerd#11210: "signal: illegal instruction", and nothing of what the hook said."""
    container = runtime.sh("true")
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "echo no driver >&2; kill -ILL $$"]}
    container.config["hooks"] = {"createRuntime": [hook]}
    stderr = container.run().failed().stderr
    says(stderr, "hooks.createRuntime[0]", "/bin/sh", "signal 4", "no driver", "another processor")


def test_a_missing_controller_has_a_name(runtime: Runtime) -> None:
    """crun#518, crun#1430"""
    container = runtime.sh("true")
    container.config["linux"]["resources"]["rdma"] = {"mlx5_1": {"hcaHandles": 3}}
    says(container.run().failed().stderr, "controller `rdma` is not available", "linux.resources.rdma")
