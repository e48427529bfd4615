"""Writes docs/errors-compared.md: what pyrunc, runc and crun say when a container fails to start.

`make errors-compared` calls it. Each runtime is called in a process of its own (--collect), because the
harness of the integration tests takes the runtime from $OCI_RUNTIME when it is imported.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "errors-compared.md"
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

OWNERS = {
    "boulder": "letsencrypt",
    "containerd": "containerd",
    "crun": "containers",
    "docker-node": "nodejs",
    "moby": "moby",
    "nvidia-docker": "NVIDIA",
    "podman": "containers",
    "runc": "opencontainers",
    "syncthing": "syncthing",
}

# crun takes a host with cgroup v2 beside v1 for one of its own kind; it must not see the empty v2.
HIDE_UNIFIED = """#!/bin/sh
test -d /sys/fs/cgroup/unified || exec crun "$@"
exec unshare -m sh -c 'mount -t tmpfs none /sys/fs/cgroup/unified && exec crun "$@"' sh "$@"
"""


def collect() -> None:
    """What the runtime of $OCI_RUNTIME says in each case, as JSON on standard output."""
    from tests.failures import cases
    from tests.integration.harness import Runtime, make_rootfs

    said = {}
    with tempfile.TemporaryDirectory(prefix="pyrunc-errors-") as name:
        top = Path(name)
        top.chmod(0o755)
        rootfs = make_rootfs(top / "busybox")
        for number, case in enumerate(cases()):
            tmp = top / str(number)
            tmp.mkdir(mode=0o755)
            runtime = Runtime(tmp, rootfs)
            container = runtime.sh("true")
            try:
                text = case.fail(container)
            except AssertionError:
                text = ""
            except subprocess.TimeoutExpired:
                text = "(hangs)"
            finally:
                runtime.clean()
            said[case.title] = plain(text, str(tmp), container.id)
    json.dump(said, sys.stdout)


def plain(text: str, tmp: str, id_: str) -> str:
    """Without what differs from run to run, and without the frame of a log line."""
    lines = []
    for line in text.strip().splitlines():
        found = re.fullmatch(r'time="[^"]*" level=(\w+) msg="(.*)"', line)
        if found:
            message = found[2].replace('\\"', '"')
            line = message if found[1] in ("error", "fatal") else f"{found[1]}: {message}"
        line = re.sub(r"^(nsexec(?:-\d)?)\[\d+\]", r"\1[PID]", line)
        line = re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+Z: ", "", line)
        line = line.replace(f"{tmp}/bundle-0", "/bundle").replace(tmp, "").replace(id_, "ID")
        lines.append(re.sub(r"pyrunc-test-[0-9a-f]{12}", "OTHER", line).replace(str(ROOT), ""))
    return "\n".join(lines)


def messages(runtime: str) -> dict[str, str]:
    command = [sys.executable, __file__, "--collect"]
    environment = {**os.environ, "OCI_RUNTIME": runtime}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def version(command: str) -> str:
    words = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    return words.split("\n")[0].split("version ")[-1]


def link(reported: str) -> str:
    """repository#number as a link to the report."""
    repository, _, number = reported.partition("#")
    return f"[{reported}](https://github.com/{OWNERS[repository]}/{repository}/issues/{number})"


def cell(text: str) -> str:
    """A text as a cell of a table: its lines one below the other, nothing of it taken as markup."""
    if not text:
        return "*(no error)*"
    escaped = [
        line.replace("&", "&amp;").replace("<", "&lt;").replace("|", "&#124;").replace("`", "&#96;")
        for line in text.splitlines()
    ]
    return "<br>".join(f"<code>{line.strip()}</code>" for line in escaped)


def document(said: dict[str, dict[str, str]], versions: str) -> str:
    from tests.failures import cases, groups

    lines = [
        "# Errors compared",
        "",
        f"{len(cases())} ways in which a container fails to start, and what {versions} say. Made by "
        "`make errors-compared` from `tests/failures`. An integration test asserts for each row that "
        "pyrunc's "
        "message names the subject, the place in `config.json` (or the option), the cause and a remedy. The "
        "last line of pyrunc's messages, which names the page of `pyrunc explain`, is left out here.",
        "",
        "*(no error)* means that the runtime starts the container, or says nothing. Below the name of a "
        "failure is a report of somebody who met it.",
    ]
    for group in groups():
        lines += [
            "",
            f"## {group.title}",
            "",
            "| what is wrong | pyrunc | runc | crun |",
            "| --- | --- | --- | --- |",
        ]
        for case in group.cases:
            title = f"{case.title}<br><sub>{link(case.reported)}</sub>" if case.reported else case.title
            ours = re.sub(r"\nmore: .*$", "", said["pyrunc"][case.title])
            row = [title, cell(ours), cell(said["runc"][case.title]), cell(said["crun"][case.title])]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    pyrunc = str(ROOT / ".venv" / "bin" / "pyrunc")
    missing = [name for name in ("runc", "crun") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"not found: {' and '.join(missing)}; `make errors-compared` installs them")
    with tempfile.TemporaryDirectory() as directory:
        wrapped = Path(directory) / "crun"
        wrapped.write_text(HIDE_UNIFIED)
        wrapped.chmod(0o755)
        # The wrapper finds the real one behind itself.
        said = {
            name: messages(path)
            for name, path in (("pyrunc", pyrunc), ("runc", "runc"), ("crun", str(wrapped)))
        }
    versions = f"pyrunc, runc {version('runc')} and crun {version('crun')}"
    TARGET.write_text(document(said, versions), encoding="utf-8")


if __name__ == "__main__":
    collect() if "--collect" in sys.argv else main()
