"""Runs the check list for several runtimes, and writes what came of it as docs/engines.md.

python -m engines.document [--only WORD] [--to FILE] RUNTIME…   (make engines-doc)

The first runtime is the one under test: the exit status is 1 if it fails where another passes.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import re
import shutil
import subprocess
import sys
from pathlib import Path

from . import columns
from .checks import Check, checks

PASSED, ABSENT = "✓", "–"

# What an engine's check list is called, and how its version is asked for.
TITLES = {
    "podman": ("Podman and Buildah", "podman --version; buildah --version"),
    "docker": ("Docker", "dockerd --version"),
    "containerd": ("containerd, by ctr", "containerd --version"),
    "cri": ("containerd, by its Container Runtime Interface", "containerd --version"),
}

HEAD = """# Engines

What Podman, Buildah, Docker, containerd and its Container Runtime Interface do with pyrunc, and with
runc and crun on the same machine. Each line is a small test in `tests/engines/checks`; `make engines`
runs them with pyrunc, `make engines-doc` runs them with all and writes this file.

✓ passed · ✗ failed · – this host can't: the reason is found by a look at the host, without a runtime

How each engine is told of pyrunc: [Podman](howto-podman.md), [Buildah](howto-buildah.md),
[Docker](howto-docker.md), [containerd](howto-containerd.md), [CRI-O](howto-cri-o.md),
[Kubernetes](howto-kubernetes.md). What their users see when something goes wrong:
[what a failing container prints](engines-failures.md).
"""

Outcomes = dict[tuple[str, str], str]


def outcome(check: Check, running: columns.Running, engine: str) -> str:
    """PASSED, ABSENT and what the host lacks, or the failure's text."""
    try:
        if lacking := columns.lacking(check, running[engine]):
            return f"{ABSENT}{lacking}"
        check(running[engine])
        return PASSED
    except (AssertionError, RuntimeError, OSError, subprocess.TimeoutExpired) as failure:
        print(f"{running.runtime.name}, {engine}, {check.name}: {failure!r}", file=sys.stderr)
        return str(failure).strip() or "an assertion"


def outcomes(runtime: Path, only: str) -> Outcomes:
    """By engine and check."""
    with columns.Running(runtime) as running:
        return {
            (engine, check.name): outcome(check, running, engine)
            for engine in columns.ENGINES
            for check in checks()
            if engine in check.engines and only in f"{engine} {check.name}"
        }


def tidy(note: str) -> str:
    """A failure's text on one line, without the names of this run."""
    note = re.sub(r"\S*pyrunc-engines-\S+", "…", " ".join(note.removeprefix(ABSENT).split()))
    return re.sub(r"\b[0-9a-f]{64}\b", "ID", note)[-400:].replace("|", "\\|").replace("<", "&lt;")


def tables(found: dict[str, Outcomes]) -> list[str]:
    """The Markdown lines: a table for each engine, and the notes below them."""
    lines: list[str] = []
    notes: list[str] = []

    def cell(text: str) -> str:
        if text == PASSED:
            return PASSED
        if (note := tidy(text)) not in notes:
            notes.append(note)
        return f"{ABSENT if text.startswith(ABSENT) else '✗'} [{notes.index(note) + 1}]"

    for engine, (title, command) in TITLES.items():
        versions = subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout
        lines += ["", f"## {title}", "", " · ".join(versions.strip().splitlines()), ""]
        lines += [f"| check | {' | '.join(found)} |", "| --- |" + " --- |" * len(found)]
        keys = [key for key in next(iter(found.values())) if key[0] == engine]
        lines += [
            f"| {key[1]} | {' | '.join(cell(column[key]) for column in found.values())} |" for key in keys
        ]
        sums = [sum(column[key] == PASSED for key in keys) for column in found.values()]
        lines.append(f"| **passed, of {len(keys)}** | {' | '.join(map(str, sums))} |")
    lines += ["", "## Notes", "", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]
    return lines


def main() -> int:
    options = argparse.ArgumentParser(prog="engines.document")
    options.add_argument("--only", default="", help="checks whose engine and name have WORD in them")
    options.add_argument("--to", type=Path, help="write FILE")
    options.add_argument("runtimes", nargs="+")
    given = options.parse_args()
    paths = [Path(shutil.which(name) or name).absolute() for name in given.runtimes]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = pool.map(lambda path: outcomes(path, given.only), paths)
        found = dict(zip([path.name for path in paths], results, strict=True))
    if given.to:
        given.to.write_text(HEAD + "\n".join(tables(found)) + "\n")
    tested, *others = found.values()
    short = [key for key in tested if tested[key] != PASSED and PASSED in [other[key] for other in others]]
    for key in tested:
        print(*key, *(column[key][:60] for column in found.values()), sep=" | ")
    print(f"{len(tested)} checks, {len(short)} that others pass alone", *short, sep="\n")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
