"""What the hot verbs may import."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

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
SLOW = {
    "pyrunc.cli.default_spec",
    "pyrunc.cli.help",
    "pyrunc.cli.terminal",
    "pyrunc.doctor",
    "pyrunc.preview",
    "pyrunc.step_text",
    "pyrunc.trace",
    "pyrunc.validate",
}

SCRIPT = """
import sys
before = set(sys.modules)
package = type(sys)("pyrunc")
package.site_dir = sys.argv[1]
package.__path__ = [sys.argv[1] + "/pyrunc"]
sys.modules["pyrunc"] = package
from pyrunc.cli import main
status = main.run(sys.argv[3:])
import posix
fd = posix.open(sys.argv[2], posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC)
posix.write(fd, "\\n".join(sorted(set(sys.modules) - before)).encode())
posix._exit(status)
"""


def loaded(tmp: Path, *argv: str, status: int = 0) -> set[str]:
    """The modules that a command line brings in, beyond those of a bare interpreter."""
    found = importlib.util.find_spec("pyrunc.cli")
    assert found is not None and found.origin is not None
    site = Path(found.origin).parents[2]
    modules = tmp / "modules"
    # Not a pipe: a container may outlive the call.
    with (tmp / "errors").open("w") as errors:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", SCRIPT, str(site), str(modules), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            timeout=30,
        )
    printed = (tmp / "errors").read_text()
    assert done.returncode == status and "internal error" not in printed, printed
    return set(modules.read_text().split())


def check(modules: set[str]) -> None:
    ours = {name for name in modules if name.partition(".")[0] == "pyrunc"}
    assert "pyrunc.cli.main" in ours
    assert not modules - ours - ALLOWED
    assert not ours & SLOW
