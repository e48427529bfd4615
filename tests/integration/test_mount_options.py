"""Every option of the table of config.md, as the container's mountinfo shows it or as it works."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.harness import Config, Container, Runtime, peers_differ, user_namespace


def mount(container: Container, destination: str, *options: str, **rest: object) -> None:
    entry = {"destination": destination, "type": "tmpfs", "source": "tmpfs", "options": list(options), **rest}
    container.config["mounts"].append(entry)


def shown(container: Container, at: str = "/t") -> tuple[set[str], set[str]]:
    """The options of the mount and of its file system: proc_pid_mountinfo(5)."""
    container.config["process"]["args"] = ["/bin/cat", "/proc/self/mountinfo"]
    (line,) = [line for line in container.run().ok().lines if line.split()[4] == at]
    return set(line.split()[5].split(",")), set(line.split()[-1].split(","))


@pytest.mark.spec("mount options: attributes")
@pytest.mark.parametrize(
    ("options", "there", "missing"),
    [
        (["ro"], {"ro"}, {"rw"}),
        (["ro", "rw"], {"rw"}, {"ro"}),
        (["nosuid", "nodev", "noexec"], {"nosuid", "nodev", "noexec"}, set()),
        (["nosuid", "suid", "nodev", "dev", "noexec", "exec"], set(), {"nosuid", "nodev", "noexec"}),
        (["noatime"], {"noatime"}, {"relatime"}),
        (["noatime", "atime"], {"relatime"}, {"noatime"}),
        (["nodiratime"], {"nodiratime", "relatime"}, set()),
        (["nodiratime", "diratime"], {"relatime"}, {"nodiratime"}),
        (["strictatime"], set(), {"relatime", "noatime"}),
        (["strictatime", "nostrictatime"], {"relatime"}, set()),
        (["noatime", "relatime"], {"relatime"}, {"noatime"}),
        (["norelatime", "defaults"], {"rw"}, set()),
    ],
)
def test_attributes(runtime: Runtime, options: list[str], there: set[str], missing: set[str]) -> None:
    peers_differ("runc", "crun", why="some opposites are unknown to them")
    container = runtime.sleeper()
    mount(container, "/t", *options)
    found, _ = shown(container)
    assert there <= found and not missing & found


@pytest.mark.spec("mount options: symlinks")
@pytest.mark.parametrize(("options", "status"), [(["nosymfollow"], 1), (["nosymfollow", "symfollow"], 0)])
def test_links_are_not_followed(runtime: Runtime, options: list[str], status: int) -> None:
    peers_differ("runc", "crun", why="Debian's versions do not know it")
    container = runtime.sh("echo x > /t/file; ln -s file /t/link; cat /t/link")
    mount(container, "/t", *options)
    assert container.run().status == status


@pytest.mark.spec("mount options: superblock")
@pytest.mark.parametrize(
    ("options", "there", "missing"),
    [
        (["sync"], {"sync"}, set()),
        (["sync", "async"], set(), {"sync"}),
        (["dirsync"], {"dirsync"}, set()),
        (["lazytime"], {"lazytime"}, set()),
        (["lazytime", "nolazytime"], set(), {"lazytime"}),
        (["mand", "nomand"], {"rw"}, {"mand"}),
    ],
)
def test_flags_of_the_file_system(
    runtime: Runtime, options: list[str], there: set[str], missing: set[str]
) -> None:
    peers_differ("crun", why="it does not know lazytime")
    container = runtime.sleeper()
    mount(container, "/t", *options)
    _, found = shown(container)
    assert there <= found and not missing & found


@pytest.mark.spec("mount options: mount(2)")
@pytest.mark.parametrize("options", [["iversion"], ["iversion", "noiversion"], ["silent"], ["loud"]])
def test_flags_that_no_file_system_shows(runtime: Runtime, options: list[str]) -> None:
    """They are known, so they don't get to the file system, which would refuse them."""
    peers_differ("crun", why="it hands them on")
    container = runtime.sleeper()
    mount(container, "/t", "size=1m", *options, "nodev")
    attributes, found = shown(container)
    assert "nodev" in attributes and "size=1024k" in found


