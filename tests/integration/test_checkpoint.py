"""checkpoint and restore. What criu is called with is seen by a program in its place; where criu works on
this kernel, containers go through it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import PROGRAM, Container, Result, Runtime, cgroups_of, wait_for

pytestmark = pytest.mark.skipif(Path(PROGRAM).name in ("runc", "crun"), reason="of pyrunc and its criu")

FAKE = """#!/bin/sh
[ "$1" = check ] && { echo "Error (a.c:1): no such kernel" >&2; exit $(cat "$FAKE/check"); }
[ "$1" = swrk ] && exit 3
action=$1
printf '%s\\n' "$@" > "$FAKE/$action"
while [ $# -gt 0 ]; do
    case $1 in
        --log-file) log=$2 ;;
        --pidfile) pid=$2 ;;
        --action-script) script=$2 ;;
    esac
    shift
done
if [ -e "$FAKE/log" ]; then cat "$FAKE/log" > "$log"; exit 1; fi
[ "$action" = restore ] || exit 0
sleep 100 &
[ -z "$script" ] || CRTOOLS_SCRIPT_ACTION=setup-namespaces CRTOOLS_INIT_PID=$! "$script" || exit 1
printf %s $! > "$pid"
"""


class Fake:
    """A program that is found as criu: writes down its arguments, fails when it has a log to show."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        (path / "criu").write_text(FAKE)
        (path / "criu").chmod(0o755)
        (path / "check").write_text("0")
        self.environment = {**os.environ, "FAKE": str(path), "PATH": f"{path}:{os.environ['PATH']}"}

    def arguments(self, action: str) -> list[str]:
        return (self.path / action).read_text().splitlines()

    def call(self, container: Container, verb: str, *options: str) -> Result:
        options = ("--image-path", str(container.bundle / "images"), *options)
        return container.runtime(verb, *options, container.id, env=self.environment)


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path / "fake")


def test_what_criu_is_asked_for(runtime: Runtime, fake: Fake) -> None:
    container = runtime.sleeper().started()
    pid = container.pid
    flags = (
        "--tcp-established",
        "--ext-unix-sk",
        "--shell-job",
        "--file-locks",
        "--link-remap",
        "--auto-dedup",
    )
    more = ("--tcp-skip-in-flight", "--manage-cgroups-mode", "full", "--empty-ns", "network")
    page_server = ("--page-server", "127.0.0.1:7777")
    fake.call(container, "checkpoint", *flags, *more, *page_server, "--leave-running").ok()
    given = fake.arguments("dump")
    assert set(flags) <= set(given)
    assert given[given.index("--tree") + 1] == str(pid)
    assert given[given.index("--images-dir") + 1] == str(container.bundle / "images")
    assert given[given.index("--empty-ns") + 1] == "net"
    assert given[given.index("--port") + 1] == "7777"
    assert {"--skip-in-flight", "--manage-cgroups=full", "--leave-running", "--page-server"} <= set(given)
    assert container.status == "running"


@pytest.mark.parametrize("way", ["annotation", "default", "none"])
def test_the_file_of_options_for_criu(runtime: Runtime, fake: Fake, way: str) -> None:
    """As runc has it: for all containers, or one named by the container; an empty name is none."""
    container = runtime.sleeper()
    named = {"annotation": "/own.conf", "none": ""}.get(way)
    if named is not None:
        container.config["annotations"] = {"org.criu.config": named}
    container.started()
    etc = "mount -t tmpfs etc /etc && mkdir /etc/criu && : > /etc/criu/runc.conf"
    prefix = ("unshare", "-m", "sh", "-c", f'{etc} && exec "$@"', "sh")
    images = ("--image-path", str(container.bundle / "images"), "--leave-running")
    runtime("checkpoint", *images, container.id, prefix=prefix, env=fake.environment).ok()
    given = fake.arguments("dump")
    files = [value for flag, value in zip(given, given[1:], strict=False) if flag == "--config"]
    assert files == {"annotation": ["/own.conf"], "default": ["/etc/criu/runc.conf"], "none": []}[way]


def test_masked_paths_and_binds_are_left_out_of_the_images(runtime: Runtime, fake: Fake) -> None:
    container = runtime.sleeper()
    container.config["mounts"].append(
        {"destination": "/data", "type": "bind", "source": str(container.bundle), "options": ["bind"]}
    )
    container.config["linux"]["maskedPaths"] = ["/proc/keys"]
    container.started()
    fake.call(container, "checkpoint").ok()
    assert {"mnt[/data]:/data", "mnt[/proc/keys]:/proc/keys"} <= set(fake.arguments("dump"))


