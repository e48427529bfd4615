"""What a start does, from strace: no path of the rootfs twice, and nothing that the plan doesn't name."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.integration.harness import Container, Runtime, peers_differ

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")

# `1234  openat(3, "x", O_RDONLY) = 4` or, begun in another line, `<... openat resumed>`. Pids are padded.
_LINE = re.compile(r"^(\d+) +(\w+)\((.*)$")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
# Calls whose strings are paths.
_PATHS = re.compile(
    r"^(open|openat|openat2|open_tree|move_mount|mount|umount2|mkdir|mkdirat|mknod|mknodat|unlink|unlinkat|rmdir|"
    r"rename|renameat|renameat2|link|linkat|symlink|symlinkat|readlink|readlinkat|chmod|fchmodat|chown|lchown|"
    r"fchownat|stat|lstat|newfstatat|statx|access|faccessat|faccessat2|chdir|chroot|execve|statfs|truncate)$"
)


class Call:
    def __init__(self, pid: str, name: str, rest: str) -> None:
        self.pid, self.name, self.rest = pid, name, rest
        self.strings = _STRING.findall(rest)

    @property
    def fails(self) -> bool:
        return " = -1 " in self.rest

    def __repr__(self) -> str:
        return f"{self.pid} {self.name}({self.rest}"


def trace(container: Container) -> list[Call]:
    """The calls with paths of one run, up to the execve of the user's program."""
    runtime = container.runtime
    file = runtime.tmp / "trace"
    container.run(prefix=("strace", "-f", "-s", "4096", "-o", str(file))).ok()
    calls = []
    for line in file.read_text(errors="replace").splitlines():
        found = _LINE.match(line)
        if not found:
            continue
        call = Call(*found.groups())
        if call.name == "execve" and call.strings[0] == "/bin/true":
            break
        if _PATHS.match(call.name):
            calls.append(call)
    assert len(calls) > 50, "no trace"
    return calls


@pytest.fixture
def container(runtime: Runtime) -> Container:
    """One with something of everything."""
    container = runtime.container("/bin/true")
    (container.rootfs / "link").symlink_to("tmp")
    source = runtime.tmp / "source"
    source.mkdir()
    linux = container.config["linux"]
    linux["maskedPaths"] = ["/proc/kcore", "/etc/group", "/nowhere"]
    linux["readonlyPaths"] = ["/proc/sys", "/etc"]
    linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    linux["devices"] = [{"path": "/dev/more/zero", "type": "c", "major": 1, "minor": 5}]
    for destination in ("/made/for/it", "/link/inner"):
        mount = {"destination": destination, "type": "bind", "source": str(source), "options": ["bind", "ro"]}
        container.config["mounts"].append(mount)
    container.config["process"]["cwd"] = "/tmp"
    return container


def test_a_path_of_the_rootfs_is_named_once(container: Container) -> None:
    """That one is the opening of the root itself."""
    peers_differ("runc", "crun", why="name such paths several times")
    root = str(container.rootfs)
    named = [call for call in trace(container) if any(text.startswith(root) for text in call.strings)]
    assert len(named) <= 1, named
    assert all(call.strings == [root] for call in named)


# What is named beside the container's own, and why.
_HOST = (
    "/proc/self/",  # our own: cgroups, signals, descriptors, program
    "/sys/fs/cgroup",  # the container's cgroups
    "/usr/",  # the interpreter, its libraries, where no snapshot is
    "/lib",
    "/etc/ld.so",
    "/etc/localtime",
    "/dev/null",
)


def test_nothing_is_opened_that_the_plan_does_not_name(container: Container) -> None:
    peers_differ("runc", "crun", why="read more of the host")
    runtime = container.runtime
    allowed = [*_HOST, str(runtime.root), f"{container.bundle}/config.json", str(container.rootfs)]
    allowed += [mount.get("source", "-") for mount in container.config["mounts"]]
    calls = trace(container)
    own = str(Path(shutil.which("python3") or "/usr/bin/python3").parent)
    package = [text for call in calls for text in call.strings if "/site-packages/" in text]
    for call in calls:
        for text in call.strings:
            absolute = text.startswith("/") and "AT_FDCWD" in call.rest.split('"')[0]
            by_path = text.startswith("/") and not call.rest.startswith(("AT_FDCWD", *"0123456789"))
            if not (absolute or by_path) or call.fails or text in package or text.startswith(own):
                continue
            if (
                text in ("/", "/bin/true")
                or re.match(r"/proc/\d+/", text)
                or ".venv" in text
                or call.name == "execve"
            ):
                continue
            assert text.startswith(tuple(allowed)), call


def test_a_name_in_the_rootfs_is_resolved_in_the_root(container: Container) -> None:
    """By openat2 with RESOLVE_IN_ROOT and without magic links, or as one name below an open directory."""
    peers_differ("runc", "crun", why="have other ways")
    calls = trace(container)
    opening = next(i for i, c in enumerate(calls) if c.strings == [str(container.rootfs)])
    init = calls[opening].pid
    for call in calls[opening + 1 :]:
        if call.pid != init or call.name in ("open_tree", "move_mount", "umount2", "chdir", "chroot"):
            continue
        if call.name == "openat2" and re.fullmatch(r"\d+/fd/\d+", call.strings[0]):
            continue  # our own descriptor, by the verified procfs: to read what was looked at before
        if call.name == "openat2":
            assert "RESOLVE_IN_ROOT" in call.rest or "RESOLVE_BENEATH" in call.rest, call
            assert "RESOLVE_NO_MAGICLINKS" in call.rest or "RESOLVE_NO_SYMLINKS" in call.rest, call
        elif call.name in ("newfstatat", "faccessat2"):
            assert call.strings in (["/bin/true"], [""]), call  # what execve looks at, after the pivot
        else:
            names = call.strings[-1:]
            assert all("/" not in name for name in names), call


@pytest.mark.parametrize("destination", ["/a/b/c", "/tmp/x", "/link/x", "/etc/group"])
def test_a_destination_is_resolved_once(runtime: Runtime, destination: str) -> None:
    peers_differ("runc", "crun", why="resolve it several times")
    container = runtime.container("/bin/true")
    (container.rootfs / "link").symlink_to("tmp")
    source = runtime.tmp / "source"
    source.write_text("x")
    mount = {"destination": destination, "type": "bind", "source": str(source), "options": ["bind"]}
    container.config["mounts"].append(mount)
    calls = [call for call in trace(container) if destination in call.strings and not call.fails]
    assert len(calls) <= 1, calls
