"""cgroups: paths, conversions, and the device program, without touching a cgroup."""

from __future__ import annotations

import errno
import os
import posix
import struct
import threading
from pathlib import Path

import pytest

from pyrunc import cgroup
from pyrunc.cgroup import base, devices, files, limits_v1, limits_v2
from pyrunc.cgroup.v1 import LegacyCgroup
from pyrunc.cgroup.v2 import UnifiedCgroup
from pyrunc.errors import Error
from pyrunc.mountinfo import Mount


@pytest.mark.parametrize(
    ("asked", "path"),
    [
        (None, "/id"),
        ("", "/id"),
        ("/a/b", "/a/b"),
        ("a//b/./c/", "/a/b/c"),
        ("s.slice:p:n", "/s.slice:p:n"),
    ],
)
def test_resolve(asked: str | None, path: str) -> None:
    assert cgroup.resolve(asked, "id") == path


@pytest.mark.parametrize("asked", ["..", "/a/../b", "/", "."])
def test_resolve_refuses(asked: str) -> None:
    with pytest.raises(Error) as caught:
        cgroup.resolve(asked, "id")
    assert caught.value.path == "linux.cgroupsPath"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_with_systemd_the_path_is_the_scopes(version: str) -> None:
    hierarchies = cgroup.Hierarchies(version, [(("freezer",), "/nowhere")])
    made = cgroup.make("a-b.slice:p:n", "id", systemd=True, hierarchies=hierarchies)
    assert (made.version, made.path, made.adopts()) == (version, "/a.slice/a-b.slice/p-n.scope", True)
    assert cgroup.restore(made.record()).path == made.path


def test_hierarchies_by_their_controllers() -> None:
    own = "9:name=systemd:/x\n2:cpu,cpuacct:/\n0::/\n"
    assert cgroup.parse_own(own) == [("name=systemd",), ("cpu", "cpuacct")]
    mount = Mount("32 31 0:29 / /cg/one rw,relatime - cgroup cgroup rw,cpuacct,cpu")
    assert cgroup.mounted([mount]) == {frozenset(("cpu", "cpuacct")): "/cg/one"}


def test_chain() -> None:
    assert files.chain("/m/a", "/m/a/b/c") == ["/m/a", "/m/a/b", "/m/a/b/c"]
    assert files.chain("", "/m/a") == []


@pytest.mark.parametrize(
    ("shares", "weight"),
    [(2, 1), (3, 2), (10, 4), (100, 17), (256, 35), (512, 59), (1000, 99), (1024, 100)]
    + [(2048, 174), (4096, 303), (10240, 639), (65536, 3023), (102400, 4429), (262144, 10000)],
)
def test_cpu_weight(shares: int, weight: int) -> None:
    assert limits_v2.cpu_weight(shares) == weight


def test_other_conversions() -> None:
    assert [limits_v2.io_weight(w) for w in (10, 100, 500, 1000)] == [1, 910, 4950, 10000]
    assert limits_v2.cpu_max(-1, 0) == "max 100000"
    assert limits_v2.cpu_max(5000, 10000) == "5000 10000"
    assert limits_v2.swap_max(100, 100) == "0"
    assert limits_v2.swap_max(100, -1) == "max"
    for limit, swap in ((0, 5), (10, 5)):
        with pytest.raises(Error):
            limits_v2.swap_max(limit, swap)


def test_impossible_settings() -> None:
    with pytest.raises(Error) as caught:
        limits_v2.refuse_impossible({"memory": {"kernel": 1}})
    assert caught.value.path == "linux.resources.memory.kernel"
    with pytest.raises(Error, match="hugetlb"):
        limits_v1.refuse_impossible({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}, {})
    with pytest.raises(Error, match="unified"):
        limits_v1.refuse_impossible({"unified": {"cpu.max": "1"}}, {})


