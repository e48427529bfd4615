"""The mounts of a process, however the kernel hands them out."""

from __future__ import annotations

import posix
from pathlib import Path

import pytest

from pyrunc import mountinfo
from pyrunc.explain.host import Host
from pyrunc.mountinfo import Mount

LINE = "{} 1 0:1 / {} rw,nosuid shared:1 - ext4 /dev/sda {}\n"


def test_a_long_table_comes_in_several_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel gives whole records, of a page at most, and not as much as is asked for."""
    table = "".join(LINE.format(number, f"/{number}", "rw") for number in range(60))
    (tmp_path / "mountinfo").write_text(table)
    read = posix.read
    monkeypatch.setattr(posix, "read", lambda fd, size: read(fd, min(size, 1000)))
    assert [mount.point for mount in mountinfo.read(str(tmp_path))] == [f"/{number}" for number in range(60)]


def test_a_name_may_be_of_any_bytes(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    line = LINE.format(1, "/a\\040b\\134040\udcff", "rw").encode("utf-8", "surrogateescape")
    (tmp_path / "proc/self/mountinfo").write_bytes(line)
    assert [mount.point for mount in Host(root=str(tmp_path)).mounts()] == ["/a b\\040\udcff"]


@pytest.mark.parametrize(("of_file_system", "read_only"), [("rw,size=5k", False), ("ro,size=5k", True)])
def test_a_mount_of_a_read_only_file_system_is_read_only(of_file_system: str, read_only: bool) -> None:
    mount = Mount(LINE.format(7, "/a", of_file_system).rstrip("\n"))
    assert (mount.id, mount.type, "ro" in mount.options) == (7, "ext4", read_only)
    assert mount.super_options == of_file_system.split(",")
