"""Destinations of mounts: nothing outside the rootfs changes, wherever their links lead."""

from __future__ import annotations

import subprocess

import pytest

from tests.integration.harness import Container, Runtime, peers_differ
from tests.security.attack import (
    RACES,
    Treasure,
    add_mount,
    civil,
    exchanging,
    make,
    moving,
    own_directory,
    remove_deep,
    volume,
    without_mount,
)

# Where /link of the image leads; {out} is a directory of the host.
TARGETS = {
    "absolute": "{out}",
    "climbing": "../../../../../../../../../../../..{out}",
    "file outside": "{out}/file",
    "new outside": "{out}/new/deep",
    "root of the process": "/proc/self/root{out}",
    "its directory": "/proc/self/cwd",
    "its descriptor": "/proc/self/fd/3",
    "another's root": "/proc/1/root{out}",
    "its program": "/proc/self/exe",
    "the root": "/",
    "the parent": "..",
    "itself": "link",
    "nowhere": "nowhere/at/all",
    "up from nowhere": "nowhere/../../../../..{out}/new",
    "empty names": "////.//./{out}//",
    "long": "a/" * 2000 + "b",
}


def bind_directory(container: Container, path: str) -> None:
    add_mount(container, path, type="bind", source=str(volume(container.runtime)), options=["bind"])


def bind_file(container: Container, path: str) -> None:
    source = volume(container.runtime) / "file"
    add_mount(container, path, type="bind", source=str(source), options=["bind"])


def bind_below(container: Container, path: str) -> None:
    bind_directory(container, f"{path}/made/for/it")


def tmpfs(container: Container, path: str) -> None:
    add_mount(container, path, type="tmpfs", source="tmpfs")


def proc(container: Container, path: str) -> None:
    add_mount(container, path, type="proc", source="proc")


def mqueue(container: Container, path: str) -> None:
    add_mount(container, path, type="mqueue", source="mqueue")


def cgroup(container: Container, path: str) -> None:
    add_mount(container, path, type="cgroup", source="cgroup", options=["ro"])


def devpts(container: Container, path: str) -> None:
    add_mount(container, path, type="devpts", source="devpts", options=["newinstance"])


def device(container: Container, path: str) -> None:
    container.config["linux"]["devices"] = [{"path": f"{path}/node", "type": "c", "major": 1, "minor": 3}]


def device_itself(container: Container, path: str) -> None:
    container.config["linux"]["devices"] = [{"path": path, "type": "c", "major": 1, "minor": 3}]


def fifo(container: Container, path: str) -> None:
    container.config["linux"]["devices"] = [{"path": f"{path}/fifo", "type": "p"}]


def mask(container: Container, path: str) -> None:
    container.config["linux"]["maskedPaths"] = [path, f"{path}/file"]


def readonly(container: Container, path: str) -> None:
    container.config["linux"]["readonlyPaths"] = [path, f"{path}/file"]


def working_directory(container: Container, path: str) -> None:
    container.config["process"]["cwd"] = f"{path}/made"


OPERATIONS = [
    bind_directory,
    bind_file,
    bind_below,
    tmpfs,
    proc,
    mqueue,
    cgroup,
    devpts,
    device,
    device_itself,
    fifo,
    mask,
    readonly,
    working_directory,
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("target", TARGETS)
def test_a_link_of_the_image(runtime: Runtime, operation, target: str) -> None:  # type: ignore[no-untyped-def]
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    (container.rootfs / "link").symlink_to(TARGETS[target].format(out=treasure.directory))
    operation(container, "/link")
    civil(container.run())
    remove_deep(container)
    treasure.check()


DESTINATIONS = [
    "../../../../../../../..{out}",
    "/../../../../..{out}/new",
    "..",
    ".",
    "/",
    "a/../../../../../../../..{out}/new",
    "a/b/../../c",
    "//a///b//",
    "/./a/./",
    "a",
    "a/",
    "/proc/self/root{out}/new",
    "/proc/self/cwd/new",
    "/proc/self/fd/3/new",
    "/proc/1/cwd/../../new",
    "/dev/fd/3/new",
    "/sys/../../../..{out}/new",
    "{out}/new",
    "/" + "d" * 255,
    "/" + "d" * 256,
    "/" + "d/" * 2040,
    "/" + "d/" * 3000,
    "/a\\b",
    "/a b\tc",
    "/ä/€",
]


@pytest.mark.parametrize("kind", [bind_directory, bind_file, tmpfs], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("destination", DESTINATIONS, ids=range(len(DESTINATIONS)))
def test_a_strange_destination(runtime: Runtime, kind, destination: str) -> None:  # type: ignore[no-untyped-def]
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    kind(container, destination.format(out=treasure.directory))
    civil(container.run())
    remove_deep(container)
    treasure.check()


KINDS = [
    "file",
    "directory",
    "fifo",
    "socket",
    "dangling",
    "loop",
    "out",
    "null",
    "block",
    "no such device",
]


@pytest.mark.parametrize("operation", [bind_directory, bind_file, bind_below, tmpfs, device])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_already(runtime: Runtime, operation, kind: str) -> None:  # type: ignore[no-untyped-def]
    """No kind of file at a destination makes the runtime wait, or open it for more than its place."""
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    make(kind, container.rootfs / "place", treasure.directory)
    operation(container, "/place")
    civil(container.run())
    treasure.check()


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("var/run", "/run"),
        ("var/run", "../run"),
        ("deep/in/it", "../../run"),
        ("chain", "chain2/../chain2"),
        ("chain", "../../../../run"),
        ("chain", "/var/../run/."),
    ],
)
def test_ordinary_links_are_followed(runtime: Runtime, link: str, target: str) -> None:
    """Images have them: /var/run is a link to /run, in most with `..`."""
    container = runtime.sh("cat /run/place/file")
    (container.rootfs / "run").mkdir()
    (container.rootfs / "var").mkdir()
    (container.rootfs / "chain2").symlink_to("run")
    path = container.rootfs / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    bind_directory(container, f"/{link}/place")
    if link == "chain" and target.startswith("chain2"):
        container.config["process"]["args"][2] = "cat /chain2/place/file"
    assert container.run().ok().stdout == "of the volume\n"


