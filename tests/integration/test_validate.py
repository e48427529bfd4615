"""`pyrunc validate`, and that create refuses the same with the same words."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import PROGRAM, pyrunc_only

pytestmark = pyrunc_only


def run(*argv: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *argv], capture_output=True, text=True, check=False, timeout=60, **more)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "rootfs").mkdir()
    assert run("spec", "-b", str(tmp_path)).returncode == 0
    return tmp_path


def change(bundle: Path, change: dict[str, Any]) -> None:
    file = bundle / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}, indent=1))


def test_the_default_configuration_is_valid(bundle: Path) -> None:
    done = run("validate", str(bundle))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("config.json: valid\n")


def test_the_bundle_is_the_current_directory_if_none_is_named(bundle: Path) -> None:
    assert run("validate", cwd=bundle).stdout == "config.json: valid\n"


def test_every_fault_has_its_line_path_and_hint(bundle: Path) -> None:
    change(bundle, {"hostname": 5, "mounts": [{"destination": "/a"}], "hostnam": "h"})
    done = run("validate", cwd=bundle)
    assert done.returncode == 1
    lines = (bundle / "config.json").read_text().splitlines()
    hostname = next(n for n, line in enumerate(lines, 1) if '"hostname"' in line)
    assert f"config.json:{hostname}:2: error: hostname must be a string, is 5\n" in done.stdout
    assert "error: mounts[0].type is required\n    hint: " in done.stdout
    assert "warning: hostnam is not a known property, and is ignored\n" in done.stdout
    assert done.stdout.endswith("config.json: 2 errors, 1 warning\n")


def test_warnings_alone_are_no_failure(bundle: Path) -> None:
    change(bundle, {"mouts": []})
    done = run("validate", str(bundle))
    assert done.returncode == 0
    assert "did you mean" not in done.stdout  # mounts is there already
    assert "1 warning" in done.stdout


def test_parameters_of_a_file_system_on_a_bind_are_warned_of(bundle: Path) -> None:
    mount = {
        "destination": "/x",
        "type": "bind",
        "source": "/etc",
        "options": ["bind", "mode=755", "size=1k"],
    }
    change(bundle, {"mounts": [mount]})
    done = run("validate", str(bundle))
    assert done.returncode == 0
    assert "mounts[0].options[1] mode=755 is ignored" in done.stdout
    assert "mounts[0].options[2] size=1k is ignored" in done.stdout


def test_json_for_programs(bundle: Path) -> None:
    change(bundle, {"root": {}, "hostnam": "h"})
    done = run("validate", "--json", str(bundle))
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["valid"]) == (1, False)
    assert answer["file"] == str(bundle / "config.json")
    assert {(fault["level"], fault["path"]) for fault in answer["faults"]} == {
        ("error", "root.path"),
        ("warning", "hostnam"),
    }


def test_create_refuses_with_the_same_words(bundle: Path) -> None:
    change(bundle, {"root": {"path": 7}, "ociVersion": "1"})
    done = run("create", "-b", str(bundle), "pyrunc-test-0123456789ab")
    assert done.returncode == 1
    for fault in json.loads(run("validate", "--json", str(bundle)).stdout)["faults"]:
        assert f"{fault['path']}:{fault['line']}:{fault['column']} {fault['message']}" in done.stderr


def test_no_config_is_an_error_with_a_hint(tmp_path: Path) -> None:
    done = run("validate", str(tmp_path))
    assert done.returncode == 1
    assert "no readable config.json" in done.stderr
    assert "hint:" in done.stderr


def test_a_fifo_for_a_config_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    done = run("validate", str(tmp_path))
    assert (done.returncode, "no readable config.json" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    "text",
    [
        b'{"annotations": {"a": "' + b"x" * 10_000_000 + b'"}}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"annotations": ' + b"[" * 10_000_000,
    ],
    ids=["10 MB", "nested arrays", "nested objects", "10 MB of brackets"],
)
@pytest.mark.parametrize("verb", ["validate", "create"])
def test_what_is_made_to_hurt_is_refused_at_once(verb: str, text: bytes, bundle: Path) -> None:
    (bundle / "config.json").write_bytes(text)
    argv = (
        ["validate", str(bundle)] if verb == "validate" else ["create", "-b", str(bundle), "pyrunc-test-big"]
    )
    began = time.monotonic()
    process = subprocess.Popen(
        [PROGRAM, *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=limit_memory
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 1
    assert usage.ru_utime + usage.ru_stime < 1
    assert time.monotonic() - began < 10  # other tests may run beside it


def limit_memory() -> None:
    """200 MB of address space. (What getrusage(2) tells of a child begins with the size of its parent.)"""
    resource.setrlimit(resource.RLIMIT_AS, (200_000_000, 200_000_000))


def on_a_terminal(*argv: str, **environment: str) -> str:
    """What a verb prints on a terminal of 60 columns."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (25, 60))
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [PROGRAM, *argv],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**kept, "TERM": "xterm", **environment},
    )
    os.close(slave)
    printed = b""
    try:
        while piece := os.read(master, 65536):
            printed += piece
    except OSError:
        pass  # the last one at the other end has closed it
    os.close(master)
    process.wait(30)
    return printed.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("verb", ["validate", "plan", "doctor"])
def test_a_terminal_has_colour_and_a_width(verb: str, bundle: Path) -> None:
    if verb == "validate":
        change(bundle, {"hostname": 5})
    argv = [verb] if verb == "doctor" else [verb, str(bundle)]
    printed = on_a_terminal(*argv)
    assert "\x1b[" in printed
    plain = on_a_terminal(*argv, NO_COLOR="1")
    assert "\x1b" not in plain
    if verb != "validate":  # its lines begin with the place, for programs that jump to it
        for line in plain.splitlines():
            unbreakable = max(map(len, line.split()), default=0) > 30
            assert len(line) <= 60 or unbreakable, line
