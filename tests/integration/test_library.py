"""pyrunc as a library: a Python process makes, starts and ends a container in-process."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from pyrunc.creation import Creation
from tests.integration.harness import PROGRAM, Container, Runtime, cgroups_of, own, wait_for

pytestmark = pytest.mark.skipif(Path(PROGRAM).name != "pyrunc", reason="the library is pyrunc's own")
GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "library.md").read_text()

SCRIPT = """
import sys, time
import pyrunc

root, id, bundle = sys.argv[1:]
pyrunc.create(root, id, bundle)
print(pyrunc.state(root, id)["status"])
pyrunc.start(root, id)
print(pyrunc.state(root, id)["status"], len(pyrunc.processes(root, id)))
try:
    pyrunc.create(root, id, bundle)
except pyrunc.AlreadyExists as error:
    print(error.code)
pyrunc.kill(root, id, 9)
while pyrunc.state(root, id)["status"] != "stopped":
    time.sleep(0.01)
pyrunc.delete(root, id)
print(pyrunc.containers(root))
"""


def test_a_whole_life(runtime: Runtime) -> None:
    container = runtime.sh("exec sleep 100")
    container.write()
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, str(runtime.root), container.id, str(container.bundle)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.stdout.splitlines() == ["created", "running 1", "already-exists", "[]"], done.stdout


# In this process


def surroundings() -> tuple[Any, ...]:
    """What a call must leave as it was: descriptors, children, mask, handlers."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return (
        sorted(os.listdir("/proc/self/fd")),
        children,
        signal.pthread_sigmask(signal.SIG_BLOCK, []),
        handlers,
    )


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = surroundings()
    yield
    assert surroundings() == before


def written(container: Container) -> tuple[str, str, str]:
    """What each function takes first."""
    container.write()
    return str(container.runtime.root), container.id, str(container.bundle)


def output_of(function: Any, *args: Any, **options: Any) -> tuple[int, str]:
    with tempfile.TemporaryFile() as output:
        status = function(*args, stdio=(0, output.fileno(), output.fileno()), **options)
        output.seek(0)
        return status, output.read().decode()


def test_output(runtime: Runtime) -> None:
    container = runtime.sh("echo out; echo err >&2; ls /proc/self/fd; exit 3")
    assert output_of(pyrunc.run, *written(container)) == (3, "out\nerr\n0\n1\n2\n3\n")


def test_output_and_errors_exchanged(runtime: Runtime) -> None:
    """Descriptors that are each other's targets."""
    container = runtime.sh("echo out; echo err >&2")
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        saved = os.dup(1), os.dup(2)
        os.dup2(output.fileno(), 1)
        os.dup2(errors.fileno(), 2)
        try:
            assert pyrunc.run(*written(container), stdio=(0, 2, 1)) == 0
        finally:
            for fd, before in zip((1, 2), saved, strict=True):
                os.dup2(before, fd)
                os.close(before)
        assert (os.pread(output.fileno(), 9, 0), os.pread(errors.fileno(), 9, 0)) == (b"err\n", b"out\n")


def test_input(runtime: Runtime) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"7\n")
    os.close(writing)
    assert pyrunc.run(*written(runtime.sh("read number; exit $number")), stdio=(reading, 1, 2)) == 7
    os.close(reading)


def test_exec(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    place = str(runtime.root), container.id
    assert output_of(pyrunc.exec_process, *place, ["sh", "-c", "pwd; exit 4"], cwd="/tmp") == (4, "/tmp\n")
    assert pyrunc.exec_process(*place, ["true"], env=["A=b"], detach=True) == 0
    time.sleep(0.3)
    assert pyrunc.exec_process(*place, ["true"]) == 0  # the one before is reaped by now


def test_run_for_too_long(runtime: Runtime) -> None:
    container = runtime.sleeper()
    place = written(container)
    with pytest.raises(pyrunc.TimedOut) as caught:
        pyrunc.run(*place, timeout=0.3)
    assert caught.value.code == "timeout"
    with pytest.raises(pyrunc.NotFound):
        pyrunc.state(*place[:2])
    assert not cgroups_of(container.id)


def test_exec_for_too_long(runtime: Runtime) -> None:
    container = runtime.sleeper().started()
    place = str(runtime.root), container.id
    with pytest.raises(pyrunc.TimedOut):
        pyrunc.exec_process(*place, ["sleep", "100"], timeout=0.3)
    assert pyrunc.state(*place)["status"] == "running"
    wait_for(lambda: len(pyrunc.processes(*place)) == 1, "the process is not killed")


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Also where a shell has started the tests in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_ends_its_container(runtime: Runtime) -> None:
    place = written(runtime.sleeper())
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        pyrunc.run(*place)
    timer.join()
    with pytest.raises(pyrunc.NotFound):
        pyrunc.state(*place[:2])


def test_threads(runtime: Runtime) -> None:
    places = [written(runtime.sh(f"sleep 0.2; exit {number}")) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda place: pyrunc.run(*place), places, timeout=20)) == list(range(8))


