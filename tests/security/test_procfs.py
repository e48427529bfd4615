"""Writes to /proc go to a procfs, whatever the image or a volume has there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.harness import Container, Runtime, add_namespace, peers_differ
from tests.security.attack import Treasure, add_mount, civil, exchanging, make, own_directory, without_mount

FAKES = {
    "sys/net/ipv4/ip_forward": "fake\n",
    "sys/kernel/msgmax": "fake\n",
    "sys/kernel/domainname": "fake\n",
    "self/attr/exec": "fake\n",
    "self/attr/apparmor/exec": "fake\n",
    "self/oom_score_adj": "fake\n",
    "self/setgroups": "fake\n",
    "self/timens_offsets": "fake\n",
    "1/attr/exec": "fake\n",
    "1/oom_score_adj": "fake\n",
    "thread-self/attr/exec": "fake\n",
}


def fake_proc(path: Path) -> Path:
    """A directory that looks like /proc, of plain files."""
    for name, text in FAKES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    return path


def untouched(path: Path) -> bool:
    return all((path / name).read_text() == text for name, text in FAKES.items())


def sysctl(container: Container) -> None:
    container.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "4096"}


def selinux(container: Container) -> None:
    container.config["process"]["selinuxLabel"] = "system_u:system_r:container_t:s0"


def apparmor(container: Container) -> None:
    container.config["process"]["apparmorProfile"] = "unconfined"


def oom_score(container: Container) -> None:
    container.config["process"]["oomScoreAdj"] = 500


def time_offsets(container: Container) -> None:
    add_namespace(container.config, "time")
    container.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000}}


WRITES = [sysctl, selinux, apparmor, oom_score, time_offsets]
PLACES = ["image", "link", "volume over it", "volume under it", "parts over it", "tmpfs over it"]


def put(container: Container, place: str, treasure: Treasure) -> Path:
    """Has the container find a fake /proc; the directory that must stay as it is."""
    tmp = container.runtime.tmp
    if place in ("image", "link"):
        without_mount(container, "/proc")
    if place == "image":
        return fake_proc(own_directory(container, "proc"))
    fake = fake_proc(tmp / "fake")
    if place == "link":
        make("out", container.rootfs / "proc", fake)
        return fake
    bind = {"type": "bind", "source": str(fake), "options": ["bind"]}
    if place == "volume over it":
        add_mount(container, "/proc", **bind)
    elif place == "volume under it":
        container.config["mounts"].insert(0, {"destination": "/proc", **bind})
    elif place == "tmpfs over it":
        add_mount(container, "/proc", type="tmpfs", source="tmpfs")
    else:
        for part in ("sys", "self/attr", "1/attr", "sys/net", "self/oom_score_adj"):
            source = str(fake / part)
            add_mount(container, f"/proc/{part}", type="bind", source=source, options=["bind"])
    return fake


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_written_to_a_fake(runtime: Runtime, write, place: str) -> None:  # type: ignore[no-untyped-def]
    """CVE-2019-16884 and its successors: labels and sysctls went to a file of the image."""
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    fake = put(container, place, treasure)
    write(container)
    civil(container.run())
    assert untouched(fake)
    treasure.check()


@pytest.mark.parametrize("place", ["volume over it", "parts over it", "tmpfs over it"])
def test_the_value_arrives_where_it_belongs(runtime: Runtime, place: str) -> None:
    peers_differ("runc", "crun", why="refuse mounts over /proc")
    container = runtime.sh("mount -t proc proc /mnt 2>/dev/null; cat /mnt/sys/net/ipv4/ip_forward")
    (container.rootfs / "mnt").mkdir()
    for kind in ("bounding", "effective", "permitted"):
        container.config["process"]["capabilities"][kind].append("CAP_SYS_ADMIN")
    treasure = Treasure(container)
    fake = put(container, place, treasure)
    sysctl(container)
    answer = civil(container.run())
    if answer.status == 0:
        assert answer.stdout == "1\n"
    assert untouched(fake)


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_proc_that_is_exchanged_meanwhile(runtime: Runtime, write) -> None:  # type: ignore[no-untyped-def]
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    fake = fake_proc(runtime.tmp / "fake")
    make("out", container.rootfs / "proc.other", fake)
    write(container)
    with exchanging((container.rootfs / "proc", container.rootfs / "proc.other")):
        for _ in range(8):
            civil(container.run())
    assert untouched(fake)
    treasure.check()


@pytest.mark.parametrize("write", WRITES, ids=lambda write: write.__name__)
def test_exec_writes_to_no_fake(runtime: Runtime, write) -> None:  # type: ignore[no-untyped-def]
    container = runtime.sleeper()
    fake = fake_proc(runtime.tmp / "fake")
    add_mount(container, "/proc", type="bind", source=str(fake), options=["bind"])
    container.started()
    process = dict(container.config["process"], args=["/bin/true"], apparmorProfile="unconfined")
    file = runtime.tmp / "process.json"
    file.write_text(__import__("json").dumps(process))
    civil(runtime("exec", "--process", str(file), container.id))
    assert untouched(fake)


HOST_WIDE = [
    "kernel.core_pattern",
    "kernel.modprobe",
    "kernel/sysrq",
    "vm.swappiness",
    "fs.file-max",
    "kernel.hostname",
    "net/../kernel/core_pattern",
    "net.ipv4/../../kernel/core_pattern",
    "fs.mqueue/../file-max",
    "../sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "net.",
    "net",
    "",
    ".",
    "..",
    "net..ipv4",
    "NET.ipv4.ip_forward",
]


@pytest.mark.parametrize("name", HOST_WIDE)
def test_a_sysctl_of_the_host_is_refused(runtime: Runtime, name: str) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    container = runtime.container("/bin/true")
    container.config["linux"]["sysctl"] = {name: "1"}
    answer = civil(container.run())
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    if name not in ("kernel.hostname", "net..ipv4"):
        assert answer.status != 0, answer


@pytest.mark.parametrize("namespace", ["network", "ipc", "uts"])
def test_a_sysctl_needs_its_namespace(runtime: Runtime, namespace: str) -> None:
    keys = {"network": "net.ipv4.ip_forward", "ipc": "kernel.msgmax", "uts": "kernel.domainname"}
    container = runtime.container("/bin/true")
    rest = [n for n in container.config["linux"]["namespaces"] if n["type"] != namespace]
    container.config["linux"]["namespaces"] = rest
    container.config.pop("hostname")
    container.config["linux"]["sysctl"] = {keys[namespace]: "1"}
    path = Path("/proc/sys") / keys[namespace].replace(".", "/")
    before = path.read_text()
    civil(container.run()).failed()
    assert path.read_text() == before
