"""cgroups, terminals, code of the image, disks that are full, limits that are too low."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.integration.harness import CGROUPS, Runtime, peers_differ
from tests.security.attack import (
    Treasure,
    add_mount,
    civil,
    make,
    nothing_left,
    own_directory,
    volume,
    without_mount,
)

CGROUP_PATHS = [
    "/../../../../..{out}/new",
    "../../../../..{out}/new",
    "/a/../../../../..{out}",
    "..",
    "/..",
    ".",
    "/",
    "//",
    "/./x/..",
    "{out}",
    "a\nb",
    "x" * 300,
    "/" + "x/" * 2100,
    "/proc/self/cwd",
    "a:b:c",
    "a/b:c",
    " ",
    "\u00e4",
]


@pytest.mark.parametrize("path", CGROUP_PATHS, ids=range(len(CGROUP_PATHS)))
def test_a_cgroup_is_below_the_hierarchies(runtime: Runtime, path: str) -> None:
    peers_differ("crun", why="makes directories anywhere")
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    before = {top: set(os.listdir(CGROUPS / top)) for top in os.listdir(CGROUPS) if (CGROUPS / top).is_dir()}
    container.config["linux"]["cgroupsPath"] = path.format(out=treasure.directory)
    civil(container.run())
    treasure.check()
    for top, names in before.items():
        new = set(os.listdir(CGROUPS / top)) - names
        assert not any("outside" in name for name in new), new


@pytest.mark.parametrize("options", [["ro"], ["ro", "nosuid", "noexec", "nodev"], []])
def test_cgroups_in_the_container(runtime: Runtime, options: list[str]) -> None:
    """CVE-2022-0492: what is read-only stays so, and nothing above its own cgroup is to be seen."""
    container = runtime.sh(
        "mkdir /sys/fs/cgroup/*/evil 2>/dev/null; ls -d /sys/fs/cgroup/*/evil 2>/dev/null; true"
    )
    add_mount(container, "/sys/fs/cgroup", type="cgroup", source="cgroup", options=options)
    answer = civil(container.run())
    if "ro" in options:
        assert "evil" not in answer.stdout


KINDS = ["file", "directory", "fifo", "socket", "out", "dangling", "loop", "null", "block"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["console", "ptmx", "pts", "pts/ptmx", "pts/0", "tty"])
def test_a_terminal_that_the_image_has_prepared(runtime: Runtime, name: str, kind: str) -> None:
    """CVE-2025-52565: /dev/console and /dev/pts are what the runtime makes, or it refuses."""
    container = runtime.sh("stat -c %t /dev/console; tty; exit 0")
    container.config["process"]["terminal"] = True
    without_mount(container, "/dev")
    if not name.startswith("pts"):
        add_mount(
            container, "/dev/pts", type="devpts", source="devpts", options=["newinstance", "ptmxmode=0666"]
        )
    treasure = Treasure(container)
    own_directory(container, "dev")
    make(kind, container.rootfs / "dev" / name, treasure.file)
    container.write()
    master, slave = pty.openpty()
    try:
        arguments = ["run", "--bundle", str(container.bundle), container.id]
        civil(runtime(*arguments, stdin=slave, timeout=20))
    finally:
        os.close(master)
        os.close(slave)
    treasure.check()


def test_no_terminal_of_the_callers(runtime: Runtime) -> None:
    """CVE-2017-5226: a process that shares the caller's session can push input into its terminal."""
    container = runtime.sh("cut -d' ' -f6,7 /proc/self/stat; (: < /dev/tty) 2>&1 | tail -1")
    container.write()
    master, slave = pty.openpty()
    try:
        prefix = ("setsid", "--ctty", "--wait")
        arguments = ["run", "--bundle", str(container.bundle), container.id]
        session, terminal = runtime(*arguments, stdin=slave, prefix=prefix).ok().lines[0].split()
    finally:
        os.close(master)
        os.close(slave)
    assert session == "1"
    assert terminal == "0"


MODULES = [
    "json.py",
    "posix.py",
    "os.py",
    "sitecustomize.py",
    "usercustomize.py",
    "encodings.py",
    "pyrunc.py",
    "re.py",
]
PLACES = ["bundle", "rootfs", "current directory", "PYTHONPATH", "home"]


