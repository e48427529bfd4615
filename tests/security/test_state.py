"""Ids, the state directory, pid files and sockets: hostile names, links and contents."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.harness import Container, Runtime, peers_differ
from tests.security.attack import Treasure, civil, make, nothing_left

IDS = [
    "../victim",
    "..",
    ".",
    "/",
    "a/b",
    "a/../../victim",
    "{victim}",
    "",
    " ",
    "a b",
    "a\nb",
    "a\tb",
    "a\x01b",
    "a\x7f",
    "%2e%2e",
    "~",
    "$(id)",
    "a;b",
    "a*",
    "ä",
    "\udcff",
    "x" * 256,
    "x" * 5000,
]
VERBS = ["state", "kill", "delete --force", "exec", "create", "run"]


def call(runtime: Runtime, verb: str, id_: str, bundle: Path) -> list[str]:
    if verb in ("create", "run"):
        return [verb, "--bundle", str(bundle), "--", id_]
    rest = ["KILL"] if verb == "kill" else ["/bin/true"] if verb == "exec" else []
    return [*verb.split(), "--", id_, *rest]


@pytest.fixture
def victim(runtime: Runtime) -> Path:
    """A directory beside the state root that looks like a state."""
    runtime.root.mkdir()
    path = runtime.tmp / "victim"
    path.mkdir()
    (path / "state.json").write_text('{"pid": 1, "status": "running"}')
    (path / "precious").write_text("precious\n")
    return path


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("id_", IDS, ids=lambda id_: ascii(id_[:12]))
def test_an_id_is_one_name(runtime: Runtime, victim: Path, verb: str, id_: str) -> None:
    peers_differ("runc", "crun", why="accept some of them")
    container = runtime.container("/bin/true")
    container.write()
    before = sorted(path.name for path in runtime.tmp.iterdir())
    answer = civil(runtime(*call(runtime, verb, id_.format(victim=victim), container.bundle)))
    assert answer.status != 0, answer
    assert sorted(path.name for path in victim.iterdir()) == ["precious", "state.json"]
    assert sorted(path.name for path in runtime.tmp.iterdir()) == before
    assert list(runtime.root.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_a_state_that_is_a_link(runtime: Runtime, victim: Path, verb: str) -> None:
    peers_differ("crun", "runc", why="follow it")
    container = runtime.container("/bin/true")
    container.write()
    (runtime.root / container.id).symlink_to(victim)
    civil(runtime(*call(runtime, verb, container.id, container.bundle)))
    assert sorted(path.name for path in victim.iterdir()) == ["precious", "state.json"]
    (runtime.root / container.id).unlink()


@pytest.mark.parametrize("id_", ["../victim", "..", "", "a/b", "/tmp"])
@pytest.mark.parametrize("function", ["state", "start", "kill", "delete", "pause", "processes", "create"])
def test_the_library_checks_ids_too(runtime: Runtime, victim: Path, function: str, id_: str) -> None:
    import pyrunc

    more: list[object] = {"kill": [9], "create": [str(runtime.tmp)]}.get(function, [])
    with pytest.raises(pyrunc.Error):
        getattr(pyrunc.lifecycle, function)(str(runtime.root), id_, *more)
    assert (victim / "precious").exists()


FILES = ["state.json", "config.json", "start.sock"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["out", "loop", "fifo", "directory", "socket", "null"])
@pytest.mark.parametrize("verb", ["state", "start", "delete --force"])
def test_files_of_the_state_that_are_something_else(
    runtime: Runtime, verb: str, kind: str, name: str
) -> None:
    """No link is followed and no fifo waited for; `delete --force` removes what can be removed."""
    peers_differ("runc", "crun", why="have other files")
    container = runtime.sleeper()
    treasure = Treasure(container)
    container.create()
    pid = container.pid
    make(kind, runtime.root / container.id / name, treasure.file)
    civil(runtime(*call(runtime, verb, container.id, container.bundle)))
    treasure.check()
    if verb == "delete --force":
        assert not (runtime.root / container.id).exists()
    else:
        os.kill(pid, 9)
        subprocess.run(["rm", "-rf", str(runtime.root / container.id)], check=True)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b"\xef\xbb\xbf{}"])
@pytest.mark.parametrize("verb", ["exec", "start"])
def test_a_damaged_configuration(runtime: Runtime, verb: str, text: bytes) -> None:
    """What was remembered of it at create is needed by exec, and by start where that fails."""
    peers_differ("runc", "crun", why="have other files")
    container = runtime.sleeper()
    if verb == "start":
        container.config["hooks"] = {"startContainer": [{"path": "/bin/false"}]}
    container.create().ok()
    (runtime.root / container.id / "config.json").write_bytes(text)
    result = civil(runtime(*call(runtime, verb, container.id, container.bundle))).failed()
    assert "the state of" in result.stderr and "is damaged" in result.stderr


RECORDS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"0",
    b'"x"',
    b"{}",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"pid": "1"}',
    b'{"pid": true, "status": "running", "start_time": 1}',
    b'{"pid": -1, "status": "running", "start_time": 0}',
    b'{"pid": 1, "status": "running", "start_time": 12345}',
    b'{"pid": 99999999999999999999, "status": "running", "start_time": 0}',
    b'{"pid": 2.5, "status": "running", "start_time": 0}',
    b'{"status": 5}',
    b'{"cgroup": "x"}',
    b'{"cgroup": {"version": "v9"}}',
    b'{"cgroup": {"version": "v1", "path": "/../../..", "places": [[["pids"], "/etc", ""]]}}',
    b'{"mounts": "x"}',
    b'{"mounts": [5]}',
    b'{"bundle": 5, "annotations": 5}',
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: ascii(record[:40]))
@pytest.mark.parametrize("verb", ["state", "kill", "exec", "list", "delete --force"])
def test_a_damaged_record(runtime: Runtime, verb: str, record: bytes) -> None:
    """A clean error, no signal to a stranger, and `delete --force` works."""
    peers_differ("runc", "crun", why="have another record")
    container = runtime.container("/bin/true")
    container.write()
    directory = runtime.root / container.id
    directory.mkdir(parents=True)
    (directory / "state.json").write_bytes(record)
    arguments = ["list"] if verb == "list" else call(runtime, verb, container.id, container.bundle)
    civil(runtime(*arguments))
    assert os.path.exists("/etc/passwd") and os.path.exists("/proc/1")
    runtime("delete", "--force", container.id).ok()
    assert not directory.exists()


@pytest.mark.parametrize(
    "verb", ["start", "kill", "exec", "pause", "resume", "update", "ps", "events --stats", "state", "list"]
)
def test_a_container_without_a_record(runtime: Runtime, verb: str) -> None:
    """Its create has made the directory, and no more yet; or it was killed there."""
    peers_differ("runc", "crun", why="have another record")
    id = runtime.container("/bin/true").id
    (runtime.root / id).mkdir(parents=True)
    arguments = {"exec": ["exec", id, "/bin/true"], "list": ["list"]}.get(verb, [*verb.split(), id])
    civil(runtime(*arguments))
    runtime("delete", "--force", id).ok()


@pytest.mark.parametrize("link", ["out", "dangling", "fifo", "null", "loop"])
@pytest.mark.parametrize("verb", ["create", "run", "exec"])
def test_a_pid_file_does_not_follow_links(runtime: Runtime, verb: str, link: str) -> None:
    peers_differ("crun", why="writes to what the link leads to")
    container = runtime.sleeper()
    treasure = Treasure(container)
    file = runtime.tmp / "pid"
    make(link, file, treasure.file)
    if verb == "exec":
        container.started()
        civil(container.exec("/bin/true", options=("--pid-file", str(file))))
    elif verb == "run":
        civil(container.run("--detach", "--pid-file", str(file)))
    else:
        civil(container.create("--pid-file", str(file)))
    treasure.check()


SOCKETS = ["file", "directory", "fifo", "out", "dangling", "loop", "null", "socket"]


@pytest.mark.parametrize("kind", SOCKETS)
@pytest.mark.parametrize("verb", ["create", "exec"])
def test_a_console_socket_that_is_none(runtime: Runtime, verb: str, kind: str) -> None:
    container = runtime.sleeper()
    treasure = Treasure(container)
    path = runtime.tmp / "console"
    make(kind, path, treasure.file)
    if verb == "create":
        container.config["process"]["terminal"] = True
        container.write()
        options = ["--bundle", str(container.bundle), "--console-socket", str(path), container.id]
        civil(runtime("create", *options)).failed()
        nothing_left(container)
    else:
        container.started()
        options = ["--tty", "--detach", "--console-socket", str(path), container.id, "/bin/true"]
        civil(runtime("exec", *options)).failed()
    treasure.check()


@pytest.mark.parametrize("path", ["", "x" * 200, "/" + "x" * 107, "relative", "/tmp/\udcff"])
def test_a_console_socket_with_a_strange_name(runtime: Runtime, path: str) -> None:
    container = runtime.sleeper()
    container.config["process"]["terminal"] = True
    container.write()
    options = ["--bundle", str(container.bundle), "--console-socket", path, container.id]
    civil(runtime("create", *options)).failed()
    nothing_left(container)


@pytest.mark.parametrize("kind", SOCKETS)
def test_a_listener_socket_that_is_none(runtime: Runtime, kind: str) -> None:
    """linux.seccomp.listenerPath: without its agent the container must not run."""
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    path = runtime.tmp / "agent"
    make(kind, path, treasure.file)
    _notify(container, str(path))
    civil(container.run()).failed()
    nothing_left(container)
    treasure.check()


@pytest.mark.parametrize("path", ["", "x" * 200, "relative", "/" + "x" * 107, "\u20ac" * 50])
def test_a_listener_socket_with_a_strange_name(runtime: Runtime, path: str) -> None:
    container = runtime.container("/bin/true")
    _notify(container, path)
    civil(container.run()).failed()
    nothing_left(container)


def _notify(container: Container, path: str) -> None:
    rule = {"names": ["chmod"], "action": "SCMP_ACT_NOTIFY"}
    container.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "syscalls": [rule],
    }


@pytest.mark.parametrize("pid", ["1", "ours", "0", "-1"])
def test_a_pid_that_was_used_again(runtime: Runtime, pid: str) -> None:
    """Only together with its start time does a pid mean the container."""
    peers_differ("runc", "crun", why="have another record")
    container = runtime.sleeper().started()
    time.sleep(0.02)  # start times are told in steps of 10 ms: the two shall not be of the same
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        file = runtime.root / container.id / "state.json"
        record = json.loads(file.read_text())
        record["pid"] = stranger.pid if pid == "ours" else int(pid)
        real = json.loads(file.read_text())["pid"]
        file.write_text(json.dumps(record))
        for command in (["kill", container.id, "KILL"], ["delete", "--force", container.id]):
            civil(runtime(*command))
        assert stranger.poll() is None
        os.kill(real, 0) if os.path.exists(f"/proc/{real}") else None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("mode", [0o777, 0o000])
def test_the_mode_of_what_the_runtime_makes(runtime: Runtime, mode: int) -> None:
    """A local user reads no configuration and starts no container of somebody else's."""
    peers_differ("runc", "crun", why="have other files")
    container = runtime.container("/bin/true")
    container.write()
    runtime("create", "--bundle", str(container.bundle), container.id, umask=mode).ok()
    for path in (runtime.root / container.id).iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("kind", ["file", "fifo", "loop", "dangling", "null", "socket", "out"])
