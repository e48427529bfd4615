"""exec: another process in a running container."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import (
    CGROUPS,
    PROGRAM,
    Container,
    Runtime,
    cgroup_file,
    cgroups_of,
    own,
    peers_differ,
    wait_for,
)


@pytest.fixture
def container(runtime: Runtime) -> Container:
    return runtime.sleeper().started()


def test_output(container: Container) -> None:
    assert container.exec("echo", "hello").ok().stdout == "hello\n"


@pytest.mark.parametrize("status", [1, 42])
def test_exit_status(container: Container, status: int) -> None:
    assert container.exec("sh", "-c", f"exit {status}").status == status


def test_it_is_inside(container: Container) -> None:
    for name in ("ipc", "mnt", "net", "pid", "uts"):
        inside = container.exec("readlink", f"/proc/self/ns/{name}").ok().stdout.strip()
        assert inside == os.readlink(f"/proc/{container.pid}/ns/{name}")


def test_it_is_in_the_containers_cgroup(container: Container) -> None:
    theirs = container.exec("cat", "/proc/1/cgroup").ok().stdout
    assert container.exec("cat", "/proc/self/cgroup").ok().stdout == theirs


def test_options(container: Container) -> None:
    options = ("--cwd", "/tmp", "--env", "ADDED=1", "--user", "7:8")
    answer = container.exec("/bin/sh", "-c", "pwd; echo $ADDED; id -u; id -g", options=options)
    assert answer.ok().lines == ["/tmp", "1", "7", "8"]


@pytest.mark.parametrize(
    ("cwd", "words"), [("/no/such", "no such file or directory"), ("/etc/passwd", "not a directory")]
)
def test_a_directory_that_is_none(container: Container, cwd: str, words: str) -> None:
    """In words that engines make exit codes of."""
    peers_differ("crun", why="its words begin with a capital")
    answer = container.exec("pwd", options=("--cwd", cwd)).failed(255)
    assert cwd in answer.stderr and words in answer.stderr


def test_process_file(container: Container) -> None:
    process = dict(container.config["process"], args=["/bin/sh", "-c", "echo $A; pwd"])
    process.update(env=["PATH=/bin", "A=from the file"], cwd="/tmp")
    file = container.bundle / "process.json"
    file.write_text(json.dumps(process))
    answer = container.runtime("exec", "--process", str(file), container.id)
    assert answer.ok().lines == ["from the file", "/tmp"]


def test_detach(container: Container) -> None:
    file = container.bundle / "pid"
    options = ("--detach", "--pid-file", str(file))
    container.exec("sleep", "50", options=options).ok()
    assert os.path.exists(f"/proc/{file.read_text()}")


def test_program_that_does_not_exist(container: Container) -> None:
    answer = container.exec("no-such-program").failed()
    assert "no-such-program" in answer.stderr
    assert answer.status in (1, 127, 255)


def test_capabilities_are_the_containers(container: Container) -> None:
    theirs = container.exec("grep", "^CapEff", "/proc/1/status").ok().stdout
    assert container.exec("grep", "^CapEff", "/proc/self/status").ok().stdout == theirs


def test_container_that_does_not_run(runtime: Runtime) -> None:
    runtime.sh("exit 0").finished().exec("true").failed()


def test_unknown_container(runtime: Runtime) -> None:
    runtime("exec", "pyrunc-test-unknown", "true").failed()


def test_home_is_that_of_the_containers_passwd(container: Container) -> None:
    passwd = container.rootfs / "etc" / "passwd"
    passwd.write_text("root:x:0:0:root:/root:/bin/sh\nuser:x:77:77::/home/user:/bin/sh\nlast:x:78:78::/srv:")
    print_home = ("sh", "-c", "echo $HOME")
    assert container.exec(*print_home).ok().lines == ["/root"]
    assert container.exec(*print_home, options=("--user", "77")).ok().lines == ["/home/user"]
    assert container.exec(*print_home, options=("--user", "78")).ok().lines == ["/srv"]
    assert container.exec(*print_home, options=("--user", "4242")).ok().lines == ["/"]


def test_a_home_that_is_given_stays(container: Container) -> None:
    answer = container.exec("sh", "-c", "echo $HOME", options=("--env", "HOME=/tmp"))
    assert answer.ok().lines == ["/tmp"]


def test_a_pid_file_names_no_process_that_never_ran(container: Container) -> None:
    file = container.bundle / "pid"
    container.exec("/no/such/program", options=("--pid-file", str(file))).failed()
    assert not file.exists()


@pytest.mark.parametrize("kind", ["fifo", "directory", "link out", "no text"])
def test_a_passwd_that_is_no_list_of_users_stops_nothing(container: Container, kind: str) -> None:
    passwd = container.rootfs / "etc" / "passwd"
    passwd.unlink()
    if kind == "fifo":
        os.mkfifo(passwd)
    elif kind == "directory":
        passwd.mkdir()
    elif kind == "link out":
        passwd.symlink_to("../../../../etc/passwd")
    else:
        passwd.write_bytes(b"\0:\n::::::\n" + b"x" * 9000 + b"\nroot:x:0:0::" + b"/" * 5000)
    assert container.exec("sh", "-c", "echo $HOME").ok().lines == ["/"]


def test_a_passwd_that_is_no_file_is_not_opened(container: Container) -> None:
    """To open a device or a fifo may be to do something. A writer of a fifo waits until somebody opens it."""
    passwd = container.rootfs / "etc" / "passwd"
    passwd.unlink()
    os.mkfifo(passwd)
    writer = threading.Thread(target=lambda: passwd.write_text(""))
    writer.start()
    try:
        container.exec("true").ok()
        assert writer.is_alive()
    finally:
        os.close(os.open(passwd, os.O_RDONLY | os.O_NONBLOCK))
        writer.join()


def test_additional_groups_and_capabilities(container: Container) -> None:
    options = ("--additional-gids", "11", "-g", "12", "--cap", "CAP_SYS_TIME")
    answer = container.exec("sh", "-c", "id -G; grep CapEff /proc/self/status", options=options).ok()
    assert answer.lines[0].split() == ["0", "11", "12"]
    assert int(answer.lines[1].split()[1], 16) & 1 << 25


def test_no_new_privileges(runtime: Runtime) -> None:
    container = runtime.sleeper()
    container.config["process"]["noNewPrivileges"] = False
    container.started()
    line = ("grep", "NoNewPrivs", "/proc/self/status")
    assert container.exec(*line).ok().stdout.split()[1] == "0"
    assert container.exec(*line, options=("--no-new-privs",)).ok().stdout.split()[1] == "1"


def test_a_process_file_leaves_the_capabilities_to_the_container(container: Container) -> None:
    process = {"args": ["grep", "^CapEff", "/proc/self/status"], "cwd": "/", "user": {"uid": 0, "gid": 0}}
    file = container.bundle / "process.json"
    file.write_text(json.dumps({**process, "env": ["PATH=/bin"]}))
    theirs = container.exec("grep", "^CapEff", "/proc/1/status").ok().stdout
    assert container.runtime("exec", "--process", str(file), container.id).ok().stdout == theirs


def test_later_edits_of_the_bundle_do_not_matter(container: Container) -> None:
    peers_differ("runc", why="it reads the bundle again")
    container.config["process"].update(cwd="/tmp", env=["PATH=/bin", "EDITED=1"])
    container.write()
    assert container.exec("sh", "-c", "pwd; echo $EDITED").ok().lines == ["/", ""]


def test_preserved_descriptors(container: Container) -> None:
    file = container.bundle / "third"
    with_third = ("sh", "-c", 'exec 3>"$0"; exec "$@"', str(file))
    line = ("exec", "--preserve-fds", "1", container.id, "sh", "-c", "echo here >&3")
    container.runtime(*line, prefix=with_third).ok()
    assert file.read_text() == "here\n"


def test_preserved_descriptor_that_is_not_open(container: Container) -> None:
    answer = container.exec("true", options=("--preserve-fds", "5")).failed()
    assert "file descriptor" in answer.stderr or "bad file" in answer.stderr.lower()


def receive_descriptor(path: Path, received: list[tuple[bytes, int]]) -> threading.Thread:
    """Listens at path; what comes with a descriptor goes to ``received``."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    server.settimeout(10)

    def accept() -> None:
        with server:
            connection, _ = server.accept()
            with connection:
                data, fds, _, _ = socket.recv_fds(connection, 4096, 1)
                received.append((data, fds[0]))

    thread = threading.Thread(target=accept)
    thread.start()
    return thread


