"""Ten things that go wrong for users, and what `podman run` and `docker run` then print.

python -m engines.failures [--to FILE] RUNTIME…   (make engines-doc writes docs/engines-failures.md)
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from . import columns
from .engine import Engine
from .images import IMAGE
from .sandbox import Done

# A name; the words of run; what pyrunc's message has in it; the exit code (0: left to the engine).
FAILURES: dict[str, tuple[tuple[str, ...], str, int]] = {
    "a command that is not in PATH": ((IMAGE, "nosuchcommand"), "executable file not found in $PATH", 127),
    "a program that is not there": ((IMAGE, "/no/such"), "no such file or directory", 127),
    "a program that is not executable": ((IMAGE, "/etc/passwd"), "permission denied", 126),
    "a script whose interpreter is missing": (
        ("-v", "{work}/script:/script", IMAGE, "/script"),
        "/script",
        0,
    ),
    "a file mounted onto a directory": (
        ("-v", "{work}/script:/tmp", IMAGE, "true"),
        "make both a directory",
        0,
    ),
    "a directory mounted onto a file": (
        ("-v", "{work}:/bin/tail", IMAGE, "true"),
        "make both a directory",
        0,
    ),
    "a hard limit above one's own": (
        ("--ulimit", "nproc=9000000:9000000", IMAGE, "true"),
        "process.rlimits",
        0,
    ),
    "a sysctl that is not there": (
        ("--sysctl", "net.ipv4.no_such=1", IMAGE, "true"),
        "linux.sysctl",
        0,
    ),
    "less memory than the program's start needs": (
        ("--memory", "6m", "--memory-swap", "6m", IMAGE, "sh", "-c", "tail /dev/zero"),
        "",
        137,
    ),
    "an OOM score that needs a capability": (("--oom-score-adj", "-900", IMAGE, "true"), "oomScoreAdj", 0),
}


def prepare(engine: Engine) -> None:
    script = engine.work / "script"
    script.write_text("#!/no/interpreter\n")
    script.chmod(0o755)


def fail(engine: Engine, name: str) -> Done:
    words = (word.replace("{work}", str(engine.work)) for word in FAILURES[name][0])
    return engine.run("--rm", *words)


def text(done: Done) -> str:
    """What is printed, without the names of this run."""
    printed = re.sub(r"pyrunc-engines-\w+", "NAME", done.stderr.strip())
    printed = re.sub(r"/var/tmp/NAME-\w+", "/tmp/pyrunc", printed)
    printed = re.sub(r"\b[0-9a-f]{64}\b", "ID", printed)
    kept = [line for line in printed.splitlines() if not line.startswith("time=")]
    return "\n".join(kept) or "(nothing)"


HEAD = """# What a failing container prints

Ten things that go wrong, as `podman run` and `docker run` show them with each runtime on the same
machine. The number is the exit code of the engine's command. `make engines-doc` writes this file.
"""


def main() -> int:
    options = argparse.ArgumentParser(prog="engines.failures")
    options.add_argument("--to", type=Path, help="write FILE")
    options.add_argument("runtimes", nargs="+")
    given = options.parse_args()
    found: dict[tuple[str, str, str], Done] = {}
    names = []
    for word in given.runtimes:
        with columns.Running(Path(shutil.which(word) or word).absolute()) as running:
            names.append(running.runtime.name)
            for engine in "podman", "docker":
                prepare(running[engine])
                for name in FAILURES:
                    found[name, engine, names[-1]] = fail(running[engine], name)
    lines = [HEAD]
    for name, (words, _, _) in FAILURES.items():
        lines += [
            f"## {name[0].upper()}{name[1:]}",
            "",
            f"`run {' '.join(words)}`".replace("{work}", "/tmp/pyrunc"),
            "",
        ]
        for engine in "podman", "docker":
            for runtime in names:
                done = found[name, engine, runtime]
                lines += [f"{engine}, {runtime}: {done.returncode}", "", "```", text(done), "```", ""]
    page = "\n".join(lines).replace("localhost/busybox:latest", "busybox")
    if given.to:
        given.to.write_text(page)
    else:
        print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
