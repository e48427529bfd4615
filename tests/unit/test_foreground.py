"""A process in the foreground: its terminal, its end, and the time that it gets."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from pyrunc import hooks, process
from pyrunc.errors import TimedOut
from pyrunc.foreground import Foreground
from pyrunc.process import wait_end
from pyrunc.spec import Spec

# Serves the terminal of a shell's script, as `run` does.
SERVE = """
import os, pty, sys, tty
from pyrunc.foreground import Foreground
master, slave = pty.openpty()
tty.setraw(slave)
pid = os.fork()
if pid == 0:
    os.dup2(slave, 0)
    os.dup2(slave, 1)
    os.execvp("sh", ["sh", "-c", sys.argv[1]])
sys.exit(Foreground(False).wait(pid, os.pidfd_open(pid), master))
"""
MUCH = 1 << 18  # bytes: more than a terminal holds


def test_a_program_that_writes_before_it_reads() -> None:
    """Both directions are full: who then waits until the program reads waits for ever."""
    script = f"head -c {MUCH} /dev/zero; head -c {MUCH} | wc -c"
    serve = [sys.executable, "-I", "-c", SERVE, script]
    done = subprocess.run(serve, input=bytes(MUCH), stdout=subprocess.PIPE, timeout=20, check=True)
    assert done.stdout.strip(b"\0").split() == [str(MUCH).encode()]


def test_a_standard_output_that_does_not_block() -> None:
    """It takes a part, and the rest when its reader is there."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(reading, True)
    serve = [sys.executable, "-I", "-c", SERVE, f"head -c {MUCH} /dev/zero"]
    with subprocess.Popen(serve, stdin=subprocess.DEVNULL, stdout=writing):
        os.close(writing)
        time.sleep(0.2)
        with open(reading, "rb") as output:
            assert output.read() == bytes(MUCH)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def pidfd(child: subprocess.Popen[bytes]) -> Iterator[int]:
    fd = os.pidfd_open(child.pid)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("timeout", [30 * 86400, float("inf")])
def test_a_time_that_poll_can_not_wait(child: subprocess.Popen[bytes], pidfd: int, timeout: float) -> None:
    assert child.stdin
    child.stdin.close()
    assert Foreground(False).wait(child.pid, pidfd, timeout=timeout) == 0


def test_a_long_time_with_a_terminal(child: subprocess.Popen[bytes], pidfd: int) -> None:
    assert child.stdin
    child.stdin.close()
    master, slave = pty.openpty()
    assert Foreground(False).wait(child.pid, pidfd, master, timeout=30 * 86400) == 0
    os.close(master)
    os.close(slave)


def test_the_time_is_over(child: subprocess.Popen[bytes], pidfd: int) -> None:
    with pytest.raises(TimedOut):
        Foreground(False).wait(child.pid, pidfd, timeout=0.01)


def test_long_times_are_waited_for_in_pieces(pidfd: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "POLL_MAX", 1)
    assert not wait_end(pidfd, 5)


def test_a_hook_may_take_a_long_time() -> None:
    spec = Spec(b'{"ociVersion":"1.0.2","hooks":{"poststop":[{"path":"/bin/true","timeout":9000000}]}}')
    assert hooks.failures(spec, "poststop", "c", "stopped", 0, "/b") == []
