"""The check list, for the runtime under test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from . import columns
from .checks import checks
from .engine import Engine

PAIRS = [
    pytest.param(
        (engine, check),
        id=f"{engine}-{check.name.replace(' ', '_')}",
        marks=[pytest.mark.slow] if check.slow else [],
    )
    for engine in columns.ENGINES
    for check in checks()
    if engine in check.engines
]


@pytest.fixture(scope="module")
def running() -> Iterator[columns.Running]:
    with columns.Running(columns.RUNTIME) as engines:
        yield engines


@pytest.mark.parametrize("pair", PAIRS)
def test_check(running: columns.Running, pair: tuple[str, columns.Check]) -> None:
    name, check = pair
    missing = [command for command in columns.ENGINES[name].commands if not shutil.which(command)]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)} (make engines installs them)")
    engine: Engine = running[name]
    lacking = columns.lacking(check, engine)
    if lacking:
        pytest.skip(f"this host: {lacking}")
    check(engine)