def test_a_checkpoint_ends_the_container(runtime: Runtime, fake: Fake) -> None:
    container = runtime.sleeper().started()
    fake.call(container, "checkpoint").ok()
    runtime("state", container.id).failed()
    assert not cgroups_of(container.id)


def test_a_pre_dump_does_not(runtime: Runtime, fake: Fake) -> None:
    container = runtime.sleeper().started()
    fake.call(container, "checkpoint", "--pre-dump").ok()
    assert "--track-mem" in fake.arguments("pre-dump")
    assert container.status == "running"


@pytest.mark.parametrize("path", ["/absolute", "../none"])
def test_a_parent_that_is_none(runtime: Runtime, fake: Fake, path: str) -> None:
    container = runtime.sleeper().started()
    answer = fake.call(container, "checkpoint", "--parent-path", path).failed(1)
    assert "parent-path" in answer.stderr
    assert container.status == "running"


def test_the_log_of_a_failure(runtime: Runtime, fake: Fake) -> None:
    """Its first error is the message, its end stands in the hint, the container goes on."""
    container = runtime.sleeper().started()
    lines = [
        "(00.01) Error (criu/util.c:1): rlimit: Can't setup RLIMIT_NOFILE for self",
        "(00.02) Error (criu/sk-tcp.c:2): Connected TCP socket, consider using --tcp-established",
        "(00.03) Error (criu/cr-dump.c:3): Dumping FAILED.",
    ]
    (fake.path / "log").write_text("\n".join(lines) + "\n")
    answer = fake.call(container, "checkpoint", "--work-path", str(container.bundle / "work")).failed(1)
    first, rest = answer.stderr.split("\n", 1)
    assert "criu dump failed: Error (criu/sk-tcp.c:2): Connected TCP socket" in first
    assert "Dumping FAILED" in rest
    assert str(container.bundle / "work" / "dump.log") in rest
    assert (container.bundle / "work" / "dump.log").read_text().splitlines() == lines
    assert container.status == "running"


def test_a_kernel_that_criu_does_not_know(runtime: Runtime, fake: Fake) -> None:
    container = runtime.sleeper().started()
    (fake.path / "log").write_text("(00.02) Error (criu/vdso.c:2): vdso: unexpected\n")
    (fake.path / "check").write_text("1")
    answer = fake.call(container, "checkpoint").failed(1)
    assert "`criu check` says: Error (a.c:1): no such kernel" in answer.stderr


def test_no_criu(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    answer = runtime("checkpoint", container.id, env={"PATH": "/nowhere"}, cwd=runtime.tmp).failed(1)
    assert "criu is not installed" in answer.stderr


def test_help_is_the_probe_of_engines(runtime: Runtime) -> None:
    runtime("checkpoint", "--help").ok()
    assert "flag needs an argument" in runtime("restore", "--lsm-mount-context").failed(1).stderr


def test_restore_without_images(runtime: Runtime, fake: Fake) -> None:
    container = runtime.sleeper()
    container.write()
    answer = fake.call(container, "restore", "--bundle", str(container.bundle)).failed(1)
    assert "no images" in answer.stderr
    runtime("state", container.id).failed()


def test_a_restored_container_is_like_any_other(runtime: Runtime, fake: Fake) -> None:
    """Its process is in its cgroup; hooks of create ran; state, kill and delete know it."""
    container = runtime.sleeper()
    trace = container.bundle / "hook"
    container.config["hooks"] = {
        "createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", f"cat > {trace}"], "env": ["PATH=/bin"]}]
    }
    container.started()
    trace.unlink()
    fake.call(container, "checkpoint").ok()
    pid_file = container.bundle / "pid"
    options = ("--bundle", str(container.bundle), "--pid-file", str(pid_file), "--detach", "-no-subreaper")
    fake.call(container, "restore", *options).ok()
    pid = int(pid_file.read_text())
    assert (container.pid, container.status) == (pid, "running")
    assert container.id in Path(f"/proc/{pid}/cgroup").read_text()
    assert f'"pid":{pid}' in trace.read_text().replace(" ", "")
    container.kill()
    container.wait()
    container.delete().ok()
    assert not cgroups_of(container.id)
    assert not (runtime.root / container.id).exists()


