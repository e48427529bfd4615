"""What the tests of a hostile world are written in: things to protect, and who attacks them.

The property of most tests is the same: whatever the image, the configuration or a neighbour does, a call
ends in time, with success or one clear error, and nothing outside of the rootfs has changed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.integration.harness import Container, Result, Runtime, cgroups_of, marked, mounts_below

# How often a race is tried; `make torture` asks for more.
RACES = int(os.environ.get("PYRUNC_RACES", "8"))

# Two names are exchanged, or a name is moved to and fro, as fast as the kernel can.
_ATTACK = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
flags = int(sys.argv[1])
one, two = map(os.fsencode, sys.argv[2:])
while True:
    libc.renameat2(-100, one, -100, two, flags)
    libc.renameat2(-100, two, -100, one, flags)
"""
_MOVE, _EXCHANGE = 0, 2


class Treasure:
    """A directory of the host beside the bundle, and all of the bundle but its rootfs."""

    def __init__(self, container: Container) -> None:
        self.bundle = container.bundle
        self.directory = container.runtime.tmp / "outside"
        self.directory.mkdir()
        self.file = self.directory / "file"
        self.file.write_text("precious\n")
        (self.directory / "inner").mkdir()
        (self.directory / "null").write_text("precious too\n")
        container.write()
        container.output.touch()
        self.before = self._look()

    def _look(self) -> dict[str, object]:
        seen = {str(path): _facts(path) for path in [self.directory, *self.directory.rglob("*")]}
        for path in self.bundle.iterdir():
            if path.name not in ("rootfs", "output", "config.json"):
                seen[str(path)] = _facts(path)
        return seen

    def check(self) -> None:
        """Fails the test when something has changed."""
        after = self._look()
        assert after == self.before, set(after.items()) ^ set(self.before.items())


def _facts(path: Path) -> object:
    status = path.lstat()
    content: object = None
    if stat.S_ISREG(status.st_mode):
        content = path.read_bytes()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    return status.st_mode, status.st_uid, status.st_gid, status.st_rdev, content


def civil(result: Result) -> Result:
    """Itself, if the call ended in success or in an error that somebody thought of."""
    assert result.status >= 0, result
    assert result.status not in (134, 139), result
    for word in ("Traceback", "internal error", "panic"):
        assert word not in result.stderr, result
    assert result.status in (0, 137) or result.stderr or result.stdout, f"a failure without a word: {result}"
    return result


def nothing_left(container: Container) -> None:
    """Fails the test if a container that is gone has left something."""
    assert not (container.runtime.root / container.id).exists()
    assert cgroups_of(container.id) == []
    assert marked(container.id) == []
    assert mounts_below(container.runtime.tmp) == []


def exchanging(*pairs: tuple[Path, Path]) -> contextlib.AbstractContextManager[None]:
    """While the block runs, a process for each pair exchanges its two names without pause."""
    return _renaming(_EXCHANGE, pairs)


def moving(*pairs: tuple[Path, Path]) -> contextlib.AbstractContextManager[None]:
    """While the block runs, a process for each pair moves the first to the second name and back."""
    return _renaming(_MOVE, pairs)


@contextlib.contextmanager
def _renaming(flags: int, pairs: tuple[tuple[Path, Path], ...]) -> Iterator[None]:
    command = [sys.executable, "-c", _ATTACK, str(flags)]
    attackers = [subprocess.Popen([*command, str(one), str(two)]) for one, two in pairs]
    try:
        yield
    finally:
        for attacker in attackers:
            attacker.kill()
            attacker.wait()


def own_directory(container: Container, name: str) -> Path:
    """A directory of the rootfs as a real copy: the rest is hard links that other bundles share."""
    path = container.rootfs / name
    if path.is_symlink() or path.is_file():
        path.unlink()
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def make(kind: str, path: Path, treasure: Path | None = None) -> None:
    """A file of a kind at a path, in the place of what is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        path.write_text("content\n")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        _bind(path)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "out":
        assert treasure is not None
        path.symlink_to(treasure)
    elif kind in _NODES:
        os.mknod(path, *_NODES[kind])
    else:
        raise ValueError(kind)


_NODES = {
    "null": (stat.S_IFCHR | 0o666, os.makedev(1, 3)),
    "zero": (stat.S_IFCHR | 0o666, os.makedev(1, 5)),
    "no such device": (stat.S_IFCHR | 0o666, os.makedev(240, 7)),
    "block": (stat.S_IFBLK | 0o666, os.makedev(1, 3)),
}


def _bind(path: Path) -> None:
    """Through a descriptor: the path may be longer than a socket's name."""
    parent = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{parent}/{path.name}")
    finally:
        os.close(parent)


def remove_deep(container: Container) -> None:
    """Directories that are too deep for Python to remove."""
    subprocess.run(["rm", "-rf", str(container.rootfs)], check=True)


def add_mount(container: Container, destination: str, **mount: object) -> None:
    container.config["mounts"].append({"destination": destination, **mount})


def without_mount(container: Container, destination: str) -> None:
    mounts = container.config["mounts"]
    container.config["mounts"] = [m for m in mounts if not m["destination"].startswith(destination)]


def volume(runtime: Runtime, name: str = "volume") -> Path:
    """A directory of the host that a container gets as a volume."""
    path = runtime.tmp / name
    path.mkdir()
    (path / "file").write_text("of the volume\n")
    return path
