"""The hot verbs import no more than they need: each import costs every container."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

# Built into the interpreter, or so cheap that they don't matter.
ALLOWED = {
    "__future__",
    "_cffi_backend",
    "_imp",
    "_json",
    "_signal",
    "_socket",
    "_struct",
    "errno",
    "fcntl",
    "gc",
    "posix",
    "select",
    "sys",
    "time",
}

# What no hot verb may load; each is a slow leaf.
SLOW = {"pyrunc.cli.help", "pyrunc.validate", "pyrunc.cli.default_spec"}

SCRIPT = """
import sys
before = set(sys.modules)
package = type(sys)("pyrunc")
package.__path__ = [sys.argv[1]]
sys.modules["pyrunc"] = package
from pyrunc.cli import main
status = main.run(sys.argv[2:])
import posix
posix.write(1, "\\n".join(sorted(set(sys.modules) - before)).encode())
posix._exit(status)
"""


def loaded(*argv: str) -> set[str]:
    """The modules that a command line brings in, beyond those of a bare interpreter."""
    found = importlib.util.find_spec("pyrunc.cli")
    assert found is not None and found.origin is not None
    package = Path(found.origin).parents[1]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", SCRIPT, str(package), *argv],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "internal error" not in done.stderr, done.stderr
    return set(done.stdout.split())


def check(modules: set[str]) -> None:
    ours = {name for name in modules if name.partition(".")[0] == "pyrunc"}
    assert "pyrunc.cli.main" in ours
    assert not modules - ours - ALLOWED
    assert not ours & SLOW


@pytest.mark.skipif(importlib.util.find_spec("pyrunc.lifecycle") is None, reason="lifecycle is not there yet")
@pytest.mark.parametrize(
    "line",
    ["start missing", "state missing", "kill missing KILL", "delete missing", "delete -f missing"],
)
def test_import_budget(line: str, tmp_path: Path) -> None:
    check(loaded("--root", str(tmp_path), *line.split()))


def test_the_command_line_alone() -> None:
    check(loaded("--root", "/nowhere", "state", "not/an/id"))