@pytest.mark.spec("mount options: recursive")
@pytest.mark.parametrize(
    ("options", "top", "below"),
    [
        (["rbind", "ro"], {"ro"}, {"rw"}),
        (["rbind", "rro"], {"ro"}, {"ro"}),
        (["rbind", "rro", "rw"], {"ro"}, {"ro"}),
        (["rbind", "rnosuid", "rnodev", "rnoexec"], {"nosuid", "nodev", "noexec"}, {"nosuid", "noexec"}),
        (["rbind", "rnoatime"], {"noatime"}, {"noatime"}),
        (["rbind", "rnodiratime", "rnosymfollow"], {"nodiratime"}, {"nodiratime", "nosymfollow"}),
    ],
)
def test_with_all_below(runtime: Runtime, options: list[str], top: set[str], below: set[str]) -> None:
    peers_differ("runc", "crun", why="Debian's versions know them in part")
    source = runtime.tmp / "source"
    (source / "inner").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "inner", str(source / "inner")], check=True)
    container = runtime.sh("grep ' /data' /proc/self/mountinfo")
    mount(container, "/data", *options, type="bind", source=str(source))
    found = {line.split()[4]: set(line.split()[5].split(",")) for line in container.run().ok().lines}
    assert top <= found["/data"] and below <= found["/data/inner"]


@pytest.mark.spec("mount options: tmpcopyup")
def test_a_tmpfs_begins_with_what_was_there(runtime: Runtime) -> None:
    peers_differ("crun", why="1.8 copies no modes of directories")
    container = runtime.sh(
        "cd /data; cat file dir/deep; readlink link; stat -c '%n %a %u %g' . file dir; echo new > file; ls"
    )
    data = container.rootfs / "data"
    (data / "dir").mkdir(parents=True)
    (data / "file").write_text("from the image\n")
    (data / "dir" / "deep").write_text("deep\n")
    (data / "link").symlink_to("file")
    os.mkfifo(data / "pipe")
    os.chown(data / "file", 0, 8)
    (data / "file").chmod(0o4750)
    (data / "dir").chmod(0o711)
    data.chmod(0o1770)
    mount(container, "/data", "tmpcopyup")
    assert container.run().ok().lines == [
        *("from the image", "deep", "file"),
        *(". 1770 0 0", "file 4750 0 8", "dir 711 0 0"),
        *("dir", "file", "link", "pipe"),
    ]
    assert (data / "file").read_text() == "from the image\n"


@pytest.mark.spec("mount options: tmpcopyup")
def test_a_copy_of_what_is_not_there_is_a_usual_tmpfs(runtime: Runtime) -> None:
    """Podman's --tmpfs: anybody may write there."""
    container = runtime.sh("stat -c %a /fresh")
    mount(container, "/fresh", "tmpcopyup")
    assert container.run().ok().lines == ["1777"]


@pytest.mark.spec("mount options: tmpcopyup")
def test_a_copy_can_be_read_only_and_have_a_mode(runtime: Runtime) -> None:
    container = runtime.sh("cat /data/file; stat -c %a /data; echo x > /data/file || echo refused")
    (container.rootfs / "data").mkdir()
    (container.rootfs / "data" / "file").write_text("x" * 100000)
    mount(container, "/data", "ro", "tmpcopyup", "mode=701")
    content, refused = container.run().ok().lines
    assert content == "x" * 100000 + "701" and refused == "refused"