def test_a_restore_that_fails_leaves_nothing(runtime: Runtime, fake: Fake) -> None:
    container = runtime.sleeper().started()
    fake.call(container, "checkpoint").ok()
    (fake.path / "log").write_text("(00.02) Error (criu/mount.c:2): no mount\n")
    answer = fake.call(container, "restore", "--bundle", str(container.bundle)).failed(1)
    assert "criu restore failed: Error (criu/mount.c:2): no mount" in answer.stderr
    runtime("state", container.id).failed()
    assert not cgroups_of(container.id)


def test_a_daemon_that_has_closed_its_standard_files(runtime: Runtime, fake: Fake) -> None:
    container = runtime.sh("exec sleep 100 <&- >&- 2>&-").started()
    wait_for(lambda: not Path(f"/proc/{container.pid}/fd/0").exists(), "it is still open")
    fake.call(container, "checkpoint").ok()
    fake.call(container, "restore", "--bundle", str(container.bundle), "--detach").ok()
    assert container.status == "running"


def test_a_checkpoint_without_the_configuration(runtime: Runtime, fake: Fake) -> None:
    container = runtime.sleeper().started()
    (runtime.root / container.id / "config.json").unlink()
    assert "is damaged" in fake.call(container, "checkpoint").failed(1).stderr


def test_a_restore_with_a_terminal_that_fails(runtime: Runtime, fake: Fake) -> None:
    """criu ends without an answer: that is told, not that there is no terminal."""
    container = runtime.sleeper()
    container.config["process"]["terminal"] = True
    container.write()
    (container.bundle / "images").mkdir()
    receiver = Receiver(runtime.tmp / "1")
    options = ("--bundle", str(container.bundle), "--console-socket", receiver.path)
    answer = fake.call(container, "restore", *options).failed(1)
    assert "criu restore failed: exit status 3" in answer.stderr
    receiver.server.close()
    assert not cgroups_of(container.id)


def test_a_restore_without_a_cgroup_refuses_limits(runtime: Runtime, fake: Fake) -> None:
    container = runtime.sleeper()
    container.config["linux"]["resources"] = {"memory": {"limit": 1 << 25}}
    container.write()
    (container.bundle / "images").mkdir()
    options = ("--image-path", str(container.bundle / "images"), "--bundle", str(container.bundle))
    line = ("--cgroup-manager", "disabled", "restore", *options, container.id)
    assert "linux.resources" in runtime(*line, env=fake.environment).failed(1).stderr


# With CRIU itself


