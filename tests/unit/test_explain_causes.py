"""A refused call: the cause that is found on the host, which here is a made-up one."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pyrunc.explain import death, limits
from pyrunc.explain.causes import Refusal, cause, denied
from pyrunc.explain.host import Host

ALL, NONE = "000001ffffffffff", "0000000000000000"
INITIAL, MAPPED = "0 0 4294967295", "0 100000 65536"


class FakeHost:
    """A tree of files of /proc and /sys."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.process()
        self.file("/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n")

    def file(self, path: str, text: str) -> FakeHost:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return self

    def process(self, capabilities: str = ALL, seccomp: int = 0, uid_map: str = INITIAL) -> FakeHost:
        self.file("/proc/self/status", f"Name:\tpyrunc\nCapEff:\t{capabilities}\nSeccomp:\t{seccomp}\n")
        return self.file("/proc/self/uid_map", uid_map)

    def mounts(self, *lines: str) -> FakeHost:
        numbered = (f"{number} 1 0:1 / {line}" for number, line in enumerate(lines, 10))
        return self.file("/proc/self/mountinfo", "\n".join(numbered))

    def why(self, call: str, number: int, subject: str = "", **more: object) -> str:
        return cause(Refusal(call, number, subject, **more), Host(root=str(self.root)))  # type: ignore[arg-type]


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    return FakeHost(tmp_path)


def test_an_old_kernel(host: FakeHost) -> None:
    host.file("/proc/sys/kernel/osrelease", "4.19.0-26-amd64")
    assert (
        host.why("openat2", errno.ENOSYS) == "openat2 needs Linux 5.6, this kernel is 4.19: pyrunc needs 5.12"
    )


def test_a_filter_around_that_hides_a_call(host: FakeHost) -> None:
    assert "a seccomp filter around pyrunc" in host.why("openat2", errno.ENOSYS)
    assert "a seccomp filter around pyrunc" in host.why("close_range", errno.EPERM)


def test_a_filter_is_blamed_for_a_privileged_call_only_if_there_is_one(host: FakeHost) -> None:
    refusal = Refusal("mount_setattr", errno.EPERM)
    assert denied(refusal, Host(root=str(host.root))) == ""
    host.process(seccomp=2)
    assert "allow mount_setattr in the profile" in denied(refusal, Host(root=str(host.root)))
    host.process(NONE, seccomp=2)
    assert denied(refusal, Host(root=str(host.root))) == ""


def test_user_namespaces_that_are_off(host: FakeHost) -> None:
    host.process(NONE)
    for file, number, words in (
        ("user/max_user_namespaces", errno.ENOSPC, "sysctl user.max_user_namespaces=15000"),
        ("kernel/unprivileged_userns_clone", errno.EPERM, "sysctl kernel.unprivileged_userns_clone=1"),
    ):
        host.file(f"/proc/sys/{file}", "0\n")
        assert words in host.why("clone3", number, user_namespace=True)


def test_the_restriction_of_apparmor(host: FakeHost) -> None:
    host.process(NONE).file("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")
    assert "`userns,` in /etc/apparmor.d" in host.why("clone3", errno.EPERM, user_namespace=True)


def test_user_namespaces_in_a_chroot(host: FakeHost) -> None:
    assert "in a chroot" in host.why("clone3", errno.EPERM, user_namespace=True)


def test_limits_of_namespaces_and_processes(host: FakeHost) -> None:
    assert "max_*_namespaces" in host.why("clone3", errno.ENOSPC)
    assert "pids.max" in host.why("clone3", errno.EAGAIN)


def test_no_privilege(host: FakeHost) -> None:
    host.process(NONE)
    assert "add a user namespace to linux.namespaces" in host.why("clone3", errno.EPERM)


def test_a_masked_proc(host: FakeHost) -> None:
    host.process(uid_map=MAPPED).mounts(
        "/proc rw - proc proc rw", "/proc/kcore ro - tmpfs tmpfs rw", "/proc/acpi ro - tmpfs tmpfs rw"
    )
    found = host.why("fsmount", errno.EPERM, "proc", step="mount")
    assert "(/proc/kcore, /proc/acpi)" in found and "unmask=/proc/*" in found


def test_sysfs_of_another_network_namespace(host: FakeHost) -> None:
    host.process(uid_map=MAPPED)
    assert "owns the network namespace" in host.why("fsmount", errno.EPERM, "sysfs", step="mount")


def test_locked_flags(host: FakeHost) -> None:
    host.mounts("/ rw - ext4 /dev/vda rw", "/srv/my\\040data rw,nosuid,nodev - ext4 /dev/vdb rw")
    found = host.why("mount_setattr", errno.EPERM, "/data", step="bind", source="/srv/my data/x")
    assert found.startswith("/srv/my data on the host has the flags nodev,nosuid")