def test_a_state_root_that_is_no_directory(runtime: Runtime, kind: str) -> None:
    container = runtime.container("/bin/true")
    treasure = Treasure(container)
    make(kind, runtime.root, treasure.file)
    civil(container.run()).failed()
    civil(runtime("list"))
    treasure.check()
    runtime.root.unlink()


FOREIGN = [(verb, "another owner") for verb in ("state", "start", "kill", "exec", "pause", "delete --force")]
FOREIGN += [("delete --force", "all may write"), ("kill", "a group may write")]


@pytest.mark.parametrize(("verb", "how"), FOREIGN)
def test_a_record_that_others_can_write_is_not_obeyed(runtime: Runtime, verb: str, how: str) -> None:
    """It says what to kill and to remove."""
    peers_differ("runc", "crun", why="obey it")
    container = runtime.sleeper().started()
    directory = runtime.root / container.id
    before = sorted(path.name for path in directory.iterdir())
    pid = container.pid
    if how == "another owner":
        os.chown(directory, 65534, 65534)
    else:
        directory.chmod(0o777 if how == "all may write" else 0o775)
    answer = civil(runtime(*call(runtime, verb, container.id, container.bundle))).failed()
    assert str(directory) in answer.stderr and "state-foreign" in answer.stderr
    os.kill(pid, 0)
    assert sorted(path.name for path in directory.iterdir()) == before
    os.chown(directory, 0, 0)
    directory.chmod(0o711)
    container.delete("--force").ok()