def unfit() -> str:
    """Why criu can't be used here; "" if it can. The one that scripts/criu.sh has found comes first."""
    os.environ["PATH"] = f"{sys.prefix}/criu:{os.environ['PATH']}"
    program = shutil.which("criu")
    if program is None:
        return "criu is not installed"
    done = subprocess.run([program, "check"], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"criu check: {(done.stdout + done.stderr).splitlines()[0]}"


@pytest.fixture(autouse=True, scope="module")
def path() -> Iterator[None]:
    before = os.environ["PATH"]
    yield
    os.environ["PATH"] = before


@pytest.fixture
def counter(runtime: Runtime) -> Container:
    """Counts in a file of its root filesystem."""
    if why := unfit():
        pytest.skip(why)
    script = "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.05; done"
    container = runtime.sh(script).started()
    wait_for(lambda: count(container) > 2, "it does not count")
    return container


def count(container: Container) -> int:
    file = container.rootfs / "count"
    return int(file.read_text().strip() or 0) if file.exists() else 0


def test_it_goes_on_where_it_was(counter: Container) -> None:
    images = ("--image-path", str(counter.bundle / "images"))
    counter.runtime("checkpoint", *images, counter.id).ok()
    stopped_at = count(counter)
    time.sleep(0.3)
    assert count(counter) == stopped_at
    restore = ("restore", *images, "--bundle", str(counter.bundle), "--detach", counter.id)
    with counter.output.open("ab") as output:
        counter.runtime(*restore, stdout=output).ok()
    wait_for(lambda: count(counter) > stopped_at + 3, "it does not go on")
    assert count(counter) < stopped_at + 200
    assert counter.exec("echo", "inside").ok().stdout == "inside\n"
    assert counter.id in Path(f"/proc/{counter.pid}/cgroup").read_text()


def test_it_can_be_left_running(counter: Container) -> None:
    images = ("--image-path", str(counter.bundle / "images"))
    counter.runtime("checkpoint", *images, "--leave-running", counter.id).ok()
    before = count(counter)
    wait_for(lambda: count(counter) > before, "it does not go on")


def test_restore_in_the_foreground(counter: Container) -> None:
    images = ("--image-path", str(counter.bundle / "images"))
    counter.runtime("checkpoint", *images, counter.id).ok()
    line = [PROGRAM, "--root", str(counter.runtime.root), "restore", *images, "--bundle", str(counter.bundle)]
    with counter.output.open("ab") as output, open(os.devnull, "rb") as null:
        process = subprocess.Popen([*line, counter.id], stdin=null, stdout=output, stderr=output)
    wait_for(lambda: counter.runtime("state", counter.id).status == 0, "it is not restored")
    wait_for(lambda: counter.status == "running", "it does not run")
    counter.kill()
    assert process.wait(10) == 137
    counter.runtime("state", counter.id).failed()


class Receiver:
    """A console socket that takes the master of one terminal."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen()
        self.server.settimeout(10)

    def master(self) -> int:
        connection, _ = self.server.accept()
        with self.server, connection:
            _, (master,), _, _ = socket.recv_fds(connection, 4096, 1)
        return master


def read_until(master: int, text: bytes) -> None:
    seen = b""
    end = time.monotonic() + 10
    while text not in seen:
        assert time.monotonic() < end, seen
        seen += os.read(master, 4096)


def asks(runtime: Runtime) -> Container:
    """Answers each line on its terminal."""
    if why := unfit():
        pytest.skip(why)
    container = runtime.sh("stty -echo; echo ready; while read line; do echo got $line; done")
    container.config["process"]["terminal"] = True
    trace = container.bundle / "hook"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"cat >> {trace}"], "env": ["PATH=/bin"]}
    container.config["hooks"] = {"createRuntime": [hook]}
    return container


def test_a_terminal(runtime: Runtime) -> None:
    """Its other end is not among the processes: criu makes a new one, which goes to the console socket."""
    container = asks(runtime)
    images = ("--image-path", str(container.bundle / "images"))
    first, second = Receiver(runtime.tmp / "1"), Receiver(runtime.tmp / "2")
    container.create("--console-socket", first.path).ok()
    container.start().ok()
    master = first.master()
    read_until(master, b"ready")
    runtime("checkpoint", *images, container.id).ok()
    os.close(master)
    restore = ("restore", *images, "--bundle", str(container.bundle), "--detach")
    answer = runtime(*restore, container.id).failed(1)
    assert "without setting console socket" in answer.stderr
    runtime(*restore, "--console-socket", second.path, container.id).ok()
    master = second.master()
    os.write(master, b"typed\n")
    read_until(master, b"got typed")
    assert container.status == "running"
    os.close(master)
    assert (container.bundle / "hook").read_text().count(container.id) == 2


def test_a_terminal_in_the_foreground(runtime: Runtime) -> None:
    container = asks(runtime)
    images = ("--image-path", str(container.bundle / "images"))
    first = Receiver(runtime.tmp / "1")
    container.create("--console-socket", first.path).ok()
    container.start().ok()
    master = first.master()
    read_until(master, b"ready")
    runtime("checkpoint", *images, container.id).ok()
    os.close(master)
    line = [PROGRAM, "--root", str(runtime.root), "restore", *images, "--bundle", str(container.bundle)]
    with subprocess.Popen(
        [*line, container.id], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin and process.stdout
        wait_for(lambda: runtime("state", container.id).status == 0, "it is not restored")
        wait_for(lambda: container.status == "running", "it does not run")
        process.stdin.write(b"typed\n")
        read_until(process.stdout.fileno(), b"got typed")
        container.kill()
        assert process.wait(10) == 137


def test_a_terminal_and_a_criu_that_fails(runtime: Runtime, fake: Fake) -> None:
    """It ends without an answer."""
    container = runtime.sleeper()
    container.config["process"]["terminal"] = True
    receiver = Receiver(runtime.tmp / "1")
    container.create("--console-socket", receiver.path).ok()
    container.start().ok()
    master = receiver.master()
    answer = fake.call(container, "checkpoint").failed(1)
    assert "criu dump failed: exit status 3" in answer.stderr
    assert container.status == "running"
    os.close(master)
