"""What doctor says of hosts that are made up, and of this one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyrunc import doctor
from pyrunc.cli import diagnosis
from pyrunc.doctor import LIMITED, MISSING, OK, Finding
from pyrunc.explain.host import Host

FULL = f"CapEff:\t{(1 << 41) - 1:016x}\nSeccomp:\t0\n"
MOUNT = "36 35 98:0 / {} rw,nosuid - {} {} rw,{}\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The root of a host of our own; ``write`` puts files there."""
    write(tmp_path, "/proc/sys/kernel/osrelease", "6.1.0-13-amd64")
    write(tmp_path, "/proc/self/status", FULL)
    write(tmp_path, "/proc/self/uid_map", "0 0 4294967295")
    return tmp_path


def write(root: Path, path: str, text: str) -> None:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n")


def found(check: str, root: Path) -> list[Finding]:
    return list(getattr(doctor, check)(Host(root=str(root))))


def one(check: str, root: Path) -> Finding:
    (finding,) = found(check, root)
    return finding


def test_an_old_kernel_starts_no_container(files: Path) -> None:
    assert one("kernel", files).level == OK
    write(files, "/proc/sys/kernel/osrelease", "4.18.0-553.el8")
    finding = one("kernel", files)
    assert (finding.level, finding.remedy) == (MISSING, "boot Linux 5.12 or later")


def test_a_host_where_nothing_in_memory_can_be_executed(files: Path) -> None:
    assert found("memory_files", files) == []
    write(files, "/proc/sys/vm/memfd_noexec", "2")
    finding = one("memory_files", files)
    assert (finding.level, finding.remedy) == (MISSING, "sysctl vm.memfd_noexec=1")