@pytest.mark.parametrize("where", PLACES)
def test_no_module_of_somebody_elses_is_loaded(runtime: Runtime, where: str) -> None:
    """For a good configuration and a bad one, which loads much more."""
    container = runtime.container("/bin/true")
    evil = {"bundle": container.bundle, "rootfs": container.rootfs}.get(where, runtime.tmp / "evil")
    evil.mkdir(exist_ok=True)
    mark = runtime.tmp / "loaded"
    for name in MODULES:
        (evil / name).write_text(f"open({str(mark)!r}, 'w').write(__name__)\n")
    (evil / "evil.pth").write_text(f"import os; open({str(mark)!r}, 'w')\n")
    (evil / "pyvenv.cfg").write_text(f"home = {evil}\n")
    environment = dict(os.environ)
    if where == "PYTHONPATH":
        environment |= {
            "PYTHONPATH": str(evil),
            "PYTHONSTARTUP": str(evil / "os.py"),
            "PYTHONHOME": str(evil),
        }
        environment |= {"PYTHONINSPECT": "1", "PYTHONUSERBASE": str(evil), "PYTHONPLATLIBDIR": str(evil)}
    if where == "home":
        environment["HOME"] = str(evil)
    for arguments in (["run"], ["run", "--nonsense"], ["create"]):
        container.write()
        if arguments == ["create"]:
            (container.bundle / "config.json").write_text("{")
        runtime(*arguments, "--bundle", str(container.bundle), container.id, env=environment, cwd=evil)
    assert not mark.exists(), mark.read_text()


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_no_library_of_the_image_is_loaded(runtime: Runtime, verb: str) -> None:
    """CVE-2019-14271: name services and preloaded libraries are the container's own affair."""
    container = runtime.sleeper() if verb == "exec" else runtime.container("/bin/true")
    treasure = Treasure(container)
    etc = own_directory(container, "etc")
    (etc / "ld.so.preload").write_text("/evil.so\n")
    (etc / "nsswitch.conf").write_text("passwd: evil\n")
    (container.rootfs / "evil.so").write_text("evil")
    if verb == "run":
        container.run().ok()
    else:
        container.started().exec("/bin/true", options=("--user", "1000")).ok()
    treasure.check()


FIRST = [
    "#!/bin/nope\n",
    "#!\n",
    "#!/script\n",
    "#!" + "x" * 5000 + "\n",
    "\0",
    "",
    "#!/bin/sh\r\n",
    "\x7fELF",
    "MZ",
]


@pytest.mark.parametrize("text", FIRST, ids=ascii)
def test_a_program_that_is_none(runtime: Runtime, text: str) -> None:
    container = runtime.container("/script")
    (container.rootfs / "script").write_text(text)
    (container.rootfs / "script").chmod(0o755)
    civil(container.run()).failed()
    nothing_left(container)


@pytest.mark.parametrize("kind", [*KINDS, "zero", "no such device"])
@pytest.mark.parametrize("mode", [0o777, 0o000])
def test_a_program_that_is_no_file(runtime: Runtime, kind: str, mode: int) -> None:
    """What explains why it can't be executed does not wait for a fifo, nor read a device without end."""
    container = runtime.container("/program")
    treasure = Treasure(container)
    make(kind, container.rootfs / "program", treasure.file)
    if not (container.rootfs / "program").is_symlink():
        (container.rootfs / "program").chmod(mode)
    container.write()
    answer = runtime("run", "--bundle", str(container.bundle), container.id, timeout=15)
    civil(answer).failed()
    nothing_left(container)
    treasure.check()


@pytest.mark.parametrize("kind", ["fifo", "zero", "directory", "socket", "dangling", "loop"])
def test_an_interpreter_that_is_no_file(runtime: Runtime, kind: str) -> None:
    container = runtime.container("/script")
    (container.rootfs / "script").write_text("#!/interpreter\n")
    (container.rootfs / "script").chmod(0o755)
    make(kind, container.rootfs / "interpreter")
    container.write()
    civil(runtime("run", "--bundle", str(container.bundle), container.id, timeout=15)).failed()
    nothing_left(container)


@pytest.mark.parametrize(
    "size",
    ["4k", "8k", "12k", "16k", "nr_inodes=1", "nr_inodes=2", "nr_inodes=3", "nr_inodes=4", "nr_inodes=5"],
)
@pytest.mark.parametrize("verb", ["run", "create"])
def test_a_disk_that_is_full(runtime: Runtime, verb: str, size: str) -> None:
    """Success, or one clean error with nothing left: the record is written before what it records."""
    container = runtime.container("/bin/true")
    container.config["annotations"] = {str(n): "x" * 100 for n in range(30)}
    runtime.root.mkdir()
    option = size if "=" in size else f"size={size}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", option, "none", str(runtime.root)], check=True)
    try:
        container.write()
        answer = civil(runtime(verb, "--bundle", str(container.bundle), container.id))
        if answer.status != 0:
            assert "ENOSPC" in answer.stderr or "space" in answer.stderr, answer
        runtime("delete", "--force", container.id)
        from tests.integration.harness import cgroups_of, marked

        assert cgroups_of(container.id) == [] and marked(container.id) == []
        assert not (runtime.root / container.id).exists()
    finally:
        subprocess.run(["umount", "-l", str(runtime.root)], check=True)