def pid_of(pidfd: int) -> int:
    lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pid:"))


def test_pidfd_socket(container: Container) -> None:
    peers_differ("crun", why="it has no such option")
    received: list[tuple[bytes, int]] = []
    thread = receive_descriptor(container.bundle / "s", received)
    file = container.bundle / "pid"
    options = ("--pidfd-socket", str(container.bundle / "s"), "--detach", "--pid-file", str(file))
    container.exec("sleep", "50", options=options).ok()
    thread.join()
    ((kind, pidfd),) = received
    assert (kind, pid_of(pidfd)) == (b"setns", int(file.read_text()))
    os.close(pidfd)


def test_pidfd_socket_of_create(runtime: Runtime) -> None:
    peers_differ("crun", why="it has no such option")
    container = runtime.sleeper()
    received: list[tuple[bytes, int]] = []
    thread = receive_descriptor(container.bundle / "s", received)
    assert container.create("--pidfd-socket", str(container.bundle / "s")).status == 0
    thread.join()
    ((kind, pidfd),) = received
    assert (kind, pid_of(pidfd)) == (b"standard", container.pid)
    os.close(pidfd)


@pytest.fixture
def sub_cgroups(container: Container) -> Iterator[list[Path]]:
    """A cgroup `inner` in each of the container's cgroups."""
    made = [path / "inner" for path in cgroups_of(container.id)]
    for path in made:
        path.mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):  # a new one of v1 is empty, and takes nobody
            if (path.parent / name).exists() and (path / name).exists():
                (path / name).write_text((path.parent / name).read_text())
    yield made