def decide(program: bytes, kind: str, access: str, major: int, minor: int) -> int:
    """Run the program as the kernel would."""
    bits = sum({"m": 1, "r": 2, "w": 4}[a] for a in access)
    context = [({"b": 1, "c": 2}[kind]) | bits << 16, major, minor]
    code = [struct.unpack_from("<BBhi", program, at) for at in range(0, len(program), 8)]
    register = [0] * 11
    at = 0
    while True:
        op, registers, offset, value = code[at]
        to, source = registers & 15, registers >> 4
        at += 1
        if op == 0x95:
            return register[0]
        if op == 0x61:
            register[to] = context[offset // 4]
        elif op == 0xB7:
            register[to] = value
        elif op == 0xBF:
            register[to] = register[source]
        elif op == 0x57:
            register[to] &= value & 0xFFFFFFFFFFFFFFFF
        elif op == 0x77:
            register[to] >>= value
        elif op == 0x55:
            at += offset if register[to] != value else 0
        elif op == 0x15:
            at += offset if register[to] == value else 0
        else:
            raise AssertionError(f"opcode {op:#x}")


def test_devices_program() -> None:
    rules = devices.rules(
        [
            {"allow": True, "type": "c", "major": 7, "minor": 7},  # void: all denied after it
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"},
            {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "w"},
            {"allow": True, "type": "b", "major": 8, "access": "rwm"},
            {"allow": False, "type": "b", "major": 8, "minor": 1, "access": "w"},
        ]
    )
    program = devices.devices_program(rules)
    assert decide(program, "c", "rw", 10, 229) == 1  # two rules together
    assert decide(program, "c", "r", 10, 228) == 0
    assert decide(program, "c", "m", 10, 228) == 1
    assert decide(program, "c", "rw", 7, 7) == 0
    assert decide(program, "b", "rw", 8, 0) == 1
    assert decide(program, "b", "rw", 8, 1) == 0
    assert decide(program, "b", "r", 8, 1) == 1
    assert decide(program, "b", "r", 1, 3) == 0
    assert decide(program, "c", "rw", 1, 3) == 1
    assert decide(program, "c", "rw", 136, 99) == 1


@pytest.mark.spec("linux.resources.devices")
def test_device_rules() -> None:
    assert devices.rules([]) == []
    everything = devices.rules([{"allow": True, "access": "rwm"}])
    assert devices.allows_all(everything)
    assert devices.devices_program(everything)[-16:] == bytes.fromhex("b70000000100000095" + "00" * 7)
    assert devices.line(everything[0]) == "a"
    assert devices.line((True, "c", 136, -1, "rwm")) == "c 136:* rwm"
    both = devices.rules([{"allow": False, "type": "a", "major": 5, "access": "r"}])
    assert both[:2] == [(False, "c", 5, -1, "r"), (False, "b", 5, -1, "r")]


def test_a_path_whose_files_could_not_be_named_is_refused() -> None:
    with pytest.raises(Error, match="not a place for a container"):
        cgroup.resolve("/x" * 2100, "id")


def test_a_parent_that_another_container_takes_away_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who had made it ends just now; in the next moment it is there again, and ours in it."""
    parent = tmp_path / "parent"
    parent.mkdir()
    real, taken = posix.mkdir, []

    def mkdir(directory: str, mode: int) -> None:
        if not taken:
            taken.append(directory)
            parent.rmdir()
        real(directory, mode)

    monkeypatch.setattr(posix, "mkdir", mkdir)
    assert files.make_directory(str(parent / "ours"), str(tmp_path))
    assert (parent / "ours").is_dir() and taken


def hierarchy(path: Path) -> str:
    """A directory that looks like the root of one."""
    path.mkdir()
    for name in ("cgroup.controllers", "cgroup.subtree_control"):
        (path / name).touch()
    return str(path)


def test_a_cgroup_that_another_container_has_made_meanwhile_is_not_ours_to_undo(tmp_path: Path) -> None:
    unified = UnifiedCgroup.plan("/a", hierarchy(tmp_path / "unified"))
    (tmp_path / "unified/a").mkdir()
    with pytest.raises(base.Taken) as caught:
        unified.create({})
    assert caught.value.ours == {"driver": "none", "version": "v2"}


def test_what_is_ours_of_a_cgroup_that_another_container_has_made_meanwhile(tmp_path: Path) -> None:
    mounts = [(("freezer",), hierarchy(tmp_path / "freezer")), (("pids",), hierarchy(tmp_path / "pids"))]
    legacy = LegacyCgroup.plan("/a", mounts)
    (tmp_path / "pids/a").mkdir()
    with pytest.raises(base.Taken) as caught:
        legacy.create({})
    ours = cgroup.restore(caught.value.ours)
    assert ours.made_directories() == [(str(tmp_path / "freezer/a"), str(tmp_path / "freezer/a"))]


def test_a_threaded_cgroup_has_processes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its list has threads only, and a pidfd is had of processes only."""
    end = threading.Event()
    other = threading.Thread(target=end.wait)
    other.start()

    def read(file: str) -> str:
        if file.endswith("/cgroup.procs"):
            raise OSError(errno.EOPNOTSUPP, "")
        return f"{other.native_id}\n{os.getpid()}\n{1 << 22}\n0\n"

    monkeypatch.setattr(files, "read", read)
    found = files.pids("/threaded")
    end.set()
    assert found == [os.getpid(), 0]


def test_no_cgroup_is_made_outside_of_its_hierarchy(tmp_path: Path) -> None:
    """The hierarchy may have been unmounted meanwhile."""
    with pytest.raises(Error, match="cannot make cgroup"):
        files.make_directory(str(tmp_path / "gone" / "ours"), str(tmp_path / "gone"))
    assert not (tmp_path / "gone").exists()