@pytest.mark.spec("mount options: tmpcopyup")
def test_only_a_tmpfs_can_be_filled(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they ignore it elsewhere")
    container = runtime.sh("echo ran")
    mount(container, "/t", "tmpcopyup", type="ramfs")
    assert "mounts[5].options[0]" in container.run().failed().stderr


@pytest.mark.spec("mount options: remount")
def test_remount_changes_what_is_there(runtime: Runtime) -> None:
    peers_differ("crun", why="other words")
    container = runtime.sleeper()
    mount(container, "/t", "size=1m")
    mount(container, "/t", "remount", "ro", "size=2m")
    attributes, found = shown(container)
    assert "ro" in attributes and "size=2048k" in found


@pytest.mark.spec("mount options: remount")
def test_remount_of_a_bind_changes_the_mount_alone(runtime: Runtime) -> None:
    container = runtime.sleeper()
    mount(container, "/t", "size=1m")
    mount(container, "/t", "remount", "bind", "ro", "nosuid", source="/t")
    attributes, found = shown(container)
    assert {"ro", "nosuid"} <= attributes and "rw" in found


@pytest.mark.spec("mount options: remount")
def test_remount_of_nothing_is_an_error(runtime: Runtime) -> None:
    container = runtime.sleeper()
    mount(container, "/not/there", "remount", "ro")
    assert "mounts[5]" in container.run().failed().stderr


def mapping(host: int) -> list[Config]:
    return [{"containerID": 0, "hostID": host, "size": 1000}]


@pytest.mark.spec("mounts[].uidMappings", "mount options: idmap")
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_an_id_mapped_file_system(runtime: Runtime, option: str) -> None:
    """It has the mapping as long as the container, whatever its file system is."""
    peers_differ("runc", "crun", why="only binds, in Debian's versions")
    container = runtime.sh("touch /t/file; stat -c '%u %g' /t/file; grep -c 'idmapped' /proc/self/mountinfo")
    container.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    maps = mapping(1000)
    mount(container, "/t", option, "mode=777", uidMappings=maps, gidMappings=maps)
    owner, count = container.run().ok().lines
    assert (owner, count) == ("1000 1000", "1")


@pytest.mark.spec("mounts[].uidMappings")
def test_mappings_alone_do_it(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="only binds, in Debian's versions")
    container = runtime.sh("grep ' /t ' /proc/self/mountinfo")
    mount(container, "/t", uidMappings=mapping(1000), gidMappings=mapping(1000))
    assert "idmapped" in container.run().ok().stdout


@pytest.mark.spec("mount options: idmap", "EW-9")
@pytest.mark.parametrize("maps", [{}, {"uidMappings": [], "gidMappings": []}])
def test_without_a_mapping_of_any_kind_it_is_an_error(runtime: Runtime, maps: Config) -> None:
    container = runtime.sh("echo ran")
    mount(container, "/t", "bind", "idmap", source=str(runtime.tmp), **maps)
    assert "idmap" in container.run().failed().stderr


@pytest.mark.spec("mounts[].uidMappings", "EW-9")
@pytest.mark.parametrize("side", ["uidMappings", "gidMappings"])
def test_mappings_of_one_side_are_an_error(runtime: Runtime, side: str) -> None:
    peers_differ("runc", "crun", why="other words")
    container = runtime.sh("echo ran")
    mount(container, "/t", "bind", source=str(runtime.tmp), **{side: mapping(1000)})
    assert "need each other" in container.run().failed().stderr


@pytest.mark.spec("mount options: idmap")
@pytest.mark.parametrize("option", ["idmap", "ridmap"])
def test_the_mappings_of_the_user_namespace(runtime: Runtime, option: str) -> None:
    peers_differ("runc", "crun", why="Debian's versions want the mappings")
    source = runtime.tmp / "source"
    source.mkdir()
    (source / "file").touch()
    container = runtime.container("/bin/stat", "-c", "%u", "/data/file")
    (container.rootfs / "data").mkdir()
    user_namespace(container.config)
    mount(container, "/data", "bind", option, type="bind", source=str(source))
    assert container.run().ok().stdout == "0\n"


@pytest.mark.spec("mounts[].destination")
def test_a_relative_destination_is_below_the_root(runtime: Runtime) -> None:
    container = runtime.sleeper()
    mount(container, "t", "size=1m")
    assert "size=1024k" in shown(container)[1]


@pytest.mark.spec("mounts[].options")
def test_a_bind_is_what_has_the_option(runtime: Runtime) -> None:
    """The type bind alone asks for a file system of that name, which does not exist."""
    peers_differ("crun", "runc", why="they take the type too")
    container = runtime.sh("echo ran")
    mount(container, "/t", type="bind", source=str(runtime.tmp))
    assert "mounts[5]" in container.run().failed().stderr
    container = runtime.sh("cat /t/file")
    (runtime.tmp / "file").write_text("bound\n")
    mount(container, "/t", "bind", type="tmpfs", source=str(runtime.tmp))
    assert container.run().ok().stdout == "bound\n"


@pytest.mark.spec("linux.mountLabel")
def test_a_mount_label_without_selinux_says_nothing(runtime: Runtime) -> None:
    if Path("/sys/fs/selinux/enforce").exists():
        pytest.skip("this host has SELinux")
    container = runtime.sleeper()
    container.config["linux"]["mountLabel"] = "system_u:object_r:container_file_t:s0:c1,c2"
    mount(container, "/t", "size=1m")
    assert not any("context" in option for option in shown(container)[1])


def test_a_bind_takes_no_parameters_of_a_file_system(runtime: Runtime) -> None:
    """mode=755 and size=1k are for a tmpfs: what is bound keeps its own, and the other options count."""
    container = runtime.sleeper()
    (runtime.tmp / "bound").mkdir(mode=0o700)
    options = ["bind", "ro", "mode=755", "size=1k"]
    mount(container, "/t", *options, type="bind", source=str(runtime.tmp / "bound"))
    attributes, parameters = shown(container)
    assert "ro" in attributes and "size=1k" not in parameters
    assert (runtime.tmp / "bound").stat().st_mode & 0o7777 == 0o700