def test_paths_are_any_paths(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative ones are remembered by where they led."""
    container = runtime.sleeper()
    root, id_, bundle = written(container)
    monkeypatch.chdir(runtime.tmp)
    pyrunc.create(Path("state"), id_, container.bundle.relative_to(runtime.tmp))
    monkeypatch.chdir("/")
    assert pyrunc.state(root, id_)["bundle"] == bundle
    pyrunc.start(root, id_)
    pyrunc.delete(root, id_, force=True)


def test_keep(runtime: Runtime) -> None:
    place = written(runtime.sh("exit 5"))
    assert pyrunc.run(*place, keep=True) == 5
    assert pyrunc.state(*place[:2])["status"] == "stopped"
    pyrunc.delete(*place[:2])


def test_a_run_that_fails(runtime: Runtime) -> None:
    with pytest.raises(pyrunc.Error) as caught:
        pyrunc.run(*written(runtime.container("/bin/nosuch")))
    assert (caught.value.code, caught.value.path) == ("executable", "process.args")


def test_the_loop_of_asyncio_goes_on(runtime: Runtime) -> None:
    place = written(runtime.sh("sleep 0.5; exit 6"))

    async def main() -> tuple[int, int]:
        task = asyncio.create_task(asyncio.to_thread(pyrunc.run, *place))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.05)
            turns += 1
        return await task, turns

    status, turns = asyncio.run(main())
    assert status == 6 and turns > 4


@pytest.mark.parametrize("number", range(GUIDE.count("```python")))
def test_the_guide(runtime: Runtime, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Its examples, with ids that are the tests' own."""
    example = re.findall("```python\n(.*?)```", GUIDE, re.DOTALL)[number]
    root, id_, bundle = written(runtime.sh("echo hello; sleep 1"))
    example = re.sub(r'"(first|second|sandbox)"', f'"{own(id_)}"', example).replace("job-", id_[:-1])
    found: dict[str, Any] = {"root": root, "bundle": bundle}
    exec(compile(example, "library.md", "exec"), found)
    if "text" in found:
        assert (found["status"], found["text"]) == (0, "hello\n")
    elif "exec_process" in example:
        assert found["status"] == 3
    elif "statuses" in found:
        assert found["statuses"] == [0, 0, 0, 0]
    else:
        assert "config-missing" in capsys.readouterr().out


def test_a_relative_bundle(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rootfs is the one beside its config.json; the state has the absolute path."""
    container = runtime.container("/bin/true")
    root, id, bundle = written(container)
    monkeypatch.chdir(container.bundle.parent)
    pyrunc.create(root, id, container.bundle.name)
    described = pyrunc.state(root, id)
    pyrunc.delete(root, id, force=True)
    assert (described["bundle"], described["rootfs"]) == (bundle, f"{bundle}/rootfs")


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_an_exit_status_that_is_lost(runtime: Runtime, verb: str) -> None:
    """Who ignores SIGCHLD hears that it is not known, and not a number that it might have been."""
    container = runtime.sh("exit 7") if verb == "run" else runtime.sleeper().started()
    root, id, bundle = written(container)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(pyrunc.Error) as caught:
            if verb == "run":
                pyrunc.run(root, id, bundle)
            else:
                pyrunc.exec_process(root, id, ["/bin/sh", "-c", "exit 7"])
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert caught.value.code == "exit-status"
    assert (runtime.root / id).exists() == (verb == "exec")


def test_who_comes_second_to_a_cgroup_leaves_the_first_alone(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both find the cgroup missing. One makes it and lives in it; the other one must not undo that."""
    first, second = runtime.sleeper(), runtime.sleeper()
    for container in (first, second):
        container.config["linux"]["cgroupsPath"] = f"/{first.id}"
    second.write()
    record = Creation._record

    def record_then_lose(creation: Creation) -> None:
        record(creation)
        first.started()

    monkeypatch.setattr(Creation, "_record", record_then_lose)
    with pytest.raises(pyrunc.Error, match="by somebody else") as caught:
        pyrunc.create(str(runtime.root), second.id, str(second.bundle))
    assert caught.value.path == "linux.cgroupsPath"
    assert first.status == "running" and cgroups_of(first.id) != []
    assert [each["id"] for each in pyrunc.containers(str(runtime.root))] == [first.id]
