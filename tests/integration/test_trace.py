"""--trace: a timeline of every step, in the format of Chrome's trace events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import Runtime

INIT = 2  # the track of pyrunc-init


def events(file: Path) -> list[dict[str, Any]]:
    """The events with a duration, after a look at what every viewer needs."""
    document = json.loads(file.read_text())
    assert document["displayTimeUnit"] == "ns"
    found = [event for event in document["traceEvents"] if event["ph"] == "X"]
    assert found
    for event in found:
        assert set(event) == {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"}
        assert event["ts"] >= 0 and event["dur"] >= 0
    for track in {event["tid"] for event in found}:
        spans = [event for event in found if event["tid"] == track]
        for one, next_one in zip(spans, spans[1:], strict=False):
            assert one["ts"] + one["dur"] <= next_one["ts"] + 0.001
    return found


def names(found: list[dict[str, Any]], track: int) -> list[str]:
    return [event["name"] for event in found if event["tid"] == track]


def test_run_shows_every_step_up_to_execve(runtime: Runtime, tmp_path: Path) -> None:
    container = runtime.container("/bin/true")
    file = tmp_path / "trace.json"
    container.run("--trace", str(file)).ok()
    found = events(file)
    steps = names(found, INIT)
    assert [name for name in ("hostname", "mount", "pivot", "gate", "exec") if name in steps] == [
        "hostname",
        "mount",
        "pivot",
        "gate",
        "exec",
    ]
    (hostname,) = [event for event in found if event["name"] == "hostname"]
    assert hostname["args"]["path"] == "hostname"
    phases = names(found, 1)
    assert phases.index("read config.json") < phases.index("clone3") < phases.index("start")


def test_create_start_and_exec_have_a_timeline_each(runtime: Runtime, tmp_path: Path) -> None:
    container = runtime.container("/bin/sleep", "100")
    files = {verb: tmp_path / f"{verb}.json" for verb in ("create", "start", "exec")}
    container.create("--trace", str(files["create"])).ok()
    assert names(events(files["create"]), INIT)[-1] == "gate"
    container.start("--trace", str(files["start"])).ok()
    assert names(events(files["start"]), INIT)[-1] == "exec"
    container.exec("/bin/true", options=("--trace", str(files["exec"]))).ok()
    steps = names(events(files["exec"]), INIT)
    assert "setns" in steps and steps[-1] == "exec"


def test_start_can_be_traced_alone_and_left_out_alone(runtime: Runtime, tmp_path: Path) -> None:
    for traced in ("create", "start"):
        file = tmp_path / f"{traced}.json"
        container = runtime.container("/bin/true")
        option = ("--trace", str(file))
        container.create(*(option if traced == "create" else ())).ok()
        container.start(*(option if traced == "start" else ())).ok()
        steps = names(events(file), INIT)
        assert ("exec" in steps) == (traced == "start")


def test_a_filter_that_forbids_everything_is_no_danger(runtime: Runtime, tmp_path: Path) -> None:
    container = runtime.container("/bin/true")
    allowed = ["execve", "exit_group", "brk", "mmap", "munmap", "mprotect", "arch_prctl", "getuid", "prctl"]
    allowed += [
        "set_tid_address",
        "set_robust_list",
        "rseq",
        "prlimit64",
        "readlinkat",
        "getrandom",
        "newfstatat",
    ]
    allowed += ["capset", "readlink", "getgid", "setgid", "setuid", "uname"]
    container.config["process"]["noNewPrivileges"] = True
    container.config["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": allowed, "action": "SCMP_ACT_ALLOW"}],
    }
    file = tmp_path / "trace.json"
    container.run("--trace", str(file)).ok()
    assert names(events(file), INIT)[-1] == "seccomp"


def test_a_step_that_failed_is_the_last_one(runtime: Runtime, tmp_path: Path) -> None:
    container = runtime.container("/bin/true")
    container.config["mounts"].append({"destination": "/x", "type": "nosuchfs", "source": "none"})
    file = tmp_path / "trace.json"
    assert container.run("--trace", str(file)).status == 1
    last = [event for event in events(file) if event["tid"] == INIT][-1]
    assert last["name"] == "mount"
    assert last["args"]["type"] == "nosuchfs"
    assert "nosuchfs" in last["args"]["failed"]


def test_a_trace_that_cannot_be_written_stops_the_verb_first(runtime: Runtime, tmp_path: Path) -> None:
    container = runtime.container("/bin/true")
    done = container.create("--trace", str(tmp_path / "no" / "such.json"))
    assert done.status == 1
    assert "open trace file" in done.stderr
    with pytest.raises(AssertionError):
        container.state()
