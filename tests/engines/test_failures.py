"""What goes wrong is told to the engines' users: subject or field of config.json, and a hint."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from . import columns, failures


@pytest.fixture(scope="module")
def running() -> Iterator[columns.Running]:
    with columns.Running(columns.RUNTIME) as engines:
        yield engines


@pytest.mark.parametrize(
    ("engine", "name"), [(e, n) for e in ("podman", "docker") for n in failures.FAILURES]
)
def test_failure_is_told(running: columns.Running, engine: str, name: str) -> None:
    missing = [command for command in columns.ENGINES[engine].commands if not shutil.which(command)]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)} (make engines installs them)")
    failures.prepare(running[engine])
    done = failures.fail(running[engine], name)
    _, told, code = failures.FAILURES[name]
    assert done.returncode == code if code else done.returncode in (125, 126, 127), done.stderr
    assert told in done.stderr, done.stderr
    assert "internal error" not in done.stderr, done.stderr
