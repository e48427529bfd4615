"""A program that can't be executed: what a look at its file, inside the container's root, finds."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrunc.explain import executable


@pytest.fixture
def root(tmp_path: Path) -> Iterator[executable.Root]:
    (tmp_path / "bin").mkdir()
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield executable.Root(fd, "x86_64")
    os.close(fd)


def program(tmp_path: Path, content: bytes, mode: int = 0o755, name: str = "program") -> None:
    file = tmp_path / name
    file.write_bytes(content)
    file.chmod(mode)


def elf(machine: int = 62, loader: bytes = b"") -> bytes:
    """A 64-bit little-endian ELF header, with a PT_INTERP if there is a loader."""
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    )
    size = len(loader) + 1
    return (
        header + struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, size, size, 1) + loader + b"\0"
        if loader
        else header
    )


@pytest.mark.parametrize(
    ("content", "number", "words"),
    [
        (b"#!/no/such/sh\n", errno.ENOENT, "interpreter /no/such/sh does not exist"),
        (b"#!/bin/sh\r\necho\r\n", errno.ENOENT, "CRLF"),
        (b"#!/bin/sh -e\r\n", errno.ENOENT, "CRLF"),
        (b"#!\n", errno.ENOEXEC, "without an interpreter"),
        (b"#!bin/sh\n", errno.ENOENT, "not an absolute path"),
        (elf(183), errno.ENOEXEC, "for aarch64, this host is x86_64"),
        (elf(183), errno.ENOEXEC, "linux/amd64"),
        (elf(4711), errno.ENOEXEC, "for machine 4711"),
        (elf(loader=b"/lib/ld-musl-x86_64.so.1"), errno.ENOENT, "/lib/ld-musl-x86_64.so.1 does not exist"),
        (elf()[:20], errno.ENOEXEC, "cut off"),
        (b"echo hello\n", errno.ENOEXEC, "no #!"),
        (b"", errno.ENOEXEC, "empty"),
        (b"MZ\0\0", errno.ENOEXEC, "another system"),
    ],
)  # fmt: skip
def test_content(root: executable.Root, tmp_path: Path, content: bytes, number: int, words: str) -> None:
    program(tmp_path, content)
    assert words in executable.look(root, "/program", number)


def test_an_interpreter_that_itself_lacks_its_loader(root: executable.Root, tmp_path: Path) -> None:
    program(tmp_path, elf(loader=b"/lib64/ld-linux-x86-64.so.2"), name="bin/python")
    program(tmp_path, b"#!/bin/python\n")
    found = executable.look(root, "/program", errno.ENOENT)
    assert "/bin/python" in found and "/lib64/ld-linux-x86-64.so.2" in found


def test_no_x_bit(root: executable.Root, tmp_path: Path) -> None:
    program(tmp_path, b"#!/bin/sh\n", mode=0o644)
    assert "no x bit (mode 0644)" in executable.look(root, "/program", errno.EACCES)


def test_a_directory(root: executable.Root) -> None:
    assert "is a directory" in executable.look(root, "/bin", errno.EACCES)


def test_a_pipe_is_not_opened(root: executable.Root, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "program")
    assert "not a regular file" in executable.look(root, "/program", errno.EACCES)


def test_a_dangling_link(root: executable.Root, tmp_path: Path) -> None:
    (tmp_path / "program").symlink_to("/usr/bin/gone")
    assert "link to /usr/bin/gone" in executable.look(root, "/program", errno.ENOENT)


def test_links_in_a_circle(root: executable.Root, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "circle" in executable.look(root, "/a", errno.ELOOP)


def test_a_missing_directory_is_told_from_a_missing_file(root: executable.Root, tmp_path: Path) -> None:
    assert "has /bin, but not /bin/app" in executable.look(root, "/bin/app", errno.ENOENT)
    program(tmp_path, b"")
    assert "/program is a file" in executable.look(root, "/program/app", errno.ENOTDIR)


def test_a_link_does_not_lead_to_the_host(root: executable.Root, tmp_path: Path) -> None:
    (tmp_path / "program").symlink_to("../../../../../../../../../../../bin/sh")
    assert "which does not exist in the container" in executable.look(root, "/program", errno.ENOENT)


def test_a_name_that_path_does_not_reach(root: executable.Root, tmp_path: Path) -> None:
    (tmp_path / "usr" / "local" / "bin").mkdir(parents=True)
    program(tmp_path, b"", name="usr/local/bin/tool")
    assert "it is in /usr/local/bin" in executable.elsewhere(root, "tool", "/bin")
    (tmp_path / "bin" / "link").symlink_to("/opt/gone")
    assert "/bin/link is a link to /opt/gone" in executable.elsewhere(root, "link", "/bin")
    assert "PATH is empty" in executable.elsewhere(root, "nothing", "")
    assert "element of its own" in executable.elsewhere(root, "ls -l", "/bin")
    assert "PATH is /bin" in executable.elsewhere(root, "nothing", "/bin")
