"""config.json's `mounts` and `root`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.harness import Container, Runtime, mounts_below, peers_differ


def add_mount(container: Container, destination: str, **mount: object) -> None:
    container.config["mounts"].append({"destination": destination, **mount})


def shared_directory(runtime: Runtime) -> Path:
    """A directory of the host with a file in it."""
    path = runtime.tmp / "shared"
    path.mkdir()
    (path / "file").write_text("from the host\n")
    return path


@pytest.mark.spec("mounts[].source")
def test_bind(runtime: Runtime) -> None:
    container = runtime.sh("cat /data/file; echo back > /data/answer")
    source = shared_directory(runtime)
    add_mount(container, "/data", type="bind", source=str(source), options=["bind"])
    assert container.run().ok().stdout == "from the host\n"
    assert (source / "answer").read_text() == "back\n"


def test_bind_of_a_file(runtime: Runtime) -> None:
    container = runtime.sh("cat /made/for/it")
    source = shared_directory(runtime) / "file"
    add_mount(container, "/made/for/it", type="bind", source=str(source), options=["bind"])
    assert container.run().ok().stdout == "from the host\n"


@pytest.mark.parametrize("option", ["bind", "rbind"])
def test_read_only_bind(runtime: Runtime, option: str) -> None:
    container = runtime.sh("echo x > /data/file")
    source = shared_directory(runtime)
    add_mount(container, "/data", type="bind", source=str(source), options=[option, "ro"])
    assert "Read-only file system" in container.run().failed().stderr
    assert (source / "file").read_text() == "from the host\n"


@pytest.mark.spec("mounts[].source")
def test_relative_source_is_below_the_bundle(runtime: Runtime) -> None:
    container = runtime.sh("cat /data/file")
    (container.bundle / "data").mkdir()
    (container.bundle / "data" / "file").write_text("in the bundle\n")
    add_mount(container, "/data", type="bind", source="data", options=["bind"])
    assert container.run().ok().stdout == "in the bundle\n"


@pytest.mark.spec("mounts[].type", "CR-14")
def test_tmpfs(runtime: Runtime) -> None:
    container = runtime.sh("grep ' /t ' /proc/self/mounts; stat -c %a /t")
    options = ["nosuid", "nodev", "noexec", "size=64k", "mode=1770"]
    add_mount(container, "/t", type="tmpfs", source="scratch", options=options)
    line, mode = container.run().ok().lines
    source, _, fstype, found = line.split()[:4]
    assert (source, fstype, mode) == ("scratch", "tmpfs", "1770")
    assert {"nosuid", "nodev", "noexec", "size=64k"} <= set(found.split(","))


@pytest.mark.spec("mounts")
def test_later_mounts_lie_on_earlier_ones(runtime: Runtime) -> None:
    container = runtime.sh("grep -c ' /t' /proc/self/mounts; ls /t")
    add_mount(container, "/t", type="tmpfs", source="a")
    add_mount(container, "/t/inner", type="tmpfs", source="b")
    assert container.run().ok().lines == ["2", "inner"]


@pytest.mark.parametrize("target", ["/outside", "../../../outside", "inside"])
def test_symlinks_stay_inside_the_root(runtime: Runtime, target: str) -> None:
    peers_differ("crun", why="refuses links to what is not there")
    container = runtime.sh("cat /link/file")
    target = target.replace("/outside", str(runtime.tmp / "outside"))
    (container.rootfs / "link").symlink_to(target)
    source = shared_directory(runtime)
    add_mount(container, "/link", type="bind", source=str(source), options=["bind"])
    assert container.run().ok().stdout == "from the host\n"
    assert not (runtime.tmp / "outside").exists()


def test_mount_points_are_made(runtime: Runtime) -> None:
    container = runtime.sh("test -d /a/b/c && echo made")
    add_mount(container, "/a/b/c", type="tmpfs", source="tmpfs")
    assert container.run().ok().stdout == "made\n"


@pytest.mark.spec("DE-5")
def test_nothing_is_left_mounted(runtime: Runtime) -> None:
    container = runtime.sleeper()
    source = shared_directory(runtime)
    add_mount(container, "/data", type="bind", source=str(source), options=["rbind"])
    container.started()
    assert mounts_below(runtime.tmp) == []


@pytest.mark.spec("root.readonly")
def test_read_only_root(runtime: Runtime) -> None:
    container = runtime.sh("echo x > /file")
    container.config["root"]["readonly"] = True
    assert "Read-only file system" in container.run().failed().stderr


@pytest.mark.spec("mount options: propagation")
def test_propagation_of_a_mount(runtime: Runtime) -> None:
    peers_differ("crun", why="leaves a tmpfs private")
    container = runtime.sh("grep ' /t ' /proc/self/mountinfo")
    add_mount(container, "/t", type="tmpfs", source="t", options=["rshared"])
    assert " shared:" in container.run().ok().stdout


@pytest.mark.spec("linux.rootfsPropagation")
@pytest.mark.parametrize("propagation", ["private", "rslave", "rprivate"])
def test_root_propagation_does_not_leak(runtime: Runtime, propagation: str) -> None:
    container = runtime.sh("grep ' / / ' /proc/self/mountinfo || true")
    container.config["linux"]["rootfsPropagation"] = propagation
    container.run().ok()
    assert mounts_below(runtime.tmp) == []


def test_a_host_whose_mounts_are_shared(runtime: Runtime) -> None:
    """As systemd has them; a rootfs that is a mount of its own (docker, ctr) is shared, too."""
    container = runtime.sh("grep ' / ' /proc/self/mountinfo")
    mount = f'mount --bind {container.rootfs} {container.rootfs} && exec "$@"'
    prefix = ("unshare", "-m", "--propagation", "shared", "sh", "-c", mount, "sh")
    assert " shared:" not in container.run(prefix=prefix).ok().stdout


def test_the_host_is_not_in_the_mount_table(runtime: Runtime) -> None:
    points = runtime.sh("cut -d' ' -f5 /proc/self/mountinfo").run().ok().lines
    assert sorted(points) == ["/", "/dev", "/dev/pts", "/dev/shm", "/proc", "/sys"]


@pytest.mark.spec("LX-1", "CR-13")
def test_dev_symlinks(runtime: Runtime) -> None:
    script = "cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done"
    links = runtime.sh(script).run().ok().lines
    fds = [f"/proc/self/fd{end}" for end in ("", "/0", "/1", "/2")]
    assert links[:4] == fds
    assert links[4] in ("pts/ptmx", "/dev/pts/ptmx")


@pytest.mark.spec("mounts[].uidMappings")
def test_id_mapped_bind(runtime: Runtime, tmp_path: Path) -> None:
    """The file's owner 1000:1000 is shown as the mount's own mappings say."""
    peers_differ("runc", "crun", why="their Debian versions know id-mapped mounts partly or not at all")
    source = tmp_path / "volume"
    source.mkdir()
    (source / "file").touch()
    os.chown(source / "file", 1000, 1000)
    container = runtime.sh("stat -c %u:%g /volume/file")
    container.config["mounts"].append(
        {
            "destination": "/volume",
            "type": "bind",
            "source": str(source),
            "options": ["bind", "idmap"],
            "uidMappings": [{"containerID": 1000, "hostID": 5, "size": 1}],
            "gidMappings": [{"containerID": 1000, "hostID": 6, "size": 1}],
        }
    )
    assert container.run().ok().lines == ["5:6"]


def test_a_parameter_that_is_too_long_for_fsconfig(runtime: Runtime) -> None:
    """fsconfig(2) takes 255 bytes; the layers of an overlay need more."""
    container = runtime.sh("cat /merged/below/file; echo x > /merged/new; grep ' /merged ' /proc/self/mounts")
    base = runtime.tmp / ("layers" * 30)
    for name in ("lowest", "lower", "upper", "work"):
        (base / name).mkdir(parents=True)
    (base / "lowest" / "below").mkdir()
    (base / "lowest" / "below" / "file").write_text("lowest\n")
    options = [
        "nosuid",
        f"lowerdir={base}/lower:{base}/lowest",
        f"upperdir={base}/upper",
        f"workdir={base}/work",
    ]
    add_mount(container, "/merged", type="overlay", source="overlay", options=options)
    answer = container.run().ok()
    assert answer.lines[0] == "lowest"
    assert "nosuid" in answer.lines[1]
    assert (base / "upper" / "new").exists()
    assert mounts_below(runtime.tmp) == []


def test_a_path_that_is_too_long_for_a_message_is_an_error_all_the_same(runtime: Runtime) -> None:
    container = runtime.container("/bin/true")
    container.config["root"]["path"] = "x" * 300_000
    answer = container.create()
    assert answer.status == 1
    assert "without a word" not in answer.stderr + container.printed()
