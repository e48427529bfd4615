"""What the runtime makes in the rootfs before the pivot, and what it takes for standard streams."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path

import pytest

from tests.integration.harness import Container, Runtime, peers_differ
from tests.security.attack import (
    RACES,
    Treasure,
    add_mount,
    civil,
    exchanging,
    make,
    nothing_left,
    own_directory,
    volume,
    without_mount,
)

DEFAULTS = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
WRONG = ["file", "directory", "fifo", "socket", "out", "dangling", "loop", "block", "no such device"]


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", DEFAULTS)
def test_a_default_device_that_is_something_else(runtime: Runtime, name: str, kind: str) -> None:
    """Either it is refused, or the container has the real one. What the image's leads to is untouched."""
    container = runtime.sh(f"stat -c %t:%T /dev/{name}; stat -c %F /dev/{name}")
    without_mount(container, "/dev")
    treasure = Treasure(container)
    own_directory(container, "dev")
    make(kind, container.rootfs / "dev" / name, treasure.file)
    answer = civil(container.run())
    if answer.status == 0:
        assert answer.lines == [DEFAULTS[name], "character special file"]
    treasure.check()


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_default_device_that_is_there_already(runtime: Runtime, name: str) -> None:
    container = runtime.sh(f"stat -c %t:%T:%F /dev/{name}")
    without_mount(container, "/dev")
    own_directory(container, "dev")
    major, minor = map(int, DEFAULTS[name].split(":"))
    os.mknod(container.rootfs / "dev" / name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    assert container.run().ok().stdout == f"{DEFAULTS[name]}:character special file\n"


@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "out", "dangling", "loop", "null"])
@pytest.mark.parametrize("name", ["ptmx", "fd", "stdin", "stdout", "stderr", "console", "core"])
def test_a_link_of_dev_that_is_something_else(runtime: Runtime, name: str, kind: str) -> None:
    container = runtime.sh("echo ran")
    without_mount(container, "/dev")
    add_mount(container, "/dev/pts", type="devpts", source="devpts", options=["newinstance"])
    treasure = Treasure(container)
    own_directory(container, "dev")
    make(kind, container.rootfs / "dev" / name, treasure.file)
    civil(container.run())
    treasure.check()


@pytest.mark.parametrize("kind", ["directory", "out"])
def test_dev_is_exchanged_meanwhile(runtime: Runtime, kind: str) -> None:
    """Devices and links are made by name below /dev: none of them outside of the root."""
    container = runtime.container("/bin/true")
    without_mount(container, "/dev")
    treasure = Treasure(container)
    make("directory", container.rootfs / "dev")
    make(kind, container.rootfs / "dev.other", treasure.directory)
    with exchanging((container.rootfs / "dev", container.rootfs / "dev.other")):
        for _ in range(RACES):
            civil(container.run())
    treasure.check()


def test_dev_that_is_a_volume_with_links_out(runtime: Runtime) -> None:
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    shared = volume(runtime)
    for name in ("null", "console", "ptmx", "fd", "stdin"):
        (shared / name).symlink_to(treasure.file)
    without_mount(container, "/dev")
    add_mount(container, "/dev", type="bind", source=str(shared), options=["bind"])
    civil(container.run())
    treasure.check()
    assert os.readlink(shared / "null") == str(treasure.file)


CLOSED = [combination for size in (1, 2, 3) for combination in itertools.combinations((0, 1, 2), size)]


def closing(fds: tuple[int, ...]) -> tuple[str, ...]:
    """A command that runs its arguments without these standard streams."""
    redirections = " ".join(f"{fd}>&-" if fd else "0<&-" for fd in fds)
    return ("sh", "-c", f'exec "$@" {redirections}', "sh")


_LIST = "for fd in /proc/self/fd/*; do echo $fd $(readlink $fd); done > /seen 2> /dev/null"


def streams(container: Container) -> dict[int, str]:
    """What the container saw at its descriptors, but for the directory that was listed."""
    seen = {}
    for line in (container.rootfs / "seen").read_text().splitlines():
        fd, _, target = line.partition(" ")
        if target:  # else it was the shell's own, for a moment
            seen[int(fd.rpartition("/")[2])] = target
    return seen


@pytest.mark.parametrize("fds", CLOSED, ids=str)
@pytest.mark.parametrize("verb", ["run", "create", "exec"])
def test_a_closed_standard_stream(runtime: Runtime, verb: str, fds: tuple[int, ...]) -> None:
    """What is not open at 0, 1 and 2 is not given a file of the runtime's, nor of the host's."""
    peers_differ("runc", "crun", why="hand a directory of the host to the container, or crash")
    container = runtime.sh(_LIST if verb != "exec" else "exec sleep 100")
    prefix = closing(fds)
    container.write()
    arguments = ["--bundle", str(container.bundle), container.id]
    if verb == "run":
        civil(runtime("run", *arguments, prefix=prefix))
    elif verb == "create":
        civil(runtime("create", *arguments, prefix=prefix))
        container.start().ok()
        container.wait()
    else:
        container.started()
        civil(runtime("exec", container.id, "/bin/sh", "-c", _LIST, prefix=prefix))
    for fd, target in streams(container).items():
        assert fd < 3 or target.startswith(("/proc/", "/seen")), (fd, target)
        assert not target.startswith(("/sys", "/run", "/root")), (fd, target)