def test_missing_capabilities_are_named(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert one("privileges", files).level == OK
    write(files, "/proc/self/status", f"CapEff:\t{(1 << 41) - 1 - (1 << 21):016x}")
    assert one("privileges", files).text == "root without CAP_SYS_ADMIN"
    write(files, "/proc/self/status", f"CapEff:\t{(1 << 41) - 1 - (1 << 24):016x}")
    assert "CAP_SYS_RESOURCE" in one("privileges", files).text


def test_an_ordinary_user_needs_a_user_namespace(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    finding = one("privileges", files)
    assert (finding.level, finding.text) == (LIMITED, "user 1000")
    assert "user namespace" in finding.remedy


@pytest.mark.parametrize(
    ("file", "value", "remedy"),
    [
        ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "`userns,`"),
    ],
)
def test_user_namespaces_that_are_off(file: str, value: str, remedy: str, files: Path) -> None:
    write(files, file, value)
    finding = found("namespaces", files)[-1]
    assert (finding.subject, finding.level) == ("user namespaces", LIMITED)
    assert remedy in finding.remedy


def test_namespaces_that_the_kernel_lacks(files: Path) -> None:
    for name in ("pid", "net", "mnt", "ipc", "uts", "user", "cgroup"):
        write(files, f"/proc/self/ns/{name}", "")
    finding = found("namespaces", files)[0]
    assert (finding.level, finding.text) == (LIMITED, "without time")


def test_no_cgroups_at_all(files: Path) -> None:
    finding = one("cgroups", files)
    assert (finding.level, finding.remedy) == (MISSING, "mount -t cgroup2 none /sys/fs/cgroup")


def test_cgroups_version_1_by_mountinfo(files: Path) -> None:
    points = ["cpu,cpuacct", "cpuset", "pids", "devices", "freezer", "blkio"]
    lines = [MOUNT.format(f"/sys/fs/cgroup/{name}", "cgroup", "cgroup", name) for name in points]
    lines.append(MOUNT.format("/sys/fs/cgroup/unified", "cgroup2", "cgroup2", ""))
    write(files, "/proc/self/mountinfo", "".join(lines).strip())
    finding = one("cgroups", files)
    assert finding.text == (
        "v1 (v2 is mounted beside it): cpu, cpuset, pids, devices, freezer, blkio; without memory, hugetlb"
    )


def test_version_1_without_accounting_of_swap(files: Path) -> None:
    line = MOUNT.format("/sys/fs/cgroup/memory", "cgroup", "cgroup", "memory").strip()
    write(files, "/proc/self/mountinfo", line)
    assert [finding.subject for finding in found("cgroups", files)] == ["cgroups", "swap limits"]
    write(files, "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "1")
    assert [finding.subject for finding in found("cgroups", files)] == ["cgroups"]


def test_cgroups_version_2_and_delegation(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(files, "/sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory hugetlb pids")
    write(files, "/proc/self/cgroup", "0::/user.slice/app")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    controllers, delegation = found("cgroups", files)
    assert controllers.level == OK
    assert delegation.text == "/sys/fs/cgroup/user.slice/app can't be written to: no limits"
    assert "Delegate=yes" in delegation.remedy
    (files / "sys/fs/cgroup/user.slice/app").mkdir(parents=True)
    assert found("cgroups", files)[1].level == OK


def test_systemd(files: Path) -> None:
    assert "does not run" in one("systemd", files).text
    (files / "run/systemd/system").mkdir(parents=True)
    assert "--systemd-cgroup can be used" in one("systemd", files).text


def test_a_kernel_without_seccomp(files: Path) -> None:
    write(files, "/proc/self/status", "CapEff:\t0")
    assert one("seccomp", files).level == LIMITED


def test_security_modules(files: Path) -> None:
    assert one("security_modules", files).level == LIMITED
    write(files, "/sys/module/apparmor/parameters/enabled", "Y")
    assert one("security_modules", files).text == "AppArmor"


def test_subordinate_ids(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr("shutil.which", lambda name: None)
    write(files, "/etc/passwd", "me:x:1000:1000::/home/me:/bin/sh")
    write(files, "/etc/subuid", "me:100000:65536")
    assert one("subordinate_ids", files).text == "me has none in /etc/subgid"
    write(files, "/etc/subgid", "1000:100000:65536")
    assert one("subordinate_ids", files).text == "newuidmap and newgidmap not found"
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert one("subordinate_ids", files).text == "me has 65536"


def test_proc_that_an_outer_container_hides(files: Path) -> None:
    lines = MOUNT.format("/proc", "proc", "proc", "") + MOUNT.format("/proc/kcore", "tmpfs", "tmpfs", "")
    write(files, "/proc/self/mountinfo", lines.strip())
    assert one("proc", files).level == OK
    write(files, "/proc/self/uid_map", "0 100000 65536")
    assert "/proc/kcore" in one("proc", files).text


def test_engines_that_are_told_of_pyrunc(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert found("engines", files) == []
    write(files, "/etc/docker/daemon.json", "{}")
    finding = one("engines", files)
    assert finding.text == "installed (/etc/docker/daemon.json), not told of pyrunc"
    assert finding.remedy
    write(files, "/etc/docker/daemon.json", '{"runtimes": {"pyrunc": {"path": "/usr/bin/pyrunc"}}}')
    assert one("engines", files).text == "/etc/docker/daemon.json names pyrunc"


def test_criu_that_is_not_there(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert one("criu", files).level == LIMITED


def test_this_host_has_an_answer_to_everything() -> None:
    findings = [finding for check in doctor.CHECKS if check is not doctor.criu for finding in check(Host())]
    for finding in findings:
        assert finding.text
        assert finding.level == OK or finding.remedy, finding.subject


def test_text_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [Finding("kernel", MISSING, "Linux 4", "boot another"), Finding("x", OK, "word " * 30)]
    monkeypatch.setattr(diagnosis, "examine", lambda: findings)
    monkeypatch.setenv("COLUMNS", "60")
    text, able = diagnosis.doctor(False)
    assert not able
    assert text.startswith("kernel  missing  Linux 4\n                 → boot another\nx       ok       word")
    assert max(map(len, text.splitlines())) <= 60
    answer = json.loads(diagnosis.doctor(True)[0])
    assert answer["able"] is False
    assert set(answer["findings"][0]) == {"subject", "level", "text", "remedy"}
