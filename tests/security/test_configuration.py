"""A configuration is obeyed exactly or refused: a line that is silently dropped is a weaker sandbox."""

from __future__ import annotations

import copy
import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.harness import Config, Container, Runtime, default_config, peers_differ
from tests.security.attack import Treasure, civil, make, nothing_left

# Each of these, dropped, would leave something open.
GUARDS: dict[str, object] = {
    "linux.namespaces": [{"type": "pid"}, {"type": "mount"}],
    "linux.maskedPaths": ["/proc/kcore"],
    "linux.readonlyPaths": ["/proc/sys"],
    "linux.seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
    "linux.resources": {},
    "linux.resources.devices": [{"allow": False, "access": "rwm"}],
    "linux.resources.memory": {"limit": 100_000_000},
    "linux.resources.memory.limit": 100_000_000,
    "linux.resources.pids.limit": 100,
    "linux.cgroupsPath": "/pyrunc-test",
    "linux.rootfsPropagation": "private",
    "linux.sysctl": {},
    "process.noNewPrivileges": True,
    "process.capabilities": {},
    "process.capabilities.bounding": [],
    "process.user": {"uid": 0, "gid": 0},
    "process.user.uid": 0,
    "process.user.gid": 0,
    "process.user.additionalGids": [],
    "process.user.umask": 0o22,
    "process.rlimits": [],
    "process.apparmorProfile": "x",
    "process.selinuxLabel": "x",
    "process.cwd": "/",
    "process.env": [],
    "process.args": ["/bin/true"],
    "process.oomScoreAdj": 0,
    "process.terminal": False,
    "root": {"path": "rootfs"},
    "root.path": "rootfs",
    "root.readonly": True,
    "mounts": [],
    "hostname": "h",
    "hooks": {},
    "hooks.prestart": [],
    "annotations": {},
}
WRONG = {"string": "yes", "number": 7, "true": True, "array": [[]], "object": {"a": {}}, "fraction": 1.5}


def put(config: Config, path: str, value: object) -> None:
    *parents, leaf = path.split(".")
    for name in parents:
        config = config.setdefault(name, {})
    config[leaf] = value


def fits(right: object, wrong: object) -> bool:
    if isinstance(right, bool) or isinstance(wrong, bool):
        return type(right) is type(wrong)
    return type(right) is type(wrong) and not isinstance(wrong, list)


CASES = [(path, kind) for path in GUARDS for kind in WRONG if not fits(GUARDS[path], WRONG[kind])]


@pytest.mark.parametrize(("path", "kind"), CASES)
def test_a_wrong_type_is_refused(runtime: Runtime, path: str, kind: str) -> None:
    peers_differ("runc", "crun", why="drop what has another type, or decode it half")
    container = runtime.container("/bin/true")
    put(container.config, path, WRONG[kind])
    answer = _refused(container)
    assert path.rpartition(".")[2] in answer


def _refused(container: Container) -> str:
    """The words of the refusal, in this process where that is pyrunc's: it is the same door."""
    import pyrunc

    container.write()
    with pytest.raises(pyrunc.Error) as refusal:
        pyrunc.create(str(container.runtime.root), container.id, str(container.bundle))
    nothing_left(container)
    return f"{refusal.value} {[fault.path for fault in getattr(refusal.value, 'faults', [])]}"


STRINGS = [
    "process.args",
    "process.env",
    "process.cwd",
    "process.apparmorProfile",
    "process.selinuxLabel",
    "root.path",
    "hostname",
    "domainname",
    "linux.cgroupsPath",
    "linux.maskedPaths",
    "linux.readonlyPaths",
    "linux.mountLabel",
    "linux.sysctl",
    "annotations",
    "mounts.destination",
    "mounts.source",
    "mounts.type",
    "mounts.options",
    "hooks.path",
    "linux.namespaces.path",
    "linux.devices.path",
]
EVIL = {"NUL": "a\0b", "NUL at the end": "a\0", "half of a pair": "\ud800", "other half": "x\udc80"}