@pytest.mark.parametrize("limit", [1, 4096, 16384, 65536, 131072, 262144, 524288, 1 << 20])
def test_little_memory(runtime: Runtime, limit: int) -> None:
    container = runtime.container("/bin/true")
    container.config["linux"]["resources"]["memory"] = {"limit": limit}
    civil(container.run())
    runtime("delete", "--force", container.id)
    nothing_left(container)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_few_processes(runtime: Runtime, limit: int) -> None:
    container = runtime.sh("(true) 2>&1; echo $?")
    container.config["linux"]["resources"]["pids"] = {"limit": limit}
    civil(container.run())
    nothing_left(container)


RLIMITS = [
    "NOFILE",
    "NPROC",
    "AS",
    "DATA",
    "STACK",
    "FSIZE",
    "CORE",
    "CPU",
    "MEMLOCK",
    "RSS",
    "NICE",
    "SIGPENDING",
]


@pytest.mark.parametrize("name", RLIMITS)
@pytest.mark.parametrize("value", [0, 1])
def test_limits_of_the_container_do_not_stop_the_runtime(runtime: Runtime, name: str, value: int) -> None:
    container = runtime.container("/bin/true")
    rlimit = {"type": f"RLIMIT_{name}", "soft": value, "hard": value}
    container.config["process"]["rlimits"] = [rlimit]
    answer = container.run()
    assert answer.status >= 0 and "internal" not in answer.stderr
    nothing_left(container)


@pytest.mark.parametrize("soft", [0, 1, 3, 5])
@pytest.mark.parametrize("hard", [5, 1024])
@pytest.mark.parametrize("name", ["RLIMIT_NOFILE", "RLIMIT_FSIZE"])
def test_start_needs_nothing_of_the_containers_limits(
    runtime: Runtime, name: str, soft: int, hard: int
) -> None:
    """The way to a created container, and what a hook is told, take descriptors and files."""
    peers_differ("runc", "crun", why="need some descriptors themselves")
    container = runtime.container("/bin/cat", "/proc/self/limits")
    if soft < 4:
        container.config["process"]["args"] = ["/bin/true"]
    container.config["process"]["rlimits"] = [{"type": name, "soft": soft, "hard": hard}]
    hook = {"path": "/bin/sh", "args": ["sh", "-c", "cat"]}
    container.config["hooks"] = {"startContainer": [hook]}
    assert container.create().status == 0
    runtime("start", container.id, timeout=10).ok()
    container.wait()
    if soft >= 4 and name == "RLIMIT_NOFILE":
        (line,) = [line for line in container.printed().splitlines() if line.startswith("Max open files")]
        assert line.split()[3:5] == [str(soft), str(hard)]


@pytest.mark.parametrize("name", ["log", "pid-file"])
@pytest.mark.parametrize("path", ["/dev/full", "/proc/version", "/nowhere/x", "/", "", "/dev/null/x"])
def test_files_that_can_not_be_written(runtime: Runtime, name: str, path: str) -> None:
    if (name, path) == ("pid-file", "/dev/full"):
        path = "/proc/self/status"  # a pid file takes the place of what is there
    container = runtime.container("/bin/true")
    container.write()
    if name == "log":
        answer = runtime("--log", path, "run", "--bundle", str(container.bundle), container.id)
    else:
        answer = runtime("run", "--bundle", str(container.bundle), "--pid-file", path, container.id)
    civil(answer)
    nothing_left(container)
    assert Path("/dev/full").is_char_device()


def test_two_containers_share_a_hostile_volume(runtime: Runtime) -> None:
    """The first swaps what the second is about to mount on."""
    shared = volume(runtime, "shared")
    (shared / "place").mkdir()
    swap = "mv place old; mv other place; mv place other; mv old place"
    script = f"cd /shared; ln -s /etc other; while :; do {swap}; done"
    bind = {"type": "bind", "source": str(shared), "options": ["rbind"]}
    attacker = runtime.sh(script)
    add_mount(attacker, "/shared", **bind)
    attacker.started()
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    add_mount(container, "/shared", **bind)
    add_mount(container, "/shared/place/made", type="tmpfs", source="tmpfs")
    etc = sorted(os.listdir("/etc"))
    for _ in range(10):
        civil(container.run())
    treasure.check()
    assert sorted(os.listdir("/etc")) == etc
