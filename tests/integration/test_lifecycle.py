"""create, start, state, kill, delete: what they do, and when they must refuse."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from signal import SIGKILL

import pytest

from tests.integration.harness import (
    CGROUPS,
    Container,
    Runtime,
    cgroup_file,
    cgroups_of,
    default_config,
    mounts_below,
    peers_differ,
    wait_for,
)


@pytest.mark.spec("ST-5", "CR-6", "SA-3", "DE-5")
def test_a_life(runtime: Runtime) -> None:
    container = runtime.sh("echo ran; sleep 100")
    assert container.create().status == 0, container.printed()
    assert container.status == "created"
    assert container.printed() == ""  # the program does not run before start
    container.start().ok()
    assert container.status == "running"
    container.kill("KILL").ok()
    container.wait("stopped")
    container.delete().ok()
    runtime("state", container.id).failed(1)
    assert container.printed() == "ran\n"


@pytest.mark.spec("ST-1", "ST-4", "ST-7", "ST-8")
def test_state(runtime: Runtime) -> None:
    container = runtime.sleeper()
    container.config["annotations"] = {"org.example.key": "value"}
    container.create().ok()
    state = container.state()
    assert state["id"] == container.id
    assert state["ociVersion"].startswith("1.")
    assert state["bundle"] == str(container.bundle)
    assert state["annotations"]["org.example.key"] == "value"
    assert Path(f"/proc/{state['pid']}").is_dir()


def test_state_of_a_stopped_container_does_not_change(runtime: Runtime) -> None:
    container = runtime.sh("exit 0").finished()
    assert container.state() == container.state()
    assert container.state().get("pid", 0) == 0


@pytest.mark.spec("ST-3", "DE-2", "SA-2", "KI-2")
@pytest.mark.parametrize("verb", ["start", "state", "kill", "delete"])
def test_unknown_id(runtime: Runtime, verb: str) -> None:
    answer = runtime(verb, "pyrunc-test-unknown").failed()
    peers_differ("crun", why="words it in another way")
    assert "does not exist" in answer.stderr


@pytest.mark.spec("ST-2", "CR-1", "SA-1", "KI-1", "DE-1")
@pytest.mark.parametrize("verb", ["create", "start", "state", "kill", "delete"])
def test_missing_id(runtime: Runtime, verb: str) -> None:
    runtime(verb).failed()


@pytest.mark.spec("CR-2")
@pytest.mark.parametrize("id_", ["../x", "a/b", ".", "..", "a b", ""])
def test_ids_that_are_no_names(runtime: Runtime, id_: str) -> None:
    peers_differ("crun", why="takes most of them")
    container = runtime.sleeper()
    container.config["linux"]["cgroupsPath"] = f"/{container.id}"
    container.write()
    answer = runtime("create", "--bundle", str(container.bundle), id_)
    if answer.status == 0:
        runtime("delete", "--force", id_)
    answer.failed()


@pytest.mark.spec("DE-2")
def test_delete_force_of_an_unknown_container_is_no_error(runtime: Runtime) -> None:
    runtime("delete", "--force", "pyrunc-test-unknown").ok()


@pytest.mark.spec("CR-2")
def test_duplicate_id_leaves_the_first_alone(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    before = container.state()
    container.create().failed(1)
    assert container.state() == before


@pytest.mark.spec("DE-7")
def test_id_can_be_used_again(runtime: Runtime) -> None:
    container = runtime.sh("exit 0").finished()
    container.delete().ok()
    container.finished()


@pytest.mark.spec("SA-2")
def test_start_twice(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    container.start().failed(1)
    assert container.status == "running"


@pytest.mark.spec("SA-2")
def test_start_of_a_stopped_container(runtime: Runtime) -> None:
    runtime.sh("exit 0").finished().start().failed(1)


@pytest.mark.spec("DE-3")
def test_delete_of_a_running_container(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    container.delete().failed(1)
    assert container.status == "running"
    container.delete("--force").ok()
    runtime("state", container.id).failed()


@pytest.mark.spec("DE-4")
def test_delete_of_a_created_container(runtime: Runtime) -> None:
    peers_differ("runc", "crun", why="they kill it")
    container = runtime.sleeper()
    container.create().ok()
    container.delete().failed(1)
    assert container.status == "created"


@pytest.mark.spec("KI-2")
def test_kill_of_a_stopped_container(runtime: Runtime) -> None:
    runtime.sh("exit 0").finished().kill().failed(1)


@pytest.mark.spec("KI-4")
def test_kill_of_a_created_container(runtime: Runtime) -> None:
    container = runtime.sleeper()
    container.create().ok()
    container.kill("KILL").ok()
    container.wait("stopped")


@pytest.mark.parametrize("signal", ["HUP", "INT", "QUIT", "TERM"])
def test_what_asks_a_created_container_to_end_does_so(runtime: Runtime, signal: str) -> None:
    peers_differ("crun", why="its init, the first of a pid namespace, never gets them")
    container = runtime.sleeper()
    container.create().ok()
    container.kill(signal).ok()
    container.wait("stopped")
    container.delete().ok()


def test_the_program_has_no_handlers_of_what_waited_for_it(runtime: Runtime) -> None:
    container = runtime.container("/bin/grep", "SigCgt", "/proc/self/status").finished()
    assert container.printed().split()[1] == "0" * 16


def test_signal_0_asks_whether_it_is_there(runtime: Runtime) -> None:
    peers_differ("crun", why="it knows no signal 0")
    container = runtime.sleeper().started()
    runtime("kill", container.id, "0").ok()
    container.kill("KILL").ok()
    container.wait()
    runtime("kill", container.id, "0").failed(1)


def test_an_empty_signal_is_the_usual_one(runtime: Runtime) -> None:
    peers_differ("crun", why="it knows no empty signal")
    container = runtime.sh("trap 'echo caught; exit 0' TERM; echo ready; sleep 100 & wait").started()
    wait_for(lambda: "ready" in container.printed(), "the trap is not set")
    container.kill("").ok()
    container.wait()
    assert container.printed() == "ready\ncaught\n"


def pids(container: Container) -> list[int]:
    return json.loads(container.runtime("ps", "--format", "json", container.id).ok().stdout) or []


def test_kill_all(runtime: Runtime) -> None:
    """Also when its first process is dead before the others have been signalled."""
    container = runtime.sh("sleep 100 & sleep 100 & exec sleep 100").started()
    runtime("kill", "--all", container.id, "KILL").ok()
    container.wait()
    runtime("kill", "--all", container.id, "KILL").ok()


def test_kill_all_signals_each_once(runtime: Runtime) -> None:
    peers_differ("runc", why="its --all asks for nothing any more")
    trap = "trap 'echo caught' USR1; echo ready; while :; do sleep 0.02; done"
    container = runtime.sh(f"({trap}) & {trap}").started()
    wait_for(lambda: container.printed().count("ready") == 2, "the traps are not set")
    runtime("kill", "--all", container.id, "USR1").ok()
    wait_for(lambda: container.printed().count("caught") >= 2, "not both got it")
    time.sleep(0.2)
    assert container.printed().count("caught") == 2


def test_kill_of_what_outlived_the_first_process(runtime: Runtime) -> None:
    """In a shared pid namespace the others go on; SIGKILL is for them, too."""
    container = runtime.sh("sleep 100 & exec sleep 100")
    kept = [each for each in container.config["linux"]["namespaces"] if each["type"] != "pid"]
    container.config["linux"]["namespaces"] = kept
    container.started()
    wait_for(lambda: len(pids(container)) == 2, "the second process is not there")
    os.kill(container.pid, SIGKILL)
    container.wait()
    container.kill("TERM").failed(1)
    assert len(pids(container)) == 1
    container.kill("KILL").ok()
    wait_for(lambda: not pids(container), "it lives on")


@pytest.mark.spec("KI-3")
@pytest.mark.parametrize("signal", ["USR1", "SIGUSR1", "10"])
def test_kill_delivers_the_signal(runtime: Runtime, signal: str) -> None:
    container = runtime.sh("trap 'echo caught; exit 0' USR1; echo ready; sleep 100 & wait")
    container.started()
    while "ready" not in container.printed():
        pass
    container.kill(signal).ok()
    container.wait("stopped")
    assert container.printed() == "ready\ncaught\n"


def test_kill_with_a_signal_that_is_none(runtime: Runtime) -> None:
    peers_differ("crun", why="takes it for 0")
    container = runtime.sleeper().started()
    container.kill("NOSUCH").failed()
    assert container.status == "running"


@pytest.mark.spec("CR-8", "G5")
def test_a_later_edit_of_the_configuration_does_not_matter(runtime: Runtime) -> None:
    container = runtime.sh("echo old")
    container.create().ok()
    container.config["process"]["args"][2] = "echo new"
    container.write()
    container.start().ok()
    container.wait()
    assert container.printed() == "old\n"


@pytest.mark.spec("G3", "EW-3")
def test_unknown_properties_are_ignored(runtime: Runtime) -> None:
    container = runtime.sh("echo ran")
    container.config["unknown"] = {"a": 1}
    assert container.run().ok().stdout == "ran\n"


def test_pid_file(runtime: Runtime) -> None:
    container = runtime.sleeper()
    file = container.bundle / "pid"
    container.create("--pid-file", str(file)).ok()
    assert file.read_text() == str(container.pid)  # and no newline


@pytest.mark.spec("CR-3", "G1")
def test_bundle_without_configuration(runtime: Runtime) -> None:
    container = runtime.sleeper()
    runtime("create", "--bundle", str(container.bundle), container.id).failed(1)


@pytest.mark.spec("CR-7", "EW-1", "G8")
@pytest.mark.parametrize(
    "change",
    [
        {"ociVersion": "invalid"},
        {"process": {"args": ["/bin/true"], "cwd": "relative", "user": {"uid": 0, "gid": 0}}},
        {"root": {"path": "no-such-directory"}},
        {"hooks": {"prestart": [{"path": "/bin/false"}]}},
        {"mounts": [{"destination": "/x", "type": "no-such-type", "source": "x"}]},
        {"linux": {**default_config()["linux"], "intelRdt": {"closID": "no-such-class"}}},
    ],
)
def test_failed_create_leaves_nothing(runtime: Runtime, change: dict[str, object]) -> None:
    if "ociVersion" in change:
        peers_differ("crun", "runc", why="they take any version")
    if "process" in change:
        peers_differ("crun", "runc", why="they take a relative cwd")
    container = runtime.sleeper()
    container.config.update(change)
    container.create().failed()
    runtime("state", container.id).failed()
    assert cgroups_of(container.id) == []
    assert mounts_below(runtime.tmp) == []
    assert not (runtime.root / container.id).exists()


@pytest.mark.spec("DE-5")
def test_delete_removes_everything(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    pid = container.pid
    assert cgroups_of(container.id) != []
    container.delete("--force").ok()
    assert cgroups_of(container.id) == []
    assert not (runtime.root / container.id).exists()
    assert not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text()


def test_list(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    assert runtime("list", "--quiet").ok().lines == [container.id]
    (entry,) = json.loads(runtime("list", "--format", "json").ok().stdout)
    assert (entry["id"], entry["status"]) == (container.id, "running")


@pytest.mark.spec("ST-6")
def test_pause_and_resume(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    runtime("pause", container.id).ok()
    assert container.status == "paused"
    runtime("resume", container.id).ok()
    assert container.status == "running"


@pytest.mark.parametrize("does", ["sleeps", "works", "is stopped"])
def test_paused_whatever_the_program_does(runtime: Runtime, does: str) -> None:
    """Asleep, busy or stopped: `list` and `state` say running before, paused while it is, running again."""
    container = runtime.sh("while :; do :; done" if does == "works" else "exec sleep 100").started()
    if does == "is stopped":
        container.kill("STOP").ok()

    def seen() -> tuple[str, str]:
        (entry,) = json.loads(runtime("list", "--format", "json").ok().stdout)
        return entry["status"], container.status

    assert seen() == ("running", "running")
    runtime("pause", container.id).ok()
    assert seen() == ("paused", "paused")
    runtime("resume", container.id).ok()
    assert seen() == ("running", "running")


def test_paused_before_its_program_runs(runtime: Runtime) -> None:
    peers_differ("crun", why="its list says created")
    container = runtime.sleeper()
    container.create().ok()
    runtime("pause", container.id).ok()
    (entry,) = json.loads(runtime("list", "--format", "json").ok().stdout)
    assert (entry["status"], container.status) == ("paused", "paused")


@pytest.mark.spec("KI-5")
def test_kill_of_a_paused_container(runtime: Runtime) -> None:
    peers_differ("crun", why="leaves it frozen")
    container = runtime.sleeper().started()
    runtime("pause", container.id).ok()
    container.kill("KILL").ok()
    container.wait("stopped")


@pytest.mark.parametrize("how", ["kill", "resume"])
def test_out_of_a_freezer_that_is_not_done(runtime: Runtime, how: str) -> None:
    """As a killed `pause` leaves it: on a busy host a process runs for some time before it freezes."""
    peers_differ("runc", "crun", why="leave it frozen")
    container = runtime.sh("while :; do :; done")
    if not (CGROUPS / "freezer").is_dir():
        pytest.skip("no cgroup v1 hierarchy freezer")
    # A millisecond in each second: hardly ever does it get to where it freezes.
    container.config["linux"]["cgroupsPath"] = f"/{container.id}"
    container.config["linux"]["resources"]["cpu"] = {"quota": 1000, "period": 1_000_000}
    container.started()
    cgroup_file(container, "cpu", "cpu.stat")  # skips where there is no cgroup v1
    for path in cgroups_of(container.id):
        if (path / "freezer.state").exists():
            (path / "freezer.state").write_text("FROZEN")
    if how == "resume":
        runtime("resume", container.id).ok()
        assert cgroup_file(container, "freezer", "freezer.state") == "THAWED"
    container.kill("KILL").ok()
    container.wait("stopped")


def test_init_ends_when_its_state_is_gone(runtime: Runtime) -> None:
    """Nobody could start it any more, so it does not wait for ever."""
    peers_differ("runc", "crun", why="their init waits for a fifo")
    container = runtime.sleeper()
    container.create().ok()
    (runtime.root / container.id / "start.sock").unlink()
    container.wait("stopped")


def test_list_names_the_owner(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    header, line = runtime("list").ok().lines
    assert "OWNER" in header
    assert line.split()[0] == container.id and line.split()[-1] == "root"