@pytest.mark.parametrize(
    "option", ["bind", "rbind", "rbind,ro", "bind,rprivate", "rbind,rslave", "bind,nosuid"]
)
def test_a_source_that_is_a_link_is_the_hosts(runtime: Runtime, option: str) -> None:
    """The configuration is trusted: its sources are paths of the host, links of the host's and all."""
    container = runtime.sh("cat /place/file")
    source = volume(runtime)
    (runtime.tmp / "link").symlink_to(source.name)
    add_mount(container, "/place", type="bind", source=str(runtime.tmp / "link"), options=option.split(","))
    assert container.run().ok().stdout == "of the volume\n"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_a_destination_that_is_exchanged_meanwhile(runtime: Runtime, operation) -> None:  # type: ignore[no-untyped-def]
    """A second process that shares the volume swaps a directory and a link out of the root."""
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    shared = own_directory(container, "shared")
    (shared / "place").mkdir()
    (shared / "other").symlink_to(treasure.directory)
    operation(container, "/shared/place")
    with exchanging((shared / "place", shared / "other")):
        for _ in range(RACES):
            civil(container.run())
    treasure.check()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_a_parent_that_vanishes_meanwhile(runtime: Runtime, operation) -> None:  # type: ignore[no-untyped-def]
    """`..` after a directory that is taken away just then: it must not be the parent of the root."""
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    shared = own_directory(container, "shared")
    (shared / "sub").mkdir()
    (shared / "link").symlink_to("sub/../../../../escaped/here")
    operation(container, "/shared/link")
    with moving((shared / "sub", shared / "gone")):
        for _ in range(RACES):
            civil(container.run())
    treasure.check()
    assert not (container.bundle / "escaped").exists()
    assert not (runtime.tmp / "escaped").exists()


@pytest.mark.parametrize("name", ["dev", "proc", "sys", "etc", "tmp"])
def test_a_directory_of_the_image_that_is_a_link_out(runtime: Runtime, name: str) -> None:
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    make("out", container.rootfs / name, treasure.directory)
    if name == "tmp":
        tmpfs(container, "/tmp/inner")
    civil(container.run())
    treasure.check()


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
def test_the_same_without_the_mount_on_it(runtime: Runtime, name: str) -> None:
    """The runtime makes devices and links below /dev of the image itself."""
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    without_mount(container, f"/{name}")
    make("out", container.rootfs / name, treasure.directory)
    civil(container.run())
    treasure.check()


@pytest.mark.parametrize("propagation", ["", "rprivate"])
@pytest.mark.parametrize("spelling", ["/", "/.", "/tmp/..", "/link"])
def test_a_mount_on_the_root_is_the_root(runtime: Runtime, spelling: str, propagation: str) -> None:
    """All that comes later is on it, and what is below can't be reached."""
    peers_differ("crun", why="fails")
    container = runtime.sh("ls /; touch /new; ls /proc/self/cmdline /dev/null")
    (container.rootfs / "link").symlink_to("/")
    above = runtime.tmp / "above"
    subprocess.run(["cp", "-a", str(container.rootfs), str(above)], check=True)
    (above / "mark").touch()
    options = ["rbind", "ro", *[propagation] * bool(propagation)]
    mount = {"destination": spelling, "type": "bind", "source": str(above), "options": options}
    container.config["mounts"].insert(0, mount)
    result = container.run()
    assert "mark" in result.lines and "/proc/self/cmdline" in result.lines and "/dev/null" in result.lines
    assert "Read-only file system" in result.stderr
    assert not (container.rootfs / "new").exists() and not (above / "new").exists()


@pytest.mark.parametrize("key", ["readonlyPaths", "maskedPaths"])
def test_the_root_as_a_path_to_protect(runtime: Runtime, key: str) -> None:
    peers_differ("crun", "runc", why="it has no effect")
    container = runtime.sh("touch /new /dev/new /dev/shm/new; true")
    container.config["linux"][key] = ["/"]
    result = civil(container.run())
    if key == "readonlyPaths":
        assert result.stderr.count("Read-only file system") == 3
    else:
        assert result.status == 1  # there is no program
    assert not (container.rootfs / "new").exists()