def place(config: Config, path: str, text: str) -> None:
    """The text into a string of the configuration, which may have a valid form otherwise."""
    head, _, leaf = path.rpartition(".")
    absolute = "/" + text
    if head == "mounts":
        mount: dict[str, Any] = {"destination": "/x", "type": "tmpfs", "source": "x"}
        mount[leaf] = {"destination": absolute, "options": [text]}.get(leaf, text)
        config["mounts"].append(mount)
    elif head == "hooks":
        config["hooks"] = {"poststop": [{"path": absolute}]}
    elif head == "linux.namespaces":
        config["linux"]["namespaces"].append({"type": "user", "path": absolute})
    elif head == "linux.devices":
        config["linux"]["devices"] = [{"path": absolute, "type": "p"}]
    elif leaf in ("args", "env"):
        config["process"][leaf] = ["/bin/true" if leaf == "args" else "A=b", text]
    elif leaf in ("maskedPaths", "readonlyPaths"):
        config["linux"][leaf] = [absolute]
    elif leaf in ("sysctl", "annotations"):
        put(config, path, {"net.ipv4.ip_forward" if leaf == "sysctl" else "a": text})
    else:
        put(config, path, absolute if leaf in ("cwd", "cgroupsPath") else text)


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("path", STRINGS)
def test_a_string_that_no_c_program_reads_whole(runtime: Runtime, path: str, evil: str) -> None:
    """CVE-2021-43784 and its like: what comes after a NUL would be cut off, or be taken for more."""
    peers_differ("runc", "crun", why="cut at NUL, or replace what is no character")
    container = runtime.container("/bin/true")
    place(container.config, path, EVIL[evil])
    _refused(container)


def raw(runtime: Runtime, text: bytes) -> tuple[Container, Any]:
    container = runtime.container("/bin/true")
    (container.bundle / "config.json").write_bytes(text)
    before = time.monotonic()
    answer = runtime("create", "--bundle", str(container.bundle), container.id, preexec_fn=_little_memory)
    return container, (answer, time.monotonic() - before)


def _little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20))


def _text(change: Callable[[Config], None] = lambda config: None) -> str:
    config = default_config("/bin/true")
    change(config)
    return json.dumps(config)


