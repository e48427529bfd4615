"""Masked and read-only paths, seccomp."""

from __future__ import annotations

import pytest

from tests.integration.harness import Runtime


@pytest.mark.spec("linux.maskedPaths")
def test_masked_paths(runtime: Runtime) -> None:
    container = runtime.sh("cat /secret; ls /hidden | wc -l")
    (container.rootfs / "secret").write_text("secret\n")
    (container.rootfs / "hidden").mkdir()
    (container.rootfs / "hidden" / "file").touch()
    container.config["linux"]["maskedPaths"] = ["/secret", "/hidden", "/not/there"]
    assert container.run().ok().stdout == "0\n"


@pytest.mark.spec("linux.readonlyPaths")
def test_read_only_paths(runtime: Runtime) -> None:
    container = runtime.sh("echo x > /file; echo x > /dir/file; echo x > /other; echo done")
    (container.rootfs / "file").touch()
    (container.rootfs / "dir").mkdir()
    container.config["linux"]["readonlyPaths"] = ["/file", "/dir", "/not/there"]
    answer = container.run().ok()
    assert answer.stderr.count("Read-only file system") == 2
    assert answer.stdout == "done\n"


@pytest.mark.spec("linux.seccomp", "linux.seccomp.errnoRet")
def test_seccomp_errno(runtime: Runtime) -> None:
    container = runtime.sh("mkdir /tmp/x; mkdir /tmp/x 2>&1; echo alive")
    container.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    }
    answer = container.run().ok()
    assert "No space left on device" in answer.stderr
    assert answer.lines[-1] == "alive"


def test_seccomp_mode(runtime: Runtime) -> None:
    container = runtime.sh("grep -E '^Seccomp:' /proc/self/status")
    container.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    without = runtime.sh("grep -E '^Seccomp:' /proc/self/status")
    assert without.run().ok().stdout.split()[1] == "0"
    rule = {"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}
    container.config["linux"]["seccomp"]["syscalls"] = [rule]
    assert container.run().ok().stdout.split()[1] == "2"


@pytest.mark.spec("linux.seccomp")
def test_seccomp_condition(runtime: Runtime) -> None:
    container = runtime.sh("kill -0 1 && echo zero; kill -USR1 1 || echo refused")
    condition = {"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}
    container.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [condition]}],
    }
    assert container.run().ok().lines == ["zero", "refused"]


@pytest.mark.spec("linux.seccomp.architectures")
def test_seccomp_names_of_other_architectures(runtime: Runtime) -> None:
    container = runtime.sh("echo ran")
    container.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["chown32", "no_such_call"], "action": "SCMP_ACT_ERRNO"}],
    }
    assert container.run().ok().stdout == "ran\n"