def joined(container: Container, *options: str) -> dict[str, str]:
    """Hierarchy to the path of the cgroup that an exec gets, as the host sees it."""
    file = container.bundle / "pid"
    container.exec("sleep", "50", options=(*options, "--detach", "--pid-file", str(file))).ok()
    lines = Path(f"/proc/{file.read_text()}/cgroup").read_text().splitlines()
    return {line.split(":")[1]: line.split(":")[2] for line in lines}


def v1() -> bool:
    return not (CGROUPS / "cgroup.controllers").exists()


def test_sub_cgroup(container: Container, sub_cgroups: list[Path]) -> None:
    paths = joined(container, "--cgroup", "inner")
    for hierarchy in ("memory", "pids", "freezer") if v1() else ("",):
        assert re.search(rf"{container.id}(\.scope)?/inner$", paths[hierarchy])


@pytest.mark.skipif(not v1(), reason="controllers have hierarchies of their own on cgroup v1 only")
def test_sub_cgroup_of_a_controller(container: Container, sub_cgroups: list[Path]) -> None:
    paths = joined(container, "--cgroup", "memory:/inner")
    assert paths["memory"].endswith(f"{container.id}/inner")
    assert paths["pids"].endswith(container.id)


@pytest.mark.parametrize("path", ["missing", "../..", "nocontroller:inner"])
def test_sub_cgroup_that_is_refused(container: Container, path: str) -> None:
    answer = container.exec("true", options=("--cgroup", path)).failed()
    assert path.split(":")[0] in answer.stderr  # which one it is


@pytest.mark.parametrize("variable", ["NAME", "=value", ""])
def test_an_environment_variable_has_a_name_and_a_value(container: Container, variable: str) -> None:
    peers_differ("crun", why="it gives the text as it is")
    container.exec("true", options=("--env", variable)).failed(255)
    assert container.exec("env", options=("--env", "NAME=")).lines[-2:-1] == ["NAME="]


@pytest.mark.parametrize("options", [(), ("--detach",)])
def test_a_console_socket_without_a_terminal(container: Container, options: tuple[str, ...]) -> None:
    peers_differ("crun", why="it leaves the socket alone")
    with socket.socket(socket.AF_UNIX) as server:
        path = container.bundle / "s"
        server.bind(str(path))
        server.listen()
        answer = container.exec("true", options=("--console-socket", str(path), *options)).failed(255)
    assert "console socket" in answer.stderr


def test_a_container_that_has_reached_its_limit_of_processes(runtime: Runtime) -> None:
    """exec is how one looks into it."""
    peers_differ("runc", why="now and then it can't make a thread")
    container = runtime.sh("sleep 100 & wait")
    container.config["linux"]["resources"]["pids"] = {"limit": 2}
    container.started()
    wait_for(lambda: cgroup_file(container, "pids", "pids.current") == "2", "there is one process only")
    assert container.exec("echo", "in").ok().stdout == "in\n"
    assert container.exec("cat", "/proc/self/cgroup").ok().stdout.count(container.id) > 1


def test_paused(container: Container) -> None:
    container.runtime("pause", container.id).ok()
    answer = container.exec("true").failed()
    assert "paused" in answer.stderr
    command = [
        PROGRAM,
        "--root",
        str(container.runtime.root),
        "exec",
        "--ignore-paused",
        container.id,
        "true",
    ]
    process = subprocess.Popen(command)
    container.runtime("resume", container.id).ok()
    assert process.wait(10) == 0