def test_a_read_only_file_system(host: FakeHost) -> None:
    host.mounts("/ rw - ext4 /dev/vda rw", "/images ro - squashfs /dev/loop0 ro")
    found = host.why("openat2", errno.EROFS, "/data", step="mount", source="/images/a/data")
    assert "(/images) is read-only and /data does not exist in it" in found
    assert "/proc/sys is read-only here" in host.why("write", errno.EROFS, "net/a", step="sysctl")


def test_too_few_descriptors(host: FakeHost) -> None:
    host.file(
        "/proc/self/limits", "Max open files            64                   64                   files\n"
    )
    assert "allows it 64 open files" in host.why("open", errno.EMFILE)
    assert "fs.file-max" in host.why("open", errno.ENFILE)


def test_an_unknown_file_system(host: FakeHost) -> None:
    host.file("/proc/filesystems", "nodev\ttmpfs\n\text4\n")
    found = host.why("fsopen", errno.ENODEV, "ext3", step="mount")
    assert "(there is: ext4)" in found and "modprobe ext3" in found


def test_security_modules(host: FakeHost) -> None:
    apparmor, selinux = "attr/apparmor/exec", "attr/exec"
    assert "AppArmor is not enabled" in host.why("openat2", errno.ENOENT, apparmor, step="proc_write")
    assert "SELinux is not enabled" in host.why("write", errno.EINVAL, selinux, step="proc_write")
    host.file("/sys/module/apparmor/parameters/enabled", "Y\n").file("/sys/fs/selinux/enforce", "1")
    assert "apparmor_parser" in host.why("write", errno.ENOENT, apparmor, step="proc_write")
    assert "ausearch" in host.why("write", errno.EINVAL, selinux, step="proc_write")
    host.file("/proc/self/attr/current", "confined_t\0")
    assert "security module (confined_t)" in host.why("openat2", errno.EACCES, "/x", step="mount")


def test_id_maps(host: FakeHost) -> None:
    assert "/proc/self/uid_map" in host.why("write", errno.EPERM, step="id maps")
    assert "ranges overlap" in host.why("write", errno.EINVAL, step="id maps")
    host.process(NONE)
    assert "/etc/subuid" in host.why("write", errno.EPERM, step="id maps")


def test_a_root_that_belongs_to_other_ids(host: FakeHost) -> None:
    found = host.why("openat2", errno.EACCES, "/data", step="mount", user_namespace=True)
    assert "the container's root may not make it" in found


@pytest.mark.parametrize(
    "number", [errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.EBUSY, errno.ENOSPC]
)
@pytest.mark.parametrize("call", ["mknodat", "move_mount", "setns", "write", "prctl", "sched_setattr"])
def test_where_nothing_is_seen_there_still_is_a_likely_remedy(host: FakeHost, call: str, number: int) -> None:
    assert host.why(call, number)


def test_a_kill_for_want_of_memory(tmp_path: Path) -> None:
    for limit, count in (("memory.limit_in_bytes", "memory.oom_control"), ("memory.max", "memory.events")):
        directory = tmp_path / limit
        directory.mkdir()
        (directory / limit).write_text("65536\n")
        (directory / count).write_text("low 0\noom_kill 0\n")
        assert death.look({"memory": str(directory)}, Host()) is None
        (directory / count).write_text("low 0\noom_kill 1\n")
        found = death.look({"memory": str(directory)}, Host())
        assert found and "OOM-killed" in found[0] and "64 KiB" in found[0]
        assert found[1] == "linux.resources.memory.limit"


def test_a_cgroup_without_a_limit_is_not_blamed(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.events").write_text("oom_kill 3\n")
    assert death.look({"": str(tmp_path)}, Host()) is None


def test_limits_name_what_the_parent_has(tmp_path: Path) -> None:
    (tmp_path / "cpuset.cpus").write_text("0-1\n")
    (tmp_path / "a").mkdir()
    assert "(0-1)" in limits.hint(f"{tmp_path}/a/cpuset.cpus", "7", errno.EINVAL)
    assert "at least 1000" in limits.hint(f"{tmp_path}/a/cpu.cfs_quota_us", "1", errno.EINVAL)
    assert "Delegate=yes" in limits.hint(f"{tmp_path}/a/pids.max", "1", errno.EACCES)
    (tmp_path / "a" / "memory.current").write_text("12345\n")
    assert "12345 bytes" in limits.hint(f"{tmp_path}/a/memory.max", "1", errno.EBUSY)
    assert limits.hint(f"{tmp_path}/a/pids.max", "1", errno.EIO) == ""