@pytest.fixture(params=["null", "zero", "file", "fifo"])
def stream(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    path = tmp_path / "stream"
    make(request.param, path)
    return request.param, path


@pytest.mark.parametrize("terminal", [False, True])
def test_standard_input_stays_its_owners(runtime: Runtime, stream: tuple[str, Path], terminal: bool) -> None:
    """A device that the caller has as standard stream is the host's; and so is a file that is only read."""
    peers_differ("crun", "runc", why="give it to the container's user")
    kind, path = stream
    if kind == "fifo" and terminal:
        path.unlink()
        make("block", path)
    container = runtime.container("/bin/true")
    container.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    flags = os.O_RDWR if kind in ("null", "zero") else os.O_RDONLY | os.O_NONBLOCK
    try:
        fd = os.open(path, flags)
    except OSError:
        pytest.skip("this kernel has no such block device")
    try:
        container.write()
        runtime("run", "--bundle", str(container.bundle), container.id, stdin=fd)
    finally:
        os.close(fd)
    if kind != "fifo":
        assert path.stat().st_uid == 0


@pytest.mark.parametrize("name", ["null", "zero", "full"])
def test_standard_output_that_is_a_device_stays_its_owners(
    runtime: Runtime, tmp_path: Path, name: str
) -> None:
    peers_differ("crun", why="gives it to the container's user")
    container = runtime.container("/bin/true")
    container.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    container.write()
    node = tmp_path / name
    major, minor = map(int, DEFAULTS[name].split(":"))
    os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    node.chmod(0o666)
    with node.open("wb") as output:
        runtime("run", "--bundle", str(container.bundle), container.id, stdout=output)
    assert (node.stat().st_uid, node.stat().st_mode & 0o777) == (0, 0o666)


@pytest.mark.parametrize("name", ["hosts", "resolv.conf", "hostname"])
@pytest.mark.parametrize("kind", ["file", "out", "fifo", "dangling", "loop", "null"])
def test_files_that_engines_bind(runtime: Runtime, name: str, kind: str) -> None:
    container = runtime.sh(f"cat /etc/{name} || true")
    treasure = Treasure(container)
    own_directory(container, "etc")
    make(kind, container.rootfs / "etc" / name, treasure.file)
    source = volume(runtime) / "file"
    add_mount(container, f"/etc/{name}", type="bind", source=str(source), options=["bind", "ro"])
    answer = civil(container.run())
    if answer.status == 0:
        assert answer.stdout == "of the volume\n"
    treasure.check()


@pytest.mark.parametrize("device", ["/dev/sub/dir/x", "/etc/../dev/x", "/x", "//dev//x", "/dev/./x"])
def test_devices_in_odd_places(runtime: Runtime, device: str) -> None:
    container = runtime.sh(f"stat -c %t:%T {device}")
    treasure = Treasure(container)
    container.config["linux"]["devices"] = [{"path": device, "type": "c", "major": 1, "minor": 3}]
    assert civil(container.run()).stdout in ("1:3\n", "")
    treasure.check()


@pytest.mark.parametrize("device", ["/..", "/.", "/", "/dev/..", "/dev/.", "dev/x", "../../x", ""])
def test_devices_without_a_name(runtime: Runtime, device: str) -> None:
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    container.config["linux"]["devices"] = [{"path": device, "type": "c", "major": 1, "minor": 3}]
    civil(container.run())
    nothing_left(container)
    treasure.check()


def test_a_copy_of_a_file_with_holes_has_them_too(runtime: Runtime) -> None:
    """64 GiB that take no room in the image would fill the memory of the host."""
    peers_differ("runc", "crun", why="copy the holes, or know no tmpcopyup")
    container = runtime.sh("stat -c %s /d/f; head -c 5 /d/f; tail -c 5 /d/f; du -k /d/f")
    own_directory(container, "d")
    size = 64 << 30
    with (container.rootfs / "d" / "f").open("wb") as file:
        file.write(b"first")
        file.seek(size - 5)
        file.write(b" last")
    options = ["tmpcopyup", "size=1m"]
    mount = {"destination": "/d", "type": "tmpfs", "source": "tmpfs", "options": options}
    container.config["mounts"].append(mount)
    total, rest = container.run(timeout=20).ok().lines
    assert total == str(size)
    assert rest.startswith("first last") and int(rest.split()[1].removeprefix("last")) <= 64


@pytest.mark.parametrize("kind", ["fifo", "out", "directory"])
def test_a_copy_of_what_is_exchanged_meanwhile(runtime: Runtime, kind: str) -> None:
    peers_differ("runc", "crun", why="know no tmpcopyup, or wait")
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    directory = own_directory(container, "d")
    (directory / "f").write_text("x")
    make(kind, container.rootfs / "other", treasure.file)
    mount = {"destination": "/d", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    container.config["mounts"].append(mount)
    with exchanging((directory / "f", container.rootfs / "other")):
        for _ in range(RACES):
            civil(container.run(timeout=20))
    treasure.check()


@pytest.mark.parametrize("spelling", ["/dev", "/dev/", "//dev", "/dev/.", "/./dev", "/tmp/../dev"])
def test_a_dev_of_the_hosts_is_left_as_it_is(runtime: Runtime, spelling: str) -> None:
    """Bound there, it is the host's: nothing is made in it, and no device of it changes its owner."""
    peers_differ("crun", "runc", why="look at the spelling")
    container = runtime.container("/bin/true")
    without_mount(container, "/dev")
    source = volume(runtime)
    os.mkfifo(source / "null")
    before = sorted(os.listdir(source))
    add_mount(container, spelling, type="bind", source=str(source), options=["bind"])
    civil(container.run()).ok()
    assert sorted(os.listdir(source)) == before