def test_kill_all_reaches_the_execs(runtime: Runtime) -> None:
    peers_differ("crun", why="its kill --all needs the freezer of this host")
    container = runtime.sh("trap 'exit 0' TERM; while :; do sleep 0.05; done").started()
    file = container.bundle / "pid"
    container.exec("sleep", "50", options=("--detach", "--pid-file", str(file))).ok()
    container.runtime("kill", "--all", container.id, "TERM").ok()
    container.wait()
    with pytest.raises(ProcessLookupError):
        os.kill(int(file.read_text()), 0)


def test_kill_of_a_container_without_a_pid_namespace_ends_all(runtime: Runtime) -> None:
    peers_differ("crun", why="it ends the first process only")
    container = runtime.sh("sleep 100 & exec sleep 100")
    namespaces = container.config["linux"]["namespaces"]
    container.config["linux"]["namespaces"] = [item for item in namespaces if item["type"] != "pid"]
    container.started()
    container.kill()
    container.wait()
    container.delete().ok()
    assert not cgroups_of(container.id)


def test_many_at_once(container: Container) -> None:
    command = [PROGRAM, "--root", str(container.runtime.root), "exec", container.id, "sh", "-c", "exit 7"]
    running = [subprocess.Popen(command) for _ in range(12)]
    assert [process.wait(30) for process in running] == [7] * 12


@pytest.mark.parametrize("pid_namespace", [True, False])
def test_delete_against_exec(runtime: Runtime, pid_namespace: bool) -> None:
    """Whoever comes first: nothing of the container is left, and no exec hangs."""
    for _ in range(4):
        container = runtime.sleeper()
        if not pid_namespace:
            namespaces = container.config["linux"]["namespaces"]
            container.config["linux"]["namespaces"] = [item for item in namespaces if item["type"] != "pid"]
        container.started()
        command = [PROGRAM, "--root", str(runtime.root), "exec", container.id, "sleep", "20"]
        running = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(4)]
        container.delete("--force").ok()
        assert all(process.wait(15) for process in running)
        assert not cgroups_of(own(container.id))


def test_start_against_delete(runtime: Runtime) -> None:
    """Either start wins and delete kills what runs, or start finds no container."""
    for _ in range(4):
        container = runtime.sleeper()
        container.create().ok()
        start = subprocess.Popen(
            [PROGRAM, "--root", str(runtime.root), "start", container.id], stderr=subprocess.DEVNULL
        )
        container.delete("--force").ok()
        assert start.wait(15) in (0, 1)
        runtime("state", container.id).failed()
        assert not cgroups_of(container.id)


def test_a_signal_goes_on_to_the_process(container: Container) -> None:
    script = "trap 'exit 9' USR1; echo ready; while :; do sleep 0.05; done"
    command = [PROGRAM, "--root", str(container.runtime.root), "exec", container.id, "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(10) == 9


@pytest.mark.spec("process.execCPUAffinity")
@pytest.mark.parametrize(
    ("affinity", "expected"),
    [({"initial": "0"}, "0"), ({"initial": "0", "final": "1"}, "1"), ({"final": "0"}, "0"), ({}, "")],
)
def test_cpu_affinity_of_exec(runtime: Runtime, affinity: dict[str, str], expected: str) -> None:
    """It is that of the container's process, and does not touch the container's process itself."""
    peers_differ("runc", "crun", why="Debian's versions do not know it")
    container = runtime.sleeper()
    container.config["process"]["execCPUAffinity"] = affinity
    container.started()
    status = container.exec("/bin/grep", "Cpus_allowed_list", "/proc/self/status").ok()
    everywhere = Path("/proc/self/status").read_text().partition("Cpus_allowed_list:")[2].split()[0]
    assert status.stdout.split()[1] == (expected or everywhere)
    own = container.exec("/bin/grep", "Cpus_allowed_list", "/proc/1/status").ok()
    assert own.stdout.split()[1] == everywhere


@pytest.mark.spec("process.execCPUAffinity")
def test_cpus_that_the_host_has_not_got(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="Debian's versions do not know it")
    container = runtime.sleeper()
    container.config["process"]["execCPUAffinity"] = {"final": "4000"}
    container.started()
    assert "process.execCPUAffinity.final" in container.exec("/bin/true").failed().stderr