def test_list_does_not_obey_it_either(runtime: Runtime) -> None:
    """Where a file tells whether a container is frozen, stands in the record."""
    peers_differ("runc", "crun", why="obey it")
    container = runtime.sleeper().started()
    directory = runtime.root / container.id
    for path in (directory, directory / "state.json"):
        os.chown(path, 65534, 65534)
    (answer,) = json.loads(runtime("list", "--format", "json").ok().stdout)
    assert answer["status"] == "unknown" and str(directory) in answer["error"]
    os.chown(directory, 0, 0)
    container.delete("--force").ok()


@pytest.mark.parametrize("verb", ["state", "list", "delete --force"])
def test_a_record_without_end(runtime: Runtime, verb: str) -> None:
    peers_differ("runc", "crun", why="read it all")
    container = runtime.container("/bin/true")
    container.write()
    directory = runtime.root / container.id
    directory.mkdir(parents=True)
    (directory / "state.json").touch()
    os.truncate(directory / "state.json", 1 << 40)
    arguments = ["list"] if verb == "list" else call(runtime, verb, container.id, container.bundle)
    civil(runtime(*arguments, timeout=10))
    runtime("delete", "--force", container.id, timeout=10).ok()


CGROUPS: list[object] = [
    {},
    {"version": "v1"},
    {"version": "v1", "path": "/a", "places": []},
    {"version": "v1", "path": "/a", "places": [[]]},
    {"version": "v1", "path": "/a", "places": [[[], "/sys/fs/cgroup/pids", ""]]},
    {"version": "v1", "path": "/a", "places": [["pids", "/sys/fs/cgroup/pids", ""]]},
    {"version": "v1", "path": "/a", "places": [[["pids"], 1, ""]]},
    {"version": "v1", "path": 1, "places": [[["pids"], "/sys/fs/cgroup/pids", ""]]},
    {"version": "v2"},
    {"version": "v2", "path": "/a", "mountpoint": "/sys/fs/cgroup"},
    {"version": "v2", "driver": "systemd", "path": "/a", "mountpoint": "/m", "made": ""},
]


