"""maskedPaths and readonlyPaths: made of objects of the runtime's own, and over all that lies below."""

from __future__ import annotations

import pytest

from tests.integration.harness import Runtime, peers_differ
from tests.security.attack import (
    RACES,
    Treasure,
    add_mount,
    civil,
    exchanging,
    make,
    own_directory,
    volume,
    without_mount,
)

KINDS = ["file", "directory", "fifo", "socket", "out", "dangling", "loop", "zero", "block"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dev", ["of the image", "a tmpfs"])
def test_a_mask_is_not_made_of_the_containers_null(runtime: Runtime, kind: str, dev: str) -> None:
    """CVE-2025-31133: /dev/null of the image was bound over what had to be hidden."""
    container = runtime.sh("head -c 100 /secret; echo x > /secret || true; stat -c %s /secret")
    treasure = Treasure(container)
    (container.rootfs / "secret").write_text("the secret\n")
    if dev == "of the image":
        without_mount(container, "/dev")
        own_directory(container, "dev")
        make(kind, container.rootfs / "dev" / "null", treasure.file)
    else:
        shared = volume(runtime)
        make(kind, shared / "null", treasure.file)
        source = shared / "null"
        if kind not in ("dangling", "loop"):
            add_mount(container, "/dev/null", type="bind", source=str(source), options=["bind"])
    container.config["linux"]["maskedPaths"] = ["/secret"]
    answer = civil(container.run())
    assert "the secret" not in answer.stdout and "precious" not in answer.stdout
    if answer.status == 0:
        assert answer.lines[-1] == "0"
    treasure.check()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_mask_hides(runtime: Runtime, kind: str) -> None:
    """Whatever it is, nothing of it is to be read or written."""
    container = runtime.sh("cat /hidden 2>/dev/null; ls /hidden 2>/dev/null; echo x > /hidden; true")
    treasure = Treasure(container)
    make(kind, container.rootfs / "hidden", treasure.file)
    container.config["linux"]["maskedPaths"] = ["/hidden"]
    if kind in ("fifo", "dangling"):
        container.config["process"]["args"][2] = "stat -c %F /hidden || true"
    answer = civil(container.run())
    assert "content" not in answer.stdout and "precious" not in answer.stdout
    if kind == "fifo":
        assert answer.stdout == "regular empty file\n"
    treasure.check()


@pytest.mark.parametrize(
    "path", ["/link", "/link/file", "/chain", "/dir/../link/file", "/dir/./up/real/file"]
)
def test_a_mask_at_the_end_of_a_link(runtime: Runtime, path: str) -> None:
    container = runtime.sh("cat /real/file 2>/dev/null; cat /link/file 2>/dev/null; true")
    (container.rootfs / "real").mkdir()
    (container.rootfs / "real" / "file").write_text("the secret\n")
    (container.rootfs / "dir").mkdir()
    (container.rootfs / "dir" / "up").symlink_to("..")
    (container.rootfs / "link").symlink_to("/real")
    (container.rootfs / "chain").symlink_to("../../../link/../real/file")
    container.config["linux"]["maskedPaths"] = [path]
    assert "the secret" not in civil(container.run()).stdout


@pytest.mark.parametrize("script", ["echo x > /f", "rm /f", "mv /f /g", "chmod 777 /f", "truncate -s 9 /f"])
def test_a_masked_file_can_not_be_brought_back(runtime: Runtime, script: str) -> None:
    container = runtime.sh(f"{script} 2>/dev/null; cat /f")
    (container.rootfs / "f").write_text("the secret\n")
    container.config["linux"]["maskedPaths"] = ["/f"]
    assert "the secret" not in civil(container.run()).stdout
    assert (container.rootfs / "f").read_text() == "the secret\n"


@pytest.mark.parametrize("script", ["touch /d/x", "rmdir /d", "mv /d /e", "chmod 777 /d", "mkdir /d/x"])
def test_a_masked_directory_can_not_be_used(runtime: Runtime, script: str) -> None:
    """All masks are one file system: what one container writes would be seen at every mask of it."""
    peers_differ("crun", why="its mask of a directory can be changed")
    container = runtime.sh(f"{script} 2>/dev/null; ls -A /d")
    (container.rootfs / "d").mkdir()
    (container.rootfs / "d" / "secret").touch()
    container.config["linux"]["maskedPaths"] = ["/d"]
    for names in container.config["process"]["capabilities"].values():
        names.append("CAP_DAC_OVERRIDE")  # its mode must not be all that protects it
    assert civil(container.run()).stdout == ""


@pytest.mark.parametrize("key", ["maskedPaths", "readonlyPaths"])
@pytest.mark.parametrize("path", ["relative", "", ".", "../x"])
def test_a_relative_path_is_refused(runtime: Runtime, key: str, path: str) -> None:
    peers_differ("runc", "crun", why="accept it")
    container = runtime.container("/bin/true")
    container.config["linux"][key] = [path]
    civil(container.run()).failed()


@pytest.mark.parametrize("key", ["maskedPaths", "readonlyPaths"])
def test_without_a_mount_namespace_it_is_refused(runtime: Runtime, key: str) -> None:
    """Else the host's own file system would be hidden."""
    peers_differ("runc", "crun", why="have other checks")
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    namespaces = container.config["linux"]["namespaces"]
    container.config["linux"]["namespaces"] = [n for n in namespaces if n["type"] != "mount"]
    container.config["mounts"] = []
    container.config["linux"][key] = ["/etc"]
    civil(container.run()).failed()
    treasure.check()


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("what", ["tmpfs", "volume"])
def test_read_only_includes_what_is_mounted_below(runtime: Runtime, what: str, depth: int) -> None:
    peers_differ("runc", "crun", why="leave mounts below it writable")
    inner = "/ro" + "/in" * depth
    container = runtime.sh(f"echo x > {inner}/new; echo x > {inner}/file; echo done")
    if what == "tmpfs":
        add_mount(container, inner, type="tmpfs", source="tmpfs")
    else:
        add_mount(container, inner, type="bind", source=str(volume(runtime)), options=["bind"])
    container.config["linux"]["readonlyPaths"] = ["/ro"]
    answer = container.run().ok()
    assert answer.stderr.count("Read-only file system") == 2
    if what == "volume":
        assert (runtime.tmp / "volume" / "file").read_text() == "of the volume\n"


@pytest.mark.parametrize("kind", ["file", "directory", "null", "fifo", "out", "dangling", "loop"])
def test_read_only_of_every_kind(runtime: Runtime, kind: str) -> None:
    container = runtime.sh("chmod 700 /ro 2>/dev/null; touch /ro/x 2>/dev/null; true")
    treasure = Treasure(container)
    make(kind, container.rootfs / "ro", treasure.file)
    container.config["linux"]["readonlyPaths"] = ["/ro"]
    mode = None if kind in ("out", "dangling", "loop") else (container.rootfs / "ro").stat().st_mode
    civil(container.run())
    if mode is not None:
        assert (container.rootfs / "ro").stat().st_mode == mode
    treasure.check()


@pytest.mark.parametrize("key", ["maskedPaths", "readonlyPaths"])
def test_a_path_that_is_exchanged_meanwhile(runtime: Runtime, key: str) -> None:
    container = runtime.sh("cat /shared/place/file 2>/dev/null; true")
    treasure = Treasure(container)
    shared = own_directory(container, "shared")
    make("directory", shared / "place")
    make("out", shared / "other", treasure.directory)
    container.config["linux"][key] = ["/shared/place", "/shared/place/file"]
    with exchanging((shared / "place", shared / "other")):
        for _ in range(RACES):
            assert "precious" not in civil(container.run()).stdout
    treasure.check()


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/sysrq-trigger"])
def test_files_of_proc_are_hidden(runtime: Runtime, path: str) -> None:
    container = runtime.sh(f"test -e {path} && cat {path} | wc -c; echo end")
    container.config["linux"]["maskedPaths"] = [path]
    assert civil(container.run()).lines in (["0", "end"], ["end"])


@pytest.mark.parametrize("path", ["/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger"])
def test_files_of_proc_are_read_only(runtime: Runtime, path: str) -> None:
    container = runtime.sh(f"grep ' {path} ' /proc/self/mounts | cut -d' ' -f4 | cut -c1-2; echo end")
    container.config["linux"]["readonlyPaths"] = [path]
    assert civil(container.run()).lines in (["ro", "end"], ["end"])


@pytest.mark.parametrize(
    "path", ["/proc/self", "/proc/self/fd", "/proc/self/exe", "/proc/1/root", "/proc/self/ns/mnt"]
)
@pytest.mark.parametrize("key", ["maskedPaths", "readonlyPaths"])
def test_magic_links_are_not_followed(runtime: Runtime, key: str, path: str) -> None:
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    container.config["linux"][key] = [path]
    civil(container.run())
    treasure.check()
