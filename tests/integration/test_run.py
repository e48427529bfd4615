"""run: the exit status, detached containers, standard streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.harness import Runtime, peers_differ


def test_hello(runtime: Runtime) -> None:
    assert runtime.sh("echo hello").run().ok().stdout == "hello\n"


def test_standard_error(runtime: Runtime) -> None:
    assert "oops\n" in runtime.sh("echo oops >&2").run().ok().stderr


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_exit_status(runtime: Runtime, status: int) -> None:
    assert runtime.sh(f"exit {status}").run().status == status


@pytest.mark.parametrize(("signal", "number"), [("KILL", 9), ("TERM", 15), ("ABRT", 6)])
def test_a_signal_is_128_and_its_number(runtime: Runtime, signal: str, number: int) -> None:
    # A pid namespace's first process can't kill itself: it needs the host's.
    container = runtime.sh(f"kill -{signal} $$; sleep 100")
    namespaces = container.config["linux"]["namespaces"]
    container.config["linux"]["namespaces"] = [n for n in namespaces if n["type"] != "pid"]
    assert container.run().status == 128 + number


def test_the_container_is_gone_afterwards(runtime: Runtime) -> None:
    container = runtime.sh("exit 0")
    container.run().ok()
    runtime("state", container.id).failed()


def test_detach(runtime: Runtime) -> None:
    container = runtime.sh("echo hello; sleep 100")
    pid_file = container.bundle / "pid"
    container.run("--detach", "--pid-file", str(pid_file)).ok()
    assert container.status == "running"
    assert pid_file.read_text() == str(container.pid)


def test_standard_input(runtime: Runtime) -> None:
    container = runtime.container("/bin/cat")
    file = Path(container.bundle / "input")
    file.write_text("from outside\n")
    with file.open() as stdin:
        assert container.run(stdin=stdin).ok().stdout == "from outside\n"


@pytest.mark.spec("CR-4")
def test_program_that_does_not_exist(runtime: Runtime) -> None:
    container = runtime.container("/no/such/program")
    answer = container.run().failed()
    assert "no/such/program" in answer.stderr
    runtime("state", container.id).failed()


@pytest.mark.parametrize("fault", ["program", "poststart"])
def test_a_pid_file_names_no_process_that_never_ran(runtime: Runtime, fault: str) -> None:
    peers_differ("runc", "crun", why="poststart hooks of 1.3 are unknown to them")
    container = runtime.container("/no/such/program" if fault == "program" else "/bin/true")
    container.config["ociVersion"] = "1.3.0"
    if fault == "poststart":
        container.config["hooks"] = {"poststart": [{"path": "/bin/false"}]}
    file = container.bundle / "pid"
    container.run("--detach", "--pid-file", str(file)).failed()
    assert not file.exists()


@pytest.mark.spec("process.args")
def test_program_is_looked_up_in_the_path(runtime: Runtime) -> None:
    container = runtime.container("echo", "found")
    container.config["process"]["env"] = ["PATH=/nowhere:/bin"]
    assert container.run().ok().stdout == "found\n"


def test_run_of_an_id_in_use(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    container.run().failed()
    assert container.status == "running"


def test_a_run_that_was_killed_leaves_a_container_that_can_be_ended(runtime: Runtime) -> None:
    """Killed between the start and its record: what runs is told as running."""
    peers_differ("runc", "crun", why="their records are others")
    container = runtime.sleeper()
    container.run("--detach").ok()
    record = runtime.root / container.id / "state.json"
    record.write_text(record.read_text().replace('"status":"running"', '"status":"creating"'))
    assert container.status == "running"
    container.kill("KILL").ok()
    container.wait("stopped")