@pytest.mark.parametrize("cgroup", CGROUPS, ids=range(len(CGROUPS)))
@pytest.mark.parametrize("verb", ["kill", "delete --force"])
def test_a_record_whose_cgroup_is_damaged(runtime: Runtime, verb: str, cgroup: object) -> None:
    peers_differ("runc", "crun", why="have another record")
    container = runtime.sleeper().started()
    file = runtime.root / container.id / "state.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps({**whole, "cgroup": cgroup, "freezer": ""}))
    civil(runtime(*call(runtime, verb, container.id, container.bundle)))
    if file.exists():
        file.write_text(json.dumps(whole))


@pytest.mark.parametrize("why", ["the hook", "the mount", "the program"])
def test_a_pid_file_that_was_there_stays_when_create_fails(runtime: Runtime, why: str) -> None:
    container = runtime.container("/bin/true")
    if why == "the hook":
        container.config["hooks"] = {"createRuntime": [{"path": "/bin/false"}]}
    elif why == "the mount":
        container.config["mounts"].append({"destination": "/x", "type": "nothing", "source": "x"})
    else:
        container.config["process"]["args"] = ["/nowhere"]
    pid_file = runtime.tmp / "pid"
    pid_file.write_text("somebody's")
    assert container.create("--pid-file", str(pid_file)).status != 0
    assert pid_file.read_text() == "somebody's"