GOOD = _text()
TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "space": b"  \n",
    "null": b"null",
    "array": b"[]",
    "number": b"5",
    "string": b'"x"',
    "cut": GOOD[:-1].encode(),
    "more": (GOOD + "x").encode(),
    "twice": (GOOD + GOOD).encode(),
    "a comment": ("/* x */" + GOOD).encode(),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "not UTF-8": GOOD.replace("xterm", "\udcff").encode(errors="surrogateescape"),
    "overlong UTF-8": GOOD.encode().replace(b"xterm", b"\xc0\x80"),
    "encoded surrogate": GOOD.encode().replace(b"xterm", b"\xed\xa0\x80"),
    "raw NUL": GOOD.encode().replace(b"xterm", b"\x00"),
    "control": GOOD.encode().replace(b"xterm", b"\x01"),
    "NaN": GOOD.replace('"uid": 0', '"uid": NaN').encode(),
    "Infinity": GOOD.replace('"uid": 0', '"uid": Infinity').encode(),
    "minus Infinity": GOOD.replace('"uid": 0', '"uid": -Infinity').encode(),
    "exponent": GOOD.replace('"uid": 0', '"uid": 1e3').encode(),
    "great exponent": GOOD.replace('"uid": 0', '"uid": 1e999999').encode(),
    "leading zero": GOOD.replace('"uid": 0', '"uid": 00').encode(),
    "plus": GOOD.replace('"uid": 0', '"uid": +1').encode(),
    "hexadecimal": GOOD.replace('"uid": 0', '"uid": 0x0').encode(),
    "fraction": GOOD.replace('"uid": 0', '"uid": 0.0').encode(),
    "5000 digits": GOOD.replace('"uid": 0', '"uid": ' + "9" * 5000).encode(),
    "single quotes": GOOD.replace('"', "'").encode(),
    "comma at the end": GOOD.replace("}}", "},}").encode(),
    "same name twice": GOOD.replace('"hostname"', '"process": {}, "hostname"').encode(),
    "same name twice below": GOOD.replace('"uid": 0', '"uid": 1, "uid": 0').encode(),
    "same name by an escape": GOOD.replace('"uid": 0', '"uid": 1, "\\u0075id": 0').encode(),
    "deep arrays": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep and open": b"[" * 100_000,
    "deep inside": GOOD.replace(
        '"hostname"', '"x": ' + "[" * 100_000 + "]" * 100_000 + ', "hostname"'
    ).encode(),
    "deep annotations": GOOD.replace(
        '"hostname"', '"annotations": ' + "[" * 900 + "]" * 900 + ', "hostname"'
    ).encode(),
    "10 MB of a string": GOOD.replace("xterm", "x" * 10_000_000).encode(),
    "10 MB of space": (GOOD + " " * 10_000_000).encode(),
    "10 MB of mounts": _text(
        lambda c: c["mounts"].extend([{"destination": "/x", "type": "x"}] * 260_000)
    ).encode(),
    "10 MB of names": json.dumps({str(n): n for n in range(600_000)}).encode(),
    "10 MB of digits": b"9" * 10_000_000,
    "10 MB of brackets": b"[" * 10_000_000,
    "10 MB of NUL": b"\0" * 10_000_000,
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_configuration(runtime: Runtime, name: str) -> None:
    """Refused in a second, with 200 MB at most, and nothing is made."""
    peers_differ("runc", "crun", why="accept some")
    container, (answer, seconds) = raw(runtime, TEXTS[name])
    civil(answer).failed()
    nothing_left(container)
    assert seconds < 5, "on a busy machine; it is below one on an idle one"


@pytest.mark.parametrize(
    "text", ["a\\\\u0000", "\\\\\\\\u0000", "\\ud83d\\ude00", "\u20ac", "\\u20ac", "\\/"]
)
def test_what_only_looks_bad(runtime: Runtime, text: str) -> None:
    """An escaped backslash before u0000 is no NUL, and a whole pair is a character."""
    container = runtime.container("/bin/true")
    container.write()
    file = container.bundle / "config.json"
    file.write_text(file.read_text().replace("xterm", text))
    runtime("run", "--bundle", str(container.bundle), container.id).ok()


@pytest.mark.parametrize(
    "kind", ["fifo", "directory", "dangling", "loop", "null", "zero", "socket", "no such device"]
)
def test_a_config_json_that_is_no_file(runtime: Runtime, kind: str) -> None:
    container = runtime.container("/bin/true")
    make(kind, container.bundle / "config.json")
    answer = runtime("create", "--bundle", str(container.bundle), container.id, timeout=10)
    civil(answer).failed()
    nothing_left(container)


VERSIONS = [
    "",
    "1",
    "1.0",
    "2.0.0",
    "1.0.0.0",
    "1.0.x",
    " 1.0.0",
    "1.0.0 ",
    "01.0.0",
    "1.-1.0",
    "v1.0.0",
    "1.0.0\n",
]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_that_is_none(runtime: Runtime, version: str) -> None:
    peers_differ("runc", "crun", why="accept some")
    container = runtime.container("/bin/true")
    container.config["ociVersion"] = version
    _refused(container)


EDGES = [
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    -1,
    -(2**31),
    -(2**63),
    -(2**63) - 1,
]
NUMBERS: dict[str, Callable[[Config, int], None]] = {
    "rlimit": lambda c, n: c["process"].update(rlimits=[{"type": "RLIMIT_CORE", "soft": n, "hard": n}]),
    "memory": lambda c, n: put(c, "linux.resources.memory", {"limit": n}),
    "swap": lambda c, n: put(c, "linux.resources.memory", {"limit": n, "swap": n}),
    "pids": lambda c, n: put(c, "linux.resources.pids", {"limit": n}),
    "shares": lambda c, n: put(c, "linux.resources.cpu", {"shares": n}),
    "quota": lambda c, n: put(c, "linux.resources.cpu", {"quota": n, "period": 100_000}),
    "major": lambda c, n: put(c, "linux.devices", [{"path": "/dev/x", "type": "c", "major": n, "minor": 1}]),
    "minor": lambda c, n: put(c, "linux.devices", [{"path": "/dev/x", "type": "c", "major": 1, "minor": n}]),
    "mode": lambda c, n: put(c, "linux.devices", [{"path": "/dev/x", "type": "p", "fileMode": n}]),
    "oom score": lambda c, n: put(c, "process.oomScoreAdj", n),
    "umask": lambda c, n: put(c, "process.user.umask", n),
    "timeout": lambda c, n: put(c, "hooks", {"createRuntime": [{"path": "/bin/true", "timeout": n}]}),
}


@pytest.mark.parametrize("number", EDGES, ids=hex)
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_at_the_edge(runtime: Runtime, name: str, number: int) -> None:
    """Obeyed or refused; never cut to 32 or 64 bits."""
    container = runtime.sh("grep 'core file' /proc/self/limits; stat -c %t:%T /dev/x 2>/dev/null; true")
    NUMBERS[name](container.config, number)
    answer = civil(container.run())
    if answer.status == 0 and name == "rlimit":
        soft = answer.lines[0].split()[4]
        assert soft == ("unlimited" if number == 2**64 - 1 else str(number))
    if answer.status == 0 and name in ("major", "minor"):
        assert f"{number:x}" in answer.lines[1].split(":")


UNKNOWN: dict[str, object] = {
    "linux.namespaces": [{"type": "nope"}],
    "linux.rootfsPropagation": "maybe",
    "linux.seccomp": {"defaultAction": "SCMP_ACT_MAYBE"},
    "linux.personality": {"domain": "BSD"},
    "linux.devices": [{"path": "/dev/x", "type": "z"}],
    "process.rlimits": [{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}],
    "process.scheduler": {"policy": "SCHED_NOPE"},
    "process.ioPriority": {"class": "IOPRIO_CLASS_NOPE"},
    "process.cwd": "relative",
    "linux.timeOffsets": {"boottime": {"secs": 1}},
    "linux.uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}],
    "linux.netDevices": {"eth99": {"name": "x/y"}},
    "process.args": [],
    "root.path": "",
}


@pytest.mark.parametrize("path", UNKNOWN)
def test_a_value_that_nobody_knows_is_refused(runtime: Runtime, path: str) -> None:
    peers_differ("runc", "crun", why="accept some")
    container = runtime.container("/bin/true")
    put(container.config, path, copy.deepcopy(UNKNOWN[path]))
    _refused(container)


@pytest.mark.parametrize(
    "path", ["rootfs", "./rootfs", "rootfs/", "../bundle-0/rootfs", "link", "{bundle}/rootfs", "link/"]
)
def test_a_rootfs_by_any_name(runtime: Runtime, path: str) -> None:
    container = runtime.sh("echo ran")
    (container.bundle / "link").symlink_to("rootfs")
    container.config["root"]["path"] = path.format(bundle=container.bundle)
    assert container.run().ok().stdout == "ran\n"


@pytest.mark.parametrize("kind", ["file", "fifo", "dangling", "loop", "socket", "null", "no such device"])
def test_a_rootfs_that_is_no_directory(runtime: Runtime, kind: str) -> None:
    container = runtime.container("/bin/true")
    container.config["root"]["path"] = "other"
    make(kind, container.bundle / "other")
    civil(container.run()).failed()
    nothing_left(container)


@pytest.mark.parametrize("path", ["/", "/..", "//"])
def test_the_hosts_root_as_rootfs_leaves_the_host_alone(runtime: Runtime, path: str) -> None:
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    container.config["root"] = {"path": path, "readonly": True}
    container.config["mounts"] = [m for m in container.config["mounts"] if m["destination"] == "/proc"]
    before = os.listdir("/")
    civil(container.run())
    assert os.listdir("/") == before
    treasure.check()


VARIABLES = ["", "=", "=x", "NAME", "no name"]


@pytest.mark.parametrize("entry", VARIABLES)
@pytest.mark.parametrize("place", ["process", "createRuntime", "createContainer", "poststop"])
def test_an_environment_that_is_none(runtime: Runtime, place: str, entry: str) -> None:
    """POSIX: an entry has the form NAME=VALUE. No hook runs without what it was to have."""
    peers_differ("crun", why="passes them on")
    peers_differ("runc", why="looks at those of the process only")
    container = runtime.container("/bin/true")
    if place == "process":
        container.config["process"]["env"] = ["A=1", entry]
        where = "process.env[1]"
    else:
        hook = {"path": "/bin/touch", "args": ["touch", f"{runtime.tmp}/ran"], "env": [entry]}
        container.config["hooks"] = {place: [hook]}
        where = f"hooks.{place}[0].env[0]"
    answer = civil(container.run()).failed()
    assert where in answer.stderr
    assert not (runtime.tmp / "ran").exists()
    nothing_left(container)


OPTIONS = ["RO", "readonly", "ro,nosuid", "nosuid nodev", " ro", "ro ", "NOSUID", "=1m", "nosuiD", "ro=1"]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_a_bind_mount_would_ignore(runtime: Runtime, option: str) -> None:
    """The kernel takes no option of the file system here: what was meant to protect would not."""
    peers_differ("runc", "crun", why="old ones drop them")
    container = runtime.container("/bin/true")
    mount = {"destination": "/x", "type": "bind", "source": str(runtime.tmp), "options": ["rbind", option]}
    container.config["mounts"].append(mount)
    answer = civil(container.run()).failed()
    assert "mounts[5].options[1]" in answer.stderr
    nothing_left(container)


NINES = "9" * 5000
LONG = {
    "linux.memoryPolicy": {"mode": "MPOL_BIND", "nodes": NINES},
    "process.execCPUAffinity": {"initial": NINES},
    "linux.resources.cpu": {"cpus": f"0-{NINES}"},
    "linux.resources.hugepageLimits": [{"pageSize": f"{NINES}KB", "limit": 1}],
    "hostname": NINES,
    "linux.cgroupsPath": "/a" * 3000,
    "process.user": {"uid": 0, "gid": 0, "additionalGids": list(range(70_000))},
    "process.args": ["x" * 100_000],
    "mounts": [{"destination": "/" + "x/" * 3000, "type": "tmpfs", "source": "x"}],
}


@pytest.mark.parametrize("path", LONG)
def test_an_error_is_short_however_long_its_cause(runtime: Runtime, path: str) -> None:
    peers_differ("runc", "crun", why="print it all")
    container = runtime.container("/bin/true")
    put(container.config, path, LONG[path])
    answer = civil(container.run()).failed()
    assert all(len(line) < 4000 for line in answer.stderr.splitlines())
    nothing_left(container)


@pytest.mark.parametrize("path", ["/tasks/x", "/cgroup.procs/x/y", "/tasks", "/a/../tasks/x", "/./tasks//x"])
def test_a_cgroup_below_a_file(runtime: Runtime, path: str) -> None:
    container = runtime.container("/bin/true")
    container.config["linux"]["cgroupsPath"] = path
    civil(container.run()).failed()
    nothing_left(container)


@pytest.mark.parametrize("verb", ["exec --process", "update --resources"])
def test_a_file_without_end(runtime: Runtime, verb: str) -> None:
    peers_differ("runc", "crun", why="read on")
    container = runtime.sleeper().started()
    answer = civil(runtime(*verb.split(), "/dev/zero", container.id, timeout=10)).failed()
    assert "/dev/zero" in answer.stderr


# ESC, CSI, DEL, carriage return, a line of its own, right-to-left, a byte that is no UTF-8
DRIVING = ["\x1b]0;owned\x07", "\x9b31m", "\x7f\x7f", "\rpyrunc: fine", "\npyrunc: fine", "\u202e", "\udcff"]


@pytest.mark.parametrize("name", DRIVING, ids=ascii)
@pytest.mark.parametrize("place", ["args", "interpreter", "hook's output", "mount", "id", "bundle"])
def test_an_error_does_not_drive_the_terminal(runtime: Runtime, place: str, name: str) -> None:
    """Names come from images. Whatever they are, they are shown and nothing more."""
    peers_differ("runc", "crun", why="print some of them")
    container = runtime.container(f"/{name}")
    where = {"args": ["run", "--bundle", str(container.bundle), container.id]}
    arguments = where.get(place, where["args"])
    if place == "interpreter":
        container.config["process"]["args"] = ["/script"]
        script = container.rootfs / "script"
        script.write_bytes(f"#!/{name}\n".encode(errors="surrogateescape"))
        script.chmod(0o755)
    elif place == "hook's output":
        talk = runtime.tmp / "talk"
        talk.write_bytes(name.encode(errors="surrogateescape"))
        hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat {talk}; exit 1"]}
        container.config["hooks"] = {"createRuntime": [hook]}
    elif place == "mount":
        container.config["mounts"].append({"destination": f"/{name}", "type": name, "source": name})
    elif place == "id":
        arguments = ["state", f"a{name}"]
    elif place == "bundle":
        arguments = ["run", "--bundle", f"/nowhere/{name}", container.id]
    if "\udcff" not in name or place in ("interpreter", "hook's output", "id", "bundle"):
        container.write()
        answer = civil(runtime(*arguments)).failed()
        assert all(character.isprintable() or character == "\n" for character in answer.stderr), answer
        assert sum(line.startswith("pyrunc:") for line in answer.stderr.splitlines()) == 1, answer
