"""The bundle of precompiled modules: pyrunc/boot.py, build.py --bundle."""

from __future__ import annotations

import importlib.util
import marshal
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pyrunc_build", ROOT / "build.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_core_stands_in_the_first_read(build: ModuleType) -> None:
    data = build.bundle()
    start = int.from_bytes(data[:8], "little")
    names = [name for name, *_ in marshal.loads(memoryview(data[: build.HEAD])[start:])]
    assert names == list(build.CORE)
    assert str(build.HEAD) in (ROOT / "pyrunc/_native/launcher.c").read_text()


def test_every_other_module_is_found_by_its_offset(build: ModuleType) -> None:
    data = build.bundle()
    index = marshal.loads(data[int.from_bytes(data[-8:], "little") :])
    for offset, file, _ in index.values():
        assert marshal.loads(memoryview(data)[offset:]).co_filename == file
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "pyrunc").rglob("*.py")}
    cold = {path for path in files if path not in {file for _, file, _ in index.values()}}
    explain = {path for path in files if path.startswith("pyrunc/explain/")}
    assert len(cold) == len(build.CORE) + len(build.COLD) + len(explain)
